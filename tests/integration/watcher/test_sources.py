"""Work of commands that needs a source: the next one is asked at once, and there is a wait only when none serves."""

import pytest

from chain.api import StacksApi
from chain.errors import SourceUnavailable
from chain.pool import SourcePool
from chain.testing import ScriptedApi, ScriptedChain
from tests import harness
from watcher.errors import Unreachable
from watcher.sources import Sources


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
