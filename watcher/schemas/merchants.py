"""Merchants and their API keys: responses and requests, for operators."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, field_validator

from watcher.domain.model import LatePolicy
from watcher.schemas.base import EXAMPLE_ADDRESS, Amount, Depth, Document, Request, Time, example
from watcher.schemas.fields import (
    AmountOrZeroIn,
    ColorIn,
    DurationIn,
    LevelIn,
    LifetimeIn,
    OriginsIn,
    PageUrlIn,
    PrincipalIn,
    SupportUrlIn,
    TextIn,
)
from watcher.text import quote


class Scope(StrEnum):
    """Permission of an API key."""

    READ = "read"
    WRITE = "write"


def _read_scopes(value: object) -> list[Scope]:
    """Parse the scopes of a key. Writing without reading is possible."""
    if not isinstance(value, list):
        raise ValueError(f"must be a list of {' and '.join(Scope)}")
    for word in value:
        if word not in list(Scope):
            raise ValueError(f"{quote(word)} is unknown; write {' or '.join(Scope)}")
    if not value:
        raise ValueError(f"is empty; write {' or '.join(Scope)}")
    return [scope for scope in Scope if scope in value]


ScopesIn = Annotated[list[Scope], BeforeValidator(_read_scopes)]


_MERCHANT = {
    "id": "mer_01JD4N8Y6B2PJ3T9Z1R7W5Q4VK",
    "object": "merchant",
    "name": "Tea shop",
    "recipient": EXAMPLE_ADDRESS,
    "status": "active",
    "level": None,
    "ttl": None,
    "tolerance": None,
    "late_policy": None,
    "display_name": "Tea & Co.",
    "logo_url": "https://shop.example/logo.svg",
    "brand_color": "#1f6f54",
    "support_url": "mailto:help@shop.example",
    "allowed_origins": ["https://shop.example"],
    "created_at": "2026-11-20T12:00:00.000Z",
    "updated_at": "2026-11-20T12:00:00.000Z",
}


class Merchant(Document):
    """A merchant. Null stands for the default of the settings."""

    id: str
    object: Literal["merchant"]
    name: str
    recipient: str
    status: Literal["active", "disabled"]
    level: Literal["included", "anchored", "settled"] | Depth | None
    ttl: int | None
    """Seconds."""
    tolerance: Amount | None
    late_policy: LatePolicy | None
    display_name: str | None = None
    """What payers see instead of `name`."""
    logo_url: str | None = None
    brand_color: str | None = None
    support_url: str | None = None
    """Where payers ask for help."""
    allowed_origins: list[str] = Field(default_factory=list)
    """Web pages that may frame its checkouts."""
    created_at: Time
    updated_at: Time

    model_config = example(_MERCHANT)


class MerchantWithKey(Document):
    """A merchant and its API key, which is shown only this once."""

    merchant: Merchant
    api_key: str
    previous_keys_expire_at: Time | None = None
    """Until then the previous keys stay valid; null if there were none, or they ended at once."""

    model_config = example(
        {
            "merchant": _MERCHANT,
            "api_key": "sk_live_5f0bWlQ2m8ZR4T9Cq1x7V3s6Yk2N8p4D",
            "previous_keys_expire_at": None,
        }
    )


class MerchantPage(Document):
    """A page of merchants, newest first; `next_cursor` is null on the last one."""

    data: list[Merchant]
    next_cursor: str | None


class ApiKey(Document):
    """An API key without the key itself."""

    id: str
    object: Literal["api_key"]
    merchant: str
    name: str
    scopes: list[Scope]
    status: Literal["active", "expired", "revoked"]
    created_at: Time
    last_used_at: Time | None
    """Updated about once a minute."""
    expires_at: Time | None
    revoked_at: Time | None


class NewApiKey(Document):
    """An API key with the key itself, which is shown only this once."""

    key: ApiKey
    api_key: str


class ApiKeyPage(Document):
    """All keys that a merchant has or had, newest first."""

    data: list[ApiKey]
    next_cursor: None


class NewMerchant(Request):
    """A merchant to add. What is left out is taken from the settings."""

    name: TextIn
    recipient: PrincipalIn
    """The address or contract to pay."""
    level: LevelIn | None = None
    ttl: LifetimeIn | None = None
    tolerance: AmountOrZeroIn | None = None
    late_policy: LatePolicy | None = None
    display_name: TextIn | None = None
    """What payers see instead of the name."""
    logo_url: PageUrlIn | None = None
    """A picture of the merchant's own server, shown at its checkouts."""
    brand_color: ColorIn | None = None
    """`#e0662b`: the color of buttons at its checkouts."""
    support_url: SupportUrlIn | None = None
    """Where payers ask for help: a page, or `mailto:help@shop.example`."""
    allowed_origins: OriginsIn | None = None
    """Web pages that may frame its checkouts: `https://shop.example`."""

    model_config = example({"name": "Tea shop", "recipient": EXAMPLE_ADDRESS})


class ChangeMerchant(Request):
    """Changes of a merchant; null resets to the settings' default. Existing intents keep their terms."""

    name: TextIn | None = None
    recipient: PrincipalIn | None = None
    level: LevelIn | None = None
    ttl: LifetimeIn | None = None
    tolerance: AmountOrZeroIn | None = None
    late_policy: LatePolicy | None = None
    display_name: TextIn | None = None
    """What payers see instead of the name."""
    logo_url: PageUrlIn | None = None
    """A picture of the merchant's own server, shown at its checkouts."""
    brand_color: ColorIn | None = None
    """`#e0662b`: the color of buttons at its checkouts."""
    support_url: SupportUrlIn | None = None
    """Where payers ask for help: a page, or `mailto:help@shop.example`."""
    allowed_origins: OriginsIn | None = None
    """Web pages that may frame its checkouts: `https://shop.example`."""
    status: Literal["disabled"] | None = None
    """`disabled`: no new intents, and the keys are revoked; open intents continue."""

    model_config = example({"level": "settled"})

    @field_validator("name", "recipient", mode="before")
    @classmethod
    def _check_needed(cls, value: object) -> object:
        if value is None:
            raise ValueError("is needed")
        return value


class AddApiKey(Request):
    """Name and scopes of a key; by default it has all scopes."""

    name: TextIn | None = None
    scopes: ScopesIn | None = None

    model_config = example({"name": "till 2", "scopes": ["read"]})


class RotateKey(Request):
    """Time for which the old keys stay valid; by default they end at once."""

    overlap: DurationIn | None = None

    model_config = example({"overlap": "12h"})
