"""Retry work on the sources of a pool, for a bounded time: for commands, which have to end."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from chain.errors import SourceError
from chain.source import ChainSource
from chain.source_pool import SourcePool
from watcher.errors import Unreachable

#: Failures in a row without progress before a command gives up. The pool's pause grows with each: half a
#: minute in all.
MAX_FAILURES = 7

#: Seconds that a command waits in all, without progress, when the source names the wait: small API plans are
#: slow.
MAX_WAIT_SECONDS = 3600.0

#: Longest single wait, seconds, between two reports that the command is alive.
MAX_PAUSE_SECONDS = 30.0

_T = TypeVar("_T")


class Sources:
    """A source pool with retries. ``on_wait`` is called with the reason for each wait; set it at any time."""

    def __init__(
        self,
        pool: SourcePool,
        *,
        network: str,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.pool = pool
        self._network = network
        self.on_wait: Callable[[str], Awaitable[None]] | None = None
        self._sleep = sleep
        self._failures = 0
        self._waited = 0.0

    def progressed(self) -> None:
        """Reset the limits after progress."""
        self._failures = 0
        self._waited = 0.0

    async def rest(self, seconds: float) -> None:
        """Wait, by the same clock as the waits for sources."""
        await self._sleep(seconds)

    async def use(self, work: Callable[[ChainSource], Awaitable[_T]]) -> _T:
        """Run ``work`` with a source.

        After a ``SourceError`` the next source is used, and after a pause all of them again. Raises
        :class:`Unreachable` when there is no progress, and ``OperatorNeeded`` for a source of another network
        or version.
        """
        while True:
            try:
                await self.pool.check(self._network)
                done = await self.pool.use(work)
            except SourceError as error:
                await self._wait(error)
            else:
                self.progressed()
                return done

    async def _wait(self, error: SourceError) -> None:
        self._failures += error.retry_after is None
        if self._failures >= MAX_FAILURES or self._waited >= MAX_WAIT_SECONDS:
            raise Unreachable(
                f"no source serves what is needed: {error}",
                hint="`sbtc-watcher check` looks at each source; "
                "the same command resumes where this one stopped",
            ) from error
        if self.on_wait is not None:
            await self.on_wait(str(error))
        pause = min(max(error.retry_after or 1.0, 0.1), MAX_PAUSE_SECONDS)
        self._waited += pause
        await self._sleep(pause)
