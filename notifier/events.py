# ruff: noqa: A002 (an id is called id)
"""Event types, deterministic event ids, canonical JSON (pure).

An event's id is a hash of (intent, type, n), where n counts the intent's earlier events of that type. So the
same event cannot be stored twice: the second row would have the first one's id.
"""

import hashlib
import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from notifier.crockford import crockford

#: Version of the body's shape, in every body.
API_VERSION = "2026-11-20"

#: Largest webhook body, bytes.
MAX_BODY_BYTES = 256 * 1024

#: Body size, bytes, above which its lists are shortened: some receivers accept 100 KiB by default.
MAX_LIST_BODY_BYTES = 96 * 1024


class EventType(StrEnum):
    """Event types."""

    CREATED = "payment.created"
    PROCESSING = "payment.processing"
    SUCCEEDED = "payment.succeeded"
    FAILED = "payment.failed"
    EXPIRED = "payment.expired"
    CANCELED = "payment.canceled"
    ATTENTION = "payment.attention"
    REFUNDED = "payment.refunded"
    TEST = "webhook.test"


#: A verdict ends an intent, until another verdict supersedes it.
VERDICTS = frozenset({EventType.SUCCEEDED, EventType.FAILED, EventType.EXPIRED})

#: Types that an endpoint can subscribe to; ``*`` is all of them. Test events need no subscription.
SUBSCRIBABLE = tuple(kind.value for kind in EventType if kind is not EventType.TEST)

#: Subscriptions of an endpoint that is created without any.
DEFAULT_EVENTS = (EventType.SUCCEEDED, EventType.FAILED, EventType.EXPIRED, EventType.ATTENTION)


def read_subscriptions(events: Iterable[object]) -> list[str]:
    """Validate subscriptions and return them without duplicates. Raises :class:`ValueError`."""
    wanted = list(dict.fromkeys(str(name) for name in events))
    if not wanted:
        raise ValueError(f"an endpoint subscribes to at least one of {', '.join(SUBSCRIBABLE)}")
    for name in wanted:
        if name != "*" and name not in SUBSCRIBABLE:
            raise ValueError(
                f"unknown event {name[:60]!r}; there are {', '.join(SUBSCRIBABLE)}, or * for all"
            )
    return wanted


def event_id(intent: str, kind: EventType, n: int) -> str:
    """Return the id ``evt_…`` of an intent's ``n``-th event (from 0) of a type; it contains no ``.``."""
    digest = hashlib.sha256(f"{intent}|{kind}|{n}".encode()).digest()
    number = int.from_bytes(digest[:17], "big") >> 6
    return "evt_" + crockford(number)


def canonical_json(document: dict[str, Any]) -> bytes:
    """Return the bytes that are stored, signed and sent: compact UTF-8, keys in insertion order, no NaN."""
    return json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def rfc3339(seconds: float) -> str:
    """Format unix seconds as RFC 3339 UTC with milliseconds (truncated, not rounded) and ``Z``."""
    moment = _EPOCH + timedelta(microseconds=round(seconds * 1_000_000))
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def event_body(
    *,
    id: str,
    type: EventType,
    created_at: float,
    sequence: int,
    data: dict[str, Any] | None,
    livemode: bool | None = False,
    test: bool = False,
) -> bytes:
    """Return a webhook's body: the envelope around ``data``. It never changes once it is stored.

    ``livemode``: whether it is about real money, None where that is not known any more. ``test``: it was sent
    to try an endpoint, and nothing of it happened.
    """
    return canonical_json(
        {
            "id": id,
            "type": type.value,
            "timestamp": rfc3339(created_at),
            "api_version": API_VERSION,
            "sequence": sequence,
            "livemode": livemode,
            "test": test,
            "data": data,
        }
    )
