"""The delivery table as a queue: claim due deliveries, release claims that were not tried.

A claimed row carries a lease. No other worker claims the row until the lease expires, so a killed worker's
rows come back by themselves. :mod:`notifier.results` stores the results of the attempts. Statements are
cached: building one costs more than running it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Connection,
    Double,
    Integer,
    Row,
    ScalarSelect,
    Select,
    Text,
    Update,
    bindparam,
    func,
    or_,
    select,
    text,
    update,
)

from notifier.circuit_breaker import EndpointHealth
from notifier.rate_limit import rate_room, rate_spent, rate_wait
from notifier.schema import PENDING, STEADY, EndpointStatus, delivery, endpoint, event, is_pending
from notifier.secrets import StoredSecrets
from notifier.statements import chunks

#: Failed attempts after which an event no longer holds back the next one of its intent.
HOLDING_ATTEMPTS = 3

#: Key of the advisory lock: arbitrary, but unique in the database.
_CLAIM_LOCK = 8_420_002

_NOW = bindparam("now", type_=Double)
_ENDPOINT = bindparam("the_endpoint", type_=Text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """Delivery that this worker may send until its lease expires."""

    delivery: str
    lease: str
    event: str
    endpoint: str
    url: str
    legacy_v0: bool
    #: As stored, see :mod:`notifier.secrets`.
    secrets: StoredSecrets
    #: None if retention pruned it.
    body: bytes | None
    #: When the writer first saw the event's cause; None where latency is not measured.
    seen_at: float | None = None
    leased_until: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimResult:
    """Claims of one poll of the queue."""

    claims: list[Claim]
    #: When a rate limit lets more through; None if no rate limit was hit.
    next_at: float | None


def lock_claims(conn: Connection) -> None:
    """Serialize claims: block while another worker claims. Must come first in the transaction (lock order).

    Two workers that claimed at the same time would each fill an endpoint's concurrency limit. SQLite has one
    writer anyway; on PostgreSQL an advisory lock is held for the milliseconds that the transaction takes. A
    worker that freezes within it blocks the others until the server ends its idle session.
    """
    if conn.dialect.name == "postgresql":
        conn.execute(_LOCK_TIMEOUTS)
        conn.execute(_LOCK)


_LOCK_TIMEOUTS = text(
    "SELECT set_config('lock_timeout', '5s', true),"
    " set_config('idle_in_transaction_session_timeout', '20s', true)"
)
_LOCK = text(f"SELECT pg_advisory_xact_lock({_CLAIM_LOCK})")


def claim(
    conn: Connection,
    *,
    lease: str,
    now: float,
    leased_until: float,
    room: int,
    endpoint_cap: int,
    endpoint_rate: float | None = None,
) -> ClaimResult:
    """Lease up to ``room`` due deliveries, shared fairly among endpoints.

    An endpoint has at most ``endpoint_cap`` live leases over all workers (fewer after overload, one while its
    circuit breaker is open), and at most ``endpoint_rate`` attempts per second, spread evenly. Within an
    intent and endpoint, an event waits for the earlier ones. Locked rows are skipped, so a claim never
    blocks. ``now`` is the reference clock's time, see :mod:`notifier.clock`.
    """
    found = conn.execute(candidates_query(locked=endpoint_rate is not None), {"now": now}).all()
    free = {row.id: _free(row, endpoint_cap, endpoint_rate, now) for row in found}
    candidates = [row for row in found if free[row.id] > 0]
    leased: list[Row[Any]] = []
    leased_counts = dict.fromkeys(free, 0)
    statement = lease_statement()
    while room > 0 and candidates:
        share = max(1, room // len(candidates))
        left: list[Row[Any]] = []
        for row in candidates:
            limit = min(share, free[row.id] - leased_counts[row.id], room)
            values = {
                "the_endpoint": row.id,
                "now": now,
                "the_limit": limit,
                "the_lease": lease,
                "until": leased_until,
            }
            rows = conn.execute(statement, values).all()
            leased += rows
            room -= len(rows)
            leased_counts[row.id] += len(rows)
            if len(rows) == limit and leased_counts[row.id] < free[row.id]:
                left.append(row)
            if room == 0:
                break
        candidates = left
    next_at = None
    if endpoint_rate is not None:
        if any(
            free[row.id] == leased_counts[row.id]
            and rate_room(row.sent_until, endpoint_rate, now=now) <= leased_counts[row.id]
            for row in found
        ):
            next_at = now + rate_wait(endpoint_rate)
        _spend(conn, found, leased_counts, endpoint_rate, now)
    claims = _load(conn, leased, {row.id: row for row in found}, lease, leased_until)
    return ClaimResult(claims=claims, next_at=next_at)


def release(conn: Connection, claims: Sequence[Claim]) -> None:
    """Release leases without an attempt: the rows are due again at once."""
    lock_endpoints(conn, claims)
    for lease in {claimed.lease for claimed in claims}:
        ids = [claimed.delivery for claimed in claims if claimed.lease == lease]
        for batch in chunks(ids):
            conn.execute(
                update(delivery)
                .where(delivery.c.id.in_(batch), delivery.c.lease == lease)
                .values(lease=None, leased_until=None)
            )


def lock_endpoints(conn: Connection, claims: Sequence[Claim]) -> None:
    """Lock the endpoints of these deliveries, which the lock order demands before changing the deliveries."""
    ids = sorted({claimed.endpoint for claimed in claims})
    for batch in chunks(ids):
        query = select(endpoint.c.id).where(endpoint.c.id.in_(batch))
        conn.execute(query.order_by(endpoint.c.id).with_for_update(**STEADY))


def _free(row: Row[Any], cap: int, rate: float | None, now: float) -> int:
    """Return how many more attempts an endpoint may get now."""
    free: int = EndpointHealth(broken=row.broken, slots=row.slots).allowed(cap) - row.in_flight
    return free if rate is None else min(free, rate_room(row.sent_until, rate, now=now))


def _spend(
    conn: Connection, rows: Sequence[Row[Any]], leased_counts: dict[str, int], rate: float, now: float
) -> None:
    spent = [
        {
            "the_endpoint": row.id,
            "until": rate_spent(row.sent_until, rate, leased_counts[row.id], now=now),
            "stamp": now,
        }
        for row in rows
        if leased_counts[row.id]
    ]
    if spent:
        conn.execute(_spend_statement(), spent)


@cache
def _spend_statement() -> Update:
    return (
        update(endpoint)
        .where(endpoint.c.id == _ENDPOINT)
        .values(sent_until=bindparam("until"), stamped_at=bindparam("stamp"))
    )


@cache
def candidates_query(*, locked: bool = False) -> Select[Any]:
    """Return the query for sendable endpoints with a due delivery, and the count of their live leases.

    A recursive CTE skips through the index from endpoint to endpoint, however many rows each has (a loose
    index scan). ``locked``: the endpoints will be written, so they are locked, and those locked by others are
    skipped. Parameter: ``now``.
    """

    def least(after: ColumnElement[str] | None) -> ScalarSelect[Any]:
        query = select(func.min(delivery.c.endpoint)).where(is_pending)
        if after is not None:
            query = query.where(delivery.c.endpoint > after)
        return query.scalar_subquery()

    hop = select(least(None).label("id")).cte("hop", recursive=True)
    hop = hop.union_all(select(least(hop.c.id)).where(hop.c.id.is_not(None)))
    leases = delivery.alias("leases")
    in_flight = (
        select(func.count())
        .where(leases.c.lease.is_not(None), leases.c.endpoint == endpoint.c.id, leases.c.leased_until > _NOW)
        .correlate(endpoint)
        .scalar_subquery()
        .label("in_flight")
    )
    something = (
        select(delivery.c.id)
        .where(is_pending, delivery.c.endpoint == endpoint.c.id, *_DUE)
        .correlate(endpoint)
        .exists()
    )
    columns = ("id", "url", "legacy_v0", "secrets", "broken", "slots", "sent_until")
    query = (
        select(*(endpoint.c[name] for name in columns), in_flight)
        .select_from(hop)
        .join(endpoint, endpoint.c.id == hop.c.id)
        .where(
            endpoint.c.status == EndpointStatus.ENABLED.value,
            or_(endpoint.c.paused_until.is_(None), endpoint.c.paused_until <= _NOW),
            or_(endpoint.c.held_until.is_(None), endpoint.c.held_until <= _NOW),
            something,
        )
        # Ties are broken at random, so that all endpoints advance.
        .order_by(in_flight, func.random())
    )
    return query.with_for_update(of=endpoint, skip_locked=True, **STEADY) if locked else query


_DUE = (
    delivery.c.next_attempt_at <= _NOW,
    or_(delivery.c.lease.is_(None), delivery.c.leased_until <= _NOW),
)


@cache
def due_query() -> Select[Any]:
    """Return the query for an endpoint's due deliveries that are not held back by an earlier event.

    Parameters: ``the_endpoint``, ``now``, ``the_limit``.
    """
    earlier = delivery.alias("earlier")
    waits = (
        select(earlier.c.id)
        .where(
            earlier.c.endpoint == _ENDPOINT,
            earlier.c.intent == delivery.c.intent,
            earlier.c.sequence < delivery.c.sequence,
            earlier.c.status == PENDING,
            earlier.c.ordered,
            earlier.c.attempts < HOLDING_ATTEMPTS,
            # Only a verdict holds back a verdict.
            or_(earlier.c.verdict, ~delivery.c.verdict),
        )
        .exists()
    )
    return (
        select(delivery.c.id)
        .where(
            is_pending,
            delivery.c.endpoint == _ENDPOINT,
            *_DUE,
            or_(~delivery.c.ordered, ~waits),
        )
        .order_by(delivery.c.next_attempt_at, delivery.c.id)
        .limit(bindparam("the_limit", type_=Integer))
        .with_for_update(skip_locked=True, of=delivery)
    )


@cache
def lease_statement() -> Any:
    """Return the statement that leases an endpoint's due deliveries; it adds ``the_lease`` and ``until``."""
    # As a CTE: PostgreSQL may run a plain subquery again for each row, and lock more rows than the limit.
    due = due_query().cte("due")
    return (
        update(delivery)
        .where(delivery.c.id.in_(select(due.c.id)))
        .values(lease=bindparam("the_lease"), leased_until=bindparam("until"), stamped_at=_NOW)
        .returning(delivery.c.id, delivery.c.event, delivery.c.endpoint)
    )


@cache
def _bodies_query() -> Select[Any]:
    wanted: BindParameter[str] = bindparam("wanted", type_=Text, expanding=True)
    return select(event.c.id, event.c.body, event.c.seen_at).where(event.c.id.in_(wanted))


def _load(
    conn: Connection,
    rows: Sequence[Row[Any]],
    endpoints: dict[str, Row[Any]],
    lease: str,
    leased_until: float,
) -> list[Claim]:
    """Read the events of the rows that were just leased; return the claims."""
    ids = sorted({row.event for row in rows})
    events: dict[str, Row[Any]] = {}
    for batch in chunks(ids):
        found = conn.execute(_bodies_query(), {"wanted": batch})
        events |= {row.id: row for row in found}
    return [
        Claim(
            delivery=row.id,
            lease=lease,
            event=row.event,
            endpoint=row.endpoint,
            url=endpoints[row.endpoint].url,
            legacy_v0=endpoints[row.endpoint].legacy_v0,
            secrets=endpoints[row.endpoint].secrets,
            body=events[row.event].body,
            seen_at=events[row.event].seen_at,
            leased_until=leased_until,
        )
        for row in rows
    ]
