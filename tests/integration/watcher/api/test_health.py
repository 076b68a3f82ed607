"""The HTTP server on a real socket: alive, ready or why not, and how it stops."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from tests.integration.watcher.ledger_fixture import LedgerFixture
from watcher.api import errors
from watcher.api import health as health_module
from watcher.api.health import not_ready
from watcher.api.server import HttpServer
from watcher.config.settings import Settings
from watcher.errors import ConfigError
from watcher.indexer.loop import PollResult
from watcher.indexer.trouble import DatabaseTrouble
from watcher.monitoring.liveness import Liveness
from watcher.monitoring.metrics import Gauges, Metrics
from watcher.monitoring.systemd import ServiceManager
from watcher.services.status_reasons import Code, Reason
from watcher.store import chain_state
from watcher.store.chain_state import Cursor, Halt
from watcher.store.database import Database

#: What a whole deployment runs.
ROLES = frozenset({"follower", "notifier", "api"})


def make_liveness() -> Liveness:
    """The liveness of a process that follows the chain."""
    liveness = Liveness(ServiceManager(), rest=1.0)
    liveness.on_role_change(True)
    return liveness


def make_standby() -> Liveness:
    liveness = Liveness(ServiceManager(), rest=1.0)
    liveness.is_standby = True
    liveness.on_heartbeat(None)
    return liveness


@asynccontextmanager
async def serving(
    settings: Settings, database: Database, liveness: Liveness
) -> AsyncIterator[tuple[httpx.AsyncClient, asyncio.Event, asyncio.Task[None]]]:
    """Serve on a free port; the block gets a client, the stop and the server's task."""
    metrics = Metrics()
    metrics.watch(database, liveness, None)
    stop = asyncio.Event()
    with HttpServer(settings, database, liveness, metrics) as server:
        task = asyncio.create_task(server.serve(stop))
        assert server.port is not None
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}", timeout=20) as client:
            yield client, stop, task
        stop.set()
        async with asyncio.timeout(10):
            await task


def settings_of(fixture: LedgerFixture, **more: Any) -> Settings:
    return Settings(database_url=fixture.settings.database_url, http_bind="127.0.0.1:0", **more)


async def test_a_process_that_serves_is_alive_whatever_the_chain_does(fixture: LedgerFixture) -> None:
    async with serving(settings_of(fixture), fixture.database, make_liveness()) as (client, _, _):
        answer = await client.get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "alive"})


async def test_a_daemon_is_ready_after_a_poll_that_succeeded(fixture: LedgerFixture) -> None:
    liveness = make_liveness()
    async with serving(settings_of(fixture), fixture.database, liveness) as (client, _, _):
        before = await client.get("/readyz")
        liveness.on_poll(PollResult.WAITING, "no source answers", None)
        failed = await client.get("/readyz")
        liveness.on_poll(PollResult.IDLE, None, None)
        after = await client.get("/readyz")
    assert before.status_code == failed.status_code == 503
    assert before.headers["content-type"] == "application/problem+json"
    assert before.json() == {
        "type": "about:blank",
        "title": "Service Unavailable",
        "status": 503,
        "code": "not_ready",
        "detail": "starting: the first poll is not done",
        "reasons": [{"code": "starting", "message": "the first poll is not done", "hint": ""}],
    }
    assert failed.json()["reasons"] == [{"code": "starting", "message": "no source answers", "hint": ""}]
    assert (after.status_code, after.json()) == (200, {"status": "ready"})


async def test_a_halted_daemon_is_not_ready_until_it_moves_again(fixture: LedgerFixture) -> None:
    liveness = make_liveness()
    liveness.on_poll(PollResult.IDLE, None, None)
    fixture.ledger.record_poll(
        tip=None, sources=[], halt=Halt(code="reorg_too_deep", message="forked", hint="decide")
    )
    async with serving(settings_of(fixture), fixture.database, liveness) as (client, _, _):
        halted = await client.get("/readyz")
        fixture.mine()
        moved = await client.get("/readyz")
    assert halted.json()["reasons"] == [{"code": "halted", "message": "forked", "hint": "decide"}]
    assert moved.status_code == 200


async def test_a_halt_before_the_database_has_begun_is_told(before_the_chain: LedgerFixture) -> None:
    liveness = make_liveness()
    liveness.on_poll(PollResult.HALTED, "the source serves testnet", None)
    settings = settings_of(before_the_chain)
    async with serving(settings, before_the_chain.database, liveness) as (client, _, _):
        answer = await client.get("/readyz")
        metrics = await client.get("/metrics")
    assert {"code": "halted", "message": "the source serves testnet", "hint": ""} in answer.json()["reasons"]
    assert "sbtc_watcher_halted 1.0" in metrics.text


async def test_a_database_that_does_not_answer_is_a_reason_and_the_counters_are_still_served(
    tmp_path: Path,
) -> None:
    (tmp_path / "watcher.db").write_bytes(b"this is no database" * 100)
    settings = Settings(database_url=f"sqlite:///{tmp_path}/watcher.db", http_bind="127.0.0.1:0")
    database = Database(settings.database_url)
    liveness = make_liveness()
    liveness.on_poll(PollResult.IDLE, None, None)
    async with serving(settings, database, liveness) as (client, _, _):
        ready = await client.get("/readyz")
        metrics = await client.get("/metrics")
    database.close()
    assert ready.status_code == 503
    assert ready.json()["reasons"] == [
        {"code": "database", "message": "the database does not answer: file is not a database", "hint": ""}
    ]
    assert metrics.status_code == 200
    assert "sbtc_watcher_reorgs_total" in metrics.text
    assert "sbtc_watcher_tip_height{" not in metrics.text


async def test_a_database_that_hangs_is_a_reason_not_a_hang(
    fixture: LedgerFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = threading.Event()
    monkeypatch.setattr(health_module, "DATABASE_TIMEOUT_SECONDS", 0.1)
    monkeypatch.setattr(chain_state, "load_cursor", lambda _connection: gate.wait(20))
    liveness = make_liveness()
    try:
        async with serving(settings_of(fixture), fixture.database, liveness) as (client, _, _):
            ready = await client.get("/readyz")
            metrics = await client.get("/metrics")
            alive = await client.get("/healthz")
    finally:
        gate.set()
        for thread in threading.enumerate():
            if thread.name.startswith("health"):
                await asyncio.to_thread(thread.join, 10)
    assert (ready.status_code, ready.json()["reasons"][0]["code"]) == (503, "database")
    assert (metrics.status_code, metrics.json()["code"]) == (503, "database")
    assert alive.status_code == 200


def cursor_of(fixture: LedgerFixture) -> Cursor:
    found = fixture.ledger.cursor()
    assert found is not None
    return found


def test_lag_is_measured_in_chain_time_between_the_newest_known_and_the_newest_applied_block(
    fixture: LedgerFixture,
) -> None:
    liveness = make_liveness()
    liveness.on_poll(PollResult.MOVED, None, None)
    cursor = cursor_of(fixture)
    for behind, ready in ((0, True), (600, True), (601, False)):
        lagging = replace(cursor, tip_time=cursor.clock.time + behind, tip_height=cursor.clock.height + 3)
        # However old both are: a chain that stands still is not our lag.
        found = not_ready(lagging, ROLES, 0, liveness, max_lag=600, now=cursor.clock.time + 10**6)
        assert [reason.code for reason in found] == ([] if ready else ["lagging"])
        assert ready or found[0].message == "3 blocks, 601 s of chain time behind the newest known block"


def test_a_process_beside_the_follower_notices_that_nobody_follows(fixture: LedgerFixture) -> None:
    liveness = make_standby()
    cursor = replace(cursor_of(fixture), looked_at=1000)
    assert not_ready(cursor, ROLES, 0, liveness, max_lag=600, now=1600.0) == []
    [reason] = not_ready(cursor, ROLES, 0, liveness, max_lag=600, now=1601.0)
    assert reason == Reason(Code.LAGGING, "no process has polled the chain for 601 s")


def test_a_follower_whose_look_never_ends_is_not_ready(fixture: LedgerFixture) -> None:
    """A loop that hangs reports nothing, so its silence counts; applying blocks is no silence."""
    now = [0.0]
    liveness = Liveness(ServiceManager(), rest=5.0, clock=lambda: now[0])
    cursor = cursor_of(fixture)

    def codes() -> list[str]:
        return [
            reason.code for reason in not_ready(cursor, ROLES, 0, liveness, max_lag=600, now=fixture.clock())
        ]

    liveness.on_role_change(True)
    liveness.on_poll(PollResult.IDLE, None, fixture.tip)
    now[0] = 600.0
    assert codes() == []
    liveness.on_step()
    now[0] = 1200.0
    assert codes() == []
    now[0] = 1201.0
    assert codes() == ["lagging"]
    liveness.on_poll(PollResult.IDLE, None, fixture.tip)
    assert codes() == []
    now[0] = 2000.0
    liveness.on_role_change(False)
    assert "lagging" not in codes(), "another process may follow now, and is known by what it wrote"


def test_a_follower_that_rests_longer_than_the_lag_limit_is_not_silent(fixture: LedgerFixture) -> None:
    """Polls that are an hour apart are no fault, however short the limit is."""
    now = [0.0]
    liveness = Liveness(ServiceManager(), rest=3600.0, clock=lambda: now[0])
    liveness.on_role_change(True)
    liveness.on_poll(PollResult.IDLE, None, fixture.tip)
    now[0] = 3700.0
    assert not_ready(cursor_of(fixture), ROLES, 0, liveness, max_lag=600, now=fixture.clock()) == []


def test_a_database_without_a_cursor_is_starting() -> None:
    liveness = make_standby()
    assert [reason.code for reason in not_ready(None, ROLES, 0, liveness, max_lag=600, now=0.0)] == [
        "starting"
    ]


def test_a_process_that_cannot_write_is_not_ready_and_knows_how_far_it_is_behind(
    fixture: LedgerFixture,
) -> None:
    """Health is what the process knows, not what it last wrote down."""
    liveness = make_liveness()
    cursor = cursor_of(fixture)
    fixture.chain.mine(n=30, seconds=30)
    liveness.on_poll(
        PollResult.WAITING,
        DatabaseTrouble("database.failed database is locked"),
        fixture.tip,
        fixture.chain.tip,
    )
    found = not_ready(cursor, ROLES, 0, liveness, max_lag=600, now=fixture.clock())
    assert [reason.code for reason in found] == ["starting", "not_writable", "lagging"]
    assert found[1].message == "the database takes no writes: database.failed database is locked"
    assert found[2].message.startswith("30 blocks, 900 s of chain time behind")
    gauges = {
        sample.name: sample.value
        for family in Gauges(fixture.database, liveness, None, now=fixture.clock).collect()
        for sample in family.samples
        if sample.name
        in ("sbtc_watcher_lag_blocks", "sbtc_watcher_writable", "sbtc_watcher_last_poll_seconds")
    }
    assert (gauges["sbtc_watcher_lag_blocks"], gauges["sbtc_watcher_writable"]) == (30, 0)
    assert gauges["sbtc_watcher_last_poll_seconds"] >= 0


def test_a_process_without_a_part_that_nobody_runs_is_not_ready(fixture: LedgerFixture) -> None:
    liveness = make_standby()
    cursor = cursor_of(fixture)
    now = cursor.clock.time
    for roles, due, codes in (
        (ROLES, 5, []),
        (ROLES - {"follower"}, 0, ["no_follower"]),
        (ROLES - {"notifier"}, 0, []),
        (ROLES - {"notifier"}, 1, ["no_notifier"]),
        (frozenset[str](), 1, ["no_follower", "no_notifier"]),
    ):
        found = not_ready(cursor, roles, due, liveness, max_lag=600, now=now)
        assert [reason.code for reason in found] == codes, roles


async def test_other_routes_are_problems_and_the_description_is_off(fixture: LedgerFixture) -> None:
    async with serving(settings_of(fixture), fixture.database, make_liveness()) as (client, _, _):
        for path in ("/", "/openapi.json", "/docs", "/redoc", "/v1/status"):
            answer = await client.get(path)
            assert answer.status_code == 404, path
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.json()["code"] == "not_found"
        answer = await client.post("/healthz")
        assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
        assert answer.headers["allow"] == "GET, HEAD"
        assert "server" not in answer.headers


async def test_a_bug_is_a_problem_that_tells_a_stranger_nothing() -> None:
    app = FastAPI(openapi_url=None)
    errors.install(app)

    @app.get("/bug")
    async def bug() -> None:
        raise RuntimeError("the secret")

    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        answer = await client.get("/bug")
    assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
    assert "secret" not in answer.text


async def test_a_stop_ends_the_server_though_a_client_keeps_its_connection_open(
    fixture: LedgerFixture,
) -> None:
    async with serving(settings_of(fixture), fixture.database, make_liveness()) as (client, stop, task):
        await client.get("/healthz")
        stop.set()
        async with asyncio.timeout(10):
            await task
        with pytest.raises(httpx.ConnectError):
            await client.get("/healthz")


async def test_an_empty_address_serves_nothing_and_holds_nothing_up(fixture: LedgerFixture) -> None:
    settings = Settings(database_url=fixture.settings.database_url, http_bind="")
    with HttpServer(settings, fixture.database, make_liveness(), Metrics()) as server:
        assert server.port is None
        async with asyncio.timeout(5):
            await server.serve(asyncio.Event())


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_an_address_in_use_is_one_line_that_names_the_setting(fixture: LedgerFixture, family: int) -> None:
    host = "127.0.0.1" if family == socket.AF_INET else "::1"
    with socket.create_server((host, 0), family=family) as taken:
        port = taken.getsockname()[1]
        shown = f"{host}:{port}" if family == socket.AF_INET else f"[{host}]:{port}"
        settings = Settings(database_url=fixture.settings.database_url, http_bind=shown)
        with (
            pytest.raises(ConfigError) as error,
            HttpServer(settings, fixture.database, make_liveness(), Metrics(), api=True),
        ):
            pass
        with HttpServer(settings, fixture.database, make_liveness(), Metrics()) as server:
            assert server.port is None, "only the API insists on it"
    assert str(error.value) == f"http_bind: cannot listen on {shown}: address already in use"
    assert error.value.exit_code == 2
    assert f"SBTC_WATCHER_HTTP_BIND={shown.rpartition(':')[0]}:0" in error.value.hint


def test_a_host_that_is_none_is_one_line_too(fixture: LedgerFixture) -> None:
    settings = Settings(database_url=fixture.settings.database_url, http_bind="192.0.2.1:1")
    with pytest.raises(ConfigError, match=r"http_bind: cannot listen on 192\.0\.2\.1:1: "):
        HttpServer(settings, fixture.database, make_liveness(), Metrics()).__enter__()
