"""Following servers of every version, and through the sunset of deprecated routes, without losing a block."""

from typing import Any

import pytest

from chain.errors import SourceInconsistent, SourceUnavailable
from chain.model import FetchRules, TransferEvent
from chain.testing import Request, ScriptedChain, Shape, principal, txs
from chain.testing.events import ft_transfer
from chain.testing.tx import Tx
from chain.testing.txs import SBTC, SBTC_CONTRACT
from tests.integration.chain.follower_fixture import FollowerFixture, following

PAYER, MERCHANT = principal("payer"), principal("merchant")
WATCHING = FetchRules(watched_contracts=frozenset({SBTC_CONTRACT}))
DEPRECATED = ("tx_multiple", "blocks", "block")
ALL = ("9.0", "9.1", "9.2.0", "9.7.0", "9.7", "sunset")


def some_txs(number: int) -> list[Tx]:
    """Transactions of every kind that a reader treats in a way of its own."""
    label = str(number)
    return [
        txs.sbtc_transfer(PAYER, MERCHANT, 5 + number, memo=b"INV", label=label),
        txs.sbtc_transfer(PAYER, MERCHANT, 6, memo=b"NO", label=label).failed(),
        txs.stx_transfer(PAYER, MERCHANT, 7, b"memo", label=label),
        txs.call(f"{PAYER}.dex", "swap", PAYER, label=label),
        txs.call(f"{PAYER}.odd", "f", PAYER, label=f"odd {label}", status="half_done"),
        txs.call(f"{PAYER}.many", "f", PAYER, (), [ft_transfer(SBTC, PAYER, MERCHANT, 1)] * 120, label=label),
        txs.stx_send_many(PAYER, [(MERCHANT, 3, b"S")], label=label),
        txs.peg_in(MERCHANT, 9, label=label),
    ]


def grown(blocks: int = 70) -> ScriptedChain:
    chain = ScriptedChain(keep="instant")
    for number in range(blocks):
        chain.mine(some_txs(number) if number % 9 == 0 else (), burn=number % 20 == 0)
    return chain


async def follow(rig: FollowerFixture) -> None:
    """Catch up, meet a sibling, a fork that is shorter, and its return, and new blocks."""
    await rig.settle()
    chain = rig.chain
    first = chain.tip
    chain.fork(first.height - 1).mine(some_txs(900))
    await rig.settle()
    chain.fork(chain.tip.height - 4).mine(some_txs(901))
    await rig.settle()
    chain.fork(first.hash).mine(some_txs(902), n=3)
    await rig.settle(polls=40)
    assert rig.is_current()


@pytest.mark.parametrize("batch", [1, 50])
@pytest.mark.parametrize("version", ALL)
async def test_servers_of_every_version_show_the_same_blocks(version: str, batch: int) -> None:
    """Catch-up, reorgs and tip give the true blocks, and a switched-off route is not asked twice."""
    async with following(grown(), start=102, rules=WATCHING, batch=batch, version=version) as rig:
        await follow(rig)
        counts = rig.apis[0].counts
        if version == "sunset":
            assert not any(counts[route] for route in ("blocks", "block")), "asked once, by bootstrap"
            assert counts["tx_multiple"] == 1
        elif version == "9.7":
            assert counts["blocks_v3"]
            assert counts["blocks"] + counts["block"] == 0, "bootstrap has seen the warning"
            assert not counts["transaction_events"]
        else:
            assert not counts["transaction_events"] + counts["blocks_v3"] + counts["block_v3"]


@pytest.mark.parametrize("route", [*DEPRECATED, "transactions", "block_transactions"])
@pytest.mark.parametrize("nth", [1, 2, 3])
async def test_a_410_in_the_middle_switches_within_the_same_poll_and_for_good(route: str, nth: int) -> None:
    """While it catches up and in the middle of a step: no block is lost, no source failed, no way back."""
    async with following(grown(), start=102, rules=WATCHING, batch=7, ahead=2, version="9.2.0") as rig:
        api = rig.apis[0]

        def sunset(_: Request) -> None:
            api.become("sunset")

        api.before(route, sunset, nth=nth)
        await rig.poll_once()
        assert rig.is_current()
        assert [row.errors for row in rig.pool.health()] == [0]
        api.become("sunset")
        rig.chain.mine(some_txs(1001))
        await rig.poll_once()
        assert rig.is_current()
        api.become("9.7")
        rig.forget_requests()
        rig.chain.mine(some_txs(1002))
        await rig.poll_once()
        assert rig.is_current()
        lost = {name for name in DEPRECATED if any(request.route == name for request in api.requests)}
        assert "tx_multiple" not in lost


async def test_an_upgrade_is_noticed_by_its_answers_and_changes_nothing_but_the_requests() -> None:
    """From 9.0 over 9.7 to the sunset in one history."""
    async with following(grown(), start=102, rules=WATCHING) as rig:
        await rig.settle()
        seen = []
        for number, version in enumerate(("9.1", "9.7.0", "9.7", "9.7", "sunset", "sunset")):
            rig.apis[0].become(version)
            rig.forget_requests()
            rig.chain.mine(some_txs(1000 + number), n=3)
            await rig.poll_once()
            assert rig.is_current()
            seen.append(rig.apis[0].counts)
        assert [bool(one["blocks"]) for one in seen] == [True, True, True, False, False, False]
        assert [bool(one["transaction_events"]) for one in seen] == [False] * 4 + [True] * 2
        assert seen[-1]["tx_multiple"] == 0
        [health] = rig.pool.health()
        assert health.errors == 0


@pytest.mark.parametrize(
    "shape",
    [
        Shape(cursor="hash"),
        Shape(cursor="opaque"),
        Shape(parent_in_list=True),
        Shape(parent_in_block=False),
        Shape(bitcoin_hash=False),
        Shape(max_limit=20),
        Shape(old_names=True),
        Shape(tx_etags="weak"),
        Shape(tx_etags="other"),
        Shape(tx_etags="none"),
        Shape(cursor="opaque", parent_in_block=False, bitcoin_hash=False, max_limit=20),
    ],
    ids=str,
)
async def test_what_is_not_known_of_the_routes_does_not_matter(shape: Shape) -> None:
    """Cursors, parents, Bitcoin hashes, limits, names and ETags may be one way or the other."""
    async with following(grown(), start=102, rules=WATCHING, version="sunset", shape=shape) as rig:
        await follow(rig)


async def test_blocks_that_cannot_be_read_are_read_by_the_older_route_while_it_is_there() -> None:
    """A shape that nobody foresaw costs one request, and no failure."""
    async with following(grown(), version="9.7") as rig:
        api = rig.apis[0]

        def odd(route: str, body: Any) -> Any:
            return {"rows": []} if route in ("blocks_v3", "block_v3") else body

        api.faults.tamper = odd
        for number in range(3):
            rig.chain.mine(some_txs(1000 + number))
            await rig.poll_once()
            assert rig.is_current()
        assert api.counts["block_v3"] == 1
        assert rig.pool.health()[0].errors == 0


@pytest.mark.parametrize("rules", [WATCHING, FetchRules()], ids=["with arguments", "events alone"])
async def test_events_of_another_block_than_the_listed_one_do_not_count(rules: FetchRules) -> None:
    """A fork between a list and the events is met by reading again, also when it is gone again by then."""
    async with following(grown(3), rules=rules, version="sunset") as rig:
        chain, api = rig.chain, rig.apis[0]
        payment = txs.sbtc_transfer(PAYER, MERCHANT, 50, memo=b"INV")
        there = chain.mine([payment])

        def away(_: Request) -> None:
            chain.fork(there.height - 1).mine([txs.with_amount(payment, 1)])

        def back(_: Request) -> None:
            chain.fork(there.hash).mine()

        api.before("transaction_events", away)
        api.before("transaction", back, nth=2 if rules is WATCHING else 1)
        if rules is WATCHING:
            with pytest.raises(SourceInconsistent, match="changed while its events were read"):
                await rig.poll_once()
            chain.fork(there.hash).mine()
        await rig.settle()
        assert rig.blocks[0].header == there
        assert rig.blocks[0].transactions[0].events[0] == TransferEvent(
            rank=0, asset=SBTC, sender=PAYER, recipient=MERCHANT, amount=50
        )


async def test_a_410_of_a_version_that_has_no_other_route_is_a_failure_and_not_for_good() -> None:
    """A proxy may answer anything for a while; afterwards the route is used again."""
    async with following(grown(3)) as rig:
        rig.chain.mine(some_txs(1000))
        rig.apis[0].faults.malformed(b'{"error":"Gone","message":"off"}', status=410, route="blocks", times=2)
        for _ in range(2):
            with pytest.raises(SourceUnavailable, match="v3/blocks"):
                await rig.poll_once()
        await rig.poll_once()
        assert rig.is_current()


async def test_a_route_that_answered_410_by_mistake_is_used_again_after_the_next_check() -> None:
    """A gateway's mistake of a moment loses no block, and costs requests for a day, not for ever."""
    chain = ScriptedChain(keep="instant")
    async with following(chain, version="9.7") as rig:
        api = rig.apis[0]
        await rig.pool.check("mainnet")
        for route in ("tx_multiple", "blocks", "block"):
            api.faults.malformed(b'{"error":"Gone","message":"off"}', status=410, route=route)
        chain.mine([txs.sbtc_transfer(principal("payer"), principal("shop"), 5)])
        await rig.poll_once()
        assert rig.is_current()
        assert api.counts["transaction_events"] == 1
        rig.clock.now += 90_000
        await rig.pool.check("mainnet")
        rig.forget_requests()
        chain.mine([txs.sbtc_transfer(principal("payer"), principal("shop"), 6)])
        await rig.settle()
        assert (api.counts["tx_multiple"], api.counts["transaction_events"]) == (1, 0)
