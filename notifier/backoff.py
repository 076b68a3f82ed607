"""When a delivery is tried again, and when an endpoint is given a rest or given up (pure).

Times are unix seconds, waits are seconds; jitter and the clock come in as arguments.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC
from email.utils import parsedate_to_datetime
from enum import StrEnum

#: Waits before the 1st, 2nd, … attempt.
DEFAULT_SCHEDULE: tuple[float, ...] = (0, 60, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400)

#: A wait is lengthened by at most this part of it, never shortened.
JITTER = 0.1

#: ``Retry-After`` is believed up to here.
RETRY_AFTER_CAP = 86400.0

#: So many transport failures or 5xx in a row open the circuit breaker.
BREAKER_FAILURES = 5

#: An endpoint is disabled for failing after at least so many failed attempts.
DISABLE_ATTEMPTS = 10


def first_attempt_at(schedule: Sequence[float], *, now: float) -> float:
    """Return when a fresh delivery is due; without jitter, because nothing failed yet."""
    return now + (schedule[0] if schedule else 0.0)


def next_attempt_at(
    schedule: Sequence[float], used: int, *, now: float, jitter: float, retry_after: float | None = None
) -> float | None:
    """Return when to try again after ``used`` failed attempts of this schedule; None = no more: dead.

    ``jitter`` is a random number from 0 to 1. The result is never earlier than the schedule's wait, nor than
    ``retry_after`` (seconds, believed up to a day).
    """
    if used >= len(schedule):
        return None
    wait = schedule[used] * (1 + JITTER * jitter)
    if retry_after is not None:
        wait = max(wait, min(retry_after, RETRY_AFTER_CAP))
    return now + wait


def parse_retry_after(value: str, *, now: float) -> float | None:
    """Return the wait in seconds that a ``Retry-After`` header asks for (seconds or an HTTP date), else None."""
    text = value.strip()
    if text.isascii() and text.isdigit():
        # A long row of digits is a long wait, not a number worth parsing.
        return float(text) if len(text) < 10 else RETRY_AFTER_CAP
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, moment.timestamp() - now)


class Verdict(StrEnum):
    """What one attempt says about its endpoint."""

    #: A 2xx.
    OK = "ok"
    #: The endpoint answered, but not with a 2xx or 5xx: it is alive and says no.
    REFUSED = "refused"
    #: No answer, or a 5xx.
    BROKEN = "broken"
    #: 410: the owner does not want these any more.
    GONE = "gone"


def verdict(status_code: int | None) -> Verdict:
    """Return what a status says; None = there was no answer."""
    if status_code is None or status_code >= 500:
        return Verdict.BROKEN
    if 200 <= status_code < 300:
        return Verdict.OK
    return Verdict.GONE if status_code == 410 else Verdict.REFUSED


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """What is remembered of an endpoint's recent attempts."""

    #: Transport failures and 5xx since the last success.
    broken: int = 0
    #: Failed attempts of any kind since the last success, and when the first of them was.
    failed: int = 0
    failing_since: float | None = None
    #: No attempt before this time, while the circuit breaker is open.
    paused_until: float | None = None

    @property
    def breaker_open(self) -> bool:
        """Say whether the endpoint gets one probe at a time."""
        return self.broken >= BREAKER_FAILURES

    def after(self, outcome: Verdict, *, now: float, pause: float) -> "Health":
        """Return the health after one more attempt; ``pause`` is the wait between two probes."""
        if outcome is Verdict.OK:
            return Health()
        broken = self.broken + (outcome is Verdict.BROKEN)
        return replace(
            self,
            broken=broken,
            failed=self.failed + 1,
            failing_since=now if self.failing_since is None else self.failing_since,
            paused_until=now + pause if broken >= BREAKER_FAILURES else None,
        )

    def hopeless(self, *, now: float, disable_after: float) -> bool:
        """Say whether the endpoint has only failed for so long, and often enough, that it should be disabled."""
        if self.failing_since is None or self.failed < DISABLE_ATTEMPTS:
            return False
        return now - self.failing_since >= disable_after
