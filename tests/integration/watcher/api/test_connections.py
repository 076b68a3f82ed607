"""Connections that are kept without being used are closed; those in use are not."""

import asyncio
import json
import logging
import socket

import pytest

from tests.integration.watcher.api.api_fixture import ApiFixture
from watcher.api import connection, server
from watcher.api.connection import Connection

MAKE = b"POST /v1/payment_intents HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "CONNECTION_IDLE_SECONDS", 0.2)
    monkeypatch.setattr(server, "STOP_GRACE_SECONDS", 0.2)


async def opened(api: ApiFixture) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", api.server.port)


@pytest.mark.parametrize(
    "sent", [b"", HEALTH[:20], HEALTH + HEALTH[:20]], ids=["nothing", "half", "one and a half"]
)
async def test_who_does_not_finish_asking_is_cut_off(sqlite_api: ApiFixture, sent: bytes) -> None:
    reader, writer = await opened(sqlite_api)
    writer.write(sent)
    async with asyncio.timeout(10):
        while not reader.at_eof():
            await reader.read(65536)
    writer.close()


async def test_who_drips_a_request_is_cut_off(sqlite_api: ApiFixture) -> None:
    reader, writer = await opened(sqlite_api)
    writer.write(HEALTH[:-2] + b"X: ")
    ended = asyncio.ensure_future(reader.read())
    async with asyncio.timeout(10):
        while not ended.done():
            writer.write(b"a")
            await asyncio.wait({ended}, timeout=0.02)
    assert ended.exception() is not None or ended.result() == b""
    writer.close()


async def test_a_caller_that_does_not_read_its_answer_is_cut_off(
    sqlite_api: ApiFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = asyncio.Event()
    original = Connection.connection_lost

    def noted(self: Connection, error: Exception | None) -> None:
        original(self, error)
        lost.set()

    monkeypatch.setattr(Connection, "connection_lost", noted)
    with socket.socket() as caller:
        caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        caller.connect(("127.0.0.1", sqlite_api.server.port))
        caller.sendall(b"GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: x\r\n\r\n")
        async with asyncio.timeout(10):
            await lost.wait()


async def test_a_caller_that_waits_for_its_answer_or_asks_again_in_time_is_not(
    sqlite_api: ApiFixture,
) -> None:
    intent = await sqlite_api.create()
    reader, writer = await opened(sqlite_api)
    wait = (
        f"GET /v1/payment_intents/{intent['id']}?wait=1s HTTP/1.1\r\n"
        f"Host: x\r\nAuthorization: Bearer {sqlite_api.key}\r\n\r\n"
    )
    async with asyncio.timeout(10):
        for asked in (wait.encode(), *[HEALTH] * 10):
            writer.write(asked)
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 OK\r\n")
            [length] = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length: ")]
            await reader.readexactly(int(length.removeprefix(b"content-length: ")))
            await asyncio.sleep(0.1)
    writer.close()


async def test_who_still_sends_at_the_end_of_a_stop_is_told_to_come_back(sqlite_api: ApiFixture) -> None:
    reader, writer = await opened(sqlite_api)
    head = (
        "POST /v1/payment_intents HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        f"Content-Length: 100\r\nExpect: 100-continue\r\nAuthorization: Bearer {sqlite_api.key}\r\n\r\n"
    )
    async with asyncio.timeout(10):
        writer.write(head.encode())
        assert b" 100 " in await reader.readuntil(b"\r\n\r\n")  # the body is waited for
        sqlite_api.stop.set()
        answer = await reader.readuntil(b"}")
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"retry-after: 5\r\n" in answer
    assert b"application/problem+json" in answer
    writer.close()


def is_problem(answer: bytes, status: int, code: str) -> bool:
    """Say whether an answer has the one shape of errors."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status} ".encode())
    assert b"content-type: application/problem+json" in head
    assert b"connection: close" in head.lower()
    found = json.loads(body)
    return (found["status"], found["code"]) == (status, code)


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\n\r\n",
        b"GET /\xc3\xa9 HTTP/1.1\r\nHost: x\r\n\r\n",
        HEALTH[:-2] + b"Content-Length: -1\r\n\r\n",
    ],
    ids=["TLS", "no host", "no ASCII", "a negative length"],
)
async def test_what_is_not_http_is_answered_like_all_else(sqlite_api: ApiFixture, sent: bytes) -> None:
    reader, writer = await opened(sqlite_api)
    writer.write(sent)
    async with asyncio.timeout(10):
        assert is_problem(await reader.read(), 400, "invalid_http")
    writer.close()


async def test_what_is_not_http_after_an_answer_ends_the_connection_in_silence(
    sqlite_api: ApiFixture, caplog: pytest.LogCaptureFixture
) -> None:
    """No second answer, and no traceback in the log for a stranger's garbage."""
    reader, writer = await opened(sqlite_api)
    writer.write(MAKE)
    async with asyncio.timeout(10):
        assert (await reader.readuntil(b"}")).startswith(b"HTTP/1.1 401 ")
        writer.write(b"zz\r\n")
        assert await reader.read() == b""
    writer.close()
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


async def test_who_comes_when_all_connections_are_taken_is_told_to_come_back(
    sqlite_api: ApiFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those who were there before go on."""
    before, asking = await opened(sqlite_api)
    asking.write(HEALTH)
    async with asyncio.timeout(10):
        assert (await before.readuntil(b"}")).startswith(b"HTTP/1.1 200 ")
        monkeypatch.setattr(connection, "MAX_CONNECTIONS", 1)
        reader, writer = await opened(sqlite_api)
        writer.write(HEALTH)
        answer = await reader.read()
        assert is_problem(answer, 503, "unavailable")
        assert b"retry-after: 5\r\n" in answer
        asking.write(HEALTH)
        assert (await before.readuntil(b"}")).startswith(b"HTTP/1.1 200 ")
    writer.close()
    asking.close()
