"""Retention: prune event bodies, logged answers and old hours, dismiss old dead deliveries."""

from dataclasses import dataclass

from sqlalchemy import Connection, and_, or_, select, tuple_, update

from notifier import attempt_hours
from notifier.schema import delivery, delivery_attempt, event, is_dead, is_waiting

#: Rows of each kind that one batch reads.
BATCH_ROWS = 250

#: Start of the walk over the events.
START = (0, "")


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneResult:
    """Result of one batch."""

    #: Bodies and answers pruned, plus dead deliveries dismissed.
    count: int
    #: Position of the next batch among the events.
    after: tuple[int, str]
    #: Whether there may be more to do.
    more: bool


def prune(
    conn: Connection, *, before: float, now: float, after: tuple[int, str] = START, limit: int = BATCH_ROWS
) -> PruneResult:
    """Run one batch of retention on rows older than ``before``, starting at position ``after``.

    Bodies of events and logged answers are set to NULL; the rows stay. A body stays while a delivery of it is
    pending or held, or is dead but younger than ``before``, because it may be retried. Older dead deliveries
    are dismissed, because they can no longer be sent. Counted hours are kept by a rule of their own. Locked
    rows are left for the next run.
    """
    events, place = _empty_events(conn, before, after, limit)
    answers = _empty_answers(conn, before, limit)
    dead = _dismiss(conn, before, now, limit)
    hours = attempt_hours.prune(conn, now=now, limit=limit)
    return PruneResult(
        count=events + answers + dead,
        after=place or after,
        more=place is not None or limit in (answers, dead, hours),
    )


def _empty_events(
    conn: Connection, before: float, after: tuple[int, str], limit: int
) -> tuple[int, tuple[int, str] | None]:
    """Return how many bodies were pruned, and the position of the last event read; None at the end."""
    rows = conn.execute(
        select(event.c.id, event.c.created_at)
        .where(event.c.body.is_not(None), event.c.created_at < before, event.c.created_at >= after[0])
        .where(tuple_(event.c.created_at, event.c.id) > tuple_(*after))
        .order_by(event.c.created_at, event.c.id)
        .limit(limit)
        .with_for_update(skip_locked=True, key_share=True)
    ).all()
    wanted = (
        select(delivery.c.id)
        .where(
            delivery.c.event == event.c.id, or_(is_waiting, and_(is_dead, delivery.c.created_at >= before))
        )
        .exists()
    )
    ids = [row.id for row in rows]
    emptied = conn.execute(update(event).where(event.c.id.in_(ids), ~wanted).values(body=None)).rowcount
    return emptied, (rows[-1].created_at, rows[-1].id) if len(rows) == limit else None


def _empty_answers(conn: Connection, before: float, limit: int) -> int:
    key = (delivery_attempt.c.delivery, delivery_attempt.c.number)
    query = select(*key).where(delivery_attempt.c.response.is_not(None), delivery_attempt.c.at < before)
    query = query.order_by(delivery_attempt.c.at).limit(limit).with_for_update(skip_locked=True)
    old = [tuple(row) for row in conn.execute(query)]
    conn.execute(update(delivery_attempt).where(tuple_(*key).in_(old)).values(response=None))
    return len(old)


def _dismiss(conn: Connection, before: float, now: float, limit: int) -> int:
    query = select(delivery.c.id).where(is_dead, delivery.c.created_at < before).limit(limit)
    old = list(conn.execute(query.with_for_update(skip_locked=True)).scalars())
    conn.execute(update(delivery).where(delivery.c.id.in_(old)).values(dismissed_at=now))
    return len(old)
