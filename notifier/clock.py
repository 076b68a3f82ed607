"""The reference clock of due times and leases, and the repair of times written under a wrong clock.

Several processes share deliveries, so their leases and due times use one reference clock: the database
server's on PostgreSQL, this machine's on SQLite, where all processes run on one machine. The reference clock
may have been wrong for a while, and events are written by processes with clocks of their own. So every row
with such times also stores when they were written (``stamped_at``): a row stamped in the future was written
under a clock that was ahead, and all its times are moved back by the difference.
"""

from functools import cache
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Double,
    Table,
    Update,
    bindparam,
    case,
    cast,
    func,
    select,
    update,
)

from notifier.schema import delivery, endpoint, is_pending

#: Rows repaired in one transaction.
BATCH_ROWS = 500


def database_time(conn: Connection, *, machine: float) -> float:
    """Return the reference clock's time: the database server's, or on SQLite ``machine``."""
    if conn.dialect.name == "sqlite":
        return machine
    return float(conn.execute(select(server_time())).scalar_one())


def server_time() -> ColumnElement[float]:
    """SQL expression for the PostgreSQL server's unix time."""
    return cast(func.extract("epoch", func.clock_timestamp()), Double)


_NOW = bindparam("now", type_=Double)


def repair(conn: Connection, *, now: float) -> None:
    """Move the times of :data:`BATCH_ROWS` pending deliveries and endpoints written after ``now``.

    Each gets its intended wait, counted from ``now``. Never blocks: locked rows are left for the next call.
    """
    conn.execute(_deliveries(), {"now": now})
    conn.execute(_endpoints(), {"now": now})


@cache
def _deliveries() -> Update:
    late = (
        select(delivery.c.id)
        .where(is_pending, delivery.c.stamped_at > _NOW)
        .limit(BATCH_ROWS)
        .with_for_update(skip_locked=True)
    )
    values = _moved(delivery, "next_attempt_at", "leased_until")
    # Else its age would be too low.
    values["created_at"] = case((delivery.c.created_at > _NOW, _NOW), else_=delivery.c.created_at)
    return update(delivery).where(delivery.c.id.in_(_once(late))).values(values)


@cache
def _endpoints() -> Update:
    late = (
        select(endpoint.c.id)
        .where(endpoint.c.stamped_at > _NOW)
        .limit(BATCH_ROWS)
        .with_for_update(skip_locked=True, key_share=True)
    )
    values = _moved(endpoint, "paused_until", "held_until", "sent_until")
    # It may date from before the clock went wrong: moved back by days, it would disable the endpoint.
    values["failing_since"] = case((endpoint.c.failing_since > _NOW, _NOW), else_=endpoint.c.failing_since)
    return update(endpoint).where(endpoint.c.id.in_(_once(late))).values(values)


def _once(query: Any) -> Any:
    # As a CTE: PostgreSQL may run a plain subquery again for each row, and lock more rows than the limit.
    found = query.cte("late")
    return select(found.c.id)


def _moved(table: Table, *names: str) -> dict[str, Any]:
    stamp: Column[Any] = table.c.stamped_at
    values: dict[str, Any] = {name: table.c[name] - (stamp - _NOW) for name in names}
    return {**values, "stamped_at": _NOW}
