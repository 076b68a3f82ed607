"""The indexer's loop with a database and sources that fail: it stops moving, says so, and recovers."""

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, create_engine, event, select, text
from sqlalchemy.exc import OperationalError
from structlog.testing import capture_logs

from chain.testing import ScriptedApi, ScriptedChain, principal, txs
from chain.testing import events as ev
from tests import harness, postgresql
from watcher.api.health import not_ready
from watcher.concurrency import run_transaction, run_until_stopped
from watcher.config.settings import Settings
from watcher.domain.server_info import ServerInfo
from watcher.errors import ConfigError
from watcher.indexer.loop import IndexerLoop, PollResult
from watcher.monitoring.liveness import Liveness
from watcher.monitoring.metrics import Metrics
from watcher.monitoring.systemd import ServiceManager
from watcher.schemas import Cancel
from watcher.services import Services, queries
from watcher.services import status as status_service
from watcher.store import chain_state
from watcher.store import database as database_module
from watcher.store.database import Database
from watcher.store.schema import transfer

START = 1_800_000_000
PAYER = principal("payer")
SETTINGS = Settings(database_url="sqlite:///unused.db")

#: For what a disk or a source does, which the other database would only repeat.
ON_SQLITE = pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
ON_POSTGRESQL = pytest.mark.parametrize("backend", ["postgresql"], indirect=True)


class LoopFixture:
    """A chain, its API, a database and the loop between them."""

    def __init__(self, folder: Path, chain: ScriptedChain, api: ScriptedApi, database: Database) -> None:
        self.folder = folder
        self.chain = chain
        self.api = api
        self.database = database
        self.clock = harness.Clock(START)
        self.ledger = harness.make_ledger(database, self.clock)
        self.following: IndexerLoop
        self.following, self.pool = harness.make_indexer(self.ledger, [api.url], self.clock)

    async def poll_once(self) -> PollResult:
        self.clock.now += 61
        return await self.following.poll()

    def height(self) -> int:
        cursor = self.ledger.cursor()
        assert cursor is not None
        return cursor.clock.height


@pytest.fixture
async def rig(tmp_path: Path, backend: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[LoopFixture]:
    monkeypatch.setattr(database_module, "BUSY_TIMEOUT_SECONDS", 0.05)
    monkeypatch.setattr(database_module, "LOCK_TIMEOUT_SECONDS", 0.05)
    chain = ScriptedChain(time=START)
    database = harness.open_database(tmp_path)
    async with ScriptedApi(chain, ping_interval=None) as api:
        rig = LoopFixture(tmp_path, chain, api, database)
        await rig.poll_once()
        harness.add_merchant(database)
        yield rig
        await rig.pool.aclose()
    database.close()


async def test_a_locked_database_stops_the_cursor_and_it_goes_on_when_it_clears(rig: LoopFixture) -> None:
    rig.chain.mine(n=3)
    blocker = Database(rig.database.url.render_as_string(hide_password=False))
    with blocker.begin() as connection, capture_logs() as log:
        chain_state.load_cursor(connection, lock=True)
        assert await rig.poll_once() is PollResult.WAITING
    assert [line["event"] for line in log if line["log_level"] == "error"] == ["database.failed"]
    blocker.close()
    before = rig.height()
    while await rig.poll_once() is not PollResult.MOVED:
        assert rig.height() == before
    assert rig.height() == rig.chain.tip.height


@ON_SQLITE
async def test_a_full_disk_stops_the_cursor_and_it_goes_on_when_there_is_room(rig: LoopFixture) -> None:
    def small_disk(connection: object, *_: object) -> None:
        connection.execute("PRAGMA max_page_count=1")  # type: ignore[attr-defined]

    rig.database.engine.dispose()
    event.listen(rig.database.engine, "connect", small_disk)
    recipient = harness.SHOP
    rig.chain.mine([txs.sbtc_transfer(PAYER, recipient, 1, b"x" * 34, label=str(n)) for n in range(200)])
    before = rig.height()
    with capture_logs() as log:
        for _ in range(3):
            assert await rig.poll_once() is PollResult.WAITING
    assert [line["reason"] for line in log if line["event"] == "database.failed"] == [
        "database or disk is full (INSERT)"
    ], "once, and without the statement and its values"
    assert rig.height() == before
    event.remove(rig.database.engine, "connect", small_disk)
    rig.database.engine.dispose()
    assert await rig.poll_once() is PollResult.MOVED
    with rig.database.read() as connection:
        assert len(connection.execute(select(transfer.c.id)).all()) == 200


@ON_SQLITE
@pytest.mark.parametrize("source", ["serves", "is down"])
async def test_a_disk_that_takes_nothing_while_the_chain_rests_is_one_error_until_it_clears(
    rig: LoopFixture, source: str
) -> None:
    """A poll that finds nothing new does not clear it; one poll logs one error, though its source is down
    too.
    """

    def fail(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if statement.startswith(("INSERT", "UPDATE")):
            raise OperationalError(statement, {}, sqlite3.OperationalError("disk I/O error"))

    event.listen(rig.database.engine, "before_cursor_execute", fail)
    if source == "is down":
        rig.api.faults.fail(503, times=None)
    with capture_logs() as log:
        for _ in range(3):
            await rig.poll_once()
        event.remove(rig.database.engine, "before_cursor_execute", fail)
        rig.api.faults.clear()
        rig.clock.now += 3600
        assert await rig.poll_once() is PollResult.IDLE
    first = "database.failed" if source == "serves" else "source.failed"
    assert [line["event"] for line in log] == [first, "follower.recovered"]


@ON_POSTGRESQL
@pytest.mark.parametrize("when", ["INSERT INTO block", "UPDATE cursor SET height"])
async def test_a_connection_that_is_cut_in_a_step_leaves_nothing_of_it(rig: LoopFixture, when: str) -> None:
    """Before the first write and before the commit: the step is done again as a whole."""
    cuts: list[str] = []

    def cut(connection: Connection, cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith(when) and not cuts:
            cuts.append(statement)
            other = create_engine(rig.database.url)
            with other.begin() as killer:
                killer.execute(text(f"SELECT pg_terminate_backend({cursor.connection.info.backend_pid})"))
            other.dispose()

    rig.chain.mine([txs.sbtc_transfer(PAYER, harness.SHOP, 5, b"memo")], n=3)
    before = rig.height()
    event.listen(rig.database.engine, "before_cursor_execute", cut)
    assert await rig.poll_once() is PollResult.WAITING
    assert cuts
    assert rig.height() == before
    assert await rig.poll_once() is PollResult.MOVED
    assert rig.height() == rig.chain.tip.height
    with rig.database.read() as connection:
        assert len(connection.execute(select(transfer.c.id)).all()) == 1


async def test_a_server_that_restarts_stops_the_cursor_and_it_goes_on(tmp_path: Path) -> None:
    """Idle connections are dead then, and no server answers meanwhile."""
    server = postgresql.Server()
    chain = ScriptedChain(time=START)
    database = Database(server.database_url(tmp_path))
    try:
        async with ScriptedApi(chain, ping_interval=None) as api:
            rig = LoopFixture(tmp_path, chain, api, database)
            await rig.poll_once()
            chain.mine(n=3)
            server.halt()
            assert await rig.poll_once() is PollResult.WAITING
            assert await rig.poll_once() is PollResult.WAITING
            server.start()
            assert await rig.poll_once() is PollResult.MOVED
            assert rig.height() == chain.tip.height
            await rig.pool.aclose()
    finally:
        database.close()
        server.stop()


@ON_SQLITE
@pytest.mark.parametrize(
    "fault", ["html", "truncate", "gzip_bomb", "cut", "rate_limit", "refuse", "disconnect"]
)
async def test_a_bad_answer_moves_nothing_and_is_shown_in_status(rig: LoopFixture, fault: str) -> None:
    rig.chain.mine([txs.sbtc_transfer(PAYER, harness.SHOP, 5, b"memo")])
    getattr(rig.api.faults, fault)(times=None)
    before = rig.height()
    for _ in range(3):
        assert await rig.poll_once() is PollResult.WAITING
    cursor = rig.ledger.cursor()
    assert cursor is not None
    assert cursor.clock.height == before
    assert cursor.sources
    assert cursor.sources[0]["state"] != "ok"
    rig.api.faults.clear()
    rig.clock.now += 3600
    for _ in range(5):
        await rig.poll_once()
    assert rig.height() == rig.chain.tip.height


@ON_SQLITE
@pytest.mark.parametrize(("status", "route"), [(503, None), (410, None), (410, "blocks")])
async def test_sources_that_say_nothing_for_too_long_make_the_daemon_unready(
    rig: LoopFixture, status: int, route: str | None
) -> None:
    """The lag is unknown then, also where only the newest transactions are still listed."""
    liveness = Liveness(ServiceManager(), rest=5.0)
    liveness.on_poll(PollResult.IDLE, None, None)
    metrics = Metrics()
    metrics.watch(rig.database, liveness, None)

    def reasons() -> list[str]:
        cursor = rig.ledger.cursor()
        found = not_ready(cursor, frozenset({"follower"}), 0, liveness, max_lag=600, now=rig.clock())
        return [reason.code for reason in found]

    def lag() -> int | None:
        return status_service.status(rig.database, SETTINGS, now=rig.clock())["lag"]["blocks"]

    await rig.poll_once()
    assert reasons() == []
    assert "sbtc_watcher_lag_blocks 0.0" in metrics.exposition()[0].decode()
    rig.api.faults.fail(status, route=route, times=None)
    before = rig.clock()
    while rig.clock() + 61 < before + 600:
        rig.chain.mine()
        liveness.on_poll(await rig.poll_once(), None, None)
        assert reasons() == []
    assert lag() is None
    assert "sbtc_watcher_lag_blocks NaN" in metrics.exposition()[0].decode()
    liveness.on_poll(await rig.poll_once(), None, None)
    assert reasons() == ["source_failing"]
    rig.api.faults.clear()
    rig.clock.now += 300
    liveness.on_poll(await rig.poll_once(), None, None)
    assert reasons() == []
    assert lag() == 0


async def test_how_far_the_clock_is_off_is_kept_for_other_processes(tmp_path: Path, backend: str) -> None:
    chain = ScriptedChain(time=int(time.time()) - 3600)
    clock = harness.Clock(time.time())
    database = harness.open_database(tmp_path)
    ledger = harness.make_ledger(database, clock)
    async with ScriptedApi(chain, ping_interval=None) as api:
        api.extra_headers["date"] = formatdate(time.time() - 300, usegmt=True)
        following, pool = harness.make_indexer(ledger, [api.url], clock)
        await following.poll()
        cursor = ledger.cursor()
        assert cursor is not None
        assert cursor.clock_skew == pytest.approx(300, abs=10)
        assert pool.clock_skew == pytest.approx(300, abs=10)
        [row] = cursor.sources or []
        assert row["answered_seconds"] == 0
        await pool.aclose()
    database.close()


@ON_SQLITE
async def test_an_outage_of_the_source_is_one_error_in_the_log_and_its_end_one_line(rig: LoopFixture) -> None:
    """Whether a poll asks the source, or leaves it alone for a while."""
    rig.api.faults.fail(503, times=None)
    with capture_logs() as log:
        for pause in (0, 61, 3, 5, 5, 5, 61, 5, 5):
            rig.clock.now += pause - 61
            assert await rig.poll_once() is PollResult.WAITING
        rig.api.faults.clear()
        rig.clock.now += 600
        assert await rig.poll_once() is PollResult.IDLE
    assert [line["event"] for line in log] == ["source.failed", "follower.recovered"]


async def test_an_intent_that_was_paid_before_the_first_poll_is_paid(tmp_path: Path, backend: str) -> None:
    chain = ScriptedChain(time=START - 3600)
    chain.mine(n=5)
    chain.mine(seconds=3000)
    clock = harness.Clock(START)
    database = harness.open_database(tmp_path)
    harness.add_merchant(database)
    intent = harness.intent_record("early", created_at=START, expires_at=START + 60)
    canceled = harness.intent_record("canceled", created_at=START - 3500)
    harness.add_intents(database, [intent, canceled])
    with database.begin() as connection:
        services = Services(
            connection,
            Settings(database_url=str(database.engine.url)),
            actor="test",
            now=clock(),
            settler_of=lambda _: harness.SETTLER,
        )
        services.cancel_intent(canceled.id, Cancel())
    paying = txs.sbtc_transfer(PAYER, harness.SHOP, 50_000, b"EARLY")
    paid = chain.mine([paying], seconds=START - 60 - chain.tip.time)
    chain.mine(n=40, seconds=600)
    ledger = harness.make_ledger(database, clock)
    async with ScriptedApi(chain, ping_interval=None) as api:
        following, pool = harness.make_indexer(ledger, [api.url], clock)
        assert await following.poll() is PollResult.MOVED
        await pool.aclose()
    with database.read() as connection:
        shown = queries.intent(connection, intent.id, server_info=ServerInfo(network="mainnet"))
    assert (shown["status"], shown["flags"]) == ("succeeded", [])
    cursor = ledger.cursor()
    assert cursor is not None
    assert cursor.start_height == paid.height
    database.close()


async def test_hostile_chain_data_is_data_and_the_daemon_goes_on(rig: LoopFixture) -> None:
    """Absurd prints, look-alikes, undecodable values, imitated payment prints: the block is applied."""
    evil = f"{principal('evil')}.evil"
    prints = [b"", b"\xff" * 40, b"\x0c\xff\xff\xff\xff", b"\x0e\x00\x00\x00\x02\xc3\x28", b"\x0b" * 3000]
    events = [ev.contract_print(evil, value) for value in prints]
    imitation = txs.contract_payment(
        evil, PAYER, harness.SHOP, 10, expires_at=START, salt=bytes(16), label="imitation"
    )
    rig.chain.mine(
        [
            txs.call(evil, "spam", PAYER, events=events),
            txs.fake_token(PAYER, harness.SHOP, 2**128 - 1, b"\xff\xfe"),
            txs.sbtc_transfer(PAYER, harness.SHOP, 2**128 - 1, b"\x00" * 34),
            imitation,
        ]
    )
    assert await rig.poll_once() is PollResult.MOVED
    assert rig.height() == rig.chain.tip.height
    with rig.database.read() as connection:
        amounts = set(connection.execute(select(transfer.c.amount)).scalars())
    assert 2**128 - 1 in amounts


async def test_a_database_of_another_network_is_refused_by_name(rig: LoopFixture) -> None:
    settler = harness.Settler(server_info=ServerInfo(network="testnet"))
    ledger = harness.make_ledger(rig.database, rig.clock, settler=settler)
    with pytest.raises(ConfigError, match="the database follows mainnet, the settings say testnet"):
        ledger.cursor()


async def test_a_commit_is_waited_for_even_when_cancelled(rig: LoopFixture) -> None:
    """Cancellation must not leave a transaction with an unknown outcome."""
    started, proceed, done = asyncio.Event(), asyncio.Event(), []
    loop = asyncio.get_running_loop()

    def commit() -> None:
        loop.call_soon_threadsafe(started.set)
        asyncio.run_coroutine_threadsafe(proceed.wait(), loop).result(10)
        with rig.database.begin() as connection:
            connection.execute(text("UPDATE cursor SET looked_at = 7"))
        done.append(True)

    task = asyncio.ensure_future(run_transaction(commit))
    await started.wait()
    task.cancel()
    await asyncio.sleep(0)
    assert not task.done()
    proceed.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert done == [True]


async def test_a_stop_cuts_a_wait_short() -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().call_soon(stop.set)
    assert await run_until_stopped(stop, asyncio.sleep(60, "slept")) is None
    assert await run_until_stopped(asyncio.Event(), asyncio.sleep(0, "slept")) == "slept"
