"""What people do: cancel from pending only, mark whatever the chain says, give unmatched money to an intent."""

import pytest
from sqlalchemy import select

from chain.testing import Tx, principal, txs
from chain.testing import events as ev
from notifier.events import rfc3339
from tests.harness import SBTC
from tests.integration.watcher.ledger_fixture import PAYER, SHOP, World
from watcher.errors import NotFound, Refused
from watcher.schemas import PaymentIntentFilters
from watcher.services import queries
from watcher.services import status as status_service
from watcher.store.schema import act


def code(caught: pytest.ExceptionInfo[Refused]) -> str:
    return caught.value.code


def test_a_pending_intent_can_be_canceled_once(world: World) -> None:
    intent = world.create()
    world.cancel(intent)
    assert world.status(intent) == "canceled"
    assert world.told(intent) == ["created", "canceled"]
    with pytest.raises(Refused, match="is canceled; only a pending") as caught:
        world.cancel(intent)
    assert code(caught) == "not_pending"


def test_a_paid_intent_cannot_be_canceled(world: World) -> None:
    intent = world.create(level="anchored")
    world.mine(txs.sbtc_transfer(PAYER, SHOP, 50_000, world.memo(intent)))
    with pytest.raises(Refused, match="is processing") as caught:
        world.cancel(intent)
    assert code(caught) == "not_pending"
    assert world.status(intent) == "processing"


def test_money_after_a_cancel_is_late(world: World) -> None:
    intent = world.create()
    world.cancel(intent)
    world.mine(txs.sbtc_transfer(PAYER, SHOP, 50_000, world.memo(intent)))
    shown = world.show(intent)
    assert (shown["status"], shown["flags"], shown["amount_received"]) == (
        "canceled",
        ["late", "refund_due"],
        "50000",
    )


def test_money_in_part_of_a_canceled_intent_is_due_until_it_is_dismissed(world: World) -> None:
    """Canceled after 12,345 of 50,000 sats came: it calls for a person, who settles it with a reason, without an event."""
    intent = world.create()
    world.mine(txs.sbtc_transfer(PAYER, SHOP, 12_345, world.memo(intent)))
    with pytest.raises(Refused, match="which is pending") as caught:
        world.dismiss(intent)
    assert code(caught) == "nothing_due"
    world.cancel(intent)
    assert world.show(intent)["flags"] == ["refund_due"]
    assert [row["id"] for row in calling(world)] == [intent]
    told = world.told(intent)
    world.dismiss(intent, "sent back by hand")
    shown = world.show(intent)
    assert (shown["status"], shown["flags"], calling(world)) == ("canceled", [], [])
    assert shown["timeline"][-1]["reason"] == "refund of 12345 dismissed by test: sent back by hand"
    assert world.told(intent) == told
    with pytest.raises(Refused) as caught:
        world.dismiss(intent)
    assert code(caught) == "nothing_due"


def test_more_money_after_a_dismissal_is_due_again(world: World) -> None:
    """What was dismissed stays settled, also over a reindex or a reorg above it; what comes then is new."""
    intent = world.create()
    world.mine(txs.sbtc_transfer(PAYER, SHOP, 12_345, world.memo(intent)))
    world.cancel(intent)
    world.dismiss(intent)
    world.mine(n=3)
    world.fork(2, [[], [], []])
    assert world.show(intent)["flags"] == []
    world.mine(txs.sbtc_transfer(PAYER, SHOP, 5, world.memo(intent)))
    assert world.show(intent)["flags"] == ["late", "refund_due"]
    world.dismiss(intent, "a tip")
    with world.database.read() as connection:
        kept = select(act.c.amount, act.c.reason).where(act.c.kind == "dismiss").order_by(act.c.id)
        assert connection.execute(kept).all() == [(12_345, "sent back by hand"), (5, "a tip")]


def test_only_ones_own_intent_is_dismissed_and_for_a_reason(world: World) -> None:
    """Another merchant does not learn that it exists; an empty reason is no reason."""
    intent = world.create()
    world.mine(txs.sbtc_transfer(PAYER, SHOP, 5, world.memo(intent)))
    world.cancel(intent)
    other = world.add_merchant("Other", principal("other shop"))
    with pytest.raises(NotFound):
        world.dismiss(intent, merchant=other)
    with pytest.raises(Refused) as caught:
        world.dismiss(intent, reason=" ")
    assert code(caught) == "validation"
    assert world.show(intent)["flags"] == ["refund_due"]


def test_attention_lists_what_it_counts(world: World) -> None:
    """Money to be given back, and a success whose money a reorg took, until a person has judged it."""
    surplus, taken, canceled, paid = (world.create() for _ in range(4))
    world.mine(txs.sbtc_transfer(PAYER, SHOP, 50_000, world.memo(surplus)))
    world.mine(
        txs.sbtc_transfer(PAYER, SHOP, 50_000, world.memo(paid)),
        txs.sbtc_transfer(PAYER, SHOP, 1, world.memo(canceled)),
    )
    world.cancel(canceled)
    world.mine(txs.sbtc_transfer(PAYER, SHOP, 50_000, world.memo(taken)))
    assert [row["id"] for row in calling(world)] == [canceled]
    world.fork(1, [[txs.sbtc_transfer(PAYER, SHOP, 2, world.memo(surplus))], []])
    assert [row["id"] for row in calling(world)] == [canceled, taken, surplus]
    world.mark(taken, "succeeded", "sent by hand")
    world.dismiss(canceled)
    assert [row["id"] for row in calling(world)] == [surplus]


def calling(world: World) -> list[dict[str, object]]:
    """Return the intents that call for a person, as many as the status counts."""
    with world.database.read() as connection:
        found = queries.intents(connection, PaymentIntentFilters(attention=True), payment_contract=None)[
            "data"
        ]
        assert len(found) == status_service.count_attention(connection)
    return list(found)


@pytest.mark.parametrize("status", ["succeeded", "failed"])
def test_a_mark_is_told_with_its_flag_and_its_reason_stands_in_the_timeline(
    world: World, status: str
) -> None:
    intent = world.create()
    world.mark(intent, status, "paid in cash")
    shown = world.show(intent)
    assert (shown["status"], shown["flags"]) == (status, ["manual"])
    assert shown["timeline"][-1]["reason"] == "manual: paid in cash"
    assert world.told(intent) == ["created", f"{status}:manual"]


def test_the_timeline_shows_every_act_with_who_when_and_why(world: World) -> None:
    marked, canceled, given = world.create(), world.create(), world.create()
    world.mine(txs.sbtc_transfer(PAYER, SHOP, 20_000, b"mistyped"))
    [transfer] = world.transfers()
    world.cancel(canceled, reason="out of stock")
    world.mark(marked, "failed", "fraud")
    world.mark(marked, "failed", "checked again")
    world.assign(transfer["id"], given, "memo was mistyped")
    assert [
        [(entry["status"], entry["reason"]) for entry in world.show(intent)["timeline"]]
        for intent in (canceled, marked, given)
    ] == [
        [("pending", "created"), ("pending", "canceled by test: out of stock"), ("canceled", None)],
        [
            ("pending", "created"),
            ("pending", "marked failed by test: fraud"),
            ("failed", "manual: fraud"),
            ("failed", "marked failed by test: checked again"),
        ],
        [
            ("pending", "created"),
            ("pending", f"given 20000 of {transfer['tx_id']} by test: memo was mistyped"),
        ],
    ]
    assert {entry["at"] for entry in world.show(canceled)["timeline"]} == {rfc3339(int(world.clock()))}


@pytest.mark.parametrize("status", ["pending", "expired", "canceled", "processing", "", None, 5])
def test_other_marks_are_refused(world: World, status: object) -> None:
    intent = world.create()
    with pytest.raises(Refused) as caught:
        world.mark(intent, status)
    assert [error["field"] for error in caught.value.errors] == ["status"]


@pytest.mark.parametrize("reason", ["", "   ", None, "x" * 501, "a\0b", "\ud800"])
def test_an_act_needs_a_reason(world: World, reason: object) -> None:
    intent = world.create()
    world.mine(txs.sbtc_transfer(PAYER, SHOP, 5))
    money = world.transfers()[0]["id"]
    attempts = [lambda: world.mark(intent, "failed", reason), lambda: world.assign(money, intent, reason)]
    if reason is not None:  # a cancellation needs none
        attempts.append(lambda: world.cancel(intent, reason=reason))
    for attempt in attempts:
        with pytest.raises(Refused) as caught:
            attempt()
        assert [error["field"] for error in caught.value.errors] == ["reason"]


def test_the_newest_mark_wins_also_within_one_millisecond(world: World) -> None:
    intent = world.create()
    for status in ["succeeded", "failed"] * 5 + ["succeeded"]:
        world.mark(intent, status)
        assert world.status(intent) == status


def test_the_newest_mark_wins_also_when_this_machines_clock_went_back(world: World) -> None:
    intent = world.create()
    world.mark(intent, "succeeded")
    world.clock.now -= 3600
    world.mark(intent, "failed")
    assert world.status(intent) == "failed"


def test_an_act_is_stored_with_who_did_it_and_the_chain_clock(world: World) -> None:
    intent = world.create()
    world.mark(intent, "failed", "  fraud ")
    with world.database.read() as connection:
        row = connection.execute(select(act)).one()
    assert (row.intent_id, row.kind, row.status, row.reason, row.actor) == (
        intent,
        "mark",
        "failed",
        "fraud",
        "test",
    )
    assert (row.height, row.time, row.at) == (world.tip.height, world.tip.time, int(world.clock()))


def test_unmatched_money_can_be_given_to_an_intent(world: World) -> None:
    intent = world.create()
    world.mine(txs.sbtc_transfer(PAYER, SHOP, 50_000, b"typo"))
    [money] = world.transfers()
    world.assign(money["id"], intent)
    assert world.status(intent) == "succeeded"
    assert world.unmatched() == []
    with pytest.raises(Refused, match=intent) as caught:
        world.assign(money["id"], world.create())
    assert code(caught) == "already_matched"


def test_money_that_another_merchant_at_the_same_recipient_has_does_not_name_his_intent(world: World) -> None:
    twin = world.add_merchant("Twin", SHOP)
    ours = world.create()
    theirs = world.create(merchant=twin)
    world.mine(txs.sbtc_transfer(PAYER, SHOP, 50_000, b"typo"))
    [money] = world.transfers()
    world.assign(money["id"], theirs, merchant=twin)
    with pytest.raises(Refused) as caught:
        world.assign(money["id"], ours, merchant=world.merchant)
    assert code(caught) == "already_matched"
    assert theirs not in str(caught.value)


def test_money_that_came_too_late_counts_when_a_person_assigns_it(world: World) -> None:
    intent = world.create()
    world.pass_time(100_000)
    world.mine(txs.sbtc_transfer(PAYER, SHOP, 50_000, world.memo(intent)))
    assert (world.status(intent), world.unmatched()) == ("expired", [("too_late", 50_000)])
    world.assign(world.transfers()[0]["id"], intent)
    assert world.status(intent) == "succeeded"
    assert world.told(intent) == ["created", "expired", "succeeded"]


def test_money_of_another_asset_cannot_be_assigned(world: World) -> None:
    intent = world.create()
    world.mine(txs.stx_transfer(PAYER, SHOP, 50_000))
    with pytest.raises(Refused, match="STX") as caught:
        world.assign(world.transfers()[0]["id"], intent)
    assert code(caught) == "wrong_asset"


def test_money_of_another_merchant_cannot_be_assigned(world: World) -> None:
    other = world.add_merchant("Other", principal("other shop"))
    world.mine(txs.sbtc_transfer(PAYER, principal("other shop"), 50_000))
    [money] = world.transfers()
    ours, theirs = world.create(), world.create(other)
    with pytest.raises(Refused) as caught:
        world.assign(money["id"], ours)
    assert code(caught) == "wrong_recipient"
    with pytest.raises(NotFound):  # a merchant does not learn that it exists
        world.assign(money["id"], ours, merchant=world.merchant)
    world.assign(money["id"], theirs, merchant=other)
    assert world.status(theirs) == "succeeded"


def test_what_does_not_exist_or_is_anothers_is_not_found(world: World) -> None:
    other = world.add_merchant("Other", principal("other shop"))
    intent = world.create()
    for attempt in (
        lambda: world.cancel("pi_X"),
        lambda: world.mark("pi_X", "failed"),
        lambda: world.assign("tr_X", intent),
        lambda: world.assign("tr_X", "pi_X"),
        lambda: world.cancel(intent, merchant=other),
        lambda: world.mark(intent, "failed", merchant=other),
        lambda: world.assign("tr_X", intent, merchant=other),
    ):
        with pytest.raises(NotFound):
            attempt()
    assert world.status(intent) == "pending"


def test_assigned_money_stays_assigned_when_it_is_mined_again(world: World) -> None:
    intent = world.create()
    payment = txs.sbtc_transfer(PAYER, SHOP, 50_000, b"typo")
    world.mine(payment)
    world.assign(world.transfers()[0]["id"], intent)
    world.fork(1, [[], [payment]])
    assert world.status(intent) == "succeeded"
    assert [(row["canonical"], row["assigned"]) for row in world.transfers()] == [(False, True), (True, True)]


def test_the_other_blocks_of_assigned_money_go_with_it(world: World) -> None:
    intent = world.create()
    payment = txs.sbtc_transfer(PAYER, SHOP, 50_000, b"typo")
    world.mine(payment)
    world.fork(1, [[], [payment]])
    old, new = world.transfers()
    world.assign(old["id"], intent)
    assert world.status(intent) == "succeeded"
    assert {row["intent_id"] for row in world.transfers()} == {intent}
    assert new["canonical"]


def test_an_assignment_is_void_for_money_of_another_amount(world: World) -> None:
    intent = world.create()
    payment = txs.sbtc_transfer(PAYER, SHOP, 50_000, b"typo")
    world.mine(payment)
    world.assign(world.transfers()[0]["id"], intent)
    world.fork(1, [[], [txs.with_amount(payment, 40_000)]])
    assert world.unmatched() == [("no_intent", 40_000)]
    assert (world.status(intent), world.show(intent)["flags"]) == ("processing", ["reorged"])


def call_that_pays() -> Tx:
    """A stranger's contract that moves 50,000 sats to the shop."""
    events = [ev.ft_transfer(SBTC, PAYER, SHOP, 50_000)]
    return txs.call(f"{principal('stranger')}.c", "go", PAYER, [], events)


def fork_later(world: World, depth: int, payment: Tx, *, seconds: int) -> None:
    """Replace the newest blocks by others, the first of which holds the payment so long after its parent."""
    branch = world.chain.fork(world.tip.height - depth, keep="follow")
    branch.mine([payment], seconds=seconds)
    branch.mine(n=depth)
    branch.promote()
    world.apply(world.reorg())


def in_stx(call: Tx) -> Tx:
    """The same transaction on a branch where it moves as many micro-STX instead."""
    return txs.with_events(call, [ev.stx_transfer(PAYER, SHOP, 50_000, b"")])


def test_an_assignment_is_void_for_money_of_another_asset(world: World) -> None:
    intent = world.create()
    call = call_that_pays()
    world.mine(call)
    world.assign(world.transfers()[0]["id"], intent)
    assert world.status(intent) == "succeeded"
    world.fork(1, [[in_stx(call)], []])
    assert (world.status(intent), world.show(intent)["amount_received"]) == ("processing", "0")
    assert world.unmatched() == [("no_intent", 50_000)]
    world.fork(2, [[call], [], []])
    assert (world.status(intent), world.show(intent)["amount_received"]) == ("succeeded", "50000")


def test_money_of_another_asset_on_another_branch_does_not_go_with_the_assigned(world: World) -> None:
    intent = world.create()
    call = call_that_pays()
    world.mine(call)
    world.fork(1, [[in_stx(call)], []])
    [orphan] = [row for row in world.transfers() if not row["canonical"]]
    world.assign(orphan["id"], intent)
    assert world.told(intent) == ["created"]
    assert world.unmatched() == [("no_intent", 50_000)]


def test_each_branchs_asset_can_be_assigned_to_an_intent_of_its_own(world: World) -> None:
    ours, other = world.create(), world.create(asset="stx")
    call = call_that_pays()
    world.mine(call)
    world.assign(world.transfers()[0]["id"], ours)
    world.fork(1, [[in_stx(call)], []])
    [stray] = [row for row in world.transfers() if row["intent_id"] is None]
    world.assign(stray["id"], other)
    assert (world.status(ours), world.status(other)) == ("processing", "succeeded")
    world.fork(2, [[call], [], []])
    assert (world.status(ours), world.status(other)) == ("succeeded", "processing")


def test_money_that_belongs_to_an_intent_on_another_branch_cannot_be_assigned(world: World) -> None:
    payment = txs.sbtc_transfer(PAYER, SHOP, 50_000, b"inv-1")
    world.mine(payment)
    owner = world.create(reference="inv-1", not_before=world.tip.time + 1)
    other = world.create()
    assert world.unmatched() == [("before_intent", 50_000)]
    fork_later(world, 1, payment, seconds=30)
    assert world.status(owner) == "succeeded"
    [orphan] = [row for row in world.transfers() if not row["canonical"]]
    with pytest.raises(Refused, match=owner) as caught:
        world.assign(orphan["id"], other)
    assert code(caught) == "already_matched"
    fork_later(world, 2, payment, seconds=20)
    assert (world.status(owner), world.status(other)) == ("succeeded", "pending")
