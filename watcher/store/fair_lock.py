"""A lock that threads get in the order in which they ask for it.

Python's own locks, and SQLite's busy polling even more so, favour whoever asks at the right moment: a thread that takes
the lock again and again can keep the others out for as long as it likes.
"""

import threading
import time
from collections import deque

#: So long waits go before they look whether there is a hurry, seconds.
LIMIT_CHECK_SECONDS = 0.25


class WaitLimit:
    """Shortens waits, also those that have begun, once :meth:`begin` was called; it is not taken back."""

    def __init__(self) -> None:
        self._begun = float("inf")
        self._most = 0.0

    def begin(self, most: float) -> None:
        """From now on let no wait take longer than ``most`` seconds. May be called from any thread."""
        self._most = most
        self._begun = min(self._begun, time.monotonic())

    def left(self, since: float, limit: float) -> float:
        """Return how long a wait goes on that began at ``since`` (monotonic) and may take ``limit`` seconds; 0 at its end."""
        end = min(since + limit, max(since, self._begun) + self._most)
        return max(0.0, end - time.monotonic())


class FairLock:
    """A mutual exclusion lock, first come first served; not reentrant. Waits for it obey ``hurry``."""

    def __init__(self, hurry: WaitLimit | None = None) -> None:
        self._hurry = hurry or WaitLimit()
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
            left = self._hurry.left(began, limit)
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
        """Give the lock to the thread that waits longest, if any does."""
        with self._guard:
            if self._queue:
                # Handed over rather than freed, so that nobody who comes now can be faster.
                self._queue.popleft().set()
            else:
                self._held = False
