"""What time it is: by this machine's clock, and by what servers write into their ``Date`` headers."""

import time
from collections.abc import Callable, Iterable, Mapping

from chain.api.transport import http_date

#: How long the date of a server's last answer counts, seconds.
DATE_VALID_SECONDS = 3600.0

#: A server's date says something of this machine's clock only between 2025 and 2100.
_SENSIBLE = (1_735_689_600.0, 4_102_444_800.0)

#: Longest ``Age`` of an answer out of a cache that is counted, seconds.
_MAX_AGE = 7 * 86_400


class ServerDates:
    """The dates that the servers of one pool sent last, by URL.

    A machine's clock may be hours behind, and must not make every server look wrong; a server that dates a block in the
    future may write the same into its header. So the others speak for a server, and itself only where it is alone.
    """

    def __init__(
        self, *, now: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._now = now
        self._monotonic = monotonic
        #: Per URL: unix time, and when it was heard.
        self._heard: dict[str, tuple[float, float]] = {}

    def observe(self, url: str, headers: Mapping[str, str]) -> None:
        """Note the date of an answer."""
        date = http_date(headers.get("date", ""))
        if date is not None:
            self._heard[url] = (date + _age(headers.get("age", "")), self._monotonic())

    def ahead(self, url: str) -> float | None:
        """Return how many seconds this machine's clock is ahead of a server's; None if it said nothing of use lately."""
        moment = self._monotonic()
        date, heard = self._heard.get(url, (0.0, moment))
        if not _SENSIBLE[0] <= date < _SENSIBLE[1] or moment - heard > DATE_VALID_SECONDS:
            return None
        # The header is cut to whole seconds.
        return self._now() - (date + 0.5 + moment - heard)

    def skew(self) -> float | None:
        """Return how many seconds this machine's clock is ahead of the servers'; None when none of them says."""
        return agreed(self.ahead(url) for url in self._heard)

    def latest(self, url: str) -> float:
        """Return the latest unix time that it may be, whatever the server at ``url`` says while others say something."""
        moment = self._monotonic()
        dates = {
            known: date + moment - heard
            for known, (date, heard) in self._heard.items()
            if moment - heard <= DATE_VALID_SECONDS
        }
        others = [date for known, date in dates.items() if known != url]
        return max([self._now(), *(others or [*dates.values()])])


def agreed(skews: Iterable[float | None]) -> float | None:
    """Return the middle one of the sources' skews, of two in the middle the smaller one; None when there is none.

    A source's clock may be wrong too.
    """
    known = sorted(skew for skew in skews if skew is not None)
    return min(known[(len(known) - 1) // 2], known[len(known) // 2], key=abs) if known else None


def _age(text: str) -> int:
    text = text.strip()
    return min(int(text), _MAX_AGE) if text.isascii() and text.isdigit() and len(text) < 16 else 0
