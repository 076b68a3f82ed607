"""Idempotency-Key: a request is done once, however often, from wherever and through whatever death it is
sent.
"""

import asyncio
import sys
import threading
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import QueuePool, event, select, update
from structlog.testing import capture_logs

from tests import harness
from tests.integration.watcher.api.api_fixture import ADMIN, ApiFixture, problem, wrong_fields
from watcher.api import idempotency
from watcher.api.idempotency import KEPT_SECONDS
from watcher.services import Services
from watcher.store.process_schema import idempotency as table

ROOT = Path(__file__).parents[4]
ORDER = {"amount": "50000", "metadata": {"order": "1"}}


async def post(
    client: httpx.AsyncClient, key: str | None, body: Any = ORDER, path: str = ""
) -> httpx.Response:
    headers = {} if key is None else {"idempotency-key": key}
    return await client.post(f"/v1/payment_intents{path}", json=body, headers=headers)


async def intents(api: ApiFixture) -> list[str]:
    return [row["id"] for row in (await api.client.get("/v1/payment_intents")).json()["data"]]


@asynccontextmanager
async def another_process(api: ApiFixture, *point: str) -> AsyncIterator[httpx.AsyncClient]:
    """Serve the same database from another process; it must have gone when the block ends, or is stopped."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.integration.watcher.api.serving_process",
        harness.database_url(api.fixture.folder),
        str(api.fixture.clock()),
        *point,
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(30):
            port = int(await process.stdout.readline())
        headers = {"authorization": f"Bearer {api.key}"}
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=30
        ) as client:
            yield client
    finally:
        if not point:
            process.terminate()
        try:
            async with asyncio.timeout(20):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
            raise


async def test_the_same_request_gets_the_first_answer_again(api: ApiFixture) -> None:
    first = await post(api.client, "k1")
    again = await post(api.client, "k1")
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.content == first.content
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    assert await intents(api) == [first.json()["id"]]
    assert api.woken == 1


async def test_spacing_and_order_of_the_body_do_not_matter(api: ApiFixture) -> None:
    first = await post(api.client, "k1")
    headers = {"idempotency-key": "k1", "content-type": "application/json"}
    text = '{ "metadata": {"order" : "1"},\n "amount":"50000" }'
    again = await api.client.post("/v1/payment_intents", content=text, headers=headers)
    assert again.content == first.content


async def test_a_number_written_as_a_text_is_the_same_number(api: ApiFixture) -> None:
    """Clients write amounts in both ways, and a request may be sent again by another version."""
    first = await post(api.client, "k1")
    again = await post(api.client, "k1", {"amount": 50000, "metadata": {"order": "1"}})
    assert (again.status_code, again.content) == (201, first.content)


async def test_without_a_key_everything_is_done_each_time(api: ApiFixture) -> None:
    await post(api.client, None)
    await post(api.client, None)
    assert len(await intents(api)) == 2


async def test_another_body_or_path_under_the_same_key_is_a_conflict(api: ApiFixture) -> None:
    first = (await post(api.client, "k1")).json()["id"]
    for body, path in (
        ({"amount": "50001"}, ""),
        ({"amount": 50001, "metadata": {"order": "1"}}, ""),
        ({"amount": True, "metadata": {"order": "1"}}, ""),
        (ORDER, f"/{first}/cancel"),
        (None, f"/{first}/cancel"),
    ):
        assert problem(await post(api.client, "k1", body, path)) == (409, "idempotency_mismatch")
    assert await intents(api) == [first]


async def test_a_refusal_is_not_kept(api: ApiFixture) -> None:
    """Nothing was done, so a corrected request may use the key."""
    assert wrong_fields(await post(api.client, "k1", {"amount": 0})) == ["amount"]
    assert (await post(api.client, "k1")).status_code == 201


async def test_merchants_and_operators_have_keys_of_their_own(api: ApiFixture) -> None:
    mine = (await post(api.client, "k1")).json()
    async with api.as_key(api.other_key) as other, api.as_key(ADMIN) as operator:
        theirs = (await post(other, "k1")).json()
        operators = (await post(operator, "k1", {**ORDER, "merchant": api.merchant})).json()
    assert len({mine["id"], theirs["id"], operators["id"]}) == 3
    assert theirs["merchant"] == api.other_merchant


async def test_a_merchants_second_key_sees_what_the_first_did(api: ApiFixture) -> None:
    first = await post(api.client, "k1")
    async with api.as_key(api.add_key(api.merchant)) as second:
        assert (await post(second, "k1")).content == first.content


def pass_time(api: ApiFixture, seconds: int) -> None:
    """Let time pass by the clock that judges; of PostgreSQL's own, which is not ours to set, the answers get
    older.
    """
    api.fixture.clock.now += seconds
    if not api.fixture.database.is_sqlite:
        with api.fixture.database.begin() as connection:
            connection.execute(update(table).values(created_at=table.c.created_at - seconds))


async def test_a_machine_whose_clock_is_wrong_forgets_no_answer(api: ApiFixture) -> None:
    """On PostgreSQL, which several machines share, its clock judges."""
    first = await post(api.client, "k1")
    if api.fixture.database.is_sqlite:
        return
    api.fixture.clock.now += 2 * KEPT_SECONDS
    assert (await post(api.client, "k1")).content == first.content
    with api.fixture.database.begin() as connection:
        assert idempotency.prune(connection, now=api.fixture.clock()) == 0


async def test_a_day_later_the_key_is_free(api: ApiFixture) -> None:
    first = (await post(api.client, "k1")).json()["id"]
    pass_time(api, KEPT_SECONDS - 10)
    assert (await post(api.client, "k1")).json()["id"] == first
    pass_time(api, 10)
    later = await post(api.client, "k1")
    assert later.json()["id"] != first
    assert "idempotent-replayed" not in later.headers
    assert (await post(api.client, "k1")).content == later.content


async def test_old_answers_are_deleted_and_young_ones_stay(api: ApiFixture) -> None:
    await post(api.client, "old")
    pass_time(api, KEPT_SECONDS)
    await post(api.client, "young")
    with api.fixture.database.begin() as connection:
        assert idempotency.prune(connection, now=api.fixture.clock()) == 1
        assert idempotency.prune(connection, now=api.fixture.clock()) == 0
    assert (await post(api.client, "young")).headers["idempotent-replayed"] == "true"


@pytest.mark.parametrize("key", ["", "x" * 255, "a b", "0198f0e4-1c2d"])
async def test_any_printable_ascii_is_a_key(sqlite_api: ApiFixture, key: str) -> None:
    assert (await post(sqlite_api.client, key)).status_code == (201 if key else 422)


@pytest.mark.parametrize("key", ["x" * 256, "schlüssel", "a\tb"])
async def test_a_wrong_key_is_named(sqlite_api: ApiFixture, key: str) -> None:
    headers = [(b"idempotency-key", key.encode())]
    answer = await sqlite_api.client.post("/v1/payment_intents", json=ORDER, headers=headers)
    assert wrong_fields(answer) == ["Idempotency-Key"]


async def test_the_database_holds_neither_key_nor_answer(api: ApiFixture) -> None:
    """A copy of the database does not tell secrets that are shown once."""
    made = (await post(api.client, "a-key-that-is-long-enough-to-find")).json()
    with api.fixture.database.read() as connection:
        [row] = connection.execute(select(table)).all()
    stored = b"".join(bytes(row[n]) for n in (0, 1, 3))
    for secret in (b"a-key-that-is", made["id"].encode(), b"payment_intent", b"50000"):
        assert secret not in stored


async def test_a_request_that_is_being_done_is_a_conflict_that_passes(
    api: ApiFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = threading.Event(), threading.Event()
    original = Services.create_intent

    def slow(services: Services, *args: Any, **named: Any) -> Any:
        begun.set()
        assert go_on.wait(20)
        return original(services, *args, **named)

    monkeypatch.setattr(Services, "create_intent", slow)
    first = asyncio.create_task(post(api.client, "k1"))
    try:
        assert await asyncio.to_thread(begun.wait, 20)
        meanwhile = await post(api.client, "k1")
        assert problem(meanwhile) == (409, "idempotency_in_progress")
        assert meanwhile.headers["retry-after"] == "1"
    finally:
        go_on.set()
    made = await first
    assert made.status_code == 201
    assert (await post(api.client, "k1")).content == made.content


async def test_of_fifty_equal_requests_to_two_processes_one_is_done(api: ApiFixture) -> None:
    async with another_process(api) as elsewhere:
        clients = [api.client, elsewhere] * 25
        answers = await asyncio.gather(*(post(client, "k1") for client in clients))
        codes = Counter(answer.status_code for answer in answers)
        assert set(codes) <= {201, 409}
        done = [answer for answer in answers if answer.status_code == 201]
        assert len([answer for answer in done if "idempotent-replayed" not in answer.headers]) == 1
        assert len({answer.content for answer in done}) == 1
        for answer in answers:
            if answer.status_code == 409:
                assert problem(answer) == (409, "idempotency_in_progress")
                assert answer.headers["retry-after"] == "1"
        for client in (api.client, elsewhere):
            assert (await post(client, "k1")).content == done[0].content
    assert await intents(api) == [done[0].json()["id"]]


async def test_after_a_kill_between_commit_and_answer_the_answer_is_given(api: ApiFixture) -> None:
    async with another_process(api, "after the commit") as dying:
        with pytest.raises(httpx.RemoteProtocolError):
            await post(dying, "k1")
    [made] = await intents(api)
    again = await post(api.client, "k1")
    assert (again.status_code, again.json()["id"]) == (201, made)
    assert again.headers["idempotent-replayed"] == "true"
    assert await intents(api) == [made]


async def test_after_a_kill_before_the_commit_nothing_was_done(api: ApiFixture) -> None:
    async with another_process(api, "before the commit") as dying:
        with pytest.raises(httpx.RemoteProtocolError):
            await post(dying, "k1")
    assert await intents(api) == []
    again = await post(api.client, "k1")
    assert again.status_code == 201
    assert "idempotent-replayed" not in again.headers
    assert await intents(api) == [again.json()["id"]]


async def test_two_keys_are_none(sqlite_api: ApiFixture) -> None:
    """Which of the two would it be? Something in between may take the other one."""
    headers = [("Idempotency-Key", "one"), ("Idempotency-Key", "two")]
    answer = await sqlite_api.client.post("/v1/payment_intents", json={"amount": "1"}, headers=headers)
    assert wrong_fields(answer) == ["Idempotency-Key"]


async def test_the_key_of_a_refused_request_is_looked_up_once(sqlite_api: ApiFixture) -> None:
    """A refusal that comes out of the transaction has looked already; a wrong body has not come so far."""
    seen: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_more: object) -> None:
        if statement.startswith("SELECT") and "FROM idempotency" in " ".join(statement.split()):
            seen.append(statement)

    await sqlite_api.create(reference="TAKEN")
    event.listen(sqlite_api.fixture.database.engine, "before_cursor_execute", note)
    try:
        for body, expected in (({"amount": 1, "reference": "TAKEN"}, 409), ({"amount": 0}, 422)):
            seen.clear()
            headers = {"idempotency-key": f"refused {expected}"}
            answer = await sqlite_api.client.post("/v1/payment_intents", json=body, headers=headers)
            assert (answer.status_code, len(seen)) == (expected, 1)
    finally:
        event.remove(sqlite_api.fixture.database.engine, "before_cursor_execute", note)


async def test_a_bug_in_the_middle_of_a_change_leaves_nothing_and_gives_its_connection_back(
    api: ApiFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often: more often than there are connections."""

    def broken(*_args: object, **_named: object) -> None:
        raise KeyError("a bug")

    pool = api.fixture.database.engine.pool
    assert isinstance(pool, QueuePool)
    with monkeypatch.context() as patched, capture_logs():
        patched.setattr(idempotency, "remember", broken)
        for _ in range(20):
            assert problem(await post(api.client, "k1")) == (500, "internal_error")
    assert pool.checkedout() == 0
    assert (await api.client.get("/v1/payment_intents")).json()["data"] == []
    made = await post(api.client, "k1")
    assert made.status_code == 201
    assert "idempotent-replayed" not in made.headers
