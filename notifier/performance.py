"""How endpoints answered lately: success rate, latency, last error. Every read is bounded.

Attempts are counted by the hour (:mod:`notifier.attempt_hours`); latency and the last error are those of the
newest deliveries.
"""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from sqlalchemy import Connection, Row, select, union_all

from notifier import attempt_hours
from notifier.attempt_hours import HOUR_SECONDS, AttemptCount
from notifier.events import rfc3339
from notifier.ids import first_id
from notifier.schema import delivery, delivery_attempt, is_pending

#: Attempts that count are of the running hour and the 23 before it.
HOURS = 24
#: Deliveries of an endpoint whose attempts are read: so many of its newest, and of those that still wait.
MAX_DELIVERIES = 250
#: Attempts of an endpoint that are read; the newest count.
MAX_ATTEMPTS = 500

_READ = ("delivery", "at", "duration_ms", "status_code", "error")


@dataclass(frozen=True, slots=True, kw_only=True)
class Performance:
    """How one endpoint, or several, answered in the last 24 hours."""

    count: AttemptCount = field(default_factory=AttemptCount)
    #: The newest attempts.
    attempts: tuple[Row[Any], ...] = ()

    def __add__(self, other: "Performance") -> "Performance":
        return Performance(count=self.count + other.count, attempts=self.attempts + other.attempts)

    def document(self) -> dict[str, Any]:
        """Return it as JSON; null where nothing was tried."""
        count = self.count
        return {
            "attempts": count.attempts,
            "success_rate": round(count.succeeded / count.attempts, 4) if count.attempts else None,
            "latency_ms": self._latency(),
            "last_error": self._last_error(),
        }

    def _latency(self) -> dict[str, int] | None:
        """Of attempts that were answered: one without an answer says nothing but the timeout."""
        durations = sorted(row.duration_ms for row in self.attempts if row.status_code is not None)
        if not durations:
            return None
        return {"p50": _percentile(durations, 50), "p95": _percentile(durations, 95)}

    def _last_error(self) -> dict[str, Any] | None:
        failed = [row for row in self.attempts if not _is_ok(row)]
        if not failed:
            return None
        last = max(failed, key=lambda row: row.at)
        return {
            "at": rfc3339(last.at),
            "status_code": last.status_code,
            "message": in_words(last.status_code, last.error),
            "delivery": last.delivery,
        }


def measure(conn: Connection, endpoints: Collection[str], *, now: float) -> dict[str, Performance]:
    """Return how each endpoint answered in the 24 hours before ``now``, by the reference clock."""
    counts = dict.fromkeys(endpoints, AttemptCount())
    first_hour = attempt_hours.hour_of(now) - HOURS + 1
    for (id_, _), count in attempt_hours.load(conn, first_hour=first_hour, endpoints=endpoints).items():
        counts[id_] += count
    since = first_hour * HOUR_SECONDS
    return {
        id_: Performance(count=count, attempts=_newest(conn, id_, since) if count.attempts else ())
        for id_, count in counts.items()
    }


def _newest(conn: Connection, endpoint: str, since: float) -> tuple[Row[Any], ...]:
    of_endpoint = select(delivery.c.id).where(delivery.c.endpoint == endpoint)
    newest = of_endpoint.where(delivery.c.id >= first_id("dlv_", since))
    # What waits longer than a day is tried, too.
    waiting = of_endpoint.where(is_pending)
    parts = [
        select(part.order_by(delivery.c.id.desc()).limit(MAX_DELIVERIES).subquery().c.id)
        for part in (newest, waiting)
    ]
    query = (
        select(*(delivery_attempt.c[name] for name in _READ))
        .where(delivery_attempt.c.delivery.in_(union_all(*parts)), delivery_attempt.c.at >= since)
        .order_by(delivery_attempt.c.at.desc())
        .limit(MAX_ATTEMPTS)
    )
    return tuple(conn.execute(query))


def in_words(status_code: int | None, error: str | None) -> str:
    """Say why an attempt failed: ``no answer within 15 s``, ``answered 500 Internal Server Error``."""
    if status_code is None:
        return error or "no answer"
    try:
        return f"answered {status_code} {HTTPStatus(status_code).phrase}"
    except ValueError:
        return f"answered {status_code}"


def _is_ok(row: Row[Any]) -> bool:
    return row.status_code is not None and 200 <= row.status_code < 300


def _percentile(ordered: Sequence[int], percent: int) -> int:
    """Return the least value that so many percent are not above."""
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]
