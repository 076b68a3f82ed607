"""The outbox: events and their deliveries, written in the transaction that changes what they report."""

import os
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, and_, func, insert, or_, select, update

from notifier.clock import database_time
from notifier.events import VERDICTS, EventType
from notifier.ids import Entropy, new_id
from notifier.records import RecordColumns
from notifier.schema import (
    ENDPOINT_PREFIX,
    SHARED,
    DeliveryStatus,
    DisabledReason,
    EndpointStatus,
    delivery,
    endpoint,
    event,
    is_dead,
    is_open,
    is_pending,
    is_waiting,
)
from notifier.statements import chunks, insert_unless_there


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRow:
    """Stored event; ``body`` is empty once retention pruned it."""

    id: str
    intent: str
    merchant: str
    type: EventType
    #: Number of the intent's earlier events of this type.
    n: int
    #: Position among the intent's events; only increases.
    sequence: int
    reason: str | None = None
    subject: str = ""
    supersedes: str | None = None
    #: The time that the event reports on, unix seconds by the writer's clock.
    as_of: int = 0
    body: bytes
    #: Unix seconds of this machine's clock.
    created_at: int
    #: When the writer first saw the cause, by the same clock; None: not in the latency metric.
    seen_at: float | None = None

    @property
    def is_test(self) -> bool:
        """Whether it was made to try an endpoint, whose id then takes the place of the intent's."""
        return self.intent.startswith(ENDPOINT_PREFIX)


@dataclass(frozen=True, slots=True, kw_only=True)
class EventHeader:
    """Earlier event of an intent, without its body."""

    id: str
    type: EventType
    n: int
    sequence: int
    reason: str | None
    subject: str
    as_of: int


EVENT_COLUMNS = RecordColumns(EventRow)
_HEADER_COLUMNS = RecordColumns(EventHeader)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Endpoint to write deliveries for."""

    id: str
    enabled: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """Counts of open deliveries and endpoints in trouble; removed endpoints are left out."""

    pending: int
    held: int
    #: Without dismissed ones.
    dead: int
    #: Age of the oldest pending delivery; None if there is none.
    oldest_seconds: float | None
    #: Ids of enabled endpoints with failed attempts since their last success.
    failing_endpoints: tuple[str, ...]
    #: Ids of endpoints disabled because of their answers (or lack of answers), each with the reason.
    disabled_endpoints: tuple[tuple[str, str], ...] = ()


def enqueue(
    conn: Connection, row: EventRow, *, now: float, first_wait: float = 0.0, entropy: Entropy = os.urandom
) -> bool:
    """Write one event as :func:`enqueue_many` does; return whether it was written."""
    return bool(enqueue_many(conn, [row], now=now, first_wait=first_wait, entropy=entropy))


def enqueue_many(
    conn: Connection,
    rows: Sequence[EventRow],
    *,
    now: float,
    first_wait: float = 0.0,
    entropy: Entropy = os.urandom,
) -> set[str]:
    """Write events and, for each, one delivery per endpoint of its merchant that subscribes to it.

    Return the ids that were written. An event whose id exists already is skipped, also for endpoints that
    were added since. Deliveries to disabled endpoints are held. Another id for the same (intent, type, n) is
    a bug and raises the database's integrity error.
    """
    written = insert_events(conn, rows)
    fresh = [row for row in rows if row.id in written]
    if not fresh:
        return written
    found = conn.execute(
        select(endpoint.c.id, endpoint.c.merchant, endpoint.c.status, endpoint.c.events)
        .where(
            endpoint.c.merchant.in_(sorted({row.merchant for row in fresh})),
            endpoint.c.status != EndpointStatus.REMOVED,
        )
        .order_by(endpoint.c.id)
        .with_for_update(**SHARED)
    ).all()
    values = [
        delivery_values(
            row,
            Target(id=target.id, enabled=target.status == EndpointStatus.ENABLED),
            now=now,
            due=now + first_wait,
            ordered=True,
            entropy=entropy,
        )
        for row in fresh
        for target in found
        if target.merchant == row.merchant and subscribes(target.events, row.type)
    ]
    if values:
        conn.execute(insert(delivery), values)
    return written


def forget_times_after(conn: Connection, time: int) -> None:
    """Set ``as_of`` of events later than chain time ``time`` back to it, to repair false block times.

    Scans the whole table.
    """
    conn.execute(update(event).where(event.c.as_of > time).values(as_of=time))


def previous_events(conn: Connection, intents: Collection[str]) -> dict[str, list[EventHeader]]:
    """Return the events of each of these intents by sequence; an empty list for an intent without any."""
    answer: dict[str, list[EventHeader]] = {intent: [] for intent in intents}
    query = select(event.c.intent, *_HEADER_COLUMNS.of(event)).order_by(event.c.intent, event.c.sequence)
    for batch in chunks(list(answer)):
        for row in conn.execute(query.where(event.c.intent.in_(batch))).mappings():
            answer[row["intent"]].append(_HEADER_COLUMNS.read(row))
    return answer


def subscribes(events: Sequence[str], kind: EventType) -> bool:
    """Return whether an endpoint with these subscriptions gets events of a type."""
    return kind.value in events or "*" in events


def insert_events(conn: Connection, rows: Sequence[EventRow]) -> set[str]:
    """Write events without deliveries, except those whose id exists already; return the written ids.

    Writers of the same merchant's events are serialized by the ledger's cursor lock, so positions are in
    commit order.
    """
    if not rows:
        return set()
    counted = [row.merchant for row in rows if not row.is_test]
    positions = _newest_positions(conn, set(counted))
    values = []
    for row in rows:
        if not row.is_test:
            positions[row.merchant] += 1
        position = None if row.is_test else positions[row.merchant]
        values.append(EVENT_COLUMNS.values(row) | {"position": position})
    # RETURNING instead of rowcount, which psycopg does not keep for an INSERT.
    statement = insert_unless_there(conn, event, "id").returning(event.c.id)
    return set(conn.execute(statement, values).scalars())


def _newest_positions(conn: Connection, merchants: Collection[str]) -> Counter[str]:
    newest: Counter[str] = Counter()
    for merchant in sorted(merchants):
        query = select(func.max(event.c.position)).where(event.c.merchant == merchant)
        newest[merchant] = conn.execute(query).scalar_one() or 0
    return newest


def insert_deliveries(
    conn: Connection,
    row: EventRow,
    targets: Sequence[Target],
    *,
    now: float,
    due: float,
    ordered: bool,
    entropy: Entropy,
) -> list[str]:
    """Write one delivery of a stored event per target, held if the endpoint is disabled; return the ids."""
    values = [
        delivery_values(row, target, now=now, due=due, ordered=ordered, entropy=entropy) for target in targets
    ]
    if values:
        conn.execute(insert(delivery), values)
    return [value["id"] for value in values]


def delivery_values(
    row: EventRow, target: Target, *, now: float, due: float, ordered: bool, entropy: Entropy
) -> dict[str, Any]:
    """Return the values of a new row of the delivery table."""
    return {
        "id": new_id("dlv_", now, entropy),
        "event": row.id,
        "endpoint": target.id,
        "merchant": row.merchant,
        "intent": row.intent,
        "type": row.type.value,
        "sequence": row.sequence,
        "verdict": row.type in VERDICTS,
        "ordered": ordered,
        "status": (DeliveryStatus.PENDING if target.enabled else DeliveryStatus.HELD).value,
        "next_attempt_at": due if target.enabled else None,
        "stamped_at": now,
        "created_at": now,
    }


def count_due(conn: Connection, *, now: float) -> int:
    """Count pending deliveries that are due now, by the reference clock.

    ``now`` is this machine's time, for SQLite. Deliveries written to be sent at once under a clock that was
    ahead count as due.
    """
    now = database_time(conn, machine=now)
    ahead = and_(delivery.c.stamped_at > now, delivery.c.next_attempt_at <= delivery.c.stamped_at)
    due = select(func.count()).where(is_pending, or_(delivery.c.next_attempt_at <= now, ahead))
    return conn.execute(due).scalar_one()


def stats(conn: Connection, *, now: float) -> Stats:
    """Return the outbox's counts; reads open deliveries only."""
    shown = endpoint.c.status != EndpointStatus.REMOVED
    counts: dict[str, int] = {
        row.status: row.deliveries
        for row in conn.execute(
            select(delivery.c.status, func.count().label("deliveries"))
            .join(endpoint, endpoint.c.id == delivery.c.endpoint)
            .where(is_open, is_waiting, shown)
            .group_by(delivery.c.status)
        )
    }
    dead = conn.execute(
        select(func.count())
        .select_from(delivery)
        .join(endpoint, endpoint.c.id == delivery.c.endpoint)
        .where(is_dead, shown)
    ).scalar_one()
    oldest = conn.execute(select(func.min(delivery.c.created_at)).where(is_pending)).scalar()
    failing = conn.execute(
        select(endpoint.c.id)
        .where(endpoint.c.status == EndpointStatus.ENABLED, endpoint.c.failed > 0)
        .order_by(endpoint.c.id)
    ).scalars()
    disabled = conn.execute(
        select(endpoint.c.id, endpoint.c.disabled_reason)
        .where(
            endpoint.c.status == EndpointStatus.DISABLED,
            endpoint.c.disabled_reason != DisabledReason.OPERATOR,
        )
        .order_by(endpoint.c.id)
    )
    return Stats(
        pending=counts.get(DeliveryStatus.PENDING, 0),
        held=counts.get(DeliveryStatus.HELD, 0),
        dead=dead,
        oldest_seconds=None if oldest is None else max(0.0, now - oldest),
        failing_endpoints=tuple(failing),
        disabled_endpoints=tuple((row.id, row.disabled_reason) for row in disabled),
    )
