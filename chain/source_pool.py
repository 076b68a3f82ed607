"""A pool of sources: selection, rate limits, back-off and failover.

The order of the list is the order of preference. A step uses one source from beginning to end; between steps
the pool leaves a source that fails, lags, or has used up its budget, and returns to it only after it was
healthy for a while, so that a flapping source is not tried at every step.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

import structlog

from chain.api.dates import ServerDates
from chain.api.rate_limit import OnRequest, RateLimiter, RequestBudget
from chain.backoff import backoff_seconds
from chain.errors import (
    SourceError,
    SourceLimited,
    SourceRefused,
    SourceUnavailable,
    UnsupportedVersion,
    WrongNetwork,
)
from chain.source import ChainSource
from chain.source_check import check_source
from chain.source_health import Source, SourceHealth, SourceState

_T = TypeVar("_T")

_log = structlog.stdlib.get_logger(__name__)

#: Seconds that a poll waits for the checks of other sources while one serves; the checks continue in the
#: background.
CHECK_WAIT_SECONDS: Final = 1.0

#: Seconds after which a source's version, network and routes are looked at again.
RECHECK_SECONDS: Final = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BackoffPolicy:
    """The pool's pauses and waits, in seconds."""

    #: First pause after a failure; doubles with each further one, up to ``max_backoff``.
    backoff: float = 1.0
    max_backoff: float = 300.0
    #: How long a source counts as lagging after it lagged.
    lagging: float = 30.0
    #: How long a preferred source must have been healthy before the pool returns to it.
    settle: float = 120.0
    #: Longest pause that a source may ask for within a step; a longer one is raised as ``SourceLimited``.
    max_wait: float = 5.0

    @classmethod
    def for_polls(cls, interval: float) -> "BackoffPolicy":
        """The policy for polls that are ``interval`` seconds apart.

        A source that was left must stay out for some polls, or the pool would return to a stuck one at every
        poll.
        """
        usual = cls()
        return cls(lagging=max(usual.lagging, 6 * interval), settle=max(usual.settle, 24 * interval))


class SourcePool:
    """The sources of one network, which it owns: ``aclose`` closes them.

    Budgets are per source, because hosts count per key and address; an own node has none. Clock, sleep and
    random are parameters for tests.
    """

    def __init__(
        self,
        sources: Sequence[ChainSource],
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        rng: Callable[[], float] = random.random,
        requests_per_minute: int | None = None,
        requests_per_month: int | None = None,
        backoff: BackoffPolicy | None = None,
        on_request: OnRequest | None = None,
    ) -> None:
        if not sources:
            raise ValueError("a pool needs at least one source")
        self._clock = clock
        self._rng = rng
        self._backoff = backoff or BackoffPolicy()
        self._network: str | None = None
        self._sources: list[Source] = []
        self._dates = ServerDates()
        for api in sources:
            api.dates = self._dates
            limits = (requests_per_minute, requests_per_month) if api.is_metered else (None, None)
            budget = RequestBudget(per_minute=limits[0], per_month=limits[1], now=clock())
            limiter = RateLimiter(
                api.url,
                budget,
                max_wait=self._backoff.max_wait,
                clock=clock,
                sleep=sleep,
                on_request=on_request,
            )
            api.limiter = limiter
            self._sources.append(Source(api, limiter, heard_at=clock()))
        self._pinned = self._sources[0]
        #: Running checks.
        self._checks: dict[Source, asyncio.Task[None]] = {}

    # Choosing

    def attempts(self, *, past: bool = False) -> Iterator[ChainSource]:
        """Yield the sources for one poll: the one to use, then, while none has served, the next one.

        Each at most once; for the ``past``, those that hold it come first. Raises what ``pick`` raises when
        not even the first can be used.
        """
        tried: list[ChainSource] = []
        later = [source.api for source in self._sources if past and not source.api.holds_past]
        while True:
            try:
                source = self.pick(exclude=[*tried, *later])
            except SourceError:
                if later:
                    later = []
                    continue
                if not tried:
                    raise
                return
            tried.append(source)
            yield source

    async def use(self, work: Callable[[ChainSource], Awaitable[_T]]) -> _T:
        """Run ``work`` with the source to use and, each time one fails, with the next one."""
        failure: SourceError | None = None
        for source in self.attempts(past=True):
            try:
                done = await work(source)
            except SourceError as error:
                self.failed(source, error)
                failure = error
                continue
            self.succeeded(source)
            return done
        assert failure is not None, "there was an attempt, or attempts() has raised"
        raise self.exhausted(failure)

    def pick(self, *, exclude: Collection[ChainSource] = ()) -> ChainSource:
        """Choose the source for the next step. Raises ``SourceLimited`` or ``SourceUnavailable`` without one.

        The error's ``retry_after`` says when one may be back. A lagging source is better than none, and if no
        other is left, a source that must wait for its budget is used. ``exclude``: sources not to choose.
        """
        now = self._clock()
        usable = [source for source in self._sources if source.api not in exclude and source.wait(now) == 0]
        if not usable:
            raise self._none_usable()
        current = [source for source in usable if source.lagging_until <= now] or usable
        waits = {source.api.url: source.limiter.budget.wait(now) for source in current}
        for source in current:
            if waits[source.api.url] > 0:
                # Return to a source out of budget once it has had some for a while, not for each single
                # request.
                source.clean_since = max(source.clean_since, now + waits[source.api.url])
        soonest = min(waits.values())
        ready = [source for source in current if waits[source.api.url] <= soonest]
        settled = now - self._backoff.settle
        # Do not return to a failed source as soon as its pause is over, which may be before the next poll.
        calm = [source for source in ready if not source.failures or source.clean_since <= settled] or ready
        best = calm[0]
        if self._pinned in calm:
            best = next(s for s in calm if s is self._pinned or s.clean_since <= settled)
        self._pinned = best
        return best.api

    def others(self, than: ChainSource | None, *, within: float | None = None) -> list[ChainSource]:
        """The other sources that can give a second opinion: healthy and not lagging, with or without budget.

        All such sources when ``than`` is None.

        With ``within``, also those that answered within so many seconds, whatever their state now: their
        answer counts, and without one their opinion is unknown. At the start every source counts as having
        answered.
        """
        now = self._clock()
        return [
            source.api
            for source in self._sources
            if source.api is not than
            and (
                (source.wait(now) == 0 and source.lagging_until <= now)
                or (within is not None and not source.unfit and now - source.heard_at <= within)
            )
        ]

    def has_other_past(self, than: ChainSource) -> bool:
        """Whether another source is configured from which blocks of any age are read."""
        return any(source.api.holds_past for source in self._sources if source.api is not than)

    def answered_within(self, source: ChainSource, *, within: float) -> bool:
        """Whether this source answered in the last ``within`` seconds."""
        return self._clock() - self._of(source).heard_at <= within

    def idle_source(self, share: float = 0.75) -> ChainSource | None:
        """The source of the last step, for optional requests, such as the mempool's.

        None when it cannot be used now, or when less than ``share`` of a burst is left of its budget.
        """
        now, source = self._clock(), self._pinned
        usable = source.checked and source.pause(now) == 0
        return source.api if usable and source.limiter.budget.is_plentiful(now, share) else None

    # Reports of the follower

    def answered(self, source: ChainSource) -> None:
        """Note that this source answered about the chain, whether or not it served a step."""
        known = self._of(source)
        known.answered_at = known.heard_at = self._clock()

    def succeeded(
        self, source: ChainSource, *, tip_height: int | None = None, latency: float | None = None
    ) -> None:
        """Note a step that succeeded, the tip it showed, and a request's seconds if measured outside."""
        known = self._of(source)
        self.answered(source)
        if known.failures or known.refused:
            known.clean_since = self._clock()
        known.failures, known.refused, known.error, known.logged = 0, False, None, False
        for other in self._sources:
            if other.error is not None and not other.logged:
                other.logged = True
                _log.warning(
                    "source.replaced",
                    action="source.replaced",
                    source=other.api.url,
                    by=source.url,
                    reason=str(other.error),
                )
        known.limiter.tried = True
        known.retry_at = 0.0
        if latency is not None:
            known.limiter.latency = latency
        if tip_height is not None:
            known.tip_height = tip_height
            if all(tip_height >= (other.tip_height or 0) for other in self._sources if other is not known):
                known.lagging_until = min(known.lagging_until, self._clock())

    def failed(self, source: ChainSource, error: SourceError) -> None:
        """Note that a request failed: pause the source, longer each time."""
        known = self._of(source)
        now = self._clock()
        known.limiter.tried = True
        known.error = error
        if isinstance(error, SourceLimited) and error.retry_after:
            # Being asked to slow down is no failure, unless the source does not say for how long.
            known.limiter.budget.block(now, error.retry_after)
            known.clean_since = max(known.clean_since, now + known.limiter.budget.blocked(now))
            return
        known.errors += 1
        known.failures += 1
        known.refused = isinstance(error, SourceRefused)
        backoff = self._backoff
        first = backoff.max_backoff if known.refused else backoff.backoff
        known.retry_at = now + backoff_seconds(
            known.failures - 1, first=first, longest=backoff.max_backoff, rng=self._rng
        )
        known.clean_since = known.retry_at

    def lagging(self, source: ChainSource, tip_height: int | None = None) -> None:
        """Note that this source showed less than is known to exist; prefer others for a while."""
        known = self._of(source)
        if tip_height is not None:
            known.tip_height = tip_height
        known.lagging_until = self._clock() + self._backoff.lagging
        known.clean_since = max(known.clean_since, known.lagging_until)

    # Checking

    async def check(self, network: str) -> None:
        """Check the version and network of every source that has not answered yet, and of all once a day.

        Call it at the start and again before each poll: it costs nothing while nothing is due. From the
        first call on, ``pick`` returns only sources that passed; while there is one, later calls hardly wait
        for the others. Raises ``UnsupportedVersion`` or ``WrongNetwork`` for an unfit source at the start
        (later it is only left out), and whenever all are unfit. Raises ``SourceError`` while no source has
        passed.
        """
        first = self._network is None
        if first:
            for source in self._sources:
                source.checked = False
        self._network = network
        now = self._clock()
        due = [
            source
            for source in self._sources
            if (not source.checked or now - source.checked_at > RECHECK_SECONDS)
            and source not in self._checks
            and source.pause(now) == 0
        ]
        self._checks |= {source: asyncio.create_task(self._check(source, network)) for source in due}
        if not first and any(source.checked for source in self._sources):
            if due:
                await asyncio.wait([self._checks[source] for source in due], timeout=CHECK_WAIT_SECONDS)
        elif self._checks:
            await asyncio.wait(self._checks.values())
        self._finish_checks()
        unfit = [source.unfit for source in self._sources if source.unfit is not None]
        if unfit and (first or len(unfit) == len(self._sources)):
            raise unfit[0].with_traceback(None)
        if not any(source.checked for source in self._sources):
            raise self._none_usable()

    def _finish_checks(self) -> None:
        """Record the outcome of finished checks."""
        for source, task in [(source, task) for source, task in self._checks.items() if task.done()]:
            del self._checks[source]
            try:
                task.result()
            except (UnsupportedVersion, WrongNetwork) as error:
                source.unfit = error
            except SourceError as error:
                self.failed(source.api, error)

    async def _check(self, source: Source, network: str) -> None:
        source.checked_at = self._clock()
        source.api.forget_absences()
        status = await source.api.status()
        source.version = status.server_version
        source.remark = await check_source(source.api, status, network)
        source.checked = True
        self.succeeded(source.api, tip_height=status.tip_height)

    # Health and closing

    def exhausted(self, failure: SourceError) -> SourceError:
        """The error of a poll that tried every source in vain; ``failure`` is the last one's."""
        if len(self._sources) == 1:
            return failure
        error = self._none_usable()
        error.retry_after = failure.retry_after
        return error

    def _none_usable(self) -> SourceError:
        """The error of a poll that no source served, with the state of each.

        Of a single source it is that source's own error, so that an outage has one text from its beginning.
        """
        now = self._clock()
        soonest = min(source.wait(now) for source in self._sources)
        retry_after = None if soonest == float("inf") else soonest
        rows = self.health()
        kind = SourceLimited if any(row.state is SourceState.LIMITED for row in rows) else SourceUnavailable
        only = self._sources[0].error if len(self._sources) == 1 else None
        if only is not None:
            return kind(str(only), retry_after=retry_after)
        notes = "; ".join(f"{row.url}: {row.state}" + (f" ({row.note})" if row.note else "") for row in rows)
        return kind(f"no source can be used at the moment: {notes}", retry_after=retry_after)

    def health(self) -> tuple[SourceHealth, ...]:
        """One row per source, in the order of the settings."""
        now = self._clock()
        return tuple(source.health(now, self._dates.ahead(source.api.url)) for source in self._sources)

    @property
    def clock_skew(self) -> float | None:
        """Seconds by which this machine's clock is ahead of the sources'; None when unknown."""
        return self._dates.skew()

    async def aclose(self) -> None:
        """Close every source's connections."""
        for task in self._checks.values():
            task.cancel()
        await asyncio.gather(*self._checks.values(), return_exceptions=True)
        await asyncio.gather(*(source.api.aclose() for source in self._sources))

    # Inside

    def _of(self, api: ChainSource) -> Source:
        return next(source for source in self._sources if source.api is api)
