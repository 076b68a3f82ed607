"""Clock skew: this machine's clock against the ``Date`` headers of servers."""

import time
from collections.abc import Callable, Iterable, Mapping

from chain.api.transport import http_date, whole_number

#: Seconds for which the date of a server's last answer counts.
DATE_VALID_SECONDS = 3600.0

#: Unix times from 2025 to 2100: a server's date outside says nothing about this machine's clock.
_PLAUSIBLE_DATES = (1_735_689_600.0, 4_102_444_800.0)

#: Longest ``Age`` of a cached answer that is counted, in seconds.
_MAX_AGE_SECONDS = 7 * 86_400


class ServerDates:
    """The last dates of the servers of one pool, by URL.

    This machine's clock may be hours behind, which must not make every server look wrong; and a server that
    dates a block in the future may send the same date in its header. So a server is judged by the dates of
    the others, and by its own only if it is alone.
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
            age = min(whole_number(headers.get("age", "")) or 0, _MAX_AGE_SECONDS)
            self._heard[url] = (date + age, self._monotonic())

    def ahead(self, url: str) -> float | None:
        """Seconds by which this machine's clock is ahead of a server's; None without a recent sane date."""
        moment = self._monotonic()
        date, heard = self._heard.get(url, (0.0, moment))
        if not _PLAUSIBLE_DATES[0] <= date < _PLAUSIBLE_DATES[1] or moment - heard > DATE_VALID_SECONDS:
            return None
        # The header is truncated to whole seconds.
        return self._now() - (date + 0.5 + moment - heard)

    def skew(self) -> float | None:
        """Seconds by which this machine's clock is ahead of the servers'; None when unknown."""
        return agreed(self.ahead(url) for url in self._heard)

    def latest(self, url: str) -> float:
        """Latest possible unix time now; the server at ``url`` counts only when no other has sent a date."""
        moment = self._monotonic()
        dates = {
            known: date + moment - heard
            for known, (date, heard) in self._heard.items()
            if moment - heard <= DATE_VALID_SECONDS
        }
        others = [date for known, date in dates.items() if known != url]
        return max([self._now(), *(others or [*dates.values()])])


def agreed(skews: Iterable[float | None]) -> float | None:
    """Return the median of the sources' skews, of two in the middle the smaller; None when there is none.

    The median, because a source's clock may be wrong too.
    """
    known = sorted(skew for skew in skews if skew is not None)
    return min(known[(len(known) - 1) // 2], known[len(known) // 2], key=abs) if known else None
