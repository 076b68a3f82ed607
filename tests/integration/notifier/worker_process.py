"""Delivery worker as a process, for tests that kill it: ``worker_process.py URL NAME TIMEOUT MARGIN GRACE``.

It prints a line when it has started, runs until SIGTERM, and then releases its claims.
"""

import asyncio
import signal
import sys

from notifier import worker
from notifier.delivery_limits import DeliveryLimits
from watcher.store.database import Database


async def run(url: str, name: str, limit: float, margin: float, grace: float) -> None:
    """Deliver until SIGTERM."""
    # As in production a lease outlives its attempt, but by less, so that a test does not wait for long.
    worker.LEASE_MARGIN_SECONDS = margin
    database, stop = Database(url), asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    sys.stdout.write("begun\n")
    sys.stdout.flush()
    await worker.Worker(
        database,
        user_agent=name,
        limits=DeliveryLimits(
            timeout=limit,
            grace=grace,
            concurrency=6,
            endpoint_concurrency=4,
            allow_http=True,
            allow_private=True,
            poll_interval=0.1,
        ),
    ).run(stop)
    database.close()


if __name__ == "__main__":
    asyncio.run(run(sys.argv[1], sys.argv[2], *map(float, sys.argv[3:])))
