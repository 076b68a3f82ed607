"""Per-key rate limit: an in-process token bucket.

Headers: draft-ietf-httpapi-ratelimit-headers (``RateLimit-Policy``, ``RateLimit``). The bucket holds a
minute's requests and refills evenly.
"""

import math
import time
from collections.abc import Callable

WINDOW_SECONDS = 60

#: Buckets in memory; beyond that the full ones are dropped.
_MAX_KEYS = 10_000


class RateLimit:
    """``quota``: requests of one key per ``window`` (seconds, a minute by default), None for no limit."""

    def __init__(
        self,
        quota: int | None,
        *,
        window: int = WINDOW_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._quota = quota
        self._window = window
        self._clock = clock
        self._buckets: dict[str, tuple[float, float]] = {}

    def take(self, key: str) -> tuple[dict[str, str], int | None]:
        """Take one request of a key: return the headers that say how it stands, and None or the seconds to
        wait.
        """
        if self._quota is None:
            return {}, None
        now = self._clock()
        tokens = self._tokens(key, now)
        wait = None
        if tokens >= 1:
            tokens -= 1
        else:
            wait = max(1, math.ceil((1 - tokens) * self._window / self._quota))
        self._buckets[key] = (tokens, now)
        if len(self._buckets) > _MAX_KEYS:
            self._forget(now)
        full_in = math.ceil((self._quota - tokens) * self._window / self._quota)
        return {
            "ratelimit-policy": f'"default";q={self._quota};w={self._window}',
            "ratelimit": f'"default";r={int(tokens)};t={full_in}',
        }, wait

    def give_back(self, key: str) -> None:
        """Take back one request of a key: it does not count."""
        if self._quota is not None and key in self._buckets:
            tokens, at = self._buckets[key]
            self._buckets[key] = (min(float(self._quota), tokens + 1), at)

    def _tokens(self, key: str, now: float) -> float:
        assert self._quota is not None, "there is a limit"
        tokens, at = self._buckets.get(key, (float(self._quota), now))
        return min(float(self._quota), tokens + (now - at) * self._quota / self._window)

    def _forget(self, now: float) -> None:
        assert self._quota is not None, "there is a limit"
        full = [key for key in self._buckets if self._tokens(key, now) >= self._quota]
        for key in full or [next(iter(self._buckets))]:
            del self._buckets[key]
