"""Idle timeout of a connection: closed when the caller sends no whole request, or does not read the answer.

uvicorn's own timeout runs only between two requests of a connection, and waits for unread answers. Without
this one, half requests could hold all connections for ever, those of the health routes too.
"""

import asyncio
from typing import cast

from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

#: Seconds after which an idle connection is closed; at most twice as many.
CONNECTION_IDLE_SECONDS = 15.0


class Connection(H11Protocol):
    """uvicorn's protocol for one connection. A request that is being answered has limits of its own."""

    _watch: asyncio.TimerHandle
    #: The request after which the connection was idle at the last check.
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
