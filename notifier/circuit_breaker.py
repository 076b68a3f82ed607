"""An endpoint's health: circuit breaker, concurrency limit, ``Retry-After`` holds, disabling (pure).

Times are unix seconds, waits are seconds; the clock comes in as an argument.
"""

from dataclasses import dataclass
from enum import StrEnum

from notifier.retry import MAX_RETRY_AFTER_SECONDS

#: Consecutive transport failures or 5xx that open the circuit breaker.
BREAKER_FAILURES = 5

#: The pause between two probes doubles, up to this multiple of the first (30 s up to 10 min).
MAX_PAUSE_FACTOR = 20.0

#: Statuses that mean overload.
OVERLOAD_STATUSES = frozenset({429, 502, 503, 504})

#: Statuses whose ``Retry-After`` is honoured, for the delivery and for the whole endpoint.
RETRY_AFTER_STATUSES = frozenset({429, 503})

#: Failed attempts before an endpoint can be disabled for failing.
DISABLE_ATTEMPTS = 10


class Verdict(StrEnum):
    """Verdict of one attempt on its endpoint."""

    #: A 2xx.
    OK = "ok"
    #: The endpoint is alive but refused the event: any other status.
    REFUSED = "refused"
    #: No answer, or a 5xx.
    BROKEN = "broken"
    #: 410: the merchant does not want these webhooks any more.
    GONE = "gone"


def verdict(status_code: int | None) -> Verdict:
    """Classify a status code; None means no answer."""
    if status_code is None or status_code >= 500:
        return Verdict.BROKEN
    if 200 <= status_code < 300:
        return Verdict.OK
    return Verdict.GONE if status_code == 410 else Verdict.REFUSED


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointHealth:
    """Circuit breaker, concurrency limit, hold and failure count of an endpoint."""

    #: Consecutive transport failures and 5xx; while the breaker is open, failed probes are added.
    broken: int = 0
    #: Failed attempts of any kind since the last success, and the time of the first.
    failed: int = 0
    failing_since: float | None = None
    #: No attempt before this time: the circuit breaker is open.
    paused_until: float | None = None
    #: No attempt before this time: the endpoint asked for it (``Retry-After``).
    held_until: float | None = None
    #: Concurrency limit after overload; None: the configured limit.
    slots: int | None = None

    @property
    def breaker_open(self) -> bool:
        """Whether the endpoint gets one probe at a time."""
        return self.broken >= BREAKER_FAILURES

    def allowed(self, cap: int) -> int:
        """Return the concurrency limit, at most ``cap``."""
        if self.breaker_open:
            return 1
        return cap if self.slots is None else min(self.slots, cap)

    def after(
        self, status_code: int | None, *, now: float, pause: float, cap: int, retry_after: float | None = None
    ) -> "EndpointHealth":
        """Return the health after one more attempt that ended with this status (None: no answer).

        ``pause`` is the first wait between two probes, ``cap`` the configured concurrency limit,
        ``retry_after`` the seconds that the endpoint asked for. Overload halves the concurrency limit; each
        success raises it by one (AIMD).
        """
        held = self.held_until if self.held_until is not None and self.held_until > now else None
        result = verdict(status_code)
        if result is Verdict.OK:
            slots = None if self.slots is None or self.slots + 1 >= cap else self.slots + 1
            return EndpointHealth(held_until=held, slots=slots)
        if status_code in RETRY_AFTER_STATUSES and retry_after is not None:
            held = max(held or now, now + min(retry_after, MAX_RETRY_AFTER_SECONDS))
        broken, paused = 0, None
        if result is Verdict.BROKEN:
            broken, paused = self._broken_again(now, pause)
        return EndpointHealth(
            broken=broken,
            failed=self.failed + 1,
            failing_since=now if self.failing_since is None else self.failing_since,
            paused_until=paused,
            held_until=held,
            slots=max(1, self.allowed(cap) // 2) if status_code in OVERLOAD_STATUSES else self.slots,
        )

    def should_disable(self, *, now: float, disable_after: float) -> bool:
        """Return whether it failed often enough, without a success for ``disable_after`` seconds."""
        if self.failing_since is None or self.failed < DISABLE_ATTEMPTS:
            return False
        return now - self.failing_since >= disable_after

    def _broken_again(self, now: float, pause: float) -> tuple[int, float | None]:
        if self.breaker_open and self.paused_until is not None and now < self.paused_until:
            # It started before the breaker opened, so it is no probe and does not lengthen the pause.
            return self.broken, self.paused_until
        broken = self.broken + 1
        if broken < BREAKER_FAILURES:
            return broken, None
        doublings = min(broken - BREAKER_FAILURES, 10)
        return broken, now + pause * min(2.0**doublings, MAX_PAUSE_FACTOR)
