"""Retries of commands: the next source is used at once, and there is a wait only when none works."""

import asyncio
import os
from contextlib import AsyncExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from chain.api.client import StacksApi
from chain.errors import SourceUnavailable
from chain.source_pool import SourcePool
from chain.testing import ScriptedApi, ScriptedChain
from tests import harness
from watcher.config.settings import Settings
from watcher.daemon import main as daemon_main
from watcher.daemon import wiring
from watcher.errors import Unreachable
from watcher.reindex.retrying_source import Sources


async def newest(source: StacksApi) -> int:
    headers = await source.headers(limit=1)
    assert headers
    return headers[0].height


async def test_a_source_that_fails_is_followed_by_the_next_one_without_a_wait() -> None:
    chain = ScriptedChain()
    chain.mine(n=4)
    clock = harness.Clock()
    waits: list[str] = []
    async with ScriptedApi(chain, ping_interval=None) as one, ScriptedApi(chain, ping_interval=None) as two:
        pool = SourcePool(
            [StacksApi(one.url), StacksApi(two.url)], clock=clock, sleep=clock.sleep, rng=lambda: 1.0
        )
        sources = Sources(pool, network="mainnet", sleep=clock.sleep)

        async def note(why: str) -> None:
            waits.append(why)

        sources.on_wait = note
        assert await sources.use(newest) == chain.tip.height
        one.faults.fail(410, times=None)
        for _ in range(20):
            clock.now += 60
            assert await sources.use(newest) == chain.tip.height
        assert waits == []
        assert len([seen for seen in one.requests if seen.status == 410]) <= 8

        two.faults.fail(503, times=None)
        with pytest.raises(Unreachable) as caught:
            await sources.use(newest)
        assert isinstance(caught.value.__cause__, SourceUnavailable)
        assert len(waits) < 20
        await pool.aclose()


def test_a_daemon_that_starts_says_that_proxies_are_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever reaches the internet by one only would wonder why no source answers."""
    for name in [name for name in os.environ if name.upper().endswith("_PROXY")]:
        monkeypatch.delenv(name)
    settings = Settings(database_url=harness.sqlite_url(tmp_path), http_bind="")
    harness.open_database(tmp_path).close()
    for value, notes in (("", 0), ("http://proxy.example:3128", 1)):
        monkeypatch.setenv("HTTPS_PROXY", value)
        with capture_logs() as log:
            assert daemon_main.run(settings, frozenset({"api"}), once=True) == 0
        assert [line["event"] for line in log].count("service.proxy_ignored") == notes


async def test_the_daemon_sends_each_key_to_its_host_only(tmp_path: Path) -> None:
    """By requests as by the socket: the owner of another source gets no key that is not theirs."""
    chain = ScriptedChain()
    async with AsyncExitStack() as stack:
        hosts = ("127.0.0.1", "127.0.0.2", "127.0.0.3")
        apis = [await stack.enter_async_context(ScriptedApi(chain, host=host)) for host in hosts]
        settings = Settings(
            database_url=f"sqlite:///{tmp_path}/unused.db",
            api_urls=[api.url for api in apis],
            api_key="key-1",
            api_keys={"127.0.0.3": "key-3"},
        )
        database = harness.Database(settings.database_url)
        stack.callback(database.close)
        pool = wiring.make_pool(settings, database)
        stack.push_async_callback(pool.aclose)
        await pool.check("mainnet")
        # The first one's socket is left for the second one's, to which the key was not given.
        pool.failed(pool.pick(), SourceUnavailable("down", url=apis[0].url))
        websocket = wiring.make_websocket(settings, pool, cast(Any, SimpleNamespace(wake=lambda: None)))
        assert websocket is not None
        stop = asyncio.Event()
        running = asyncio.ensure_future(websocket.run(stop))
        await harness.until(lambda: websocket.is_open)
        stop.set()
        await running
        assert [seen.route for seen in apis[1].requests].count("ws") == 1
        sent = [{seen.headers.get("x-api-key") for seen in api.requests} for api in apis]
    assert sent == [{"key-1"}, {None}, {"key-3"}]
