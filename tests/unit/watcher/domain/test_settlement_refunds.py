"""Refunds through the contract: shown at once, told when they are deep, and no verdict ever changes for them."""

import pytest

from tests.unit.watcher.domain.history import Story
from watcher.domain.model import Depth, Flag, Repayment, Status


def paid(**changes) -> Story:
    """Return a story whose success was told."""
    story = Story(**changes).pay("a", 100).grow(2, burn=2)
    assert story.say()[-1] == "succeeded"
    return story


def flags(story: Story) -> set[Flag]:
    return set(story.decide().flags)


def test_a_refund_is_flagged_at_once_and_told_when_it_is_deep():
    story = paid().refund("r", 30)
    decision = story.decide()
    assert (decision.status, decision.refunded, decision.drafts) == (Status.SUCCEEDED, 30, ())
    assert decision.flags == {Flag.PARTIALLY_REFUNDED}
    assert decision.next_check.height == story.clock.height + 2
    assert story.grow().say() == []
    [draft] = story.grow().decide().drafts
    assert (draft.type, draft.reason, draft.supersedes) == ("payment.refunded", None, None)
    assert (draft.previous_status, draft.status) == (Status.SUCCEEDED, Status.SUCCEEDED)
    assert draft.refund is story.refunds[0]
    assert story.decide().next_check.height is None


def test_bitcoin_depth_counts_for_refunds_too():
    story = paid(required=Depth(stacks=1, bitcoin=2)).refund("r", 30)
    assert story.decide().next_check.burn_height == story.clock.burn_height + 2
    assert story.grow(1, burn=1).say() == []
    assert story.grow(1, burn=1).say() == ["refunded"]


def test_refunds_that_reach_what_came_refund_the_intent():
    story = paid().refund("r", 30).grow(2)
    assert flags(story) == {Flag.PARTIALLY_REFUNDED}
    story.refund("s", 70).grow(2)
    assert flags(story) == {Flag.REFUNDED}
    assert [draft.refund.tx_id for draft in story.drafts if draft.refund] == ["r", "s"]
    assert [draft.n for draft in story.drafts if draft.refund] == [0, 1]


def test_a_refund_of_what_is_owed_leaves_a_surplus_partially_refunded():
    story = paid().pay("b", 50).refund("r", 100).grow(2)
    assert flags(story) == {Flag.SURPLUS, Flag.PARTIALLY_REFUNDED}


def test_two_refunds_in_one_transaction_are_told_one_by_one():
    assert paid().refund("r", 30, 30).grow(2).say() == ["refunded", "refunded"]


def test_the_verdict_is_told_before_the_refund_that_one_look_finds_with_it():
    story = Story().pay("a", 100).refund("r", 100).grow(2)
    assert story.say() == ["succeeded", "refunded"]
    assert flags(story) == {Flag.REFUNDED}


@pytest.mark.parametrize("amount", [1, 99, 100])
def test_no_status_changes_for_a_refund(amount):
    story = paid().refund("r", amount).grow(2)
    assert story.decide().status is Status.SUCCEEDED
    assert story.now(99_999).decide().status is Status.SUCCEEDED
    part = Story().pay("a", 60).refund("r", amount).grow(2)
    assert part.decide().status is Status.PENDING
    assert part.now(1101).say() == ["expired"]
    assert Flag.UNDERPAID in flags(part)


def test_late_money_that_is_given_back_is_told_of_an_expired_intent():
    story = Story().now(1101)
    story.decide()
    story.pay("a", 100).refund("r", 100)
    assert story.say() == ["attention:late"]
    assert story.grow(2).say() == ["refunded"]
    assert flags(story) == {Flag.LATE, Flag.REFUNDED}


def test_a_refund_of_a_canceled_and_of_a_marked_intent_is_told():
    canceled = Story().cancel()
    canceled.decide()
    canceled.pay("a", 100).refund("r", 100).grow(2)
    assert canceled.say() == ["attention:late", "refunded"]
    marked = Story().mark(Status.SUCCEEDED)
    marked.decide()
    marked.pay("a", 100).refund("r", 100).decide()
    assert marked.decide().next_check.height == marked.clock.height + 2
    assert marked.grow(2).say() == ["refunded"]


def test_a_refund_that_a_reorg_takes_before_it_is_deep_is_not_told():
    story = paid().refund("r", 100)
    assert flags(story) == {Flag.REFUNDED}
    story.orphan("r")
    assert story.grow(5).say() == []
    assert flags(story) == set()
    assert story.decide().refunded == 0


def test_a_told_refund_that_a_reorg_takes_is_not_counted_any_more_and_told_no_second_time():
    story = paid().refund("r", 100).grow(2)
    assert story.say() == ["refunded"]
    story.orphan("r")
    decision = story.decide()
    assert (decision.flags, decision.refunded, decision.status) == (frozenset(), 0, Status.SUCCEEDED)
    assert story.refund("r", 100).grow(5).say() == []
    assert flags(story) == {Flag.REFUNDED}


def test_a_refund_that_another_branch_brings_with_another_amount_is_told_as_what_it_is():
    story = paid().refund("r", 100).grow(2)
    story.decide()
    story.orphan("r").refund("r", 40)
    assert story.grow(2).say() == ["refunded"]
    assert story.drafts[-1].refund == story.refunds[-1]
    assert flags(story) == {Flag.PARTIALLY_REFUNDED}


def test_a_refund_goes_on_being_shown_when_a_reorg_takes_the_payment():
    """No chain does this: the contract refunds what it has a receipt for. The rule holds all the same."""
    story = paid().refund("r", 100).grow(2)
    story.decide()
    assert story.orphan("a").say() == ["attention:reorged"]
    assert flags(story) == {Flag.REORGED, Flag.REFUNDED}


def test_a_refund_found_after_a_later_one_was_told_is_told_as_well():
    story = paid().refund("r", 10).refund("s", 20).grow(2)
    lost: Repayment = story.refunds.pop(0)
    assert story.say() == ["refunded"]
    story.refunds.append(lost)
    [draft] = story.decide().drafts
    assert (draft.n, draft.refund) == (1, lost)
