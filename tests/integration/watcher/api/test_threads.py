"""What happens when threads or the database are short: nobody waits for ever, and nothing that matters is
forgotten.
"""

import asyncio
import sqlite3
import threading

import pytest

from notifier import ssrf
from tests.integration.watcher.api.api_fixture import ApiFixture, problem
from watcher.api import transactions, worker_threads
from watcher.services import api_keys

PATH = "/v1/payment_intents"


async def test_who_would_wait_too_long_for_a_thread_is_told_to_come_back(
    sqlite_api: ApiFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(worker_threads, "THREAD_WAIT_SECONDS", -1.0)
        answer = await sqlite_api.client.post(PATH, json={"amount": 1})
    assert problem(answer) == (503, "unavailable")
    assert answer.headers["retry-after"] == "1"
    assert (await sqlite_api.client.get(PATH)).json()["data"] == []


async def test_a_closed_api_takes_no_more_requests(sqlite_api: ApiFixture) -> None:
    assert sqlite_api.server.api is not None
    sqlite_api.server.api.close()
    assert problem(await sqlite_api.client.get(PATH)) == (503, "unavailable")


async def test_a_use_that_cannot_be_recorded_is_recorded_later(
    sqlite_api: ApiFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = sqlite_api.server.api
    assert api is not None

    def recorded() -> list[int]:
        with sqlite_api.fixture.database.read() as connection:
            rows = api_keys.of_merchant(connection, sqlite_api.merchant)
        return [row["last_used_at"] for row in rows if row["last_used_at"] is not None]

    await sqlite_api.client.get(PATH)
    sqlite_api.fixture.database.engine.dispose()

    def down(*_args: object) -> sqlite3.Connection:
        return sqlite3.connect("/nowhere/at/all.db")

    with monkeypatch.context() as patched:
        patched.setattr(sqlite_api.fixture.database.engine.pool, "_invoke_creator", down)
        await api.key_uses.write()
    assert recorded() == []
    await api.key_uses.write()
    assert len(recorded()) == 1


async def test_a_use_is_not_forgotten_when_recording_it_fails_in_an_unforeseen_way(
    sqlite_api: ApiFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = sqlite_api.server.api
    assert api is not None

    def broken(*_args: object) -> None:
        raise KeyError("a bug")

    await sqlite_api.client.get(PATH)
    with monkeypatch.context() as patched:
        patched.setattr(api_keys, "record_use", broken)
        await api.key_uses.write()
    await api.key_uses.write()
    with sqlite_api.fixture.database.read() as connection:
        rows = api_keys.of_merchant(connection, sqlite_api.merchant)
    assert [row["last_used_at"] for row in rows if row["last_used_at"] is not None] != []


async def test_readers_do_not_wait_for_a_writer(sqlite_api: ApiFixture) -> None:
    """While another process holds the write lock of the SQLite file, reads go on and writes wait."""
    await sqlite_api.create()
    blocker = sqlite3.connect(sqlite_api.fixture.folder / "watcher.db", isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    try:
        writing = asyncio.create_task(sqlite_api.client.post(PATH, json={"amount": 1}))
        async with asyncio.timeout(10):
            assert len((await sqlite_api.client.get(PATH)).json()["data"]) == 1
        assert not writing.done()
    finally:
        blocker.execute("ROLLBACK")
        blocker.close()
    assert (await writing).status_code == 201


async def test_names_that_are_slow_to_look_up_hold_nobody_else_up(
    sqlite_api: ApiFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, answered = threading.Semaphore(0), threading.Event()

    def slow(*_args: object, **_named: object) -> list[str]:
        asked.release()
        answered.wait(30)
        return []

    monkeypatch.setattr(ssrf, "lookup", slow)
    body = {"url": "https://slow.example/"}
    adding = [
        asyncio.create_task(sqlite_api.client.post("/v1/webhook_endpoints", json=body))
        for _ in range(transactions.READ_THREADS)
    ]
    try:
        for _ in adding:
            assert await asyncio.to_thread(asked.acquire, timeout=10)
        async with asyncio.timeout(5):
            assert (await sqlite_api.client.get(PATH)).status_code == 200
    finally:
        answered.set()
    assert {answer.status_code for answer in await asyncio.gather(*adding)} == {201}


async def test_who_waits_for_a_thread_is_answered_while_all_are_still_busy(
    sqlite_api: ApiFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not when one is free again: that may take as long once more."""
    asked, answered = threading.Semaphore(0), threading.Event()

    def slow(*_args: object, **_named: object) -> list[str]:
        asked.release()
        answered.wait(30)
        return []

    monkeypatch.setattr(ssrf, "lookup", slow)
    path, body = "/v1/webhook_endpoints", {"url": "https://slow.example/"}
    busy = [
        asyncio.create_task(sqlite_api.client.post(path, json=body))
        for _ in range(transactions.LOOKUP_THREADS)
    ]
    try:
        for _ in busy:
            assert await asyncio.to_thread(asked.acquire, timeout=10)
        with monkeypatch.context() as patched:
            patched.setattr(worker_threads, "THREAD_WAIT_SECONDS", 0.5)
            answer = await sqlite_api.client.post(path, json=body)
        assert problem(answer) == (503, "unavailable")
        assert not any(task.done() for task in busy)
    finally:
        answered.set()
    assert {answer.status_code for answer in await asyncio.gather(*busy)} == {201}


async def test_no_request_takes_a_thread_of_the_frameworks_own(sqlite_api: ApiFixture) -> None:
    """Its pool has no limit that a caller is told of, and each hop costs time."""
    await sqlite_api.create()
    assert (await sqlite_api.client.get(PATH)).status_code == 200
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("AnyIO")] == []
