"""Work that needs a source and may wait for one, but not for ever: for commands, which have an end."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from chain.api.client import StacksApi
from chain.errors import SourceError
from chain.source_pool import SourcePool
from watcher.errors import Unreachable

#: Failures in a row without any progress before a command gives up. The pool pauses longer after each: half a minute.
MAX_FAILURES = 7

#: How long a command waits without any progress when the source says for how long, seconds. A small plan takes its time.
MAX_WAIT_SECONDS = 3600.0

#: Longest single wait, seconds: then it says again that it is alive.
MAX_PAUSE_SECONDS = 30.0

_T = TypeVar("_T")


class Sources:
    """A pool, used until something works. ``on_wait`` is called with the reason of a wait; set it at any time."""

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
        """Something worked: patience begins anew."""
        self._failures = 0
        self._waited = 0.0

    async def rest(self, seconds: float) -> None:
        """Wait, by the clock that waits for sources go by."""
        await self._sleep(seconds)

    async def use(self, work: Callable[[StacksApi], Awaitable[_T]]) -> _T:
        """Do ``work`` with a source; after a ``SourceError`` with the next one, and after a pause with all again.

        Raises :class:`Unreachable` when it does not get on, and ``OperatorNeeded`` for a source of another network or
        version.
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
                hint="`sbtc-watcher check` looks at each source; the same command goes on where this one stopped",
            ) from error
        if self.on_wait is not None:
            await self.on_wait(str(error))
        pause = min(max(error.retry_after or 1.0, 0.1), MAX_PAUSE_SECONDS)
        self._waited += pause
        await self._sleep(pause)
