"""Rows 1, 3 to 5 and 8 of the status table: money that comes on time and stays."""

from dataclasses import replace

import pytest

from notifier.events import EventType
from tests.unit.watcher.domain.history import DEADLINE, Story
from watcher.domain.model import LEVELS, Depth, Flag, Status


def test_row_1_a_created_intent_is_pending_and_said_once() -> None:
    story = Story()
    assert [(d.type, d.previous_status, d.status) for d in story.drafts] == [
        (EventType.CREATED, None, Status.PENDING)
    ]
    assert story.say() == []
    decision = story.decide()
    assert (decision.received, decision.missing, decision.over, decision.anchor) == (0, 100, 0, None)
    assert decision.next_check.time == DEADLINE + 1


def test_row_3_covered_but_not_deep_is_processing() -> None:
    story = Story().pay("a", 100)
    decision = story.decide()
    assert decision.status is Status.PROCESSING
    assert [d.type for d in decision.drafts] == [EventType.PROCESSING]
    assert decision.anchor == (101, 10)
    assert (decision.next_check.time, decision.next_check.height) == (None, 103)


def test_row_3_processing_is_told_once_between_two_verdicts() -> None:
    story = Story()
    assert story.pay("a", 100).say() == ["processing"]
    assert story.orphan("a").say() == []
    assert story.intent.status is Status.PENDING
    assert story.pay("a", 100).say() == []
    assert story.intent.status is Status.PROCESSING


def test_row_4_success_is_told_once_at_the_asked_depth() -> None:
    story = Story().pay("a", 100)
    story.decide()
    assert story.grow().say() == []
    assert story.grow().say() == ["succeeded"]
    assert story.grow(20).say() == []
    assert story.intent.status is Status.SUCCEEDED
    assert story.decide().flags == frozenset()


def test_row_4_a_batch_goes_straight_to_the_verdict() -> None:
    assert Story().pay("a", 100).grow(2).say() == ["succeeded"]


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
    story = Story(required=required).pay("a", 100)
    assert story.grow(stacks, burn=burn).decide().status is status


def test_row_4_depth_is_the_least_among_the_covering_transfers() -> None:
    story = Story().pay("a", 60).grow(5)
    assert story.decide().status is Status.PENDING
    assert story.pay("b", 40).decide().status is Status.PROCESSING
    assert story.grow(1).decide().status is Status.PROCESSING
    decision = story.grow(1).decide()
    assert decision.status is Status.SUCCEEDED
    assert decision.anchor == (107, 10)


def test_row_4_surplus_does_not_make_the_cover_shallow() -> None:
    story = Story().pay("a", 100).grow(1).pay("b", 5)
    assert story.decide().status is Status.SUCCEEDED


def test_row_4_the_deadline_itself_is_on_time() -> None:
    story = Story().pay("a", 100, at=DEADLINE).grow(2)
    assert story.say() == ["succeeded"]
    assert story.decide().flags == frozenset()


def test_row_4_money_on_time_succeeds_after_the_deadline_when_it_gets_deep() -> None:
    story = Story().pay("a", 100, at=DEADLINE)
    assert story.decide().status is Status.PROCESSING
    assert story.now(DEADLINE + 10_000).decide().status is Status.PROCESSING
    assert story.grow(2).say() == ["succeeded"]


def test_row_4_a_bigger_amount_is_overpaid() -> None:
    decision = Story().pay("a", 130).grow(2).decide()
    assert decision.status is Status.SUCCEEDED
    assert decision.flags == {Flag.OVERPAID}
    assert (decision.received, decision.missing, decision.over) == (130, 0, 30)


def test_row_4_the_rest_of_the_covering_transaction_is_overpaid_not_surplus() -> None:
    story = Story().pay("a", 60, 50, 20).grow(2)
    decision = story.decide()
    assert decision.flags == {Flag.OVERPAID}
    assert decision.over == 30
    assert [d.type for d in decision.drafts] == [EventType.SUCCEEDED]


@pytest.mark.parametrize(("paid", "status"), [(94, Status.PENDING), (95, Status.SUCCEEDED)])
def test_row_4_tolerance_forgives_so_much_and_no_more(paid: int, status: Status) -> None:
    decision = Story(tolerance=5).pay("a", paid).grow(2).decide()
    assert decision.status is status
    assert decision.missing == 100 - paid


def test_row_4_exactly_the_amount_within_tolerance_is_not_overpaid() -> None:
    assert Story(tolerance=5).pay("a", 100).grow(2).decide().flags == frozenset()


def test_row_4_what_comes_after_a_tolerated_cover_is_surplus() -> None:
    story = Story(tolerance=5).pay("a", 95).pay("b", 10).grow(2)
    decision = story.decide()
    assert decision.flags == {Flag.SURPLUS, Flag.REFUND_DUE}
    assert decision.over == 5


def test_row_4_transfers_of_nothing_never_cover() -> None:
    story = Story(amount=1).pay("a", 0, 0).grow(9)
    decision = story.decide()
    assert decision.status is Status.PENDING
    assert decision.flags == frozenset()
    assert decision.anchor is None


def test_row_4_only_chain_order_counts_not_the_order_of_rows() -> None:
    story = Story().pay("a", 40).pay("b", 60).pay("c", 60).grow(2)
    story.inclusions.reverse()
    decision = story.decide()
    assert decision.flags == {Flag.SURPLUS, Flag.REFUND_DUE}
    assert [d.subject for d in decision.drafts] == ["", "c:0+0=60"]


def test_row_5_more_money_is_surplus_and_never_a_second_success() -> None:
    story = Story().pay("a", 100).grow(2)
    story.decide()
    assert story.pay("b", 70).say() == ["attention:surplus"]
    decision = story.decide()
    assert decision.status is Status.SUCCEEDED
    assert decision.flags == {Flag.SURPLUS, Flag.REFUND_DUE}
    assert (decision.received, decision.over) == (170, 70)
    assert decision.anchor == (101, 10), "surplus does not make it look less deep"
    assert decision.next_check.time is decision.next_check.height is decision.next_check.burn_height is None


def test_row_5_attention_is_told_once_for_all_that_one_decision_finds_and_again_for_more() -> None:
    story = Story().pay("a", 100).pay("b", 1).grow(2)
    assert story.say() == ["succeeded", "attention:surplus"]
    assert story.pay("c", 1, 1).say() == ["attention:surplus"]
    assert story.orphan("c").say() == []
    assert story.pay("c", 1, 1).say() == []
    assert [d.subject for d in story.drafts if d.type is EventType.ATTENTION] == ["b:0+0=1", "c:1+2=3"]


def test_row_5_a_payment_that_a_reorg_puts_before_the_newest_is_told_too() -> None:
    story = Story().pay("a", 100).grow(2).pay("c", 1)
    story.decide()
    assert story.orphan("c").pay("b", 1).pay("c", 1).say() == ["attention:surplus"]
    assert [d.subject for d in story.drafts if d.type is EventType.ATTENTION] == ["c:0+0=1", "c:0+1=2"]


def test_row_5_any_number_of_payments_at_once_calls_attention_once() -> None:
    story = Story().pay("a", 100).pay("dust", *[1] * 500).grow(2)
    assert story.say() == ["succeeded", "attention:surplus"]
    assert story.grow(5).say() == []


def attention(story: Story) -> list[str]:
    return [d.subject for d in story.drafts if d.type is EventType.ATTENTION]


@pytest.mark.parametrize("paid", [True, False])
def test_rows_5_and_15_dust_in_every_block_calls_attention_ever_more_rarely(paid: bool) -> None:
    """Each time at first, then when it has doubled; amounts and flags are right at all times."""
    story = Story().pay("a", 100 if paid else 1).grow(2)
    story.decide()
    story.now(DEADLINE + 1)
    story.decide()
    for number in range(1, 201):
        decision = story.pay(f"d{number}", 1).decide()
        assert decision.flags >= ({Flag.SURPLUS} if paid else {Flag.LATE})
        assert decision.received == (100 if paid else 1) + number
    told = [int(subject.partition("=")[2]) for subject in attention(story)]
    assert told == [1, 2, 3, 4, 5, 10, 20, 40, 80, 160]


def test_row_5_money_that_matters_is_told_at_once_however_much_dust_came_before() -> None:
    story = Story().pay("a", 100).grow(2)
    for number in range(30):
        story.pay(f"d{number}", 1).decide()
    assert story.pay("x", 100).say() == ["attention:surplus"]
    assert story.pay("y", 1).say() == []


def test_row_5_after_many_events_a_reorg_of_surplus_and_what_comes_instead_is_told() -> None:
    story = Story().pay("a", 100).grow(2)
    for number in range(10):
        story.pay(f"d{number}", 1).decide()
    assert len(attention(story)) == 6
    assert story.orphan("d8", "d9").say() == ["attention:surplus"]
    assert story.pay("d8", 1).say() == []


def test_row_5_what_an_earlier_version_told_is_not_told_again() -> None:
    """It wrote no sum; of more money it is told as if it were the first."""
    story = Story().pay("a", 100).pay("b", 1).grow(2)
    story.decide()
    for number in range(4):
        story.pay(f"d{number}", 1).decide()
    story.told = [replace(event, subject=event.subject.partition("=")[0]) for event in story.told]
    assert story.say() == []
    assert story.pay("d6", 1).say() == ["attention:surplus"]
    assert story.pay("d7", 1).say() == []


def test_row_5_surplus_before_the_depth_is_said_while_processing() -> None:
    story = Story().pay("a", 100).pay("b", 1)
    assert story.say() == ["processing", "attention:surplus"]


def test_row_5_money_after_the_deadline_of_a_paid_intent_is_surplus_not_late() -> None:
    story = Story().pay("a", 100).grow(2).pay("b", 5, at=DEADLINE + 1)
    assert story.say() == ["succeeded", "attention:surplus"]
    assert story.decide().flags == {Flag.SURPLUS, Flag.REFUND_DUE}


def test_row_8_a_partial_sum_is_pending_and_underpaid() -> None:
    story = Story().pay("a", 60).grow(9)
    decision = story.decide()
    assert decision.status is Status.PENDING
    assert decision.flags == {Flag.UNDERPAID}
    assert (decision.received, decision.missing) == (60, 40)
    assert decision.drafts == ()
    assert decision.anchor == (101, 10)


def test_row_8_the_rest_completes_it() -> None:
    story = Story().pay("a", 60)
    story.decide()
    decision = story.pay("b", 40).grow(2).decide()
    assert decision.status is Status.SUCCEEDED
    assert decision.flags == frozenset()


def test_sums_may_exceed_128_bits() -> None:
    huge = 2**128 - 1
    decision = Story(amount=huge).pay("a", huge).pay("b", huge).grow(2).decide()
    assert decision.received == 2 * huge
    assert decision.over == huge


def test_row_8_a_partial_sum_is_as_deep_as_its_least_deep_transfer() -> None:
    story = Story().pay("a", 10).grow(4, burn=2).pay("b", 10).grow(3, burn=1)
    assert story.decide().anchor == (106, 12)
