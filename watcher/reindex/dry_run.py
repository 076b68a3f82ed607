"""Dry run: apply the changes in a transaction and roll it back."""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from typing import TypeVar

from sqlalchemy import Connection, Table, select

from contracts.model import Payment, Refund
from notifier.statements import chunks
from watcher.domain.model import ChainClock
from watcher.indexer.settle_result import Change, SettleResult
from watcher.indexer.settler import MAX_INTENTS_PER_TRANSACTION, Settler
from watcher.reindex.diff import BlockDiff
from watcher.reindex.repair import apply_corrections, refute
from watcher.store import chain_state, due_intents
from watcher.store.database import Database
from watcher.store.schema import refund, transfer

#: Intents that a dry run tries of those that are due on the new branch.
MAX_DUE_TRIED = 10_000

_T = TypeVar("_T")


@contextmanager
def rolled_back(database: Database) -> Iterator[Connection]:
    """Open a write transaction, which takes the write lock like any other, and roll it back at the end."""
    with database.begin() as connection:
        yield connection
        connection.rollback()


@dataclass(frozen=True, kw_only=True)
class BatchSettler(Settler):
    """Settler for repeated transactions that are rolled back: each settles the next batch of intents."""

    tried: set[str] = field(default_factory=set)

    @classmethod
    def like(cls, settler: Settler) -> "BatchSettler":
        """Return a batch settler configured like ``settler``."""
        return cls(**{each.name: getattr(settler, each.name) for each in fields(settler)})

    def settle_due(
        self, connection: Connection, touched: Collection[str], clock: ChainClock, *, now: float
    ) -> SettleResult:
        """Settle the next batch of touched intents and, with ``notify``, of ``MAX_DUE_TRIED`` due ones."""
        due = due_intents.find_due(connection, clock, limit=MAX_DUE_TRIED) if self.notify else []
        waiting = [key for key in dict.fromkeys([*sorted(touched), *due]) if key not in self.tried]
        taken = self.batch(connection, waiting)
        self.tried.update(taken)
        settled = self.settle_apart(connection, taken, clock, now=now)
        return replace(settled, more=len(waiting) > len(taken))

    def count_untried(self, connection: Connection, clock: ChainClock) -> int:
        """Return by how many the intents that were due before settling exceed the number that is tried."""
        return max(0, due_intents.count_due(connection, clock) - MAX_DUE_TRIED) if self.notify else 0


def simulate_corrections(database: Database, settler: Settler, diff: BlockDiff, now: float) -> list[Change]:
    """Return what would change if ``diff`` were applied and every intent in it settled."""
    changes: list[Change] = []
    silent = settler.for_repair(notify=False)
    for batch in chunks(sorted(diff.paid | diff.attempted), MAX_INTENTS_PER_TRANSACTION):
        ids = set(batch)
        with rolled_back(database) as connection:
            cursor = chain_state.load_cursor(connection, lock=True)
            assert cursor is not None, "a cursor stays"
            refute(connection, diff.wrong, at=cursor.newest)
            # The chain may have forked since the blocks were read.
            paid = _fitting(connection, transfer, diff.transfers, lambda found: found.payment)
            returned = _fitting(connection, refund, diff.refunds, lambda found: found[0])
            ours = BlockDiff(
                transfers=[p for p in paid if p.matched.intent is not None and p.matched.intent.id in ids],
                attempts=[found for found in diff.attempts if found[1] in ids],
                refunds=[found for found in returned if found[1] in ids],
                wrong=diff.wrong,
            )
            apply_corrections(connection, ours, at=cursor.newest, now=now)
            settled = silent.settle_apart(connection, batch, cursor.clock, now=now)
        changes += settled.changes
    return changes


def _fitting(
    connection: Connection, table: Table, found: Sequence[_T], fact_of: Callable[[_T], Payment | Refund]
) -> list[_T]:
    """Return the facts that no other block holds as canonical in the database."""
    blocks_of = {(fact.tx_id, fact.rank): fact.block.hash for fact in map(fact_of, found)}
    gone = set()
    for batch in chunks(sorted({tx_id for tx_id, _ in blocks_of})):
        query = select(table.c.tx_id, table.c.rank, table.c.block_hash)
        for row in connection.execute(query.where(table.c.tx_id.in_(batch), table.c.canonical)):
            if blocks_of.get((row.tx_id, row.rank), row.block_hash) != row.block_hash:
                gone.add((row.tx_id, row.rank))
    return [each for each in found if (fact_of(each).tx_id, fact_of(each).rank) not in gone]
