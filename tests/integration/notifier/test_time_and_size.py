"""Time and size limits of an attempt, whatever the server does."""

import asyncio
import contextlib
import socket
import ssl

import pytest
import trustme

from notifier.dns import MAX_LOOKUPS, Resolver
from notifier.sender import KEPT_ANSWER_BYTES, MAX_ANSWER_BYTES, Sender
from notifier.testing import Answer
from tests.integration.notifier.raw import read_request, scripted

LIMIT = 0.3


async def drip(writer, head, piece):
    """Write something, and then a little for ever, each part well within the timeout."""
    writer.write(head)
    while True:
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(LIMIT / 20)


async def say_nothing(reader, writer):
    await reader.read()


async def read_nothing(reader, writer):
    writer.transport.pause_reading()
    await asyncio.Event().wait()


async def drip_status(reader, writer):
    await read_request(reader)
    await drip(writer, b"HTTP/1.1 200 ", b"O")


async def drip_headers(reader, writer):
    await read_request(reader)
    await drip(writer, b"HTTP/1.1 200 OK\r\n", b"x-a: b\r\n")


async def drip_early_hints(reader, writer):
    await read_request(reader)
    await drip(writer, b"", b"HTTP/1.1 103 Early Hints\r\n\r\n")


@pytest.fixture
async def post():
    async with Sender(user_agent="t", timeout=LIMIT, allow_http=True, allow_private=True) as sender:

        async def send(port, *, scheme="http", body=b"{}"):
            async with asyncio.timeout(10):
                return await sender.send(f"{scheme}://127.0.0.1:{port}/", body=body, headers={})

        yield send


@pytest.mark.parametrize("handle", [say_nothing, drip_status, drip_early_hints])
async def test_an_answer_that_does_not_come_or_trickles_ends_with_the_time(post, handle):
    async with scripted(handle) as port:
        outcome = await post(port)
    assert (outcome.status_code, outcome.error) == (None, f"no answer within {LIMIT} s")
    assert LIMIT * 0.9 <= outcome.seconds < 5


async def test_headers_that_trickle_end_with_the_timeout_and_the_status_counts(post):
    async with scripted(drip_headers) as port:
        outcome = await post(port)
    assert (outcome.status_code, outcome.error) == (200, None)
    assert LIMIT * 0.9 <= outcome.seconds < 5


@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")
async def test_a_request_that_is_not_taken_ends_with_the_time(post):
    """The receiver reads nothing, and the body is larger than the kernel's buffers."""
    async with scripted(read_nothing) as port:
        outcome = await post(port, body=b"x" * 50_000_000)
    assert outcome.error == f"no answer within {LIMIT} s"


async def test_a_tls_handshake_that_does_not_go_on_ends_with_the_time(post):
    async with scripted(say_nothing) as port:
        outcome = await post(port, scheme="https")
    assert outcome.error == f"no answer within {LIMIT} s"


async def test_a_tls_handshake_that_trickles_ends_with_the_time(post):
    """The server starts a TLS record of 16,000 bytes and sends it byte by byte."""

    async def handle(reader, writer):
        await reader.read(1)
        await drip(writer, b"\x16\x03\x03\x3e\x80", b"\x02")

    async with scripted(handle) as port:
        outcome = await post(port, scheme="https")
    assert outcome.error == f"no answer within {LIMIT} s"


async def test_a_connection_that_is_not_accepted_ends_with_the_time(post):
    """The listener's backlog is full, so that the kernel accepts no further connection."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(8):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                waiting.connect(listener.getsockname())
        outcome = await post(listener.getsockname()[1])
    assert outcome.error == f"no answer within {LIMIT} s"


async def test_a_look_up_that_hangs_ends_with_the_time(monkeypatch):
    hang = asyncio.Event()
    loop = asyncio.get_running_loop()

    def look_up(*_):
        asyncio.run_coroutine_threadsafe(hang.wait(), loop).result(10)
        return []

    monkeypatch.setattr("notifier.sender.Resolver", lambda: Resolver(getaddrinfo=look_up))
    async with Sender(user_agent="t", timeout=LIMIT, allow_http=True) as sender:
        outcome = await sender.send("http://shop.example/", body=b"{}", headers={})
    hang.set()
    assert outcome.error == f"no answer within {LIMIT} s"


async def test_a_body_that_trickles_ends_with_the_timeout_and_the_status_counts(post):
    async def handle(reader, writer):
        await read_request(reader)
        await drip(writer, b"HTTP/1.1 500 No\r\ncontent-length: 100000\r\n\r\n", b"x")

    async with scripted(handle) as port:
        outcome = await post(port)
    assert (outcome.status_code, outcome.error) == (500, None)
    assert LIMIT * 0.9 <= outcome.seconds < 5


@pytest.mark.parametrize(("size", "waits"), [(MAX_ANSWER_BYTES, False), (MAX_ANSWER_BYTES - 1, True)])
async def test_an_answer_is_read_up_to_16_kib_and_no_further(size, waits):
    """At the size limit the attempt ends, although the answer continues; below it, it waits for more."""
    gate = asyncio.Event()

    async def handle(reader, writer):
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n" + b"x" * size)
        await gate.wait()

    # Only an attempt that waits takes this long.
    limit = LIMIT if waits else 30.0
    async with (
        scripted(handle) as port,
        Sender(user_agent="t", timeout=limit, allow_http=True, allow_private=True) as sender,
        asyncio.timeout(10),
    ):
        outcome = await sender.send(f"http://127.0.0.1:{port}/", body=b"{}", headers={})
        gate.set()
    assert outcome.ok
    assert outcome.response == b"x" * KEPT_ANSWER_BYTES
    assert not waits or outcome.seconds >= LIMIT * 0.9


HOSTILE = [
    b"SSH-2.0\x00\xff\xfe\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nX\x00y: \xff\r\n\r\n",
    b"HTTP/1.1 2\x0000 OK\r\n\r\n",
    b"HTTP/1.1 500 \x00\xff\xed\xa0\x80\r\ncontent-length: 0\r\n\r\n",
    b"HTTP/1.1 503 No\r\nretry-after: \xff\xfe\r\ncontent-length: 0\r\n\r\n",
    b"HTTP/1.1 500 No\r\ncontent-length: 7\r\n\r\n\x00\xff\xed\xa0\x80\x1b[",
    b"HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
    b"HTTP/1.1 000 No\r\ncontent-length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
]


@pytest.mark.parametrize("answer", HOSTILE)
async def test_no_answer_keeps_the_worker_from_storing_what_came_of_it(shop, receiver, drain, answer):
    """Databases reject some texts; one endpoint's garbage must not stop all deliveries."""

    async def handle(reader, writer):
        await read_request(reader)
        writer.write(answer)
        await writer.drain()

    async with scripted(handle) as port:
        hostile, healthy = shop.endpoint(f"http://127.0.0.1:{port}/"), shop.endpoint(receiver=receiver)
        shop.enqueue()
        assert await drain()
    row = shop.delivery(hostile)
    # A 2xx is a success, whatever follows.
    expected = "delivered" if answer.startswith(b"HTTP/1.1 200 ") else "pending"
    assert (row.status, row.attempts) == (expected, 1)
    assert (row.last_status_code is None) == bool(row.last_error)
    assert row.last_error is None or row.last_error.isprintable()
    assert shop.delivery(healthy).status == "delivered"


async def test_what_the_library_quotes_is_made_printable(shop, engine, drain, monkeypatch):
    """Whatever a later version puts into its message: databases reject NUL and lone surrogates."""

    async def fail(*_, **__):
        raise OSError("a\x00b\ud800c\nd")

    monkeypatch.setattr("aiohttp.ClientSession._request", fail)
    shop.endpoint("http://127.0.0.1:9/")
    shop.enqueue()
    assert await drain()
    assert shop.delivery().last_error == "connection failed: a?b?c d"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (socket.gaierror(-2, "Name or service not known"), "name not found: Name or service not known"),
        (UnicodeError("label too long"), "name not found: not a host name: label too long"),
    ],
)
async def test_a_name_that_is_not_found_is_looked_up_once_and_reported(monkeypatch, error, expected):
    looked_up = []

    def look_up(host, *_):
        looked_up.append(host)
        raise error

    monkeypatch.setattr("notifier.sender.Resolver", lambda: Resolver(getaddrinfo=look_up))
    async with Sender(user_agent="t", timeout=5, allow_http=True) as sender:
        outcome = await sender.send("http://shop.example/", body=b"{}", headers={})
    assert outcome.error == expected
    assert looked_up == ["shop.example"]


async def test_the_log_says_what_kind_of_failure_it_was(post, receiver):
    lone = trustme.CA().issue_cert("127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    assert (await post(port)).error == "connection failed: Connection refused"
    receiver.plan(Answer(drop=True))
    assert (await post(receiver.base.rsplit(":", 1)[1])).error.startswith("connection failed: ")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    lone.configure_cert(context)
    async with scripted(say_nothing, ssl=context) as port:
        assert (await post(port, scheme="https")).error.startswith("TLS failed: ")


@pytest.mark.parametrize("order", [("10.0.0.1", "127.0.0.1"), ("127.0.0.1", "10.0.0.1")])
async def test_every_address_of_a_name_is_checked(receiver, monkeypatch, order):
    """A name with several addresses: no refused one is connected to, in any order."""
    port = int(receiver.base.rsplit(":", 1)[1])
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in order]
    monkeypatch.setattr("notifier.sender.Resolver", lambda: Resolver(getaddrinfo=lambda *_: found))
    async with Sender(user_agent="t", timeout=5, allow_http=True) as sender:
        outcome = await sender.send(f"http://shop.example:{port}/", body=b"{}", headers={})
    assert outcome.error is not None
    assert outcome.error.startswith("refused: ")
    assert receiver.arrivals == []


async def test_a_look_up_without_a_thread_is_a_failure_and_takes_no_slot(monkeypatch):
    """As many look-ups as may run at once fail this way; the next one works."""
    resolver = Resolver(getaddrinfo=lambda *_: [])

    def refuse(_):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr("threading.Thread.start", refuse)
        for _ in range(MAX_LOOKUPS):
            with pytest.raises(OSError, match="no thread"):
                await resolver.resolve("shop.example", 443)
    async with asyncio.timeout(10):
        assert await resolver.resolve("shop.example", 443) == []
