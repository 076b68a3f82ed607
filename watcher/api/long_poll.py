"""Long polling: wait for an intent to change, with one query per second for all waiters.

Waiting takes no thread. Waiters are counted, and released at once when the process stops.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from contextlib import contextmanager

from notifier.database_errors import reason_of
from watcher import unforeseen
from watcher.api.errors import Problem
from watcher.api.slots import Slots
from watcher.log import get_logger
from watcher.store.database import DatabaseError

#: Seconds between two polls.
POLL_SECONDS = 1.0

#: Who may wait at the same time, of one caller and altogether.
MAX_OF_CALLER = 64
MAX_WAITERS = 256

#: How long one may wait, seconds.
MAX_WAIT = 60.0

#: Returns of intents, by id, what is compared: the status, or a text that stands for all that is shown. Those
#: that do not exist are left out.
StatusReader = Callable[[Collection[str]], Awaitable[Mapping[str, str]]]

log = get_logger(__name__)


class LongPoll:
    """Who waits for which intent. ``read_statuses`` reads statuses, or whatever is waited for.

    ``slots`` bounds how many wait.
    """

    def __init__(self, read_statuses: StatusReader, slots: Slots | None = None) -> None:
        self._read_statuses = read_statuses
        self.slots = slots or Slots("wait", of_caller=MAX_OF_CALLER, altogether=MAX_WAITERS)
        self._waiters: dict[str, dict[asyncio.Event, str]] = defaultdict(dict)
        self._has_waiters = asyncio.Event()
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether nobody may wait any more."""
        return self._closed

    @property
    def count(self) -> int:
        """How many wait."""
        return self.slots.count

    async def wait_for_change(self, caller: str, intent_id: str, status: str, seconds: float) -> bool:
        """Return when the intent's status is not ``status`` any more, after ``seconds``, or when all are
        released; whether it was for another reason than the time.

        Raises :class:`Problem` (429, 503) when too many wait already.
        """
        with self.slots.take(caller), self._waiter(intent_id, status) as changed:
            if self._closed:
                return True
            try:
                async with asyncio.timeout(seconds):
                    await changed.wait()
            except TimeoutError:
                return False
            return True

    async def run(self, stop: asyncio.Event) -> None:
        """Poll once per second while there are waiters, until ``stop`` is set."""
        stopped = asyncio.ensure_future(stop.wait())
        try:
            while not stop.is_set():
                waiters = asyncio.ensure_future(self._has_waiters.wait())
                await asyncio.wait({waiters, stopped}, return_when=asyncio.FIRST_COMPLETED)
                waiters.cancel()
                if not stop.is_set():
                    await self._poll_once()
                    await asyncio.wait({stopped}, timeout=POLL_SECONDS)
        finally:
            stopped.cancel()
            self.release()

    def release(self) -> None:
        """Release all waiters, and accept no more."""
        self._closed = True
        for waiters in self._waiters.values():
            for changed in waiters:
                changed.set()

    async def _poll_once(self) -> None:
        # Waiters that register during a poll are served by the next one.
        asked = {intent_id: list(waiters.items()) for intent_id, waiters in self._waiters.items()}
        try:
            found = await self._read_statuses(list(asked))
        except (DatabaseError, Problem) as error:
            # Each waiter gets an answer, or the error, at the end of the wait.
            log.warning("http.waiting_failed", reason=reason_of(error))
            return
        except Exception as error:
            unforeseen.report("long_poll", error)
            return
        for intent_id, waiters in asked.items():
            for changed, status in waiters:
                if found.get(intent_id) != status:
                    changed.set()

    @contextmanager
    def _waiter(self, intent_id: str, status: str) -> Iterator[asyncio.Event]:
        changed = asyncio.Event()
        self._waiters[intent_id][changed] = status
        self._has_waiters.set()
        try:
            yield changed
        finally:
            del self._waiters[intent_id][changed]
            if not self._waiters[intent_id]:
                del self._waiters[intent_id]
            if not self._waiters:
                self._has_waiters.clear()
