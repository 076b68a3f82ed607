# ruff: noqa: A002 (an id is called id)
"""Webhook endpoints of merchants: create, modify, enable, disable, remove, rotate secrets, test.

Every function works in the caller's transaction. With ``merchant``, another merchant's endpoint raises
:class:`NotFound`. Changes of all deliveries of an endpoint run in batches, see :mod:`notifier.bulk`.
"""

import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection, Row, func, insert, select, update

from notifier import bulk, outbox
from notifier.circuit_breaker import EndpointHealth
from notifier.errors import DecryptionFailed, InvalidEndpoint, NotFound, NotPossible
from notifier.events import (
    DEFAULT_EVENTS,
    EventType,
    event_body,
    event_id,
    read_subscriptions,
    rfc3339,
)
from notifier.ids import Entropy, new_id
from notifier.schema import (
    EXCLUSIVE,
    STEADY,
    DisabledReason,
    EndpointStatus,
    endpoint,
    event,
)
from notifier.secrets import SecretStore
from notifier.signing import SECRET_BYTES, make_secret
from notifier.ssrf import CheckedUrl
from notifier.statements import page

#: How long old secrets stay valid after a rotation, seconds.
DEFAULT_OVERLAP_SECONDS = 86400.0
#: Longest overlap, seconds.
MAX_OVERLAP_SECONDS = 7 * 86400.0

#: Most endpoints of one merchant, removed ones not counted. Each multiplies the cost of an event.
MAX_ENDPOINTS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """URL of a merchant that gets its events."""

    id: str
    merchant: str
    url: str
    events: tuple[str, ...]
    status: EndpointStatus
    disabled_reason: DisabledReason | None
    legacy_v0: bool
    created_at: float


def create(
    conn: Connection,
    *,
    merchant: str,
    url: CheckedUrl,
    events: Iterable[str] = DEFAULT_EVENTS,
    legacy_v0: bool = False,
    secret_store: SecretStore,
    now: float,
    entropy: Entropy = os.urandom,
) -> tuple[Endpoint, str]:
    """Create an endpoint; return it and its secret, which is not shown again.

    :class:`InvalidEndpoint` for unknown events, :class:`NotPossible` when the merchant has
    :data:`MAX_ENDPOINTS`. The caller prevents two concurrent calls for a merchant.
    """
    subscriptions = _subscriptions(events)
    mine = (endpoint.c.merchant == merchant, endpoint.c.status != EndpointStatus.REMOVED)
    if conn.execute(select(func.count()).select_from(endpoint).where(*mine)).scalar_one() >= MAX_ENDPOINTS:
        raise NotPossible(
            f"merchant {merchant} has {MAX_ENDPOINTS} webhook endpoints, the most there can be;"
            " remove one that is not used"
        )
    secret = make_secret(entropy(SECRET_BYTES))
    id_ = new_id("we_", now, entropy)
    conn.execute(
        insert(endpoint).values(
            id=id_,
            merchant=merchant,
            url=url,
            events=subscriptions,
            status=EndpointStatus.ENABLED.value,
            disabled_reason=None,
            legacy_v0=legacy_v0,
            secrets=secret_store.first(secret, owner=id_),
            created_at=now,
        )
    )
    return get(conn, id_), secret


def get(
    conn: Connection, id: str, *, merchant: str | None = None, lock: dict[str, Any] | None = None
) -> Endpoint:
    """Return an endpoint; :class:`NotFound` if there is none. ``lock``: mode of its row lock."""
    return _endpoint(_row(conn, id, merchant, lock=lock))


def list_endpoints(
    conn: Connection, *, merchant: str | None = None, limit: int = 20, cursor: str | None = None
) -> tuple[list[Endpoint], str | None]:
    """Return a page of endpoints, newest first, and the cursor of the next page (None at the end)."""
    query = (
        select(endpoint)
        .where(endpoint.c.status != EndpointStatus.REMOVED)
        .order_by(endpoint.c.id.desc())
        .limit(limit + 1)
    )
    if merchant is not None:
        query = query.where(endpoint.c.merchant == merchant)
    if cursor is not None:
        query = query.where(endpoint.c.id < cursor)
    rows, following = page(conn.execute(query).all(), limit)
    return [_endpoint(row) for row in rows], following


def modify(
    conn: Connection,
    id: str,
    *,
    merchant: str | None = None,
    url: CheckedUrl | None = None,
    events: Iterable[str] | None = None,
    legacy_v0: bool | None = None,
) -> Endpoint:
    """Change the given fields. Waiting deliveries use a new URL; subscriptions apply to later events."""
    # The strongest mode, because the same transaction may also enable the endpoint.
    _row(conn, id, merchant, lock=EXCLUSIVE)
    values: dict[str, Any] = {}
    if url is not None:
        # The new URL has not failed yet.
        values |= {"url": url, **_HEALTHY}
    if events is not None:
        values["events"] = _subscriptions(events)
    if legacy_v0 is not None:
        values["legacy_v0"] = legacy_v0
    if values:
        conn.execute(update(endpoint).where(endpoint.c.id == id).values(**values))
    return get(conn, id)


def remove(conn: Connection, id: str, *, merchant: str | None = None) -> None:
    """Remove an endpoint with its secrets; its open deliveries become dead, its log stays readable."""
    _row(conn, id, merchant, lock=EXCLUSIVE)
    conn.execute(
        update(endpoint)
        .where(endpoint.c.id == id)
        .values(status=EndpointStatus.REMOVED.value, disabled_reason=None, secrets=[], **_HEALTHY)
    )
    bulk.start(conn, id, bulk.Kind.ALIGN)


def enable(conn: Connection, id: str, *, merchant: str | None = None, now: float) -> Endpoint:
    """Enable an endpoint: held deliveries become due at once, and those that died since its last success.

    No effect if it is enabled.
    """
    row = _row(conn, id, merchant, lock=EXCLUSIVE)
    if row.status == EndpointStatus.DISABLED:
        conn.execute(
            update(endpoint)
            .where(endpoint.c.id == id)
            .values(status=EndpointStatus.ENABLED.value, disabled_reason=None, **_HEALTHY)
        )
        bulk.start(conn, id, bulk.Kind.ALIGN, now=now)
        if row.failing_since is not None:
            # These died while every attempt failed; now they get the whole schedule again.
            bulk.start(conn, id, bulk.Kind.REVIVE, now=now, since=row.failing_since)
    return get(conn, id)


def disable(
    conn: Connection,
    id: str,
    *,
    merchant: str | None = None,
    reason: DisabledReason = DisabledReason.OPERATOR,
) -> Endpoint:
    """Disable an endpoint: its deliveries are held until it is enabled again. No effect if it is disabled.

    An attempt under way is finished; if it succeeds, its delivery is delivered.
    """
    row = _row(conn, id, merchant, lock=EXCLUSIVE)
    if row.status == EndpointStatus.ENABLED:
        conn.execute(
            update(endpoint)
            .where(endpoint.c.id == id)
            .values(status=EndpointStatus.DISABLED.value, disabled_reason=reason.value)
        )
        bulk.start(conn, id, bulk.Kind.ALIGN)
    return get(conn, id)


def rotate_secret(
    conn: Connection,
    id: str,
    *,
    merchant: str | None = None,
    overlap: float = DEFAULT_OVERLAP_SECONDS,
    secret_store: SecretStore,
    now: float,
    entropy: Entropy = os.urandom,
) -> tuple[Endpoint, str]:
    """Create a new secret and return it, once; the old ones stay valid beside it for ``overlap`` seconds.

    An overlap of 0 is for a secret that leaked or cannot be decrypted any more. :class:`InvalidEndpoint` if
    it is negative or above a week, :class:`NotPossible` if too many secrets are valid already,
    :class:`DecryptionFailed` if an old one that should stay valid cannot be decrypted.
    """
    if not 0 <= overlap <= MAX_OVERLAP_SECONDS:
        raise InvalidEndpoint("overlap", "an overlap is between 0 and 7 days")
    row = _row(conn, id, merchant, lock=EXCLUSIVE)
    secret = make_secret(entropy(SECRET_BYTES))
    stored = secret_store.rotate(row.secrets, secret, owner=id, now=now, overlap=overlap)
    conn.execute(update(endpoint).where(endpoint.c.id == id).values(secrets=stored))
    return get(conn, id), secret


def secrets(
    conn: Connection, id: str, *, merchant: str | None = None, secret_store: SecretStore, now: float
) -> tuple[str, ...]:
    """Return the secrets that sign for an endpoint at ``now``, the current one last.
    :class:`DecryptionFailed` if one cannot be decrypted.
    """
    row = _row(conn, id, merchant)
    return secret_store.valid_secrets(row.secrets, owner=row.id, now=now)


def unreadable(conn: Connection, *, secret_store: SecretStore, now: float) -> list[str]:
    """Return the ids of endpoints with a secret that cannot be decrypted: their webhooks cannot be signed."""
    rows = conn.execute(
        select(endpoint.c.id, endpoint.c.secrets)
        .where(endpoint.c.status != EndpointStatus.REMOVED)
        .order_by(endpoint.c.id)
    )
    found = []
    for row in rows:
        try:
            secret_store.valid_secrets(row.secrets, owner=row.id, now=now)
        except DecryptionFailed:
            found.append(row.id)
    return found


def send_test(
    conn: Connection,
    id: str,
    *,
    merchant: str | None = None,
    type: EventType = EventType.TEST,
    data: dict[str, Any] | None = None,
    now: float,
    entropy: Entropy = os.urandom,
) -> tuple[str, str]:
    """Write a test event for this endpoint alone; return the event's and the delivery's id.

    ``data``: of a type other than ``webhook.test``. The event is delivered like any other, marked as a test,
    and is none of its merchant's events. :class:`NotPossible` while the endpoint is disabled.
    """
    # Locked so that two at once get numbers, and with them ids, of their own.
    row = _row(conn, id, merchant, lock=STEADY)
    if row.status != EndpointStatus.ENABLED:
        raise NotPossible(f"endpoint {id} is disabled; enable it before testing it")
    # The endpoint's id takes the place of the intent's, so that event ids and sequence numbers work the same.
    last = select(func.coalesce(func.max(event.c.sequence), 0)).where(event.c.intent == id)
    n = conn.execute(last).scalar_one()
    test_id = event_id(id, type, n)
    test = outbox.EventRow(
        id=test_id,
        intent=id,
        merchant=row.merchant,
        type=type,
        n=n,
        sequence=n + 1,
        body=event_body(
            id=test_id,
            type=type,
            created_at=now,
            sequence=n + 1,
            data=data or {"endpoint": id, "message": "This is a test. No payment was made."},
            livemode=False,
            test=True,
        ),
        created_at=int(now),
    )
    outbox.insert_events(conn, [test])
    target = outbox.Target(id=id, enabled=True)
    [delivery_id] = outbox.insert_deliveries(
        conn, test, [target], now=now, due=now, ordered=False, entropy=entropy
    )
    return test_id, delivery_id


def endpoint_json(found: Endpoint) -> dict[str, Any]:
    """Return an endpoint's public JSON document."""
    return {
        "id": found.id,
        "merchant": found.merchant,
        "url": found.url,
        "events": list(found.events),
        "status": found.status.value,
        "disabled_reason": found.disabled_reason.value if found.disabled_reason else None,
        "legacy_v0": found.legacy_v0,
        "created_at": rfc3339(found.created_at),
    }


_HEALTHY: dict[str, Any] = asdict(EndpointHealth())


def _row(conn: Connection, id: str, merchant: str | None, *, lock: dict[str, Any] | None = None) -> Row[Any]:
    query = select(endpoint).where(endpoint.c.id == id, endpoint.c.status != EndpointStatus.REMOVED)
    row = conn.execute(query if lock is None else query.with_for_update(**lock)).one_or_none()
    if row is None or (merchant is not None and row.merchant != merchant):
        raise NotFound("endpoint", id)
    return row


def _endpoint(row: Row[Any]) -> Endpoint:
    return Endpoint(
        id=row.id,
        merchant=row.merchant,
        url=row.url,
        events=tuple(row.events),
        status=EndpointStatus(row.status),
        disabled_reason=DisabledReason(row.disabled_reason) if row.disabled_reason else None,
        legacy_v0=row.legacy_v0,
        created_at=row.created_at,
    )


def _subscriptions(events: Iterable[str]) -> Sequence[str]:
    try:
        return read_subscriptions(events)
    except ValueError as error:
        raise InvalidEndpoint("events", str(error)) from None
