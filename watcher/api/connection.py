"""A connection: closed when the caller sends no whole request, or does not read the answer; told in the one
shape of errors when it sends no HTTP, or when there are too many connections.

uvicorn's own timeout runs only between two requests of a connection, and waits for unread answers. Without
this one, half requests could hold all connections for ever, those of the health routes too.
"""

import asyncio
from typing import cast

import h11
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from watcher.api.errors import problem, unavailable
from watcher.api.middleware import MAX_REQUESTS
from watcher.api.slots import MAX_STREAMS

#: Seconds after which an idle connection is closed; at most twice as many.
CONNECTION_IDLE_SECONDS = 15.0

#: Connections at the same time; what comes on further ones is answered 503. Requests have a lower limit.
MAX_CONNECTIONS = 2 * MAX_REQUESTS + MAX_STREAMS

_CLOSE = {"connection": "close"}


class Connection(H11Protocol):
    """uvicorn's protocol for one connection. A request that is being answered has limits of its own."""

    _watch: asyncio.TimerHandle
    #: The request after which the connection was idle at the last check.
    _idle_after: tuple[object] | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to watch."""
        super().connection_made(transport)
        if len(self.connections) > MAX_CONNECTIONS:
            self.app = _refuse
        self._watch = self.loop.call_later(CONNECTION_IDLE_SECONDS, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        """Watch no more."""
        self._watch.cancel()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Answer what is not HTTP, unless an answer went out before or is on its way, and close."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            answer = problem(
                400, "invalid_http", "this is not HTTP/1.1, or not as its RFC 9112 has it", headers=_CLOSE
            )
            for event in (
                h11.Response(
                    status_code=answer.status_code, headers=answer.raw_headers, reason=b"Bad Request"
                ),
                h11.Data(data=bytes(answer.body)),
                h11.EndOfMessage(),
            ):
                self.transport.write(self.conn.send(event))
        self.transport.close()

    def _look(self) -> None:
        request = cast("RequestResponseCycle | None", self.cycle)  # None before the first
        # An answer that was cut off is never complete, and what is left of it may never be taken.
        idle = request is None or request.response_complete or self.transport.is_closing()
        if idle and self._idle_after == (request,):
            self.transport.abort()
            return
        self._idle_after = (request,) if idle else None
        self._watch = self.loop.call_later(CONNECTION_IDLE_SECONDS, self._look)


async def _refuse(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a request on a connection too many."""
    answer = unavailable("too many connections at once; try again", headers=_CLOSE)
    await answer(scope, receive, send)
