"""Operator actions in the database: stored facts like any other, in the order they were done."""

from typing import Any

from sqlalchemy import Connection, func, insert, select

from notifier.ids import new_id
from watcher.domain.model import ChainClock
from watcher.store.schema import act

#: The kind of action that assigns a transfer to an intent.
ASSIGN = "assign"

#: The kind of action that accepts a branch which forked below what counts as final.
ACCEPT_REORG = "accept_reorg"

#: The caller holds the cursor's lock.
_NEXT = select(func.coalesce(func.max(act.c.sequence), 0) + 1)


def add_action(
    connection: Connection, intent_id: str | None, kind: str, clock: ChainClock, *, now: float, **values: Any
) -> None:
    """Store an operator action: on an intent, or on the chain when ``intent_id`` is None."""
    connection.execute(
        insert(act).values(
            id=new_id("act_", now),
            sequence=connection.execute(_NEXT).scalar_one(),
            intent_id=intent_id,
            kind=kind,
            at=int(now),
            height=clock.height,
            time=clock.time,
            **values,
        )
    )
