"""Bulk changes of an endpoint's deliveries, in batches of bounded size.

A change is a row of ``bulk_change`` with its kind and its progress. The request that starts it runs the first
batch in its own transaction, which completes most changes; workers run the rest, one transaction per batch.
The row survives a killed process: the next worker continues after the last committed batch.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, case, delete, func, insert, select, tuple_, update

from notifier import outbox
from notifier.events import EventType
from notifier.ids import Entropy
from notifier.schema import (
    STEADY,
    DeliveryStatus,
    EndpointStatus,
    bulk_change,
    delivery,
    delivery_attempt,
    endpoint,
    event,
    has_body,
    is_dead,
    is_open,
)

#: Rows that one batch reads: holds the write lock for some tens of milliseconds at most.
BATCH_ROWS = 250

#: Longer than any attempt, seconds: the log stores when one started, the endpoint's row when it had failed.
_ATTEMPT_SECONDS = 60.0


class Kind(StrEnum):
    """Kind of a bulk change."""

    #: Set open deliveries to what the endpoint's status demands: pending, held or, once removed, dead.
    ALIGN = "align"
    #: Make dead deliveries due again, with the whole schedule ahead of them.
    REVIVE = "revive"
    #: Send events again.
    REPLAY = "replay"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningChange:
    """Bulk change that continues in the background."""

    endpoint: str
    kind: Kind
    #: Deliveries changed or written so far.
    done: int


def start(
    conn: Connection,
    endpoint_id: str,
    kind: Kind,
    *,
    now: float = 0.0,
    since: float | None = None,
    last_position: int | None = None,
    entropy: Entropy = os.urandom,
) -> int:
    """Start a change and run its first batch; return how many deliveries that batch changed or wrote.

    The caller holds the endpoint's lock. ``now`` is the due time of revived and replayed deliveries, by the
    reference clock. ``since`` selects attempts or events by time, None means all; ``last_position`` is the
    last event of a replay. An unfinished change of the same kind starts over and covers what both requests
    select.
    """
    key = (bulk_change.c.endpoint == endpoint_id, bulk_change.c.kind == kind.value)
    before = conn.execute(select(bulk_change.c.since).where(*key)).one_or_none()
    if before is not None:
        since = None if None in (since, before.since) else min(since or 0.0, before.since)
        conn.execute(delete(bulk_change).where(*key))
    values: dict[str, Any] = {"endpoint": endpoint_id, "kind": kind.value, "since": since}
    values["last_position"] = last_position
    conn.execute(insert(bulk_change).values(**values, done=0))
    return _batch(conn, conn.execute(_query().where(*key)).one(), now=now, entropy=entropy)


def step(conn: Connection, *, now: float, entropy: Entropy = os.urandom) -> bool:
    """Run one batch of a change whose endpoint is not locked; return False if there is none.

    Call it in a transaction of its own. The change is chosen at random, so that all advance.
    """
    query = _query().order_by(func.random()).limit(1)
    row = conn.execute(query.with_for_update(of=endpoint, skip_locked=True, **STEADY)).one_or_none()
    if row is None:
        return False
    _batch(conn, row, now=now, entropy=entropy)
    return True


def running_changes(
    conn: Connection, *, endpoint_id: str | None = None, merchant: str | None = None
) -> list[RunningChange]:
    """Return the unfinished changes of one endpoint or one merchant."""
    query = _query().order_by(bulk_change.c.endpoint, bulk_change.c.kind)
    if endpoint_id is not None:
        query = query.where(bulk_change.c.endpoint == endpoint_id)
    if merchant is not None:
        query = query.where(endpoint.c.merchant == merchant)
    return [
        RunningChange(endpoint=row.endpoint, kind=Kind(row.kind), done=row.done)
        for row in conn.execute(query)
    ]


def fresh_schedule(now: float, *, enabled: bool = True) -> dict[str, Any]:
    """Return a delivery's values with the whole schedule ahead: due at once, or held if not ``enabled``."""
    return {
        "status": (DeliveryStatus.PENDING if enabled else DeliveryStatus.HELD).value,
        "used": 0,
        "next_attempt_at": now if enabled else None,
        "stamped_at": now,
        "dismissed_at": None,
        "lease": None,
        "leased_until": None,
    }


def _query() -> Any:
    columns = (endpoint.c.status, endpoint.c.events, endpoint.c.merchant)
    return select(bulk_change, *columns).join(endpoint, endpoint.c.id == bulk_change.c.endpoint)


def _batch(conn: Connection, change: Row[Any], *, now: float, entropy: Entropy) -> int:
    """Run one batch; store the change's progress, or delete it if finished. Return the deliveries' count."""
    kind = Kind(change.kind)
    if kind is Kind.ALIGN:
        done, place = _align(conn, change, now)
    elif change.status == EndpointStatus.REMOVED:
        done, place = 0, None
    elif kind is Kind.REVIVE:
        done, place = _revive(conn, change, now)
    else:
        done, place = _replay(conn, change, now, entropy)
    mine = (bulk_change.c.endpoint == change.endpoint, bulk_change.c.kind == change.kind)
    if place is None:
        conn.execute(delete(bulk_change).where(*mine))
    else:
        conn.execute(update(bulk_change).where(*mine).values(done=change.done + done, **place))
    return done


#: Progress of a change: values of its row; None: finished.
_Place = dict[str, Any] | None


def _align(conn: Connection, change: Row[Any], now: float) -> tuple[int, _Place]:
    values: dict[str, Any] = {"status": DeliveryStatus.HELD.value, "next_attempt_at": None}
    wrong = [DeliveryStatus.PENDING]
    if change.status == EndpointStatus.ENABLED:
        wrong = [DeliveryStatus.HELD]
        # An attempt may still be under way, with a lease written under a clock that was ahead.
        ahead = case((delivery.c.stamped_at > now, delivery.c.stamped_at - now), else_=0.0)
        values = {"status": DeliveryStatus.PENDING.value, "next_attempt_at": now, "stamped_at": now}
        values["leased_until"] = delivery.c.leased_until - ahead
    elif change.status == EndpointStatus.REMOVED:
        wrong.append(DeliveryStatus.HELD)
        values = {"status": DeliveryStatus.DEAD.value, "next_attempt_at": None, "lease": None}
        values |= {"leased_until": None, "last_error": "the endpoint was removed"}
    done = 0
    for status in wrong:
        if room := BATCH_ROWS - done:
            ids = _ids(conn, is_open, delivery.c.status == status.value, change=change, limit=room)
            conn.execute(update(delivery).where(delivery.c.id.in_(ids)).values(values))
            done += len(ids)
    # Aligned deliveries do not match again, so there is no position to store.
    return done, {} if done == BATCH_ROWS else None


def _revive(conn: Connection, change: Row[Any], now: float) -> tuple[int, _Place]:
    dead = [is_open, delivery.c.status == DeliveryStatus.DEAD.value]
    if change.after is not None:
        dead.append(delivery.c.id > change.after)
    # Includes deliveries that are not selected, so that a batch reads a bounded number of rows.
    ids = _ids(conn, *dead, change=change, limit=BATCH_ROWS)
    meant = [is_dead, has_body]
    if change.since is not None:
        meant.append(_tried_since(change.since))
    values = fresh_schedule(now, enabled=change.status == EndpointStatus.ENABLED)
    done = conn.execute(update(delivery).where(delivery.c.id.in_(ids), *meant).values(values)).rowcount
    return done, {"after": ids[-1]} if len(ids) == BATCH_ROWS else None


def _replay(conn: Connection, change: Row[Any], now: float, entropy: Entropy) -> tuple[int, _Place]:
    place = tuple_(event.c.created_at, event.c.id)
    columns = ("id", "intent", "merchant", "type", "n", "sequence", "created_at", "position")
    query = (
        select(*(event.c[name] for name in columns), event.c.body.is_not(None).label("has_body"))
        .where(event.c.merchant == change.merchant, event.c.created_at >= int(change.since))
        .order_by(event.c.created_at, event.c.id)
        .limit(BATCH_ROWS)
    )
    if change.after is not None:
        query = query.where(place > tuple_(change.after_time, change.after))
    rows = conn.execute(query).all()
    # Neither later events nor other endpoints' test events, which have no position. Filtered here, because in
    # the query it would lead the planner to the wrong index.
    wanted = [
        row
        for row in rows
        if row.has_body
        and row.position is not None
        and row.position <= change.last_position
        and outbox.subscribes(change.events, EventType(row.type))
    ]
    queued = _queued(conn, change.endpoint, [row.id for row in wanted])
    target = outbox.Target(id=change.endpoint, enabled=change.status == EndpointStatus.ENABLED)
    values = [
        outbox.delivery_values(_as_event(row), target, now=now, due=now, ordered=False, entropy=entropy)
        for row in wanted
        if row.id not in queued
    ]
    if values:
        conn.execute(insert(delivery), values)
    more = {"after": rows[-1].id, "after_time": rows[-1].created_at} if len(rows) == BATCH_ROWS else None
    return len(values), more


def _ids(conn: Connection, *conditions: ColumnElement[bool], change: Row[Any], limit: int) -> list[str]:
    query = select(delivery.c.id).where(*conditions, delivery.c.endpoint == change.endpoint)
    return list(conn.execute(query.order_by(delivery.c.id).limit(limit)).scalars())


def _queued(conn: Connection, endpoint_id: str, events: Sequence[str]) -> set[str]:
    """Return which of these events have a pending or held delivery to the endpoint."""
    waiting = (DeliveryStatus.PENDING, DeliveryStatus.HELD)
    # For all endpoints, which are few: filtered by endpoint, the planner might read all its deliveries.
    query = select(delivery.c.event, delivery.c.endpoint, delivery.c.status).where(
        delivery.c.event.in_(events)
    )
    return {row.event for row in conn.execute(query) if row.endpoint == endpoint_id and row.status in waiting}


def _tried_since(moment: float) -> ColumnElement[bool]:
    tries = delivery_attempt.c
    return (
        select(tries.number)
        .where(tries.delivery == delivery.c.id, tries.at >= moment - _ATTEMPT_SECONDS)
        .exists()
    )


def _as_event(row: Any) -> outbox.EventRow:
    return outbox.EventRow(
        id=row.id,
        intent=row.intent,
        merchant=row.merchant,
        type=EventType(row.type),
        n=row.n,
        sequence=row.sequence,
        body=b"",
        created_at=row.created_at,
    )
