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

_TO_BASE32 = str.maketrans("0123456789ABCDEFGHJKMNPQRSTVWXYZ", "0123456789ABCDEFGHIJKLMNOPQRSTUV")


def add_action(
    connection: Connection, intent_id: str | None, kind: str, clock: ChainClock, *, now: float, **values: Any
) -> None:
    """Store an operator action: on an intent, or on the chain when ``intent_id`` is None."""
    connection.execute(
        insert(act).values(
            id=_next_id(connection, now),
            intent_id=intent_id,
            kind=kind,
            at=int(now),
            height=clock.height,
            time=clock.time,
            **values,
        )
    )


def _next_id(connection: Connection, now: float) -> str:
    """Return an id that sorts after all others.

    The newest action wins, also when two share a millisecond.
    """
    fresh = new_id("act_", now)
    last = connection.execute(select(func.max(act.c.id))).scalar_one()
    if last is None or last < fresh:
        return fresh
    milliseconds = int(last.removeprefix("act_").translate(_TO_BASE32), 32) >> 80
    return new_id("act_", (milliseconds + 1.5) / 1000)
