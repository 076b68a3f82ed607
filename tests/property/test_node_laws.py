"""An own node's posts in any order, doubled, with gaps and over forks, give the facts of an API.

Both follow one scripted chain; the node's posts are shuffled, repeated and left out, and some bytes of some
are wrong. What is missing is replayed. In the end both hold the same blocks, which are the chain's.
"""

import asyncio
import contextlib
import json
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from chain.errors import OperatorNeeded, SourceError
from chain.testing import ScriptedChain, node_payloads
from tests.integration.chain.follower_fixture import following
from tests.integration.watcher.indexer.test_node_source import (
    WATCHED,
    NodeFixture,
    following_node,
    payments,
)

#: What happens next: blocks are mined, replaced, posted in some way, or the sources are asked.
MINE = st.tuples(st.just("mine"), st.integers(0, 2), st.booleans())
REORG = st.tuples(st.just("reorg"), st.integers(1, 3), st.integers(1, 4))
TELL = st.tuples(
    st.just("tell"),
    st.randoms(use_true_random=False),
    st.sets(st.integers(0, 12)),
    st.sets(st.integers(0, 12)),
)
POLL = st.tuples(st.just("poll"))
HISTORY = st.lists(st.one_of(MINE, MINE, REORG, TELL, TELL, POLL), min_size=4, max_size=14)


class Story:
    """One history, told to a node's observer and served by an API."""

    def __init__(self, chain: ScriptedChain, rig: NodeFixture) -> None:
        self.chain, self.rig = chain, rig
        self.count = 0

    async def run(self, steps: list[tuple[Any, ...]]) -> None:
        for step in steps:
            await getattr(self, step[0])(*step[1:])

    async def mine(self, txs: int, burn: bool) -> None:
        self.count += 1
        self.chain.mine(payments(txs, str(self.count)), burn=burn)

    async def reorg(self, depth: int, blocks: int) -> None:
        self.count += 1
        if depth < len(self.chain.blocks) - 1:
            again = payments(1, str(self.count - 1))
            mined = {tx.tx_id for block in self.chain.blocks[:-depth] for tx in block.txs}
            first = [tx for tx in again if tx.tx_id not in mined]
            self.chain.reorg(depth, [first, *[()] * (blocks - 1)], burn=True)

    async def tell(self, order: Any, missing: set[int], spoiled: set[int]) -> None:
        """Post the tree's blocks in any order, some twice, some not at all, some unreadable."""
        blocks = [block for n, block in enumerate(self.chain.tree) if n % 13 not in missing]
        blocks += order.sample(blocks, len(blocks) // 2)
        order.shuffle(blocks)
        for n, block in enumerate(blocks):
            body = json.dumps(node_payloads.new_block(block)).encode()
            if n in spoiled:
                body = body[: len(body) // 2]
            await self.rig.receiver.take("/new_block", body)

    async def poll(self) -> None:
        with contextlib.suppress(SourceError):
            await self.rig.poll_once()

    async def settle(self) -> None:
        for _ in range(20):
            await self.rig.poll_once(passed=600)
            if self.rig.follower.window.tip == self.chain.tip:
                return


@settings(max_examples=40, deadline=None)
@given(HISTORY)
def test_posts_in_any_order_give_the_facts_of_an_api(steps: list[tuple[Any, ...]]) -> None:
    """Also over reorgs that the RPC tells of before or after the posts."""

    async def story(folder: Path) -> None:
        chain = ScriptedChain(keep="follow")
        chain.mine(n=4, burn=True)
        async with following(chain, rules=WATCHED) as api, following_node(folder, chain) as rig:
            told = Story(chain, rig)
            try:
                await told.run(steps)
                await told.settle()
                for _ in range(20):
                    await api.poll_once(passed=600)
            except OperatorNeeded:
                # A fork below the finality depth stops both.
                return
            assert rig.blocks == rig.truth() == api.blocks

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(story(Path(folder)))
