"""One connection: cut when its caller keeps it without asking for anything, or without taking what he asked for.

uvicorn's own timeout runs only between two requests of a connection, and waits for what was not taken. Without this,
callers who send half a request could take all connections for as long as they like, from the health routes too.
"""

import asyncio
from typing import cast

from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

#: How long a caller may take to ask, or to take an answer: at least so many seconds, less than twice as many.
CONNECTION_IDLE_SECONDS = 15.0


class Connection(H11Protocol):
    """What uvicorn makes for each connection. A request that is being worked on has limits of its own."""

    _watch: asyncio.TimerHandle
    #: Whether nothing was worked on at the last look, and after which request.
    _idle_after: tuple[object] | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to watch."""
        super().connection_made(transport)
        self._watch = self.loop.call_later(CONNECTION_IDLE_SECONDS, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        """Watch no more."""
        self._watch.cancel()
        super().connection_lost(exc)

    def _look(self) -> None:
        request = cast("RequestResponseCycle | None", self.cycle)  # None before the first
        idle = request is None or request.response_complete
        if idle and self._idle_after == (request,):
            self.transport.abort()
            return
        self._idle_after = (request,) if idle else None
        self._watch = self.loop.call_later(CONNECTION_IDLE_SECONDS, self._look)
