"""Answers that are not valid HTTP, over real sockets: once a status line has arrived, it is the outcome."""

import asyncio

import pytest
from sqlalchemy import select

from notifier import endpoints
from notifier.schema import endpoint
from notifier.sender import KEPT_ANSWER_BYTES, Sender
from tests.integration.notifier.raw import read_request, scripted

#: Longer than a test takes, so that waiting for the end of an answer shows as a failure.
LIMIT = 20.0

#: Variants of what follows the status line of an answer.
ODD = {
    "a long cookie": b"Set-Cookie: a=" + b"x" * 10_000 + b"\r\nContent-Length: 0\r\n\r\n",
    "an endless header": b"X: " + b"y" * 300_000,
    "endless headers": b"x-a: b\r\n" * 50_000,
    "a space before the colon": b"Server : x\r\nContent-Length: 0\r\n\r\n",
    "no colon": b"Server\r\nContent-Length: 0\r\n\r\n",
    "no name": b": x\r\nContent-Length: 0\r\n\r\n",
    "a folded header": b"X: a\r\n b\r\n\tc\r\nContent-Length: 0\r\n\r\n",
    "a header that begins folded": b" X: a\r\nContent-Length: 0\r\n\r\n",
    "bare line feeds": b"Server: x\nContent-Length: 0\n\n",
    "bare carriage returns": b"Server: x\rContent-Length: 0\r\r",
    "no headers": b"\r\n",
    "a head without an end": b"Server: x\r\n",
    "nothing": b"",
    "NUL": b"X\x00: \x00\r\n\x00Content-Length: 0\r\n\r\n",
    "bytes beyond ASCII": b"X\xff\xfe: \xed\xa0\x80\r\nContent-Length: 0\r\n\r\n",
    "two equal lengths": b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nok",
    "two other lengths": b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nok",
    "a negative length": b"Content-Length: -1\r\n\r\n",
    "a huge length": b"Content-Length: " + b"9" * 400 + b"\r\n\r\nok",
    "a length that is none": b"Content-Length: two\r\n\r\nok",
    "a length that is too large": b"Content-Length: 100\r\n\r\nok",
    "a length that is too small": b"Content-Length: 1\r\n\r\nokokok",
    "length and chunks": b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "an unknown transfer encoding": b"Transfer-Encoding: rot13\r\n\r\nbx",
    "chunked twice": b"Transfer-Encoding: chunked, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "a chunk size that is none": b"Transfer-Encoding: chunked\r\n\r\nzz\r\nok\r\n",
    "a negative chunk size": b"Transfer-Encoding: chunked\r\n\r\n-2\r\nok\r\n",
    "a huge chunk size": b"Transfer-Encoding: chunked\r\n\r\n" + b"f" * 400 + b"\r\nok",
    "a chunk without an end": b"Transfer-Encoding: chunked\r\n\r\n5\r\nok",
    "odd trailers": b"Transfer-Encoding: chunked\r\n\r\n0\r\nX : y\r\n\r\n",
    "an encoding that the body has not": b"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\nok",
    "an upgrade": b"Connection: upgrade\r\nUpgrade: x\r\n\r\n\x00\xff",
    "an empty location": b"Location:\r\nContent-Length: 0\r\n\r\n",
    "a broken cookie": b"Set-Cookie: \x00=;;=\r\nContent-Length: 0\r\n\r\n",
    "another answer": b"Content-Length: 0\r\n\r\nHTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n",
    "a body": b"\r\n{}",
}

FIRST = {
    200: b"HTTP/1.1 200 OK\r\n",
    201: b"HTTP/1.1 201\r\n",
    202: b"HTTP/1.0 202 \xff\x00\r\n",
    204: b"HTTP/1.1 204 No Content\r\n",
    302: b"HTTP/1.1 302 Found\r\n",
    410: b"HTTP/1.1 410 Gone\r\n",
    429: b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 429 Slow\r\n",
    500: b"HTTP/1.1 500 No\r\n",
}


def answering(*pieces):
    """Serve connections that read one request, write these bytes, each piece by itself, and close."""

    async def handle(reader, writer):
        await read_request(reader)
        for piece in pieces:
            writer.write(piece)
            await writer.drain()

    return scripted(handle)


@pytest.fixture
async def sender():
    async with Sender(user_agent="t", timeout=LIMIT, allow_http=True, allow_private=True) as made:
        yield made


@pytest.mark.parametrize("status", FIRST)
@pytest.mark.parametrize("odd", ODD)
async def test_nothing_after_the_status_line_changes_the_outcome(sender, status, odd):
    """Every status is read whatever follows it, and a bounded part of the answer is kept."""
    async with answering(FIRST[status] + ODD[odd]) as port, asyncio.timeout(10):
        outcome = await sender.send(f"http://127.0.0.1:{port}/", body=b"{}", headers={})
    assert (outcome.status_code, outcome.error) == (status, None)
    assert outcome.ok == (status < 300)
    assert len(outcome.response) <= KEPT_ANSWER_BYTES


@pytest.mark.parametrize("odd", ["a long cookie", "a space before the colon", "NUL", "bare line feeds"])
async def test_what_an_odd_answer_says_is_kept(sender, odd):
    """The log shows the body also of answers that are not valid HTTP."""
    answer = FIRST[500] + ODD[odd].replace(b"Content-Length: 0", b"Content-Length: 4") + b"why?"
    async with answering(answer) as port:
        outcome = await sender.send(f"http://127.0.0.1:{port}/", body=b"{}", headers={})
    assert outcome.response == b"why?"


@pytest.mark.parametrize(
    "head",
    [
        b"Retry-After: 600\r\nServer : x\r\n\r\n",
        b"Server : x\r\nRetry-After : 600\r\n\r\n",
        b"Set-Cookie: a=" + b"x" * 20_000 + b"\r\nRetry-After: 600\r\n\r\n",
        b"NUL: \x00\r\nretry-after:\r\n 600\r\n\r\n",
        b"Retry-After: 600\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    ],
)
async def test_retry_after_counts_in_an_odd_head_too(shop, drain, clock, head):
    """``Retry-After`` is honoured, however malformed the headers are."""
    async with answering(b"HTTP/1.1 429 Slow\r\n" + head) as port:
        shop.endpoint(f"http://127.0.0.1:{port}/")
        shop.enqueue()
        assert await drain()
    assert (shop.delivery().last_status_code, shop.delivery().next_attempt_at) == (429, clock() + 600)


async def test_gone_counts_in_an_odd_head_too(shop, engine, drain):
    """410 disables the endpoint, also with headers that parsers reject."""
    async with answering(b"HTTP/1.1 410 Gone\r\nServer : x\r\n\r\n") as port:
        id_ = shop.endpoint(f"http://127.0.0.1:{port}/")
        shop.enqueue()
        assert await drain()
    with engine.begin() as conn:
        assert endpoints.get(conn, id_).disabled_reason == "gone"
        assert conn.execute(select(endpoint.c.broken)).scalar_one() == 0


@pytest.mark.parametrize("odd", ["a long cookie", "a space before the colon", "a body"])
async def test_an_odd_success_is_delivered_once(shop, drain, odd):
    """A delivered event is not sent again."""
    requests = 0

    async def handle(reader, writer):
        nonlocal requests
        await read_request(reader)
        requests += 1
        writer.write(FIRST[204] + ODD[odd])
        await writer.drain()

    async with scripted(handle) as port:
        shop.endpoint(f"http://127.0.0.1:{port}/")
        shop.enqueue()
        assert await drain()
        assert await drain()
    assert (shop.delivery().status, shop.delivery().attempts, requests) == ("delivered", 1, 1)


async def test_a_long_cookie_does_not_cost_the_connection(sender):
    """Long but valid HTTP keeps the connection open."""
    connections = 0

    async def handle(reader, writer):
        nonlocal connections
        connections += 1
        while True:
            await read_request(reader)
            writer.write(FIRST[200] + ODD["a long cookie"])

    async with scripted(handle) as port:
        for _ in range(3):
            assert (await sender.send(f"http://127.0.0.1:{port}/", body=b"{}", headers={})).ok
    assert connections == 1


@pytest.mark.parametrize("extra", [b"ok", b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"])
async def test_what_comes_after_an_answer_is_not_taken_for_the_next_one(sender, extra):
    """After a body that must not be there, or a second answer, the next request uses a new connection."""
    more = asyncio.Event()
    sent = asyncio.Event()
    connections = 0

    async def handle(reader, writer):
        nonlocal connections
        connections += 1
        await read_request(reader)
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        await more.wait()
        writer.write(extra)
        await writer.drain()
        sent.set()
        await read_request(reader)
        writer.write(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n")
        await reader.read()

    async with scripted(handle) as port, asyncio.timeout(10):
        url = f"http://127.0.0.1:{port}/"
        assert (await sender.send(url, body=b"1", headers={})).ok
        more.set()
        await sent.wait()
        # On loopback it has arrived one round trip later.
        async with answering(b"HTTP/1.1 200 OK\r\n\r\n") as other:
            await sender.send(f"http://127.0.0.1:{other}/", body=b"{}", headers={})
        assert (await sender.send(url, body=b"2", headers={})).ok
    assert connections == 2


async def test_a_reused_connection_that_goes_on_with_its_last_answer_costs_no_attempt(sender):
    """The rest of the previous answer arrives during the next request: that request is sent again."""
    bodies = []

    async def handle(reader, writer):
        bodies.append(await read_request(reader))
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        bodies.append(await read_request(reader))
        writer.write(b"ok, thank you")
        await reader.read()

    async with scripted(handle) as port, asyncio.timeout(10):
        url = f"http://127.0.0.1:{port}/"
        for number in range(2):
            outcome = await sender.send(url, body=b"%d" % number, headers={})
            assert (outcome.status_code, outcome.error) == (204, None)
    assert bodies == [b"0", b"1", b"1"]


@pytest.mark.parametrize(
    "answer", [b"", b"SSH-2.0-x\r\n", b"HTTP/1.1 200 OK", b"HTTP/1.1 2\x0000 OK\r\n\r\n"]
)
async def test_without_a_status_line_there_is_a_failure_with_a_reason(sender, answer):
    """An incomplete line could become another status, so it is none."""
    async with answering(answer) as port, asyncio.timeout(10):
        outcome = await sender.send(f"http://127.0.0.1:{port}/", body=b"{}", headers={})
    assert outcome.status_code is None
    assert outcome.error
