"""Memory held by fetched blocks: bounded in bytes, whatever contracts print."""

import pickle
from contextlib import aclosing

import pytest

from chain.api.client import StacksApi
from chain.block_fetcher import BlockFetcher, BlockRange, size_of
from chain.model import MAX_VALUE_BYTES, FetchRules
from chain.testing import ScriptedApi, ScriptedChain, principal, txs
from chain.testing import events as ev
from chain.testing.tx import Tx

PRINTER = f"{principal('printer')}.printer"


def printing(label: str, size: int, count: int) -> Tx:
    """A call that prints ``count`` values of ``size`` bytes."""
    value = b"\x02" + (size - 5).to_bytes(4, "big") + bytes(size - 5)
    return txs.call(
        PRINTER,
        "shout",
        principal("somebody"),
        events=[ev.contract_print(PRINTER, value)] * count,
        label=label,
    )


def chain_of(blocks: int, size: int, count: int) -> ScriptedChain:
    chain = ScriptedChain()
    for number in range(blocks):
        chain.mine([printing(str(number), size, count)])
    return chain


def run_of(chain: ScriptedChain, source: StacksApi) -> BlockRange:
    first = chain.blocks[0].header
    return BlockRange(source=source, base=first, first=(), top=chain.tip.height, tip=chain.tip)


async def test_megabytes_of_prints_are_not_held() -> None:
    """Forty blocks with 4 MB of irrelevant prints keep less than 40 KB, counted as pickled."""
    chain = chain_of(40, 10_000, 10)
    async with ScriptedApi(chain, ping_interval=None) as api:
        source = StacksApi(api.url)
        feed = BlockFetcher(FetchRules(), batch=5, prefetch=4)
        held = []
        async with aclosing(feed.batches(run_of(chain, source))) as batches:
            async for blocks in batches:
                held += blocks
        await source.aclose()
    assert [len(block.transactions) for block in held] == [1] * 40
    assert len(pickle.dumps(held)) < 40_000


@pytest.mark.parametrize(("max_ahead", "ahead"), [(2**30, 3), (1, 0)])
async def test_large_blocks_are_read_ahead_by_their_bytes(max_ahead: int, ahead: int) -> None:
    """Small blocks are read three batches ahead of the current one; blocks beyond the limit one by one."""
    chain = chain_of(24, MAX_VALUE_BYTES, 20)
    async with ScriptedApi(chain, ping_interval=None) as api:
        source = StacksApi(api.url)
        feed = BlockFetcher(FetchRules(), batch=1, prefetch=4, max_prefetch_bytes=max_ahead)
        read_ahead = []
        taken = 0
        async with aclosing(feed.batches(run_of(chain, source))) as batches:
            async for blocks in batches:
                assert size_of(blocks) > 20 * MAX_VALUE_BYTES
                taken += 1
                if taken > 4:
                    await api.wait_for("tx_multiple", count=min(taken + ahead, 24))
                    read_ahead.append(api.counts["tx_multiple"] - taken)
        await source.aclose()
    assert taken == 24
    assert max(read_ahead) == ahead
