"""Manual time for tests: sleeps end when the test advances to their end."""

import asyncio
import heapq
import itertools


class Timeline:
    """Monotonic clock and its sleep. Time passes only in :meth:`advance`."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._numbers = itertools.count()
        self._changed = asyncio.Condition()

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        """Wait until the time is ``seconds`` later."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        future = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.now + seconds, next(self._numbers), future))
        async with self._changed:
            self._changed.notify_all()
        await future

    @property
    def due(self) -> list[float]:
        """Wake-up times of the current sleepers, in order."""
        self._sleepers = [sleeper for sleeper in self._sleepers if not sleeper[2].done()]
        heapq.heapify(self._sleepers)
        return sorted(due for due, _, _ in self._sleepers)

    async def asleep(self, count: int = 1, *, within: float = 10.0) -> None:
        """Wait until ``count`` tasks sleep, so that the effects of the last step are complete."""
        async with asyncio.timeout(within), self._changed:
            await self._changed.wait_for(lambda: len(self.due) >= count)

    async def advance(self, seconds: float) -> None:
        """Let ``seconds`` pass, waking each sleeper at its time."""
        end = self.now + seconds
        while (due := self.due) and due[0] <= end:
            self.now = due[0]
            _, _, future = heapq.heappop(self._sleepers)
            future.set_result(None)
            # Let the woken task sleep again, so that its next wake-up is part of this advance too.
            for _ in range(20):
                await asyncio.sleep(0)
        self.now = end
