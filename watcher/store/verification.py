"""Which transfers wait for a second source, and which sources agreed on them.

Columns of the transfer table that only :mod:`watcher.indexer.verifier` and the settler use.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, bindparam, literal_column, select, true, update

from watcher.domain.model import Status
from watcher.store.schema import intent, transfer
from watcher.store.transfers import CHAIN_COLUMNS

#: As the partial index spells it.
_WAITS: ColumnElement[bool] = literal_column("unverified_since is not null and verified_by is null")

_UNVERIFIED = (
    select(transfer, intent.c.required_stacks, intent.c.required_bitcoin)
    .join(intent, intent.c.id == transfer.c.intent_id)
    .where(
        _WAITS,
        transfer.c.canonical,
        # Of an intent that was marked or has ended nothing waits any more. Written so that no index of the
        # intents is searched for it: many may be processing, few wait.
        (intent.c.status == Status.PROCESSING).is_(true()),
        transfer.c.id > bindparam("after"),
    )
    .order_by(transfer.c.id)
    .limit(bindparam("limit"))
)


def mark_unverified(
    connection: Connection, waiting: Iterable[tuple[str, Collection[tuple[str, int]]]], *, at: int
) -> None:
    """Store that transfers wait for a second source since ``at``, chain time.

    ``waiting``: an intent, and the (tx_id, rank) of its canonical transfers.
    """
    for intent_id, keys in waiting:
        for tx_id, rank in sorted(keys):
            this = and_(
                transfer.c.intent_id == intent_id,
                transfer.c.tx_id == tx_id,
                transfer.c.rank == rank,
                transfer.c.canonical,
            )
            connection.execute(update(transfer).where(this).values(unverified_since=at))


def unverified(connection: Connection, *, after: str = "", limit: int) -> Sequence[Mapping[str, Any]]:
    """Return the rows of up to ``limit`` transfers that wait for a second source, oldest first.

    Only those with ids above ``after``; each with the depth that its intent requires, as ``required_stacks``
    and ``required_bitcoin``.
    """
    rows = connection.execute(_UNVERIFIED, {"after": after, "limit": limit}).mappings()
    return [{str(name): value for name, value in row.items()} for row in rows]


def mark_verified(connection: Connection, row: Mapping[str, Any], hosts: Collection[str]) -> str | None:
    """Store the hosts of the sources that agreed on a transfer as ``row`` has it; return its intent.

    None, and nothing is stored, when the transfer has changed since, or is no longer canonical.
    """
    same = [transfer.c[name].is_not_distinct_from(row[name]) for name in (*CHAIN_COLUMNS, "intent_id")]
    this = update(transfer).where(transfer.c.id == row["id"], transfer.c.canonical, *same)
    statement = this.values(verified_by=sorted(hosts)).returning(transfer.c.intent_id)
    intent_id: str | None = connection.execute(statement).scalar_one_or_none()
    return intent_id
