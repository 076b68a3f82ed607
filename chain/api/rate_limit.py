"""Rate limits of a source: our token buckets, and the limits that the source itself sends.

``TokenBucket`` and ``RequestBudget`` take the time as an argument; ``RateLimiter`` has the clock and makes
each request wait for its turn.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from chain.api.transport import retry_after, whole_number
from chain.errors import SourceLimited

MINUTE = 60.0
MONTH = 31 * 86_400.0

#: Longest wait that a header can impose, in seconds: a source's mistake must not disable it for days.
MAX_WAIT_SECONDS = 3600.0

#: Shortest sleep, in seconds, so that an inexact clock does not cause many tiny ones.
MIN_SLEEP_SECONDS = 1e-6

#: Called after each request with base URL, status code (0 without an answer), seconds.
OnRequest = Callable[[str, int, float], None]


class TokenBucket:
    """At most ``limit`` requests in any period, spread evenly, with up to ``burst`` of them at once."""

    def __init__(self, limit: int, period: float, *, burst: int, now: float) -> None:
        if not 1 <= burst <= limit:
            raise ValueError(f"a burst must be 1 to {limit} requests, not {burst}")
        self.burst = burst
        # A period allows the burst plus the refill during it: together at most the limit.
        self.rate = (limit - burst + 1) / period
        self._tokens = float(burst)
        self._at = now

    def wait(self, now: float, tokens: float = 1.0) -> float:
        """Seconds until ``tokens`` are available."""
        self._refill(now)
        return max(0.0, (tokens - self._tokens) / self.rate)

    def take(self, now: float) -> None:
        """Use one token, which must be available."""
        self._refill(now)
        self._tokens -= 1.0

    def _refill(self, now: float) -> None:
        self._tokens = min(float(self.burst), self._tokens + max(0.0, now - self._at) * self.rate)
        self._at = max(self._at, now)


class RequestBudget:
    """The buckets of one source (may be none), and the time before which it asked not to be called."""

    def __init__(self, *, per_minute: int | None, per_month: int | None, now: float) -> None:
        self._buckets: list[TokenBucket] = []
        if per_minute is not None:
            self._buckets.append(TokenBucket(per_minute, MINUTE, burst=max(1, per_minute // 5), now=now))
        if per_month is not None:
            # An hour's share at once: enough to catch up after a pause, too little to exhaust the month.
            burst = min(per_month, max(20, int(per_month * 3600 / MONTH)))
            self._buckets.append(TokenBucket(per_month, MONTH, burst=burst, now=now))
        self._blocked_until = now

    def wait(self, now: float) -> float:
        """Seconds until one more request may be sent."""
        return max(self.blocked(now), *(bucket.wait(now) for bucket in self._buckets), 0.0)

    def blocked(self, now: float) -> float:
        """Seconds left of the pause that the source itself asked for."""
        return max(0.0, self._blocked_until - now)

    def take(self, now: float) -> None:
        """Count one request, sent now."""
        for bucket in self._buckets:
            bucket.take(now)

    def is_plentiful(self, now: float, share: float = 0.75) -> bool:
        """Whether at least ``share`` of every burst is unused."""
        return self.blocked(now) == 0 and all(
            bucket.wait(now, bucket.burst * share) == 0 for bucket in self._buckets
        )

    def block(self, now: float, seconds: float) -> None:
        """Send nothing for ``seconds``, at most ``MAX_WAIT_SECONDS``."""
        self._blocked_until = max(self._blocked_until, now + min(max(seconds, 0.0), MAX_WAIT_SECONDS))

    def obey(self, now: float, code: int, headers: Mapping[str, str]) -> None:
        """Obey ``Retry-After`` and the ``ratelimit-*`` headers of an answer.

        ``ratelimit-reset`` is in seconds. The public host also sends ``x-ratelimit-remaining-stacks-…`` for
        the second, the minute and the month, without the time of their reset.
        """
        if code in (429, 503) and (seconds := retry_after(headers)) is not None:
            self.block(now, seconds)
        reset = whole_number(headers.get("ratelimit-reset", ""))
        if whole_number(headers.get("ratelimit-remaining", "")) == 0 and reset is not None:
            self.block(now, reset)
        for name, period in (("second", 1.0), ("minute", MINUTE), ("month", MAX_WAIT_SECONDS)):
            if whole_number(headers.get(f"x-ratelimit-remaining-stacks-{name}", "")) == 0:
                self.block(now, period if reset is None else max(reset, 1.0))


class RateLimiter:
    """Paces and counts one source's requests: the ``Limiter`` that ``chain.api.transport`` calls for each."""

    def __init__(
        self,
        url: str,
        budget: RequestBudget,
        *,
        max_wait: float,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
        on_request: OnRequest | None = None,
    ) -> None:
        self.budget = budget
        #: Moving average over the last usable answers, in seconds.
        self.latency: float | None = None
        #: Whether any request was made.
        self.tried = False
        self._url = url
        self._max_wait = max_wait
        self._queue = asyncio.Lock()
        self._clock = clock
        self._sleep = sleep
        self._on_request = on_request

    async def acquire(self) -> None:
        """Wait for a token, first come first served, and take it.

        Waits for our own budget however long that takes: a step that is given up and restarted with every
        token would never end. A pause that the source itself asks for is raised as ``SourceLimited`` when it
        is longer than ``max_wait``, because another source may serve meanwhile.
        """
        async with self._queue:
            self._raise_if_blocked()
            while (wait := self.budget.wait(self._clock())) > 0:
                await self._sleep(max(wait, MIN_SLEEP_SECONDS))
                self._raise_if_blocked()
            self.budget.take(self._clock())

    def _raise_if_blocked(self) -> None:
        """Raise ``SourceLimited`` while the source asks for a long pause."""
        if (blocked := self.budget.blocked(self._clock())) > self._max_wait:
            raise SourceLimited("the source asks to wait", url=self._url, retry_after=blocked)

    def observe(self, code: int, seconds: float, headers: Mapping[str, str]) -> None:
        """Update the source's own limits and the latency from an answer."""
        self.tried = True
        self.budget.obey(self._clock(), code, headers)
        if code in (200, 304, 404):
            self.latency = seconds if self.latency is None else 0.8 * self.latency + 0.2 * seconds
        if self._on_request is not None:
            self._on_request(self._url, code, seconds)
