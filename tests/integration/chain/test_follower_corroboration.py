"""Sources that count for a fork: all that answered lately, even if they fail now."""

import random

import pytest

from chain.errors import OperatorNeeded, SourceError, SourcesDisagree
from chain.follower import COMPARE_POLLS
from chain.fork_choice import MAX_UNANSWERED_READS, RECENT_SECONDS
from chain.model import Reorg, Step
from chain.testing import ScriptedApi, ScriptedChain, principal, txs
from chain.testing.faults import Fault, Faults
from tests.integration.chain.follower_fixture import POLL, FollowerFixture, following

PAYMENT = txs.sbtc_transfer(principal("payer"), principal("merchant"), 50_000, memo=b"INV-1")


class Flaky(Faults):
    """Fails by chance, request by request."""

    def __init__(self, seed: int, share: float) -> None:
        super().__init__()
        self._random = random.Random(seed)
        self._share = share

    def take(self, route: str) -> Fault | None:
        return Fault(status=500) if self._random.random() < self._share else super().take(route)


async def try_poll(rig: FollowerFixture, *, passed: float | None = None) -> list[Step] | Exception:
    """Poll once; return its steps, or the error it raised."""
    try:
        return await rig.poll_once(passed=passed)
    except (SourceError, OperatorNeeded) as error:
        return error


def reorgs(rig: FollowerFixture) -> list[Step]:
    return [step for step in rig.steps if isinstance(step, Reorg)]


def lie(chain: ScriptedChain, api: ScriptedApi, *, depth: int = 2, ahead: int = 4) -> ScriptedChain:
    """Let ``api`` show a longer branch with a payment that exists nowhere else."""
    lying = chain.clone()
    branch = lying.fork(chain.tip.height - depth, keep="follow")
    branch.mine([PAYMENT])
    branch.mine(n=depth + ahead - 1)
    branch.promote()
    api.chain = lying
    return lying


@pytest.mark.parametrize("seed", range(8))
async def test_a_first_source_that_answers_six_of_ten_requests_is_not_overruled_by_a_liar(seed: int) -> None:
    chain = ScriptedChain()
    chain.mine(n=30)
    async with following(chain, sources=2) as rig:
        await rig.poll_once()
        rig.apis[0].faults = Flaky(seed, 0.4)
        lying = lie(chain, rig.apis[1])
        said = []
        for _ in range(60):
            lying.mine()
            said.append(await try_poll(rig))
        assert reorgs(rig) == []
        assert rig.blocks == []
        assert any(isinstance(one, SourcesDisagree) for one in said), "it lasts, and is reported"


@pytest.mark.parametrize("seed", range(8))
async def test_a_fork_that_is_true_is_followed_although_a_source_fails_often(seed: int) -> None:
    chain = ScriptedChain()
    chain.mine(n=30)
    async with following(chain, sources=2) as rig:
        await rig.poll_once()
        rig.apis[0].faults = Flaky(seed, 0.4)
        chain.reorg(2)
        for _ in range(30):
            assert not isinstance(await try_poll(rig), OperatorNeeded)
            if reorgs(rig):
                break
        assert rig.is_current()


@pytest.mark.parametrize("trouble", ["fails", "limited"])
async def test_a_source_that_answered_lately_is_waited_for_and_one_that_did_not_is_not(trouble: str) -> None:
    chain = ScriptedChain()
    chain.mine(n=30)
    async with following(chain, sources=2) as rig:
        while len(rig.apis[1].requests) == 0:
            await rig.poll_once()
        heard = rig.clock.now
        if trouble == "fails":
            rig.apis[1].faults.fail(500, times=None)
        else:
            rig.apis[1].faults.rate_limit(600, times=None)
        chain.reorg(2)
        while rig.clock.now + POLL <= heard + RECENT_SECONDS:
            assert await try_poll(rig) == []
        assert reorgs(rig) == []
        await try_poll(rig)
        assert len(reorgs(rig)) == 1
        assert rig.is_current()


async def test_in_the_first_minute_a_source_that_does_not_answer_may_have_said_something_before() -> None:
    """A restart must not leave a dishonest source unopposed."""
    chain = ScriptedChain()
    chain.mine(n=30)
    async with following(chain, sources=2) as rig:
        lie(chain, rig.apis[1])
        rig.apis[0].faults.fail(500, times=None)
        for _ in range(11):
            assert await try_poll(rig) == []
        rig.apis[0].faults.clear()
        for _ in range(4):
            await try_poll(rig)
        assert isinstance(await try_poll(rig), SourcesDisagree)
        assert reorgs(rig) == []


async def test_a_source_that_never_says_what_it_has_there_becomes_a_case_for_a_person() -> None:
    chain = ScriptedChain()
    chain.mine(n=30)
    async with following(chain, sources=2) as rig:
        await rig.poll_once()
        rig.apis[1].faults.fail(500, route="block", times=None)
        chain.reorg(2)
        said: list[object] = []
        while len(said) < MAX_UNANSWERED_READS + 2:
            # It answers other requests all the time.
            rig.pool.answered(rig.sources[1])
            said.append(await try_poll(rig))
        assert said[:MAX_UNANSWERED_READS] == [[]] * MAX_UNANSWERED_READS
        assert isinstance(said[-1], SourcesDisagree)
        assert f"{rig.sources[1].url} answered lately, but does not say what it has there" in str(said[-1])
        rig.apis[1].faults.clear()
        await try_poll(rig)
        assert len(reorgs(rig)) == 1


async def test_a_source_that_is_a_block_behind_still_says_where_the_fork_begins() -> None:
    """It has no block as high as ours, but one that is missing in the dishonest source's branch."""
    chain = ScriptedChain()
    chain.mine(n=30)
    async with following(chain, sources=2) as rig:
        chain.mine(n=2)
        await rig.poll_once()
        rig.apis[0].lag(1)
        lie(chain, rig.apis[1])
        said = [await try_poll(rig) for _ in range(20)]
        assert reorgs(rig) == []
        assert isinstance(said[-1], SourcesDisagree)
        assert f"{rig.sources[0].url} has {chain.header(chain.tip.height - 1).hash}" in str(said[-1])


async def test_a_source_that_seems_to_lag_on_a_slow_chain_is_not_overruled() -> None:
    """For a while only the dishonest source has new blocks."""
    chain = ScriptedChain()
    chain.mine(n=30)
    async with following(chain, sources=2) as rig:
        lying = lie(chain, rig.apis[1], depth=1, ahead=1)
        said: list[object] = []
        for turn in range(6 * COMPARE_POLLS):
            if turn % 10 == 9:
                lying.mine()
            said.append(await try_poll(rig))
        assert reorgs(rig) == []
        assert all(isinstance(one, SourcesDisagree) for one in said[4 * COMPARE_POLLS :])


async def test_one_of_three_sources_that_contradicts_a_fork_holds_it_up() -> None:
    chain = ScriptedChain()
    chain.mine(n=30)
    async with following(chain, sources=3) as rig:
        lying = lie(chain, rig.apis[0])
        rig.apis[1].chain = lying
        said = [await try_poll(rig) for _ in range(6)]
        assert reorgs(rig) == []
        assert isinstance(said[-1], SourcesDisagree)
        rig.apis[0].chain = rig.apis[1].chain = chain
        chain.mine()
        await rig.settle()
        assert reorgs(rig) == []
