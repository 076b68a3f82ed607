"""Rows 9 to 12 of the status table: attempts that failed, and the deadline."""

from tests.unit.watcher.domain.history import DEADLINE, GRACE, PAYER, STRANGER, Story
from watcher.domain.model import Depth, Flag, Status


def test_row_9_a_strangers_abort_does_not_kill_the_order() -> None:
    story = Story(payer=PAYER).fail("x", by=STRANGER).grow(50)
    assert story.say() == []
    assert story.intent.status is Status.PENDING
    assert story.pay("a", 100).grow(2).say() == ["succeeded"]


def test_row_9_without_a_bound_payer_everybody_is_a_stranger() -> None:
    story = Story().fail("x", by=PAYER).grow(50)
    assert story.say() == []
    assert story.intent.status is Status.PENDING


def test_row_10_the_bound_payers_abort_fails_the_intent_at_depth() -> None:
    story = Story(payer=PAYER).fail("x", "abort_by_post_condition")
    decision = story.decide()
    assert decision.status is Status.PENDING
    assert decision.next_check.height == 103
    assert story.grow(1).say() == []
    assert story.grow(1).say() == ["failed:abort_by_post_condition"]
    assert story.intent.status is Status.FAILED


def test_row_10_needs_the_bitcoin_depth_too() -> None:
    story = Story(payer=PAYER, required=Depth(stacks=1, bitcoin=2)).fail("x").grow(30, burn=1)
    decision = story.decide()
    assert decision.status is Status.PENDING
    assert decision.next_check.burn_height == 12
    assert story.grow(1, burn=1).say() == ["failed:abort_by_response"]


def test_row_10_tells_the_newest_reason_that_is_deep() -> None:
    story = Story(payer=PAYER).fail("x", "abort_by_response").fail("y", "problematic_skipped").grow(1)
    assert story.say() == ["failed:abort_by_response"]
    batch = Story(payer=PAYER).fail("x", "abort_by_response").fail("y", "problematic_skipped").grow(2)
    assert batch.say() == ["failed:problematic_skipped"]


def test_row_10_money_comes_before_attempts() -> None:
    story = Story(payer=PAYER).fail("x").pay("a", 1).grow(9)
    assert story.say() == []
    assert story.decide().flags == {Flag.UNDERPAID}
    assert story.now(DEADLINE + 1).say() == ["expired"]


def test_row_10_a_batch_fails_what_had_failed_before_partial_money_came() -> None:
    live = Story(payer=PAYER).fail("x").grow(2)
    assert live.say() == ["failed:abort_by_response"]
    assert live.pay("a", 60).say() == []
    batch = Story(payer=PAYER).fail("x").grow(2).pay("a", 60)
    assert batch.say() == ["failed:abort_by_response"]
    assert live.decide() == batch.decide()


def test_row_10_a_reorg_that_moves_partial_money_behind_the_failure_does_not_fail_it() -> None:
    story = Story(payer=PAYER).fail("x").pay("a", 60).grow(5)
    assert story.say() == []
    assert story.orphan("a").pay("a", 60).say() == []
    assert story.intent.status is Status.PENDING


def test_row_10_an_orphaned_abort_does_not_count() -> None:
    story = Story(payer=PAYER).fail("x")
    story.decide()
    assert story.orphan("x").grow(9).say() == []
    assert story.now(DEADLINE + 1).say() == ["expired"]


def test_row_11_only_aborted_attempts_by_the_deadline_fail_with_the_last_reason() -> None:
    story = Story().fail("x", "abort_by_response", by=STRANGER).fail("y", "abort_by_post_condition")
    story.failures.reverse()
    assert story.now(DEADLINE).say() == []
    assert story.now(DEADLINE + 1).say() == ["failed:abort_by_post_condition"]
    assert story.intent.status is Status.FAILED


def test_row_11_counts_an_abort_in_the_deadlines_own_second_and_none_after() -> None:
    assert Story().fail("x", at=DEADLINE).grow().say() == ["failed:abort_by_response"]
    assert Story().fail("x", at=DEADLINE + 1).say() == ["expired"]


def test_row_11_does_not_ask_for_depth() -> None:
    story = Story(required=Depth(stacks=1, bitcoin=6)).fail("x")
    assert story.now(DEADLINE + 1).say() == ["failed:abort_by_response"]


def test_row_11_late_money_does_not_turn_failed_into_expired() -> None:
    story = Story().fail("x").pay("a", 100, at=DEADLINE + 1)
    assert story.say() == ["failed:abort_by_response", "attention:late"]


def test_row_12_the_deadline_is_the_last_second_of_pending() -> None:
    story = Story()
    assert story.now(DEADLINE).say() == []
    decision = story.now(DEADLINE + 1).decide()
    assert decision.status is Status.EXPIRED
    assert decision.flags == frozenset()


def test_row_12_partial_money_expires_underpaid() -> None:
    story = Story().fail("x").pay("a", 60).now(DEADLINE + 1)
    decision = story.decide()
    assert [d.type.value for d in decision.drafts] == ["payment.expired"]
    assert decision.flags == {Flag.UNDERPAID, Flag.REFUND_DUE}
    assert decision.received == 60
    assert decision.drafts[0].reason is None


def test_row_12_a_chain_that_stands_still_expires_nothing() -> None:
    story = Story()
    assert story.decide().next_check.time == DEADLINE + 1
    assert story.say() == []
    assert story.intent.status is Status.PENDING


def test_row_12_a_clock_that_goes_back_does_not_take_expiry_back() -> None:
    story = Story().now(DEADLINE + 1)
    assert story.say() == ["expired"]
    assert story.now(600, height=90, burn=9).say() == []
    assert story.intent.status is Status.EXPIRED


def test_row_12_waits_for_money_that_a_reorg_took_until_the_grace_is_over() -> None:
    story = Story().pay("a", 100, at=DEADLINE)
    story.decide()
    story.orphan("a", at=DEADLINE + 5)
    decision = story.decide()
    assert decision.status is Status.PENDING
    assert decision.next_check.time == DEADLINE + 5 + GRACE + 1
    assert story.now(DEADLINE + 5 + GRACE).say() == []
    assert story.now(DEADLINE + 5 + GRACE + 1).say() == ["expired"]
