"""Reorgs in the ledger: one transaction; facts are orphaned, never lost and never doubled."""

from sqlalchemy import update

from chain.api.parse_fields import MAX_TIME
from chain.model import Reorg
from chain.testing import principal, txs
from notifier.schema import event
from tests.integration.watcher.ledger_fixture import PAYER, SHOP, LedgerFixture
from watcher.store import transfers as transfer_store
from watcher.store.chain_state import canonical_header, count_reorgs
from watcher.store.schema import cursor, transfer

OWN = principal("own address")


def test_a_reorg_that_takes_the_money_is_sent_and_undone_when_it_is_mined_again(
    fixture: LedgerFixture,
) -> None:
    intent = fixture.create()
    payment = txs.sbtc_transfer(PAYER, SHOP, 50_000, fixture.memo(intent))
    fixture.mine(payment)
    applied = fixture.fork(1, [[], []])
    assert (applied.orphaned_blocks, applied.blocks) == (1, 2)
    shown = fixture.show(intent)
    assert (shown["status"], shown["flags"]) == ("processing", ["reorged"])
    assert (shown["amount_received"], shown["transfers"][0]["status"]) == ("0", "orphaned")
    fixture.mine(payment)
    assert (fixture.status(intent), fixture.show(intent)["flags"]) == ("succeeded", [])
    assert fixture.sent_events(intent) == ["created", "succeeded", "attention:reorged"]


def test_money_that_moves_to_another_block_in_one_step_changes_no_status(fixture: LedgerFixture) -> None:
    intent = fixture.create()
    payment = txs.sbtc_transfer(PAYER, SHOP, 50_000, fixture.memo(intent))
    fixture.mine(payment)
    applied = fixture.fork(1, [[], [payment]])
    assert applied.settled.transitions == ()
    assert fixture.sent_events(intent) == ["created", "succeeded"]
    assert sorted(row["canonical"] for row in fixture.transfers()) == [False, True]


def test_an_intent_whose_mark_a_reorg_lowers_is_settled_again(fixture: LedgerFixture) -> None:
    """What the mark covered may change with its height, though no fact of the intent does."""
    ancestor = fixture.tip
    fixture.mine()
    intent, other = fixture.create(), fixture.create()
    fixture.mark(intent, "succeeded")
    time = fixture.tip.time
    touched = fixture.database.transact(
        lambda c: transfer_store.orphan_facts(c, above=ancestor.height, at=time)
    )
    assert touched == {intent} != {other}


def test_money_that_never_comes_back_fails_the_intent_after_its_grace(fixture: LedgerFixture) -> None:
    intent = fixture.create()
    fixture.mine(txs.sbtc_transfer(PAYER, SHOP, 50_000, fixture.memo(intent)))
    fixture.fork(1, [[], []])
    fixture.pass_time(7200)
    assert fixture.status(intent) == "processing"
    fixture.pass_time(1)
    assert fixture.sent_events(intent)[-1] == "failed:reorged"


def test_a_block_that_comes_back_brings_its_own_facts_back(fixture: LedgerFixture) -> None:
    intent = fixture.create()
    payment = txs.sbtc_transfer(PAYER, SHOP, 50_000, fixture.memo(intent))
    fixture.mine(payment)
    first = fixture.tip
    fixture.fork(1, [[], []])
    back = fixture.chain.fork(first.hash, keep="follow")
    back.mine()
    back.promote()
    fixture.apply(fixture.reorg())
    [row] = fixture.transfers()
    assert (row["block_hash"], row["canonical"], row["orphaned_at"]) == (first.hash, True, None)
    assert fixture.status(intent) == "succeeded"
    assert fixture.sent_events(intent) == ["created", "succeeded", "attention:reorged"]
    with fixture.database.read() as connection:
        assert canonical_header(connection, first.height) == first
        assert count_reorgs(connection, since=0) == 2


def test_orphaned_at_is_the_later_of_the_old_and_the_new_tips_time(fixture: LedgerFixture) -> None:
    intent = fixture.create()
    fixture.mine(txs.sbtc_transfer(PAYER, SHOP, 50_000, fixture.memo(intent)))
    old = fixture.tip
    branch = fixture.chain.fork(old.height - 1, keep="follow")
    branch.mine(seconds=1)
    branch.promote()
    fixture.apply(fixture.reorg())
    assert fixture.tip.time < old.time
    assert [row["orphaned_at"] for row in fixture.transfers()] == [old.time]
    payment = txs.sbtc_transfer(PAYER, SHOP, 50_000, fixture.memo(intent), label="again")
    fixture.mine(payment)
    fixture.fork(1, [[]], burn=True)
    fixture.mine(seconds=500)
    newest = next(row for row in fixture.transfers() if row["tx_id"] == payment.tx_id)
    assert newest["orphaned_at"] == fixture.chain.header(fixture.tip.height - 1).time


def test_money_mined_again_after_monitoring_still_belongs_to_its_intent(fixture: LedgerFixture) -> None:
    intent = fixture.create()
    payment = txs.sbtc_transfer(PAYER, SHOP, 50_000, fixture.memo(intent))
    fixture.pass_time(3600 + 600 + 86_400 - 20)
    fixture.mine(payment)
    assert fixture.unmatched() == []
    branch = fixture.chain.fork(fixture.tip.height - 1, keep="follow")
    branch.mine(seconds=100)
    branch.mine([payment])
    branch.promote()
    fixture.apply(fixture.reorg())
    assert fixture.unmatched() == []
    assert [money["status"] for money in fixture.show(intent)["transfers"]] == ["orphaned", "canonical"]


def test_a_reorg_back_to_one_of_our_own_blocks_needs_no_new_ones(fixture: LedgerFixture) -> None:
    intent = fixture.create()
    ancestor = fixture.tip
    fixture.mine(txs.sbtc_transfer(PAYER, SHOP, 50_000, fixture.memo(intent)))
    applied = fixture.apply(Reorg(ancestor=ancestor, blocks=(), tip=ancestor))
    assert (applied.blocks, applied.orphaned_blocks, applied.clock.hash) == (0, 1, ancestor.hash)
    assert fixture.status(intent) == "processing"


def test_the_same_transaction_may_pay_another_recipient_on_the_other_branch(fixture: LedgerFixture) -> None:
    ours = fixture.create(reference="inv-1")
    theirs = fixture.create(match="recipient", recipient=OWN)
    payment = txs.sbtc_transfer(PAYER, SHOP, 50_000, b"inv-1")
    elsewhere = txs.with_events(payment, txs.sbtc_transfer(PAYER, OWN, 50_000, b"inv-1").events)
    fixture.mine(payment)
    fixture.fork(1, [[elsewhere], []])
    assert fixture.status(ours) == "processing"
    assert fixture.status(theirs) == "succeeded"


def test_failed_attempts_are_orphaned_with_their_blocks(fixture: LedgerFixture) -> None:
    intent = fixture.create(payer=PAYER, level="stacks=2,bitcoin=0")
    fixture.mine(txs.sbtc_transfer(PAYER, SHOP, 50_000, fixture.memo(intent)).failed())
    fixture.fork(1, [[], [], []])
    assert (fixture.status(intent), fixture.show(intent)["attempts"]) == ("pending", [])


def test_many_reorgs_leave_one_canonical_row_for_each_movement(fixture: LedgerFixture) -> None:
    intent = fixture.create()
    payment = txs.sbtc_transfer(PAYER, SHOP, 50_000, fixture.memo(intent))
    fixture.mine(payment)
    for round_ in range(5):
        fixture.fork(1 + round_, [[]] * round_ + [[payment], []])
    rows = fixture.transfers()
    assert len(rows) == 6
    assert sum(row["canonical"] for row in rows) == 1
    assert fixture.sent_events(intent) == ["created", "succeeded"]


def test_a_dedicated_intent_keeps_money_that_is_mined_again_before_its_creation(
    fixture: LedgerFixture,
) -> None:
    fixture.clock.now += 200
    intent = fixture.create(match="recipient", recipient=OWN)
    payment = txs.sbtc_transfer(PAYER, OWN, 50_000)
    fixture.mine(payment, seconds=81)
    assert fixture.status(intent) == "succeeded"
    branch = fixture.chain.fork(fixture.tip.height - 1, keep="follow")
    branch.mine([payment], seconds=79)
    branch.mine()
    branch.promote()
    fixture.apply(fixture.reorg())
    assert fixture.status(intent) == "succeeded"
    assert fixture.unmatched() == []


def test_a_database_with_a_false_time_in_it_heals_with_the_next_block(fixture: LedgerFixture) -> None:
    """The year 9999, from a version that believed it: in the cursor, an orphaning, and an event."""
    intent = fixture.create()
    fixture.mine(txs.sbtc_transfer(PAYER, SHOP, 50_000, fixture.memo(intent)))
    fixture.fork(1, [[], []])
    with fixture.database.begin() as connection:
        connection.execute(update(cursor).values(newest_time=MAX_TIME))
        connection.execute(update(transfer).values(orphaned_at=MAX_TIME))
        connection.execute(update(event).values(as_of=MAX_TIME))
    healed = fixture.mine().clock.time
    moved = fixture.ledger.cursor()
    assert moved is not None
    assert moved.newest_time == healed
    assert [row["orphaned_at"] for row in fixture.transfers()] == [healed]
    fixture.pass_time(7200)
    assert fixture.status(intent) == "processing"
    fixture.pass_time(1)
    assert (fixture.status(intent), fixture.sent_events(intent)[-1]) == ("failed", "failed:reorged")


def test_a_reorg_of_days_leaves_no_success_that_a_second_one_takes(fixture: LedgerFixture) -> None:
    """An operator accepted the first one.

    What was sent later than the new branch's time still counts as sent before the second.
    """
    intent = fixture.create(level="anchored")
    fixture.mine(txs.sbtc_transfer(PAYER, SHOP, 50_000, fixture.memo(intent)), burn=True)
    paid = fixture.tip
    fixture.mine(seconds=5 * 3600, burn_blocks=2)
    assert fixture.status(intent) == "succeeded"
    fixture.pass_time(3 * 86_400)
    fixture.fork(fixture.tip.height - paid.height, [[], []])
    assert fixture.tip.time < paid.time + 3600
    assert fixture.status(intent) == "succeeded"
    fixture.fork(3, [[], [], []])
    assert (fixture.status(intent), fixture.show(intent)["flags"]) == ("processing", ["reorged"])
