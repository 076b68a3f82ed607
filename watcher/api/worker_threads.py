"""Thread pools for blocking work, with a limit on how long a request waits for a thread."""

import asyncio
import contextvars
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from watcher.api.errors import Problem

_T = TypeVar("_T")

#: How long a request may wait for a thread, seconds.
THREAD_WAIT_SECONDS = 10.0


class WorkerThreads:
    """A pool of ``count`` threads."""

    def __init__(self, count: int, name: str) -> None:
        self._pool = ThreadPoolExecutor(count, thread_name_prefix=name)

    async def run(self, function: Callable[[], _T], *, to_the_end: bool = False) -> _T:
        """Run a function in a thread and return what it returns.

        ``to_the_end``: waits for the end of the function even when the caller is canceled.

        Raises :class:`Problem` (503) when no thread is free in time, or the server stops.
        """
        deadline = time.monotonic() + THREAD_WAIT_SECONDS
        context = contextvars.copy_context()

        def begin() -> _T:
            if time.monotonic() > deadline:
                raise _unavailable("too many requests at once; try again")
            return context.run(function)

        try:
            future: Future[_T] = self._pool.submit(begin)
        except RuntimeError:
            raise _unavailable("the server is stopping") from None
        # Without effect on what has begun.
        late = asyncio.get_running_loop().call_later(THREAD_WAIT_SECONDS, future.cancel)
        waiter = asyncio.wrap_future(future)
        try:
            return await (asyncio.shield(waiter) if to_the_end else waiter)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if waiter.cancelled() and task is not None and not task.cancelling():
                raise _unavailable(
                    "too many requests at once, or the server is stopping; try again"
                ) from None
            if to_the_end:
                await asyncio.wait({waiter})
            raise
        finally:
            late.cancel()

    def close(self) -> None:
        """Take no more work and drop what has not begun."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def _unavailable(detail: str) -> Problem:
    return Problem(503, "unavailable", detail, headers={"retry-after": "1"})
