"""What time it is at most: by this machine's clock, and by what servers write into their ``Date`` headers."""

import time
from collections.abc import Callable, Mapping

from chain.fetch import http_date

#: How long the date of a server's last answer counts, seconds.
HEARD = 3600.0


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
            self._heard[url] = (date, self._monotonic())

    def latest(self, url: str) -> float:
        """Return the latest unix time that it may be, whatever the server at ``url`` says while others say something."""
        moment = self._monotonic()
        dates = {
            known: date + moment - heard
            for known, (date, heard) in self._heard.items()
            if moment - heard <= HEARD
        }
        others = [date for known, date in dates.items() if known != url]
        return max([self._now(), *(others or [*dates.values()])])
