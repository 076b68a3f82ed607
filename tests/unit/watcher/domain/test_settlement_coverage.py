"""Rows 1, 3 to 5 and 8 of the status table: money that comes on time and stays."""

from dataclasses import replace

import pytest

from notifier.events import EventType
from tests.unit.watcher.domain.history import DEADLINE, IntentHistory
from watcher.domain.model import LEVELS, Depth, Flag, Status


def test_row_1_a_created_intent_is_pending_and_said_once() -> None:
    history = IntentHistory()
    assert [(d.type, d.previous_status, d.status) for d in history.drafts] == [
        (EventType.CREATED, None, Status.PENDING)
    ]
    assert history.new_events() == []
    decision = history.decide()
    assert (decision.received, decision.missing, decision.over, decision.anchor) == (0, 100, 0, None)
    assert decision.next_check.time == DEADLINE + 1


def test_row_3_covered_but_not_deep_is_processing() -> None:
    history = IntentHistory().pay("a", 100)
    decision = history.decide()
    assert decision.status is Status.PROCESSING
    assert [d.type for d in decision.drafts] == [EventType.PROCESSING]
    assert decision.anchor == (101, 10)
    assert (decision.next_check.time, decision.next_check.height) == (None, 103)


def test_row_3_processing_is_sent_once_between_two_verdicts() -> None:
    history = IntentHistory()
    assert history.pay("a", 100).new_events() == ["processing"]
    assert history.orphan("a").new_events() == []
    assert history.intent.status is Status.PENDING
    assert history.pay("a", 100).new_events() == []
    assert history.intent.status is Status.PROCESSING


def test_row_4_success_is_sent_once_at_the_required_depth() -> None:
    history = IntentHistory().pay("a", 100)
    history.decide()
    assert history.grow().new_events() == []
    assert history.grow().new_events() == ["succeeded"]
    assert history.grow(20).new_events() == []
    assert history.intent.status is Status.SUCCEEDED
    assert history.decide().flags == frozenset()


def test_row_4_a_batch_goes_straight_to_the_verdict() -> None:
    assert IntentHistory().pay("a", 100).grow(2).new_events() == ["succeeded"]


@pytest.mark.parametrize(
    ("required", "stacks", "burn", "status"),
    [
        (LEVELS["included"], 0, 0, Status.SUCCEEDED),
        (LEVELS["anchored"], 0, 1, Status.PROCESSING),
        (LEVELS["anchored"], 0, 2, Status.SUCCEEDED),
        (LEVELS["settled"], 50, 5, Status.PROCESSING),
        (LEVELS["settled"], 0, 6, Status.SUCCEEDED),
        (Depth(stacks=5, bitcoin=1), 3, 1, Status.PROCESSING),
        (Depth(stacks=5, bitcoin=1), 4, 0, Status.PROCESSING),
        (Depth(stacks=5, bitcoin=1), 4, 1, Status.SUCCEEDED),
    ],
)
def test_row_4_both_depths_must_hold(required: Depth, stacks: int, burn: int, status: Status) -> None:
    history = IntentHistory(required=required).pay("a", 100)
    assert history.grow(stacks, burn=burn).decide().status is status


def test_row_4_depth_is_the_least_among_the_covering_transfers() -> None:
    history = IntentHistory().pay("a", 60).grow(5)
    assert history.decide().status is Status.PENDING
    assert history.pay("b", 40).decide().status is Status.PROCESSING
    assert history.grow(1).decide().status is Status.PROCESSING
    decision = history.grow(1).decide()
    assert decision.status is Status.SUCCEEDED
    assert decision.anchor == (107, 10)


def test_row_4_surplus_does_not_make_the_cover_shallow() -> None:
    history = IntentHistory().pay("a", 100).grow(1).pay("b", 5)
    assert history.decide().status is Status.SUCCEEDED


def test_row_4_the_deadline_itself_is_on_time() -> None:
    history = IntentHistory().pay("a", 100, at=DEADLINE).grow(2)
    assert history.new_events() == ["succeeded"]
    assert history.decide().flags == frozenset()


def test_row_4_money_on_time_succeeds_after_the_deadline_when_it_gets_deep() -> None:
    history = IntentHistory().pay("a", 100, at=DEADLINE)
    assert history.decide().status is Status.PROCESSING
    assert history.now(DEADLINE + 10_000).decide().status is Status.PROCESSING
    assert history.grow(2).new_events() == ["succeeded"]


def test_row_4_a_bigger_amount_is_overpaid() -> None:
    decision = IntentHistory().pay("a", 130).grow(2).decide()
    assert decision.status is Status.SUCCEEDED
    assert decision.flags == {Flag.OVERPAID}
    assert (decision.received, decision.missing, decision.over) == (130, 0, 30)


def test_row_4_the_rest_of_the_covering_transaction_is_overpaid_not_surplus() -> None:
    history = IntentHistory().pay("a", 60, 50, 20).grow(2)
    decision = history.decide()
    assert decision.flags == {Flag.OVERPAID}
    assert decision.over == 30
    assert [d.type for d in decision.drafts] == [EventType.SUCCEEDED]


@pytest.mark.parametrize(("paid", "status"), [(94, Status.PENDING), (95, Status.SUCCEEDED)])
def test_row_4_tolerance_forgives_so_much_and_no_more(paid: int, status: Status) -> None:
    decision = IntentHistory(tolerance=5).pay("a", paid).grow(2).decide()
    assert decision.status is status
    assert decision.missing == 100 - paid


def test_row_4_exactly_the_amount_within_tolerance_is_not_overpaid() -> None:
    assert IntentHistory(tolerance=5).pay("a", 100).grow(2).decide().flags == frozenset()


def test_row_4_what_comes_after_a_tolerated_cover_is_surplus() -> None:
    history = IntentHistory(tolerance=5).pay("a", 95).pay("b", 10).grow(2)
    decision = history.decide()
    assert decision.flags == {Flag.SURPLUS, Flag.REFUND_DUE}
    assert decision.over == 5


def test_row_4_transfers_of_nothing_never_cover() -> None:
    history = IntentHistory(amount=1).pay("a", 0, 0).grow(9)
    decision = history.decide()
    assert decision.status is Status.PENDING
    assert decision.flags == frozenset()
    assert decision.anchor is None


def test_row_4_only_chain_order_counts_not_the_order_of_rows() -> None:
    history = IntentHistory().pay("a", 40).pay("b", 60).pay("c", 60).grow(2)
    history.inclusions.reverse()
    decision = history.decide()
    assert decision.flags == {Flag.SURPLUS, Flag.REFUND_DUE}
    assert [d.subject for d in decision.drafts] == ["", "c:0+0=60"]


def test_row_5_more_money_is_surplus_and_never_a_second_success() -> None:
    history = IntentHistory().pay("a", 100).grow(2)
    history.decide()
    assert history.pay("b", 70).new_events() == ["attention:surplus"]
    decision = history.decide()
    assert decision.status is Status.SUCCEEDED
    assert decision.flags == {Flag.SURPLUS, Flag.REFUND_DUE}
    assert (decision.received, decision.over) == (170, 70)
    assert decision.anchor == (101, 10), "surplus does not make it look less deep"
    assert decision.next_check.time is decision.next_check.height is decision.next_check.burn_height is None


def test_row_5_attention_is_sent_once_for_all_that_one_decision_finds_and_again_for_more() -> None:
    history = IntentHistory().pay("a", 100).pay("b", 1).grow(2)
    assert history.new_events() == ["succeeded", "attention:surplus"]
    assert history.pay("c", 1, 1).new_events() == ["attention:surplus"]
    assert history.orphan("c").new_events() == []
    assert history.pay("c", 1, 1).new_events() == []
    assert [d.subject for d in history.drafts if d.type is EventType.ATTENTION] == ["b:0+0=1", "c:1+2=3"]


def test_row_5_a_payment_that_a_reorg_puts_before_the_newest_is_sent_too() -> None:
    history = IntentHistory().pay("a", 100).grow(2).pay("c", 1)
    history.decide()
    assert history.orphan("c").pay("b", 1).pay("c", 1).new_events() == ["attention:surplus"]
    assert [d.subject for d in history.drafts if d.type is EventType.ATTENTION] == ["c:0+0=1", "c:0+1=2"]


def test_row_5_any_number_of_payments_at_once_calls_attention_once() -> None:
    history = IntentHistory().pay("a", 100).pay("dust", *[1] * 500).grow(2)
    assert history.new_events() == ["succeeded", "attention:surplus"]
    assert history.grow(5).new_events() == []


def attention(history: IntentHistory) -> list[str]:
    return [d.subject for d in history.drafts if d.type is EventType.ATTENTION]


@pytest.mark.parametrize("paid", [True, False])
def test_rows_5_and_15_dust_in_every_block_calls_attention_ever_more_rarely(paid: bool) -> None:
    """Each time at first, then when it has doubled; amounts and flags are right at all times."""
    history = IntentHistory().pay("a", 100 if paid else 1).grow(2)
    history.decide()
    history.now(DEADLINE + 1)
    history.decide()
    for number in range(1, 201):
        decision = history.pay(f"d{number}", 1).decide()
        assert decision.flags >= ({Flag.SURPLUS} if paid else {Flag.LATE})
        assert decision.received == (100 if paid else 1) + number
    sent = [int(subject.partition("=")[2]) for subject in attention(history)]
    assert sent == [1, 2, 3, 4, 5, 10, 20, 40, 80, 160]


def test_row_5_money_that_matters_is_sent_at_once_however_much_dust_came_before() -> None:
    history = IntentHistory().pay("a", 100).grow(2)
    for number in range(30):
        history.pay(f"d{number}", 1).decide()
    assert history.pay("x", 100).new_events() == ["attention:surplus"]
    assert history.pay("y", 1).new_events() == []


def test_row_5_after_many_events_a_reorg_of_surplus_and_what_comes_instead_is_sent() -> None:
    history = IntentHistory().pay("a", 100).grow(2)
    for number in range(10):
        history.pay(f"d{number}", 1).decide()
    assert len(attention(history)) == 6
    assert history.orphan("d8", "d9").new_events() == ["attention:surplus"]
    assert history.pay("d8", 1).new_events() == []


def test_row_5_what_an_earlier_version_sent_is_not_sent_again() -> None:
    """It wrote no sum; more money is reported as if it were the first."""
    history = IntentHistory().pay("a", 100).pay("b", 1).grow(2)
    history.decide()
    for number in range(4):
        history.pay(f"d{number}", 1).decide()
    history.sent = [replace(event, subject=event.subject.partition("=")[0]) for event in history.sent]
    assert history.new_events() == []
    assert history.pay("d6", 1).new_events() == ["attention:surplus"]
    assert history.pay("d7", 1).new_events() == []


def test_row_5_surplus_before_the_depth_is_said_while_processing() -> None:
    history = IntentHistory().pay("a", 100).pay("b", 1)
    assert history.new_events() == ["processing", "attention:surplus"]


def test_row_5_money_after_the_deadline_of_a_paid_intent_is_surplus_not_late() -> None:
    history = IntentHistory().pay("a", 100).grow(2).pay("b", 5, at=DEADLINE + 1)
    assert history.new_events() == ["succeeded", "attention:surplus"]
    assert history.decide().flags == {Flag.SURPLUS, Flag.REFUND_DUE}


def test_row_8_a_partial_sum_is_pending_and_underpaid() -> None:
    history = IntentHistory().pay("a", 60).grow(9)
    decision = history.decide()
    assert decision.status is Status.PENDING
    assert decision.flags == {Flag.UNDERPAID}
    assert (decision.received, decision.missing) == (60, 40)
    assert decision.drafts == ()
    assert decision.anchor == (101, 10)


def test_row_8_the_rest_completes_it() -> None:
    history = IntentHistory().pay("a", 60)
    history.decide()
    decision = history.pay("b", 40).grow(2).decide()
    assert decision.status is Status.SUCCEEDED
    assert decision.flags == frozenset()


def test_sums_may_exceed_128_bits() -> None:
    huge = 2**128 - 1
    decision = IntentHistory(amount=huge).pay("a", huge).pay("b", huge).grow(2).decide()
    assert decision.received == 2 * huge
    assert decision.over == huge


def test_row_8_a_partial_sum_is_as_deep_as_its_least_deep_transfer() -> None:
    history = IntentHistory().pay("a", 10).grow(4, burn=2).pay("b", 10).grow(3, burn=1)
    assert history.decide().anchor == (106, 12)
