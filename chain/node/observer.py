"""The HTTP server that a stacks-node's event observer posts to: one request per connection, bounded, strict.

A node cannot authenticate its posts, so they are taken only from the machine that runs it. Only 200 is an
acknowledgement for it; it repeats what got anything else, and sends nothing else meanwhile.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from ipaddress import ip_address
from typing import Protocol

import h11
import structlog

#: Largest body that is read; of a longer one the rest is skipped, and it is answered all the same. Blocks are
#: below 10 MB; the genesis block's, 80 MB, is no use here.
MAX_BODY_BYTES = 64 * 2**20

#: Longest request, and longest silence within it, in seconds.
REQUEST_SECONDS, SILENCE_SECONDS = 300.0, 20.0
#: How long posts that are being stored may go on after the stop, in seconds.
STOP_SECONDS = 5.0
#: A node has one; others are left by its restarts.
MAX_CONNECTIONS = 4
#: For how long the addresses of the node's host count, in seconds.
ADDRESSES_SECONDS = 30.0
#: Longest look-up of that host, in seconds; what was known before then counts.
LOOKUP_SECONDS = 5.0
_MAX_HEAD_BYTES = 16 * 1024
_CHUNK_BYTES = 65_536

_log = structlog.stdlib.get_logger(__name__)


class Take(Protocol):
    """Stores a post before it is answered; what it raises makes the node repeat the post."""

    def __call__(self, path: str, body: bytes, *, is_whole: bool) -> Awaitable[None]:
        """Store a post, or the beginning of one that is too large."""


class Observer:
    """Serves a listening socket. ``peers`` returns the addresses that may post."""

    def __init__(
        self,
        listener: socket.socket,
        take: Take,
        *,
        peers: Callable[[], Awaitable[Collection[str]]],
        max_body: int = MAX_BODY_BYTES,
        request_seconds: float = REQUEST_SECONDS,
        silence_seconds: float = SILENCE_SECONDS,
    ) -> None:
        self._listener = listener
        self._take = take
        self._peers = peers
        self._max_body = max_body
        self._request_seconds = request_seconds
        self._silence_seconds = silence_seconds
        self._connections: set[asyncio.Task[None]] = set()
        #: Those whose post is being stored.
        self._storing: set[asyncio.Task[None]] = set()
        #: Strangers that were logged.
        self._refused: set[str] = set()

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until ``stop`` is set; a post that is being stored then is still answered."""
        server = await asyncio.start_server(self._serve, sock=self._listener, limit=_CHUNK_BYTES)
        try:
            await stop.wait()
        finally:
            server.close()
            for task in self._connections - self._storing:
                task.cancel()
            if self._storing:
                await asyncio.wait(self._storing, timeout=STOP_SECONDS)
            for task in self._connections:
                task.cancel()
            await asyncio.gather(*self._connections, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        if len(self._connections) >= MAX_CONNECTIONS:
            writer.transport.abort()
            return
        self._connections.add(task)
        try:
            async with asyncio.timeout(self._request_seconds):
                if await self._may_post(writer):
                    await self._exchange(reader, writer)
        except (OSError, TimeoutError, EOFError):
            # The node repeats what it could not deliver.
            pass
        except Exception as error:
            _log.error("unforeseen", action="node.observer", exc_info=error)
        finally:
            self._connections.discard(task)
            writer.close()
            with suppress(OSError):
                async with asyncio.timeout(self._silence_seconds):
                    await writer.wait_closed()

    async def _may_post(self, writer: asyncio.StreamWriter) -> bool:
        peer = writer.get_extra_info("peername")
        if not peer:
            return False  # gone already
        address = normalized(peer[0])
        if address in await self._peers():
            return True
        if address not in self._refused and len(self._refused) < MAX_CONNECTIONS:
            self._refused.add(address)
            _log.error(
                "node.stranger_refused",
                action="node.stranger_refused",
                address=address,
                hint="posts are taken only from the host that node_url names",
            )
        return False

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=_MAX_HEAD_BYTES)
        try:
            request, body, size = await self._receive(connection, reader, writer)
        except h11.RemoteProtocolError as error:
            return await _answer(connection, writer, error.error_status_hint)
        path = request.target.decode("ascii", "replace").partition("?")[0]
        if request.method != b"POST":
            return await _answer(connection, writer, 405)
        task = asyncio.current_task()
        assert task is not None
        self._storing.add(task)
        try:
            await self._take(path, body, is_whole=size <= self._max_body)
        except Exception as error:
            _log.error("node.post_not_stored", action="node.post_not_stored", path=path, reason=str(error))
            return await _answer(connection, writer, 503)
        finally:
            self._storing.discard(task)
        return await _answer(connection, writer, 200)

    async def _receive(
        self, connection: h11.Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> tuple[h11.Request, bytes, int]:
        """Return the request, its body as far as it may be read, and the number of bytes that came."""
        request: h11.Request | None = None
        body = bytearray()
        size = 0
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                if connection.they_are_waiting_for_100_continue:
                    proceed = h11.InformationalResponse(status_code=100, headers=[])
                    writer.write(connection.send(proceed) or b"")
                async with asyncio.timeout(self._silence_seconds):
                    data = await reader.read(_CHUNK_BYTES)
                connection.receive_data(data)
            elif isinstance(event, h11.Request):
                request = event
            elif isinstance(event, h11.Data):
                size += len(event.data)
                body += event.data[: max(0, self._max_body - len(body))]
            elif isinstance(event, h11.EndOfMessage):
                assert request is not None, "h11 ends no message that has not begun"
                return request, bytes(body), size
            else:
                raise EOFError


class HostAddresses:
    """The IP addresses of a host, resolved now and then; those that are known stay when a look-up fails."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._known: frozenset[str] = frozenset()
        self._until = float("-inf")

    async def __call__(self) -> frozenset[str]:
        """Return them; for this machine, its loopback addresses of both kinds too."""
        loop = asyncio.get_running_loop()
        if loop.time() >= self._until:
            with suppress(OSError, UnicodeError):
                async with asyncio.timeout(LOOKUP_SECONDS):
                    found = await loop.getaddrinfo(self._host, None, type=socket.SOCK_STREAM)
                self._known = frozenset(normalized(str(address[0])) for _, _, _, _, address in found)
            self._until = loop.time() + ADDRESSES_SECONDS
        is_here = any(ip_address(address).is_loopback for address in self._known)
        return self._known | {"127.0.0.1", "::1"} if is_here else self._known


async def _answer(connection: h11.Connection, writer: asyncio.StreamWriter, status: int) -> None:
    if connection.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
        return
    headers = [("content-length", "0"), ("connection", "close")]
    head = connection.send(h11.Response(status_code=status, headers=headers))
    writer.write((head or b"") + (connection.send(h11.EndOfMessage()) or b""))
    await writer.drain()


def normalized(address: str) -> str:
    """Return an IP address in the form that is compared: an IPv4 address mapped into IPv6 is itself."""
    found = ip_address(address.partition("%")[0])
    mapped = getattr(found, "ipv4_mapped", None)
    return str(mapped or found)
