"""Name look-ups for the sender, apart from the threads that the database uses.

aiohttp's own resolver runs ``getaddrinfo`` in the event loop's default thread pool. A handful of names whose
servers do not answer would fill it, and all other endpoints, and the ledger, would wait. These threads are
daemons, so that a hanging look-up does not hold up the end of the process either.
"""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult

#: Look-ups at the same time; aiohttp already joins those for the same host.
MAX_LOOKUPS = 128


class Resolver(AbstractResolver):
    """Resolve names with the system's resolver, each look-up in a daemon thread."""

    def __init__(self, *, getaddrinfo: Callable[..., Any] = socket.getaddrinfo) -> None:
        self._getaddrinfo = getaddrinfo
        self._slots = asyncio.Semaphore(MAX_LOOKUPS)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the addresses of a host; OSError if there are none. The caller sets the time limit."""
        await self._slots.acquire()
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Any] = loop.create_future()

        def settle(result: Any, error: Exception | None) -> None:
            self._slots.release()
            if answer.done():
                return
            if error is None:
                answer.set_result(result)
            else:
                answer.set_exception(error)

        def look_up() -> None:
            result, error = None, None
            try:
                result = self._getaddrinfo(host, port, family, socket.SOCK_STREAM, 0, socket.AI_ADDRCONFIG)
            except (OSError, UnicodeError) as caught:
                error = caught if isinstance(caught, OSError) else OSError(f"not a host name: {caught}")
            # The loop may be gone by now; then nobody waits for the answer.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(settle, result, error)

        try:
            threading.Thread(target=look_up, name="webhook-dns", daemon=True).start()
        except RuntimeError as error:
            self._slots.release()
            raise OSError(f"no thread for the look-up: {error}") from error
        return [
            ResolveResult(
                hostname=host,
                host=str(address[0]),
                port=int(address[1]),
                family=found_family,
                proto=protocol,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for found_family, _, protocol, _, address in await answer
        ]

    async def close(self) -> None:
        """Leave running look-ups to end by themselves."""
