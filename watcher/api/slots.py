"""How many may wait or listen at the same time: of one caller, and altogether."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from watcher.api.errors import Problem

#: Live streams of checkouts, of one address and altogether; beyond them pages wait for answers.
STREAMS_OF_ADDRESS = 20
MAX_STREAMS = 1000

#: Payers who wait for an answer instead, of one address and altogether; with the merchants' long polls they
#: are fewer than the requests that the server takes at once.
PAYER_WAITS_OF_ADDRESS = 20
MAX_PAYER_WAITS = 128


class Slots:
    """``of_caller``: how many of one caller; ``altogether``: of all. ``what`` they do, for the message."""

    def __init__(self, what: str, *, of_caller: int, altogether: int) -> None:
        self._what = what
        self.of_caller = of_caller
        self.altogether = altogether
        self._taken: Counter[str] = Counter()

    @property
    def count(self) -> int:
        """How many are taken."""
        return self._taken.total()

    @contextmanager
    def take(self, caller: str) -> Iterator[None]:
        """Take one while the block runs. Raises :class:`Problem` (429, 503) when too many are taken."""
        if self._taken[caller] >= self.of_caller:
            raise Problem(
                429,
                "too_many_waits",
                f"{self.of_caller} requests of yours {self._what} already",
                headers={"retry-after": "1"},
            )
        if self._taken.total() >= self.altogether:
            raise Problem(
                503,
                "too_many_waits",
                f"too many requests {self._what} already",
                headers={"retry-after": "1"},
            )
        self._taken[caller] += 1
        try:
            yield
        finally:
            self._taken[caller] -= 1
            if not self._taken[caller]:
                del self._taken[caller]
