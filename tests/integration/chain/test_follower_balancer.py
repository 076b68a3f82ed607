"""One address with several replicas behind it, whose chains may differ."""

import random
from collections.abc import Callable
from contextlib import AsyncExitStack

import pytest

from chain.errors import OperatorNeeded, ReorgTooDeep, SourceError, SourceInconsistent
from chain.model import Reorg
from chain.testing import ScriptedApi, ScriptedChain
from chain.testing.view import View
from tests.integration.chain.follower_fixture import FollowerFixture, following


class Balanced(ScriptedApi):
    """``choose`` gives the chain of the replica that answers a request, and how many blocks it is behind."""

    choose: Callable[[], tuple[ScriptedChain, int]] | None = None

    def _view(self) -> View:
        return super()._view() if self.choose is None else View(*self.choose())


async def try_poll(rig: FollowerFixture) -> None:
    try:
        await rig.poll_once()
    except (SourceError, OperatorNeeded):
        rig.check()


def reorgs(rig: FollowerFixture) -> int:
    return sum(isinstance(step, Reorg) for step in rig.steps)


@pytest.mark.parametrize("unseen", [0, 1])
@pytest.mark.parametrize("seed", range(12))
async def test_a_replica_on_the_branch_we_left_does_not_take_us_back(seed: int, unseen: int) -> None:
    chain = ScriptedChain()
    chain.mine(n=30)
    async with Balanced(chain, ping_interval=None) as api, AsyncExitStack() as stack:
        rig = FollowerFixture(chain, [api])
        stack.push_async_callback(rig.pool.aclose)
        await rig.start()
        chain.mine(n=3)
        await rig.poll_once()
        stale = chain.clone()
        # The replica may have a block of the old branch that we never saw.
        if unseen:
            stale.mine()
        chain.reorg(2)
        await rig.settle()
        chosen = random.Random(seed)
        api.choose = lambda: (stale if chosen.random() < 0.5 else chain, 0)
        for turn in range(20):
            if turn % 2:
                chain.mine()
            await try_poll(rig)
        assert reorgs(rig) == 1


async def test_a_chain_that_really_goes_back_is_followed_after_some_more_polls() -> None:
    chain = ScriptedChain()
    async with following(chain) as rig:
        chain.mine(n=5)
        await rig.poll_once()
        ours = chain.tip
        chain.reorg(2)
        await rig.poll_once()
        await rig.poll_once()
        assert reorgs(rig) == 1
        back = chain.fork(ours.hash, keep="follow")
        back.mine(n=2)
        back.promote()
        for _ in range(5):
            assert await rig.poll_once() == []
        assert len(await rig.poll_once()) == 1
        assert reorgs(rig) == 2
        assert rig.is_current()


async def test_a_chain_that_goes_back_to_a_lower_tip_is_followed_once_it_is_as_high_as_ours() -> None:
    chain = ScriptedChain()
    async with following(chain) as rig:
        chain.mine(n=5)
        await rig.poll_once()
        ours = chain.tip
        chain.reorg(2, [[]] * 6)
        await rig.poll_once()
        await rig.poll_once()
        chain.fork(ours.hash, keep="follow").promote()
        for _ in range(20):
            assert await rig.poll_once() == []
            assert not rig.follower.agrees
        chain.mine(n=4)
        for _ in range(6):
            await rig.poll_once()
        assert reorgs(rig) == 2
        assert rig.is_current()


async def test_what_was_left_long_ago_is_forgotten() -> None:
    chain = ScriptedChain()
    chain.mine(n=30, burn=True)
    async with following(chain) as rig:
        for _ in range(12):
            chain.mine(n=2, burn=True)
            await rig.poll_once()
            chain.reorg(1, [[]] * 2, burn=True)
            await rig.poll_once()
            await rig.poll_once()
            assert rig.is_current()
        assert len(rig.follower._fork_choice._orphaned) <= len(rig.follower.window)


async def test_a_tip_below_the_fork_is_inconsistent_not_a_crash() -> None:
    """The list is from a replica with another block at our height, the rest from one closer to us."""
    chain = ScriptedChain()
    chain.mine(n=20)
    async with following(chain) as rig:
        api, shared = rig.apis[0], chain.tip.height
        chain.mine()
        await rig.poll_once()
        one, two = chain.clone(), chain.clone()
        for replica, ancestor in (one, shared), (two, shared - 1):
            branch = replica.fork(ancestor, keep="follow")
            branch.mine(seconds=7)
            branch.promote()
        api.chain = one
        assert await rig.poll_once() == []
        api.chain = two

        def switch(_: object) -> None:
            api.chain = one

        api.before("block", switch)
        with pytest.raises(SourceInconsistent):
            await rig.poll_once()
        rig.check()
        api.chain = one
        api.faults.clear()
        chain.fork(shared, keep="follow")
        assert await rig.poll_once(passed=600) is not None


async def test_a_fork_that_drops_a_block_at_the_depth_of_finality_halts() -> None:
    """Final means a number of Bitcoin blocks deep, whatever the depth of the block before it."""
    chain = ScriptedChain()
    chain.mine(n=5)
    async with following(chain) as rig:
        shared = chain.mine(burn=True)
        final = chain.mine()
        for _ in range(6):
            chain.mine(burn=True)
        await rig.poll_once()
        tip = rig.follower.window.tip
        assert tip.burn_height - final.burn_height == tip.burn_height - shared.burn_height == 6
        branch = chain.fork(shared.height, keep="follow")
        branch.mine(n=10)
        branch.promote()
        assert await rig.poll_once() == []
        with pytest.raises(ReorgTooDeep) as halted:
            await rig.poll_once()
        assert halted.value.fork_height == shared.height


async def test_a_fork_right_above_what_is_final_is_followed() -> None:
    chain = ScriptedChain()
    chain.mine(n=5)
    async with following(chain) as rig:
        final = chain.mine(burn=True)
        for _ in range(6):
            chain.mine(burn=True)
        await rig.poll_once()
        branch = chain.fork(final.height, keep="follow")
        branch.mine(n=10, burn=True)
        branch.promote()
        await rig.poll_once()
        (step,) = await rig.poll_once()
        assert isinstance(step, Reorg)
        assert step.ancestor == final
        assert rig.is_current()
