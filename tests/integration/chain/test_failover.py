"""Failover within one poll: the next source takes over, however far apart the polls are."""

import asyncio
from collections.abc import Callable

import pytest
from structlog.testing import capture_logs

from chain.api.client import StacksApi
from chain.api.transport import Timeouts
from chain.errors import SourceError, SourceUnavailable
from chain.source_health import SourceState
from chain.source_pool import BackoffPolicy, SourcePool
from chain.testing import ScriptedApi, ScriptedChain
from tests.integration.chain.follower_fixture import Clock, FollowerFixture, following

POLLS = [5.0, 20.0, 60.0, 600.0]


def states(rig: FollowerFixture) -> list[SourceState]:
    return [row.state for row in rig.pool.health()]


@pytest.mark.parametrize("poll", POLLS)
async def test_a_block_mined_after_the_first_source_died_is_read_at_the_next_poll(poll: float) -> None:
    """Also every later block, and the dead source is tried less and less often."""
    chain = ScriptedChain()
    async with following(chain, sources=2, poll=poll, backoff=BackoffPolicy.for_polls(poll)) as rig:
        chain.mine()
        await rig.poll_once()
        await rig.apis[0].stop()
        for _ in range(60):
            chain.mine()
            assert len(await rig.poll_once()) == 1
            assert rig.is_current()
        assert states(rig) == [SourceState.FAILING, SourceState.OK]
        assert rig.pool.health()[0].errors <= 12
        await rig.apis[0].start()


@pytest.mark.parametrize("poll", POLLS)
@pytest.mark.parametrize(
    "break_it",
    [
        lambda api: api.faults.refuse(times=None),
        lambda api: api.faults.rate_limit(3600, times=None),
        lambda api: api.faults.html(times=None),
        lambda api: api.faults.fail(410, times=None),
        lambda api: api.faults.fail(500, times=None, route="tx_multiple"),
        lambda api: api.faults.fail(410, times=None, route="blocks"),
    ],
    ids=["refused", "limited", "a web page", "gone", "no events", "no headers"],
)
async def test_whatever_the_first_source_fails_at_the_next_one_serves_in_the_same_poll(
    poll: float, break_it: Callable[[ScriptedApi], object]
) -> None:
    chain = ScriptedChain()
    async with following(chain, sources=3, poll=poll, backoff=BackoffPolicy.for_polls(poll)) as rig:
        break_it(rig.apis[0])
        break_it(rig.apis[1])
        chain.mine()
        assert len(await rig.poll_once()) == 1
        assert rig.is_current()


async def test_a_source_that_dies_while_many_blocks_are_read_is_followed_by_the_next_one() -> None:
    """Steps already yielded stay, and the next source continues from there."""
    chain = ScriptedChain()
    async with following(chain, sources=2, batch=10) as rig:
        chain.mine(n=200)
        rig.apis[0].before("blocks", lambda _: rig.apis[0].faults.fail(503, times=None) and None, nth=3)
        steps = await rig.poll_once()
        assert rig.is_current()
        assert len(steps) > 2
        assert [row.state for row in rig.pool.health()] == [SourceState.FAILING, SourceState.OK]


async def test_a_fresh_database_begins_with_the_source_that_serves() -> None:
    chain = ScriptedChain()
    chain.mine(n=20)
    async with ScriptedApi(chain, ping_interval=None) as down, ScriptedApi(chain, ping_interval=None) as up:
        rig = FollowerFixture(chain, [down, up])
        down.faults.fail(503, times=None)
        await rig.start()
        assert rig.cursor == chain.tip
        await rig.pool.aclose()


async def test_sources_that_all_fail_are_one_error_with_one_text_until_that_changes() -> None:
    """Whether a poll tries all of them, or pauses them for a while."""
    chain = ScriptedChain()
    async with following(chain, sources=2) as rig:
        rig.apis[0].faults.fail(500, times=None)
        rig.apis[1].faults.fail(502, times=None)
        said = set()
        for passed in (5.0, 0.1, 0.1, 5.0, 5.0, 5.0, 0.1, 60.0, 5.0, 5.0):
            with pytest.raises(SourceUnavailable) as caught:
                await rig.poll_once(passed=passed)
            said.add(str(caught.value))
        [text] = said
        assert ": 500" in text
        assert ": 502" in text


async def test_a_single_source_that_fails_has_one_text_too() -> None:
    chain = ScriptedChain()
    async with following(chain) as rig:
        rig.apis[0].faults.fail(500, times=None)
        said = set()
        for passed in (5.0, 0.1, 5.0, 0.1, 60.0, 5.0):
            with pytest.raises(SourceError) as caught:
                await rig.poll_once(passed=passed)
            said.add(str(caught.value))
        assert len(said) == 1


async def test_a_source_that_another_one_stands_in_for_is_logged_once() -> None:
    chain = ScriptedChain()
    async with following(chain, sources=2) as rig:
        rig.apis[0].faults.fail(500, times=None)
        with capture_logs() as log:
            for _ in range(100):
                chain.mine()
                await rig.poll_once(passed=60)
        [line] = [line for line in log if line["event"] == "source.replaced"]
        assert (line["source"], line["by"]) == (rig.sources[0].url, rig.sources[1].url)
        assert "500" in line["reason"]
        assert line["log_level"] == "warning"


async def test_a_failure_beside_a_source_that_lags_is_told() -> None:
    """A lagging source cannot know that there is no new block."""
    chain = ScriptedChain()
    async with following(chain, sources=2) as rig:
        chain.mine(n=2)
        await rig.poll_once()
        rig.apis[0].faults.fail(500, times=None)
        rig.apis[1].lag(1)
        with pytest.raises(SourceUnavailable, match="lagging"):
            await rig.poll_once()


async def test_a_source_that_hangs_at_its_check_holds_up_no_poll_at_another() -> None:
    """It is checked beside the polls until it answers, and used from then on."""
    chain = ScriptedChain()
    clock = Clock()
    async with ScriptedApi(chain, ping_interval=None) as slow, ScriptedApi(chain, ping_interval=None) as fast:
        sources = [StacksApi(slow.url, timeouts=Timeouts(read=60, total=60)), StacksApi(fast.url)]
        pool = SourcePool(sources, clock=clock, sleep=clock.sleep, rng=lambda: 1.0)
        slow.faults.fail(503)
        await pool.check("mainnet")
        assert pool.pick() is sources[1]
        clock.now += 1
        answer = asyncio.Event()
        slow.before("status", lambda _: answer.wait())
        for _ in range(3):
            await pool.check("mainnet")
            assert pool.pick() is sources[1]
        assert len([seen for seen in slow.requests if seen.status is None]) == 1, "one check at a time"
        answer.set()
        async with asyncio.timeout(20):
            while not pool.others(sources[1]):
                await asyncio.sleep(0.01)
                await pool.check("mainnet")
        await pool.aclose()


async def test_a_check_that_hangs_ends_with_the_pool() -> None:
    chain = ScriptedChain()
    async with ScriptedApi(chain, ping_interval=None) as slow, ScriptedApi(chain, ping_interval=None) as fast:
        clock = Clock()
        sources = [StacksApi(slow.url), StacksApi(fast.url)]
        pool = SourcePool(sources, clock=clock, sleep=clock.sleep, rng=lambda: 1.0)
        slow.faults.fail(503)
        await pool.check("mainnet")
        clock.now += 1
        never = asyncio.Event()
        slow.before("status", lambda _: never.wait())
        await pool.check("mainnet")
        async with asyncio.timeout(10):
            await pool.aclose()
        never.set()
