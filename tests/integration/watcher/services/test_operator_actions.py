"""Operator actions: cancel from pending only, mark whatever was paid, assign unmatched transfers."""

import pytest
from sqlalchemy import select

from chain.testing import Tx, principal, txs
from chain.testing import events as ev
from notifier.events import rfc3339
from tests.harness import SBTC
from tests.integration.watcher.ledger_fixture import PAYER, SHOP, LedgerFixture
from watcher.domain.server_info import ServerInfo
from watcher.errors import NotFound, Refused
from watcher.schemas import PaymentIntentFilters
from watcher.services import queries
from watcher.services import status as status_service
from watcher.store.schema import act

SERVER = ServerInfo(network="mainnet")


def code(caught: pytest.ExceptionInfo[Refused]) -> str:
    return caught.value.code


def test_a_pending_intent_can_be_canceled_once(fixture: LedgerFixture) -> None:
    intent = fixture.create()
    fixture.cancel(intent)
    assert fixture.status(intent) == "canceled"
    assert fixture.sent_events(intent) == ["created", "canceled"]
    with pytest.raises(Refused, match="is canceled; only a pending") as caught:
        fixture.cancel(intent)
    assert code(caught) == "not_pending"


def test_a_paid_intent_cannot_be_canceled(fixture: LedgerFixture) -> None:
    intent = fixture.create(level="anchored")
    fixture.mine(txs.sbtc_transfer(PAYER, SHOP, 50_000, fixture.memo(intent)))
    with pytest.raises(Refused, match="is processing") as caught:
        fixture.cancel(intent)
    assert code(caught) == "not_pending"
    assert fixture.status(intent) == "processing"


def test_money_after_a_cancel_is_late(fixture: LedgerFixture) -> None:
    intent = fixture.create()
    fixture.cancel(intent)
    fixture.mine(txs.sbtc_transfer(PAYER, SHOP, 50_000, fixture.memo(intent)))
    shown = fixture.show(intent)
    assert (shown["status"], shown["flags"], shown["amount_received"]) == (
        "canceled",
        ["late", "refund_due"],
        "50000",
    )


def test_money_in_part_of_a_canceled_intent_is_due_until_it_is_dismissed(fixture: LedgerFixture) -> None:
    """Canceled after 12,345 of 50,000 sats came: it calls for a person, who settles it with a reason, without
    an event.
    """
    intent = fixture.create()
    fixture.mine(txs.sbtc_transfer(PAYER, SHOP, 12_345, fixture.memo(intent)))
    with pytest.raises(Refused, match="which is pending") as caught:
        fixture.dismiss(intent)
    assert code(caught) == "nothing_due"
    fixture.cancel(intent)
    assert fixture.show(intent)["flags"] == ["refund_due"]
    assert [row["id"] for row in calling(fixture)] == [intent]
    sent = fixture.sent_events(intent)
    fixture.dismiss(intent, "sent back by hand")
    shown = fixture.show(intent)
    assert (shown["status"], shown["flags"], calling(fixture)) == ("canceled", [], [])
    assert shown["timeline"][-1]["reason"] == "refund of 12345 dismissed by test: sent back by hand"
    assert fixture.sent_events(intent) == sent
    with pytest.raises(Refused) as caught:
        fixture.dismiss(intent)
    assert code(caught) == "nothing_due"


def test_more_money_after_a_dismissal_is_due_again(fixture: LedgerFixture) -> None:
    """What was dismissed stays settled, also over a reindex or a reorg above it; what comes then is new."""
    intent = fixture.create()
    fixture.mine(txs.sbtc_transfer(PAYER, SHOP, 12_345, fixture.memo(intent)))
    fixture.cancel(intent)
    fixture.dismiss(intent)
    fixture.mine(n=3)
    fixture.fork(2, [[], [], []])
    assert fixture.show(intent)["flags"] == []
    fixture.mine(txs.sbtc_transfer(PAYER, SHOP, 5, fixture.memo(intent)))
    assert fixture.show(intent)["flags"] == ["late", "refund_due"]
    fixture.dismiss(intent, "a tip")
    with fixture.database.read() as connection:
        kept = select(act.c.amount, act.c.reason).where(act.c.kind == "dismiss").order_by(act.c.sequence)
        assert connection.execute(kept).all() == [(12_345, "sent back by hand"), (5, "a tip")]


def test_only_ones_own_intent_is_dismissed_and_for_a_reason(fixture: LedgerFixture) -> None:
    """Another merchant does not learn that it exists; an empty reason is no reason."""
    intent = fixture.create()
    fixture.mine(txs.sbtc_transfer(PAYER, SHOP, 5, fixture.memo(intent)))
    fixture.cancel(intent)
    other = fixture.add_merchant("Other", principal("other shop"))
    with pytest.raises(NotFound):
        fixture.dismiss(intent, merchant=other)
    with pytest.raises(Refused) as caught:
        fixture.dismiss(intent, reason=" ")
    assert code(caught) == "validation"
    assert fixture.show(intent)["flags"] == ["refund_due"]


def test_attention_lists_what_it_counts(fixture: LedgerFixture) -> None:
    """Money to be given back, and a success whose money a reorg took, until a person has judged it."""
    surplus, taken, canceled, paid = (fixture.create() for _ in range(4))
    fixture.mine(txs.sbtc_transfer(PAYER, SHOP, 50_000, fixture.memo(surplus)))
    fixture.mine(
        txs.sbtc_transfer(PAYER, SHOP, 50_000, fixture.memo(paid)),
        txs.sbtc_transfer(PAYER, SHOP, 1, fixture.memo(canceled)),
    )
    fixture.cancel(canceled)
    fixture.mine(txs.sbtc_transfer(PAYER, SHOP, 50_000, fixture.memo(taken)))
    assert [row["id"] for row in calling(fixture)] == [canceled]
    fixture.fork(1, [[txs.sbtc_transfer(PAYER, SHOP, 2, fixture.memo(surplus))], []])
    assert [row["id"] for row in calling(fixture)] == [canceled, taken, surplus]
    fixture.mark(taken, "succeeded", "sent by hand")
    fixture.dismiss(canceled)
    assert [row["id"] for row in calling(fixture)] == [surplus]


def calling(fixture: LedgerFixture) -> list[dict[str, object]]:
    """Return the intents that call for a person, as many as the status counts."""
    with fixture.database.read() as connection:
        found = queries.intents(connection, PaymentIntentFilters(attention=True), server_info=SERVER)["data"]
        assert len(found) == status_service.count_attention(connection)
    return list(found)


@pytest.mark.parametrize("status", ["succeeded", "failed"])
def test_a_mark_is_sent_with_its_flag_and_its_reason_stands_in_the_timeline(
    fixture: LedgerFixture, status: str
) -> None:
    intent = fixture.create()
    fixture.mark(intent, status, "paid in cash")
    shown = fixture.show(intent)
    assert (shown["status"], shown["flags"]) == (status, ["manual"])
    assert shown["timeline"][-1]["reason"] == "manual: paid in cash"
    assert fixture.sent_events(intent) == ["created", f"{status}:manual"]


def test_the_timeline_shows_every_act_with_who_when_and_why(fixture: LedgerFixture) -> None:
    marked, canceled, given = fixture.create(), fixture.create(), fixture.create()
    fixture.mine(txs.sbtc_transfer(PAYER, SHOP, 20_000, b"mistyped"))
    [transfer] = fixture.transfers()
    fixture.cancel(canceled, reason="out of stock")
    fixture.mark(marked, "failed", "fraud")
    fixture.mark(marked, "failed", "checked again")
    fixture.assign(transfer["id"], given, "memo was mistyped")
    assert [
        [(entry["status"], entry["reason"]) for entry in fixture.show(intent)["timeline"]]
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
    assert {entry["at"] for entry in fixture.show(canceled)["timeline"]} == {rfc3339(int(fixture.clock()))}


@pytest.mark.parametrize("status", ["pending", "expired", "canceled", "processing", "", None, 5])
def test_other_marks_are_refused(fixture: LedgerFixture, status: object) -> None:
    intent = fixture.create()
    with pytest.raises(Refused) as caught:
        fixture.mark(intent, status)
    assert [error["field"] for error in caught.value.errors] == ["status"]


@pytest.mark.parametrize("reason", ["", "   ", None, "x" * 501, "a\0b", "\ud800"])
def test_an_act_needs_a_reason(fixture: LedgerFixture, reason: object) -> None:
    intent = fixture.create()
    fixture.mine(txs.sbtc_transfer(PAYER, SHOP, 5))
    money = fixture.transfers()[0]["id"]
    attempts = [lambda: fixture.mark(intent, "failed", reason), lambda: fixture.assign(money, intent, reason)]
    if reason is not None:  # a cancellation needs none
        attempts.append(lambda: fixture.cancel(intent, reason=reason))
    for attempt in attempts:
        with pytest.raises(Refused) as caught:
            attempt()
        assert [error["field"] for error in caught.value.errors] == ["reason"]


def test_the_newest_mark_wins_also_within_one_millisecond(fixture: LedgerFixture) -> None:
    intent = fixture.create()
    for status in ["succeeded", "failed"] * 5 + ["succeeded"]:
        fixture.mark(intent, status)
        assert fixture.status(intent) == status


def test_the_newest_mark_wins_also_when_this_machines_clock_went_back(fixture: LedgerFixture) -> None:
    intent = fixture.create()
    fixture.mark(intent, "succeeded")
    fixture.clock.now -= 3600
    fixture.mark(intent, "failed")
    assert fixture.status(intent) == "failed"


def test_an_action_is_stored_with_who_did_it_and_the_chain_clock(fixture: LedgerFixture) -> None:
    intent = fixture.create()
    fixture.mark(intent, "failed", "  fraud ")
    with fixture.database.read() as connection:
        row = connection.execute(select(act)).one()
    assert (row.intent_id, row.kind, row.status, row.reason, row.actor) == (
        intent,
        "mark",
        "failed",
        "fraud",
        "test",
    )
    assert (row.height, row.time, row.at) == (fixture.tip.height, fixture.tip.time, int(fixture.clock()))


def test_unmatched_money_can_be_given_to_an_intent(fixture: LedgerFixture) -> None:
    intent = fixture.create()
    fixture.mine(txs.sbtc_transfer(PAYER, SHOP, 50_000, b"typo"))
    [money] = fixture.transfers()
    fixture.assign(money["id"], intent)
    assert fixture.status(intent) == "succeeded"
    assert fixture.unmatched() == []
    with pytest.raises(Refused, match=intent) as caught:
        fixture.assign(money["id"], fixture.create())
    assert code(caught) == "already_matched"


def test_money_that_another_merchant_at_the_same_recipient_has_does_not_name_its_intent(
    fixture: LedgerFixture,
) -> None:
    twin = fixture.add_merchant("Twin", SHOP)
    ours = fixture.create()
    theirs = fixture.create(merchant=twin)
    fixture.mine(txs.sbtc_transfer(PAYER, SHOP, 50_000, b"typo"))
    [money] = fixture.transfers()
    fixture.assign(money["id"], theirs, merchant=twin)
    with pytest.raises(Refused) as caught:
        fixture.assign(money["id"], ours, merchant=fixture.merchant)
    assert code(caught) == "already_matched"
    assert theirs not in str(caught.value)


def test_money_that_came_too_late_counts_when_a_person_assigns_it(fixture: LedgerFixture) -> None:
    intent = fixture.create()
    fixture.pass_time(100_000)
    fixture.mine(txs.sbtc_transfer(PAYER, SHOP, 50_000, fixture.memo(intent)))
    assert (fixture.status(intent), fixture.unmatched()) == ("expired", [("too_late", 50_000)])
    fixture.assign(fixture.transfers()[0]["id"], intent)
    assert fixture.status(intent) == "succeeded"
    assert fixture.sent_events(intent) == ["created", "expired", "succeeded"]


def test_money_of_another_asset_cannot_be_assigned(fixture: LedgerFixture) -> None:
    intent = fixture.create()
    fixture.mine(txs.stx_transfer(PAYER, SHOP, 50_000))
    with pytest.raises(Refused, match="STX") as caught:
        fixture.assign(fixture.transfers()[0]["id"], intent)
    assert code(caught) == "wrong_asset"


def test_money_of_another_merchant_cannot_be_assigned(fixture: LedgerFixture) -> None:
    other = fixture.add_merchant("Other", principal("other shop"))
    fixture.mine(txs.sbtc_transfer(PAYER, principal("other shop"), 50_000))
    [money] = fixture.transfers()
    ours, theirs = fixture.create(), fixture.create(other)
    with pytest.raises(Refused) as caught:
        fixture.assign(money["id"], ours)
    assert code(caught) == "wrong_recipient"
    with pytest.raises(NotFound):  # a merchant does not learn that it exists
        fixture.assign(money["id"], ours, merchant=fixture.merchant)
    fixture.assign(money["id"], theirs, merchant=other)
    assert fixture.status(theirs) == "succeeded"


def test_what_does_not_exist_or_is_anothers_is_not_found(fixture: LedgerFixture) -> None:
    other = fixture.add_merchant("Other", principal("other shop"))
    intent = fixture.create()
    for attempt in (
        lambda: fixture.cancel("pi_X"),
        lambda: fixture.mark("pi_X", "failed"),
        lambda: fixture.assign("tr_X", intent),
        lambda: fixture.assign("tr_X", "pi_X"),
        lambda: fixture.cancel(intent, merchant=other),
        lambda: fixture.mark(intent, "failed", merchant=other),
        lambda: fixture.assign("tr_X", intent, merchant=other),
    ):
        with pytest.raises(NotFound):
            attempt()
    assert fixture.status(intent) == "pending"


def test_assigned_money_stays_assigned_when_it_is_mined_again(fixture: LedgerFixture) -> None:
    intent = fixture.create()
    payment = txs.sbtc_transfer(PAYER, SHOP, 50_000, b"typo")
    fixture.mine(payment)
    fixture.assign(fixture.transfers()[0]["id"], intent)
    fixture.fork(1, [[], [payment]])
    assert fixture.status(intent) == "succeeded"
    assert [transfer["assigned"] for transfer in fixture.show(intent)["transfers"]] == [True, True]
    assert [(row["canonical"], row["assigned"]) for row in fixture.transfers()] == [
        (False, True),
        (True, True),
    ]


def test_the_other_blocks_of_assigned_money_go_with_it(fixture: LedgerFixture) -> None:
    intent = fixture.create()
    payment = txs.sbtc_transfer(PAYER, SHOP, 50_000, b"typo")
    fixture.mine(payment)
    fixture.fork(1, [[], [payment]])
    old, new = fixture.transfers()
    fixture.assign(old["id"], intent)
    assert fixture.status(intent) == "succeeded"
    assert {row["intent_id"] for row in fixture.transfers()} == {intent}
    assert new["canonical"]


def test_an_assignment_is_void_for_money_of_another_amount(fixture: LedgerFixture) -> None:
    intent = fixture.create()
    payment = txs.sbtc_transfer(PAYER, SHOP, 50_000, b"typo")
    fixture.mine(payment)
    fixture.assign(fixture.transfers()[0]["id"], intent)
    fixture.fork(1, [[], [txs.with_amount(payment, 40_000)]])
    assert fixture.unmatched() == [("no_intent", 40_000)]
    assert (fixture.status(intent), fixture.show(intent)["flags"]) == ("processing", ["reorged"])


def call_that_pays() -> Tx:
    """A stranger's contract that moves 50,000 sats to the shop."""
    events = [ev.ft_transfer(SBTC, PAYER, SHOP, 50_000)]
    return txs.call(f"{principal('stranger')}.c", "go", PAYER, [], events)


def fork_later(fixture: LedgerFixture, depth: int, payment: Tx, *, seconds: int) -> None:
    """Replace the newest blocks by others, the first of which holds the payment so long after its parent."""
    branch = fixture.chain.fork(fixture.tip.height - depth, keep="follow")
    branch.mine([payment], seconds=seconds)
    branch.mine(n=depth)
    branch.promote()
    fixture.apply(fixture.reorg())


def in_stx(call: Tx) -> Tx:
    """The same transaction on a branch where it moves as many micro-STX instead."""
    return txs.with_events(call, [ev.stx_transfer(PAYER, SHOP, 50_000, b"")])


def test_an_assignment_is_void_for_money_of_another_asset(fixture: LedgerFixture) -> None:
    intent = fixture.create()
    call = call_that_pays()
    fixture.mine(call)
    fixture.assign(fixture.transfers()[0]["id"], intent)
    assert fixture.status(intent) == "succeeded"
    fixture.fork(1, [[in_stx(call)], []])
    assert (fixture.status(intent), fixture.show(intent)["amount_received"]) == ("processing", "0")
    assert fixture.unmatched() == [("no_intent", 50_000)]
    fixture.fork(2, [[call], [], []])
    assert (fixture.status(intent), fixture.show(intent)["amount_received"]) == ("succeeded", "50000")


def test_money_of_another_asset_on_another_branch_does_not_go_with_the_assigned(
    fixture: LedgerFixture,
) -> None:
    intent = fixture.create()
    call = call_that_pays()
    fixture.mine(call)
    fixture.fork(1, [[in_stx(call)], []])
    [orphan] = [row for row in fixture.transfers() if not row["canonical"]]
    fixture.assign(orphan["id"], intent)
    assert fixture.sent_events(intent) == ["created"]
    assert fixture.unmatched() == [("no_intent", 50_000)]


def test_each_branchs_asset_can_be_assigned_to_an_intent_of_its_own(fixture: LedgerFixture) -> None:
    ours, other = fixture.create(), fixture.create(asset="stx")
    call = call_that_pays()
    fixture.mine(call)
    fixture.assign(fixture.transfers()[0]["id"], ours)
    fixture.fork(1, [[in_stx(call)], []])
    [stray] = [row for row in fixture.transfers() if row["intent_id"] is None]
    fixture.assign(stray["id"], other)
    assert (fixture.status(ours), fixture.status(other)) == ("processing", "succeeded")
    fixture.fork(2, [[call], [], []])
    assert (fixture.status(ours), fixture.status(other)) == ("succeeded", "processing")


def test_money_that_belongs_to_an_intent_on_another_branch_cannot_be_assigned(fixture: LedgerFixture) -> None:
    payment = txs.sbtc_transfer(PAYER, SHOP, 50_000, b"inv-1")
    fixture.mine(payment)
    owner = fixture.create(reference="inv-1", not_before=fixture.tip.time + 1)
    other = fixture.create()
    assert fixture.unmatched() == [("before_intent", 50_000)]
    fork_later(fixture, 1, payment, seconds=30)
    assert fixture.status(owner) == "succeeded"
    [orphan] = [row for row in fixture.transfers() if not row["canonical"]]
    with pytest.raises(Refused, match=owner) as caught:
        fixture.assign(orphan["id"], other)
    assert code(caught) == "already_matched"
    fork_later(fixture, 2, payment, seconds=20)
    assert (fixture.status(owner), fixture.status(other)) == ("succeeded", "pending")
