"""Payment intents: responses and requests."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from watcher.domain.model import Flag, LatePolicy, Match, Status
from watcher.durations import parse_duration
from watcher.schemas.base import (
    EXAMPLE_ADDRESS,
    EXAMPLE_BLOCK_HASH,
    EXAMPLE_SBTC,
    EXAMPLE_TX_ID,
    Amount,
    Document,
    Hex,
    Metadata,
    OwnedPage,
    Request,
    Time,
    example,
)
from watcher.schemas.fields import (
    AmountIn,
    AmountOrZeroIn,
    FiatIn,
    IdIn,
    LevelIn,
    LifetimeIn,
    MetadataIn,
    PageUrlIn,
    PrincipalIn,
    ReferenceIn,
    SaltIn,
    TextIn,
    TimeIn,
    YesOrNoIn,
)
from watcher.schemas.intent_facts import (
    AsOf,
    Attempt,
    Confirmations,
    Fiat,
    IntentTransfer,
    Pay,
    Refund,
    TimelineEntry,
)
from watcher.text import quote


class PaymentIntent(Document):
    """A payment that a merchant expects, and its state."""

    id: str
    object: Literal["payment_intent"]
    merchant: str
    status: Status
    flags: list[Flag]
    """Conditions that may need attention. `refund_due`: it ended with money that neither pays it nor was
    refunded."""
    in_flight: bool
    """A payment is in the mempool. For display only."""
    amount: Amount
    asset: str
    asset_identifier: str
    recipient: str
    payer: str | None
    reference: str
    terms_hash: Hex
    match: Match
    tolerance: Amount
    amount_received: Amount
    amount_missing: Amount
    amount_over: Amount
    amount_refunded: Amount = 0
    confirmations: Confirmations
    expires_at: Time
    deadline: Time
    """`expires_at` plus the grace period for the last payment to be mined."""
    late_policy: LatePolicy
    as_of: AsOf
    created_at: Time
    updated_at: Time
    succeeded_at: Time | None
    metadata: Metadata
    network: str | None = None
    """`mainnet`, `testnet` or `devnet`."""
    livemode: bool | None = None
    """False for a network whose money is worth nothing."""
    description: str | None = None
    checkout_url: str | None = None
    """The page on which the payer pays; a path where the server has no `public_url`."""
    success_url: str | None = None
    cancel_url: str | None = None
    fiat: Fiat | None = None
    payment_link: str | None = None
    """The payment link that it was started from."""
    transfers: list[IntentTransfer]
    """If there are very many, the most relevant ones."""
    transfers_total: int
    attempts: list[Attempt]
    attempts_total: int
    refunds: list[Refund] = Field(default_factory=list)
    refunds_total: int = 0
    pay: Pay
    timeline: list[TimelineEntry]
    """If it is very long, the first entry and the newest ones."""
    timeline_total: int = 0

    model_config = example(
        {
            "id": "pi_01JD4N9Z7C3QK4V0T2S8X6R5WM",
            "object": "payment_intent",
            "merchant": "mer_01JD4N8Y6B2PJ3T9Z1R7W5Q4VK",
            "status": "succeeded",
            "flags": [],
            "in_flight": False,
            "amount": "50000",
            "asset": "sbtc",
            "asset_identifier": EXAMPLE_SBTC,
            "recipient": EXAMPLE_ADDRESS,
            "payer": None,
            "reference": "K7Q2M8ZR4T9C",
            "terms_hash": EXAMPLE_BLOCK_HASH,
            "match": "reference",
            "tolerance": "0",
            "amount_received": "50000",
            "amount_missing": "0",
            "amount_over": "0",
            "amount_refunded": "0",
            "confirmations": {
                "level": "included",
                "required": {"stacks": 1, "bitcoin": 0},
                "reached": {"stacks": 3, "bitcoin": 0},
            },
            "expires_at": "2026-11-20T13:00:00.000Z",
            "deadline": "2026-11-20T13:10:00.000Z",
            "late_policy": "hold",
            "as_of": {"height": 5012346, "time": "2026-11-20T12:03:00.000Z"},
            "created_at": "2026-11-20T12:00:00.000Z",
            "updated_at": "2026-11-20T12:02:00.000Z",
            "succeeded_at": "2026-11-20T12:02:00.000Z",
            "metadata": {"order_id": "12345"},
            "network": "mainnet",
            "livemode": True,
            "description": "Two tins of tea",
            "checkout_url": "https://pay.shop.example/pay/3q2-7wWk1mXb9fYc0aTzRg",
            "success_url": "https://shop.example/thanks",
            "cancel_url": None,
            "fiat": {"amount": "49.90", "currency": "EUR"},
            "payment_link": None,
            "transfers": [
                {
                    "tx_id": EXAMPLE_TX_ID,
                    "event_index": 0,
                    "status": "canonical",
                    "sender": "SP3FBR2AGK5H9QBDH3EEN6DF8EK8JY7RX8QJ5SVTE",
                    "amount": "50000",
                    "assigned": False,
                    "verified_by": [],
                    "block_height": 5012344,
                    "block_hash": EXAMPLE_BLOCK_HASH,
                    "block_time": "2026-11-20T12:01:58.000Z",
                    "burn_block_height": 925001,
                    "confirmations": {"stacks": 3, "bitcoin": 0},
                }
            ],
            "transfers_total": 1,
            "attempts": [],
            "attempts_total": 0,
            "refunds": [],
            "refunds_total": 0,
            "pay": {"memo": "K7Q2M8ZR4T9C", "transfer": None, "contract": None},
            "timeline": [
                {"at": "2026-11-20T12:00:00.000Z", "status": "pending", "reason": "created"},
                {"at": "2026-11-20T12:02:00.000Z", "status": "succeeded", "reason": None},
            ],
            "timeline_total": 2,
        }
    )


class PaymentIntentPage(Document):
    """A page of intents, newest first; `next_cursor` is null on the last one."""

    data: list[PaymentIntent]
    next_cursor: str | None


class PaymentIntentList(Document):
    """Intents in the order of the request."""

    data: list[PaymentIntent]


# Requests

#: Longest time that a response can be delayed, seconds.
MAX_WAIT_SECONDS = 60.0


def _check_reference(text: str) -> str:
    if not 0 < len(text) <= 100:
        raise ValueError("must be 1 to 100 characters")
    return text


def _check_asset(text: str) -> str:
    if not 0 < len(text) <= 64 or not text.isprintable():
        raise ValueError("must be the short name of an asset: sbtc, stx, or a configured one")
    return text


def _check_gathered(value: object) -> object:
    if isinstance(value, str):
        raise ValueError("is written metadata[key]=value")
    return value


class PaymentIntentFilters(OwnedPage):
    """Filters of the list of intents."""

    status: Status | None = None
    """Only intents with this status."""
    flag: Flag | None = None
    """Only intents with this flag."""
    attention: YesOrNoIn = False
    """Only intents that need an operator's attention, as counted by `attention` in the status."""
    asset: Annotated[str, AfterValidator(_check_asset)] | None = None
    """Only intents in this asset, by its short name: `sbtc`, `stx`, …"""
    search: TextIn | None = None
    """Only intents that have exactly this: a reference, an id, a transaction's id, an address that is paid or
    that paid, a checkout's address, or a text of the metadata, such as an order's number (in any case)."""
    payment_link: IdIn | None = None
    """Only intents that payers started from this payment link."""
    reference: Annotated[str, AfterValidator(_check_reference)] | None = None
    """Only the intent with this reference, compared as memos are."""
    created_from: TimeIn | None = None
    """Only intents created at this time or later (RFC 3339 or unix seconds)."""
    created_to: TimeIn | None = None
    """Only intents created before this time (RFC 3339 or unix seconds)."""
    metadata: Annotated[MetadataIn, BeforeValidator(_check_gathered)] | None = None
    """Only intents with exactly this text under this key: `metadata[order_id]=12345`; several must all
    match."""

    @model_validator(mode="before")
    @classmethod
    def _gather_metadata(cls, parameters: Any) -> Any:
        """Gather the parameters ``metadata[key]=text`` of a URL in one table."""
        if not isinstance(parameters, Mapping):
            return parameters
        metadata = {name[9:-1]: text for name, text in parameters.items() if _is_metadata(name)}
        others = {name: value for name, value in parameters.items() if not _is_metadata(name)}
        return others | ({"metadata": metadata} if metadata else {})


def _is_metadata(name: str) -> bool:
    return name.startswith("metadata[") and name.endswith("]")


def _read_wait(value: object) -> float:
    seconds = parse_duration(value)
    if seconds > MAX_WAIT_SECONDS:
        raise ValueError(f"{quote(value)} is longer than {MAX_WAIT_SECONDS:.0f}s")
    return seconds


#: How long to wait, seconds.
WaitIn = Annotated[float, BeforeValidator(_read_wait), WithJsonSchema({"type": "string"})]


class WaitForStatus(Request):
    """Long poll: delay the response until an intent's status changes."""

    member: ClassVar[str] = "parameter"

    wait: WaitIn | None = None
    """Respond when the status changes, or after this time at the latest: `30s`, at most `60s`. Without `seen`
    only a `pending` or `processing` intent is waited for."""
    seen: Status | None = None
    """With `wait`: the status that you know. The response comes at once if the intent has a different one."""


class NewPaymentIntent(Request):
    """A payment to expect. Only `amount` is required; the merchant and the settings have defaults."""

    amount: AmountIn
    """Base units (sats, micro-STX): digits as text, or a whole number. Never a fraction."""
    asset: str | None = None
    """`sbtc` (default), `stx`, or another asset that the server is configured for."""
    recipient: PrincipalIn | None = None
    """The principal to pay; by default the merchant's recipient."""
    reference: ReferenceIn | None = None
    """Your own reference, 1 to 34 printable ASCII characters; by default 12 random characters."""
    expires_in: LifetimeIn | None = None
    """Lifetime: `30m`, or seconds; 1 s to 366 days, from the later of the server's and the chain's clock."""
    expires_at: TimeIn | None = None
    """End of the lifetime, instead of `expires_in`; ahead of both clocks. Fractions of a second are cut
    off."""
    level: LevelIn | None = None
    """`included`, `anchored`, `settled`, or {stacks, bitcoin}."""
    payer: PrincipalIn | None = None
    """Only transfers from this sender count."""
    match: Match | None = None
    """`recipient`: the recipient is used by this intent only, and no memo is needed."""
    tolerance: AmountOrZeroIn | None = None
    """Base units by which the payment may fall short."""
    late_policy: LatePolicy | None = None
    not_before: TimeIn | None = None
    """Transfers before this time do not count; by default 24 hours before the creation."""
    salt: SaltIn | None = None
    """16 bytes as hex; by default random."""
    metadata: MetadataIn | None = None
    """Your own data: up to 50 keys of 40 characters, texts of 500."""
    description: TextIn | None = None
    """What is paid for, up to 500 characters. The payer sees it."""
    success_url: PageUrlIn | None = None
    """Where the checkout leads after the payment; `payment_intent` and `status` are appended. https."""
    cancel_url: PageUrlIn | None = None
    """Where the checkout leads back to before that. https."""
    fiat: FiatIn | None = None
    """The price that the amount was counted from, `{"amount": "49.90", "currency": "EUR"}`: shown to the
    payer beside the amount, with the rate that follows. For the eye only: what is owed is `amount`."""
    merchant: IdIn | None = None
    """The merchant, if an operator creates it; a merchant leaves it out."""

    model_config = example(
        {
            "amount": "50000",
            "asset": "sbtc",
            "reference": "ORDER-12345",
            "expires_in": "30m",
            "metadata": {"order_id": "12345"},
        }
    )


#: Intents created in one transaction, which holds the write lock for about 200 ms then.
MAX_BULK_INTENTS = 500


def _check_number(intents: object) -> object:
    if isinstance(intents, list) and not 0 < len(intents) <= MAX_BULK_INTENTS:
        raise ValueError(f"holds {len(intents)} intents; send 1 to {MAX_BULK_INTENTS}")
    return intents


class NewPaymentIntents(Request):
    """Up to 500 intents, all or none."""

    intents: Annotated[
        list[NewPaymentIntent],
        # Before the intents themselves: a body has room for a hundred thousand wrong ones.
        BeforeValidator(_check_number),
        Field(json_schema_extra={"minItems": 1, "maxItems": MAX_BULK_INTENTS}),
    ]
    merchant: IdIn | None = None
    """The merchant, if an operator creates them; a merchant leaves it out."""


class Cancel(Request):
    """Cancellation of an intent."""

    reason: TextIn | None = None

    model_config = example({"reason": "the customer changed their mind"})


class Mark(Request):
    """Outcome of an intent that an operator decides."""

    status: Literal["succeeded", "failed"]
    reason: TextIn

    model_config = example({"status": "succeeded", "reason": "paid in cash"})


class Dismiss(Request):
    """Reason why no refund is due any more."""

    reason: TextIn

    model_config = example({"reason": "sent back by hand"})
