"""The merchant API in a process of its own; with a point to die at, it sends itself SIGKILL there at the
first change.

Usage: ``python -m tests.integration.watcher.api.serving_process DATABASE_URL NOW [POINT]``; it prints its
port.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from watcher import log
from watcher.api import idempotency, transactions
from watcher.api.server import HttpServer
from watcher.config.settings import Settings
from watcher.monitoring.liveness import Liveness
from watcher.monitoring.metrics import Metrics
from watcher.monitoring.systemd import ServiceManager
from watcher.store.database import Database

#: Where in a change to die: the module and function, and whether before it runs or after.
POINTS: dict[str, tuple[Any, str, bool]] = {
    "before the commit": (idempotency, "remember", False),
    "after the commit": (transactions, "from_answer", True),
}


def arm(point: str) -> None:
    """Let the process die at ``point``, as a power cut would."""
    owner, name, before = POINTS[point]
    original: Callable[..., Any] = getattr(owner, name)

    def deadly(*args: Any, **named: Any) -> Any:
        if not before:
            original(*args, **named)
        return os.kill(os.getpid(), signal.SIGKILL)

    setattr(owner, name, deadly)


async def serve(url: str, now: float) -> None:
    """Serve until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    settings = Settings(database_url=url, http_bind="127.0.0.1:0", http_rate_limit=None)
    database = Database(url)
    liveness = Liveness(ServiceManager(), rest=1.0)
    with HttpServer(settings, database, liveness, Metrics(), api=True, now=lambda: now) as server:
        os.write(1, f"{server.port}\n".encode())
        await server.serve(stop)
    database.close()


if __name__ == "__main__":
    if len(sys.argv) > 3:
        arm(sys.argv[3])
    log.configure("json", "warning")
    asyncio.run(serve(sys.argv[1], float(sys.argv[2])))
