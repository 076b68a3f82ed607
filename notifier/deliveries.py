# ruff: noqa: A002 (an id is called id)
"""Queries of deliveries, and resends: retry, recover, redeliver, replay. All in the caller's transaction."""

import os
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, func, select, update

from notifier import bulk, endpoints, event_log, outbox
from notifier.errors import NotFound, NotPossible
from notifier.events import EventType, rfc3339
from notifier.ids import Entropy, first_id
from notifier.schema import (
    STEADY,
    DeliveryStatus,
    EndpointStatus,
    delivery,
    delivery_attempt,
    endpoint,
    event,
    is_open,
    is_waiting,
)
from notifier.statements import page


def list_deliveries(
    conn: Connection,
    *,
    merchant: str | None = None,
    endpoint: str | None = None,
    event: str | None = None,
    type: EventType | None = None,
    status: DeliveryStatus | None = None,
    created_from: float | None = None,
    created_to: float | None = None,
    limit: int = 20,
    cursor: str | None = None,
) -> tuple[list[dict[str, Any]], str | None]:
    """Return a page of deliveries' JSON documents, newest first and without logs, and the next cursor.

    Times are unix seconds, from inclusive, to exclusive.
    """
    query = select(delivery).order_by(delivery.c.id.desc()).limit(limit + 1)
    for column, value in (
        (delivery.c.merchant, merchant),
        (delivery.c.endpoint, endpoint),
        (delivery.c.event, event),
        (delivery.c.type, type.value if type else None),
        (delivery.c.status, status.value if status else None),
    ):
        if value is not None:
            query = query.where(column == value)
    if status is not None and status is not DeliveryStatus.DELIVERED:
        query = query.where(is_open)
    if created_from is not None:
        query = query.where(delivery.c.id >= first_id("dlv_", created_from))
    if created_to is not None:
        query = query.where(delivery.c.id < first_id("dlv_", created_to))
    if cursor is not None:
        query = query.where(delivery.c.id < cursor)
    rows, following = page(conn.execute(query).all(), limit)
    return [delivery_json(row) for row in rows], following


def show(conn: Connection, id: str, *, merchant: str | None = None) -> dict[str, Any]:
    """Return a delivery's JSON document with the log of its attempts; :class:`NotFound` if there is none."""
    row = _row(conn, id, merchant)
    attempts = conn.execute(
        select(delivery_attempt).where(delivery_attempt.c.delivery == id).order_by(delivery_attempt.c.number)
    )
    return {**delivery_json(row), "log": [_attempt_json(attempt) for attempt in attempts]}


def retry(conn: Connection, id: str, *, merchant: str | None = None, now: float) -> None:
    """Make a pending or dead delivery due at once, unordered and with the whole schedule ahead.

    :class:`NotPossible` if it was delivered (redeliver its event instead) or is being sent, if its endpoint
    is disabled or removed, or if the event's body was pruned.
    """
    target = endpoints.get(conn, _row(conn, id, merchant).endpoint, lock=STEADY)
    row = _row(conn, id, merchant, lock=True)
    if row.status == DeliveryStatus.DELIVERED:
        raise NotPossible(f"delivery {id} was delivered; redeliver event {row.event} to send it again")
    if row.status == DeliveryStatus.HELD:
        raise NotPossible(f"endpoint {row.endpoint} is disabled; enabling it sends what is held")
    if row.lease is not None and row.leased_until > now:
        raise NotPossible(f"delivery {id} is being sent right now; look at it again in a moment")
    _require_enabled(target)
    _require_body(event_log.get_event(conn, row.event))
    conn.execute(
        update(delivery).where(delivery.c.id == id).values(ordered=False, **bulk.fresh_schedule(now))
    )


def recover(conn: Connection, endpoint_id: str, *, merchant: str | None = None, now: float) -> int:
    """Make all dead deliveries of an endpoint due at once, each with the whole schedule ahead.

    Returns the size of the first batch; see :mod:`notifier.bulk` for the rest. Dismissed ones, and those
    whose event's body was pruned, stay dead. :class:`NotPossible` while the endpoint is disabled.
    """
    found = endpoints.get(conn, endpoint_id, merchant=merchant, lock=STEADY)
    _require_enabled(found)
    return bulk.start(conn, endpoint_id, bulk.Kind.REVIVE, now=now)


def dismiss(conn: Connection, id: str, *, merchant: str | None = None, now: float) -> None:
    """Mark a dead delivery as handled, so that it no longer counts as trouble; no effect if it was dismissed.

    It stays dead and can be retried as long as its event has a body. :class:`NotPossible` if it is not dead.
    """
    row = _row(conn, id, merchant, lock=True)
    if row.status != DeliveryStatus.DEAD:
        raise NotPossible(f"delivery {id} is {row.status}; only dead ones are dismissed")
    if row.dismissed_at is None:
        conn.execute(update(delivery).where(delivery.c.id == id).values(dismissed_at=now))


def redeliver(
    conn: Connection,
    event_id: str,
    *,
    endpoint_id: str | None = None,
    merchant: str | None = None,
    now: float,
    entropy: Entropy = os.urandom,
) -> list[str]:
    """Send an event again under its id, to one endpoint or to all that got it; return the delivery ids.

    A named endpoint of the same merchant need not have got it before. Resends are unordered; to a disabled
    endpoint they are held. A resend that already waits is made due at once instead of adding another.
    :class:`NotPossible` if the body was pruned.
    """
    row = event_log.get_event(conn, event_id, merchant=merchant)
    _require_body(row)
    query = select(endpoint.c.id, endpoint.c.status).where(endpoint.c.status != EndpointStatus.REMOVED)
    if endpoint_id is None:
        query = query.where(
            endpoint.c.id.in_(select(delivery.c.endpoint).where(delivery.c.event == event_id))
        )
    else:
        endpoints.get(conn, endpoint_id, merchant=row.merchant)
        query = query.where(endpoint.c.id == endpoint_id)
    targets = [
        outbox.Target(id=found.id, enabled=found.status == EndpointStatus.ENABLED)
        for found in conn.execute(query.order_by(endpoint.c.id).with_for_update(**STEADY))
    ]
    waiting = _hasten(conn, event_id, targets, now=now)
    targets = [target for target in targets if target.id not in waiting]
    made = outbox.insert_deliveries(conn, row, targets, now=now, due=now, ordered=False, entropy=entropy)
    return [*waiting.values(), *made]


def replay(
    conn: Connection,
    endpoint_id: str,
    *,
    since: float,
    merchant: str | None = None,
    now: float,
    entropy: Entropy = os.urandom,
) -> int:
    """Send an endpoint again every event of its subscriptions written since a time (unix seconds).

    Returns the size of the first batch; see :mod:`notifier.bulk` for the rest. Events whose body was pruned,
    and those that have a pending or held delivery to it, are skipped.
    """
    found = endpoints.get(conn, endpoint_id, merchant=merchant, lock=STEADY)
    newest = select(func.coalesce(func.max(event.c.position), 0)).where(event.c.merchant == found.merchant)
    return bulk.start(
        conn,
        endpoint_id,
        bulk.Kind.REPLAY,
        now=now,
        since=since,
        last_position=conn.execute(newest).scalar_one(),
        entropy=entropy,
    )


def _hasten(
    conn: Connection, event_id: str, targets: Sequence[outbox.Target], *, now: float
) -> dict[str, str]:
    """Make waiting resends of an event to these endpoints due at once; return their ids by endpoint."""
    of_event = (
        delivery.c.event == event_id,
        delivery.c.endpoint.in_([target.id for target in targets]),
        ~delivery.c.ordered,
        is_waiting,
    )
    found = conn.execute(select(delivery.c.id, delivery.c.endpoint).where(*of_event).order_by(delivery.c.id))
    waiting = {row.endpoint: row.id for row in found}
    # Deliveries being sent right now are left alone.
    idle = (delivery.c.status == DeliveryStatus.PENDING.value, delivery.c.lease.is_(None))
    ids = list(waiting.values())
    conn.execute(update(delivery).where(delivery.c.id.in_(ids), *idle).values(bulk.fresh_schedule(now)))
    return waiting


def delivery_json(row: Row[Any]) -> dict[str, Any]:
    """Return a delivery's public JSON document, without its log."""
    return {
        "id": row.id,
        "event": row.event,
        "event_type": row.type,
        "endpoint": row.endpoint,
        "status": row.status,
        "attempts": row.attempts,
        "next_attempt_at": None if row.next_attempt_at is None else rfc3339(row.next_attempt_at),
        "last_status_code": row.last_status_code,
        "last_error": row.last_error,
        "created_at": rfc3339(row.created_at),
        "delivered_at": None if row.delivered_at is None else rfc3339(row.delivered_at),
        "dismissed_at": None if row.dismissed_at is None else rfc3339(row.dismissed_at),
    }


def _attempt_json(row: Row[Any]) -> dict[str, Any]:
    return {
        "number": row.number,
        "at": rfc3339(row.at),
        "duration_ms": row.duration_ms,
        "status_code": row.status_code,
        "error": row.error,
        "response": None if row.response is None else row.response.decode("utf-8", "replace"),
    }


def _row(conn: Connection, id: str, merchant: str | None, *, lock: bool = False) -> Row[Any]:
    query = select(delivery).where(delivery.c.id == id)
    row = conn.execute(query.with_for_update() if lock else query).one_or_none()
    if row is None or (merchant is not None and row.merchant != merchant):
        raise NotFound("delivery", id)
    return row


def _require_enabled(found: endpoints.Endpoint) -> None:
    if found.status is not EndpointStatus.ENABLED:
        raise NotPossible(f"endpoint {found.id} is disabled; enable it first")


def _require_body(row: outbox.EventRow) -> None:
    if not row.body:
        raise NotPossible(
            f"the body of event {row.id} was pruned; fetch the payment intent {row.intent} instead"
        )
