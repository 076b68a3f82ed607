"""How the queue of deliveries stands, by state and endpoint."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from sqlalchemy import ColumnElement, Connection, and_, case, func, select

from notifier.schema import (
    DeliveryStatus,
    EndpointStatus,
    delivery,
    endpoint,
    is_dead,
    is_open,
    is_pending,
    is_waiting,
)

#: What was given up within so many seconds counts.
WINDOW_SECONDS = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenCounts:
    """An endpoint's deliveries that are still to come, by state."""

    due: int = 0
    waiting: int = 0
    in_flight: int = 0
    held: int = 0

    def document(self) -> dict[str, int]:
        """Return it as JSON."""
        return asdict(self)

    def __add__(self, other: "OpenCounts") -> "OpenCounts":
        theirs = other.document()
        return OpenCounts(**{name: count + theirs[name] for name, count in self.document().items()})


def open_counts(conn: Connection, *, merchant: str | None, now: float) -> dict[str, OpenCounts]:
    """Count deliveries that are still to come, by endpoint; ``now``: the reference clock's time.

    Endpoints without any are left out. Reads open deliveries only.
    """
    in_flight = and_(delivery.c.lease.is_not(None), delivery.c.leased_until > now)
    state = case(
        (delivery.c.status == DeliveryStatus.HELD.value, "held"),
        (in_flight, "in_flight"),
        (delivery.c.next_attempt_at <= now, "due"),
        else_="waiting",
    ).label("state")
    query = (
        select(delivery.c.endpoint, state, func.count().label("deliveries"))
        .join(endpoint, endpoint.c.id == delivery.c.endpoint)
        .where(is_open, is_waiting, *_shown(merchant))
        .group_by(delivery.c.endpoint, state)
    )
    found: dict[str, dict[str, int]] = {}
    for row in conn.execute(query):
        found.setdefault(row.endpoint, {})[row.state] = row.deliveries
    return {id_: OpenCounts(**counts) for id_, counts in found.items()}


def oldest_seconds(conn: Connection, *, merchant: str | None, now: float) -> float | None:
    """Return the age of the oldest pending delivery; None if there is none."""
    query = select(func.min(delivery.c.created_at)).select_from(delivery)
    query = query.join(endpoint, endpoint.c.id == delivery.c.endpoint).where(is_pending, *_shown(merchant))
    oldest = conn.execute(query).scalar()
    return None if oldest is None else max(0.0, now - oldest)


def count_dead(conn: Connection, *, merchant: str | None, now: float) -> int:
    """Count deliveries that were given up in the last 24 hours and not dismissed."""
    query = (
        select(func.count())
        .select_from(delivery)
        .join(endpoint, endpoint.c.id == delivery.c.endpoint)
        .where(is_dead, delivery.c.stamped_at >= now - WINDOW_SECONDS, *_shown(merchant))
    )
    return conn.execute(query).scalar_one()


def listed_endpoints(conn: Connection, *, merchant: str | None, limit: int) -> Sequence[str]:
    """Return ids of endpoints, those in trouble first, then the newest."""
    query = select(endpoint.c.id).where(*_shown(merchant))
    trouble = case(
        (endpoint.c.failed > 0, 0), (endpoint.c.status != EndpointStatus.ENABLED.value, 1), else_=2
    )
    return conn.execute(query.order_by(trouble, endpoint.c.id.desc()).limit(limit)).scalars().all()


def _shown(merchant: str | None) -> list[ColumnElement[bool]]:
    shown = endpoint.c.status != EndpointStatus.REMOVED.value
    return [shown] if merchant is None else [shown, endpoint.c.merchant == merchant]
