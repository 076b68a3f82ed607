"""Following with a small request budget: steps end, limits hold, and another source takes over."""

import asyncio
import time
from collections import Counter

import pytest

from chain.api.client import StacksApi
from chain.api.rate_limit import MINUTE
from chain.api.transport import Limiter
from chain.errors import SourceLimited
from chain.model import Reorg
from chain.source_health import SourceState
from chain.source_pool import SourcePool
from chain.testing import ScriptedApi, ScriptedChain, principal, txs
from chain.testing.faults import Fault, Faults
from tests.integration.chain.follower_fixture import FollowerFixture, following

PAYER, MERCHANT = principal("payer"), principal("merchant")


def mine(chain: ScriptedChain, count: int, size: int) -> None:
    """Add blocks of ``size`` payments, all of which need their events."""
    for _ in range(count):
        label = str(chain.tip.height)
        chain.mine(
            [txs.sbtc_transfer(PAYER, MERCHANT, n, memo=b"I", label=label) for n in range(1, size + 1)]
        )


class Sent:
    """Records when each request of a fixture's sources may be sent."""

    def __init__(self, rig: FollowerFixture) -> None:
        self.rig = rig
        self.at: list[float] = []
        self.by: Counter[str] = Counter()
        for source in rig.sources:
            assert source.limiter is not None
            source.limiter = Noted(source.limiter, source.url, self)

    def most_within(self, period: float) -> int:
        return max(sum(start <= at < start + period for at in self.at) for start in self.at)


class Noted:
    """A rate limiter that records the requests it admits."""

    def __init__(self, limiter: Limiter, url: str, sent: Sent) -> None:
        self.limiter, self.url, self.sent = limiter, url, sent
        self.observe = limiter.observe

    async def acquire(self) -> None:
        await self.limiter.acquire()
        self.sent.at.append(self.sent.rig.clock.now)
        self.sent.by[self.url] += 1


class TwentyAMinute(Faults):
    """A server's own limit."""

    def __init__(self, rig: FollowerFixture) -> None:
        super().__init__()
        self.rig = rig
        self.served: Counter[int] = Counter()

    def take(self, route: str) -> Fault | None:
        minute = int(self.rig.clock.now // 60)
        self.served[minute] += 1
        return Fault(status=429, headers={"retry-after": "60"}) if self.served[minute] > 20 else None


async def reach_the_tip(rig: FollowerFixture, *, hours: float) -> None:
    """Poll until the consumer holds the canonical chain."""
    end = rig.clock.now + hours * 3600
    while not rig.is_current():
        assert rig.clock.now < end, f"still at {rig.follower.window.tip.height} of {rig.chain.tip.height}"
        try:
            await rig.poll_once()
        except SourceLimited as limited:
            rig.clock.now += limited.retry_after or 0


@pytest.mark.parametrize(
    ("per_minute", "per_month", "hours"), [(25, 150_000, 1), (5, None, 1), (1, None, 4), (None, 20_000, 8)]
)
async def test_catching_up_ends_however_small_the_budget(
    per_minute: int | None, per_month: int | None, hours: float
) -> None:
    chain = ScriptedChain()
    async with following(chain, requests_per_minute=per_minute, requests_per_month=per_month) as rig:
        # The budget is as good as used up when the work begins.
        for _ in range(per_minute or 30):
            limiter = rig.sources[0].limiter
            assert limiter is not None
            await limiter.acquire()
        sent = Sent(rig)
        mine(chain, 120, 12)
        await reach_the_tip(rig, hours=hours)
        if per_minute is not None:
            assert sent.most_within(MINUTE) <= per_minute
        # 1440 rows on 29 pages, twice for their events, 3 batches: no request was spent on an abandoned step.
        assert len(sent.at) <= 60


async def test_a_deep_fork_is_followed_with_a_small_budget() -> None:
    """All that replaces the orphaned blocks is one step, however many requests that takes."""
    chain = ScriptedChain()
    mine(chain, 200, 2)
    async with following(chain, requests_per_minute=10, requests_per_month=150_000) as rig:
        mine(chain, 150, 10)
        await reach_the_tip(rig, hours=2)
        branch = chain.fork(chain.tip.height - 150, keep="follow")
        for height in range(151):
            branch.mine(
                [txs.sbtc_transfer(PAYER, MERCHANT, n, memo=b"R", label=f"r{height}") for n in range(1, 9)]
            )
        branch.promote()
        await reach_the_tip(rig, hours=2)
        assert any(isinstance(step, Reorg) for step in rig.steps)


async def test_a_source_with_a_budget_of_its_own_is_caught_up_with() -> None:
    """It answers 20 requests a minute and refuses the others: the batch shrinks until it fits."""
    chain = ScriptedChain()
    async with following(chain) as rig:
        mine(chain, 150, 20)
        rig.apis[0].faults = TwentyAMinute(rig)
        await reach_the_tip(rig, hours=2)


async def test_a_source_without_budget_is_left_for_one_that_has_some() -> None:
    chain = ScriptedChain()
    async with following(chain, sources=2, requests_per_minute=10) as rig:
        sent = Sent(rig)
        first, second = (api.url for api in rig.apis)
        began = rig.clock.now
        for _ in range(20):
            mine(chain, 1, 1)
            await rig.poll_once(passed=2)
            assert rig.is_current()
        # 60 requests: one budget would take 390 seconds.
        assert rig.clock.now - began < 300
        assert min(sent.by[first], sent.by[second]) > 20


async def test_a_used_up_budget_shows_as_limited_and_does_not_count_as_a_failure() -> None:
    chain = ScriptedChain()
    async with following(chain, requests_per_minute=5) as rig:
        mine(chain, 3, 3)
        await rig.poll_once()
        await rig.poll_once(passed=0)
        (row,) = rig.pool.health()
        assert (row.state, row.errors) == (SourceState.LIMITED, 0)


async def test_a_turn_that_waits_for_its_budget_ends_at_once_when_it_is_cancelled() -> None:
    chain = ScriptedChain()
    mine(chain, 80, 10)
    async with ScriptedApi(chain, ping_interval=None) as api:
        waiting = asyncio.Event()

        async def sleep(seconds: float) -> None:
            waiting.set()
            await asyncio.sleep(seconds)

        rig = FollowerFixture(chain, [api])
        await rig.start(101)
        await rig.pool.aclose()
        rig.pool = SourcePool([StacksApi(api.url)], sleep=sleep, requests_per_minute=5)
        rig.follower = rig.make_follower(rig.follower.window)
        turn = asyncio.create_task(rig.poll_once(passed=0))
        await asyncio.wait_for(waiting.wait(), 10)
        began = time.monotonic()
        turn.cancel()
        with pytest.raises(asyncio.CancelledError):
            await turn
        assert time.monotonic() - began < 1
        assert not [task for task in asyncio.all_tasks() if "read_blocks" in repr(task)]
        rig.check()
        await rig.pool.aclose()
