"""A WebSocket client on a fake clock, and servers that a test scripts."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.server import ServerConnection, serve

from chain.api.websocket import BlockWebSocket, WebSocketTimeouts
from tests.timeline import Timeline

Talk = Callable[[ServerConnection], Awaitable[None]]


class Alarm:
    """A running WebSocket client; counts its calls of ``on_block``."""

    def __init__(self, urls: Sequence[str], **options: Any) -> None:
        self.time = Timeline()
        self.calls = 0
        #: How long it waited after each lost socket.
        self.pauses: list[float] = []
        self._losses = 0
        self.stop = asyncio.Event()
        self.websocket = BlockWebSocket(
            lambda: urls,
            self._call,
            clock=self.time,
            sleep=self._sleep,
            rng=lambda: 1.0,
            **options,
        )

    def _call(self) -> None:
        self.calls += 1

    async def _sleep(self, seconds: float) -> None:
        if seconds != WebSocketTimeouts().tick:
            self.pauses.append(seconds)
        await self.time.sleep(seconds)

    async def until(self, fact: Callable[[], bool], *, within: float = 10.0) -> None:
        """Wait until a condition holds that the socket brings about by itself."""
        async with asyncio.timeout(within):
            while True:
                if fact():
                    return
                await asyncio.sleep(0.001)

    async def called(self, count: int) -> None:
        """Wait until it has called exactly so many times."""
        await self.until(lambda: self.calls >= count)
        assert self.calls == count

    async def open(self) -> None:
        """Wait until it is subscribed."""
        await self.until(lambda: self.websocket.is_open)

    async def lost(self, why: str = "") -> float:
        """Wait until the socket is lost once more, for this reason; return the pause before the next one."""
        self._losses += 1
        await self.until(lambda: len(self.pauses) >= self._losses)
        assert len(self.pauses) == self._losses
        assert self.state.startswith("closed: ")
        assert why in self.state
        return self.pauses[-1]

    @property
    def state(self) -> str:
        url = self.websocket._url
        return (self.websocket.state(url) if url else None) or ""


@asynccontextmanager
async def waking(*urls: str, **options: Any) -> AsyncIterator[Alarm]:
    """Run a WebSocket client over these sources; it must stop on request, without an error."""
    alarm = Alarm(urls, **options)
    task = asyncio.create_task(alarm.websocket.run(alarm.stop))
    try:
        yield alarm
    finally:
        alarm.stop.set()
        async with asyncio.timeout(5):
            await task
        assert not alarm.websocket.is_open


@asynccontextmanager
async def talking(talk: Talk) -> AsyncIterator[str]:
    """A WebSocket server that runs ``talk`` with each client; yields its base URL."""

    over = asyncio.Event()

    async def handle(socket: ServerConnection) -> None:
        # A disconnecting client ends the script; so does the end of the test.
        tasks = [asyncio.ensure_future(one) for one in (talk(socket), socket.wait_closed(), over.wait())]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async with serve(handle, "127.0.0.1", 0, close_timeout=0.1, ping_interval=None) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        yield f"http://127.0.0.1:{port}"
        over.set()


async def subscription(socket: ServerConnection) -> int:
    """Read the client's next message, which must subscribe to blocks; its number."""
    request = json.loads(await socket.recv())
    number = request.pop("id")
    assert request == {"jsonrpc": "2.0", "method": "subscribe", "params": {"event": "block"}}
    return int(number)


async def answer(socket: ServerConnection, number: int) -> None:
    """Confirm a subscription as the API does."""
    await socket.send(json.dumps({"jsonrpc": "2.0", "id": number, "result": {}}))


async def block(socket: ServerConnection, height: int) -> None:
    """Announce a block."""
    await socket.send(json.dumps({"jsonrpc": "2.0", "method": "block", "params": {"height": height}}))


#: Quick network limits, for servers that do not answer.
HASTY = WebSocketTimeouts(open=0.2)
