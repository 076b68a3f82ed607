"""Attempts at each endpoint by the hour: how many, how many succeeded, how long they took.

Written in the transaction that records the attempts; an hour is a UTC hour, as its number since 1970, by the
reference clock (:mod:`notifier.clock`).
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, case, delete, select

from notifier.schema import attempt_hour
from notifier.statements import upsert

HOUR_SECONDS = 3_600

#: Hours that are kept: a good year.
KEPT_HOURS = 400 * 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One attempt; ``at`` is when it ended, unix seconds."""

    endpoint: str
    at: float
    ok: bool
    duration_ms: int


@dataclass(frozen=True, slots=True)
class AttemptCount:
    """Attempts in some time: ``duration_ms`` is the sum, ``slowest_ms`` the longest."""

    attempts: int = 0
    succeeded: int = 0
    duration_ms: int = 0
    slowest_ms: int = 0

    def __add__(self, other: "AttemptCount") -> "AttemptCount":
        return AttemptCount(
            self.attempts + other.attempts,
            self.succeeded + other.succeeded,
            self.duration_ms + other.duration_ms,
            max(self.slowest_ms, other.slowest_ms),
        )


def hour_of(time: float) -> int:
    """Return the UTC hour of a unix time."""
    return int(time // HOUR_SECONDS)


def record(conn: Connection, attempts: Sequence[Attempt]) -> None:
    """Add attempts to their hours."""
    counts: dict[tuple[str, int], AttemptCount] = {}
    for attempt in attempts:
        key = (attempt.endpoint, hour_of(attempt.at))
        one = AttemptCount(1, int(attempt.ok), attempt.duration_ms, attempt.duration_ms)
        counts[key] = counts.get(key, AttemptCount()) + one
    for (endpoint, hour), count in sorted(counts.items()):
        added = upsert(conn, attempt_hour).values(
            endpoint=endpoint,
            hour=hour,
            attempts=count.attempts,
            succeeded=count.succeeded,
            duration_ms=count.duration_ms,
            slowest_ms=count.slowest_ms,
        )
        known, new = attempt_hour.c, added.excluded
        conn.execute(
            added.on_conflict_do_update(
                index_elements=[known.endpoint, known.hour],
                set_={
                    "attempts": known.attempts + new.attempts,
                    "succeeded": known.succeeded + new.succeeded,
                    "duration_ms": known.duration_ms + new.duration_ms,
                    "slowest_ms": case(
                        (known.slowest_ms > new.slowest_ms, known.slowest_ms), else_=new.slowest_ms
                    ),
                },
            )
        )


def load(
    conn: Connection, *, first_hour: int, endpoints: Collection[str] | None = None
) -> dict[tuple[str, int], AttemptCount]:
    """Return the attempts from ``first_hour`` on, by endpoint and hour; of these endpoints, or of all."""
    query = select(attempt_hour).where(attempt_hour.c.hour >= first_hour)
    if endpoints is not None:
        query = query.where(attempt_hour.c.endpoint.in_(endpoints))
    return {
        (row.endpoint, row.hour): AttemptCount(row.attempts, row.succeeded, row.duration_ms, row.slowest_ms)
        for row in conn.execute(query)
    }


def prune(conn: Connection, *, now: float, limit: int) -> int:
    """Delete hours that are no longer kept, some at a time; return how many."""
    old = (
        select(attempt_hour.c.endpoint, attempt_hour.c.hour)
        .where(attempt_hour.c.hour < hour_of(now) - KEPT_HOURS)
        .limit(limit)
    )
    rows = conn.execute(old.with_for_update(skip_locked=True)).all()
    for row in rows:
        conn.execute(
            delete(attempt_hour).where(
                attempt_hour.c.endpoint == row.endpoint, attempt_hour.c.hour == row.hour
            )
        )
    return len(rows)
