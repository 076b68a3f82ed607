"""Our own chain during a reindex: its headers, and whether it has forked since they were read."""

from collections.abc import Sequence

from sqlalchemy import Connection

from chain.ancestry import HeaderAncestry
from chain.api.client import StacksApi
from chain.errors import SourceInconsistent
from chain.model import BlockHeader
from watcher.concurrency import run_in_thread
from watcher.reindex.trace import HashRecorder
from watcher.store import chain_state
from watcher.store.database import Database
from watcher.store.reindex_runs import ReindexRun

#: More Bitcoin blocks than any database keeps headers of.
ALL_BURN_BLOCKS = 1_000_000


class ChainMoved(Exception):
    """Our chain forked below the blocks in hand: they have to be read again."""


class ForkGuard:
    """Returns the ancestry of our chain, and refuses blocks below which it has forked since."""

    def __init__(self, database: Database) -> None:
        self._database = database
        #: The newest reorg when the ancestry was made.
        self._mark = 0

    async def ancestry(self, source: StacksApi, run: ReindexRun) -> HeaderAncestry:
        """Return the chain that the cursor stands on, as far as we keep its headers, or the run followed it down before."""

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
        """Raise Moved when a block is not in our chain any more: inside the transaction nothing can change that."""
        kept = chain_state.canonical_hashes(connection, headers[0].height, headers[-1].height)
        if (
            headers[-1].height > newest
            or any(kept.get(header.height, header.hash) != header.hash for header in headers)
            or chain_state.has_forked(connection, headers[-1].height, since=self._mark)
        ):
            raise ChainMoved

    def has_forked(self, height: int) -> bool:
        with self._database.read() as connection:
            return chain_state.has_forked(connection, height, since=self._mark)
