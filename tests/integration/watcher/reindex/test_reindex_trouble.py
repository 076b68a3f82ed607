"""A reindex that is interrupted, disturbed or shown another chain resumes, reads again, or gives up."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from chain.errors import WrongNetwork
from chain.testing import ScriptedApi, principal, txs
from chain.testing.tx import Tx
from notifier.schema import delivery, event
from tests.integration.watcher.ledger_fixture import PAYER, SHOP, LedgerFixture
from tests.integration.watcher.reindex.reindex_fixture import Reading
from tests.integration.watcher.reindex.test_reindex import subscribe
from watcher.domain.decision import Decision
from watcher.domain.model import Intent
from watcher.errors import Halted, LeaseHeld, NotFound, Unreachable, UsageError
from watcher.indexer import settler
from watcher.indexer.settler import SET_ASIDE_SECONDS
from watcher.reindex import job
from watcher.reindex import run as reindex_run
from watcher.reindex.report import Progress, ReindexRequest
from watcher.services import status as status_service
from watcher.store import reindex_runs
from watcher.store.chain_state import Halt
from watcher.store.process_schema import scan_header
from watcher.store.schema import transfer


@pytest.fixture
async def reading(fixture: LedgerFixture) -> AsyncIterator[Reading]:
    async with ScriptedApi(fixture.chain, ping_interval=None) as api:
        yield Reading(fixture, [api])


class Killed(BaseException):
    """The process dies here."""


def pay(fixture: LedgerFixture, made: str, amount: int = 50_000, label: str = "") -> Tx:
    return txs.sbtc_transfer(PAYER, SHOP, amount, fixture.memo(made), label=label)


def paid_world(fixture: LedgerFixture, reading: Reading, blocks: int = 40) -> list[str]:
    """Mine payments that the daemon misses, one intent in every fifth block."""
    made = [fixture.create() for _ in range(blocks // 5)]

    def story() -> None:
        for key in made:
            fixture.mine(pay(fixture, key))
            fixture.mine(n=4)

    reading.miss(story)
    return made


async def dies_before_the_rest(reading: Reading, monkeypatch: pytest.MonkeyPatch, *, notify: bool) -> None:
    """Reindex; the process dies when two intents are settled."""
    with monkeypatch.context() as patch:
        patch.setattr(reindex_run, "MAX_INTENTS_PER_TRANSACTION", 2)

        def die(*_: object) -> None:
            raise Killed

        patch.setattr(reindex_run.Reindex, "_settle_later", die)
        with pytest.raises(Killed):
            await reading.reindex(notify=notify)


def deliveries(reading: Reading) -> Counter[str]:
    """Count the events that are delivered, by type."""
    types = {row.id: row.type for row in reading.rows(event)}
    return Counter(types[row.event] for row in reading.rows(delivery))


def dying_after(position: int) -> object:
    """Return a progress listener that dies once a run has read some blocks."""

    def show(progress: Progress) -> None:
        if progress.done >= position:
            raise Killed

    return show


async def test_an_interrupted_run_goes_on_where_it_was_committed(
    fixture: LedgerFixture, reading: Reading, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job, "BATCH_BLOCKS", 5)
    made = paid_world(fixture, reading)
    with pytest.raises(Killed):
        await reading.reindex(start=101, show=dying_after(20))  # type: ignore[arg-type]
    assert [fixture.status(key) for key in made] == ["succeeded"] * 4 + ["pending"] * 4
    fixture.clock.now += 500
    shown = status_service.status(fixture.database, fixture.settings, now=fixture.clock())["reindex"]
    assert (shown["state"], shown["position"], shown["progress"]) == ("interrupted", 120, 0.5)
    fixture.mine(n=3)
    report = await reading.reindex(start=101)
    assert (report.resumed, report.bottom, report.top) == (True, 101, 140)
    assert (report.counts.blocks, report.counts.found, report.counts.changes) == (40, 8, 8)
    assert len(report.changes) == 4, "the list is of this call"
    assert [fixture.status(key) for key in made] == ["succeeded"] * 8
    assert [fixture.sent_events(key) for key in made] == [["created", "succeeded"]] * 8
    again = await reading.reindex(start=101)
    assert (again.resumed, again.top, again.counts.found) == (False, 143, 0)


@pytest.mark.parametrize("when", ["while it went down", "while it read"])
async def test_a_run_that_goes_on_does_not_follow_the_same_headers_down_again(
    fixture: LedgerFixture, reading: Reading, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Below the kept headers only blocks not traced yet are requested, and they have to link to our chain."""
    monkeypatch.setattr(job, "BATCH_BLOCKS", 5)
    made = fixture.create()
    reading.miss(lambda: fixture.mine(pay(fixture, made)))
    fixture.mine(n=300)
    fixture.mine(n=20, burn=True)
    reading.forget_headers(8)
    api = reading.api

    def dies(progress: Progress) -> None:
        went_down = progress.note.endswith("to 100") and int(progress.note.split()[4].strip(",")) < 230
        if went_down if when == "while it went down" else progress.done >= 20:
            raise Killed

    with pytest.raises(Killed):
        await reading.reindex(start=101, show=dies)
    fixture.mine(n=3, burn=True)
    reading.forget_headers(8)
    before = len([1 for request in api.requests if "limit=" in str(request) and "offset=1" in str(request)])
    report = await reading.reindex(start=101)
    assert report.resumed
    after = len([1 for request in api.requests if "limit=" in str(request) and "offset=1" in str(request)])
    assert after - before <= (6 if when == "while it went down" else 1)
    assert fixture.status(made) == "succeeded"
    assert reading.rows(scan_header) == []


async def test_a_run_of_long_ago_is_neither_shown_nor_kept(
    fixture: LedgerFixture, reading: Reading, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job, "BATCH_BLOCKS", 5)
    fixture.mine(n=40, burn=True)
    reading.forget_headers(8)
    with pytest.raises(Killed):
        await reading.reindex(start=101, show=dying_after(20))  # type: ignore[arg-type]
    assert len(reading.rows(scan_header)) == 1
    fixture.clock.now += 90_000
    assert status_service.status(fixture.database, fixture.settings, now=fixture.clock())["reindex"] is None
    fixture.clock.now += 31 * 86_400
    await reading.reindex(start=102)
    assert reading.rows(scan_header) == []


async def test_another_command_begins_a_run_of_its_own(
    fixture: LedgerFixture, reading: Reading, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job, "BATCH_BLOCKS", 5)
    paid_world(fixture, reading)
    with pytest.raises(Killed):
        await reading.reindex(start=101, show=dying_after(20))  # type: ignore[arg-type]
    assert not (await reading.reindex(start=102)).resumed
    assert not (await reading.reindex(start=101, notify=False)).resumed
    assert not (await reading.reindex(start=101, dry_run=True)).resumed
    assert (await reading.reindex(start=101)).resumed


async def test_a_crash_inside_a_transaction_leaves_nothing_of_the_chunk(
    fixture: LedgerFixture, reading: Reading, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job, "BATCH_BLOCKS", 5)
    made = paid_world(fixture, reading)
    original = reindex_runs.advance
    calls = []

    def dies(*args: object, **named: object) -> bool:
        done = original(*args, **named)  # type: ignore[arg-type]
        calls.append(done)
        if len(calls) == 3:
            raise Killed
        return done

    monkeypatch.setattr(reindex_runs, "advance", dies)
    with pytest.raises(Killed):
        await reading.reindex(start=101)
    assert [fixture.status(key) for key in made] == ["succeeded"] * 2 + ["pending"] * 6
    await reading.reindex(start=101)
    assert [fixture.sent_events(key) for key in made] == [["created", "succeeded"]] * 8


async def test_a_cancelled_run_finishes_the_transaction_in_hand(
    fixture: LedgerFixture, reading: Reading, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C cancels the task: the open transaction is committed, and the run can be resumed."""
    monkeypatch.setattr(job, "BATCH_BLOCKS", 5)
    made = paid_world(fixture, reading)
    loop = asyncio.get_running_loop()
    original = reindex_runs.advance

    def cancels(*args: object, **named: object) -> bool:
        loop.call_soon_threadsafe(task.cancel)
        return original(*args, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(reindex_runs, "advance", cancels)
    task = asyncio.ensure_future(reading.reindex(start=101))
    with pytest.raises(asyncio.CancelledError):
        await task
    assert fixture.status(made[0]) == "succeeded"
    monkeypatch.setattr(reindex_runs, "advance", original)
    report = await reading.reindex(start=101)
    assert (report.resumed, report.counts.blocks, report.counts.found) == (True, 40, 8)


async def test_two_processes_do_not_work_on_one_run(
    fixture: LedgerFixture, reading: Reading, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job, "BATCH_BLOCKS", 5)
    made = paid_world(fixture, reading)

    def other_moves(progress: Progress) -> None:
        if progress.done == 10:
            with fixture.database.begin() as connection:
                run = reindex_runs.resume(connection, ReindexRequest(start=101).key())
                assert run is not None
                assert reindex_runs.advance(
                    connection, run, run.position + 5, run.counts, now=fixture.clock()
                )

    with pytest.raises(LeaseHeld):
        await reading.reindex(start=101, show=other_moves)
    assert [fixture.status(key) for key in made] == ["succeeded"] * 2 + ["pending"] * 6


async def test_a_reorg_during_the_run_is_noticed_and_the_new_branch_is_read(
    fixture: LedgerFixture, reading: Reading, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The daemon undoes blocks that were read already, before they are compared."""
    monkeypatch.setattr(job, "BATCH_BLOCKS", 5)
    made = paid_world(fixture, reading)
    forks = 0

    def fork(progress: Progress) -> None:
        nonlocal forks
        if progress.done == 25 and not forks:
            forks += 1
            fixture.fork(8, [[pay(fixture, made[-1])], [], [], []])

    report = await reading.reindex(start=101, show=fork)
    assert forks == 1
    assert [fixture.status(key) for key in made] == ["succeeded"] * 8
    with fixture.database.read() as connection:
        rows = connection.execute(select(transfer.c.block_hash).where(transfer.c.canonical)).scalars().all()
    assert all(fixture.chain.is_canonical(block_hash) for block_hash in rows)
    assert len(rows) == 8
    assert report.differences == []


async def test_a_block_that_was_orphaned_while_it_was_read_is_never_stored(
    fixture: LedgerFixture, reading: Reading
) -> None:
    """The reorg comes between the last answer of the source and the transaction."""
    made = fixture.create()
    reading.miss(lambda: (fixture.mine(pay(fixture, made)), fixture.mine(n=3)))
    orphans = {block.header.hash for block in fixture.chain.blocks if block.header.height > 100}

    def fork(_: object) -> None:
        fixture.fork(4, [[], [], [], [], []])

    reading.api.before("tx_multiple", fork)
    report = await reading.reindex()
    assert fixture.transfers() == []
    assert fixture.status(made) == "pending"
    assert orphans.isdisjoint(block.header.hash for block in fixture.chain.blocks)
    assert report.counts.found == 0


async def test_a_source_with_another_chain_below_ours_puts_nothing_in(
    fixture: LedgerFixture, reading: Reading
) -> None:
    """Its blocks do not link to ours: it is rejected, whatever it reports as canonical."""
    made = fixture.create()
    fixture.mine(n=30, burn=True)
    reading.forget_headers(5)
    liar = fixture.chain.clone()
    branch = liar.fork(102, keep="follow")
    branch.mine([pay(fixture, made)])
    branch.mine(n=40, burn=True)
    branch.promote()
    async with ScriptedApi(liar, ping_interval=None) as api:
        with pytest.raises(Unreachable, match="does not have block"):
            await Reading(fixture, [api]).reindex(start=101)
        assert fixture.transfers() == []
        report = await Reading(fixture, [api, reading.api]).reindex(start=101)
    assert (report.counts.blocks, report.counts.found) == (30, 0)


async def test_headers_that_do_not_link_are_not_followed(fixture: LedgerFixture, reading: Reading) -> None:
    fixture.mine(n=60, burn=True)
    reading.forget_headers(5)

    def lie(route: str, body: object) -> object:
        if route == "blocks" and isinstance(body, dict):
            for row in body["results"]:
                if row["height"] == 120:
                    row["parent_index_block_hash"] = "0x" + "00" * 32
        return body

    reading.api.faults.tamper = lie
    with pytest.raises(Unreachable, match="do not link"):
        await reading.reindex()
    assert fixture.transfers() == []


@pytest.mark.parametrize("fault", ["html", "truncate", "cut", "disconnect", "fail", "rate_limit"])
async def test_a_source_that_fails_now_and_then_only_slows_it_down(
    fixture: LedgerFixture, reading: Reading, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job, "BATCH_BLOCKS", 5)
    made = paid_world(fixture, reading)
    for route in ("blocks", "transactions", "tx_multiple"):
        getattr(reading.api.faults, fault)(times=2, route=route)
    report = await reading.reindex(start=101)
    assert [fixture.status(key) for key in made] == ["succeeded"] * 8
    assert (report.counts.blocks, report.counts.found) == (40, 8)


async def test_a_dead_source_ends_it_and_it_can_go_on_later(fixture: LedgerFixture, reading: Reading) -> None:
    made = paid_world(fixture, reading)
    reading.api.faults.fail(503, times=None)
    with pytest.raises(Unreachable) as caught:
        await reading.reindex(start=101)
    assert "same command" in caught.value.hint
    reading.api.faults.clear()
    await reading.reindex(start=101)
    assert [fixture.status(key) for key in made] == ["succeeded"] * 8


async def test_a_budget_that_never_refills_ends_it(fixture: LedgerFixture, reading: Reading) -> None:
    fixture.mine(n=3)
    reading.api.faults.rate_limit(600, times=None, route="transactions")
    with pytest.raises(Unreachable, match="no source"):
        await reading.reindex()
    shown = status_service.status(fixture.database, fixture.settings, now=fixture.clock())["reindex"]
    assert shown["state"] == "running", "it said that it lives while it waited"


async def test_a_source_of_another_network_is_refused(fixture: LedgerFixture) -> None:
    async with ScriptedApi(fixture.chain, ping_interval=None, network_id=2147483648) as api:
        with pytest.raises(WrongNetwork):
            await Reading(fixture, [api]).reindex()


async def test_a_halted_daemon_is_not_read_around(fixture: LedgerFixture, reading: Reading) -> None:
    """It is unknown which chain is right: an operator decides that first."""
    fixture.ledger.record_poll(
        tip=None, sources=[], halt=Halt(code="reorg_too_deep", message="forked", hint="look")
    )
    with pytest.raises(Halted, match="forked"):
        await reading.reindex()


async def test_a_database_that_has_not_begun_has_nothing_to_read_again(
    before_the_chain: LedgerFixture,
) -> None:
    async with ScriptedApi(before_the_chain.chain, ping_interval=None) as api:
        with pytest.raises(UsageError, match="not begun"):
            await Reading(before_the_chain, [api]).reindex()
        with pytest.raises(UsageError, match="not begun"):
            await Reading(before_the_chain, [api]).accept(100)


async def test_ranges_that_make_no_sense_are_refused(fixture: LedgerFixture, reading: Reading) -> None:
    with pytest.raises(UsageError, match="the newest block that was read is 100"):
        await reading.reindex(start=101)
    with pytest.raises(UsageError, match="--to 50 is below"):
        await reading.reindex(start=100, to=50)
    with pytest.raises(NotFound):
        await reading.reindex(intent="pi_NOBODY")


async def test_a_chain_that_never_rests_ends_it(
    fixture: LedgerFixture, reading: Reading, monkeypatch: pytest.MonkeyPatch
) -> None:
    fixture.mine(n=3)
    monkeypatch.setattr(reindex_run, "MAX_REORGS", 2)
    monkeypatch.setattr(reindex_run.chain_state, "canonical_hashes", lambda *_: {101: "0xelse"})
    with pytest.raises(Unreachable, match="forked more than 2 times"):
        await reading.reindex()


@pytest.mark.parametrize("notify", [True, False], ids=["", "no notify"])
async def test_a_run_that_dies_leaves_no_intent_undecided_whose_money_it_put_in(
    fixture: LedgerFixture, reading: Reading, monkeypatch: pytest.MonkeyPatch, notify: bool
) -> None:
    """Intents beyond those that one transaction settles are due from then on: the daemon settles them.

    With ``--no-notify`` the daemon does not deliver their events either.
    """
    subscribe(fixture)
    made = [fixture.create(expires_in=60) for _ in range(5)]
    reading.miss(lambda: fixture.mine(*[pay(fixture, key, label=key) for key in made]))
    fixture.pass_time(1000)
    assert {fixture.status(key) for key in made} == {"expired"}
    sent = deliveries(reading)
    await dies_before_the_rest(reading, monkeypatch, notify=notify)
    assert [fixture.status(key) for key in made].count("succeeded") == 2
    fixture.mine()
    assert {fixture.status(key) for key in made} == {"succeeded"}
    assert {tuple(fixture.sent_events(key)) for key in made} == {("created", "expired", "succeeded")}
    assert deliveries(reading) - sent == Counter({"payment.succeeded": 5} if notify else {})


async def test_what_comes_after_a_run_that_died_is_delivered_though_it_was_not_to_notify(
    fixture: LedgerFixture, reading: Reading, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A success by a newer block, or the effect of a newer payment, was not to be withheld."""
    subscribe(fixture)
    made = [fixture.create(level="anchored") for _ in range(4)]
    reading.miss(lambda: fixture.mine(*[pay(fixture, key, label=key) for key in made]))
    sent = deliveries(reading)
    await dies_before_the_rest(reading, monkeypatch, notify=False)
    waiting = [key for key in made if fixture.status(key) == "pending"]
    assert len(waiting) == 2
    fixture.mine(pay(fixture, waiting[0], label="more"), n=3, burn=True)
    while fixture.ledger.settle_due().more:
        pass
    assert {fixture.status(key) for key in made} == {"succeeded"}
    counted = deliveries(reading) - sent
    assert (counted["payment.succeeded"], counted["payment.attention"]) == (4, 1)


async def test_an_act_of_a_person_tells_nothing_of_what_a_run_was_not_to_notify(
    fixture: LedgerFixture, reading: Reading, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The chain's event comes first and is withheld; the operator's own event is sent."""
    subscribe(fixture)
    made = [fixture.create() for _ in range(3)]
    reading.miss(lambda: fixture.mine(*[pay(fixture, key, label=key) for key in made]))
    sent = deliveries(reading)
    await dies_before_the_rest(reading, monkeypatch, notify=False)
    [waiting] = [key for key in made if fixture.status(key) == "pending"]
    fixture.mark(waiting, "failed")
    assert fixture.sent_events(waiting) == ["created", "succeeded", "failed:manual"]
    assert deliveries(reading) - sent == Counter({"payment.failed": 1})


@pytest.mark.parametrize("dry_run", [True, False], ids=["dry run", ""])
async def test_an_intent_that_cannot_be_settled_does_not_end_it_nor_blame_the_source(
    fixture: LedgerFixture, reading: Reading, monkeypatch: pytest.MonkeyPatch, dry_run: bool
) -> None:
    made = [fixture.create() for _ in range(3)]
    reading.miss(lambda: fixture.mine(*[pay(fixture, key, label=key) for key in made]))
    honest = settler.decide

    def decide(intent: Intent, *rest: Any) -> Decision:
        if intent.id == made[1]:
            raise IntegrityError("INSERT", None, ValueError("a mistake of ours"))
        return honest(intent, *rest)

    monkeypatch.setattr(settler, "decide", decide)
    report = await reading.reindex(dry_run=dry_run)
    assert report.counts.found == 3
    assert sorted(change.intent for change in report.changes) == [made[0], made[2]]
    if not dry_run:
        assert [fixture.status(key) for key in made] == ["succeeded", "pending", "succeeded"]
        monkeypatch.undo()
        fixture.pass_time(SET_ASIDE_SECONDS)
        assert fixture.status(made[1]) == "succeeded"


def rename_statuses(reading: Reading, tx_id: str) -> None:
    """Let the API report a transaction status that this version does not know."""

    def renamed(route: str, body: Any) -> Any:
        for row in body["results"] if route in ("transactions", "block_transactions") else []:
            row["status"] = "ok" if row["tx_id"] == tx_id else row["status"]
        for key, entry in body.items() if route == "tx_multiple" else []:
            entry["result"]["tx_status"] = "ok" if key == tx_id else entry["result"]["tx_status"]
        return body

    reading.api.faults.tamper = renamed


async def test_a_payment_whose_status_is_not_known_is_set_aside_and_the_others_are_put_in(
    fixture: LedgerFixture, reading: Reading
) -> None:
    """No source reports a known status; a source that does is believed."""
    made, other = fixture.create(), fixture.create()
    odd = pay(fixture, made)
    reading.miss(lambda: (fixture.mine(odd, pay(fixture, other, label="other")), fixture.mine(n=3)))
    rename_statuses(reading, odd.tx_id)
    for dry_run in (True, False):
        report = await reading.reindex(dry_run=dry_run)
        assert report.counts.found == 1
        [left] = report.differences
        assert (left.tx_id, left.intent, left.height) == (odd.tx_id, made, 101)
        assert "has a status that this version does not know" in left.note
    assert [fixture.status(key) for key in (made, other)] == ["pending", "succeeded"]
    async with ScriptedApi(fixture.chain, ping_interval=None) as honest:
        report = await Reading(fixture, [reading.api, honest]).reindex()
    assert (report.counts.found, report.differences, fixture.status(made)) == (1, [], "succeeded")


async def test_a_payment_that_is_stored_stays_though_its_status_is_called_otherwise_now(
    fixture: LedgerFixture, reading: Reading
) -> None:
    """No source reports that it failed."""
    made = fixture.create()
    odd = pay(fixture, made)
    fixture.mine(odd)
    rename_statuses(reading, odd.tx_id)
    before = reading.snapshot()
    report = await reading.reindex()
    assert (report.corrections, report.changes, reading.snapshot()) == ([], [], before)
    [left] = report.differences
    assert "left as it is" in left.note


async def test_an_older_payment_of_unknown_status_to_an_address_that_became_ours_fails_no_reindex(
    fixture: LedgerFixture, reading: Reading
) -> None:
    """When its block was applied, it paid no merchant."""
    odd = txs.sbtc_transfer(PAYER, principal("new shop"), 5, b"salary")
    made = fixture.create()
    fixture.mine(odd)
    reading.miss(lambda: fixture.mine(pay(fixture, made)))
    fixture.add_merchant("New shop", principal("new shop"))
    rename_statuses(reading, odd.tx_id)
    report = await reading.reindex()
    assert [(left.tx_id, left.intent) for left in report.differences] == [(odd.tx_id, None)]
    assert (report.counts.found, fixture.status(made)) == (1, "succeeded")
