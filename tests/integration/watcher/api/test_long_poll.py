"""Waiting for an intent: the answer comes when the status changes, costs no thread, and ends when the process
does.
"""

import asyncio
from collections.abc import Collection, Mapping
from pathlib import Path

import httpx
import pytest
from sqlalchemy.exc import OperationalError

from chain.testing import txs
from tests import harness
from tests.integration.watcher.api.api_fixture import ApiFixture, problem, wrong_fields
from tests.integration.watcher.ledger_fixture import PAYER, SHOP
from watcher.api import long_poll
from watcher.api.errors import Problem
from watcher.api.long_poll import LongPoll


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(long_poll, "POLL_SECONDS", 0.02)


def ask(api: ApiFixture, intent: str, **query: str) -> asyncio.Task[httpx.Response]:
    return asyncio.create_task(api.client.get(f"/v1/payment_intents/{intent}", params=query))


async def waited_for(api: ApiFixture, count: int) -> None:
    """Wait until so many requests wait."""
    assert api.server.api is not None
    waiting = api.server.api.long_poll
    await harness.until(lambda: waiting.count == count, within=10)


async def test_the_answer_comes_when_the_status_changes(api: ApiFixture) -> None:
    made = await api.create(level="included")
    asked = ask(api, made["id"], wait="30s")
    await waited_for(api, 1)
    api.fixture.mine(txs.sbtc_transfer(PAYER, SHOP, 1, b"no label"))
    api.fixture.mine(txs.sbtc_transfer(PAYER, SHOP, 50_000, made["reference"].encode()))
    async with asyncio.timeout(10):
        answer = await asked
    assert (answer.status_code, answer.json()["status"]) == (200, "succeeded")
    assert answer.headers["etag"]
    await waited_for(api, 0)


async def test_without_a_change_the_answer_comes_in_the_end(api: ApiFixture) -> None:
    made = await api.create()
    answer = await ask(api, made["id"], wait="100ms")
    assert (answer.status_code, answer.json()["status"]) == (200, "pending")


async def test_an_intent_that_is_settled_is_not_waited_for(api: ApiFixture) -> None:
    made = await api.create()
    await api.client.post(f"/v1/payment_intents/{made['id']}/cancel")
    async with asyncio.timeout(10):
        answer = await ask(api, made["id"], wait="60s")
    assert answer.json()["status"] == "canceled"


async def test_a_status_that_is_not_the_known_one_is_told_at_once(api: ApiFixture) -> None:
    made = await api.create()
    async with asyncio.timeout(10):
        answer = await ask(api, made["id"], wait="60s", seen="processing")
    assert answer.json()["status"] == "pending"
    asked = ask(api, made["id"], wait="30s", seen="pending")
    await waited_for(api, 1)
    await api.client.post(f"/v1/payment_intents/{made['id']}/cancel")
    async with asyncio.timeout(10):
        assert (await asked).json()["status"] == "canceled"


@pytest.mark.parametrize("wait", ["61s", "-1", "soon", "", "1h"])
async def test_a_wrong_wait_is_named(sqlite_api: ApiFixture, wait: str) -> None:
    made = await sqlite_api.create()
    assert wrong_fields(await ask(sqlite_api, made["id"], wait=wait)) == ["wait"]


async def test_what_is_not_there_is_not_waited_for(sqlite_api: ApiFixture) -> None:
    made = await sqlite_api.create()
    async with sqlite_api.as_key(sqlite_api.other_key) as other:
        for intent in (made["id"], "pi_X"):
            async with asyncio.timeout(10):
                answer = await other.get(f"/v1/payment_intents/{intent}?wait=60s")
            assert problem(answer) == (404, "not_found")


async def test_many_wait_and_others_are_served_meanwhile(api: ApiFixture) -> None:
    """Far more wait than there are threads."""
    made = await api.create(level="included")
    asked = [ask(api, made["id"], wait="60s") for _ in range(50)]
    await waited_for(api, 50)
    async with asyncio.timeout(10):
        assert (await api.client.get("/v1/payment_intents")).status_code == 200
    api.fixture.mine(txs.sbtc_transfer(PAYER, SHOP, 50_000, made["reference"].encode()))
    async with asyncio.timeout(20):
        answers = await asyncio.gather(*asked)
    assert {answer.json()["status"] for answer in answers} == {"succeeded"}


async def test_those_who_wait_are_counted(sqlite_api: ApiFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    assert sqlite_api.server.api is not None
    monkeypatch.setattr(sqlite_api.server.api.long_poll.slots, "of_caller", 2)
    monkeypatch.setattr(sqlite_api.server.api.long_poll.slots, "altogether", 3)
    made = await sqlite_api.create()
    async with sqlite_api.as_key(sqlite_api.other_key) as other:
        theirs = (await other.post("/v1/payment_intents", json={"amount": 1})).json()["id"]
        url = f"/v1/payment_intents/{theirs}?wait=30s"
        asked = [ask(sqlite_api, made["id"], wait="30s") for _ in range(2)]
        await waited_for(sqlite_api, 2)
        answer = await ask(sqlite_api, made["id"], wait="30s")
        assert problem(answer) == (429, "too_many_waits")
        assert answer.headers["retry-after"] == "1"
        asked.append(asyncio.create_task(other.get(url)))
        await waited_for(sqlite_api, 3)
        full = await other.get(url)
        assert problem(full) == (503, "too_many_waits")
        for task in asked:
            task.cancel()
        await waited_for(sqlite_api, 0)


async def test_who_goes_away_is_not_waited_with(sqlite_api: ApiFixture) -> None:
    made = await sqlite_api.create()
    asked = ask(sqlite_api, made["id"], wait="60s")
    await waited_for(sqlite_api, 1)
    asked.cancel()
    await waited_for(sqlite_api, 0)


async def test_a_stop_releases_all_who_wait_at_once(sqlite_api: ApiFixture) -> None:
    made = await sqlite_api.create()
    asked = [ask(sqlite_api, made["id"], wait="60s") for _ in range(5)]
    await waited_for(sqlite_api, 5)
    sqlite_api.stop.set()
    async with asyncio.timeout(5):
        answers = await asyncio.gather(*asked)
        await asyncio.shield(sqlite_api.serving)
    assert {(answer.status_code, answer.json()["status"]) for answer in answers} == {(200, "pending")}


async def test_nobody_waits_nobody_looks_and_one_look_serves_all() -> None:
    reads: list[Collection[str]] = []
    found: dict[str, str] = {"a": "pending", "b": "pending"}

    async def read(ids: Collection[str]) -> Mapping[str, str]:
        reads.append(sorted(ids))
        if len(reads) == 2:
            raise OperationalError("SELECT", None, Exception("gone"))
        if len(reads) == 4:
            found["a"] = "succeeded"
        if len(reads) == 5:
            del found["b"]
        return found

    waiting = LongPoll(read)
    stop = asyncio.Event()
    running = asyncio.create_task(waiting.run(stop))
    await asyncio.sleep(0)
    assert reads == []
    async with asyncio.timeout(10):
        await asyncio.gather(
            waiting.wait_for_change("x", "a", "pending", 60),
            waiting.wait_for_change("y", "a", "pending", 60),
            waiting.wait_for_change("x", "b", "pending", 60),
        )
        assert reads == [["a", "b"]] * 4 + [["b"]]
        stop.set()
        await running
        await waiting.wait_for_change("x", "a", "pending", 60)
    assert waiting.count == 0


async def test_who_comes_during_a_read_waits_for_the_next_one() -> None:
    """A read that did not ask for an intent says nothing about it."""
    reading, go_on = asyncio.Event(), asyncio.Event()
    reads = 0

    async def read(ids: Collection[str]) -> Mapping[str, str]:
        nonlocal reads
        reads += 1
        reading.set()
        await go_on.wait()
        return dict.fromkeys(ids, "pending" if reads < 3 else "succeeded")

    waiting = LongPoll(read)
    stop = asyncio.Event()
    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        tasks.create_task(waiting.run(stop))
        tasks.create_task(waiting.wait_for_change("x", "a", "pending", 60))
        await reading.wait()
        late = tasks.create_task(waiting.wait_for_change("x", "b", "pending", 60))
        await asyncio.sleep(0)
        go_on.set()
        await late
        assert reads == 3
        stop.set()


async def test_a_problem_with_threads_does_not_end_the_looking(tmp_path: Path) -> None:
    calls = 0

    async def read(_ids: Collection[str]) -> Mapping[str, str]:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise Problem(503, "unavailable", "busy")
        return {"a": "succeeded"}

    waiting = LongPoll(read)
    stop = asyncio.Event()
    running = asyncio.create_task(waiting.run(stop))
    async with asyncio.timeout(10):
        await waiting.wait_for_change("x", "a", "pending", 60)
        stop.set()
        await running
    assert calls == 2
