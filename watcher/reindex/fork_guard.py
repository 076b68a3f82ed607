"""Fork guard of a reindex: the ancestry of our chain, and whether it has forked since it was loaded."""

from collections.abc import Sequence

from sqlalchemy import Connection

from chain.ancestry import HeaderAncestry
from chain.errors import SourceInconsistent
from chain.model import BlockHeader
from chain.source import ChainSource
from watcher.concurrency import run_in_thread
from watcher.reindex.trace import HashRecorder
from watcher.store import chain_state
from watcher.store.database import Database
from watcher.store.reindex_runs import ReindexRun

#: More Bitcoin blocks than any database keeps headers of.
ALL_BURN_BLOCKS = 1_000_000


class ChainMoved(Exception):
    """Our chain forked below the blocks that were read: they have to be read again."""


class ForkGuard:
    """Guard of one reindex: loads the ancestry of our chain, and rejects blocks after a fork below them."""

    def __init__(self, database: Database) -> None:
        self._database = database
        #: Id of the newest reorg when the ancestry was loaded.
        self._mark = 0

    async def ancestry(self, source: ChainSource, run: ReindexRun) -> HeaderAncestry:
        """Return the cursor's chain: the headers that we keep, and the hashes that the run traced below."""

        def load() -> tuple[tuple[BlockHeader, ...], int, str]:
            with self._database.read() as connection:
                cursor = chain_state.load_cursor(connection)
                assert cursor is not None, "it was there"
                return (
                    chain_state.window_headers(connection, burn_blocks=ALL_BURN_BLOCKS),
                    chain_state.newest_reorg(connection),
                    cursor.clock.hash,
                )

        kept, self._mark, tip = await run_in_thread(load)
        if not kept:
            header = await source.header(tip)
            if header is None:
                raise SourceInconsistent(f"it does not have our newest block {tip}", url=source.url)
            kept = (header,)
        return HeaderAncestry(kept, await run_in_thread(HashRecorder(self._database, run).known))

    def check(self, connection: Connection, headers: Sequence[BlockHeader], newest: int) -> None:
        """Raise :class:`ChainMoved` when a block is no longer in our chain.

        Call it inside the transaction that holds the cursor: nothing can change the answer there.
        """
        kept = chain_state.canonical_hashes(connection, headers[0].height, headers[-1].height)
        if (
            headers[-1].height > newest
            or any(kept.get(header.height, header.hash) != header.hash for header in headers)
            or chain_state.has_forked(connection, headers[-1].height, since=self._mark)
        ):
            raise ChainMoved

    def has_forked(self, height: int) -> bool:
        """Say whether our chain has forked below ``height`` since the ancestry was loaded."""
        with self._database.read() as connection:
            return chain_state.has_forked(connection, height, since=self._mark)
