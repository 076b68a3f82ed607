"""Two sources with different chains: neither is trusted alone, and the operator is alerted."""

import pytest

from chain.errors import OperatorNeeded, SourceError, SourcesDisagree
from chain.follower import COMPARE_POLLS
from chain.model import Reorg, Step
from chain.source_health import SourceState
from chain.source_pool import BackoffPolicy
from chain.testing import ScriptedChain
from tests.integration.chain.follower_fixture import POLL, FollowerFixture, following


async def try_poll(rig: FollowerFixture) -> list[Step] | Exception:
    """Poll once; return its steps, or the error it raised."""
    try:
        return await rig.poll_once()
    except (SourceError, OperatorNeeded) as error:
        return error


def reorgs(rig: FollowerFixture) -> list[Step]:
    return [step for step in rig.steps if isinstance(step, Reorg)]


def states(rig: FollowerFixture) -> list[SourceState]:
    return [row.state for row in rig.pool.health()]


@pytest.mark.parametrize("trouble", ["fails", "limited"])
@pytest.mark.parametrize("denials", [1, 2, 4])
async def test_a_source_that_contradicted_a_fork_and_then_falls_silent_has_not_agreed(
    trouble: str, denials: int
) -> None:
    chain = ScriptedChain()
    chain.mine(n=30)
    async with following(chain, sources=2) as rig:
        lie = chain.clone()
        branch = lie.fork(chain.tip.height - 2, keep="follow")
        branch.mine(n=4)
        branch.promote()
        rig.apis[0].chain = lie
        for _ in range(1 + denials):
            await try_poll(rig)
        if trouble == "fails":
            rig.apis[1].faults.fail(500, times=None)
        else:
            rig.apis[1].faults.rate_limit(600, times=None)
        said = [await try_poll(rig) for _ in range(8)]
        assert reorgs(rig) == []
        # It still needs an operator, and keeps doing so.
        assert all(isinstance(one, SourcesDisagree) for one in said[3:])
        assert rig.sources[1].url in str(said[-1])


async def test_a_source_that_contradicted_a_fork_may_change_its_mind_after_a_silence() -> None:
    chain = ScriptedChain()
    chain.mine(n=5)
    async with following(chain, sources=2) as rig:
        rig.apis[1].freeze()
        chain.reorg(2)
        for _ in range(3):
            await try_poll(rig)
        rig.apis[1].faults.fail(500, times=2)
        assert isinstance((await try_poll(rig), await try_poll(rig))[-1], SourcesDisagree)
        rig.apis[1].thaw()
        for _ in range(12):
            await try_poll(rig)
        assert rig.is_current()


@pytest.mark.parametrize("sooner", [0, 1, 3])
async def test_two_sources_that_go_on_with_different_blocks_are_noticed(sooner: int) -> None:
    """The first one's blocks follow ours, and no other source has them."""
    chain = ScriptedChain()
    chain.mine(n=30)
    async with following(chain, sources=2) as rig:
        lie = chain.clone()
        lie.mine(seconds=11)
        rig.apis[0].chain = lie
        chain.mine(n=1 + sooner)
        taken = 0
        for _ in range(4 * COMPARE_POLLS):
            lie.mine(seconds=11)
            chain.mine()
            said = await try_poll(rig)
            taken = len(rig.steps)
            if isinstance(said, SourcesDisagree):
                break
        else:
            pytest.fail("nothing was noticed")
        assert rig.sources[1].url in str(said)
        # It stays a halt, and nothing moves, while they differ or one of them is silent.
        for answer in ("other", "none", "other"):
            if answer == "none":
                rig.apis[1].faults.fail(500, times=None)
            else:
                rig.apis[1].faults.clear()
            for _ in range(3):
                lie.mine(seconds=11)
                chain.mine()
                assert isinstance(await try_poll(rig), SourcesDisagree)
        assert len(rig.steps) == taken
        # The first one comes round.
        rig.apis[0].chain = chain
        await rig.settle()
        assert len(reorgs(rig)) == 1


async def test_a_disagreement_is_over_when_the_other_source_comes_round() -> None:
    chain = ScriptedChain()
    chain.mine(n=30)
    async with following(chain, sources=2) as rig:
        lie = chain.clone()
        rig.apis[1].chain = lie
        for _ in range(4 * COMPARE_POLLS):
            lie.mine(seconds=11)
            chain.mine()
            if isinstance(await try_poll(rig), SourcesDisagree):
                break
        rig.apis[1].chain = chain
        chain.mine()
        assert len(await rig.poll_once()) == 1
        assert rig.is_current()
        assert reorgs(rig) == []


async def test_a_second_source_that_stays_behind_on_an_old_branch_lags_and_stops_nobody() -> None:
    chain = ScriptedChain()
    chain.mine(n=5)
    async with following(chain, sources=2) as rig:
        chain.mine()
        await rig.poll_once()
        stopped = chain.clone()
        chain.reorg(1)
        await rig.poll_once()
        await rig.poll_once()
        assert len(reorgs(rig)) == 1
        rig.apis[1].chain = stopped
        for _ in range(6 * COMPARE_POLLS):
            chain.mine()
            assert isinstance(await try_poll(rig), list)
        assert rig.is_current()
        assert len(reorgs(rig)) == 1
        assert states(rig)[1] is SourceState.LAGGING


async def test_sources_that_agree_cost_one_more_request_now_and_then() -> None:
    chain = ScriptedChain()
    chain.mine(n=30)
    async with following(chain, sources=2) as rig:
        for _ in range(5 * COMPARE_POLLS):
            chain.mine()
            await rig.poll_once()
        assert len(rig.apis[1].requests) <= 5
        assert states(rig) == [SourceState.OK, SourceState.OK]


@pytest.mark.parametrize("honest", [True, False])
async def test_a_second_source_far_ahead_is_asked_for_our_own_height(honest: bool) -> None:
    """Between rare polls both chains grow by more blocks than one request lists."""
    chain = ScriptedChain()
    chain.mine(n=5)
    async with following(chain, sources=2, poll=600.0, backoff=BackoffPolicy.for_polls(600.0)) as rig:
        mine, other = rig.apis[0], rig.apis[1]
        other.chain = chain.clone()
        said: list[object] = []
        for _ in range(5 * COMPARE_POLLS):
            chain.mine(n=60)
            if honest:
                other.chain = chain
            else:
                other.chain.mine(n=60, seconds=11)
            said.append(await try_poll(rig))
        assert mine.chain is chain
        assert any(isinstance(one, SourcesDisagree) for one in said) is not honest
        assert reorgs(rig) == []


async def test_a_disputed_source_does_not_win_because_the_other_one_falls_silent() -> None:
    chain = ScriptedChain()
    chain.mine(n=30)
    async with following(chain, sources=2) as rig:
        rig.apis[1].chain = lie = chain.clone()
        said: object = None
        while not isinstance(said, SourcesDisagree):
            chain.mine()
            lie.mine(n=2, seconds=11)
            said = await try_poll(rig)
        for trouble in ("stops", "lags", "fails"):
            if trouble == "lags":
                rig.apis[0].lag(5)
            elif trouble == "fails":
                rig.apis[0].faults.fail(500, times=None)
            for _ in range(3 * COMPARE_POLLS):
                lie.mine(n=2, seconds=11)
                await try_poll(rig)
        assert reorgs(rig) == []
        rig.apis[0].lag(0)
        rig.apis[0].faults.clear()
        rig.apis[1].chain = chain
        for _ in range(20):
            rig.clock.now += 60
            await try_poll(rig)
        assert rig.is_current()
        assert reorgs(rig) == []


@pytest.mark.parametrize("poll", [POLL, 20.0, 60.0, 300.0])
async def test_a_first_source_stuck_on_an_old_branch_is_a_case_for_a_person_until_it_goes_on(
    poll: float,
) -> None:
    """It shows another block, exactly as an honest source on a slow chain beside a dishonest one would."""
    chain = ScriptedChain()
    chain.mine(n=30)
    async with following(chain, sources=2, poll=poll, backoff=BackoffPolicy.for_polls(poll)) as rig:
        chain.mine()
        await rig.poll_once()
        rig.apis[0].freeze()
        chain.reorg(1)
        said: list[object] = []
        for _ in range(6 * COMPARE_POLLS):
            chain.mine()
            said.append(await try_poll(rig))
        assert isinstance(said[-1], SourcesDisagree)
        assert rig.sources[0].url in str(said[-1])
        assert reorgs(rig) == []
        rig.apis[0].thaw()
        for _ in range(10 * COMPARE_POLLS):
            chain.mine()
            said.append(await try_poll(rig))
        assert isinstance(said[-1], list)
        assert rig.is_current()
        assert len(reorgs(rig)) == 1
