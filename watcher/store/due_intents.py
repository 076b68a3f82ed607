"""Intents that are due: their decision may have changed, by the chain clock or because they were marked.

Each row has the clock values from which on it is due; decisions write them, and the marks here overwrite
them.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Select,
    and_,
    bindparam,
    func,
    or_,
    select,
    update,
)

from notifier.statements import chunks, one_of, unindexed
from watcher.domain.model import ChainClock
from watcher.store.schema import intent


def _by(column: ColumnElement[Any], moment: str) -> ColumnElement[bool]:
    """Return the condition that ``column`` is at most that parameter; each such column has its own index."""
    return and_(column.is_not(None), column <= bindparam(moment))


def _first(column: ColumnElement[Any], *where: ColumnElement[bool]) -> Select[Any]:
    return select(intent.c.id).where(*where).order_by(column).limit(bindparam("limit"))


#: When an intent is due.
_IS_DUE = (
    _by(intent.c.wake_height, "height"),
    _by(intent.c.wake_burn_height, "burn_height"),
    _by(intent.c.wake_time, "time"),
)
_DEEP = _first(intent.c.wake_height, _IS_DUE[0])
_DEEP_IN_BITCOIN = _first(intent.c.wake_burn_height, _IS_DUE[1])
#: Marked as due; no chain time is so low.
_MARKED = _first(intent.c.wake_time.desc(), intent.c.wake_time.is_not(None), intent.c.wake_time <= 0)
#: Marked as due, without delivery of what is so at a height: the value is minus that height.
_UNNOTIFIED = _first(intent.c.wake_time, intent.c.wake_time.is_not(None), intent.c.wake_time < 0)
_OVER = _first(intent.c.wake_time, _IS_DUE[2], intent.c.wake_time > 0)
#: Set aside: no chain is so high.
_NEVER = 2**62
_IS_SET_ASIDE = and_(intent.c.wake_burn_height.is_not(None), intent.c.wake_burn_height >= _NEVER)
_MARK_DUE = update(intent).where(intent.c.id.in_(one_of("ids"))).values(wake_time=0)
_MARK_UNNOTIFIED = (
    update(intent)
    .where(intent.c.id.in_(one_of("ids")), or_(intent.c.wake_time.is_(None), intent.c.wake_time != 0))
    .values(wake_time=bindparam("mark", type_=BigInteger))
)
_NOTIFY = update(intent).where(intent.c.id.in_(one_of("ids")), intent.c.wake_time < 0).values(wake_time=0)
_UNTIL = bindparam("until", type_=BigInteger)
_POSTPONE = (
    update(intent)
    .where(intent.c.id.in_(one_of("ids")), or_(intent.c.wake_time.is_(None), intent.c.wake_time > _UNTIL))
    .values(wake_time=_UNTIL)
)
_SET_ASIDE = (
    update(intent)
    .where(intent.c.id.in_(one_of("ids")))
    .values(wake_time=_UNTIL, wake_height=None, wake_burn_height=_NEVER)
)


def mark_due(connection: Connection, ids: Sequence[str]) -> None:
    """Mark intents as due at any clock, until their next decision."""
    for batch in chunks(ids):
        connection.execute(_MARK_DUE, {"ids": batch})


def mark_unnotified(connection: Connection, ids: Sequence[str], *, height: int) -> None:
    """Mark intents as due, without delivery of what is so at our block of a height.

    Those that are already marked as due are left: what they wait for is to be delivered.
    """
    for batch in chunks(ids):
        connection.execute(_MARK_UNNOTIFIED, {"ids": batch, "mark": -height})


def notify(connection: Connection, ids: Sequence[str]) -> None:
    """Lift :func:`mark_unnotified`: everything about these intents is delivered again."""
    for batch in chunks(ids):
        connection.execute(_NOTIFY, {"ids": batch})


def unnotified(connection: Connection, *, limit: int) -> list[str]:
    """Return up to ``limit`` intents that wait to be settled without delivery."""
    return list(connection.execute(_UNNOTIFIED, {"limit": limit}).scalars())


def unnotified_heights(rows: Mapping[str, Mapping[Any, Any]]) -> dict[int, list[str]]:
    """Return the ids of the rows that :func:`mark_unnotified` has marked, by height."""
    found: dict[int, list[str]] = defaultdict(list)
    for key, row in rows.items():
        if row["wake_time"] is not None and row["wake_time"] < 0:
            found[-row["wake_time"]].append(key)
    return found


def postpone(connection: Connection, ids: Sequence[str], *, until: int) -> None:
    """Make intents due when the chain clock is at ``until``, unix seconds, unless they are due before."""
    for batch in chunks(ids):
        connection.execute(_POSTPONE, {"ids": batch, "until": until})


def set_aside(connection: Connection, ids: Sequence[str], *, until: int) -> None:
    """Make intents due no sooner than at ``until``, chain time, unless one of their facts changes."""
    for batch in chunks(ids):
        connection.execute(_SET_ASIDE, {"ids": batch, "until": until})


def find_due(connection: Connection, clock: ChainClock, *, limit: int) -> list[str]:
    """Return up to ``limit`` intents whose decision may have changed, some of each kind.

    Half of them, if there are so many, are those whose depth may be reached; a quarter each are those marked
    as due and those whose time has passed. So no kind has to wait for many of another.
    """
    deep, in_bitcoin, marked, over = (
        connection.execute(query, _moment(clock) | {"limit": limit}).scalars().all()
        for query in (_DEEP, _DEEP_IN_BITCOIN, _MARKED, _OVER)
    )
    paid = list(dict.fromkeys(_interleave(deep, in_bitcoin)))
    return list(dict.fromkeys(_interleave(paid[::2], marked, paid[1::2], over)))[:limit]


def count_due(connection: Connection, clock: ChainClock, *, merchant: str | None = None) -> int:
    """Return how many intents wait to be settled at ``clock``; with ``merchant`` its own only."""
    due = select(intent.c.id).where(or_(*_IS_DUE))
    if merchant is not None:
        due = due.where(unindexed(intent.c.merchant_id) == merchant)
    return connection.execute(select(func.count()).select_from(due.subquery()), _moment(clock)).scalar_one()


def count_set_aside(connection: Connection, *, merchant: str | None = None) -> int:
    """Return how many intents are set aside because settling failed; with ``merchant`` its own only."""
    query = select(func.count()).select_from(intent).where(_IS_SET_ASIDE)
    if merchant is not None:
        query = query.where(unindexed(intent.c.merchant_id) == merchant)
    return connection.execute(query).scalar_one()


def _interleave(*queues: Sequence[str]) -> Iterator[str]:
    """Yield the first of each queue, then the second of each, and so on until all have ended."""
    for batch in zip_longest(*queues):
        yield from (key for key in batch if key is not None)


def _moment(clock: ChainClock) -> dict[str, int]:
    return {"time": clock.time, "height": clock.height, "burn_height": clock.burn_height}
