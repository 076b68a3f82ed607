"""Forks: when they are confirmed, by which sources, how deep; and what never causes a rollback."""

import pytest

from chain.errors import ReorgTooDeep, SourceInconsistent, SourcesDisagree
from chain.model import Extend, FetchRules, Reorg
from chain.source_health import SourceState
from chain.testing import ScriptedChain, principal, txs
from chain.testing.scripted import Keep
from chain.testing.txs import SBTC_CONTRACT
from tests.integration.chain.follower_fixture import FINALITY, POLL, FollowerFixture, following, true_block

PAYER, MERCHANT = principal("payer"), principal("merchant")
WATCHING = FetchRules(watched_contracts=frozenset({SBTC_CONTRACT}))
PAYMENT = txs.sbtc_transfer(PAYER, MERCHANT, 50_000, memo=b"INV-1")


def states(rig: FollowerFixture) -> list[SourceState]:
    return [row.state for row in rig.pool.health()]


@pytest.mark.parametrize("keep", ["stale", "follow"])
@pytest.mark.parametrize("depth", [1, 10, 300])
async def test_a_fork_is_one_step_with_the_whole_new_branch(depth: int, keep: Keep) -> None:
    chain = ScriptedChain()
    chain.mine(n=3)
    async with following(chain, rules=WATCHING) as rig:
        chain.mine([PAYMENT])
        chain.mine(n=depth)
        await rig.poll_once()
        old = chain.tip
        branch = chain.fork(old.height - depth - 1, keep=keep)
        branch.mine([PAYMENT.failed()], burn=True)
        # ``stale``: the new branch shows once it is longer; ``follow``: at once, here with a tip below ours.
        branch.mine(n=depth + 1 if keep == "stale" else max(1, depth // 2))
        branch.promote()
        assert chain.tip.hash == branch.tip.hash
        assert await rig.poll_once() == []
        assert await rig.poll_once(passed=POLL / 2) == []
        rig.forget_requests()
        (step,) = await rig.poll_once()
        assert isinstance(step, Reorg)
        assert step.ancestor == chain.header(old.height - depth - 1)
        assert step.tip == chain.tip == step.blocks[-1].header
        assert rig.is_current()
        assert rig.apis[0].counts["block"] <= 22
        assert await rig.poll_once() == []


async def test_a_reorged_transaction_comes_with_its_outcome_on_the_new_branch() -> None:
    chain = ScriptedChain()
    async with following(chain, rules=WATCHING) as rig:
        chain.mine([PAYMENT])
        await rig.poll_once()
        assert rig.blocks[0].transactions[-1].status == "success"
        chain.reorg(1, [[], [PAYMENT.failed()]])
        await rig.settle()
        assert [tx.status for block in rig.blocks for tx in block.transactions] == ["abort_by_response"]


async def test_a_branch_far_beyond_our_tip_goes_on_in_ordinary_steps() -> None:
    chain = ScriptedChain()
    chain.mine(n=5)
    async with following(chain, batch=10) as rig:
        chain.mine(n=3)
        await rig.poll_once()
        chain.reorg(3, [[]] * 75)
        await rig.poll_once()
        steps = await rig.poll_once()
        assert [type(step) for step in steps] == [Reorg] + [Extend] * (len(steps) - 1)
        assert len(steps[0].blocks) < 30
        assert rig.is_current()


async def test_a_reorg_while_following_it_is_not_mixed() -> None:
    chain = ScriptedChain()
    chain.mine(n=40)
    async with following(chain, rules=WATCHING) as rig:
        chain.mine([PAYMENT])
        await rig.poll_once()
        chain.reorg(20, [[]] * 40)
        await rig.poll_once()
        # While the fork point is searched, the chain changes again.
        rig.apis[0].before("block", lambda _: chain.reorg(45, [[PAYMENT], [], []]) and None, nth=3)
        with pytest.raises(SourceInconsistent):
            await rig.poll_once()
        assert rig.blocks != []
        await rig.settle()


async def test_a_source_that_returns_to_our_chain_during_the_search_is_polled_again() -> None:
    chain = ScriptedChain()
    chain.mine(n=40)
    async with following(chain) as rig:
        ours = chain.tip
        chain.reorg(20, [[]] * 40)
        await rig.poll_once()

        def go_back(_: object) -> None:
            back = chain.fork(ours.hash, keep="follow")
            back.mine(n=25)
            back.promote()

        # The shared block is found; then the header after it is our own again.
        rig.apis[0].before("blocks", go_back, nth=2)
        with pytest.raises(SourceInconsistent, match="changed its chain"):
            await rig.poll_once()
        (step,) = await rig.poll_once(passed=600)
        assert isinstance(step, Extend)
        assert rig.is_current()


@pytest.mark.parametrize(
    ("route", "nth"),
    [
        ("blocks", 1),
        ("blocks", 2),
        ("transactions", 2),
        ("transactions", 3),
        ("tx_multiple", 1),
        ("tx_multiple", 2),
    ],
)
async def test_a_reorg_between_two_requests_of_a_read_never_mixes_branches(route: str, nth: int) -> None:
    chain = ScriptedChain()
    async with following(chain, rules=WATCHING) as rig:
        for height in range(40):
            crowd = [txs.sbtc_transfer(PAYER, MERCHANT, height * 10 + i + 1, memo=b"I") for i in range(5)]
            chain.mine(crowd, burn=height == 0)
        moved = [txs.with_amount(tx, 999) for tx in chain.block(chain.tip.height).txs]

        def fork(_: object) -> None:
            chain.reorg(25, [[], moved, *[[]] * 30])

        rig.apis[0].before(route, fork, nth=nth)
        try:
            await rig.poll_once()
        except SourceInconsistent:
            rig.check()
        # Every yielded block is complete: equal to the script's block of that hash, orphaned or not.
        assert rig.blocks == [true_block(chain.block(block.header.hash), WATCHING) for block in rig.blocks]
        await rig.settle()


async def test_a_lower_tip_is_lag_and_undoes_nothing() -> None:
    chain = ScriptedChain()
    chain.mine(n=20)
    async with following(chain) as rig:
        chain.mine(n=5)
        await rig.poll_once()
        rig.apis[0].lag(4)
        for _ in range(5):
            assert await rig.poll_once() == []
        assert states(rig) == [SourceState.LAGGING]
        assert rig.follower.tip == chain.tip
        chain.mine()
        rig.apis[0].lag(0)
        await rig.poll_once()
        assert rig.is_current()


async def test_a_source_that_lost_everything_below_the_window_only_lags() -> None:
    chain = ScriptedChain()
    chain.mine(n=30, burn_blocks=2)
    async with following(chain) as rig:
        rig.apis[0].lag(25)
        for _ in range(3):
            assert await rig.poll_once() == []
        assert rig.follower.window.tip == chain.tip


async def test_a_replica_that_does_not_know_our_hash_yet_only_lags() -> None:
    chain = ScriptedChain()
    async with following(chain) as rig:
        chain.mine(n=5)
        await rig.poll_once()
        chain.mine()
        api = rig.apis[0]
        # A balancer: the list comes from a current replica, the headers from one that is behind.
        api.before("blocks", lambda _: api.lag(4))
        assert await rig.poll_once() == []
        assert api.requests[-1].path.endswith(f"/{rig.follower.window.tip.height}")
        assert api.requests[-1].status == 404
        api.before("transactions", lambda _: api.lag(0))
        assert len(await rig.poll_once()) == 1


async def test_a_replica_that_knows_our_block_only_by_height_lags() -> None:
    chain = ScriptedChain()
    async with following(chain) as rig:
        chain.mine(n=5)
        await rig.poll_once()
        chain.mine()
        api = rig.apis[0]
        api.before("blocks", lambda _: api.lag(4))
        api.before("block", lambda _: api.lag(0))
        assert await rig.poll_once() == []
        assert len(await rig.poll_once()) == 1


async def test_a_tip_that_goes_back_to_one_of_our_blocks_is_lag() -> None:
    chain = ScriptedChain()
    async with following(chain) as rig:
        chain.mine(n=5)
        await rig.poll_once()
        chain.reorg(2, [])
        for _ in range(4):
            assert await rig.poll_once() == []
        chain.mine(n=1, burn=True)
        await rig.poll_once()
        (step,) = await rig.poll_once()
        assert isinstance(step, Reorg)
        assert rig.is_current()


async def test_a_lagging_source_is_left_for_a_healthy_one_in_the_same_turn() -> None:
    chain = ScriptedChain()
    async with following(chain, sources=2) as rig:
        chain.mine(n=5)
        await rig.poll_once()
        chain.mine()
        rig.apis[0].lag(3)
        assert len(await rig.poll_once()) == 1
        assert rig.is_current()
        assert states(rig) == [SourceState.LAGGING, SourceState.OK]


async def test_a_fork_that_is_gone_at_the_second_poll_was_none() -> None:
    chain = ScriptedChain()
    async with following(chain) as rig:
        chain.mine(n=5)
        await rig.poll_once()
        ours = chain.tip
        chain.reorg(2)
        assert await rig.poll_once() == []
        chain.fork(ours.hash, keep="follow").promote()
        assert await rig.poll_once() == []
        # The first sight is forgotten: the next fork waits again.
        chain.reorg(2)
        assert await rig.poll_once() == []
        assert len(await rig.poll_once()) == 1
        assert rig.is_current()


async def test_another_fork_at_the_second_poll_waits_again() -> None:
    chain = ScriptedChain()
    async with following(chain) as rig:
        chain.mine(n=5)
        await rig.poll_once()
        chain.reorg(2)
        assert await rig.poll_once() == []
        chain.reorg(4, [[]] * 5)
        assert await rig.poll_once() == []
        assert len(await rig.poll_once()) == 1
        assert rig.is_current()


async def test_a_growing_fork_below_our_tip_is_recognized_at_its_first_height() -> None:
    chain = ScriptedChain()
    async with following(chain) as rig:
        chain.mine(n=10)
        await rig.poll_once()
        chain.reorg(8, [[]])
        assert await rig.poll_once() == []
        chain.mine()
        (step,) = await rig.poll_once()
        assert isinstance(step, Reorg)
        assert len(step.blocks) == 2
        assert rig.is_current()


async def test_a_second_healthy_source_must_have_the_fork_too() -> None:
    chain = ScriptedChain()
    async with following(chain, sources=2) as rig:
        chain.mine(n=5)
        await rig.poll_once()
        rig.apis[1].freeze()
        chain.reorg(2)
        assert await rig.poll_once() == []
        # It contradicts once, then it has caught up.
        assert await rig.poll_once() == []
        rig.apis[1].thaw()
        assert len(await rig.poll_once()) == 1
        assert rig.is_current()


async def test_a_lagging_or_failing_second_source_has_no_opinion() -> None:
    for trouble in ("lag", "fail"):
        chain = ScriptedChain()
        async with following(chain, sources=2) as rig:
            chain.mine(n=5)
            await rig.poll_once()
            chain.reorg(2)
            if trouble == "lag":
                rig.apis[1].lag(4)
            else:
                rig.apis[1].faults.fail(500, times=None)
            await rig.poll_once()
            # One that does not answer is waited for while its last answer is fresh.
            assert len(await rig.poll_once(passed=POLL if trouble == "lag" else 61)) == 1
            assert rig.is_current()


async def test_two_healthy_sources_that_keep_contradicting_each_other_halt_until_they_agree() -> None:
    chain = ScriptedChain()
    async with following(chain, sources=2) as rig:
        chain.mine(n=5)
        await rig.poll_once()
        rig.apis[1].freeze()
        ours = chain.tip
        chain.reorg(2)
        for _ in range(3):
            assert await rig.poll_once() == []
        for _ in range(3):
            with pytest.raises(SourcesDisagree, match=ours.hash) as halted:
                await rig.poll_once()
            assert rig.sources[1].url in str(halted.value)
        assert rig.follower.window.tip == ours
        rig.apis[1].thaw()
        assert len(await rig.poll_once()) == 1
        assert rig.is_current()


async def test_early_wake_ups_do_not_count_as_patience() -> None:
    chain = ScriptedChain()
    async with following(chain, sources=2) as rig:
        chain.mine(n=5)
        await rig.poll_once()
        rig.apis[1].freeze()
        chain.reorg(2)
        await rig.poll_once()
        await rig.poll_once()
        for _ in range(10):
            assert await rig.poll_once(passed=0.01) == []


@pytest.mark.parametrize("depth", [FINALITY, FINALITY + 1, FINALITY + 4, FINALITY + 5, FINALITY + 20])
async def test_a_fork_deeper_than_finality_halts_and_heals(depth: int) -> None:
    chain = ScriptedChain()
    chain.mine(n=30, burn=True)
    async with following(chain) as rig:
        chain.mine([PAYMENT])
        await rig.poll_once()
        ours, ancestor = chain.tip, chain.tip.height - 1 - depth
        chain.reorg(depth + 1, [[]] * (depth + 2))
        await rig.poll_once()
        if depth <= FINALITY:
            (step,) = await rig.poll_once()
            assert isinstance(step, Reorg)
            assert step.ancestor.height == ancestor
            return
        with pytest.raises(ReorgTooDeep) as halted:
            await rig.poll_once()
        # Inside the window the fork is named, below it only bounded.
        assert halted.value.fork_height == max(ancestor, ours.height - 1 - 10 - 1)
        assert halted.value.burn_depth == min(depth, 10)
        rig.forget_requests()
        with pytest.raises(ReorgTooDeep):
            await rig.poll_once()
        assert len(rig.apis[0].requests) <= 3
        assert rig.follower.window.tip == ours
        # The source comes back to what we know, and goes on from there.
        back = chain.fork(ours.hash, keep="follow")
        back.mine([txs.stx_transfer(PAYER, MERCHANT, 5)])
        back.promote()
        await rig.poll_once()
        assert rig.is_current()


async def test_a_liar_that_shows_other_events_than_the_listed_block_has_is_not_believed() -> None:
    chain = ScriptedChain()
    async with following(chain, sources=2, rules=WATCHING) as rig:
        chain.mine([PAYMENT])
        other = chain.header(chain.tip.height - 1).block_hash

        def lie(route: str, body: dict) -> dict:
            if route == "tx_multiple":
                for entry in body.values():
                    entry["result"]["block_hash"] = other
            return body

        rig.apis[0].faults.tamper = lie
        # The other source is used instead, within the same poll.
        await rig.poll_once()
        assert rig.is_current()
        assert states(rig)[0] is SourceState.FAILING


async def test_headers_that_do_not_link_to_our_tip_are_not_applied() -> None:
    chain = ScriptedChain()
    async with following(chain) as rig:
        chain.mine(n=3)

        def lie(route: str, body: dict) -> dict:
            if route == "blocks":
                body["results"][-1]["parent_index_block_hash"] = "0x" + "ab" * 32
            return body

        rig.apis[0].faults.tamper = lie
        with pytest.raises(SourceInconsistent, match="do not link"):
            await rig.poll_once()
        rig.check()


async def test_a_long_run_through_reorgs_keeps_the_window_bounded() -> None:
    chain = ScriptedChain()
    chain.mine(n=20, burn=True)
    async with following(chain) as rig:
        for _ in range(8):
            chain.mine(n=5, burn=True)
            await rig.poll_once()
            chain.reorg(2, [[]] * 3, burn=True)
            await rig.poll_once()
            await rig.poll_once()
            assert rig.is_current()
            window = rig.follower.window
            assert window.burn_depth(window.oldest) <= FINALITY + 4
