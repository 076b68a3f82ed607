"""Events and their deliveries, written in the caller's transaction: committed with what they speak of, or not at all."""

import os
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Insert, Table, and_, func, insert, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from notifier.clock import database_time
from notifier.events import VERDICTS, EventType
from notifier.ids import Entropy, new_id
from notifier.schema import (
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

#: Stays below every database's limit of bound values.
_CHUNK_SIZE = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRow:
    """One event as it is stored; ``body`` is empty once retention emptied it."""

    id: str
    intent: str
    merchant: str
    type: EventType
    #: How many events of this type the intent already had.
    n: int
    #: Place among the intent's events; only increases.
    sequence: int
    reason: str | None = None
    subject: str = ""
    supersedes: str | None = None
    #: The moment it speaks of, unix seconds of whatever clock the writer goes by.
    as_of: int = 0
    body: bytes
    #: Unix seconds of this machine's clock.
    created_at: int
    #: When the writer first saw what it speaks of, by the same clock; None leaves it out of the latency.
    seen_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EventHeader:
    """An earlier event of an intent, without its body."""

    id: str
    type: EventType
    n: int
    sequence: int
    reason: str | None
    subject: str
    as_of: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """An endpoint to write deliveries for."""

    id: str
    enabled: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """The outbox in numbers, without removed endpoints."""

    pending: int
    held: int
    #: Without those that were dismissed.
    dead: int
    #: Age of the oldest delivery that is still pending; None if there is none.
    oldest_seconds: float | None
    #: Ids of enabled endpoints whose attempts only failed of late.
    failing_endpoints: tuple[str, ...]
    #: Ids of endpoints that were disabled by what they answered (or did not), each with the reason.
    disabled_endpoints: tuple[tuple[str, str], ...] = ()


def enqueue(
    conn: Connection, row: EventRow, *, now: float, first_wait: float = 0.0, entropy: Entropy = os.urandom
) -> bool:
    """Write one event as :func:`enqueue_many` does; say whether it was written."""
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

    Return the ids that were written. Of an event whose id is there already nothing is written and nothing will be sent,
    also not to endpoints that were added since. Deliveries to disabled endpoints are held. Another id for the same
    (intent, type, n) is a bug and raises the database's integrity error.
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
    """Date events sent after chain time ``time`` back to it. For false times only: it reads the whole table."""
    conn.execute(update(event).where(event.c.as_of > time).values(as_of=time))


def previous_events(conn: Connection, intents: Collection[str]) -> dict[str, list[EventHeader]]:
    """Return the events of each of these intents in order of sequence; an empty list where there are none."""
    answer: dict[str, list[EventHeader]] = {intent: [] for intent in intents}
    wanted = list(answer)
    columns = (
        event.c.id,
        event.c.intent,
        event.c.type,
        event.c.n,
        event.c.sequence,
        event.c.reason,
        event.c.subject,
        event.c.as_of,
    )
    for start in range(0, len(wanted), _CHUNK_SIZE):
        rows = conn.execute(
            select(*columns)
            .where(event.c.intent.in_(wanted[start : start + _CHUNK_SIZE]))
            .order_by(event.c.intent, event.c.sequence)
        )
        for row in rows:
            answer[row.intent].append(
                EventHeader(
                    id=row.id,
                    type=EventType(row.type),
                    n=row.n,
                    sequence=row.sequence,
                    reason=row.reason,
                    subject=row.subject,
                    as_of=row.as_of,
                )
            )
    return answer


def subscribes(events: Sequence[str], kind: EventType) -> bool:
    """Say whether an endpoint with these subscriptions gets events of a kind."""
    return kind.value in events or "*" in events


def insert_event(conn: Connection, row: EventRow) -> bool:
    """Write an event without deliveries; False if an event of that id is there already."""
    return bool(insert_events(conn, [row]))


def insert_events(conn: Connection, rows: Sequence[EventRow]) -> set[str]:
    """Write events without deliveries, except those whose id is there already; return the ids that were written.

    Writers of the same merchant's events take turns (they hold the ledger's cursor): positions follow the commits.
    """
    if not rows:
        return set()
    counted = [row.merchant for row in rows if row.type is not EventType.TEST]
    positions = _newest_positions(conn, set(counted))
    values = []
    for row in rows:
        if row.type is not EventType.TEST:
            positions[row.merchant] += 1
        values.append(
            {
                "id": row.id,
                "intent": row.intent,
                "merchant": row.merchant,
                "type": row.type.value,
                "n": row.n,
                "sequence": row.sequence,
                "reason": row.reason,
                "subject": row.subject,
                "supersedes": row.supersedes,
                "as_of": row.as_of,
                "body": row.body,
                "created_at": row.created_at,
                "seen_at": row.seen_at,
                "position": None if row.type is EventType.TEST else positions[row.merchant],
            }
        )
    # Not by rowcount, which psycopg does not keep for an INSERT.
    statement = _insert_unless_there(conn, event, "id").returning(event.c.id)
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
    """Write one delivery of a stored event per target, held where the endpoint is disabled; return their ids."""
    values = [
        delivery_values(row, target, now=now, due=due, ordered=ordered, entropy=entropy) for target in targets
    ]
    if values:
        conn.execute(insert(delivery), values)
    return [value["id"] for value in values]


def delivery_values(
    row: EventRow, target: Target, *, now: float, due: float, ordered: bool, entropy: Entropy
) -> dict[str, Any]:
    """Return a fresh row of the delivery table."""
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
    """Return how many deliveries wait for an attempt that may be made now, by the clock that judges.

    ``now``: this machine's, for SQLite. What was written under a clock that was ahead of it, to be sent at once, is due.
    """
    now = database_time(conn, machine=now)
    ahead = and_(delivery.c.stamped_at > now, delivery.c.next_attempt_at <= delivery.c.stamped_at)
    due = select(func.count()).where(is_pending, or_(delivery.c.next_attempt_at <= now, ahead))
    return conn.execute(due).scalar_one()


def stats(conn: Connection, *, now: float) -> Stats:
    """Return the outbox in numbers; reads open deliveries only."""
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


def _insert_unless_there(conn: Connection, table: Table, key: str) -> Insert:
    if conn.dialect.name == "postgresql":
        return postgresql.insert(table).on_conflict_do_nothing(index_elements=[key])
    return sqlite.insert(table).on_conflict_do_nothing(index_elements=[key])
