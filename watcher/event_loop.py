"""Event loop of the daemon and of commands that use sources; DNS look-ups have threads of their own.

asyncio runs ``getaddrinfo`` in the loop's default thread pool, which the database work uses too. A few names
whose DNS servers do not answer would fill it: ledger and notifier would wait for a thread, and a stop for the
look-ups. All name resolution on this loop (httpx, websockets, aiohttp) goes through :meth:`Loop.getaddrinfo`.
"""

import asyncio
import socket
from collections.abc import Coroutine
from functools import partial
from typing import Any, TypeVar

from notifier.threads import in_daemon_thread

_T = TypeVar("_T")

#: Concurrent DNS look-ups; those of the same name share one.
MAX_LOOKUPS = 64


class Loop(asyncio.SelectorEventLoop):
    """An event loop whose DNS look-ups block neither database work nor the end of the process."""

    def __init__(self) -> None:
        super().__init__()
        self._lookups: dict[tuple[Any, ...], asyncio.Future[Any]] = {}

    async def getaddrinfo(
        self,
        host: Any,
        port: Any,
        *,
        family: int = 0,
        type: int = 0,  # noqa: A002 - asyncio's name of it
        proto: int = 0,
        flags: int = 0,
    ) -> list[Any]:
        """Resolve a name as ``socket.getaddrinfo`` does. The caller sets the time limit.

        Raises ``socket.gaierror``, also when :data:`MAX_LOOKUPS` others are pending.
        """
        query = (host, port, family, type, proto, flags)
        answer = self._lookups.get(query)
        if answer is None:
            if len(self._lookups) >= MAX_LOOKUPS:
                raise socket.gaierror(socket.EAI_AGAIN, "too many name look-ups do not end")
            answer = in_daemon_thread(self, partial(socket.getaddrinfo, *query), name="name-lookup")
            self._lookups[query] = answer
            answer.add_done_callback(lambda _: self._lookups.pop(query))
        # Shielded: a caller that gives up must not cancel the look-up of the others.
        found: list[Any] = await asyncio.shield(answer)
        return found


def run(main: Coroutine[Any, Any, _T]) -> _T:
    """Run a coroutine to its end, as ``asyncio.run`` does, on a :class:`Loop`."""
    with asyncio.Runner(loop_factory=Loop) as runner:
        return runner.run(main)
