"""The queue that the delivery table is: claim what is due, settle what was tried, hand back what was not.

Each function is one short transaction of the caller's. A claimed row carries a lease: while it holds, nobody else
claims the row; when it has run out, anybody may, so that a killed worker's rows come back by themselves. A result
is stored only if the row still carries the lease it was claimed with.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    ScalarSelect,
    bindparam,
    func,
    insert,
    or_,
    select,
    update,
)

from notifier import endpoints
from notifier.backoff import Health, Verdict, next_attempt_at, parse_retry_after, verdict
from notifier.sender import Outcome
from notifier.tables import (
    PENDING,
    DeliveryStatus,
    DisabledReason,
    EndpointStatus,
    delivery,
    delivery_attempt,
    endpoint,
    event,
    is_leased,
    is_pending,
)
from notifier.vault import Stored

log = structlog.get_logger(__name__)

#: After so many failed attempts an event does not hold back the next one of its intent any more.
HOLDING_ATTEMPTS = 3

#: Statuses whose ``Retry-After`` is honoured.
_THROTTLED = (429, 503)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A delivery that is this worker's to send until the lease runs out."""

    delivery: str
    lease: str
    event: str
    endpoint: str
    url: str
    legacy_v0: bool
    #: As stored; see :mod:`notifier.vault`.
    secrets: Stored
    #: None if retention emptied it.
    body: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came of one claimed delivery."""

    claim: Claim
    #: When the attempt began, and when it had ended.
    started_at: float
    ended_at: float
    outcome: Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How failures are followed up; seconds."""

    schedule: Sequence[float]
    #: Between two probes of an endpoint whose circuit breaker is open.
    breaker_pause: float
    disable_after: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """What became of a delivery after an attempt."""

    result: Result
    status: DeliveryStatus
    next_attempt_at: float | None


def claim(
    conn: Connection, *, lease: str, now: float, leased_until: float, room: int, endpoint_cap: int
) -> list[Claim]:
    """Lease up to ``room`` due deliveries, fairly among the endpoints that have some.

    An endpoint has at most ``endpoint_cap`` live leases over all workers, and one while its circuit breaker is
    open. Within an intent and endpoint an event waits for those before it.
    """
    candidates = _candidates(conn, now=now, endpoint_cap=endpoint_cap)
    claimed: list[Row[Any]] = []
    while room > 0 and candidates:
        share = max(1, room // len(candidates))
        left: list[tuple[Row[Any], int]] = []
        for target, free in candidates:
            asked = min(share, free, room)
            rows = _lease(conn, target.id, lease=lease, now=now, leased_until=leased_until, limit=asked)
            claimed += rows
            room -= len(rows)
            if len(rows) == asked < free:
                left.append((target, free - asked))
            if room == 0:
                break
        candidates = left
    return _load(conn, claimed, lease)


def settle(
    conn: Connection, results: Sequence[Result], *, policy: Policy, jitters: Sequence[float]
) -> list[Settled]:
    """Store what came of attempts, in the order they ended; return what became of the deliveries.

    A result whose lease was lost is dropped: its row is another's by now, or was removed. ``jitters`` are random
    numbers from 0 to 1, one per result.
    """
    ids = sorted({result.claim.delivery for result in results})
    rows = {
        row.id: row for row in conn.execute(select(delivery).where(delivery.c.id.in_(ids)).with_for_update())
    }
    ours = [
        (result, jitter)
        for result, jitter in zip(results, jitters, strict=True)
        if (row := rows.get(result.claim.delivery)) is not None and row.lease == result.claim.lease
    ]
    if not ours:
        return []
    standing = _judge_endpoints(conn, [result for result, _ in ours], policy)
    updates, attempts, settled = [], [], []
    for result, jitter in ours:
        row = rows[result.claim.delivery]
        values = _after(row, result, enabled=standing[row.endpoint], policy=policy, jitter=jitter)
        updates.append({"the_id": row.id, **values})
        attempts.append(_attempt(row, result))
        settled.append(
            Settled(
                result=result,
                status=DeliveryStatus(values["status"]),
                next_attempt_at=values["next_attempt_at"],
            )
        )
    conn.execute(
        update(delivery)
        .where(delivery.c.id == bindparam("the_id"))
        .values({name: bindparam(name) for name in updates[0] if name != "the_id"}),
        updates,
    )
    conn.execute(insert(delivery_attempt), attempts)
    return settled


def hand_back(conn: Connection, claims: Sequence[Claim]) -> None:
    """Give up leases without an attempt: the rows are due again at once."""
    for lease in {claimed.lease for claimed in claims}:
        ids = [claimed.delivery for claimed in claims if claimed.lease == lease]
        conn.execute(
            update(delivery)
            .where(delivery.c.id.in_(ids), delivery.c.lease == lease)
            .values(lease=None, leased_until=None)
        )


def _candidates(conn: Connection, *, now: float, endpoint_cap: int) -> list[tuple[Row[Any], int]]:
    """Return the endpoints that may get more, with how many; those with the fewest live leases first."""
    query = candidates_query(now)
    found = []
    for row in conn.execute(query):
        cap = 1 if Health(broken=row.broken).breaker_open else endpoint_cap
        if row.in_flight < cap:
            found.append((row, cap - row.in_flight))
    return found


def candidates_query(now: float) -> Any:
    """Return the query for endpoints with pending deliveries that may be sent to, and their live leases.

    It hops through the index from endpoint to endpoint, however many rows each has.
    """

    def least(after: ColumnElement[str] | None) -> ScalarSelect[Any]:
        query = select(func.min(delivery.c.endpoint)).where(is_pending)
        if after is not None:
            query = query.where(delivery.c.endpoint > after)
        return query.scalar_subquery()

    hop = select(least(None).label("id")).cte("hop", recursive=True)
    hop = hop.union_all(select(least(hop.c.id)).where(hop.c.id.is_not(None)))
    leased = (
        select(delivery.c.endpoint, func.count().label("in_flight"))
        .where(is_leased, delivery.c.leased_until > now)
        .group_by(delivery.c.endpoint)
        .subquery("leased")
    )
    in_flight = func.coalesce(leased.c.in_flight, 0).label("in_flight")
    return (
        select(endpoint.c.id, endpoint.c.broken, in_flight)
        .select_from(hop)
        .join(endpoint, endpoint.c.id == hop.c.id)
        .outerjoin(leased, leased.c.endpoint == endpoint.c.id)
        .where(
            endpoint.c.status == EndpointStatus.ENABLED.value,
            or_(endpoint.c.paused_until.is_(None), endpoint.c.paused_until <= now),
        )
        # Equals in turn: whoever is first in one round is so by chance.
        .order_by(in_flight, func.random())
    )


def due_query(endpoint_id: str, *, now: float, limit: int) -> Any:
    """Return the query for an endpoint's due deliveries that wait for no other event."""
    earlier = delivery.alias("earlier")
    waits = (
        select(earlier.c.id)
        .where(
            earlier.c.endpoint == endpoint_id,
            earlier.c.intent == delivery.c.intent,
            earlier.c.sequence < delivery.c.sequence,
            earlier.c.status == PENDING,
            earlier.c.ordered,
            earlier.c.attempts < HOLDING_ATTEMPTS,
            # An opt-in type never holds back a verdict.
            or_(earlier.c.verdict, ~delivery.c.verdict),
        )
        .exists()
    )
    return (
        select(delivery.c.id)
        .where(
            is_pending,
            delivery.c.endpoint == endpoint_id,
            delivery.c.next_attempt_at <= now,
            or_(delivery.c.lease.is_(None), delivery.c.leased_until <= now),
            or_(~delivery.c.ordered, ~waits),
        )
        .order_by(delivery.c.next_attempt_at, delivery.c.id)
        .limit(limit)
        .with_for_update(skip_locked=True, of=delivery)
    )


def _lease(
    conn: Connection, endpoint_id: str, *, lease: str, now: float, leased_until: float, limit: int
) -> list[Row[Any]]:
    statement = (
        update(delivery)
        .where(delivery.c.id.in_(due_query(endpoint_id, now=now, limit=limit)))
        .values(lease=lease, leased_until=leased_until)
        .returning(delivery.c.id, delivery.c.event, delivery.c.endpoint)
    )
    return list(conn.execute(statement).all())


def _load(conn: Connection, rows: Sequence[Row[Any]], lease: str) -> list[Claim]:
    """Read what is needed to send the rows that were just leased."""
    if not rows:
        return []
    bodies = {
        found.id: found.body
        for found in conn.execute(
            select(event.c.id, event.c.body).where(event.c.id.in_({row.event for row in rows}))
        )
    }
    targets = {
        found.id: found
        for found in conn.execute(
            select(endpoint.c.id, endpoint.c.url, endpoint.c.legacy_v0, endpoint.c.secrets).where(
                endpoint.c.id.in_({row.endpoint for row in rows})
            )
        )
    }
    return [
        Claim(
            delivery=row.id,
            lease=lease,
            event=row.event,
            endpoint=row.endpoint,
            url=targets[row.endpoint].url,
            legacy_v0=targets[row.endpoint].legacy_v0,
            secrets=targets[row.endpoint].secrets,
            body=bodies[row.event],
        )
        for row in rows
    ]


def _judge_endpoints(conn: Connection, results: Sequence[Result], policy: Policy) -> dict[str, bool]:
    """Store what the attempts say about their endpoints, disable those that are gone or hopeless.

    Returns for each endpoint whether it is enabled afterwards.
    """
    ids = sorted({result.claim.endpoint for result in results})
    query = select(endpoint).where(endpoint.c.id.in_(ids)).order_by(endpoint.c.id).with_for_update()
    standing = {}
    for row in conn.execute(query).all():
        before = Health(
            broken=row.broken,
            failed=row.failed,
            failing_since=row.failing_since,
            paused_until=row.paused_until,
        )
        health = before
        reason: DisabledReason | None = None
        for result in results:
            if result.claim.endpoint != row.id:
                continue
            said = verdict(result.outcome.status_code)
            health = health.after(said, now=result.ended_at, pause=policy.breaker_pause)
            if said is Verdict.GONE:
                reason = DisabledReason.GONE
            elif health.hopeless(now=result.ended_at, disable_after=policy.disable_after):
                reason = DisabledReason.FAILING
        if health != before:
            conn.execute(
                update(endpoint)
                .where(endpoint.c.id == row.id)
                .values(
                    broken=health.broken,
                    failed=health.failed,
                    failing_since=health.failing_since,
                    paused_until=health.paused_until,
                )
            )
        if reason is not None and row.status == EndpointStatus.ENABLED:
            endpoints.disable(conn, row.id, reason=reason)
            log.warning(
                "endpoint.disabled", endpoint=row.id, merchant=row.merchant, url=row.url, reason=reason.value
            )
        standing[row.id] = reason is None and row.status == EndpointStatus.ENABLED
    return standing


def _after(row: Row[Any], result: Result, *, enabled: bool, policy: Policy, jitter: float) -> dict[str, Any]:
    """Return the new values of a delivery after an attempt."""
    outcome, now = result.outcome, result.ended_at
    used = row.used + 1
    due: float | None = None
    if outcome.ok:
        status = DeliveryStatus.DELIVERED
    else:
        asked = None
        if outcome.status_code in _THROTTLED and outcome.retry_after is not None:
            asked = parse_retry_after(outcome.retry_after, now=now)
        due = next_attempt_at(policy.schedule, used, now=now, jitter=jitter, retry_after=asked)
        if due is None:
            status = DeliveryStatus.DEAD
        elif enabled:
            status = DeliveryStatus.PENDING
        else:
            status, due = DeliveryStatus.HELD, None
    return {
        "status": status.value,
        "attempts": row.attempts + 1,
        "used": used,
        "next_attempt_at": due,
        "lease": None,
        "leased_until": None,
        "last_status_code": outcome.status_code,
        "last_error": outcome.error,
        "delivered_at": now if outcome.ok else None,
    }


def _attempt(row: Row[Any], result: Result) -> dict[str, Any]:
    """Return the attempt's line in the log."""
    return {
        "delivery": row.id,
        "number": row.attempts + 1,
        "at": result.started_at,
        "duration_ms": math.ceil(result.outcome.seconds * 1000),
        "status_code": result.outcome.status_code,
        "error": result.outcome.error,
        "response": result.outcome.response,
    }
