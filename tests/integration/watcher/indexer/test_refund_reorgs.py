"""Reorgs of refunds in the ledger: each is sent once, whatever branch it is on."""

from chain.testing import txs
from tests.integration.watcher.indexer.refunds import back, bodies, pay, reasons, rows
from tests.integration.watcher.ledger_fixture import PAYER, STRANGER, LedgerFixture


def test_a_refund_that_a_reorg_takes_and_another_block_brings_back_is_sent_once(
    fixture: LedgerFixture,
) -> None:
    intent = fixture.create()
    fixture.mine(pay(fixture, intent))
    given = back(fixture, intent, 50_000)
    fixture.mine(given)
    fixture.fork(1, [[], []])
    shown = fixture.show(intent)
    assert (shown["status"], shown["flags"], shown["amount_refunded"]) == ("succeeded", [], "0")
    assert [(row["status"], row["confirmations"]) for row in shown["refunds"]] == [("orphaned", None)]
    assert [row.orphaned_at is not None for row in rows(fixture)] == [True]
    fixture.mine(given)
    shown = fixture.show(intent)
    assert (shown["flags"], [row["status"] for row in shown["refunds"]]) == (
        ["refunded"],
        ["orphaned", "canonical"],
    )
    made, undone = f"refunded 50000 by {given.tx_id}", f"refund of 50000 by {given.tx_id} undone by a reorg"
    assert [reason for _, reason in reasons(fixture, intent)][2:] == [made, undone, made]
    assert fixture.sent_events(intent) == ["created", "succeeded", "refunded"]


def test_a_refund_that_moves_to_another_block_in_one_step_is_nothing_new(fixture: LedgerFixture) -> None:
    intent = fixture.create()
    given = back(fixture, intent, 50_000)
    fixture.mine(pay(fixture, intent))
    fixture.mine(given)
    before = fixture.show(intent)["timeline"]
    fixture.fork(1, [[], [given]])
    assert fixture.show(intent)["timeline"] == before
    assert [row.canonical for row in rows(fixture)] == [False, True]
    assert fixture.sent_events(intent) == ["created", "succeeded", "refunded"]


def test_a_block_that_comes_back_brings_its_refund_back(fixture: LedgerFixture) -> None:
    intent = fixture.create()
    fixture.mine(pay(fixture, intent))
    fixture.mine(back(fixture, intent, 50_000))
    first = fixture.tip
    fixture.fork(1, [[], []])
    branch = fixture.chain.fork(first.hash, keep="follow")
    branch.mine()
    branch.promote()
    fixture.apply(fixture.reorg())
    [row] = rows(fixture)
    assert (row.block_hash, row.canonical, row.orphaned_at) == (first.hash, True, None)
    assert fixture.show(intent)["flags"] == ["refunded"]
    assert fixture.sent_events(intent) == ["created", "succeeded", "refunded"]


def test_a_refund_that_a_reorg_takes_before_its_depth_is_never_sent(fixture: LedgerFixture) -> None:
    intent = fixture.create(level="anchored")
    fixture.mine(pay(fixture, intent), burn=True)
    fixture.mine(n=2, burn=True)
    fixture.mine(back(fixture, intent, 50_000))
    fixture.fork(1, [[], []])
    fixture.mine(n=4, burn=True)
    assert fixture.sent_events(intent) == ["created", "processing", "succeeded"]


def test_payment_and_refund_that_a_fork_takes_together_come_back_together(fixture: LedgerFixture) -> None:
    intent = fixture.create()
    paid, given = pay(fixture, intent), back(fixture, intent, 20_000)
    fixture.mine(paid)
    fixture.mine(given)
    fixture.fork(2, [[], [], []])
    assert fixture.show(intent)["flags"] == ["reorged"]
    fixture.mine(paid, given)
    assert (fixture.status(intent), fixture.show(intent)["flags"]) == ("succeeded", ["partially_refunded"])
    assert fixture.sent_events(intent) == ["created", "succeeded", "refunded", "attention:reorged"]


def test_a_refund_that_other_events_precede_on_another_branch_is_sent_once(fixture: LedgerFixture) -> None:
    """It has another rank there, and two of one transaction may change places; no new refund was made."""
    intent = fixture.create()
    less, more = back(fixture, intent, 5_000), back(fixture, intent, 7_000)
    other = txs.sbtc_transfer(STRANGER, PAYER, 1)
    call = txs.call(f"{STRANGER}.wrapper", "all", STRANGER, events=[*less.events, *more.events])
    fixture.mine(pay(fixture, intent))
    fixture.mine(call)
    fixture.fork(1, [[], [txs.with_events(call, (*other.events, *more.events, *less.events))]])
    assert fixture.show(intent)["amount_refunded"] == "12000"
    assert [body["refund"]["amount"] for body in bodies(fixture, "payment.refunded")] == ["5000", "7000"]


def test_the_same_transaction_with_another_amount_on_another_branch_is_sent_as_it_is(
    fixture: LedgerFixture,
) -> None:
    intent = fixture.create()
    given, less = back(fixture, intent, 50_000), back(fixture, intent, 10_000)
    fixture.mine(pay(fixture, intent))
    fixture.mine(given)
    fixture.fork(1, [[], [txs.with_events(given, less.events)]])
    assert fixture.show(intent)["amount_refunded"] == "10000"
    assert [body["refund"]["amount"] for body in bodies(fixture, "payment.refunded")] == ["50000", "10000"]
