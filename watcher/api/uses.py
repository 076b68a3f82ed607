"""When API keys and sessions were last used, and who looked at links: collected in memory, written about once
a minute.
"""

import asyncio
from collections.abc import Callable, Mapping

from notifier.database_errors import reason_of
from watcher import unforeseen
from watcher.api.errors import Problem
from watcher.api.worker_threads import WorkerThreads
from watcher.log import get_logger
from watcher.store.database import Connection, Database, DatabaseError

#: Seconds between two writes.
WRITE_INTERVAL_SECONDS = 60.0

log = get_logger(__name__)


class Uses:
    """Uses that are not written yet. ``record`` writes them: unix seconds by id; ``now``: this machine's
    clock.
    """

    def __init__(
        self,
        database: Database,
        writers: WorkerThreads,
        record: Callable[[Connection, Mapping[str, float]], None],
        now: Callable[[], float],
    ) -> None:
        self._database = database
        self._writers = writers
        self._record = record
        self._now = now
        self._used: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._used)

    def add(self, used_id: str) -> None:
        """Note that something is used now."""
        self._used[used_id] = self._now()

    async def run(self, stop: asyncio.Event) -> None:
        """Write once a minute until ``stop`` is set, and then once more."""
        while not stop.is_set():
            try:
                async with asyncio.timeout(WRITE_INTERVAL_SECONDS):
                    await stop.wait()
            except TimeoutError:
                pass
            await self.write()

    async def write(self) -> None:
        """Write what was collected; what cannot be written is kept for the next time."""
        if not self._used:
            return
        used, self._used = self._used, {}

        def write() -> None:
            self._database.transact(lambda connection: self._record(connection, used))

        try:
            await self._writers.run(write)
            return
        except (DatabaseError, Problem) as error:
            log.warning("http.uses_not_recorded", reason=reason_of(error))
        except Exception as error:
            unforeseen.report("key_usage", error)
        self._used = used | self._used
