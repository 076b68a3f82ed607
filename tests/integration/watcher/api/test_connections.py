"""Callers who keep connections without using them lose them; who uses his keeps it."""

import asyncio
import socket

import pytest

from tests.integration.watcher.api.api_fixture import ApiFixture
from watcher.api import connection, server
from watcher.api.connection import Connection

HEALTH = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "CONNECTION_IDLE_SECONDS", 0.2)
    monkeypatch.setattr(server, "STOP_GRACE_SECONDS", 0.2)


async def opened(api: ApiFixture) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", api.site.port)


@pytest.mark.parametrize(
    "sent", [b"", HEALTH[:20], HEALTH + HEALTH[:20]], ids=["nothing", "half", "one and a half"]
)
async def test_who_does_not_finish_asking_is_cut_off(sqlite_office: ApiFixture, sent: bytes) -> None:
    reader, writer = await opened(sqlite_office)
    writer.write(sent)
    async with asyncio.timeout(10):
        while not reader.at_eof():
            await reader.read(65536)
    writer.close()


async def test_who_drips_a_request_is_cut_off(sqlite_office: ApiFixture) -> None:
    reader, writer = await opened(sqlite_office)
    writer.write(HEALTH[:-2] + b"X: ")
    ended = asyncio.ensure_future(reader.read())
    async with asyncio.timeout(10):
        while not ended.done():
            writer.write(b"a")
            await asyncio.wait({ended}, timeout=0.02)
    assert ended.exception() is not None or ended.result() == b""
    writer.close()


async def test_who_does_not_take_his_answer_is_cut_off(
    sqlite_office: ApiFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = asyncio.Event()
    original = Connection.connection_lost

    def noted(self: Connection, error: Exception | None) -> None:
        original(self, error)
        lost.set()

    monkeypatch.setattr(Connection, "connection_lost", noted)
    with socket.socket() as caller:
        caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        caller.connect(("127.0.0.1", sqlite_office.site.port))
        caller.sendall(b"GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: x\r\n\r\n")
        async with asyncio.timeout(10):
            await lost.wait()


async def test_who_waits_for_his_answer_or_asks_again_in_time_is_not(sqlite_office: ApiFixture) -> None:
    intent = await sqlite_office.create()
    reader, writer = await opened(sqlite_office)
    wait = (
        f"GET /v1/payment_intents/{intent['id']}?wait=1s HTTP/1.1\r\n"
        f"Host: x\r\nAuthorization: Bearer {sqlite_office.key}\r\n\r\n"
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


async def test_who_still_sends_at_the_end_of_a_stop_is_told_to_come_back(sqlite_office: ApiFixture) -> None:
    reader, writer = await opened(sqlite_office)
    head = (
        "POST /v1/payment_intents HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        f"Content-Length: 100\r\nExpect: 100-continue\r\nAuthorization: Bearer {sqlite_office.key}\r\n\r\n"
    )
    async with asyncio.timeout(10):
        writer.write(head.encode())
        assert b" 100 " in await reader.readuntil(b"\r\n\r\n")  # the body is waited for
        sqlite_office.stop.set()
        answer = await reader.readuntil(b"}")
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"retry-after: 5\r\n" in answer
    assert b"application/problem+json" in answer
    writer.close()
