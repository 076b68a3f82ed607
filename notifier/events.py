# ruff: noqa: A002 (an id is called id)
"""What a merchant can be told: event types, stable ids, canonical JSON (pure).

An event's id comes from (intent, type, n), n being how many events of that type the intent already had, so that
telling the same thing twice is impossible: the second row has the first one's id.
"""

import hashlib
import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

#: Version of the body's shape, in every body.
API_VERSION = "2026-11-20"

#: Bytes of a webhook's body, at most.
MAX_BODY_BYTES = 256 * 1024

#: Bytes above which the lists in a body are shortened: some receivers take no more than 100 KiB unless they are told to.
LIST_BODY = 96 * 1024

_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


class EventType(StrEnum):
    """The kinds of events an endpoint can subscribe to."""

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

#: What an endpoint can subscribe to; ``*`` is all of it. Test events need no subscription.
SUBSCRIBABLE = tuple(kind.value for kind in EventType if kind is not EventType.TEST)

#: What an endpoint gets that names no events.
DEFAULT_EVENTS = (EventType.SUCCEEDED, EventType.FAILED, EventType.EXPIRED, EventType.ATTENTION)


def read_subscriptions(events: Iterable[object]) -> list[str]:
    """Return the names of the events that an endpoint is to get, each once. Raises :class:`ValueError`."""
    wanted = list(dict.fromkeys(str(name) for name in events))
    if not wanted:
        raise ValueError(f"an endpoint subscribes to at least one of {', '.join(SUBSCRIBABLE)}")
    for name in wanted:
        if name != "*" and name not in SUBSCRIBABLE:
            raise ValueError(f"unknown event {name!r}; there are {', '.join(SUBSCRIBABLE)}, or * for all")
    return wanted


def event_id(intent: str, kind: EventType, n: int) -> str:
    """Return the id ``evt_…`` of the ``n``-th event (from 0) of a kind for an intent; it holds no ``.``."""
    digest = hashlib.sha256(f"{intent}|{kind}|{n}".encode()).digest()
    number = int.from_bytes(digest[:17], "big") >> 6
    return "evt_" + "".join(_CROCKFORD[(number >> shift) & 31] for shift in range(125, -1, -5))


def canonical_json(document: dict[str, Any]) -> bytes:
    """Return the bytes that are stored, signed and sent: compact UTF-8, keys in the order given, no NaN."""
    return json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def rfc3339(seconds: float) -> str:
    """Return unix seconds as RFC 3339 UTC with milliseconds (cut, not rounded) and ``Z``."""
    moment = _EPOCH + timedelta(microseconds=round(seconds * 1_000_000))
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def event_body(
    *, id: str, type: EventType, created_at: float, sequence: int, data: dict[str, Any] | None
) -> bytes:
    """Return the body of a webhook: the envelope around ``data``, fixed for ever once it is stored."""
    return canonical_json(
        {
            "id": id,
            "type": type.value,
            "timestamp": rfc3339(created_at),
            "api_version": API_VERSION,
            "sequence": sequence,
            "data": data,
        }
    )
