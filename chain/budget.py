"""How many requests a source may get, and when: token buckets, and what the source itself says. No clock in here."""

from collections.abc import Mapping

from chain.fetch import retry_after

MINUTE = 60.0
MONTH = 31 * 86_400.0

#: Longest wait that a header can ask for, in seconds: a source's mistake must not silence it for days.
LONGEST_WAIT = 3600.0


class TokenBucket:
    """At most ``limit`` requests in any period, spread evenly, with up to ``burst`` of them at once.

    Tokens may be reserved ahead: the balance then is negative, and the caller waits until his token exists.
    """

    def __init__(self, limit: int, period: float, *, burst: int, now: float) -> None:
        if not 1 <= burst <= limit:
            raise ValueError(f"a burst must be 1 to {limit} requests, not {burst}")
        self.burst = burst
        # A period holds the burst plus what refills during it: together not more than the limit.
        self.rate = (limit - burst + 1) / period
        self._tokens = float(burst)
        self._at = now

    def wait(self, now: float, tokens: float = 1.0) -> float:
        """Seconds until ``tokens`` are there."""
        self._refill(now)
        return max(0.0, (tokens - self._tokens) / self.rate)

    def take(self, now: float) -> None:
        """Use one token, or reserve the next one."""
        self._refill(now)
        self._tokens -= 1.0

    def _refill(self, now: float) -> None:
        self._tokens = min(float(self.burst), self._tokens + max(0.0, now - self._at) * self.rate)
        self._at = max(self._at, now)


class Budget:
    """The buckets of one source (none is fine), and the time before which it asked not to be called."""

    def __init__(self, *, per_minute: int | None, per_month: int | None, now: float) -> None:
        self._buckets: list[TokenBucket] = []
        if per_minute is not None:
            self._buckets.append(TokenBucket(per_minute, MINUTE, burst=max(1, per_minute // 5), now=now))
        if per_month is not None:
            # An hour's share at once: enough to catch up after a pause, too little to spoil the month.
            burst = min(per_month, max(20, int(per_month * 3600 / MONTH)))
            self._buckets.append(TokenBucket(per_month, MONTH, burst=burst, now=now))
        self._blocked_until = now

    def wait(self, now: float) -> float:
        """Seconds until one more request may go out."""
        return max(self.blocked(now), *(bucket.wait(now) for bucket in self._buckets), 0.0)

    def blocked(self, now: float) -> float:
        """Seconds that the source itself still asks to wait."""
        return max(0.0, self._blocked_until - now)

    def take(self, now: float) -> None:
        """Count one request, sent now or after ``wait``."""
        for bucket in self._buckets:
            bucket.take(now)

    def wait_for_share(self, now: float, share: float) -> float:
        """Seconds until every bucket holds ``share`` (0 to 1) of its burst, at least one token."""
        waits = (bucket.wait(now, max(1.0, bucket.burst * share)) for bucket in self._buckets)
        return max(self.blocked(now), *waits, 0.0)

    def block(self, now: float, seconds: float) -> None:
        """Send nothing for so long (at most ``LONGEST_WAIT``)."""
        self._blocked_until = max(self._blocked_until, now + min(max(seconds, 0.0), LONGEST_WAIT))

    def obey(self, now: float, code: int, headers: Mapping[str, str]) -> None:
        """Follow ``Retry-After`` and the ``ratelimit-*`` headers of an answer.

        ``ratelimit-reset`` counts seconds. The public host also sends ``x-ratelimit-remaining-stacks-…`` for the
        second, the minute and the month, without saying when they start again.
        """
        if code in (429, 503) and (seconds := retry_after(headers)) is not None:
            self.block(now, seconds)
        reset = _number(headers.get("ratelimit-reset"))
        if _number(headers.get("ratelimit-remaining")) == 0 and reset is not None:
            self.block(now, reset)
        for name, period in (("second", 1.0), ("minute", MINUTE), ("month", LONGEST_WAIT)):
            if _number(headers.get(f"x-ratelimit-remaining-stacks-{name}")) == 0:
                self.block(now, period if reset is None else max(reset, 1.0))


def _number(text: str | None) -> float | None:
    if text is None:
        return None
    text = text.strip()
    return float(text) if text.isascii() and text.isdigit() and len(text) < 16 else None
