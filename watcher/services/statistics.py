"""What a shop owner or an operator wants to know first, as one document: what was paid by day and asset, how
often payments succeed, what needs a person, how webhooks do. Read-only.

It costs the same with a million intents as with ten: days and hours are counted as they happen
(:mod:`watcher.store.day_counts`, :mod:`notifier.attempt_hours`), and what needs a person has indexes of its
own. Days are UTC days; the newest is today, by the later of this machine's clock and the chain's.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import Connection, Select, case, func, select

from notifier import attempt_hours
from notifier.attempt_hours import HOUR_SECONDS, AttemptCount
from notifier.events import rfc3339
from notifier.schema import DisabledReason, EndpointStatus, endpoint, is_dead
from notifier.schema import delivery as delivery_table
from watcher.domain.day_counts import DAY_SECONDS, DayCount, day_of
from watcher.domain.model import Flag, Status
from watcher.services.status import count_intents
from watcher.store import chain_state, day_counts
from watcher.store.filters import has_flag, needs_attention
from watcher.store.schema import intent, transfer

#: Days of the series, and those of the sums by name; each ends today.
DAYS: Final = 30
PERIODS: Final[Mapping[str, int]] = {"today": 1, "week": 7, "month": DAYS}

#: Hours of the webhooks' part; the newest is the running one.
HOURS: Final = 24

#: So many things of a kind that need a person are counted; beyond that, ``more`` is true.
MAX_COUNTED: Final = 1_000

#: Codes of what needs a person, most urgent first.
ATTENTION: Final = (
    "reorged",
    "unverified",
    "late_payments",
    "refunds_due",
    "transfers_to_assign",
    "endpoints_disabled",
    "deliveries_dead",
    "endpoints_failing",
)


def document(
    connection: Connection, *, now: float, shared_now: float, merchant: str | None
) -> dict[str, Any]:
    """Return the statistics of a merchant, or of all (None).

    ``now``: this machine's clock; ``shared_now``: the clock that attempts are counted by.

    ``paid`` has for each asset how many intents succeeded, and what these received, of today, the week, the
    month, and each day. A success that a reorg took back is not counted any more, nor is money that pays for
    nothing.

    ``intents`` counts all there ever were, ``open`` those that are still to be paid or confirmed.

    ``created`` follows the intents created on each day to what became of them; ``success_rate`` is, of those
    that ended as succeeded, failed or expired, the part that succeeded (None if none ended).

    ``attention``: what needs a person, most urgent first, as {code, count, more}; ``webhooks``: attempts of
    the last hours at all endpoints and at each.
    """
    cursor = chain_state.load_cursor(connection)
    today = day_of(max(now, cursor.clock.time if cursor is not None else 0))
    counts = day_counts.load(connection, first_day=today - DAYS + 1, merchant=merchant)
    endpoints = _endpoints(connection, merchant)
    statuses = count_intents(connection, merchant=merchant)
    return {
        "as_of": rfc3339(now),
        "intents": sum(statuses.values()),
        "open": statuses.get(Status.PENDING, 0) + statuses.get(Status.PROCESSING, 0),
        "paid": _paid(counts, today),
        "created": [
            {"day": date_of(day), **_outcomes(_sum(counts, first=day, last=day))}
            for day in range(today - DAYS + 1, today + 1)
        ],
        "success_rate": {
            name: _success_rate(_sum(counts, first=today - days + 1, last=today))
            for name, days in PERIODS.items()
        },
        "attention": _attention(connection, endpoints, merchant),
        "webhooks": _webhooks(connection, endpoints, shared_now, merchant),
    }


def date_of(day: int) -> str:
    """Return a day as ISO 8601 writes it."""
    return datetime.fromtimestamp(day * DAY_SECONDS, UTC).date().isoformat()


_Counts = Mapping[tuple[int, str], DayCount]


def _sum(counts: _Counts, *, first: int, last: int, asset: str | None = None) -> DayCount:
    """Return the sum of some days, of one asset or of all (where what was received means nothing)."""
    return sum(
        (count for (day, name), count in counts.items() if first <= day <= last and asset in (None, name)),
        DayCount(),
    )


def _paid(counts: _Counts, today: int) -> list[dict[str, Any]]:
    """Return what was paid in each asset that any intent of these days has."""

    def paid(asset: str, first: int, last: int) -> dict[str, Any]:
        count = _sum(counts, first=first, last=last, asset=asset)
        return {"count": count.paid, "amount": str(count.received)}

    return [
        {
            "asset": asset,
            **{name: paid(asset, today - days + 1, today) for name, days in PERIODS.items()},
            "days": [
                {"day": date_of(day), **paid(asset, day, day)} for day in range(today - DAYS + 1, today + 1)
            ],
        }
        for asset in sorted({name for _, name in counts})
    ]


def _outcomes(count: DayCount) -> dict[str, int]:
    ended = count.succeeded + count.failed + count.expired + count.canceled
    return {
        "created": count.created,
        "succeeded": count.succeeded,
        "failed": count.failed,
        "expired": count.expired,
        "canceled": count.canceled,
        "open": max(0, count.created - ended),
    }


def _success_rate(count: DayCount) -> dict[str, Any]:
    ended = count.succeeded + count.failed + count.expired
    return {
        "rate": count.succeeded / ended if ended else None,
        "succeeded": count.succeeded,
        "ended": ended,
    }


def _endpoints(connection: Connection, merchant: str | None) -> Mapping[str, Any]:
    """Return the rows of the endpoints that are not removed, by id."""
    columns = (
        endpoint.c.id,
        endpoint.c.url,
        endpoint.c.status,
        endpoint.c.disabled_reason,
        endpoint.c.failed,
    )
    query = select(*columns).where(endpoint.c.status != EndpointStatus.REMOVED).order_by(endpoint.c.id)
    if merchant is not None:
        query = query.where(endpoint.c.merchant == merchant)
    return {row.id: row for row in connection.execute(query)}


def _attention(
    connection: Connection, endpoints: Mapping[str, Any], merchant: str | None
) -> list[dict[str, Any]]:
    flagged = _count_flagged(connection, merchant)
    strays = select(transfer.c.id).where(transfer.c.intent_id.is_(None), transfer.c.canonical)
    dead = select(delivery_table.c.id).where(is_dead)
    if merchant is not None:
        strays = strays.where(transfer.c.merchant_id == merchant)
        dead = dead.where(delivery_table.c.endpoint.in_(list(endpoints)))
    counts = Counter(flagged)
    counts["transfers_to_assign"] = _count(connection, strays)
    counts["deliveries_dead"] = _count(connection, dead) if endpoints else 0
    counts["endpoints_disabled"] = sum(
        1
        for row in endpoints.values()
        if row.status == EndpointStatus.DISABLED and row.disabled_reason != DisabledReason.OPERATOR
    )
    counts["endpoints_failing"] = sum(
        1 for row in endpoints.values() if row.status == EndpointStatus.ENABLED and row.failed > 0
    )
    return [
        {"code": code, "count": min(counts[code], MAX_COUNTED), "more": counts[code] > MAX_COUNTED}
        for code in ATTENTION
        if counts[code]
    ]


def _count_flagged(connection: Connection, merchant: str | None) -> dict[str, int]:
    """Return how many intents need a person, by code: one each, however many of its flags call for it.

    Without a limit, for which PostgreSQL would read the whole table: it takes them for many.
    """
    code = case(
        (
            has_flag(connection, Flag.REFUND_DUE),
            case((has_flag(connection, Flag.LATE), "late_payments"), else_="refunds_due"),
        ),
        (has_flag(connection, Flag.REORGED), "reorged"),
        else_="unverified",
    ).label("code")
    flagged = select(code).where(needs_attention(connection))
    if merchant is not None:
        flagged = flagged.where(intent.c.merchant_id == merchant)
    found = flagged.subquery()
    query = select(found.c.code, func.count().label("number")).group_by(found.c.code)
    return {row.code: row.number for row in connection.execute(query)}


def _count(connection: Connection, query: Select[Any]) -> int:
    """Return the number of rows, but no more than one above what is counted."""
    few = query.limit(MAX_COUNTED + 1).subquery()
    return connection.execute(select(func.count()).select_from(few)).scalar_one()


def _webhooks(
    connection: Connection, endpoints: Mapping[str, Any], now: float, merchant: str | None
) -> dict[str, Any]:
    this_hour = attempt_hours.hour_of(now)
    first_hour = this_hour - HOURS + 1
    found = attempt_hours.load(
        connection, first_hour=first_hour, endpoints=None if merchant is None else list(endpoints)
    )
    by_hour: defaultdict[int, AttemptCount] = defaultdict(AttemptCount)
    by_endpoint: defaultdict[str, AttemptCount] = defaultdict(AttemptCount)
    for (id_, hour), count in found.items():
        by_hour[hour] += count
        by_endpoint[id_] += count
    return {
        **_attempts(sum(by_hour.values(), AttemptCount())),
        "hours": [
            {"hour": rfc3339(hour * HOUR_SECONDS), **_attempts(by_hour[hour])}
            for hour in range(first_hour, this_hour + 1)
        ],
        "endpoints": [
            {"id": row.id, "url": row.url, "status": row.status, **_attempts(by_endpoint[row.id])}
            for row in endpoints.values()
        ],
    }


def _attempts(total: AttemptCount) -> dict[str, Any]:
    return {
        "attempts": total.attempts,
        "succeeded": total.succeeded,
        "rate": total.succeeded / total.attempts if total.attempts else None,
        "average_ms": round(total.duration_ms / total.attempts) if total.attempts else None,
        "slowest_ms": total.slowest_ms if total.attempts else None,
    }
