"""What the pool knows of one source, and what that makes it good for at the moment."""

from dataclasses import dataclass
from enum import StrEnum

from chain.api.client import StacksApi
from chain.api.rate_limit import RateLimiter
from chain.errors import OperatorNeeded, SourceError, SourceRefused


class SourceState(StrEnum):
    """What a source is good for at the moment."""

    OK = "ok"
    #: Not asked anything yet, or its version and network are not known yet.
    UNKNOWN = "unknown"
    #: Serves, but showed an older tip than is known.
    LAGGING = "lagging"
    #: Its budget, or its own rate limit, says wait.
    LIMITED = "limited"
    #: Its last request failed; it is left alone for a while.
    FAILING = "failing"
    #: Wants another key, runs too old a version, or serves another network: a person must act.
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceHealth:
    """One source as ``status`` shows it."""

    url: str
    state: SourceState
    version: str | None
    tip_height: int | None
    #: Moving average over the last requests, in whole milliseconds.
    latency_ms: int | None
    #: Failed requests since the start.
    errors: int
    #: Seconds since its last answer about the chain; None before the first one.
    answered_seconds: float | None
    #: Seconds by which this machine's clock is ahead of its; None when it does not say.
    clock_skew: float | None
    note: str | None


@dataclass(slots=True, eq=False)
class Source:
    """What the pool knows of one source; times are of the pool's clock."""

    api: StacksApi
    limiter: RateLimiter
    checked: bool = True
    #: Why a person must act.
    unfit: OperatorNeeded | None = None
    version: str | None = None
    tip_height: int | None = None
    errors: int = 0
    #: Failures since the last success.
    failures: int = 0
    #: Last answer about the chain; None before the first one.
    answered_at: float | None = None
    #: The same, and before the first one when the pool was made: what a source may have said before is not known.
    heard_at: float = float("-inf")
    retry_at: float = 0.0
    lagging_until: float = 0.0
    refused: bool = False
    #: When the last trouble ended or will end.
    clean_since: float = float("-inf")
    #: The last failure since the last success.
    error: SourceError | None = None
    #: Whether that failure was logged.
    logged: bool = False
    remark: str | None = None

    def pause(self, now: float) -> float:
        """Return the seconds until it may be asked again; infinite when an operator must act."""
        if self.unfit:
            return float("inf")
        return max(self.limiter.budget.blocked(now), self.retry_at - now, 0.0)

    def wait(self, now: float) -> float:
        """Return the seconds until a step may use it. One that is not checked yet waits for the next check."""
        pause = self.pause(now)
        return pause if self.checked else max(pause, 1.0)

    def state(self, now: float) -> SourceState:
        """Return what it is good for."""
        if self.unfit or self.refused:
            return SourceState.REFUSED
        if self.failures:
            return SourceState.FAILING
        if self.limiter.budget.wait(now) > 0:
            return SourceState.LIMITED
        if not self.checked or not self.limiter.tried:
            return SourceState.UNKNOWN
        return SourceState.LAGGING if self.lagging_until > now else SourceState.OK

    def health(self, now: float, ahead: float | None) -> SourceHealth:
        """Return its row in ``status``; ``ahead`` is the seconds by which this machine's clock is ahead of its."""
        latency, state = self.limiter.latency, self.state(now)
        return SourceHealth(
            url=self.api.url,
            state=state,
            version=self.version,
            tip_height=self.tip_height,
            latency_ms=None if latency is None else round(latency * 1000),
            errors=self.errors,
            answered_seconds=None if self.answered_at is None else round(now - self.answered_at, 1),
            clock_skew=None if ahead is None else round(ahead, 1),
            note=_advice(self.unfit) or self._trouble(state) or self.remark,
        )

    def _trouble(self, state: SourceState) -> str | None:
        """Describe the last failure without the URL, which the row names anyway, and with its hint."""
        error = self.error
        if error is None or state in (SourceState.OK, SourceState.UNKNOWN):
            return None
        text = str(error).removeprefix(f"{self.api.url}: ")
        return f"{text}. {error.hint}" if isinstance(error, SourceRefused) else text


def _advice(error: OperatorNeeded | None) -> str | None:
    return None if error is None else f"{error}. {error.hint}"
