"""Payment links: responses and requests."""

import re
from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema, field_validator

from watcher.domain.payment_links import LinkStatus
from watcher.schemas.base import Amount, Depth, Document, Metadata, Request, Time, example
from watcher.schemas.checkout import CheckoutMerchant
from watcher.schemas.fields import (
    AmountIn,
    IdIn,
    LevelIn,
    MetadataIn,
    PageUrlIn,
    PrincipalIn,
    TextIn,
    TimeIn,
    read_amount,
)
from watcher.text import quote

#: Assets of one link.
MAX_PRICES = 10

MAX_USES = 1_000_000_000

#: Characters of a password.
MAX_PASSWORD_LENGTH = 200

#: Days of a link's statistics.
MAX_DAYS = 366
DEFAULT_DAYS = 30


def _read_prices(value: object) -> dict[str, int]:
    """Parse what a link costs in each asset."""
    if not isinstance(value, Mapping) or not 0 < len(value) <= MAX_PRICES:
        raise ValueError(
            f"must name 1 to {MAX_PRICES} assets with their amounts, "
            'e.g. {"sbtc": "50000", "stx": "25000000"}'
        )
    prices = {}
    for name, amount in value.items():
        try:
            prices[str(name)] = read_amount(amount)
        except ValueError as error:
            raise ValueError(f"{quote(name)}: {error}") from None
    return prices


def _read_uses(value: object) -> int:
    """Parse how often a link may be used."""
    number = int(value) if isinstance(value, str) and value.isascii() and value.isdigit() else value
    if not isinstance(number, int) or isinstance(number, bool) or not 1 <= number <= MAX_USES:
        raise ValueError(f"{quote(value)} is no number of uses; write 1 to {MAX_USES}")
    return number


def _read_password(value: object) -> str:
    """Parse a password: any text, as it is typed."""
    if not isinstance(value, str) or not 0 < len(value) <= MAX_PASSWORD_LENGTH:
        raise ValueError(f"must be a text of 1 to {MAX_PASSWORD_LENGTH} characters")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError("holds characters that cannot be encoded") from None
    return value


def _read_days(value: object) -> int:
    number = int(value) if isinstance(value, str) and value.isascii() and value.isdigit() else value
    if not isinstance(number, int) or isinstance(number, bool) or not 1 <= number <= MAX_DAYS:
        raise ValueError(f"{quote(value)} is no number of days; write 1 to {MAX_DAYS}")
    return number


PricesIn = Annotated[
    dict[str, int],
    BeforeValidator(_read_prices),
    WithJsonSchema(
        {
            "type": "object",
            "additionalProperties": {"type": "string", "pattern": "^[0-9]{1,39}$"},
            "minProperties": 1,
            "maxProperties": MAX_PRICES,
        }
    ),
]
UsesIn = Annotated[
    int,
    BeforeValidator(_read_uses),
    WithJsonSchema({"type": "integer", "minimum": 1, "maximum": MAX_USES}),
]
PasswordIn = Annotated[
    str,
    BeforeValidator(_read_password),
    WithJsonSchema({"type": "string", "minLength": 1, "maxLength": MAX_PASSWORD_LENGTH}),
]

_LINK = {
    "id": "pl_01JD4NB3V7K2M9Q5T8X1Z4R6WC",
    "object": "payment_link",
    "merchant": "mer_01JD4N8Y6B2PJ3T9Z1R7W5Q4VK",
    "url": "https://pay.shop.example/l/K7Q2M8ZR4T9C",
    "active": True,
    "status": "active",
    "amount": "7000",
    "min_amount": None,
    "max_amount": None,
    "asset": "sbtc",
    "prices": None,
    "description": "Coffee",
    "metadata": {"product": "coffee"},
    "expires_at": None,
    "max_uses": None,
    "uses": 1,
    "has_password": False,
    "level": None,
    "recipient": None,
    "success_url": None,
    "cancel_url": None,
    "created_at": "2026-11-20T12:00:00.000Z",
    "updated_at": "2026-11-20T12:00:00.000Z",
}


class PaymentLink(Document):
    """A page from which payers start payments of their own."""

    id: str
    object: Literal["payment_link"]
    merchant: str
    url: str
    """The page; a path where the server has no `public_url`."""
    active: bool
    status: LinkStatus
    """Whether it can be used now: `disabled`, `expired` and `used_up` links start nothing."""
    amount: Amount | None
    """Null where the payer says how much, and beside `prices`."""
    min_amount: Amount | None
    max_amount: Amount | None
    asset: str | None
    """Null beside `prices`."""
    prices: dict[str, Amount] | None
    """What it costs in each asset; the payer chooses."""
    description: str | None
    metadata: Metadata
    expires_at: Time | None
    max_uses: int | None
    uses: int
    """Payments that were started from it and are open or paid."""
    has_password: bool
    level: Literal["included", "anchored", "settled"] | Depth | None
    recipient: str | None
    success_url: str | None
    cancel_url: str | None
    created_at: Time
    updated_at: Time

    model_config = example(_LINK)


class PaymentLinkPage(Document):
    """A page of links, newest first; `next_cursor` is null on the last one."""

    data: list[PaymentLink]
    next_cursor: str | None


class LinkDay(Document):
    """A day of a link, in UTC."""

    date: str
    views: int
    started: int
    paid: int
    """Payments that succeeded on this day."""
    amounts: dict[str, Amount]
    """What came with them, by asset."""


class PaymentLinkStatistics(Document):
    """What became of a link: totals since it exists, and its newest days.

    `started` is the sum of `open`, `paid`, `expired`, `failed` and `canceled`.
    """

    object: Literal["payment_link_statistics"]
    payment_link: str
    views: int
    """People who looked, each once a day; not bots, and not reloads."""
    started: int
    open: int
    paid: int
    expired: int
    """Their time passed."""
    abandoned: int
    """Of those that expired: nothing ever came."""
    failed: int
    canceled: int
    """Also those whose payer chose another asset."""
    amounts: dict[str, Amount]
    """What came with those that are paid, by asset."""
    decimals: dict[str, int]
    """Digits after the point, by asset; amounts are in base units."""
    days: list[LinkDay]
    """Every day, the oldest first, today last."""

    model_config = example(
        {
            "object": "payment_link_statistics",
            "payment_link": "pl_01JD4NB3V7K2M9Q5T8X1Z4R6WC",
            "views": 40,
            "started": 9,
            "open": 1,
            "paid": 6,
            "expired": 1,
            "abandoned": 1,
            "failed": 0,
            "canceled": 1,
            "amounts": {"sbtc": "42000"},
            "decimals": {"sbtc": 8},
            "days": [
                {"date": "2026-11-20", "views": 40, "started": 9, "paid": 6, "amounts": {"sbtc": "42000"}}
            ],
        }
    )


class LinkPrice(Document):
    """What may be paid in one asset."""

    asset: str
    asset_identifier: str
    decimals: int
    """Digits after the point; amounts are in base units."""
    amount: Amount | None
    """Null where the payer says how much."""
    min_amount: Amount | None
    max_amount: Amount | None


class LinkPage(Document):
    """What a payer sees of a link. Nothing private of the merchant, and no metadata."""

    object: Literal["payment_link_page"]
    code: str
    url: str
    status: LinkStatus
    """Nothing can be started unless it is `active`."""
    merchant: CheckoutMerchant
    network: str
    livemode: bool
    has_password: bool
    locked: bool
    """The password is needed before anything is shown: description and prices are left out."""
    description: str | None
    prices: list[LinkPrice]
    """One, or several of which the payer chooses one."""
    expires_at: Time | None


# Requests

#: A random text of a form or a page: at least 128 bits, for whoever makes it well.
_TOKEN = re.compile(r"[A-Za-z0-9_-]{22,64}", re.ASCII)


def _read_visit(value: object) -> str:
    if not isinstance(value, str) or not _TOKEN.fullmatch(value):
        raise ValueError("must be 22 to 64 random letters and digits")
    return value


class StartPayment(Request):
    """What a payer says when they start a payment from a link."""

    amount: AmountIn | None = None
    """Base units, where the link leaves it open."""
    asset: str | None = None
    """One of the link's assets, where it has several."""
    password: PasswordIn | None = None
    unlock: Annotated[str, Field(max_length=100)] | None = None
    """Instead of the password: what the right one has brought."""
    visit: Annotated[str, BeforeValidator(_read_visit)] | None = None
    """Of the form: sent twice, it leads to the same payment."""


class _Terms(Request):
    """What a new link has, and what can be changed of one."""

    amount: AmountIn | None = None
    """Base units that each payer pays. Left out (and without `prices`) the payer says how much."""
    min_amount: AmountIn | None = None
    """With an open amount: the least, base units."""
    max_amount: AmountIn | None = None
    """With an open amount: the most, base units."""
    asset: str | None = None
    """`sbtc` (default), `stx`, or another asset that the server is configured for."""
    prices: PricesIn | None = None
    """The price in several assets, instead of `amount` and `asset`; the payer chooses:
    `{"sbtc": "50000", "stx": "25000000"}`."""
    description: TextIn | None = None
    """What is paid for, up to 500 characters. The payer sees it."""
    metadata: MetadataIn | None = None
    """Your own data, which each payment gets."""
    expires_at: TimeIn | None = None
    """Nothing is started from it after this time, by the chain's clock; ahead of both clocks."""
    max_uses: UsesIn | None = None
    """How many payments may be open or paid."""
    password: PasswordIn | None = None
    """Payers must know it. It is stored as a hash."""
    level: LevelIn | None = None
    """`included`, `anchored`, `settled`, or {stacks, bitcoin}."""
    recipient: PrincipalIn | None = None
    """The principal to pay; by default the merchant's recipient."""
    success_url: PageUrlIn | None = None
    """Where checkouts lead after the payment; `payment_intent` and `status` are appended. https."""
    cancel_url: PageUrlIn | None = None
    """Where checkouts lead back to before that. https."""


class NewPaymentLink(_Terms):
    """A link from which payers start payments: of one amount, of an open one, or priced in several assets."""

    merchant: IdIn | None = None
    """The merchant, if an operator creates it; a merchant leaves it out."""

    model_config = example({"amount": "7000", "asset": "sbtc", "description": "Coffee"})


class ChangePaymentLink(_Terms):
    """Changes of a link; null takes a value away. Payments that were started keep their terms."""

    active: bool | None = None
    """False: nothing is started from it any more."""

    model_config = example({"active": False})

    @field_validator("active", mode="before")
    @classmethod
    def _check_needed(cls, value: object) -> object:
        if value is None:
            raise ValueError("is needed")
        return value


class LinkDays(Request):
    """The days of a link's statistics."""

    member: ClassVar[str] = "parameter"

    days: Annotated[
        int,
        BeforeValidator(_read_days),
        WithJsonSchema({"type": "integer", "minimum": 1, "maximum": MAX_DAYS}),
    ] = DEFAULT_DAYS
    """How many days, today included."""
