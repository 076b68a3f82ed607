"""When the indexer polls: every interval, sooner when the socket says so, never more often than allowed."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from chain.api.client import StacksApi
from chain.api.websocket import BlockWebSocket
from chain.follower import MARGIN_BURN_BLOCKS, Follower
from chain.header_window import HeaderWindow
from chain.source_pool import SourcePool
from chain.testing import ScriptedApi, ScriptedChain
from tests import harness
from tests.timeline import Timeline
from watcher.indexer.loop import IndexerLoop

POLL = 30.0


class LoopFixture:
    """The running loop on a timeline; ``looks`` are the times at which a look ended."""

    def __init__(self, folder: Path, chain: ScriptedChain, api: ScriptedApi, **budget: Any) -> None:
        self.chain, self.api = chain, api
        self.time = Timeline()
        self.looks: list[float] = []
        self.stop = asyncio.Event()
        self.database = harness.open_database(folder)
        self.ledger = harness.make_ledger(self.database, harness.Clock())
        self.pool = SourcePool([StacksApi(api.url)], clock=self.time, sleep=self.time.sleep, **budget)
        follower = Follower(
            self.pool,
            HeaderWindow(),
            harness.WATCHED,
            poll_interval=POLL,
            finality_burn_blocks=6,
            clock=self.time,
        )
        self.following = IndexerLoop(
            self.ledger,
            follower,
            self.pool,
            network="mainnet",
            start_height=None,
            window_burn_blocks=6 + MARGIN_BURN_BLOCKS,
            poll_interval=POLL,
            on_poll=lambda *_: self.looks.append(self.time.now - 1000.0),
            clock=self.time,
            sleep=self.time.sleep,
        )

    async def looked(self, count: int) -> None:
        """Wait until so many looks have ended and the loop rests."""
        await until(lambda: len(self.looks) >= count)
        await self.time.asleep()

    async def applied(self) -> None:
        """Wait until the tip is applied."""
        await until(lambda: self.height() == self.chain.tip.height)
        await self.time.asleep()

    def height(self) -> int:
        cursor = self.ledger.cursor()
        return 0 if cursor is None else cursor.clock.height

    def socket(self) -> str | None:
        """What ``status`` shows of the socket."""
        cursor = self.ledger.cursor()
        assert cursor is not None
        assert cursor.sources is not None
        return cursor.sources[0].get("websocket")


async def until(fact: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while True:
            if fact():
                return
            await asyncio.sleep(0.002)


@asynccontextmanager
async def running(folder: Path, **budget: Any) -> AsyncIterator[LoopFixture]:
    chain = ScriptedChain()
    async with ScriptedApi(chain, ping_interval=None) as api:
        rig = LoopFixture(folder, chain, api, **budget)
        task = asyncio.create_task(rig.following.run(rig.stop))
        await rig.looked(1)
        yield rig
        rig.stop.set()
        await task
        await rig.pool.aclose()
        rig.database.close()


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[LoopFixture]:
    async with running(tmp_path) as rig:
        yield rig


async def test_without_a_wake_up_it_polls_once_in_a_poll_interval(rig: LoopFixture) -> None:
    for count in range(2, 5):
        await rig.time.advance(POLL)
        await rig.looked(count)
    assert rig.looks == [0, POLL, 2 * POLL, 3 * POLL]


async def test_after_a_poll_that_brought_everything_it_rests_too(rig: LoopFixture) -> None:
    """One look at new blocks costs no second one that finds nothing."""
    rig.chain.mine(n=3)
    await rig.time.advance(POLL)
    await rig.looked(2)
    assert rig.height() == rig.chain.tip.height
    await rig.time.advance(POLL - 1)
    assert len(rig.looks) == 2


async def test_a_wake_up_makes_it_poll_at_once(rig: LoopFixture) -> None:
    await rig.time.advance(10)
    rig.chain.mine()
    rig.following.wake()
    await rig.looked(2)
    assert (rig.looks, rig.height()) == ([0, 10], rig.chain.tip.height)


async def test_a_burst_of_wake_ups_makes_one_poll_and_polls_are_a_second_apart(rig: LoopFixture) -> None:
    await rig.time.advance(10)
    for _ in range(100):
        rig.following.wake()
    await rig.looked(2)
    for _ in range(100):
        rig.following.wake()
    await rig.time.asleep(2)
    await rig.time.advance(0.9)
    assert rig.looks == [0, 10]
    await rig.time.advance(0.1)
    await rig.looked(3)
    assert rig.looks == [0, 10, 11]
    await rig.time.advance(POLL)
    await rig.looked(4)
    assert rig.looks == [0, 10, 11, 41]


async def test_a_wake_up_during_a_poll_makes_another_poll(rig: LoopFixture) -> None:
    def mined_too_late(_: object) -> None:
        rig.following.wake()

    rig.api.before("transactions", mined_too_late)
    await rig.time.advance(POLL)
    await rig.looked(2)
    await rig.time.advance(1)
    await rig.looked(3)
    assert rig.looks == [0, POLL, POLL + 1]


async def test_wake_ups_take_no_more_than_half_of_a_burst_from_the_budget(tmp_path: Path) -> None:
    """A socket that talks all the time cannot use up what polls and catching up need."""
    async with running(tmp_path, requests_per_minute=100) as rig:
        rig.api.clear()
        for _ in range(60):
            # One that comes while a poll begins is served by it: wake until the loop rests and has heard it.
            await until(lambda: rig.following.wake() is None and len(rig.time.due) >= 2)
            await rig.time.advance(0.25)
        assert len(rig.api.requests) < 30
        assert rig.pool.idle_source(0.4) is not None
        before = len(rig.looks)
        await rig.time.advance(POLL)
        await rig.looked(before + 1)


async def open_socket(rig: LoopFixture) -> tuple[BlockWebSocket, Timeline, asyncio.Task[None]]:
    """Run a WebSocket on a clock of its own until it is open; return it, the clock and the task."""
    socket_time = Timeline()
    websocket = BlockWebSocket(
        lambda: [rig.api.url],
        rig.following.wake,
        clock=socket_time,
        sleep=socket_time.sleep,
        rng=lambda: 1.0,
    )
    rig.following.websocket = websocket
    task = asyncio.create_task(websocket.run(rig.stop))
    await rig.time.advance(2)
    await rig.looked(2)
    assert rig.socket() == "open"
    return websocket, socket_time, task


async def test_a_socket_that_misses_what_polls_find_is_opened_anew(rig: LoopFixture) -> None:
    """The server behind the address was replaced: two blocks come by polls, the next by the new socket."""
    websocket, socket_time, task = await open_socket(rig)
    rig.api.restart_silently()
    for _ in range(2):
        looks = len(rig.looks)
        rig.chain.mine()
        await rig.time.advance(POLL)
        await rig.looked(looks + 1)
    await until(lambda: not websocket.is_open)
    await socket_time.advance(1)
    await until(lambda: websocket.is_open)
    await rig.time.advance(1)
    await rig.applied()
    before = rig.time.now
    rig.chain.mine()
    await rig.time.advance(1)
    await rig.applied()
    assert rig.time.now < before + POLL
    rig.stop.set()
    await task


async def test_the_socket_brings_a_block_at_once_and_without_it_the_poll_does(rig: LoopFixture) -> None:
    """No block is lost whatever becomes of the socket; and ``status`` says how it is."""
    websocket, socket_time, task = await open_socket(rig)
    for second in range(10, 15):
        await rig.time.advance(1)
        rig.chain.mine()
        await rig.applied()
        assert rig.time.now < 1000 + second
    assert rig.time.now < 1000 + POLL, "no poll was due yet"

    rig.api.faults.fail(503, route="ws", times=None)
    await rig.api.hub.close()
    await until(lambda: not websocket.is_open)
    looks = len(rig.looks)
    rig.chain.mine(n=2)
    await rig.time.advance(POLL - 1)
    assert len(rig.looks) == looks
    await rig.time.advance(1)
    await rig.looked(looks + 1)
    assert rig.height() == rig.chain.tip.height
    await rig.time.advance(POLL)
    await rig.looked(looks + 2)
    assert (rig.socket() or "").startswith("closed: ")

    rig.api.faults.clear()
    missed = rig.chain.mine()
    await socket_time.advance(10)
    await rig.time.asleep(2)
    await rig.time.advance(1)
    await rig.applied()
    assert (rig.height(), websocket.is_open) == (missed.height, True)
    assert rig.socket() == "open"
    rig.stop.set()
    await task
