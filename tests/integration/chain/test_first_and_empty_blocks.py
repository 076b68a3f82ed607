"""Block 1, whose parent no source has, and blocks without transactions, absent from transaction lists."""

import pytest

from chain.model import Reorg
from chain.testing import ScriptedChain, principal, txs
from chain.testing.tx import Tx
from tests.integration.chain.follower_fixture import POLL, following

PAYER, SHOP = principal("payer"), principal("shop")


def pay(amount: int) -> Tx:
    return txs.stx_transfer(PAYER, SHOP, amount, b"memo")


@pytest.mark.parametrize("blocks", [1, 2, 29, 30, 31, 130])
async def test_a_chain_is_read_from_its_first_block_on(blocks: int) -> None:
    """``start_height = 1``: a devnet has payments there."""
    chain = ScriptedChain(height=1, txs=[pay(1)])
    for number in range(2, blocks + 1):
        chain.mine([pay(number)])
    async with following(chain, start=1) as rig:
        assert rig.cursor is not None
        assert (rig.cursor.height, rig.cursor.hash) == (0, chain.header(1).parent_hash)
        await rig.poll_once()
        assert rig.is_current()
        assert [block.header.height for block in rig.blocks] == list(range(1, blocks + 1))
        assert len(rig.blocks[0].transactions) == 1


async def test_a_poll_before_the_first_block_was_applied_finds_it_again() -> None:
    """An uncommitted block is read again, and mistaken neither for a fork nor for a lagging source."""
    chain = ScriptedChain(height=1, txs=[pay(1)])
    async with following(chain, start=1) as rig:

        def die(_: object) -> None:
            raise RuntimeError("killed")

        rig.before_commit = die
        with pytest.raises(RuntimeError, match="killed"):
            await rig.poll_once()
        rig.before_commit = None
        await rig.poll_once()
        assert rig.is_current()


async def test_a_window_that_reaches_down_to_the_first_block_holds_its_parent_too() -> None:
    """So a fork at block 2 or above is found among our headers, and headers that were lost are read again."""
    chain = ScriptedChain(height=1)
    chain.mine(n=3)
    async with following(chain) as rig:
        assert [header.height for header in rig.stored] == [0, 1, 2, 3, 4]
        chain.reorg(3, [[pay(7)]] * 1 + [[]] * 3)
        await rig.settle()
        assert isinstance(rig.steps[0], Reorg)
        assert rig.steps[0].ancestor == chain.header(1)
        window = rig.follower.window.headers
        assert await rig.follower.refill(rig.follower.window.tip) == window


async def test_a_first_block_that_is_newer_than_what_is_awaited_is_read() -> None:
    """Open intents may have been paid in it."""
    chain = ScriptedChain(height=1, txs=[pay(1)])
    chain.mine(n=2)
    async with following(chain) as rig:
        headers = await rig.follower.bootstrap(None, chain.header(1).time - 60)
        assert headers[-1].height == 0


async def test_a_chain_without_a_block_says_which_one_it_waits_for() -> None:
    """A server that begins higher does not have block 1."""
    chain = ScriptedChain(height=100)
    with pytest.raises(Exception, match="no block 1 yet, with which to start"):
        async with following(chain, start=1):
            pass


@pytest.mark.parametrize("validator", [None, "", 'W/"{tip}-gzip"'])
async def test_a_tip_without_transactions_is_applied(validator: str | None) -> None:
    """However a proxy changed the list's ETag."""
    chain = ScriptedChain()
    async with following(chain) as rig:
        for empty in (1, 2, 35):
            chain.mine([pay(empty)])
            chain.mine(n=empty, empty=True)
            if validator is not None:
                rig.apis[0].extra_headers["etag"] = validator.format(tip=chain.tip.hash)
            await rig.settle(polls=3)
            assert rig.follower.window.tip == chain.tip
            assert rig.follower.tip == chain.tip
        assert await rig.poll_once() == []


async def test_an_empty_tip_costs_one_request_when_nothing_is_new() -> None:
    """Its ETag holds like any other block's."""
    chain = ScriptedChain()
    async with following(chain) as rig:
        chain.mine(empty=True)
        await rig.settle(polls=3)
        rig.forget_requests()
        assert await rig.poll_once() == []
        (request,) = rig.apis[0].requests
        assert (request.route, request.status) == ("transactions", 304)


async def test_a_chain_of_empty_blocks_is_followed_from_the_first_on() -> None:
    """Its list of transactions ends with the first block's."""
    chain = ScriptedChain(height=1)
    chain.mine(n=3, empty=True)
    async with following(chain, start=1) as rig:
        await rig.settle(polls=3)
        assert [len(block.transactions) for block in rig.blocks] == [0, 0, 0, 0]
        assert rig.blocks[-1].header == chain.tip


async def test_empty_blocks_fork_as_others_do() -> None:
    """A branch whose tip has no transactions replaces one that has."""
    chain = ScriptedChain()
    async with following(chain) as rig:
        chain.mine([pay(1)])
        chain.mine([pay(2)])
        await rig.poll_once()
        branch = chain.fork(chain.tip.height - 1, keep="follow")
        branch.mine(n=2, empty=True)
        branch.promote()
        await rig.poll_once(passed=POLL)
        await rig.settle()
        assert rig.blocks[-1].header == chain.tip
