"""Reading the mempool over real HTTP: complete, bounded, and only when it changed."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from chain.api.client import StacksApi
from chain.errors import SourceUnavailable
from chain.mempool import MempoolReader
from chain.testing import ScriptedApi, ScriptedChain, principal, txs
from contracts.networks import NETWORKS, NetworkName

SBTC = NETWORKS[NetworkName.MAINNET].sbtc_contract
PAYER, SHOP = principal("payer"), principal("shop")


class MempoolFixture:
    def __init__(self, server: ScriptedApi) -> None:
        self.chain, self.server = server.chain, server
        self.source = StacksApi(server.url)
        self.reader = MempoolReader(frozenset({SBTC}))

    async def read(self, **more: Any) -> list[str] | None:
        self.server.clear()
        found = await self.reader.read(self.source, more.get("may", lambda: True))
        return None if found is None else [tx.tx_id for tx in found]

    def pay(self, count: int, *, stx: bool = False) -> list[str]:
        """Add payments to the mempool; return their ids, newest first."""
        make = txs.stx_transfer if stx else txs.sbtc_transfer
        made = [make(PAYER, SHOP, 5, b"memo", label=f"{stx} {number}") for number in range(count)]
        for number, tx in enumerate(made):
            self.chain.add_pending(tx, time=2_000_000_000 + number)
        return [tx.tx_id for tx in reversed(made)]


@pytest.fixture
async def rig() -> AsyncIterator[MempoolFixture]:
    async with ScriptedApi(ScriptedChain(), ping_interval=None) as server:
        rig = MempoolFixture(server)
        yield rig
        await rig.source.aclose()


async def test_an_empty_mempool_is_empty(rig: MempoolFixture) -> None:
    assert await rig.read() == []


async def test_calls_come_with_their_arguments_and_transfers_of_stx_need_none(rig: MempoolFixture) -> None:
    sbtc = txs.sbtc_transfer(PAYER, SHOP, 5, b"memo")
    stx = txs.stx_transfer(PAYER, SHOP, 7, b"other")
    rig.chain.add_pending(sbtc)
    rig.chain.add_pending(stx)
    found = {tx.tx_id: tx for tx in await rig.reader.read(rig.source, lambda: True) or ()}
    call, transfer = found[sbtc.tx_id].call, found[stx.tx_id].transfer
    assert call is not None
    assert call.args == sbtc.args
    assert transfer is not None
    assert (transfer.recipient, transfer.amount) == (SHOP, 7)
    assert dict(rig.server.counts) == {"mempool": 1, "tx_multiple": 1}


async def test_calls_of_other_contracts_are_left_out_and_cost_nothing(rig: MempoolFixture) -> None:
    rig.chain.add_pending(txs.call(f"{principal('dex')}.dex", "swap", PAYER))
    rig.chain.add_pending(txs.fake_token(PAYER, SHOP, 5, b"memo"))
    assert await rig.read() == []
    assert dict(rig.server.counts) == {"mempool": 1}


async def test_when_nothing_changed_a_reading_costs_one_empty_answer(rig: MempoolFixture) -> None:
    ids = rig.pay(120)
    assert await rig.read() == ids
    assert dict(rig.server.counts) == {"mempool": 3, "tx_multiple": 2}
    assert await rig.read() == ids
    assert [(request.route, request.status) for request in rig.server.requests] == [("mempool", 304)]


async def test_only_new_calls_are_asked_about(rig: MempoolFixture) -> None:
    rig.pay(10)
    await rig.read()
    fresh = txs.sbtc_transfer(PAYER, SHOP, 9, b"fresh")
    rig.chain.add_pending(fresh)
    assert len(await rig.read() or ()) == 11
    [asked] = [request.query["tx_id"] for request in rig.server.requests if request.route == "tx_multiple"]
    assert asked == fresh.tx_id


async def test_what_was_mined_or_dropped_is_gone(rig: MempoolFixture) -> None:
    first, second, third = (
        txs.sbtc_transfer(PAYER, SHOP, 9, b"memo", label=label) for label in ("a", "b", "c")
    )
    for tx in (first, second, third):
        rig.chain.add_pending(tx)
    await rig.read()
    rig.chain.drop_pending(first.tx_id, "replace_by_fee")
    rig.chain.mine([second])
    assert await rig.read() == [third.tx_id]


@pytest.mark.parametrize("mined", [True, False])
async def test_what_is_mined_or_dropped_between_two_requests_is_left_out(
    rig: MempoolFixture, mined: bool
) -> None:
    first, second = (txs.sbtc_transfer(PAYER, SHOP, 9, b"memo", label=label) for label in ("a", "b"))
    rig.chain.add_pending(first)
    rig.chain.add_pending(second)

    def leave(_: object) -> None:
        if mined:
            rig.chain.mine([first])
        else:
            rig.chain.drop_pending(first.tx_id)

    rig.server.before("tx_multiple", leave)
    assert await rig.read() == [second.tx_id]


async def test_a_huge_mempool_is_read_only_so_far_down(rig: MempoolFixture) -> None:
    rig.reader = MempoolReader(frozenset({SBTC}), max_pages=2)
    ids = rig.pay(150, stx=True)
    assert await rig.read() == ids[:100]
    assert dict(rig.server.counts) == {"mempool": 2}


@pytest.mark.parametrize(("allowed", "route"), [(0, "mempool"), (2, "tx_multiple")])
async def test_a_reading_stops_before_a_request_that_it_may_not_make(
    rig: MempoolFixture, allowed: int, route: str
) -> None:
    ids = rig.pay(120)
    answers = iter([True] * allowed + [False])
    assert await rig.read(may=lambda: next(answers)) is None
    counts = rig.server.counts
    assert counts[route] == (1 if route == "mempool" else 0)
    assert await rig.read() == ids, "an unfinished reading leaves nothing behind"


async def test_another_source_is_read_from_the_beginning(rig: MempoolFixture) -> None:
    ids = rig.pay(2)
    await rig.read()
    async with ScriptedApi(rig.chain, ping_interval=None) as other:
        source = StacksApi(other.url)
        found = await rig.reader.read(source, lambda: True)
        await source.aclose()
        assert found is not None
        assert [tx.tx_id for tx in found] == ids
        assert [(request.route, request.status) for request in other.requests] == [("mempool", 200)]


async def test_a_failure_in_between_leaves_the_last_reading_as_it_was(rig: MempoolFixture) -> None:
    rig.pay(1)
    await rig.read()
    rig.pay(3, stx=True)
    rig.server.faults.fail(503, times=1)
    with pytest.raises(SourceUnavailable):
        await rig.read()
    assert len(await rig.read() or ()) == 4


async def test_a_cursor_of_another_form_is_never_sent(rig: MempoolFixture) -> None:
    with pytest.raises(ValueError, match="time:hash"):
        await rig.source.mempool(cursor="5&limit=1")
