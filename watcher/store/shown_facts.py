"""The facts of intents as far as people read them.

Anyone can send any number of dust transfers to an intent, and showing it must not cost more for that.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Select, func, select

from notifier.statements import chunks, one_of
from watcher.domain.model import Facts
from watcher.store import transfers as transfer_store
from watcher.store.schema import attempt, transfer

#: Transfers and attempts up to which all of an intent are read.
MAX_FACTS: Final = 1_000
#: Of more, so many of the first, of the newest and of the largest transfers are, and of the newest attempts.
SHARE: Final = 100

_TRANSFERS = (
    select(transfer.c.intent_id, func.count().label("number"))
    .where(transfer.c.intent_id.in_(one_of("ids")))
    .group_by(transfer.c.intent_id)
)
_ATTEMPTS = (
    select(attempt.c.intent_id, func.count().label("number"))
    .where(attempt.c.intent_id.in_(one_of("ids")), attempt.c.canonical)
    .group_by(attempt.c.intent_id)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownFacts:
    """Facts to show, which are not all where there are very many, and how many there are."""

    facts: Facts
    #: All transfers, on any branch, and the attempts in the chain.
    transfers: int
    attempts: int


def load_shown_facts(connection: Connection, ids: Collection[str]) -> dict[str, ShownFacts]:
    """Return the facts to show of each intent. Nothing is to be decided by them."""
    transfers, attempts = _count(connection, _TRANSFERS, ids), _count(connection, _ATTEMPTS, ids)
    many = {key for key in ids if transfers.get(key, 0) > MAX_FACTS or attempts.get(key, 0) > MAX_FACTS}
    found = transfer_store.load_facts(connection, [key for key in ids if key not in many])
    for key in sorted(many):
        found[key] = transfer_store.load_some_facts(
            connection,
            key,
            transfers=_some_transfers(connection, key),
            attempts=_some_attempts(connection, key),
        )
    return {
        key: ShownFacts(facts=found[key], transfers=transfers.get(key, 0), attempts=attempts.get(key, 0))
        for key in ids
    }


def _count(connection: Connection, query: Select[Any], ids: Collection[str]) -> dict[str, int]:
    return {
        row.intent_id: row.number
        for batch in chunks(sorted(ids))
        for row in connection.execute(query, {"ids": batch})
    }


def _some_transfers(connection: Connection, intent_id: str) -> list[str]:
    own = select(transfer.c.id).where(transfer.c.intent_id == intent_id).limit(SHARE)
    orders = (transfer.c.id, transfer.c.id.desc(), transfer.c.amount.desc())
    return sorted({one for order in orders for one in connection.execute(own.order_by(order)).scalars()})


def _some_attempts(connection: Connection, intent_id: str) -> list[str]:
    own = select(attempt.c.id).where(attempt.c.intent_id == intent_id, attempt.c.canonical)
    newest = own.order_by(attempt.c.height.desc(), attempt.c.tx_index.desc()).limit(SHARE)
    return list(connection.execute(newest).scalars())
