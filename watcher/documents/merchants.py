"""Merchants and their API keys: what operators see."""

from typing import Literal

from pydantic import Field

from watcher.documents.base import Amount, AmountIn, Document, DurationIn, Request, Time, example
from watcher.documents.money import Depth
from watcher.intents import LatePolicy

#: The values of :class:`watcher.api_keys.Scope`, which clients must not load: it brings the database along.
Scope = Literal["read", "write"]

_ADDRESS = "SP2J6ZY48GV1EZ5V2V5RB9MP66SW86PYKKNRV9EJ7"
_MERCHANT = {
    "id": "mer_01JD4N8Y6B2PJ3T9Z1R7W5Q4VK",
    "object": "merchant",
    "name": "Tea shop",
    "recipient": _ADDRESS,
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

    name: str = Field(min_length=1, max_length=500)
    recipient: str
    """The address or contract that is paid."""
    level: str | dict[str, int] | None = None
    ttl: DurationIn | None = None
    tolerance: AmountIn | None = None
    late_policy: LatePolicy | None = None

    model_config = example({"name": "Tea shop", "recipient": _ADDRESS})


class ChangeMerchant(Request):
    """What is to be different; null sets back to the settings' default. Intents keep what they were created with."""

    name: str | None = Field(None, min_length=1, max_length=500)
    recipient: str | None = None
    level: str | dict[str, int] | None = None
    ttl: DurationIn | None = None
    tolerance: AmountIn | None = None
    late_policy: LatePolicy | None = None
    status: Literal["disabled"] | None = None
    """`disabled`: no more intents, and the keys are revoked; open intents go on."""

    model_config = example({"level": "settled"})


class AddApiKey(Request):
    """What the key is for, and what it may do: by default everything."""

    name: str | None = Field(None, min_length=1, max_length=500)
    scopes: list[Scope] | None = Field(None, min_length=1)

    model_config = example({"name": "till 2", "scopes": ["read"]})


class RotateKey(Request):
    """How long the old keys stay valid; by default they end at once."""

    overlap: DurationIn | None = None

    model_config = example({"overlap": "24h"})
