"""Refunds through the contract: shown at once, sent when they are deep, and no verdict changes for them."""

import pytest

from tests.unit.watcher.domain.history import IntentHistory
from watcher.domain.model import Depth, Flag, Repayment, Status


def paid(**changes) -> IntentHistory:
    """Return a history with a sent success."""
    history = IntentHistory(**changes).pay("a", 100).grow(2, burn=2)
    assert history.new_events()[-1] == "succeeded"
    return history


def flags(history: IntentHistory) -> set[Flag]:
    return set(history.decide().flags)


def test_a_refund_is_flagged_at_once_and_sent_when_it_is_deep():
    history = paid().refund("r", 30)
    decision = history.decide()
    assert (decision.status, decision.refunded, decision.drafts) == (Status.SUCCEEDED, 30, ())
    assert decision.flags == {Flag.PARTIALLY_REFUNDED}
    assert decision.next_check.height == history.clock.height + 2
    assert history.grow().new_events() == []
    [draft] = history.grow().decide().drafts
    assert (draft.type, draft.reason, draft.supersedes) == ("payment.refunded", None, None)
    assert (draft.previous_status, draft.status) == (Status.SUCCEEDED, Status.SUCCEEDED)
    assert draft.refund is history.refunds[0]
    assert history.decide().next_check.height is None


def test_bitcoin_depth_counts_for_refunds_too():
    history = paid(required=Depth(stacks=1, bitcoin=2)).refund("r", 30)
    assert history.decide().next_check.burn_height == history.clock.burn_height + 2
    assert history.grow(1, burn=1).new_events() == []
    assert history.grow(1, burn=1).new_events() == ["refunded"]


def test_refunds_that_reach_what_came_refund_the_intent():
    history = paid().refund("r", 30).grow(2)
    assert flags(history) == {Flag.PARTIALLY_REFUNDED}
    history.refund("s", 70).grow(2)
    assert flags(history) == {Flag.REFUNDED}
    assert [draft.refund.tx_id for draft in history.drafts if draft.refund] == ["r", "s"]
    assert [draft.n for draft in history.drafts if draft.refund] == [0, 1]


def test_a_refund_of_what_is_owed_leaves_a_surplus_partially_refunded():
    history = paid().pay("b", 50).refund("r", 100).grow(2)
    assert flags(history) == {Flag.SURPLUS, Flag.PARTIALLY_REFUNDED}


def test_two_refunds_in_one_transaction_are_sent_one_by_one():
    assert paid().refund("r", 30, 30).grow(2).new_events() == ["refunded", "refunded"]


def test_the_verdict_is_sent_before_a_refund_that_is_found_with_it():
    history = IntentHistory().pay("a", 100).refund("r", 100).grow(2)
    assert history.new_events() == ["succeeded", "refunded"]
    assert flags(history) == {Flag.REFUNDED}


@pytest.mark.parametrize("amount", [1, 99, 100])
def test_no_status_changes_for_a_refund(amount):
    history = paid().refund("r", amount).grow(2)
    assert history.decide().status is Status.SUCCEEDED
    assert history.now(99_999).decide().status is Status.SUCCEEDED
    part = IntentHistory().pay("a", 60).refund("r", amount).grow(2)
    assert part.decide().status is Status.PENDING
    assert part.now(1101).new_events() == ["expired"]
    assert Flag.UNDERPAID in flags(part)


def test_late_money_that_is_given_back_is_sent_of_an_expired_intent():
    history = IntentHistory().now(1101)
    history.decide()
    history.pay("a", 100).refund("r", 100)
    assert history.new_events() == ["attention:late"]
    assert history.grow(2).new_events() == ["refunded"]
    assert flags(history) == {Flag.LATE, Flag.REFUNDED}


def test_a_refund_of_a_canceled_and_of_a_marked_intent_is_sent():
    canceled = IntentHistory().cancel()
    canceled.decide()
    canceled.pay("a", 100).refund("r", 100).grow(2)
    assert canceled.new_events() == ["attention:late", "refunded"]
    marked = IntentHistory().mark(Status.SUCCEEDED)
    marked.decide()
    marked.pay("a", 100).refund("r", 100).decide()
    assert marked.decide().next_check.height == marked.clock.height + 2
    assert marked.grow(2).new_events() == ["refunded"]


def test_a_refund_that_a_reorg_takes_before_it_is_deep_is_not_sent():
    history = paid().refund("r", 100)
    assert flags(history) == {Flag.REFUNDED}
    history.orphan("r")
    assert history.grow(5).new_events() == []
    assert flags(history) == set()
    assert history.decide().refunded == 0


def test_a_sent_refund_that_a_reorg_takes_is_not_counted_any_more_and_not_sent_again():
    history = paid().refund("r", 100).grow(2)
    assert history.new_events() == ["refunded"]
    history.orphan("r")
    decision = history.decide()
    assert (decision.flags, decision.refunded, decision.status) == (frozenset(), 0, Status.SUCCEEDED)
    assert history.refund("r", 100).grow(5).new_events() == []
    assert flags(history) == {Flag.REFUNDED}


def test_a_refund_that_another_branch_brings_with_another_amount_is_sent_as_what_it_is():
    history = paid().refund("r", 100).grow(2)
    history.decide()
    history.orphan("r").refund("r", 40)
    assert history.grow(2).new_events() == ["refunded"]
    assert history.drafts[-1].refund == history.refunds[-1]
    assert flags(history) == {Flag.PARTIALLY_REFUNDED}


def test_a_refund_goes_on_being_shown_when_a_reorg_takes_the_payment():
    """No chain does this: the contract refunds what it has a receipt for. The rule holds all the same."""
    history = paid().refund("r", 100).grow(2)
    history.decide()
    assert history.orphan("a").new_events() == ["attention:reorged"]
    assert flags(history) == {Flag.REORGED, Flag.REFUNDED}


def test_a_refund_found_after_a_later_one_was_sent_is_sent_as_well():
    history = paid().refund("r", 10).refund("s", 20).grow(2)
    lost: Repayment = history.refunds.pop(0)
    assert history.new_events() == ["refunded"]
    history.refunds.append(lost)
    [draft] = history.decide().drafts
    assert (draft.n, draft.refund) == (1, lost)
