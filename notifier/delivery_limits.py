"""Limits of a delivery worker: how often, how long, how many at once, and to which addresses."""

from collections.abc import Sequence
from dataclasses import dataclass

from notifier.results import Policy
from notifier.retry import DEFAULT_SCHEDULE

#: Pause of a circuit breaker unless the limits name one, seconds.
BREAKER_PAUSE_SECONDS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryLimits:
    """Limits of a :class:`notifier.worker.Worker`; times in seconds."""

    #: Waits before the 1st, 2nd, … attempt.
    schedule: Sequence[float] = DEFAULT_SCHEDULE
    #: Longest duration of one attempt.
    timeout: float = 15.0
    #: Attempts at once, of all endpoints and of one.
    concurrency: int = 256
    endpoint_concurrency: int = 8
    #: Attempts per second at one endpoint; None for no limit.
    endpoint_rate: float | None = None
    #: Whether an endpoint may be plain HTTP, or in a private network.
    allow_http: bool = False
    allow_private: bool = False
    #: Time for which an endpoint may only fail before it is disabled.
    disable_after: float = 5 * 86400.0
    #: Pause between the first two probes of an endpoint whose circuit breaker is open.
    breaker_pause: float | None = None
    #: Longest wait between two polls of the queue.
    poll_interval: float = 1.0
    #: Time for the attempts under way at shutdown.
    grace: float = 5.0

    @property
    def policy(self) -> Policy:
        """The policy for failed attempts."""
        pause = self.breaker_pause
        if pause is None:
            # With a schedule in seconds (tests, demos) no longer than its first wait.
            pause = min([BREAKER_PAUSE_SECONDS, *self.schedule[1:2]])
        return Policy(
            schedule=self.schedule,
            breaker_pause=pause,
            disable_after=self.disable_after,
            endpoint_cap=self.endpoint_concurrency,
        )


DEFAULT_LIMITS = DeliveryLimits()
