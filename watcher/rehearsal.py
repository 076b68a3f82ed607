"""What a change would do, found out by doing it in a transaction that is rolled back."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection

from watcher import blocks, facts
from watcher.books import SETTLE_LIMIT, Books
from watcher.changes import CarefulBooks, Change
from watcher.database import Database, chunks
from watcher.gaps import Gaps, canonical_elsewhere
from watcher.tables import refund, transfer


@contextmanager
def undone(database: Database) -> Iterator[Connection]:
    """Open a write transaction that leaves nothing behind."""
    with database.engine.connect() as connection:
        transaction = connection.begin()
        try:
            yield connection
        finally:
            transaction.rollback()


def rehearse(database: Database, books: Books, gaps: Gaps, now: float) -> list[Change]:
    """Return what would change if ``gaps`` were filled and every intent in them settled."""
    changes: list[Change] = []
    for some in chunks(sorted(gaps.paid | gaps.tried), SETTLE_LIMIT):
        ids = set(some)
        careful = CarefulBooks.like(books, notify=False)
        with undone(database) as connection:
            cursor = blocks.load_cursor(connection, lock=True)
            assert cursor is not None, "a cursor stays"
            ours = [
                placement
                for placement in gaps.transfers
                if placement.matched.intent is not None and placement.matched.intent.id in ids
            ]
            # The chain may have forked since they were read.
            gone = canonical_elsewhere(connection, transfer, [placement.payment for placement in ours])
            fitting = [p for p in ours if (p.payment.tx_id, p.payment.rank) not in gone]
            facts.put_transfers(connection, fitting, now=now)
            facts.put_attempts(connection, [found for found in gaps.attempts if found[1] in ids], now=now)
            returned = [found for found in gaps.refunds if found[1] in ids]
            gone = canonical_elsewhere(connection, refund, [made for made, _ in returned])
            standing = [found for found in returned if (found[0].tx_id, found[0].rank) not in gone]
            facts.put_refunds(connection, standing, now=now)
            careful.settle(connection, ids, cursor.clock, now=now)
        changes += careful.changes
    return changes
