"""Reading what concerns us alone: found by lists, decided by events, and held against the lists again."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from chain import directed
from chain.errors import SourceInconsistent
from chain.header_window import HeaderWindow
from chain.model import STX, Extend, FetchRules, Reorg
from chain.testing import Request, ScriptedChain, Tx, principal, txs
from chain.testing.txs import SBTC, SBTC_CONTRACT
from tests.integration.chain.follower_fixture import FollowerFixture, following

PAYER, MERCHANT, STRANGER = principal("payer"), principal("merchant"), principal("stranger")
PAYMENTS = f"{principal('owner')}.sbtc-payments"
WATCHING = FetchRules(watched_contracts=frozenset({SBTC_CONTRACT, PAYMENTS}))


class Wanted:
    """Interests that a test sets."""

    assets = frozenset({SBTC, STX})
    contracts = frozenset({SBTC_CONTRACT, PAYMENTS})

    def __init__(self) -> None:
        self.principals: frozenset[str] | None = frozenset({MERCHANT})
        self.labels = {b"OURS"}

    async def recipients(self) -> frozenset[str] | None:
        return self.principals

    async def stored(self, tx_ids: frozenset[str]) -> frozenset[str]:
        return frozenset()

    async def labelled(self, contract: str, prints: Mapping[str, Sequence[bytes]]) -> frozenset[str]:
        if contract == PAYMENTS:
            return frozenset(prints)
        return frozenset(tx for tx, values in prints.items() if any(v[5:] in self.labels for v in values))


@asynccontextmanager
async def reading(
    chain: ScriptedChain,
    wanted: Wanted,
    *,
    start: int | None = None,
    version: str = "sunset",
    always: bool = True,
) -> AsyncIterator[FollowerFixture]:
    """A follower that reads by lists: ``always``, or where that takes fewer requests."""
    with pytest.MonkeyPatch.context() as patched:
        if always:
            patched.setattr(directed, "pays", lambda *_: True)
        async with following(chain, start=start, rules=WATCHING, version=version) as rig:
            rig.follower = rig.make_follower(HeaderWindow(), interests=wanted)
            await rig.start(start)
            await rig.sources[0].probe()
            rig.forget_requests()
            yield rig


def crowd(number: int) -> list[Tx]:
    """Transactions between strangers."""
    return [
        txs.sbtc_transfer(PAYER, STRANGER, 5, memo=b"theirs", label=f"{number} {index}") for index in range(8)
    ]


def ours(label: str) -> list[Tx]:
    """Everything that concerns us, in every form."""
    return [
        txs.sbtc_transfer(PAYER, MERCHANT, 5, memo=b"OURS", label=label),
        txs.sbtc_transfer(PAYER, MERCHANT, 6, label=label),
        txs.sbtc_transfer(PAYER, STRANGER, 7, memo=b"OURS", label=label),
        txs.peg_in(MERCHANT, 9, label=label),
        txs.stx_transfer(PAYER, MERCHANT, 7, b"OURS", label=label),
        txs.stx_send_many(PAYER, [(MERCHANT, 3, b"OURS")], label=label),
        txs.contract_payment(
            PAYMENTS, PAYER, MERCHANT, 50, expires_at=1_900_000_000, salt=b"salt", label=label
        ),
        txs.contract_refund(PAYMENTS, MERCHANT, PAYER, 20, intent_id=b"i" * 32, label=label),
        txs.sbtc_transfer(PAYER, MERCHANT, 8, memo=b"OURS", label=f"failed {label}").failed(),
    ]


def concerning(rig: FollowerFixture, listed: Sequence[Tx]) -> None:
    """Check that these transactions were read as they are, and how many others were."""
    wanted = {tx.tx_id for tx in listed}
    true = {tx.tx_id: tx for block in rig.truth() for tx in block.transactions if tx.tx_id in wanted}
    read = {tx.tx_id: tx for block in rig.blocks for tx in block.transactions}
    assert {tx_id: read.get(tx_id) for tx_id in true} == true
    assert [block.header for block in rig.blocks] == [block.header for block in rig.truth()]


async def test_everything_that_concerns_us_is_read_and_strangers_transfers_are_not() -> None:
    """Memo, none, peg-in, STX, router, payment contract, refund and failed call; each as the chain has it."""
    chain = ScriptedChain(keep="instant")
    listed = []
    for number in range(12):
        mine = ours(str(number)) if number % 4 == 0 else []
        listed += mine
        chain.mine([*crowd(number), *mine], burn=number == 5)
    async with reading(chain, Wanted(), start=101) as rig:
        await rig.poll_once()
        concerning(rig, listed)
        read = {tx.tx_id for block in rig.blocks for tx in block.transactions}
        assert not read & {tx.tx_id for number in range(12) for tx in crowd(number)}
        counts = rig.apis[0].counts
        assert counts["transaction_events"] == 7 * 3, "one for each success with events, but for the transfer"


async def test_a_transfer_list_of_many_pages_is_read_to_the_end_and_old_blocks_are_jumped_to() -> None:
    """A busy recipient, and a batch far below the newest of its transfers."""
    chain = ScriptedChain(keep="instant")
    listed = []
    for number in range(420):
        mine = [
            txs.sbtc_transfer(PAYER, MERCHANT, 5, label=f"{number} {n}") for n in range(1 + (number < 60))
        ]
        listed += mine
        chain.mine(mine)
    async with reading(chain, Wanted(), start=101) as rig:
        await rig.poll_once()
        concerning(rig, listed)
        pages = [request for request in rig.apis[0].requests if request.route == "ft_transfers"]
        assert any(request.query.get("cursor", "").endswith(":0:0:0") for request in pages)
        assert len(pages) < 60


async def test_lists_are_read_where_they_take_fewer_requests_than_the_events() -> None:
    """Four lists and a look back cost five requests: two events are read without them, ten with."""
    chain = ScriptedChain(keep="instant")
    async with reading(chain, Wanted(), always=False) as rig:
        chain.mine(crowd(1)[:2])
        await rig.poll_once()
        assert rig.apis[0].counts["ft_transfers"] == 0
        chain.mine([*crowd(2), *crowd(3)])
        await rig.poll_once()
        assert rig.apis[0].counts["ft_transfers"] == 1


@pytest.mark.parametrize("version", ["9.0", "9.7"])
async def test_nothing_is_left_out_while_one_request_reads_many(version: str) -> None:
    """The full reading costs no more, so it is kept."""
    chain = ScriptedChain(keep="instant")
    async with reading(chain, Wanted(), version=version) as rig:
        chain.mine([*crowd(1), *ours("1")])
        await rig.poll_once()
        assert rig.is_current()


async def test_more_recipients_than_lists_can_be_read_of_means_that_everything_is_read() -> None:
    """Addresses of single intents may be many thousands."""
    chain, wanted = ScriptedChain(keep="instant"), Wanted()
    wanted.principals = None
    async with reading(chain, wanted) as rig:
        chain.mine([*crowd(1), *ours("1")])
        await rig.poll_once()
        assert rig.is_current()


@pytest.mark.parametrize("route", ["ft_transfers", "stx_inbound", "contract_logs"])
async def test_a_list_that_is_not_there_means_that_everything_is_read(route: str) -> None:
    """A route that answers 410 one day is not asked again."""
    chain = ScriptedChain(keep="instant")
    async with reading(chain, Wanted()) as rig:
        api = rig.apis[0]
        api.faults.malformed(b'{"error":"Gone","message":"off"}', status=410, route=route, times=None)
        for number in range(2):
            chain.mine([*crowd(number), *ours(str(number))])
            await rig.poll_once()
            assert rig.is_current()
        assert api.counts[route] == 1


@pytest.mark.parametrize("status", [400, 404, 500])
async def test_lists_that_fail_do_not_hold_up_the_blocks(status: int) -> None:
    """Everything is read instead, and the lists are left alone for a while: no error is an empty list."""
    chain = ScriptedChain(keep="instant")
    async with reading(chain, Wanted()) as rig:
        api = rig.apis[0]
        api.faults.fail(status, route="ft_transfers", times=None)
        for number in range(3):
            chain.mine([*crowd(number), *ours(str(number))])
            await rig.poll_once()
            assert rig.is_current()
        assert api.counts["ft_transfers"] == 1
        assert rig.pool.health()[0].errors == 0


async def test_a_list_of_another_branch_than_the_blocks_does_not_count() -> None:
    """A fork between the blocks and the lists: the rows' blocks, or the newest block, show it."""
    chain = ScriptedChain(keep="instant")
    async with reading(chain, Wanted()) as rig:
        there = chain.mine([*crowd(1), *ours("1")])

        def away(_: Request) -> None:
            chain.fork(there.height - 1).mine([*crowd(1), *ours("2")])

        rig.apis[0].before("ft_transfers", away)
        with pytest.raises(SourceInconsistent):
            await rig.poll_once()
        for _ in range(8):
            await rig.poll_once(passed=600)
        assert rig.follower.window.tip == chain.tip
        concerning(rig, ours("2"))


def late(route: str, body: Any) -> Any:
    """Show lists as a replica that knows no payment yet."""
    return {**body, "results": [], "total": 0} if route in ("ft_transfers", "contract_logs") else body


@pytest.mark.parametrize("always", [True, False], ids=["at the next lists", "after a minute"])
async def test_what_a_late_list_did_not_show_is_found_soon_and_its_block_applied_again(always: bool) -> None:
    """A replica lagged, or a branch came and went: no payment is lost, and nothing is undone twice."""
    chain = ScriptedChain(keep="instant")
    async with reading(chain, Wanted(), always=always) as rig:
        api = rig.apis[0]
        listed = ours("1")
        paid = chain.mine([*crowd(1), *listed])
        api.faults.tamper = late
        [step] = await rig.poll_once()
        assert isinstance(step, Extend)
        assert len(rig.blocks[0].transactions) < len(listed)
        api.faults.tamper = None
        chain.mine(crowd(2)[:1])
        assert [type(step) for step in await rig.poll_once(passed=30.0)] == [Extend]
        if not always:
            assert await rig.poll_once(passed=31.0) == [], "there is nothing to read"
            chain.mine(crowd(3)[:1])
            assert [type(step) for step in await rig.poll_once()] == [Extend]
        again = await rig.poll_once()
        assert [type(step) for step in again] == [Reorg]
        assert again[0].blocks[0].header == paid
        concerning(rig, listed)
        for number in range(4, 6):
            chain.mine(crowd(number))
            assert [type(step) for step in await rig.poll_once(passed=90.0)] == [Extend]
        assert await rig.poll_once(passed=90.0) == []


async def test_lists_that_are_minutes_late_are_caught_too() -> None:
    """Confirmed by a late list after a minute, and found out after a quarter of an hour."""
    chain = ScriptedChain(keep="instant")
    async with reading(chain, Wanted(), always=False) as rig:
        listed = ours("1")
        paid = chain.mine([*crowd(1), *listed])
        rig.apis[0].faults.tamper = late
        await rig.poll_once()
        for number in range(2, 8):
            chain.mine(crowd(number)[:1])
            assert [type(step) for step in await rig.poll_once(passed=61.0)] == [Extend]
        rig.apis[0].faults.tamper = None
        chain.mine(crowd(9)[:1])
        await rig.poll_once(passed=600.0)
        [again] = await rig.poll_once()
        assert isinstance(again, Reorg)
        assert again.blocks[0].header == paid
        concerning(rig, listed)


async def test_a_recipient_that_is_watched_from_now_on_puts_no_earlier_block_in_doubt() -> None:
    """What was paid before is a reindex's matter, as everywhere."""
    chain, wanted = ScriptedChain(keep="instant"), Wanted()
    async with reading(chain, wanted) as rig:
        chain.mine(crowd(1))
        await rig.poll_once()
        wanted.principals = frozenset({MERCHANT, STRANGER})
        for number in range(2, 5):
            chain.mine(crowd(number))
            assert [type(step) for step in await rig.poll_once(passed=70.0)] == [Extend]
        read = {tx.tx_id for block in rig.blocks for tx in block.transactions}
        assert {tx.tx_id for number in (2, 3, 4) for tx in crowd(number)} <= read
        assert not {tx.tx_id for tx in crowd(1)} & read


async def test_a_branch_that_was_read_by_late_lists_is_held_against_them_again() -> None:
    """Lists lag when a reorg has just happened; the blocks of the new branch are remembered like others."""
    chain = ScriptedChain(keep="instant")
    async with reading(chain, Wanted()) as rig:
        first = chain.mine(crowd(1))
        await rig.poll_once()
        listed = ours("2")
        chain.fork(first.height - 1).mine([*crowd(2), *listed])
        chain.mine(crowd(3))
        rig.apis[0].faults.tamper = late
        for _ in range(4):
            await rig.poll_once(passed=10.0)
        assert rig.follower.window.tip == chain.tip
        rig.apis[0].faults.tamper = None
        for number in range(4, 8):
            chain.mine(crowd(number))
            await rig.poll_once(passed=61.0)
        await rig.poll_once()
        concerning(rig, listed)


async def test_a_block_in_doubt_is_no_reason_to_believe_another_branch_at_once() -> None:
    """A source with another branch is judged like any other fork: not by one look, however many blocks."""
    chain = ScriptedChain(keep="instant")
    async with reading(chain, Wanted()) as rig:
        api = rig.apis[0]
        api.faults.tamper = late
        paid = chain.mine([*crowd(1), *ours("1")])
        await rig.poll_once()
        api.faults.tamper = None
        chain.mine(crowd(2))
        await rig.poll_once(passed=61.0)
        held = rig.follower.window.tip
        chain.fork(paid.height - 1).mine(crowd(3), n=1)
        chain.mine(n=4)
        assert await rig.poll_once() == [], "one look"
        assert rig.follower.window.tip == held
        for _ in range(4):
            await rig.poll_once(passed=600.0)
        assert rig.follower.window.tip == chain.tip


@pytest.mark.parametrize("end", ["410", "crowded"])
async def test_what_lists_can_no_longer_confirm_is_read_again_whole(end: str) -> None:
    """The lists were late, and then they ended, or there were too many recipients for them."""
    chain, wanted = ScriptedChain(keep="instant"), Wanted()
    async with reading(chain, wanted) as rig:
        api = rig.apis[0]
        listed = ours("1")
        chain.mine([*crowd(1), *listed])
        api.faults.tamper = late
        await rig.poll_once()
        if end == "410":
            api.faults.malformed(
                b'{"error":"Gone","message":"off"}', status=410, route="ft_transfers", times=None
            )
        else:
            wanted.principals = None
        for number in range(2, 8):
            chain.mine(crowd(number))
            await rig.poll_once(passed=600.0)
        concerning(rig, listed)
        assert sum(isinstance(step, Reorg) for step in rig.steps) == 1


async def test_a_list_that_keeps_a_row_of_a_branch_that_is_gone_stops_nothing() -> None:
    """A row that no reorg took away names another block than the one that is read: it is read whole."""
    chain = ScriptedChain(keep="instant")
    async with reading(chain, Wanted()) as rig:
        stale = f"0x{'77' * 32}"

        def keeping(route: str, body: Any) -> Any:
            if route != "ft_transfers":
                return body
            rows = [{**row, "block": {**row["block"], "index_hash": stale}} for row in body["results"]]
            return {**body, "results": rows}

        rig.apis[0].faults.tamper = keeping
        listed = ours("1")
        chain.mine([*crowd(1), *listed])
        await rig.poll_once()
        assert rig.is_current()


async def test_what_was_read_ahead_by_lists_and_not_applied_is_read_again() -> None:
    """A doubt about a block that is not applied undoes nothing."""
    chain = ScriptedChain(keep="instant")
    async with reading(chain, Wanted()) as rig:
        listed = ours("1")
        chain.mine([*crowd(1), *listed])
        rig.apis[0].faults.tamper = late

        def refuse(_: Any) -> None:
            raise SourceInconsistent("a full disk")

        rig.before_commit = refuse
        with pytest.raises(SourceInconsistent):
            await rig.poll_once()
        rig.apis[0].faults.tamper = None
        with pytest.raises(SourceInconsistent):
            await rig.poll_once(passed=61.0)
        rig.before_commit = None
        for number in range(2, 5):
            chain.mine(crowd(number))
            await rig.poll_once(passed=61.0)
        concerning(rig, listed)
        assert not any(isinstance(step, Reorg) for step in rig.steps)


@pytest.mark.parametrize(
    "hidden",
    [
        txs.sbtc_transfer(PAYER, MERCHANT, 5, label="plain"),
        txs.stx_send_many(PAYER, [(MERCHANT, 3, b"")], label="STX"),
        txs.sbtc_transfer(PAYER, STRANGER, 5, memo=b"OURS", label="labelled"),
        txs.contract_refund(PAYMENTS, STRANGER, PAYER, 2, intent_id=b"i" * 32, label="refund"),
    ],
    ids=["plain", "STX", "labelled", "refund"],
)
async def test_each_list_is_compared_again_by_itself(hidden: Tx) -> None:
    """One transaction, which one list alone shows, and showed late."""
    chain = ScriptedChain(keep="instant")
    async with reading(chain, Wanted()) as rig:
        api = rig.apis[0]

        def empty(route: str, body: Any) -> Any:
            lists = ("ft_transfers", "stx_inbound", "contract_logs")
            return {**body, "results": []} if route in lists else body

        api.faults.tamper = empty
        chain.mine([*crowd(1), hidden])
        await rig.poll_once()
        api.faults.tamper = None
        for number in range(2, 5):
            chain.mine(crowd(number))
            await rig.poll_once(passed=61.0)
        concerning(rig, [hidden])
        assert sum(isinstance(step, Reorg) for step in rig.steps) == 1


async def test_a_branch_that_comes_while_blocks_are_read_again_is_not_believed_at_once() -> None:
    """The blocks that are applied anew must lead to our own tip."""
    chain = ScriptedChain(keep="instant")
    async with reading(chain, Wanted()) as rig:
        api = rig.apis[0]
        api.faults.tamper = late
        paid = chain.mine([*crowd(1), *ours("1")])
        await rig.poll_once()
        api.faults.tamper = None
        chain.mine(crowd(2))
        await rig.poll_once(passed=61.0)
        held = rig.follower.window.tip

        def away(_: Request) -> None:
            chain.fork(paid.height - 1).mine(n=6)

        original = rig.follower._again

        async def again(*args: Any) -> Any:
            away(args[0])
            return await original(*args)

        rig.follower._again = again  # type: ignore[method-assign]
        with pytest.raises(SourceInconsistent, match="changed its chain"):
            await rig.poll_once()
        assert rig.follower.window.tip == held


@pytest.mark.parametrize("same", [True, False], ids=["the same page for ever", "ever older pages"])
async def test_lists_without_an_end_are_left_alone_for_a_while(same: bool) -> None:
    """A bounded number of pages is read once, and the blocks are read whole."""
    chain = ScriptedChain(keep="instant")
    async with reading(chain, Wanted()) as rig:
        api = rig.apis[0]

        def endless(route: str, body: Any) -> Any:
            if route != "ft_transfers":
                return body
            height = 10**9 - (0 if same else api.counts[route])
            known = f"0x{height:064x}"
            row = {
                "recipient": MERCHANT,
                "transaction": {"tx_id": known, "event_index": 0},
                "block": {"height": height, "hash": known, "index_hash": known},
            }
            return {**body, "results": [row] * 50, "cursor": {"next": f"{height}:0:0:1"}}

        api.faults.tamper = endless
        for number in range(3):
            chain.mine([*crowd(number), *ours(str(number))])
            await rig.poll_once()
            assert rig.is_current()
        assert api.counts["ft_transfers"] == directed.MAX_LIST_PAGES


async def test_blocks_that_were_read_ahead_stay_to_be_compared_when_earlier_ones_are_applied() -> None:
    """Batches are read in parallel and applied one after the other."""
    chain = ScriptedChain(keep="instant")
    async with reading(chain, Wanted()) as rig:
        api = rig.apis[0]
        listed = ours("2")
        first = chain.mine(crowd(1))
        second = chain.mine([*crowd(2), *listed])
        api.faults.tamper = late
        await rig.poll_once()
        api.faults.tamper = None
        assert rig.follower._directed is not None
        rig.follower._directed.settled(first.height - 1, [first])
        rig.follower._directed.settled(first.height, [second])
        for number in range(3, 6):
            chain.mine(crowd(number))
            await rig.poll_once(passed=61.0)
        concerning(rig, listed)


async def test_what_came_before_the_first_cursor_is_never_read() -> None:
    """A fresh database begins at its start; the headers below it are held against no list."""
    chain = ScriptedChain(keep="instant")
    chain.mine([*crowd(1), *ours("1")])
    async with reading(chain, Wanted()) as rig:
        for number in range(2, 6):
            chain.mine(crowd(number))
            assert [type(step) for step in await rig.poll_once(passed=61.0)] == [Extend]


async def test_a_restart_without_lists_reads_nothing_again() -> None:
    """What an earlier process applied, whole or by lists, is in doubt only if a list shows more."""
    chain, wanted = ScriptedChain(keep="instant"), Wanted()
    chain.mine(seconds=2_000)
    async with reading(chain, wanted) as rig:
        wanted.principals = None
        chain.mine([*crowd(1), *ours("1")])
        await rig.poll_once()
        window = HeaderWindow(rig.follower.window.headers)
        rig.follower = rig.make_follower(window, interests=wanted)
        for number in range(2, 6):
            chain.mine(crowd(number))
            assert [type(step) for step in await rig.poll_once(passed=1_000.0)] == [Extend]
        assert rig.is_current()


async def test_lists_that_were_entered_below_a_block_confirm_nothing_of_it() -> None:
    """While old blocks are read, the rows of the newest are jumped over."""
    chain = ScriptedChain(keep="instant")
    for number in range(300):
        chain.mine([txs.sbtc_transfer(PAYER, MERCHANT, 5, label=f"{number}")])
    async with reading(chain, Wanted()) as rig:
        api = rig.apis[0]
        listed = [txs.sbtc_transfer(PAYER, MERCHANT, 6, label="hidden")]
        chain.mine([*crowd(1), *listed])
        for number in range(60):
            chain.mine([txs.sbtc_transfer(PAYER, MERCHANT, 7, label=f"newer {number}")])
        api.faults.tamper = late
        await rig.poll_once()
        api.faults.tamper = None
        lists = rig.follower._directed
        assert lists is not None
        old = chain.blocks[20].header
        for passed in (61.0, 900.0):
            rig.clock.now += passed
            assert await lists.relevant(rig.sources[0], [old], [], top=chain.tip.height) is not None
        for number in range(2, 6):
            chain.mine(crowd(number))
            await rig.poll_once(passed=61.0)
        concerning(rig, listed)
