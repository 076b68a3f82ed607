"""An own node as a source: the same steps as from an API over the same chain, gaps filled, troubles named."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from chain.api.client import StacksApi
from chain.errors import (
    NotHeld,
    SourceError,
    SourceInconsistent,
    SourceMalformed,
    SourceRefused,
    SourcesDisagree,
    SourceUnavailable,
)
from chain.mempool import MempoolReader
from chain.model import Extend, FetchRules, Reorg
from chain.node.receiver import Receiver
from chain.node.rpc import NodeRpc
from chain.node.source import NodeSource
from chain.testing import ScriptedApi, ScriptedBlock, ScriptedChain, Tx, node_payloads, principal, txs
from chain.testing.node import SimulatedNode
from chain.testing.txs import SBTC_CONTRACT
from tests import harness
from tests.integration.chain.follower_fixture import Clock, FollowerFixture
from watcher.indexer.node_inbox import NodeInbox
from watcher.reindex.confirm import confirm
from watcher.reindex.retrying_source import Sources

TOKEN = "a-token-of-the-node"
PAYER, SHOP = principal("payer"), principal("shop")
WATCHED = FetchRules(watched_contracts=frozenset({SBTC_CONTRACT}))


class NodeFixture(FollowerFixture):
    """A follower on a simulated node and, with ``api``, on an API server of the same chain beside it."""

    node: SimulatedNode
    inbox: NodeInbox
    receiver: Receiver
    source: NodeSource

    async def tell(self, blocks: Sequence[ScriptedBlock]) -> None:
        """Post blocks, in this order."""
        for block in blocks:
            await self.receiver.take("/new_block", json.dumps(node_payloads.new_block(block)).encode())

    async def tell_all(self) -> None:
        """Post every block of every branch."""
        await self.tell(self.chain.tree)

    def replays(self) -> int:
        return sum("/replay/" in path for path in self.node.requests)


@asynccontextmanager
async def following_node(
    folder: Path,
    chain: ScriptedChain,
    *,
    token: str | None = TOKEN,
    api: ScriptedChain | None = None,
    start: int | None = None,
    patience: float = 0.0,
) -> AsyncIterator[NodeFixture]:
    """Follow a node from ``start`` or the tip on; ``api``: a server of that chain is the second source."""
    async with AsyncExitStack() as stack:
        node = await stack.enter_async_context(SimulatedNode(chain, token=TOKEN))
        node.posts_blocks = False
        database = harness.open_database(folder)
        stack.callback(database.close)
        inbox = NodeInbox(database)
        clock = Clock()
        source = NodeSource(
            NodeRpc(node.url, token=token), inbox, holds_past=api is None, patience=patience, clock=clock
        )
        apis = [] if api is None else [await stack.enter_async_context(ScriptedApi(api, ping_interval=None))]
        others = [StacksApi(each.url) for each in apis]
        rig = NodeFixture(chain, apis, rules=WATCHED, sources=[source, *others], clock=clock)
        rig.node, rig.inbox, rig.receiver, rig.source = node, inbox, Receiver(inbox), source
        stack.push_async_callback(rig.pool.aclose)
        await rig.start(start)
        node.requests.clear()
        yield rig


def payments(count: int, label: str = "") -> list[Tx]:
    """Payments of every kind."""
    made: list[Tx] = []
    for n in range(count):
        made += [
            txs.sbtc_transfer(PAYER, SHOP, 100 + n, b"INV-%d" % n, label=label),
            txs.stx_transfer(PAYER, SHOP, 100 + n, b"INV-%d" % n, label=label),
            txs.sbtc_transfer(PAYER, SHOP, 200 + n, b"INV-%d" % n, label=f"failed{label}").failed(),
        ]
    return made


async def test_posted_blocks_become_steps(tmp_path: Path, backend: str) -> None:
    """With events, arguments of failed calls, and without a single replay."""
    chain = ScriptedChain()
    async with following_node(tmp_path, chain) as rig:
        for n in range(3):
            chain.mine(payments(2, str(n)), burn=True)
        chain.mine(empty=True)
        await rig.tell_all()
        [step] = await rig.poll_once()
        assert isinstance(step, Extend)
        assert rig.blocks == rig.truth()
        assert (rig.replays(), step.tip) == (0, chain.tip)


async def test_an_idle_poll_costs_two_requests_of_the_node(tmp_path: Path) -> None:
    """Its state and its tip."""
    chain = ScriptedChain()
    async with following_node(tmp_path, chain) as rig:
        chain.mine(payments(1))
        await rig.tell_all()
        await rig.poll_once()
        rig.node.requests.clear()
        assert await rig.poll_once() == []
        assert rig.node.requests == ["/v2/info", "/v3/tenures/info"]


@pytest.mark.parametrize("missing", [{1}, {2, 3}, {4}, {1, 4}, {1, 2, 3, 4}])
async def test_blocks_that_were_not_posted_are_replayed(tmp_path: Path, missing: set[int]) -> None:
    """Each once, wherever the gap is."""
    chain = ScriptedChain()
    async with following_node(tmp_path, chain) as rig:
        first = chain.tip.height
        for n in range(4):
            chain.mine(payments(1, str(n)), burn=n % 2 == 0)
        await rig.tell([block for block in chain.blocks if block.header.height - first not in {*missing, 0}])
        await rig.poll_once()
        assert rig.blocks == rig.truth()
        assert rig.replays() == len(missing)


async def test_a_long_gap_costs_a_replay_per_block_and_a_little_more_per_bitcoin_block(
    tmp_path: Path,
) -> None:
    """No request limit counts it; the node's processor does."""
    chain = ScriptedChain()
    async with following_node(tmp_path, chain) as rig:
        for n in range(120):
            chain.mine(payments(1, str(n)), burn=n % 12 == 0)
        await rig.poll_once()
        assert rig.blocks == rig.truth()
        assert rig.replays() == 120
        assert len(rig.node.requests) < 120 + 4 * 10 + 20


async def test_without_a_token_a_gap_is_read_from_the_api(tmp_path: Path) -> None:
    """Within the same poll; the node serves again once the gap is behind."""
    chain = ScriptedChain()
    async with following_node(tmp_path, chain, token=None, api=chain) as rig:
        chain.mine(payments(1))
        await rig.poll_once()
        assert rig.blocks == rig.truth()
        assert rig.apis[0].counts["multiple"] or rig.apis[0].counts
        row = rig.pool.health()[0]
        assert row.state == "failing"
        assert row.note is not None
        assert "was not posted; with node_auth_token it can be replayed" in row.note
        await rig.poll_once(passed=600)
        chain.mine(payments(1, "later"))
        await rig.tell(chain.blocks[-1:])
        rig.forget_requests()
        await rig.poll_once(passed=600)
        assert rig.blocks == rig.truth()
        assert "transactions" not in rig.apis[0].counts


async def test_without_a_token_and_an_api_a_gap_stops_the_cursor_and_says_why(tmp_path: Path) -> None:
    """A block that cannot be read is never skipped."""
    chain = ScriptedChain()
    async with following_node(tmp_path, chain, token=None) as rig:
        chain.mine(payments(1))
        block = chain.blocks[-1]
        chain.mine(payments(1, "later"))
        await rig.tell(chain.blocks[-1:])
        with pytest.raises(NotHeld, match="was not posted"):
            await rig.poll_once()
        await rig.tell([block])
        await rig.poll_once(passed=600)
        assert rig.blocks == rig.truth()


async def test_a_wrong_token_is_named(tmp_path: Path) -> None:
    """With what to set."""
    chain = ScriptedChain()
    async with following_node(tmp_path, chain, token="wrong-token-of-the-node") as rig:
        chain.mine(payments(1))
        with pytest.raises(SourceRefused, match="refuses to replay") as caught:
            await rig.poll_once()
        assert "connection_options.auth_token" in caught.value.hint


async def test_a_block_with_a_skipped_transaction_is_read_from_its_post_or_elsewhere(tmp_path: Path) -> None:
    """A replay cannot reproduce it: the node answers 500."""
    chain = ScriptedChain()
    skipped = txs.sbtc_transfer(PAYER, SHOP, 5, b"INV").failed("problematic_skipped")
    async with following_node(tmp_path, chain, api=chain) as rig:
        chain.mine([skipped])
        await rig.poll_once()
        assert rig.blocks == rig.truth()
        assert rig.pool.health()[0].state == "failing"
        chain.mine([txs.sbtc_transfer(PAYER, SHOP, 6, b"INV").failed("problematic_skipped")])
        await rig.tell(chain.blocks[-1:])
        await rig.poll_once(passed=600)
        assert rig.blocks == rig.truth()


async def test_a_reorg_on_the_node_is_followed_as_from_an_api(tmp_path: Path, backend: str) -> None:
    """After a second look; the branch that lost was posted too."""
    chain = ScriptedChain(keep="follow")
    async with following_node(tmp_path, chain) as rig:
        for n in range(4):
            chain.mine(payments(1, str(n)))
        await rig.tell_all()
        await rig.poll_once()
        chain.reorg(3, [payments(1, "1"), payments(1, "new")], burn=True)
        await rig.tell_all()
        assert await rig.poll_once() == []
        [step] = await rig.poll_once()
        assert isinstance(step, Reorg)
        assert rig.blocks == rig.truth()


async def test_a_reorg_to_blocks_that_were_never_posted_is_replayed(tmp_path: Path) -> None:
    """The RPC knows the branch."""
    chain = ScriptedChain(keep="follow")
    async with following_node(tmp_path, chain) as rig:
        chain.mine(payments(1), n=3)
        await rig.tell_all()
        await rig.poll_once()
        chain.reorg(2, [payments(1, "new"), (), ()], burn=True)
        await rig.poll_once()
        await rig.poll_once()
        assert rig.blocks == rig.truth()


async def test_a_block_on_another_fork_moves_nothing(tmp_path: Path) -> None:
    """A node tells of every block it has processed; only its RPC says which is canonical."""
    chain = ScriptedChain()
    async with following_node(tmp_path, chain) as rig:
        chain.mine(payments(1), n=3)
        branch = chain.fork(chain.tip.height - 1)
        branch.mine(payments(1, "fork"))
        await rig.tell_all()
        await rig.poll_once()
        assert rig.blocks == rig.truth()
        assert await rig.poll_once() == []


async def test_a_posted_block_is_the_tip_before_the_rpc_says_so(tmp_path: Path) -> None:
    """The RPC's tip is some seconds old; what extends it is taken at once, and not for ever."""
    chain = ScriptedChain()
    chain.mine(n=2)
    async with following_node(tmp_path, chain) as rig:
        rig.node.old_tip = chain.tip.hash
        chain.mine(payments(1))
        chain.mine()
        await rig.tell(chain.blocks[-2:])
        await rig.poll_once()
        assert rig.blocks == rig.truth()
        await rig.poll_once(passed=600)
        assert rig.pool.health()[0].state == "lagging"


async def test_the_post_of_a_new_tip_is_waited_for_a_moment(tmp_path: Path) -> None:
    """A replay, or a switch to the API, would be for nothing; a node that posts no more is not waited for."""
    chain = ScriptedChain()
    async with following_node(tmp_path, chain, patience=7.0) as rig:
        chain.mine(payments(1))
        assert await rig.poll_once() == []
        await rig.tell(chain.blocks[-1:])
        await rig.poll_once()
        assert rig.blocks == rig.truth()
        chain.mine(payments(1, "silent"))
        assert await rig.poll_once() == []
        for n in range(3):
            chain.mine(payments(1, f"silent {n}"))
            await rig.poll_once()
        assert rig.blocks == rig.truth()[: len(rig.blocks)]
        await rig.poll_once()
        assert rig.blocks == rig.truth()


async def test_a_forged_block_on_top_of_the_tip_moves_nothing(tmp_path: Path) -> None:
    """The node does not know it: something else posts there, and the log says so."""
    chain = ScriptedChain()
    async with following_node(tmp_path, chain) as rig:
        forged = chain.clone()
        forged.mine(payments(1, "forged"))
        await rig.tell(forged.blocks[-1:])
        with capture_logs() as lines:
            assert await rig.poll_once() == []
            assert await rig.poll_once() == []
        assert [line["hash"] for line in lines if line["event"] == "node.post_unknown"] == [forged.tip.hash]
        chain.mine(payments(1, "true"))
        await rig.tell(chain.blocks[-1:])
        await rig.poll_once()
        assert rig.blocks == rig.truth()


async def test_without_its_rpc_a_node_moves_nothing(tmp_path: Path) -> None:
    """Posts carry no password: what the RPC does not confirm waits."""
    chain = ScriptedChain()
    async with following_node(tmp_path, chain) as rig:
        await rig.poll_once()
        chain.mine(payments(1))
        await rig.tell(chain.blocks[-1:])
        rig.node.failure = 503
        with pytest.raises(SourceUnavailable, match="503"):
            await rig.poll_once()
        rig.node.failure = None
        await rig.poll_once(passed=600)
        assert rig.blocks == rig.truth()


async def test_with_a_node_the_api_is_asked_at_every_sixth_poll(tmp_path: Path) -> None:
    """Only to compare, one request each time: docs/own-node.md counts them."""
    chain = ScriptedChain()
    async with following_node(tmp_path, chain, api=chain) as rig:
        rig.forget_requests()
        for n in range(60):
            chain.mine(payments(1, str(n)))
            await rig.tell(chain.blocks[-1:])
            await rig.poll_once()
        assert rig.blocks == rig.truth()
        assert sum(rig.apis[0].counts.values()) <= 60 // 6 + 1


# Troubles of a node.


async def test_a_node_that_is_still_syncing_is_left_to_catch_up(tmp_path: Path) -> None:
    """The API serves meanwhile, and status says how far it has to go."""
    chain = ScriptedChain()
    async with following_node(tmp_path, chain, api=chain) as rig:
        rig.node.blocks_behind = 1234
        chain.mine(payments(1))
        await rig.poll_once()
        assert rig.blocks == rig.truth()
        row = rig.pool.health()[0]
        assert (row.state, row.note) == (
            "failing",
            "the node is still syncing: its best peer is 1234 blocks ahead",
        )


async def test_a_node_a_few_blocks_behind_is_in_use(tmp_path: Path) -> None:
    """It says that it is not synced whenever a peer is ahead."""
    chain = ScriptedChain()
    async with following_node(tmp_path, chain) as rig:
        rig.node.blocks_behind = 2
        chain.mine(payments(1))
        await rig.tell_all()
        await rig.poll_once()
        assert rig.blocks == rig.truth()


async def test_a_node_restored_from_a_snapshot_is_recognized(tmp_path: Path, backend: str) -> None:
    """It lags, undoes nothing, and status says what happened until it has caught up."""
    chain = ScriptedChain()
    async with following_node(tmp_path, chain, api=chain) as rig:
        for n in range(5):
            chain.mine(payments(1, str(n)))
        await rig.tell_all()
        await rig.poll_once()
        tip = chain.tip
        rig.node.restore(tip.height - 5)
        await rig.poll_once(passed=600)
        row = rig.pool.health()[0]
        assert row.state == "lagging"
        assert (
            row.note
            == f"restored from an older state: it no longer has block {tip.height}, which was its tip"
        )
        assert rig.blocks == rig.truth()
        chain.mine(payments(1, "on"))
        await rig.poll_once(passed=600)
        assert rig.blocks == rig.truth()
        rig.node.resume()
        await rig.tell_all()
        await rig.poll_once(passed=600)
        await rig.poll_once(passed=600)
        assert rig.pool.health()[0].note is None


async def test_a_restored_node_is_recognized_by_a_new_process(tmp_path: Path) -> None:
    """By the last block that it posted before."""
    chain = ScriptedChain()
    chain.mine(n=5)
    async with following_node(tmp_path, chain) as rig:
        await rig.tell_all()
        rig.node.restore(chain.tip.height - 2)
        again = NodeSource(NodeRpc(rig.node.url), rig.inbox, clock=rig.clock)
        await again.transactions(cursor=None, etag=f'"{chain.tip.parent_hash}"')
        assert again.note is not None
        assert f"it no longer has block {chain.tip.height}" in again.note
        await again.aclose()


async def test_a_node_that_forked_away_from_the_api_halts_and_names_both(tmp_path: Path) -> None:
    """Two healthy sources with different chains: a person decides."""
    chain = ScriptedChain()
    chain.mine(n=3)
    other = chain.clone()
    async with following_node(tmp_path, chain, api=other) as rig:
        for n in range(4):
            chain.mine(payments(1, f"node {n}"))
            other.mine(payments(1, f"api {n}"))
        await rig.tell_all()
        with pytest.raises(SourcesDisagree) as caught:  # noqa: PT012
            for _ in range(40):
                await rig.poll_once(passed=60)
        assert rig.node.url in str(caught.value)
        assert rig.apis[0].url in str(caught.value)


async def test_a_node_that_does_not_post_is_told_of(tmp_path: Path) -> None:
    """Its blocks are replayed, which costs it time: the observer is missing in its configuration."""
    chain = ScriptedChain()
    async with following_node(tmp_path, chain) as rig:
        for n in range(3):
            chain.mine(payments(1, str(n)))
            await rig.poll_once(passed=30)
        note = rig.pool.health()[0].note
        assert note is not None
        assert note.startswith(f"does not post: block {chain.tip.height} did not come to node_observer_bind")
        chain.mine()
        await rig.tell(chain.blocks[-1:])
        await rig.poll_once()
        assert rig.pool.health()[0].note is None


async def test_unreadable_posts_are_told_of_and_their_blocks_replayed(tmp_path: Path, backend: str) -> None:
    """The poison block is answered, so the node goes on."""
    chain = ScriptedChain()
    async with following_node(tmp_path, chain) as rig:
        chain.mine(payments(1))
        poison = {**node_payloads.new_block(chain.blocks[-1]), "transactions": "?"}
        await rig.receiver.take("/new_block", json.dumps(poison).encode())
        chain.mine(payments(1, "next"))
        await rig.tell(chain.blocks[-1:])
        await rig.poll_once()
        assert rig.blocks == rig.truth()
        assert rig.replays() == 1
        assert rig.pool.health()[0].note == (
            "posts set aside: 1, the last /new_block: transactions must be a list, not '?'"
        )


async def test_a_forged_post_of_a_block_that_does_not_exist_moves_nothing(tmp_path: Path) -> None:
    """Unless it extends the tip, nobody asks for it."""
    chain, elsewhere = ScriptedChain(), ScriptedChain(seed="elsewhere")
    elsewhere.mine(payments(1), n=9)
    async with following_node(tmp_path, chain) as rig:
        await rig.tell(elsewhere.blocks)
        chain.mine(payments(1, "true"))
        await rig.tell(chain.blocks[-1:])
        await rig.poll_once()
        assert rig.blocks == rig.truth()


@pytest.mark.parametrize("true_posts", ["later", "never"])
async def test_a_real_block_with_a_forged_parent_moves_nothing(tmp_path: Path, true_posts: str) -> None:
    """Only the RPC says what a block is built on; a post that says otherwise is not believed."""
    chain = ScriptedChain()
    async with following_node(tmp_path, chain) as rig:
        forged = chain.clone()
        forged.mine(payments(1, "forged"))
        chain.mine(payments(1, "true"), n=2)
        child = node_payloads.new_block(chain.blocks[-1])
        child["parent_index_block_hash"] = forged.tip.hash
        await rig.tell(forged.blocks[-1:])
        await rig.receiver.take("/new_block", json.dumps(child).encode())
        if true_posts == "later":
            await rig.tell(chain.blocks[-2:])
        await rig.poll_once()
        assert rig.blocks == rig.truth()
        chain.mine(payments(1, "next"))
        await rig.tell(chain.blocks[-1:])
        await rig.poll_once()
        assert rig.blocks == rig.truth()


@pytest.mark.parametrize(
    ("failure", "text"), [(500, "500"), (404, "404 for a route"), (302, "302"), (401, "401")]
)
async def test_an_rpc_that_fails_is_the_nodes_failure(tmp_path: Path, failure: int, text: str) -> None:
    """Whatever the status."""
    chain = ScriptedChain()
    async with following_node(tmp_path, chain) as rig:
        rig.node.failure = failure
        with pytest.raises(SourceError, match=text):
            await rig.poll_once()


async def test_a_replay_of_another_block_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hash of the answer must be the one that was asked for."""
    chain = ScriptedChain()
    async with following_node(tmp_path, chain) as rig:
        chain.mine(payments(1))
        other = node_payloads.replay(node_payloads.new_block(chain.blocks[-1])) | {"block_id": "ab" * 32}
        monkeypatch.setattr(node_payloads, "replay", lambda body: other)
        with pytest.raises(SourceError, match="asked to replay"):
            await rig.poll_once()


async def test_an_rpc_that_gives_another_height_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor is what it gave remembered."""
    chain = ScriptedChain()
    chain.mine(n=5)
    height = chain.tip.height - 2
    async with following_node(tmp_path, chain) as rig, AsyncExitStack() as stack:
        source = NodeSource(NodeRpc(rig.node.url), rig.inbox)
        stack.push_async_callback(source.aclose)
        with monkeypatch.context() as lying:
            truth = rig.node._at
            lying.setattr(rig.node, "_at", lambda height: truth(height - 1))
            with pytest.raises(SourceMalformed, match=f"asked for block {height}, it gave {height - 1}"):
                await source.header(height)
        assert await source.header(height) == chain.blocks[-3].header


# The questions of a source, beside the steps.


async def test_old_headers_come_from_the_rpc(tmp_path: Path) -> None:
    """By height, by hash, and in a row; an orphan and a height above the tip are none."""
    chain = ScriptedChain()
    chain.mine(n=3)
    orphan = chain.tip
    chain.reorg(1, burn=True)
    chain.mine(n=10, burn=True)
    async with following_node(tmp_path, chain) as rig:
        source = rig.source
        for block in chain.blocks:
            assert await source.header(block.header.height) == block.header
            assert await source.header(block.header.hash) == block.header
        assert await source.header(orphan.hash) is None
        assert await source.header("0x" + "ab" * 32) is None
        assert await source.header(chain.tip.height + 1) is None
        below = await source.headers(limit=5, cursor=chain.tip.parent_hash, offset=1)
        assert below == tuple(block.header for block in chain.blocks[-3:-8:-1])
        assert await source.headers(cursor=orphan.hash) is None
        assert await source.headers(limit=2) == (chain.tip, chain.blocks[-2].header)
        assert rig.replays() == 0


async def test_the_first_block_has_a_parent_that_no_source_has(tmp_path: Path) -> None:
    """Block 0 is made up, as from an API."""
    chain = ScriptedChain(height=1)
    async with following_node(tmp_path, chain, start=1) as rig:
        zero = await rig.source.header(0)
        assert zero is not None
        assert (zero.height, zero.hash) == (0, chain.tip.parent_hash)


async def test_a_long_block_is_listed_in_pages(tmp_path: Path) -> None:
    """The reader counts every row."""
    chain = ScriptedChain()
    async with following_node(tmp_path, chain) as rig:
        chain.mine(payments(50))
        await rig.tell_all()
        await rig.poll_once()
        assert rig.blocks == rig.truth()
        assert await rig.source.block_transactions("0x" + "ab" * 32) is None


async def test_the_past_is_read_from_the_api_first(tmp_path: Path) -> None:
    """Replaying it would cost the node hours; alone it does it all the same."""
    chain = ScriptedChain()
    chain.mine(n=3)
    asked = []

    async def work(source: Any) -> None:
        asked.append(source.url)
        raise SourceInconsistent("try the next one", url=source.url)

    async with following_node(tmp_path, chain, api=chain) as rig:
        with pytest.raises(SourceError):
            await rig.pool.use(work)
        assert asked == [rig.apis[0].url, rig.node.url]


async def test_pending_payments_come_from_the_posts(tmp_path: Path, backend: str) -> None:
    """Until they are dropped or mined; with arguments, which cost no request."""
    chain = ScriptedChain()
    async with following_node(tmp_path, chain) as rig:
        reader = MempoolReader(frozenset({SBTC_CONTRACT}))
        sbtc, stx = txs.sbtc_transfer(PAYER, SHOP, 7, b"INV"), txs.stx_transfer(PAYER, SHOP, 8)
        other = txs.call(f"{SHOP}.game", "play", PAYER)
        told = [f"0x{tx.raw.hex()}" for tx in (sbtc, stx, other)]
        await rig.receiver.take("/new_mempool_tx", json.dumps(told).encode())
        found = await reader.read(rig.source, lambda: True)
        assert found is not None
        assert {tx.tx_id for tx in found} == {sbtc.tx_id, stx.tx_id}
        [call] = [tx.call for tx in found if tx.call is not None]
        assert call.args == sbtc.args
        assert await reader.read(rig.source, lambda: True) == found
        chain.mine([stx])
        await rig.tell(chain.blocks[-1:])
        dropped = {"dropped_txids": [sbtc.tx_id], "reason": "TooExpensive", "new_txid": None}
        await rig.receiver.take("/drop_mempool_tx", json.dumps(dropped).encode())
        assert await reader.read(rig.source, lambda: True) == ()


@pytest.mark.parametrize("token", [None, TOKEN])
async def test_a_node_beside_one_api_leaves_second_readings_to_that_api(
    tmp_path: Path, token: str | None
) -> None:
    """A reindex must not wait for a node that does not have the block; nor is it asked to replay it."""
    chain = ScriptedChain()
    paid = chain.mine(payments(1))
    async with following_node(tmp_path, chain, token=token, api=chain) as rig:
        api = rig.sources[1]
        sources = Sources(rig.pool, network="mainnet", sleep=rig.clock.sleep)
        found = await confirm(sources, api, [paid.hash], {}, harness.RULES, WATCHED)
        assert (found.doubts, found.read_again) == ({}, {paid.hash})
        assert len(found.elsewhere[paid.hash].payments) == 2
        assert rig.node.requests == []
