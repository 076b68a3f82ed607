"""A lock that threads get in the order in which they ask for it.

Python's own locks, and SQLite's busy polling even more so, favour the thread that asks at the right moment:
one that takes the lock again and again can keep the others out indefinitely.
"""

import threading
import time
from collections import deque

#: Seconds between two checks of a waiting thread whether waits were shortened.
LIMIT_CHECK_SECONDS = 0.25


class WaitLimit:
    """Shortens waits, also those that have begun, once :meth:`begin` was called; final."""

    def __init__(self) -> None:
        self._begun = float("inf")
        self._most = 0.0

    def begin(self, most: float) -> None:
        """Limit every wait to ``most`` seconds from now on. May be called from any thread."""
        self._most = most
        self._begun = min(self._begun, time.monotonic())

    def left(self, since: float, limit: float) -> float:
        """Return the seconds left of a wait of ``limit`` seconds that began at ``since`` (monotonic)."""
        end = min(since + limit, max(since, self._begun) + self._most)
        return max(0.0, end - time.monotonic())


class FairLock:
    """A mutual exclusion lock, first come first served; not reentrant."""

    def __init__(self, wait_limit: WaitLimit | None = None) -> None:
        self._wait_limit = wait_limit or WaitLimit()
        self._guard = threading.Lock()
        self._held = False
        self._queue: deque[threading.Event] = deque()

    @property
    def waiting(self) -> int:
        """The number of threads that wait for the lock."""
        return len(self._queue)

    def acquire(self, limit: float) -> bool:
        """Take the lock; False when it did not come within ``limit`` seconds."""
        with self._guard:
            if not self._held:
                self._held = True
                return True
            turn = threading.Event()
            self._queue.append(turn)
        began = time.monotonic()
        while True:
            left = self._wait_limit.left(began, limit)
            if turn.wait(min(left, LIMIT_CHECK_SECONDS)):
                return True
            if left <= LIMIT_CHECK_SECONDS:
                break
        with self._guard:
            if turn.is_set():  # it came between the end of the wait and here
                return True
            self._queue.remove(turn)
            return False

    def release(self) -> None:
        """Give the lock to the thread that has waited longest, if any."""
        with self._guard:
            if self._queue:
                # Handed over rather than freed, so that no newcomer can be faster.
                self._queue.popleft().set()
            else:
                self._held = False
