"""Reorgs in the ledger: undo, redo and verdict in one transaction; facts are orphaned, never lost, never doubled."""

from sqlalchemy import update

from chain.api.parse_fields import MAX_TIME
from chain.model import Reorg
from chain.testing import principal, txs
from notifier.schema import event
from tests.integration.watcher.ledger_fixture import PAYER, SHOP, World
from watcher.store import transfers as transfer_store
from watcher.store.chain_state import canonical_header, count_reorgs
from watcher.store.schema import cursor, transfer

OWN = principal("own address")


def test_a_reorg_that_takes_the_money_is_told_and_undone_when_it_is_mined_again(world: World) -> None:
    intent = world.create()
    payment = txs.sbtc_transfer(PAYER, SHOP, 50_000, world.memo(intent))
    world.mine(payment)
    applied = world.fork(1, [[], []])
    assert (applied.orphaned_blocks, applied.blocks) == (1, 2)
    shown = world.show(intent)
    assert (shown["status"], shown["flags"]) == ("processing", ["reorged"])
    assert (shown["amount_received"], shown["transfers"][0]["status"]) == ("0", "orphaned")
    world.mine(payment)
    assert (world.status(intent), world.show(intent)["flags"]) == ("succeeded", [])
    assert world.told(intent) == ["created", "succeeded", "attention:reorged"]


def test_money_that_moves_to_another_block_in_one_step_changes_no_status(world: World) -> None:
    intent = world.create()
    payment = txs.sbtc_transfer(PAYER, SHOP, 50_000, world.memo(intent))
    world.mine(payment)
    applied = world.fork(1, [[], [payment]])
    assert applied.settled.transitions == ()
    assert world.told(intent) == ["created", "succeeded"]
    assert sorted(row["canonical"] for row in world.transfers()) == [False, True]


def test_an_intent_whose_mark_a_reorg_lowers_is_settled_again(world: World) -> None:
    """What the mark covered may change with its height, though no fact of the intent does."""
    ancestor = world.tip
    world.mine()
    intent, other = world.create(), world.create()
    world.mark(intent, "succeeded")
    time = world.tip.time
    touched = world.database.transact(
        lambda c: transfer_store.orphan_facts(c, above=ancestor.height, at=time)
    )
    assert touched == {intent} != {other}


def test_money_that_never_comes_back_fails_the_intent_after_its_grace(world: World) -> None:
    intent = world.create()
    world.mine(txs.sbtc_transfer(PAYER, SHOP, 50_000, world.memo(intent)))
    world.fork(1, [[], []])
    world.pass_time(7200)
    assert world.status(intent) == "processing"
    world.pass_time(1)
    assert world.told(intent)[-1] == "failed:reorged"


def test_a_block_that_comes_back_brings_its_own_facts_back(world: World) -> None:
    intent = world.create()
    payment = txs.sbtc_transfer(PAYER, SHOP, 50_000, world.memo(intent))
    world.mine(payment)
    first = world.tip
    world.fork(1, [[], []])
    back = world.chain.fork(first.hash, keep="follow")
    back.mine()
    back.promote()
    world.apply(world.reorg())
    [row] = world.transfers()
    assert (row["block_hash"], row["canonical"], row["orphaned_at"]) == (first.hash, True, None)
    assert world.status(intent) == "succeeded"
    assert world.told(intent) == ["created", "succeeded", "attention:reorged"]
    with world.database.read() as connection:
        assert canonical_header(connection, first.height) == first
        assert count_reorgs(connection, since=0) == 2


def test_orphaned_at_is_the_later_of_the_old_and_the_new_tips_time(world: World) -> None:
    intent = world.create()
    world.mine(txs.sbtc_transfer(PAYER, SHOP, 50_000, world.memo(intent)))
    old = world.tip
    branch = world.chain.fork(old.height - 1, keep="follow")
    branch.mine(seconds=1)
    branch.promote()
    world.apply(world.reorg())
    assert world.tip.time < old.time
    assert [row["orphaned_at"] for row in world.transfers()] == [old.time]
    payment = txs.sbtc_transfer(PAYER, SHOP, 50_000, world.memo(intent), label="again")
    world.mine(payment)
    world.fork(1, [[]], burn=True)
    world.mine(seconds=500)
    newest = next(row for row in world.transfers() if row["tx_id"] == payment.tx_id)
    assert newest["orphaned_at"] == world.chain.header(world.tip.height - 1).time


def test_money_mined_again_after_monitoring_still_belongs_to_its_intent(world: World) -> None:
    intent = world.create()
    payment = txs.sbtc_transfer(PAYER, SHOP, 50_000, world.memo(intent))
    world.pass_time(3600 + 600 + 86_400 - 20)
    world.mine(payment)
    assert world.unmatched() == []
    branch = world.chain.fork(world.tip.height - 1, keep="follow")
    branch.mine(seconds=100)
    branch.mine([payment])
    branch.promote()
    world.apply(world.reorg())
    assert world.unmatched() == []
    assert [money["status"] for money in world.show(intent)["transfers"]] == ["orphaned", "canonical"]


def test_a_reorg_back_to_one_of_our_own_blocks_needs_no_new_ones(world: World) -> None:
    intent = world.create()
    ancestor = world.tip
    world.mine(txs.sbtc_transfer(PAYER, SHOP, 50_000, world.memo(intent)))
    applied = world.apply(Reorg(ancestor=ancestor, blocks=(), tip=ancestor))
    assert (applied.blocks, applied.orphaned_blocks, applied.clock.hash) == (0, 1, ancestor.hash)
    assert world.status(intent) == "processing"


def test_the_same_transaction_may_pay_somebody_else_on_the_other_branch(world: World) -> None:
    ours = world.create(reference="inv-1")
    theirs = world.create(match="recipient", recipient=OWN)
    payment = txs.sbtc_transfer(PAYER, SHOP, 50_000, b"inv-1")
    elsewhere = txs.with_events(payment, txs.sbtc_transfer(PAYER, OWN, 50_000, b"inv-1").events)
    world.mine(payment)
    world.fork(1, [[elsewhere], []])
    assert world.status(ours) == "processing"
    assert world.status(theirs) == "succeeded"


def test_failed_attempts_are_orphaned_with_their_blocks(world: World) -> None:
    intent = world.create(payer=PAYER, level="stacks=2,bitcoin=0")
    world.mine(txs.failed(txs.sbtc_transfer(PAYER, SHOP, 50_000, world.memo(intent))))
    world.fork(1, [[], [], []])
    assert (world.status(intent), world.show(intent)["attempts"]) == ("pending", [])


def test_many_reorgs_leave_one_canonical_row_for_each_movement(world: World) -> None:
    intent = world.create()
    payment = txs.sbtc_transfer(PAYER, SHOP, 50_000, world.memo(intent))
    world.mine(payment)
    for round_ in range(5):
        world.fork(1 + round_, [[]] * round_ + [[payment], []])
    rows = world.transfers()
    assert len(rows) == 6
    assert sum(row["canonical"] for row in rows) == 1
    assert world.told(intent) == ["created", "succeeded"]


def test_a_dedicated_intent_keeps_money_that_is_mined_again_before_its_creation(world: World) -> None:
    world.clock.now += 200
    intent = world.create(match="recipient", recipient=OWN)
    payment = txs.sbtc_transfer(PAYER, OWN, 50_000)
    world.mine(payment, seconds=81)
    assert world.status(intent) == "succeeded"
    branch = world.chain.fork(world.tip.height - 1, keep="follow")
    branch.mine([payment], seconds=79)
    branch.mine()
    branch.promote()
    world.apply(world.reorg())
    assert world.status(intent) == "succeeded"
    assert world.unmatched() == []


def test_a_database_with_a_false_time_in_it_heals_with_the_next_block(world: World) -> None:
    """Of the year 9999, from a version that believed it: the cursor's newest time, an orphaning, and what was told."""
    intent = world.create()
    world.mine(txs.sbtc_transfer(PAYER, SHOP, 50_000, world.memo(intent)))
    world.fork(1, [[], []])
    with world.database.begin() as connection:
        connection.execute(update(cursor).values(newest_time=MAX_TIME))
        connection.execute(update(transfer).values(orphaned_at=MAX_TIME))
        connection.execute(update(event).values(as_of=MAX_TIME))
    healed = world.mine().clock.time
    moved = world.ledger.cursor()
    assert moved is not None
    assert moved.newest_time == healed
    assert [row["orphaned_at"] for row in world.transfers()] == [healed]
    world.pass_time(7200)
    assert world.status(intent) == "processing"
    world.pass_time(1)
    assert (world.status(intent), world.told(intent)[-1]) == ("failed", "failed:reorged")


def test_a_reorg_of_days_leaves_no_success_that_a_second_one_takes(world: World) -> None:
    """A person accepted the first one: what was told later than the new branch's time is still told before the second."""
    intent = world.create(level="anchored")
    world.mine(txs.sbtc_transfer(PAYER, SHOP, 50_000, world.memo(intent)), burn=True)
    paid = world.tip
    world.mine(seconds=5 * 3600, burn_blocks=2)
    assert world.status(intent) == "succeeded"
    world.pass_time(3 * 86_400)
    world.fork(world.tip.height - paid.height, [[], []])
    assert world.tip.time < paid.time + 3600
    assert world.status(intent) == "succeeded"
    world.fork(3, [[], [], []])
    assert (world.status(intent), world.show(intent)["flags"]) == ("processing", ["reorged"])
