"""Which transfers wait for a second source, and which sources agreed on them.

Columns of the transfer table that only :mod:`watcher.indexer.verifier` and the settler use.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, literal_column, select, update

from notifier.statements import chunks
from watcher.store.schema import intent, transfer

#: As the partial index spells it.
_WAITS: ColumnElement[bool] = literal_column("unverified_since is not null and verified_by is null")

_UNVERIFIED = (
    select(transfer, intent.c.required_stacks, intent.c.required_bitcoin)
    .join(intent, intent.c.id == transfer.c.intent_id)
    .where(_WAITS, transfer.c.canonical)
    .order_by(transfer.c.id)
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


def unverified(connection: Connection, *, limit: int) -> Sequence[Mapping[str, Any]]:
    """Return the rows of up to ``limit`` canonical transfers that wait for a second source, oldest first.

    Each with the depth that its intent requires, as ``required_stacks`` and ``required_bitcoin``.
    """
    rows = connection.execute(_UNVERIFIED.limit(limit)).mappings()
    return [{str(name): value for name, value in row.items()} for row in rows]


def mark_verified(connection: Connection, agreed: Mapping[str, Sequence[str]]) -> set[str]:
    """Store the hosts of the sources that agreed on transfers, by transfer id; return their intents.

    A transfer that is no longer canonical is left out.
    """
    touched: set[str] = set()
    for batch in chunks(sorted(agreed)):
        query = select(transfer.c.id, transfer.c.intent_id).where(
            transfer.c.id.in_(batch), transfer.c.canonical, transfer.c.intent_id.is_not(None)
        )
        for row in connection.execute(query).all():
            hosts = sorted(agreed[row.id])
            connection.execute(update(transfer).where(transfer.c.id == row.id).values(verified_by=hosts))
            touched.add(row.intent_id)
    return touched
