"""Following one honest chain: order, contents, request counts, bootstrap, errors, closing early."""

import asyncio
import math
from contextlib import aclosing

import pytest

from chain.errors import (
    SourceError,
    SourceInconsistent,
    SourceLimited,
    SourceMalformed,
    SourceUnavailable,
)
from chain.header_window import HeaderWindow
from chain.model import Extend, FetchRules, Step
from chain.source_health import SourceState
from chain.testing import Request, ScriptedChain, principal, txs
from chain.testing.tx import Tx
from chain.testing.txs import SBTC_CONTRACT
from tests.integration.chain.follower_fixture import FINALITY, POLL, FollowerFixture, following

PAYER, MERCHANT = principal("payer"), principal("merchant")
WATCHING = FetchRules(watched_contracts=frozenset({SBTC_CONTRACT}))


def payments(height: int) -> list[Tx]:
    """One transaction of each kind, different at each height."""
    label = str(height)
    return [
        txs.sbtc_transfer(PAYER, MERCHANT, height, memo=f"INV-{height}".encode()),
        txs.stx_transfer(PAYER, MERCHANT, height, memo=b"INV"),
        txs.sbtc_transfer(PAYER, MERCHANT, height, memo=b"no", status="abort_by_post_condition", label=label),
        txs.stx_transfer(PAYER, MERCHANT, height, label=label, status="abort_by_response"),
        txs.peg_in(MERCHANT, height),
        txs.fake_token(PAYER, MERCHANT, height, memo=b"INV"),
    ]


def mine(chain: ScriptedChain, count: int, *, paying: bool = True) -> None:
    for _ in range(count):
        height = chain.tip.height + 1
        chain.mine(payments(height) if paying else (), burn=height % 10 == 0)


@pytest.mark.parametrize("count", [1, 49, 50, 51, 130])
async def test_new_blocks_come_in_order_and_equal_the_truth(count: int) -> None:
    chain = ScriptedChain()
    async with following(chain, rules=WATCHING) as rig:
        mine(chain, count)
        steps = await rig.poll_once()
        assert rig.is_current()
        assert len(rig.blocks) == count
        assert [len(step.blocks) for step in steps] == [50] * (count // 50) + (
            [count % 50] if count % 50 else []
        )
        assert all(isinstance(step, Extend) and step.tip == chain.tip for step in steps)
        assert rig.follower.tip == chain.tip


async def test_five_hundred_blocks_are_read_ahead_within_bounds() -> None:
    chain = ScriptedChain()
    async with following(chain) as rig:
        mine(chain, 500, paying=False)
        chain.mine(payments(1))
        await rig.poll_once()
        assert rig.is_current()
        assert [len(step.blocks) for step in rig.steps] == [50] * 10 + [1]


async def test_history_from_a_height_and_the_tip_are_the_same_code() -> None:
    chain = ScriptedChain()
    mine(chain, 60)
    async with following(chain, start=121, rules=WATCHING) as rig:
        assert rig.cursor == chain.header(120)
        await rig.poll_once()
        assert rig.is_current()
        assert rig.blocks[0].header.height == 121


async def test_nothing_new_costs_one_conditional_request_answered_304() -> None:
    chain = ScriptedChain()
    async with following(chain) as rig:
        mine(chain, 3)
        await rig.poll_once()
        await rig.poll_once()
        rig.forget_requests()
        assert await rig.poll_once() == []
        (request,) = rig.apis[0].requests
        assert (request.route, request.status) == ("transactions", 304)
        assert request.headers["if-none-match"] == f'"{chain.tip.hash}"'


@pytest.mark.parametrize(("blocks", "expected"), [(1, 3), (5, 3), (8, 3)])
async def test_any_number_of_new_blocks_with_up_to_50_transactions_costs_three_requests(
    blocks: int, expected: int
) -> None:
    chain = ScriptedChain()
    async with following(chain, rules=WATCHING) as rig:
        mine(chain, blocks)
        await rig.poll_once()
        assert rig.is_current()
        assert len(rig.apis[0].requests) == expected


async def test_blocks_with_only_stx_transfers_cost_two_requests() -> None:
    chain = ScriptedChain()
    async with following(chain) as rig:
        for amount in range(1, 20):
            chain.mine([txs.stx_transfer(PAYER, MERCHANT, amount)])
        await rig.poll_once()
        assert rig.is_current()
        assert rig.apis[0].counts == {"transactions": 1, "blocks": 1}


async def test_catching_up_costs_about_one_request_per_full_page() -> None:
    chain = ScriptedChain()
    async with following(chain) as rig:
        mine(chain, 200, paying=False)
        await rig.poll_once()
        counts = rig.apis[0].counts
        # 200 blocks of one or two transactions: 4 batches, each of 2 header and 1 or 2 transaction pages.
        assert counts["blocks"] <= 8
        assert counts["transactions"] <= 9
        assert counts["block"] == 1
        assert sum(counts.values()) == counts["blocks"] + counts["transactions"] + counts["block"]


async def test_a_block_larger_than_one_page_is_read_to_its_end() -> None:
    chain = ScriptedChain()
    async with following(chain, rules=WATCHING) as rig:
        crowd = [txs.sbtc_transfer(PAYER, MERCHANT, amount, memo=b"INV") for amount in range(1, 231)]
        chain.mine(crowd, burn=True)
        chain.mine(payments(1))
        await rig.poll_once()
        assert rig.is_current()
        assert rig.apis[0].counts["tx_multiple"] == math.ceil(230 / 100) + 1


async def test_a_transaction_with_hundreds_of_events_is_read_whole() -> None:
    chain = ScriptedChain()
    async with following(chain) as rig:
        many = [(MERCHANT, amount, f"INV-{amount}".encode()) for amount in range(1, 131)]
        chain.mine([txs.token_transfer_many(PAYER, many)])
        await rig.poll_once()
        assert len(rig.blocks[0].transactions[0].events) == 260
        assert rig.is_current()


async def test_bootstrap_fills_the_window_down_to_finality_and_margin() -> None:
    chain = ScriptedChain()
    for _ in range(20):
        chain.mine(burn=True, n=1)
        chain.mine(n=9)
    async with following(chain) as rig:
        window = rig.follower.window
        assert window.tip == chain.tip
        assert window.oldest.burn_height == chain.tip.burn_height - 10
        # The block before is one Bitcoin block further down.
        assert chain.header(window.oldest.height - 1).burn_height == chain.tip.burn_height - 11
        assert rig.follower.tip == chain.tip


async def test_bootstrap_of_a_young_chain_takes_all_there_is() -> None:
    chain = ScriptedChain()
    mine(chain, 45, paying=False)
    async with following(chain) as rig:
        assert [header.height for header in rig.follower.window.headers] == list(range(100, 146))


async def test_bootstrap_begins_with_the_first_block_of_a_time_and_has_a_window_below_it() -> None:
    chain = ScriptedChain()
    for _ in range(40):
        chain.mine(burn=True, n=1, seconds=10)
        chain.mine(n=2, seconds=10)
    first = chain.header(chain.tip.height - 50)
    async with following(chain) as rig:
        follower = rig.make_follower(HeaderWindow())
        headers = await follower.bootstrap(None, first.time)
        assert headers == follower.window.headers
        assert headers[-1] == chain.header(first.height - 1)
        assert headers[0].burn_height == headers[-1].burn_height - 10
        assert follower.tip == chain.tip
        assert (await follower.bootstrap(None, first.time - 1))[-1] == chain.header(first.height - 1)
        assert (await follower.bootstrap(None, first.time + 1))[-1] == first
        assert (await follower.bootstrap(None, chain.tip.time + 1))[-1] == chain.tip
        assert (await follower.bootstrap(first.height - 9, first.time))[-1] == chain.header(first.height - 10)


async def test_bootstrap_takes_a_time_back_by_what_its_clock_is_ahead_of_the_tip() -> None:
    """A machine clock two hours ahead skips no later block; one that is behind only reads more."""
    chain = ScriptedChain()
    mine(chain, 60, paying=False)
    first = chain.header(chain.tip.height - 20)
    before = chain.header(first.height - 1)
    ahead, behind = 7200, -7200
    async with following(chain) as rig:
        follower = rig.make_follower(HeaderWindow())
        for start in (None, chain.tip.height):
            found = await follower.bootstrap(start, first.time + ahead, now=chain.tip.time + ahead)
            assert found[-1] == before
        [*_, cursor] = await follower.bootstrap(None, first.time + behind, now=chain.tip.time + behind)
        assert cursor.height < before.height


async def test_bootstrap_searches_a_time_down_to_the_first_block_and_no_further_than_a_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    chain = ScriptedChain()
    mine(chain, 100, paying=False)
    async with following(chain) as rig:
        assert (await rig.make_follower(HeaderWindow()).bootstrap(None, 0)) == (chain.header(100),)
        monkeypatch.setattr("chain.bootstrap.MAX_HEADERS_SEARCHED", 50)
        [bounded] = await rig.make_follower(HeaderWindow()).bootstrap(None, 0)
        assert chain.tip.height - 80 <= bounded.height <= chain.tip.height - 50


async def test_bootstrap_above_the_tip_waits() -> None:
    chain = ScriptedChain()
    async with following(chain) as rig:
        with pytest.raises(SourceUnavailable, match="no block 149 yet"):
            await rig.follower.bootstrap(150)


async def test_an_interrupted_bootstrap_goes_on_where_it_stopped() -> None:
    chain = ScriptedChain()
    mine(chain, 200, paying=False)
    async with following(chain) as rig:
        api = rig.apis[0]
        follower = rig.make_follower(HeaderWindow())
        api.before("blocks", lambda _: _fail(rig), nth=4)
        with pytest.raises(SourceUnavailable):
            await follower.bootstrap(None)
        mine(chain, 1)
        api.clear()
        rig.clock.now += 60
        headers = await follower.bootstrap(None)
        assert headers[-1] == chain.header(300)
        assert api.counts["blocks"] <= 3


def _fail(rig: FollowerFixture) -> None:
    rig.apis[0].faults.fail(500, route="blocks")


async def test_an_interrupted_bootstrap_begins_again_when_its_blocks_were_orphaned() -> None:
    chain = ScriptedChain()
    mine(chain, 200, paying=False)
    async with following(chain) as rig:
        follower = rig.make_follower(HeaderWindow())
        rig.apis[0].before("blocks", lambda _: _fail(rig), nth=4)
        with pytest.raises(SourceUnavailable):
            await follower.bootstrap(None)
        chain.reorg(5)
        rig.clock.now += 60
        assert (await follower.bootstrap(None))[-1] == chain.tip
        assert follower.window.headers == tuple(
            block.header
            for block in chain.blocks
            if chain.tip.burn_height - block.header.burn_height <= FINALITY + 4
        )


async def test_a_bootstrap_across_a_reorg_is_refused() -> None:
    chain = ScriptedChain()
    mine(chain, 60, paying=False)
    async with following(chain) as rig:
        follower = rig.make_follower(HeaderWindow())
        rig.apis[0].before("blocks", lambda _: chain.reorg(50) and None, nth=3)
        with pytest.raises(SourceInconsistent, match="gone again"):
            await follower.bootstrap(None)
        assert len(follower.window) == 0


async def test_a_bootstrap_from_headers_that_do_not_link_is_refused() -> None:
    chain = ScriptedChain()
    mine(chain, 10, paying=False)
    async with following(chain) as rig:
        rig.apis[0].faults.tamper = lambda route, body: (
            {**body, "results": body["results"][1:]} if route == "blocks" and body["offset"] else body
        )
        with pytest.raises(SourceInconsistent, match="do not link"):
            await rig.make_follower(HeaderWindow()).bootstrap(None)


async def test_a_source_without_any_block_cannot_fill_the_window_and_only_lags_later() -> None:
    chain = ScriptedChain()
    async with following(chain) as rig:
        rig.apis[0].faults.tamper = lambda _, body: {**body, "results": [], "total": 0}
        with pytest.raises(SourceUnavailable, match="no blocks yet"):
            await rig.make_follower(HeaderWindow()).bootstrap(None)
        assert await rig.poll_once(passed=600) == []
        assert rig.pool.health()[0].state is SourceState.LAGGING


@pytest.mark.parametrize(("batch", "ahead"), [(0, 4), (50, 0)])
async def test_reading_nothing_at_once_is_refused(batch: int, ahead: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        async with following(ScriptedChain(), batch=batch, ahead=ahead):
            pass


async def test_a_turn_without_a_window_is_a_mistake_that_says_so() -> None:
    chain = ScriptedChain()
    async with following(chain) as rig:
        with pytest.raises(LookupError, match="bootstrap"):
            await anext(rig.make_follower(HeaderWindow()).poll())


@pytest.mark.parametrize("route", ["transactions", "blocks", "tx_multiple"])
@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("fail", SourceUnavailable),
        ("html", SourceUnavailable),
        ("truncate", SourceMalformed),
        ("cut", SourceUnavailable),
        ("disconnect", SourceUnavailable),
        ("rate_limit", SourceLimited),
        ("gzip_bomb", SourceError),
    ],
)
async def test_the_cursor_never_moves_on_an_error_and_the_next_turn_reads_on(
    route: str, fault: str, error: type[SourceError]
) -> None:
    chain = ScriptedChain()
    async with following(chain, rules=WATCHING) as rig:
        mine(chain, 4)
        before = rig.follower.window.headers
        # Enough failures for automatic retries.
        getattr(rig.apis[0].faults, fault)(route=route, times=None)
        with pytest.raises(error):
            await rig.poll_once()
        assert rig.blocks == []
        assert rig.follower.window.headers == before
        rig.apis[0].faults.clear()
        await rig.settle(polls=1 + 4)
        assert rig.is_current()


async def test_an_unreadable_block_stops_the_cursor_right_before_it() -> None:
    chain = ScriptedChain()
    async with following(chain) as rig:
        mine(chain, 20)
        bad = chain.mine([txs.sbtc_transfer(PAYER, MERCHANT, 7, label="bad")]).height
        mine(chain, 20)
        bad_id = chain.block(bad).txs[-1].tx_id
        api = rig.apis[0]
        api.faults.tamper = lambda route, body: (
            {**body, bad_id: {"found": True, "result": "?"}}
            if route == "tx_multiple" and bad_id in body
            else body
        )
        for _ in range(12):
            with pytest.raises(SourceMalformed):
                await rig.poll_once(passed=600)
        assert rig.follower.window.tip.height == bad - 1
        assert rig.blocks == rig.truth()[: len(rig.blocks)]
        api.faults.clear()
        await rig.settle()


async def test_closing_early_leaves_the_window_and_no_task_behind() -> None:
    chain = ScriptedChain()
    async with following(chain) as rig:
        mine(chain, 160, paying=False)
        tip = rig.follower.window.tip
        release = asyncio.Event()

        async def hold(request: Request) -> None:
            if request.query.get("cursor", "").startswith("250:"):
                await release.wait()

        for nth in range(1, 20):
            rig.apis[0].before("transactions", hold, nth=nth)
        async with aclosing(rig.follower.poll()) as steps:
            step = await anext(steps)
            assert len(step.blocks) == 50
            assert [task for task in asyncio.all_tasks() if "read_blocks" in repr(task)]
        release.set()
        assert not [task for task in asyncio.all_tasks() if "read_blocks" in repr(task)]
        assert rig.follower.window.tip == tip
        rig.apis[0].faults.clear()
        await rig.poll_once()
        assert rig.is_current()


async def test_a_consumer_that_fails_gets_the_same_step_again() -> None:
    chain = ScriptedChain()
    async with following(chain, batch=10) as rig:
        mine(chain, 30, paying=False)

        def full(step: Step) -> None:
            if rig.blocks:
                raise RuntimeError("disk full")

        rig.before_commit = full
        with pytest.raises(RuntimeError, match="disk full"):
            await rig.poll_once()
        rig.before_commit = None
        assert rig.follower.window.tip.height == 110
        rig.check()
        await rig.poll_once()
        assert rig.is_current()


async def test_what_was_read_before_a_failure_is_handed_over() -> None:
    chain = ScriptedChain()
    async with following(chain, batch=10, ahead=4) as rig:
        mine(chain, 60, paying=False)
        rig.apis[0].before("blocks", lambda _: _fail(rig), nth=2)
        with pytest.raises(SourceUnavailable):
            await rig.poll_once()
        assert len(rig.blocks) == 30
        rig.check()
        rig.apis[0].faults.clear()
        await rig.settle()


async def test_a_source_without_a_word_for_a_whole_poll_is_compared_with_the_others() -> None:
    chain = ScriptedChain()
    async with following(chain, sources=2) as rig:
        rig.apis[0].freeze()
        mine(chain, 2)
        for _ in range(8):
            await rig.poll_once(passed=POLL)
        assert rig.is_current()
        assert rig.follower.tip == chain.tip


async def test_a_source_that_falls_behind_the_others_is_left() -> None:
    chain = ScriptedChain()
    async with following(chain, sources=3) as rig:
        # Some blocks behind, and it goes on: only a comparison shows that.
        rig.apis[0].lag(6)
        rig.apis[1].faults.fail(500, times=None)
        for _ in range(16):
            mine(chain, 1)
            await rig.poll_once(passed=POLL)
        assert rig.is_current()
        assert [row.state for row in rig.pool.health()][1:] == [SourceState.FAILING, SourceState.OK]


async def test_a_source_that_is_a_block_late_is_not_left() -> None:
    chain = ScriptedChain()
    async with following(chain, sources=2) as rig:
        mine(chain, 1)
        rig.apis[0].lag(1)
        for _ in range(16):
            mine(chain, 1)
            await rig.poll_once(passed=POLL)
        assert rig.follower.window.tip.height == chain.tip.height - 1
        assert [row.state for row in rig.pool.health()] == [SourceState.OK, SourceState.OK]


async def test_a_tip_that_is_gone_before_its_header_is_read_is_asked_for_again() -> None:
    chain = ScriptedChain()
    async with following(chain) as rig:
        mine(chain, 80, paying=False)
        rig.apis[0].before("block", lambda _: chain.reorg(1) and None)
        with pytest.raises(SourceInconsistent, match="gone again"):
            await rig.poll_once()
        await rig.settle()
