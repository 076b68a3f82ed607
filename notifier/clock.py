"""The clock that judges due times and leases, and times that were written under another one.

Several processes share deliveries, so their leases and due times go by one clock: the database server's on PostgreSQL,
this machine's on SQLite, where all processes are on it. That clock may still have been wrong for a while, and events are
written by processes with clocks of their own. So every row with such times says when they were written; a row that was
written in the future was written under a clock that was ahead, and all its times are moved back by as much.
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

#: Rows that are put right in one transaction.
BATCH = 500


def database_time(conn: Connection, *, machine: float) -> float:
    """Return the time that judges: the database server's, or with SQLite this ``machine``'s, since it has no server."""
    if conn.dialect.name == "sqlite":
        return machine
    return float(conn.execute(select(server_time())).scalar_one())


def server_time() -> ColumnElement[float]:
    """Return the unix time of a PostgreSQL server as part of a statement."""
    return cast(func.extract("epoch", func.clock_timestamp()), Double)


_NOW = bindparam("now", type_=Double)


def repair(conn: Connection, *, now: float) -> None:
    """Move the times of up to :data:`BATCH` pending deliveries and endpoints that were written after ``now``.

    Each gets the wait that it was meant to have, from now on. Waits for nobody: rows that are locked come next time.
    """
    conn.execute(_deliveries(), {"now": now})
    conn.execute(_endpoints(), {"now": now})


@cache
def _deliveries() -> Update:
    late = (
        select(delivery.c.id)
        .where(is_pending, delivery.c.stamped_at > _NOW)
        .limit(BATCH)
        .with_for_update(skip_locked=True)
    )
    values = _moved(delivery, "next_attempt_at", "leased_until")
    # Else it would count as younger than it is, and last.
    values["created_at"] = case((delivery.c.created_at > _NOW, _NOW), else_=delivery.c.created_at)
    return update(delivery).where(delivery.c.id.in_(_once(late))).values(values)


@cache
def _endpoints() -> Update:
    late = (
        select(endpoint.c.id)
        .where(endpoint.c.stamped_at > _NOW)
        .limit(BATCH)
        .with_for_update(skip_locked=True, key_share=True)
    )
    values = _moved(endpoint, "paused_until", "held_until", "sent_until")
    # Perhaps from before the clock went wrong: moved back by days it would disable the endpoint.
    values["failing_since"] = case((endpoint.c.failing_since > _NOW, _NOW), else_=endpoint.c.failing_since)
    return update(endpoint).where(endpoint.c.id.in_(_once(late))).values(values)


def _once(query: Any) -> Any:
    # In WITH: as a plain subquery PostgreSQL may run it again for each row, and lock more than the limit.
    found = query.cte("late")
    return select(found.c.id)


def _moved(table: Table, *names: str) -> dict[str, Any]:
    stamp: Column[Any] = table.c.stamped_at
    values: dict[str, Any] = {name: table.c[name] - (stamp - _NOW) for name in names}
    return {**values, "stamped_at": _NOW}
