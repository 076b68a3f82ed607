"""Hostile servers and non-servers: the WebSocket survives them in bounded time and memory."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from websockets.asyncio.server import ServerConnection

from chain.api.websocket import MAX_MESSAGE_BYTES, WebSocketTimeouts
from chain.testing import ScriptedApi, ScriptedChain
from tests.integration.chain.api.websocket_fixture import HASTY, answer, block, subscription, talking, waking

#: Frames with unknown or malformed messages.
NONSENSE: list[str | bytes] = [
    "",
    "nonsense",
    "null",
    "[]",
    '"block"',
    "[" * 100_000,
    "1" * 10_000,
    b"\xff\xfe\x00binary",
    '{"method": "block"}',
    '{"method": "block", "params": null}',
    '{"method": "block", "params": {"height": "5"}}',
    '{"method": "block", "params": {"height": true}}',
    '{"method": "block", "params": {"height": -1}}',
    '{"method": "block", "params": {"height": 1e999}}',
    '{"method": "block", "params": {"height": 99999999999999999999}}',
    '{"method": ["block"], "params": {"height": 5}}',
    '{"id": 1, "error": {"code": -32602}}',
    '{"id": [], "result": {}}',
    '{"id": null, "error": {"code": -32700, "message": "Parse error"}}',
]


@asynccontextmanager
async def raw(say: bytes, *, read: bool = True) -> AsyncIterator[str]:
    """A TCP server that sends the same bytes to every client and then keeps the connection open."""
    held = asyncio.Event()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if read:
            await reader.readuntil(b"\r\n\r\n")
        writer.write(say)
        await held.wait()
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        held.set()


async def test_nonsense_wakes_nobody_and_ends_nothing() -> None:
    done = asyncio.Event()

    async def talk(socket: ServerConnection) -> None:
        await answer(socket, await subscription(socket))
        for frame in NONSENSE:
            await socket.send(frame)
        await block(socket, 7)
        done.set()
        await socket.wait_closed()

    async with talking(talk) as url, waking(url) as alarm:
        await done.wait()
        await alarm.called(2)
        assert alarm.state == "open"


async def test_a_huge_message_ends_the_socket() -> None:
    async def talk(socket: ServerConnection) -> None:
        await answer(socket, await subscription(socket))
        await socket.send("x" * (MAX_MESSAGE_BYTES + 1))
        await socket.wait_closed()

    async with talking(talk) as url, waking(url) as alarm:
        await alarm.lost("message too big")


async def test_text_that_is_not_utf8_ends_the_socket() -> None:
    async def talk(socket: ServerConnection) -> None:
        await answer(socket, await subscription(socket))
        await socket.send(b"\xff\xfe", text=True)
        await socket.wait_closed()

    async with talking(talk) as url, waking(url) as alarm:
        await alarm.lost()


async def test_a_flood_of_messages_ends_the_socket() -> None:
    async def talk(socket: ServerConnection) -> None:
        await answer(socket, await subscription(socket))
        for height in range(10_000):
            await block(socket, height)

    async with talking(talk) as url, waking(url, timeouts=WebSocketTimeouts(flood=50)) as alarm:
        await alarm.lost("more than 50 messages in 5 s")
        assert alarm.calls == 50, "the answer is one of the messages"


async def test_a_brisk_but_honest_server_is_no_flood() -> None:
    sent = asyncio.Queue[int]()

    async def talk(socket: ServerConnection) -> None:
        await answer(socket, await subscription(socket))
        while True:
            await block(socket, await sent.get())

    async with talking(talk) as url, waking(url, timeouts=WebSocketTimeouts(flood=50)) as alarm:
        await alarm.called(1)
        for height in range(1, 200):
            sent.put_nowait(height)
            await alarm.called(height + 1)
            await alarm.time.advance(1)
        assert alarm.state == "open"


async def test_a_refused_subscription_ends_the_socket() -> None:
    async def talk(socket: ServerConnection) -> None:
        number = await subscription(socket)
        await socket.send(
            json.dumps({"id": number, "error": {"code": -32601, "message": "Method not found"}})
        )
        await socket.wait_closed()

    async with talking(talk) as url, waking(url) as alarm:
        await alarm.lost("the subscription was refused")
        assert alarm.calls == 0


async def test_a_subscription_that_is_never_answered_ends_the_socket() -> None:
    async with talking(lambda socket: socket.wait_closed()) as url, waking(url) as alarm:
        await alarm.time.asleep()
        await alarm.time.advance(10)
        await alarm.lost("the subscription was not answered")
        assert alarm.calls == 0


@pytest.mark.parametrize("say", [b"", b"HTTP/1.1 101 ", b"HTTP/1.1 101 Switching Protocols\r\nx: "])
async def test_a_server_that_does_not_finish_the_handshake_is_left(say: bytes) -> None:
    async with raw(say) as url, waking(url, timeouts=HASTY) as alarm:
        await alarm.lost("timed out during opening handshake")


@pytest.mark.parametrize(
    "say",
    [
        b"SSH-2.0-OpenSSH_9.9\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n" + b"x: y\r\n" * 10_000,
        b"HTTP/1.1 101 " + b"x" * 100_000,
    ],
    ids=["another protocol", "a web page", "no upgrade", "endless headers", "an endless line"],
)
async def test_what_is_no_websocket_is_left(say: bytes) -> None:
    async with raw(say) as url, waking(url, timeouts=HASTY) as alarm:
        await alarm.lost()
        assert alarm.calls == 0


async def test_a_redirect_is_not_followed_because_the_key_would_go_along() -> None:
    async with ScriptedApi(ScriptedChain(), ping_interval=None) as elsewhere:
        target = f"{elsewhere.ws_url}".encode()
        say = b"HTTP/1.1 302 Found\r\ncontent-length: 0\r\nlocation: " + target + b"\r\n\r\n"
        async with raw(say) as url, waking(url, api_key=lambda _: "secret") as alarm:
            await alarm.lost("HTTP 302 instead of a socket")
            assert elsewhere.counts["ws"] == 0


async def test_nobody_at_the_port_is_a_failure_like_any_other() -> None:
    async with raw(b"") as url:
        pass
    async with waking(url) as alarm:
        await alarm.lost()


async def test_a_server_that_pings_without_end_and_reads_nothing_is_given_up() -> None:
    """Each ping must be answered: the answers must not pile up in memory."""
    flooding = asyncio.Event()

    async def talk(socket: ServerConnection) -> None:
        await answer(socket, await subscription(socket))
        flooding.set()
        socket.transport.pause_reading()  # type: ignore[attr-defined]
        ping = bytes([0x89, 125]) + bytes(125)
        while not socket.transport.is_closing():
            socket.transport.write(ping * 1000)
            await asyncio.sleep(0)

    async with talking(talk) as url, waking(url) as alarm:
        await flooding.wait()
        await alarm.lost()


async def test_a_server_that_is_gone_from_the_net_is_noticed_by_our_pings() -> None:
    frozen = asyncio.Event()

    async def talk(socket: ServerConnection) -> None:
        await answer(socket, await subscription(socket))
        socket.transport.pause_reading()  # type: ignore[attr-defined]
        await frozen.wait()

    async with talking(talk) as url, waking(url, timeouts=WebSocketTimeouts(ping=0.05)) as alarm:
        await alarm.lost("keepalive ping timeout")
        frozen.set()


@pytest.mark.parametrize("busy", [lambda socket: socket.wait_closed(), lambda socket: subscription(socket)])
async def test_a_stop_ends_it_at_once_whatever_it_waits_for(busy: Callable[..., object]) -> None:
    async with talking(busy) as url, waking(url) as alarm:  # type: ignore[arg-type]
        await alarm.time.asleep()
