"""Merchants and their API keys: what operators see."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BeforeValidator, field_validator

from watcher.domain.model import LatePolicy
from watcher.schemas.base import EXAMPLE_ADDRESS, Amount, Depth, Document, Request, Time, example
from watcher.schemas.fields import (
    AmountOrZeroIn,
    DurationIn,
    LevelIn,
    LifetimeIn,
    PrincipalIn,
    TextIn,
    quote,
)


class Scope(StrEnum):
    """What an API key may do."""

    READ = "read"
    WRITE = "write"


def _read_scopes(value: object) -> list[Scope]:
    """Read what a key may do. Writing without reading is possible."""
    if not isinstance(value, list):
        raise ValueError(f"must be a list of {' and '.join(Scope)}")
    for word in value:
        if word not in list(Scope):
            raise ValueError(f"{quote(word)} is unknown; write {' or '.join(Scope)}")
    if not value:
        raise ValueError(f"is empty; write {' or '.join(Scope)}")
    return [scope for scope in Scope if scope in value]


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
    "created_at": "2026-11-20T12:00:00.000Z",
    "updated_at": "2026-11-20T12:00:00.000Z",
}


class Merchant(Document):
    """Who gets paid. Null stands for the settings' default."""

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
    created_at: Time
    updated_at: Time

    model_config = example(_MERCHANT)


class MerchantWithKey(Document):
    """A merchant, and their API key, which is shown this once."""

    merchant: Merchant
    api_key: str
    previous_keys_expire_at: Time | None = None
    """Until then the keys before it are valid too; null if there were none, or they ended at once."""

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
    """Written about once a minute."""
    expires_at: Time | None
    revoked_at: Time | None


class NewApiKey(Document):
    """An API key, and the key itself, which is shown this once."""

    key: ApiKey
    api_key: str


class ApiKeyPage(Document):
    """All keys that a merchant has or had, newest first."""

    data: list[ApiKey]
    next_cursor: None


class NewMerchant(Request):
    """Who is to be paid. What is left out is as the settings say."""

    name: TextIn
    recipient: PrincipalIn
    """The address or contract that is paid."""
    level: LevelIn | None = None
    ttl: LifetimeIn | None = None
    tolerance: AmountOrZeroIn | None = None
    late_policy: LatePolicy | None = None

    model_config = example({"name": "Tea shop", "recipient": EXAMPLE_ADDRESS})


class ChangeMerchant(Request):
    """What is to be different; null sets back to the settings' default. Intents keep what they were created with."""

    name: TextIn | None = None
    recipient: PrincipalIn | None = None
    level: LevelIn | None = None
    ttl: LifetimeIn | None = None
    tolerance: AmountOrZeroIn | None = None
    late_policy: LatePolicy | None = None
    status: Literal["disabled"] | None = None
    """`disabled`: no more intents, and the keys are revoked; open intents go on."""

    model_config = example({"level": "settled"})

    @field_validator("name", "recipient", mode="before")
    @classmethod
    def _check_needed(cls, value: object) -> object:
        if value is None:
            raise ValueError("is needed")
        return value


class AddApiKey(Request):
    """What the key is for, and what it may do: by default everything."""

    name: TextIn | None = None
    scopes: Annotated[list[Scope], BeforeValidator(_read_scopes)] | None = None

    model_config = example({"name": "till 2", "scopes": ["read"]})


class RotateKey(Request):
    """How long the old keys stay valid; by default they end at once."""

    overlap: DurationIn | None = None

    model_config = example({"overlap": "12h"})
