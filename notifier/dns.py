"""DNS resolver for the sender, on threads of its own.

aiohttp's own resolver runs ``getaddrinfo`` in the event loop's default thread pool, which the database uses
too. A handful of names whose DNS servers do not answer would fill it and block all other endpoints and the
ledger. These are daemon threads, so that a hanging look-up does not delay the end of the process either.
"""

import asyncio
import socket
from collections.abc import Callable
from functools import partial
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult

from notifier.threads import in_daemon_thread

#: Concurrent look-ups; aiohttp already joins those for the same host.
MAX_LOOKUPS = 128


class Resolver(AbstractResolver):
    """Resolve names with the system's resolver, each look-up in a daemon thread."""

    def __init__(self, *, getaddrinfo: Callable[..., Any] = socket.getaddrinfo) -> None:
        self._getaddrinfo = getaddrinfo
        self._slots = asyncio.Semaphore(MAX_LOOKUPS)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the addresses of a host; OSError if there are none. The caller sets the timeout."""
        await self._slots.acquire()
        ask = partial(self._getaddrinfo, host, port, family, socket.SOCK_STREAM, 0, socket.AI_ADDRCONFIG)
        try:
            answer = in_daemon_thread(asyncio.get_running_loop(), ask, name="webhook-dns")
        except OSError:
            self._slots.release()
            raise
        answer.add_done_callback(lambda _: self._slots.release())
        # Shielded: a caller's timeout does not end the look-up, which keeps its slot until it ends.
        found = await asyncio.shield(answer)
        return [
            ResolveResult(
                hostname=host,
                host=str(address[0]),
                port=int(address[1]),
                family=found_family,
                proto=protocol,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for found_family, _, protocol, _, address in found
        ]

    async def close(self) -> None:
        """Do nothing: running look-ups end by themselves."""
