"""A lock that threads get in the order in which they ask for it.

Python's own locks, and SQLite's busy polling even more so, favour whoever asks at the right moment: a thread that takes
the lock again and again can keep the others out for as long as it likes.
"""

import threading
from collections import deque


class FairLock:
    """A mutual exclusion lock, first come first served; not reentrant."""

    def __init__(self) -> None:
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
        if turn.wait(limit):
            return True
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
