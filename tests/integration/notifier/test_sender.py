"""The sender: single attempts over real sockets."""

import asyncio
import contextlib
import socket
import threading

import pytest

from notifier.dns import Resolver
from notifier.sender import KEPT_ANSWER_BYTES, Sender
from notifier.testing import Answer


@pytest.fixture
async def sender():
    async with Sender(user_agent="t", timeout=5, allow_http=True, allow_private=True) as made:
        yield made


@contextlib.asynccontextmanager
async def scripted(handle):
    """Serve raw connections with a coroutine function (reader, writer); yields the URL."""
    open_writers = []

    async def serve(reader, writer):
        open_writers.append(writer)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await handle(reader, writer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    finally:
        server.close()
        for writer in open_writers:
            writer.transport.abort()


async def read_request(reader):
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(
        int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")
    )
    return head, await reader.readexactly(length)


@pytest.mark.parametrize("status", [200, 201, 204, 299])
async def test_any_2xx_is_success(sender, receiver, status):
    receiver.plan(Answer(status=status))
    outcome = await sender.send(receiver.url(), body=b"{}", headers={})
    assert outcome.ok
    assert (outcome.status_code, outcome.error) == (status, None)


async def test_only_the_first_kibibyte_of_the_answer_is_kept(sender, receiver):
    receiver.plan(Answer(body=b"x" * 5000))
    outcome = await sender.send(receiver.url(), body=b"{}", headers={})
    assert outcome.response == b"x" * KEPT_ANSWER_BYTES


async def test_an_endless_answer_is_not_read_to_its_end(sender):
    written = 0

    async def flood(reader, writer):
        nonlocal written
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"1000\r\n" + b"x" * 4096 + b"\r\n")
            written += 4096
            await writer.drain()

    async with scripted(flood) as url:
        outcome = await sender.send(url, body=b"{}", headers={})
        assert outcome.ok
        assert outcome.seconds < 4
        # The kernel's and the client's buffers hold more than we read, but a bounded amount.
        assert written < 50_000_000


async def test_a_compressed_answer_is_not_unpacked(sender, receiver):
    receiver.plan(Answer(headers={"Content-Encoding": "gzip"}, body=b"not gzip at all"))
    outcome = await sender.send(receiver.url(), body=b"{}", headers={})
    assert (outcome.status_code, outcome.response) == (200, b"not gzip at all")


async def test_a_body_that_breaks_after_a_success_does_not_matter(sender):
    async def broken(reader, writer):
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nabc")
        await writer.drain()

    async with scripted(broken) as url:
        outcome = await sender.send(url, body=b"{}", headers={})
    assert outcome.ok


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SSH-2.0-OpenSSH_9\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
    ],
)
async def test_what_is_no_http_is_a_failure_with_a_reason(sender, answer):
    async def rubbish(reader, writer):
        await read_request(reader)
        writer.write(answer)
        await writer.drain()

    async with scripted(rubbish) as url:
        outcome = await sender.send(url, body=b"{}", headers={})
    assert outcome.status_code is None
    assert outcome.error


async def test_an_answer_that_ends_in_its_first_line_is_explained_in_words(sender):
    """Merchants read the reason; the library's own text is the repr of a half-parsed object."""

    async def breaks_off(reader, writer):
        await read_request(reader)
        writer.write(b"HTTP/1.1 20")
        await writer.drain()

    async with scripted(breaks_off) as url:
        outcome = await sender.send(url, body=b"{}", headers={})
    assert outcome.status_code is None
    assert outcome.error == "connection failed: the server closed it before a whole answer came"


@pytest.mark.parametrize("stage", ["accepts", "trickles headers"])
async def test_an_attempt_ends_with_its_time(stage):
    async def slow(reader, writer):
        if stage == "accepts":
            await asyncio.Event().wait()
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n")
        while True:
            writer.write(b"x-a: b\r\n")
            await writer.drain()
            await asyncio.sleep(0.02)

    async with (
        scripted(slow) as url,
        Sender(user_agent="t", timeout=0.2, allow_http=True, allow_private=True) as sender,
    ):
        async with asyncio.timeout(5):
            outcome = await sender.send(url, body=b"{}", headers={})
    # A status line arrived, but not the end of the headers: the status counts.
    expected = (None, "no answer within 0.2 s") if stage == "accepts" else (200, None)
    assert (outcome.status_code, outcome.error) == expected


async def test_a_connection_that_the_server_closed_while_idle_costs_no_attempt(sender):
    """The server answers once per connection, keeps it open, and closes it when the next request arrives."""
    requests = []

    async def hang_up(reader, writer):
        requests.append(await read_request(reader))
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        await writer.drain()
        await reader.readuntil(b"\r\n\r\n")

    async with scripted(hang_up) as url:
        for number in range(3):
            outcome = await sender.send(url, body=b"%d" % number, headers={})
            assert outcome.ok
    assert [body for _, body in requests] == [b"0", b"1", b"2"]


async def test_a_fresh_connection_that_is_dropped_is_not_tried_twice(sender, receiver):
    receiver.always(Answer(drop=True))
    outcome = await sender.send(receiver.url(), body=b"{}", headers={})
    assert outcome.status_code is None
    assert len(receiver.arrivals) == 1


async def test_cookies_are_never_stored(receiver, monkeypatch):
    """At a host name, because clients never store cookies of an IP address."""
    port = int(receiver.base.rsplit(":", 1)[1])
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]
    monkeypatch.setattr("notifier.sender.Resolver", lambda: Resolver(getaddrinfo=lambda *_: found))
    receiver.plan(Answer(headers={"Set-Cookie": "session=1; Path=/"}))
    async with Sender(user_agent="t", timeout=5, allow_http=True, allow_private=True) as sender:
        for _ in range(2):
            assert (await sender.send(f"http://shop.example:{port}/", body=b"{}", headers={})).ok
    assert [one.headers["host"] for one in receiver.arrivals] == [f"shop.example:{port}"] * 2
    assert "cookie" not in receiver.arrivals[1].headers


async def test_a_proxy_in_the_environment_is_not_used(sender, receiver, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert (await sender.send(receiver.url(), body=b"{}", headers={})).ok


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.8.8.8",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "[::1%25lo]",
        "localhost",
        "LOCALHOST.",
        "0.0.0.0",
        "0",
        "127.1",
        "127.0.0.1.",
        "2130706433",
        "0x7f000001",
        "0x7f.0.0.1",
        "0177.0.0.1",
        "017700000001",
        "１２７.0.0.1",
        "①②⑦.⓪.⓪.①",
        "127。0。0。1",
        "%31%32%37.0.0.1",
        "shop.example@127.0.0.1",
        "8.8.8.8:80@127.0.0.1",
    ],
)
async def test_the_guard_refuses_the_address_at_the_socket(receiver, host):
    port = receiver.base.rsplit(":", 1)[1]
    """Whatever form an address has got into the database in: nothing reaches it."""
    async with Sender(user_agent="t", timeout=5, allow_http=True) as sender:
        outcome = await sender.send(f"http://{host}:{port}/", body=b"{}", headers={})
    assert outcome.status_code is None
    assert outcome.error
    assert receiver.arrivals == []


async def test_a_refused_address_is_named_in_the_log(receiver):
    async with Sender(user_agent="t", timeout=5, allow_http=True) as sender:
        outcome = await sender.send(receiver.url(), body=b"{}", headers={})
    assert outcome.error == "refused: 127.0.0.1 is a loopback address"


async def test_a_name_that_changes_its_address_after_the_check_is_refused_at_the_socket(
    receiver, monkeypatch
):
    """DNS rebinding: the look-up from when the endpoint was created is not relied on."""
    port = int(receiver.base.rsplit(":", 1)[1])
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]
    monkeypatch.setattr("notifier.sender.Resolver", lambda: Resolver(getaddrinfo=lambda *_: found))
    async with Sender(user_agent="t", timeout=5, allow_http=True) as sender:
        outcome = await sender.send(f"http://shop.example:{port}/", body=b"{}", headers={})
    assert outcome.error == "refused: 127.0.0.1 is a loopback address"
    assert receiver.arrivals == []


async def test_plain_http_is_refused_where_it_is_not_allowed(receiver):
    async with Sender(user_agent="t", allow_private=True) as sender:
        outcome = await sender.send(receiver.url(), body=b"{}", headers={})
    assert outcome.error is not None
    assert "https" in outcome.error
    assert receiver.arrivals == []


async def test_a_server_without_a_trusted_certificate_is_a_failure():
    async with Sender(user_agent="t", timeout=5, allow_private=True) as sender:

        async def plain(reader, writer):
            await reader.read(1)
            writer.write(b"HTTP/1.1 400 no TLS here\r\n\r\n")
            await writer.drain()

        async with scripted(plain) as url:
            outcome = await sender.send(url.replace("http:", "https:"), body=b"{}", headers={})
    assert outcome.status_code is None
    assert outcome.error


async def test_look_ups_that_hang_leave_the_default_threads_free():
    hang = threading.Event()
    resolver = Resolver(getaddrinfo=lambda *_: hang.wait(20) and [])
    async with asyncio.TaskGroup() as tasks:
        stuck = [tasks.create_task(resolver.resolve(f"{number}.example")) for number in range(40)]
        async with asyncio.timeout(5):
            assert await asyncio.to_thread(lambda: "free") == "free"
        hang.set()
    assert [task.result() for task in stuck] == [[]] * 40


@pytest.mark.parametrize("error", [socket.gaierror("no such host"), UnicodeError("label too long")])
async def test_a_name_that_does_not_resolve_is_an_os_error(error):
    def fail(*_):
        raise error

    with pytest.raises(OSError, match=r"no such host|label too long"):
        await Resolver(getaddrinfo=fail).resolve("x.example", 443)


async def test_an_abandoned_look_up_does_no_harm():
    hang = threading.Event()
    resolver = Resolver(getaddrinfo=lambda *_: hang.wait(20) and [])
    task = asyncio.create_task(resolver.resolve("x.example", 443))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await task
    hang.set()
    quick = Resolver(getaddrinfo=lambda *_: [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 443))])
    [found] = await quick.resolve("x.example", 443)
    assert (found["host"], found["port"]) == ("192.0.2.1", 443)
