"""Hashes that a reindex traced down from our headers, stored for a resumed run."""

from collections.abc import Sequence

from chain.model import BlockHeader
from watcher.concurrency import run_transaction
from watcher.store import reindex_runs
from watcher.store.database import Database
from watcher.store.reindex_runs import ReindexRun

#: Hashes per stored row; fewer in the last one, when the trace ends or fails.
HASHES_PER_ROW = 1000


class HashRecorder:
    """Recorder of the hashes that one run traces; a dry run is never resumed and stores nothing."""

    def __init__(self, database: Database, run: ReindexRun) -> None:
        self._database = database
        self._run = run
        self._top = 0
        self._hashes: list[bytes] = []

    def known(self) -> tuple[int, list[bytes]]:
        """Return what the run traced before: a height, and the hashes from there down without a gap."""
        if not self._run.id:
            return 0, []
        with self._database.read() as connection:
            return reindex_runs.kept_hashes(connection, self._run)

    async def add(self, headers: Sequence[BlockHeader]) -> None:
        """Add linked headers, newest first."""
        if self._top - len(self._hashes) != headers[0].height:
            await self.store()
            self._top = headers[0].height
        self._hashes += [bytes.fromhex(header.hash[2:]) for header in headers]
        if len(self._hashes) >= HASHES_PER_ROW:
            await self.store()

    async def store(self) -> None:
        """Store the hashes added since the last stored row."""
        top, hashes = self._top, self._hashes
        self._top, self._hashes = top - len(hashes), []
        if hashes and self._run.id:
            await run_transaction(
                self._database.transact,
                lambda connection: reindex_runs.keep_hashes(connection, self._run, top, hashes),
            )
