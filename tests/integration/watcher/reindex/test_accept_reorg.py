"""An operator accepts a branch that forked below finality: undo, apply, settle, and record who decided it."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import select

from chain.errors import SourcesDisagree
from chain.testing import ScriptedApi, txs
from chain.testing.tx import Tx
from notifier.schema import delivery, event
from tests import harness
from tests.integration.watcher.indexer.refunds import back
from tests.integration.watcher.indexer.refunds import pay as pay_by_contract
from tests.integration.watcher.ledger_fixture import PAYER, SHOP, LedgerFixture
from tests.integration.watcher.reindex.reindex_fixture import Reading
from tests.integration.watcher.reindex.test_reindex import subscribe
from watcher.errors import Refused, Unreachable
from watcher.indexer.loop import PollResult
from watcher.indexer.settler import Settler
from watcher.store.schema import act, reorg


@pytest.fixture
async def reading(fixture: LedgerFixture) -> AsyncIterator[Reading]:
    async with ScriptedApi(fixture.chain, ping_interval=None) as api:
        yield Reading(fixture, [api])


def pay(fixture: LedgerFixture, made: str, label: str = "") -> Tx:
    return txs.sbtc_transfer(PAYER, SHOP, 50_000, fixture.memo(made), label=label)


def fork_deep(
    fixture: LedgerFixture, at: int, first: list[Tx], *, blocks: int = 12, seconds: int = 3
) -> None:
    """Fork the chain at a height, deeper than finality; the daemon has not seen it."""
    branch = fixture.chain.fork(at, keep="follow")
    branch.mine(first, burn=True, seconds=seconds)
    branch.mine(n=blocks - 1, burn=True, seconds=seconds)
    branch.promote()


def cursor(fixture: LedgerFixture) -> Any:
    found = fixture.ledger.cursor()
    assert found is not None
    return found


async def test_the_branch_is_applied_and_every_intent_decided_again(
    fixture: LedgerFixture, reading: Reading
) -> None:
    kept, dropped, mined_again = fixture.create(), fixture.create(), fixture.create()
    again = pay(fixture, mined_again)
    fork = fixture.mine(pay(fixture, kept)).clock.height
    fixture.mine(pay(fixture, dropped), again)
    fixture.mine(n=10, burn=True)
    old = cursor(fixture).clock
    fork_deep(fixture, fork, [again])
    accepted = await reading.accept(fork, reason="explorers agree")
    assert accepted.fork is not None
    assert (accepted.fork.height, accepted.orphaned, accepted.blocks) == (fork, 11, 12)
    assert cursor(fixture).clock.hash == fixture.chain.tip.hash
    assert [fixture.status(key) for key in (kept, dropped, mined_again)] == [
        "succeeded",
        "processing",
        "succeeded",
    ]
    assert fixture.sent_events(dropped) == ["created", "succeeded", "attention:reorged"]
    assert fixture.sent_events(mined_again) == ["created", "succeeded"]
    [change] = [change for change in accepted.changes if change.intent == dropped]
    assert (change.before["status"], change.after["flags"]) == ("succeeded", ["reorged"])
    [row] = reading.rows(act)
    assert (row.kind, row.intent_id, row.actor, row.reason) == (
        "accept_reorg",
        None,
        "test",
        "explorers agree",
    )
    assert (row.at, row.height) == (int(fixture.clock()), fork)
    [undone] = reading.rows(reorg)
    assert (undone.ancestor_height, undone.old_tip) == (fork, old.hash)
    assert undone.new_tip == fixture.chain.tip.hash


async def test_a_dry_run_accepts_nothing(fixture: LedgerFixture, reading: Reading) -> None:
    made = fixture.create()
    fixture.mine()
    fixture.mine(pay(fixture, made))
    fixture.mine(n=10, burn=True)
    fork_deep(fixture, 101, [])
    before = reading.snapshot()
    accepted = await reading.accept(101, dry_run=True)
    assert reading.snapshot() == before
    document = accepted.document()
    assert (document["accepted"], document["dry_run"], document["orphaned_blocks"]) == (False, True, 11)
    assert [change["after"]["status"] for change in document["changes"]] == ["processing"]


def settled_by_transaction(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, int]]:
    """Collect how many intents each transaction of a settler handles."""
    found: list[tuple[Any, int]] = []
    settle = Settler.settle

    def noted(settler: Settler, connection: Any, ids: Any, *args: Any, **more: Any) -> Any:
        known = sum(size for one, size in found if one is connection)
        found[:] = [(one, size) for one, size in found if one is not connection]
        found.append((connection, known + len(ids)))
        return settle(settler, connection, ids, *args, **more)

    monkeypatch.setattr(Settler, "settle", noted)
    return found


@pytest.mark.parametrize("how", [{}, {"notify": False}, {"dry_run": True}], ids=["", "no notify", "dry run"])
async def test_of_very_many_intents_each_is_decided_and_named(
    fixture: LedgerFixture, reading: Reading, monkeypatch: pytest.MonkeyPatch, how: dict[str, Any]
) -> None:
    """In bounded transactions; what must not be delivered, or is rolled back, is not left to the daemon."""
    made = [fixture.create() for _ in range(7)]
    fixture.mine()
    fixture.mine(*[pay(fixture, one, label=one) for one in made])
    fixture.mine(n=10, burn=True)
    fork_deep(fixture, 101, [])
    monkeypatch.setattr("watcher.indexer.settler.MAX_INTENTS_PER_TRANSACTION", 2)
    before = reading.snapshot()
    sizes = settled_by_transaction(monkeypatch)
    accepted = await reading.accept(101, **how)
    assert [size for _, size in sizes] == [2, 2, 2, 1]
    assert sorted(change.intent for change in accepted.changes) == made
    assert {change.after["status"] for change in accepted.changes} == {"processing"}
    if "dry_run" in how:
        assert reading.snapshot() == before
    else:
        assert {fixture.status(one) for one in made} == {"processing"}
        assert not fixture.ledger.settle_due().intents


@pytest.mark.parametrize("how", [{"notify": False}, {"dry_run": True}], ids=["no notify", "dry run"])
async def test_an_intent_with_very_many_payments_is_decided_at_once(
    fixture: LedgerFixture, reading: Reading, monkeypatch: pytest.MonkeyPatch, how: dict[str, Any]
) -> None:
    """Settling without delivery, or for a dry run, cannot be left to the daemon."""
    made = fixture.create()
    fixture.mine()
    fixture.mine(pay(fixture, made))
    fixture.mine(n=10, burn=True)
    fork_deep(fixture, 101, [])
    monkeypatch.setattr("watcher.indexer.settler.OVERSIZED_FACTS", 0)
    accepted = await reading.accept(101, **how)
    assert [(change.intent, change.after["status"]) for change in accepted.changes] == [(made, "processing")]


async def test_not_to_tell_of_a_branch_keeps_nothing_else_from_anybody(
    fixture: LedgerFixture, reading: Reading, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was due before the branch was accepted, and had not been settled yet, is delivered."""
    subscribe(fixture)
    monkeypatch.setattr("watcher.indexer.settler.MAX_INTENTS_PER_TRANSACTION", 2)
    made = [fixture.create(level="settled") for _ in range(7)]
    fork = fixture.mine(*[pay(fixture, one, label=one) for one in made]).clock.height
    while fixture.ledger.settle_due().more:
        pass
    fixture.mine(n=10, burn=True)
    assert [fixture.status(one) for one in made].count("processing") == 5
    fork_deep(fixture, fork, [])
    await reading.accept(fork, notify=False)
    while fixture.ledger.settle_due().more:
        pass
    assert {fixture.status(one) for one in made} == {"succeeded"}
    succeeded = {row.id for row in reading.rows(event) if row.type == "payment.succeeded"}
    assert len(succeeded) == 7
    assert succeeded <= {row.event for row in reading.rows(delivery)}


async def test_the_daemon_goes_on_without_a_word_when_the_command_that_was_not_to_notify_dies(
    fixture: LedgerFixture, reading: Reading, monkeypatch: pytest.MonkeyPatch
) -> None:
    subscribe(fixture)
    monkeypatch.setattr("watcher.indexer.settler.MAX_INTENTS_PER_TRANSACTION", 2)
    made = [fixture.create() for _ in range(5)]
    fork = fixture.mine().clock.height
    fixture.mine(*[pay(fixture, one, label=one) for one in made])
    while fixture.ledger.settle_due().more:
        pass
    fixture.mine(n=10, burn=True)
    fork_deep(fixture, fork, [])
    sent = reading.rows(delivery)

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("watcher.reindex.accept_reorg.Accept._settle_rest", die)
    with pytest.raises(KeyboardInterrupt):
        await reading.accept(fork, notify=False)
    assert [fixture.status(one) for one in made].count("processing") == 2
    while fixture.ledger.settle_due().more:
        pass
    assert {fixture.status(one) for one in made} == {"processing"}
    assert {fixture.sent_events(one)[-1] for one in made} == {"attention:reorged"}
    assert reading.rows(delivery) == sent


async def test_a_dry_run_names_what_is_due_on_the_branch_too(
    fixture: LedgerFixture, reading: Reading, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the acceptance itself would settle it; of very many due intents some are tried, the rest counted."""
    monkeypatch.setattr("watcher.indexer.settler.MAX_INTENTS_PER_TRANSACTION", 2)
    fixture.mine()
    made = [fixture.create(expires_in=60) for _ in range(7)]
    fixture.mine(n=10, burn=True)
    fork_deep(fixture, 101, [], seconds=100)
    before = reading.snapshot()
    sizes = settled_by_transaction(monkeypatch)
    tried = await reading.accept(101, dry_run=True)
    assert reading.snapshot() == before
    assert [size for _, size in sizes] == [2, 2, 2, 1]
    assert (sorted(change.intent for change in tried.changes), tried.untried) == (made, 0)
    monkeypatch.setattr("watcher.reindex.dry_run.MAX_DUE_TRIED", 4)
    tried = await reading.accept(101, dry_run=True)
    assert (len(tried.changes), tried.untried) == (4, 3)
    assert tried.document()["untried"] == 3


async def test_the_halted_daemon_goes_on_by_itself_after_the_decision(
    fixture: LedgerFixture, reading: Reading
) -> None:
    """In order: halt, status says why, an operator accepts, the running daemon follows the branch."""
    following, pool = harness.make_indexer(fixture.ledger, [reading.api.url], fixture.clock)
    made = fixture.create(level="anchored")
    fixture.chain.mine([pay(fixture, made)], n=10, burn=True)

    async def turns() -> list[PollResult]:
        seen = []
        for _ in range(4):
            fixture.clock.now += 61
            seen.append(await following.poll())
        return seen

    await turns()
    assert fixture.status(made) == "succeeded"
    fork_deep(fixture, 100, [])
    assert (await turns())[-1] is PollResult.HALTED
    assert cursor(fixture).halted["code"] == "reorg_too_deep"
    assert "--accept-reorg" in cursor(fixture).halted["hint"]
    await reading.accept(100)
    assert cursor(fixture).halted is None
    fixture.chain.mine([pay(fixture, made, "again")], n=3, burn=True)
    assert PollResult.HALTED not in (await turns())[1:]
    assert cursor(fixture).clock.hash == fixture.chain.tip.hash
    assert cursor(fixture).halted is None
    assert fixture.status(made) == "succeeded"
    assert fixture.sent_events(made)[-2:] == ["succeeded", "attention:reorged"]
    await pool.aclose()


async def test_a_fork_below_every_header_is_undone_to_the_height_that_is_named(
    fixture: LedgerFixture, reading: Reading
) -> None:
    """Shared blocks that are undone too are found again: their payments are never reported as lost."""
    shared, dropped = fixture.create(), fixture.create()
    fixture.mine(n=3)
    fixture.mine(pay(fixture, shared))
    fixture.mine(n=2)
    fixture.mine(pay(fixture, dropped))
    fixture.mine(n=30, burn=True)
    reading.forget_headers(12)
    sent = fixture.sent_events(shared)
    fork_deep(fixture, 106, [], blocks=40)
    with pytest.raises(Refused, match="below height"):
        await reading.accept(130)
    accepted = await reading.accept(102)
    assert accepted.fork is not None
    assert accepted.fork.height == 102
    assert cursor(fixture).clock.hash == fixture.chain.tip.hash
    assert (fixture.status(shared), fixture.sent_events(shared)) == ("succeeded", sent)
    assert (fixture.status(dropped), fixture.sent_events(dropped)[-1]) == ("processing", "attention:reorged")
    window = fixture.ledger.window(10_000)
    assert [header.hash for header in window] == [
        block.header.hash for block in fixture.chain.blocks if block.header.height >= 102
    ]


async def test_refunds_follow_the_branch_that_is_accepted(fixture: LedgerFixture, reading: Reading) -> None:
    """One mined again, one with another amount, one gone: events, flags and timeline follow the branch."""
    _, less, gone = intents = [fixture.create() for _ in range(3)]
    fork = fixture.mine(*(pay_by_contract(fixture, each) for each in intents)).clock.height
    given = [back(fixture, each, 20_000) for each in intents]
    fixture.mine(*given)
    fixture.mine(n=10, burn=True)
    fork_deep(fixture, fork, [given[0], txs.with_events(given[1], back(fixture, less, 5_000).events)])
    before = reading.snapshot()
    tried = await reading.accept(fork, dry_run=True)
    assert reading.snapshot() == before
    accepted = await reading.accept(fork)
    assert [change.document() for change in tried.changes] == [
        change.document() for change in accepted.changes
    ]
    assert {change.intent: change.after["amount_refunded"] for change in accepted.changes} == {
        less: "5000",
        gone: "0",
    }
    assert [fixture.sent_events(each) for each in intents] == [
        ["created", "succeeded", "refunded"],
        ["created", "succeeded", "refunded", "refunded"],
        ["created", "succeeded", "refunded"],
    ]
    assert [fixture.show(each)["flags"] for each in intents] == [["partially_refunded"]] * 2 + [[]]
    notes = [[entry["reason"] for entry in fixture.show(each)["timeline"]][3:] for each in intents]
    undone = [f"refund of 20000 by {tx.tx_id} undone by a reorg" for tx in given]
    assert notes == [[], [undone[1], f"refunded 5000 by {given[1].tx_id}"], [undone[2]]]
    done = reading.snapshot()
    for _ in range(2):
        report = await reading.reindex()
        assert (report.changes, report.counts.refunds, report.counts.differences) == ([], 0, 0)
        assert reading.snapshot() == done


async def test_a_height_above_the_fork_is_refused_and_nothing_changes(
    fixture: LedgerFixture, reading: Reading
) -> None:
    """An operator accepts the fork that the command names, not whatever turns out to be there."""
    made = fixture.create()
    fixture.mine(n=2)
    fixture.mine(pay(fixture, made))
    fixture.mine(n=30, burn=True)
    fork_deep(fixture, 102, [], blocks=40)
    before = reading.snapshot()
    with pytest.raises(Refused, match="forked at height 102, below --from 103") as caught:
        await reading.accept(103)
    assert "--from 102" in caught.value.hint
    assert reading.snapshot() == before
    reading.forget_headers(12)
    before = reading.snapshot()
    with pytest.raises(Refused, match="holds money of ours") as caught:
        await reading.accept(110)
    assert "below 103" in caught.value.hint
    assert reading.snapshot() == before


async def test_where_nothing_forked_there_is_nothing_to_accept(
    fixture: LedgerFixture, reading: Reading
) -> None:
    """Our own chain, also when the source lags behind it or is far behind."""
    fixture.mine(n=20, burn=True)
    before = reading.snapshot()
    for lag in (0, 4):
        reading.api.lag(lag)
        accepted = await reading.accept(100)
        assert (accepted.fork, accepted.document()["accepted"]) == (None, False)
    reading.forget_headers(5)
    reading.api.lag(15)
    assert (await reading.accept(100)).fork is None
    reading.forget_headers(5)
    assert before["event"] == reading.snapshot()["event"]
    assert reading.rows(act) == []


async def test_sources_that_disagree_about_the_branch_are_not_chosen_between(
    fixture: LedgerFixture, reading: Reading
) -> None:
    fixture.mine(n=20, burn=True)
    ours = fixture.chain.clone()
    fork_deep(fixture, 101, [])
    async with ScriptedApi(ours, ping_interval=None) as other:
        both = Reading(fixture, [reading.api, other])
        with pytest.raises(SourcesDisagree):
            await both.accept(101)
        assert cursor(fixture).clock.hash == ours.tip.hash
        other.faults.fail(503, times=None, route="block")
        assert (await both.accept(101)).fork is not None


async def test_a_source_that_fails_half_way_leaves_everything_as_it_was(
    fixture: LedgerFixture, reading: Reading
) -> None:
    fixture.mine(n=20, burn=True)
    fork_deep(fixture, 101, [])
    before = reading.snapshot()
    reading.api.faults.fail(503, times=None, route="transactions")
    with pytest.raises(Unreachable):
        await reading.accept(101)
    assert reading.snapshot() == before


async def test_a_cursor_that_moves_meanwhile_wins(fixture: LedgerFixture, reading: Reading) -> None:
    fixture.mine(n=20, burn=True)
    ours = fixture.chain.clone()
    fork_deep(fixture, 101, [])
    mine = fixture.chain

    def moves(_: object) -> None:
        fixture.chain = ours
        fixture.mine()

    reading.api.before("transactions", moves)
    with pytest.raises(Refused, match="moved on meanwhile"):
        await reading.accept(101)
    assert cursor(fixture).clock.hash == ours.tip.hash
    fixture.chain = mine


async def test_no_notify_delivers_nothing(fixture: LedgerFixture, reading: Reading) -> None:
    made = fixture.create()
    fixture.mine(pay(fixture, made))
    fixture.mine(n=10, burn=True)
    fork_deep(fixture, 100, [])
    sent = reading.rows(delivery)
    await reading.accept(100, notify=False)
    assert fixture.sent_events(made)[-1] == "attention:reorged"
    assert reading.rows(delivery) == sent


async def test_a_branch_far_above_ours_is_applied_in_part_and_followed_from_there(
    fixture: LedgerFixture, reading: Reading
) -> None:
    fixture.mine(n=10, burn=True)
    fork_deep(fixture, 101, [], blocks=200)
    accepted = await reading.accept(101)
    assert accepted.tip is not None
    assert 160 <= accepted.tip.height < fixture.chain.tip.height
    following, pool = harness.make_indexer(fixture.ledger, [reading.api.url], fixture.clock)
    for _ in range(5):
        fixture.clock.now += 61
        await following.poll()
    assert cursor(fixture).clock.hash == fixture.chain.tip.hash
    with fixture.database.read() as connection:
        assert len(connection.execute(select(reorg)).all()) == 1
    await pool.aclose()


async def test_a_branch_with_a_payment_whose_status_is_not_known_is_not_accepted(
    fixture: LedgerFixture, reading: Reading
) -> None:
    """Its status is unknown: the refusal says so, and nothing changes."""
    made = fixture.create()
    fixture.mine(n=10, burn=True)
    fork_deep(fixture, 101, [pay(fixture, made)])
    before = reading.snapshot()

    def renamed(route: str, body: Any) -> Any:
        for row in body["results"] if route in ("transactions", "block_transactions") else []:
            row["status"] = "ok"
        for entry in body.values() if route == "tx_multiple" else []:
            entry["result"]["tx_status"] = "ok"
        return body

    reading.api.faults.tamper = renamed
    with pytest.raises(Refused, match="has a status that this version does not know"):
        await reading.accept(101)
    assert reading.snapshot() == before
