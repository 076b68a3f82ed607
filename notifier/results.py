"""Record the results of attempts: deliveries, their log, and the health of the endpoints.

Runs in one short transaction of the caller. A result counts only if the row still carries the lease it was
claimed with. Endpoints are locked before deliveries, as the lock order demands (:mod:`notifier.schema`).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import Any

import structlog
from sqlalchemy import BindParameter, Connection, Row, Select, Text, Update, bindparam, insert, select, update

from notifier import attempt_hours, endpoints
from notifier.circuit_breaker import RETRY_AFTER_STATUSES, EndpointHealth, Verdict, verdict
from notifier.queue import Claim
from notifier.retry import next_attempt_at, parse_retry_after
from notifier.schema import (
    STEADY,
    DeliveryStatus,
    DisabledReason,
    EndpointStatus,
    delivery,
    delivery_attempt,
    endpoint,
)
from notifier.sender import SendResult
from notifier.statements import chunks

log = structlog.get_logger(__name__)

_HEALTH = tuple(EndpointHealth.__dataclass_fields__)


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptResult:
    """Result of one attempt at a claimed delivery."""

    claim: Claim
    #: When the attempt started and ended, unix seconds.
    started_at: float
    ended_at: float
    outcome: SendResult

    @property
    def retry_after(self) -> float | None:
        """Seconds of ``Retry-After``, for the statuses where it is honoured."""
        header = self.outcome.retry_after
        if self.outcome.status_code not in RETRY_AFTER_STATUSES or header is None:
            return None
        return parse_retry_after(header, now=self.ended_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Policy for failed attempts; times in seconds."""

    schedule: Sequence[float]
    #: Pause between the first two probes of an endpoint whose circuit breaker is open.
    breaker_pause: float
    disable_after: float
    #: Concurrency limit of a healthy endpoint.
    endpoint_cap: int = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedAttempt:
    """Delivery after a recorded attempt."""

    result: AttemptResult
    status: DeliveryStatus
    next_attempt_at: float | None
    #: Seconds from first sight of the event's cause to its first attempt; None for later attempts, for
    #: resends, and where latency is not measured.
    latency: float | None = None


def record_results(
    conn: Connection,
    results: Sequence[AttemptResult],
    *,
    policy: Policy,
    jitters: Sequence[float],
    now: float | None = None,
) -> list[RecordedAttempt]:
    """Record results of attempts, in the order they ended; return the deliveries' new states.

    A result whose lease was lost is dropped: another worker has its row by now, or the endpoint was removed.
    ``jitters`` are random numbers from 0 to 1, one per result. Waits are counted from ``now``, the reference
    clock's time (see :mod:`notifier.clock`); by default from the end of each attempt.
    """
    if not results:
        return []
    targets = _load(conn, _endpoints_query(), [result.claim.endpoint for result in results])
    ours = _still_leased(conn, results, jitters, now)
    if not ours:
        return []
    enabled = _update_health(conn, targets, [result for _, result, _ in ours], policy)
    recorded = _write(conn, ours, enabled, policy)
    attempt_hours.record(
        conn,
        [
            attempt_hours.Attempt(
                endpoint=row.endpoint,
                at=result.ended_at,
                ok=result.outcome.ok,
                duration_ms=_duration_ms(result),
            )
            for row, result, _ in ours
        ],
    )
    return recorded


def record_results_plainly(
    conn: Connection,
    results: Sequence[AttemptResult],
    *,
    policy: Policy,
    jitters: Sequence[float],
    now: float | None = None,
) -> list[RecordedAttempt]:
    """Record only the status codes of attempts whose full results the database rejects.

    Nothing else that an endpoint sent is stored; the endpoints, which are not locked, keep their health and
    their counts of attempts. Without this fallback such a delivery would be sent again for ever.
    """
    ours = _still_leased(conn, [_plain(result) for result in results], jitters, now)
    if not ours:
        return []
    wanted = {row.endpoint for row, _, _ in ours}
    statuses = conn.execute(select(endpoint.c.id, endpoint.c.status).where(endpoint.c.id.in_(wanted)))
    enabled = {row.id: row.status == EndpointStatus.ENABLED for row in statuses}
    return [replace(recorded, latency=None) for recorded in _write(conn, ours, enabled, policy)]


def _plain(result: AttemptResult) -> AttemptResult:
    code = result.outcome.status_code
    error = None if code is not None else "internal error: what came of it could not be stored"
    return replace(result, outcome=SendResult(status_code=code, error=error, seconds=0.0))


#: A claimed delivery's row, the result of its attempt, and a random number for its next one.
_Leased = tuple[Row[Any], AttemptResult, float]


def _still_leased(
    conn: Connection, results: Sequence[AttemptResult], jitters: Sequence[float], now: float | None
) -> list[_Leased]:
    """Lock the deliveries of results; without those whose lease was lost."""
    rows = _load(conn, _deliveries_query(), [result.claim.delivery for result in results])
    return [
        (row, result if now is None else replace(result, ended_at=now), jitter)
        for result, jitter in zip(results, jitters, strict=True)
        if (row := rows.get(result.claim.delivery)) is not None and row.lease == result.claim.lease
    ]


def _write(
    conn: Connection, ours: Sequence[_Leased], enabled: Mapping[str, bool], policy: Policy
) -> list[RecordedAttempt]:
    """Write what became of deliveries, and their logs; ``enabled`` has their endpoints."""
    updates, recorded = [], []
    for row, result, jitter in ours:
        values = _after(row, result, enabled=enabled[row.endpoint], policy=policy, jitter=jitter)
        updates.append({"the_id": row.id, **values})
        recorded.append(
            RecordedAttempt(
                result=result,
                status=DeliveryStatus(values["status"]),
                next_attempt_at=values["next_attempt_at"],
                latency=_latency(row, result),
            )
        )
    conn.execute(_update_statement(tuple(updates[0])), updates)
    conn.execute(insert(delivery_attempt), [_attempt(row, result) for row, result, _ in ours])
    return recorded


@cache
def _endpoints_query() -> Select[Any]:
    columns = ("id", "merchant", "url", "status", *_HEALTH)
    query = select(*(endpoint.c[name] for name in columns))
    # Inserting a delivery takes a key-share lock on its endpoint, which does not conflict with this mode.
    return query.where(endpoint.c.id.in_(_WANTED)).order_by(endpoint.c.id).with_for_update(**STEADY)


@cache
def _deliveries_query() -> Select[Any]:
    columns = ("id", "endpoint", "lease", "attempts", "used", "ordered")
    query = select(*(delivery.c[name] for name in columns))
    return query.where(delivery.c.id.in_(_WANTED)).order_by(delivery.c.id).with_for_update()


_WANTED: BindParameter[str] = bindparam("wanted", type_=Text, expanding=True)


def _load(conn: Connection, query: Select[Any], wanted: Sequence[str]) -> dict[str, Row[Any]]:
    ids = sorted(set(wanted))
    found: dict[str, Row[Any]] = {}
    for batch in chunks(ids):
        rows = conn.execute(query, {"wanted": batch})
        found |= {row.id: row for row in rows}
    return found


@cache
def _update_statement(names: tuple[str, ...]) -> Update:
    changed: dict[str, BindParameter[Any]] = {name: bindparam(name) for name in names if name != "the_id"}
    return update(delivery).where(delivery.c.id == bindparam("the_id")).values(changed)


def _update_health(
    conn: Connection, rows: dict[str, Row[Any]], results: Sequence[AttemptResult], policy: Policy
) -> dict[str, bool]:
    """Update the endpoints' health after attempts, and disable those that are gone or only failing.

    Returns for each endpoint whether it is enabled afterwards.
    """
    before = {
        id_: EndpointHealth(**{name: getattr(row, name) for name in _HEALTH}) for id_, row in rows.items()
    }
    after = dict(before)
    reasons: dict[str, DisabledReason] = {}
    for result in results:
        id_, code = result.claim.endpoint, result.outcome.status_code
        after[id_] = after[id_].after(
            code,
            now=result.ended_at,
            pause=policy.breaker_pause,
            cap=policy.endpoint_cap,
            retry_after=result.retry_after,
        )
        if verdict(code) is Verdict.GONE:
            reasons[id_] = DisabledReason.GONE
        elif after[id_].should_disable(now=result.ended_at, disable_after=policy.disable_after):
            reasons.setdefault(id_, DisabledReason.FAILING)
    for id_, health in after.items():
        if health != before[id_]:
            values = {**asdict(health), "stamped_at": max(result.ended_at for result in results)}
            conn.execute(update(endpoint).where(endpoint.c.id == id_).values(values))
    for id_, reason in reasons.items():
        row = rows[id_]
        if row.status == EndpointStatus.ENABLED:
            endpoints.disable(conn, id_, reason=reason)
            # Critical: the operator must act, because this endpoint gets no webhooks from here on.
            log.critical(
                "endpoint.disabled",
                endpoint=id_,
                merchant=row.merchant,
                url=row.url,
                reason=reason.value,
                failed_attempts=after[id_].failed,
                failing_since=after[id_].failing_since,
                hint=f"once the endpoint works again: sbtc-watcher endpoints enable {id_}",
            )
    return {id_: row.status == EndpointStatus.ENABLED and id_ not in reasons for id_, row in rows.items()}


def _after(
    row: Row[Any], result: AttemptResult, *, enabled: bool, policy: Policy, jitter: float
) -> dict[str, Any]:
    """Return a delivery's new column values after an attempt."""
    outcome, now = result.outcome, result.ended_at
    used = row.used + 1
    due: float | None = None
    if outcome.ok:
        status = DeliveryStatus.DELIVERED
    else:
        due = next_attempt_at(policy.schedule, used, now=now, jitter=jitter, retry_after=result.retry_after)
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
        "stamped_at": now,
        "last_status_code": outcome.status_code,
        "last_error": outcome.error,
        "delivered_at": now if outcome.ok else None,
    }


def _latency(row: Row[Any], result: AttemptResult) -> float | None:
    seen_at = result.claim.seen_at
    if seen_at is None or row.attempts or not row.ordered:
        return None
    return result.started_at - seen_at


def _duration_ms(result: AttemptResult) -> int:
    return math.ceil(result.outcome.seconds * 1000)


def _attempt(row: Row[Any], result: AttemptResult) -> dict[str, Any]:
    """Return the attempt's row for the delivery's log."""
    return {
        "delivery": row.id,
        "number": row.attempts + 1,
        "at": result.started_at,
        "duration_ms": _duration_ms(result),
        "status_code": result.outcome.status_code,
        "error": result.outcome.error,
        "response": result.outcome.response,
    }
