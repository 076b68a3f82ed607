"""Run blocking work in threads, transactions to their end, and awaitables until a stop event."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

_T = TypeVar("_T")


async def run_in_thread(function: Callable[..., _T], *args: Any) -> _T:
    """Run short, blocking database work in a worker thread."""
    return await asyncio.to_thread(function, *args)


async def run_transaction(function: Callable[..., _T], *args: Any) -> _T:
    """Run a transaction in a thread; wait for its end even when cancelled, so that its outcome is known."""
    work = asyncio.ensure_future(asyncio.to_thread(function, *args))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        await asyncio.wait({work})
        raise


async def run_until_stopped(stop: asyncio.Event, work: Awaitable[_T]) -> _T | None:
    """Run ``work`` until it ends or ``stop`` is set; then cancel it and return None."""
    task = asyncio.ensure_future(work)
    stopped = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        task.cancel()
        await asyncio.wait({task})
        return None if task.cancelled() else task.result()
    finally:
        for pending in (task, stopped):
            pending.cancel()
        await asyncio.wait({task, stopped})
