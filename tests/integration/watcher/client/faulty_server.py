"""A server on a real socket that misbehaves as told, one connection after another."""

import asyncio
import json
import socket
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

Way = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it came: its first line, and its headers with lower-case names."""

    line: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Faulty:
    """Answers the n-th connection in the n-th way, those after the last in the last."""

    ways: tuple[Way, ...]
    asked: list[Asked] = field(default_factory=list)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self._count = 0
        self._serving: set[asyncio.Task[Any]] = set()
        #: Set when the first request has come.
        self.was_asked = asyncio.Event()
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for task in self._serving:
            task.cancel()
        if self._serving:
            await asyncio.wait(self._serving, timeout=10)
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        way = self.ways[min(self._count, len(self.ways) - 1)]
        self._count += 1
        task = asyncio.current_task()
        assert task is not None, "start_server makes one"
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = {
                name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)
            }
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            self.asked.append(Asked(head[0], headers, body))
            self.was_asked.set()
            await way(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


async def reset(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Break the connection off."""
    taken = writer.get_extra_info("socket")
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


async def hang(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    """Say nothing until the other side gives up."""
    await reader.read()


async def trickle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer without an end, a little at a time, until the other side gives up."""
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n")
    gone = asyncio.ensure_future(reader.read())
    try:
        while not gone.done():
            writer.write(b" ")
            await writer.drain()
            await asyncio.wait({gone}, timeout=0.02)
    finally:
        gone.cancel()


def garbage(data: bytes) -> Way:
    """Send bytes as they are."""

    async def send(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await writer.drain()

    return send


def answer(status: int, document: Any, *, kind: str = "application/json", **headers: str) -> Way:
    """Send a proper answer."""
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    lines = [
        f"HTTP/1.1 {status} X",
        f"content-type: {kind}",
        f"content-length: {len(body)}",
        "connection: close",
    ]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return garbage("\r\n".join(lines).encode() + b"\r\n\r\n" + body)


def problem(status: int, code: str, **headers: str) -> Way:
    """Send a problem as this API has them."""
    document = {
        "type": "about:blank",
        "title": "X",
        "status": status,
        "code": code,
        "detail": f"about {code}",
    }
    return answer(status, document, kind="application/problem+json", **headers)
