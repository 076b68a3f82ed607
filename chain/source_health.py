"""The state of one source of the pool: failures, pauses, limits, and the health shown for it."""

from dataclasses import dataclass
from enum import StrEnum

from chain.api.rate_limit import RateLimiter
from chain.errors import OperatorNeeded, SourceError, SourceRefused
from chain.source import ChainSource


class SourceState(StrEnum):
    """Whether a source can be used now, and if not, why."""

    OK = "ok"
    #: Not used yet, or its version and network are not known yet.
    UNKNOWN = "unknown"
    #: Serves, but showed an older tip than the newest known one.
    LAGGING = "lagging"
    #: Waits for our budget or for the source's own rate limit.
    LIMITED = "limited"
    #: Its last request failed; it is paused for a while.
    FAILING = "failing"
    #: Rejects the key, runs too old a version, or serves another network: an operator must act.
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceHealth:
    """A source's row in ``status``."""

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
    #: Seconds by which this machine's clock is ahead of the source's; None when unknown.
    clock_skew: float | None
    note: str | None
    #: How events are read, a ``Reading``; None for a source that has but one way.
    reading: str | None = None
    #: Routes in use, or used before, that announced their end; and those of them that are switched off.
    deprecated_routes: tuple[str, ...] = ()
    gone_routes: tuple[str, ...] = ()


@dataclass(slots=True, eq=False)
class Source:
    """One source of the pool; times are of the pool's clock, in seconds."""

    api: ChainSource
    limiter: RateLimiter
    checked: bool = True
    #: Set when an operator must act.
    unfit: OperatorNeeded | None = None
    version: str | None = None
    tip_height: int | None = None
    errors: int = 0
    #: Failures since the last success.
    failures: int = 0
    #: Last answer about the chain; None before the first one.
    answered_at: float | None = None
    #: The same, but the time the pool was made before the first answer: the source may have answered shortly
    #: before.
    heard_at: float = float("-inf")
    retry_at: float = 0.0
    lagging_until: float = 0.0
    refused: bool = False
    #: When the last failure, lag or limit ended or will end.
    clean_since: float = float("-inf")
    #: The last failure since the last success.
    error: SourceError | None = None
    #: Whether that failure was logged.
    logged: bool = False
    remark: str | None = None
    #: When its version and network were checked last.
    checked_at: float = float("-inf")

    def pause(self, now: float) -> float:
        """Seconds until the next request is allowed; infinite when an operator must act."""
        if self.unfit:
            return float("inf")
        return max(self.limiter.budget.blocked(now), self.retry_at - now, 0.0)

    def wait(self, now: float) -> float:
        """Seconds until a poll may use it. A source that is not checked yet waits for the next check."""
        pause = self.pause(now)
        return pause if self.checked else max(pause, 1.0)

    def state(self, now: float) -> SourceState:
        """Its state at ``now``."""
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
        """Its row in ``status``; this machine's clock is ``ahead`` seconds ahead of the source's."""
        latency, state, offers = self.limiter.latency, self.state(now), self.api.capabilities
        return SourceHealth(
            url=self.api.url,
            state=state,
            version=self.version,
            tip_height=self.tip_height,
            latency_ms=None if latency is None else round(latency * 1000),
            errors=self.errors,
            answered_seconds=None if self.answered_at is None else round(now - self.answered_at, 1),
            clock_skew=None if ahead is None else round(ahead, 1),
            note=_advice(self.unfit) or self._trouble(state) or self.api.note or self.remark,
            reading=None if offers is None else offers.reading.value,
            deprecated_routes=() if offers is None else tuple(sorted(offers.deprecated)),
            gone_routes=() if offers is None else tuple(sorted(offers.gone | offers.absent)),
        )

    def _trouble(self, state: SourceState) -> str | None:
        """The last failure with its hint, and without the URL, which the row has anyway."""
        error = self.error
        if error is None or state in (SourceState.OK, SourceState.UNKNOWN):
            return None
        text = str(error).removeprefix(f"{self.api.url}: ")
        return f"{text}. {error.hint}" if isinstance(error, SourceRefused) else text


def _advice(error: OperatorNeeded | None) -> str | None:
    return None if error is None else f"{error}. {error.hint}"
