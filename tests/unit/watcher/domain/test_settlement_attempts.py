"""Rows 9 to 12 of the status table: attempts that failed, and the deadline."""

from tests.unit.watcher.domain.history import DEADLINE, GRACE, PAYER, STRANGER, IntentHistory
from watcher.domain.model import Depth, Flag, Status


def test_row_9_a_strangers_abort_does_not_kill_the_order() -> None:
    history = IntentHistory(payer=PAYER).fail("x", by=STRANGER).grow(50)
    assert history.new_events() == []
    assert history.intent.status is Status.PENDING
    assert history.pay("a", 100).grow(2).new_events() == ["succeeded"]


def test_row_9_without_a_bound_payer_everybody_is_a_stranger() -> None:
    history = IntentHistory().fail("x", by=PAYER).grow(50)
    assert history.new_events() == []
    assert history.intent.status is Status.PENDING


def test_row_10_the_bound_payers_abort_fails_the_intent_at_depth() -> None:
    history = IntentHistory(payer=PAYER).fail("x", "abort_by_post_condition")
    decision = history.decide()
    assert decision.status is Status.PENDING
    assert decision.next_check.height == 103
    assert history.grow(1).new_events() == []
    assert history.grow(1).new_events() == ["failed:abort_by_post_condition"]
    assert history.intent.status is Status.FAILED


def test_row_10_needs_the_bitcoin_depth_too() -> None:
    history = IntentHistory(payer=PAYER, required=Depth(stacks=1, bitcoin=2)).fail("x").grow(30, burn=1)
    decision = history.decide()
    assert decision.status is Status.PENDING
    assert decision.next_check.burn_height == 12
    assert history.grow(1, burn=1).new_events() == ["failed:abort_by_response"]


def test_row_10_gives_the_newest_reason_that_is_deep() -> None:
    history = (
        IntentHistory(payer=PAYER).fail("x", "abort_by_response").fail("y", "problematic_skipped").grow(1)
    )
    assert history.new_events() == ["failed:abort_by_response"]
    batch = IntentHistory(payer=PAYER).fail("x", "abort_by_response").fail("y", "problematic_skipped").grow(2)
    assert batch.new_events() == ["failed:problematic_skipped"]


def test_row_10_money_comes_before_attempts() -> None:
    history = IntentHistory(payer=PAYER).fail("x").pay("a", 1).grow(9)
    assert history.new_events() == []
    assert history.decide().flags == {Flag.UNDERPAID}
    assert history.now(DEADLINE + 1).new_events() == ["expired"]


def test_row_10_a_batch_fails_what_had_failed_before_partial_money_came() -> None:
    live = IntentHistory(payer=PAYER).fail("x").grow(2)
    assert live.new_events() == ["failed:abort_by_response"]
    assert live.pay("a", 60).new_events() == []
    batch = IntentHistory(payer=PAYER).fail("x").grow(2).pay("a", 60)
    assert batch.new_events() == ["failed:abort_by_response"]
    assert live.decide() == batch.decide()


def test_row_10_a_reorg_that_moves_partial_money_behind_the_failure_does_not_fail_it() -> None:
    history = IntentHistory(payer=PAYER).fail("x").pay("a", 60).grow(5)
    assert history.new_events() == []
    assert history.orphan("a").pay("a", 60).new_events() == []
    assert history.intent.status is Status.PENDING


def test_row_10_an_orphaned_abort_does_not_count() -> None:
    history = IntentHistory(payer=PAYER).fail("x")
    history.decide()
    assert history.orphan("x").grow(9).new_events() == []
    assert history.now(DEADLINE + 1).new_events() == ["expired"]


def test_row_11_only_aborted_attempts_by_the_deadline_fail_with_the_last_reason() -> None:
    history = IntentHistory().fail("x", "abort_by_response", by=STRANGER).fail("y", "abort_by_post_condition")
    history.failures.reverse()
    assert history.now(DEADLINE).new_events() == []
    assert history.now(DEADLINE + 1).new_events() == ["failed:abort_by_post_condition"]
    assert history.intent.status is Status.FAILED


def test_row_11_counts_an_abort_in_the_deadlines_own_second_and_none_after() -> None:
    assert IntentHistory().fail("x", at=DEADLINE).grow().new_events() == ["failed:abort_by_response"]
    assert IntentHistory().fail("x", at=DEADLINE + 1).new_events() == ["expired"]


def test_row_11_does_not_ask_for_depth() -> None:
    history = IntentHistory(required=Depth(stacks=1, bitcoin=6)).fail("x")
    assert history.now(DEADLINE + 1).new_events() == ["failed:abort_by_response"]


def test_row_11_late_money_does_not_turn_failed_into_expired() -> None:
    history = IntentHistory().fail("x").pay("a", 100, at=DEADLINE + 1)
    assert history.new_events() == ["failed:abort_by_response", "attention:late"]


def test_row_12_the_deadline_is_the_last_second_of_pending() -> None:
    history = IntentHistory()
    assert history.now(DEADLINE).new_events() == []
    decision = history.now(DEADLINE + 1).decide()
    assert decision.status is Status.EXPIRED
    assert decision.flags == frozenset()


def test_row_12_partial_money_expires_underpaid() -> None:
    history = IntentHistory().fail("x").pay("a", 60).now(DEADLINE + 1)
    decision = history.decide()
    assert [d.type.value for d in decision.drafts] == ["payment.expired"]
    assert decision.flags == {Flag.UNDERPAID, Flag.REFUND_DUE}
    assert decision.received == 60
    assert decision.drafts[0].reason is None


def test_row_12_a_chain_that_stands_still_expires_nothing() -> None:
    history = IntentHistory()
    assert history.decide().next_check.time == DEADLINE + 1
    assert history.new_events() == []
    assert history.intent.status is Status.PENDING


def test_row_12_a_clock_that_goes_back_does_not_take_expiry_back() -> None:
    history = IntentHistory().now(DEADLINE + 1)
    assert history.new_events() == ["expired"]
    assert history.now(600, height=90, burn=9).new_events() == []
    assert history.intent.status is Status.EXPIRED


def test_row_12_waits_for_money_that_a_reorg_took_until_the_grace_is_over() -> None:
    history = IntentHistory().pay("a", 100, at=DEADLINE)
    history.decide()
    history.orphan("a", at=DEADLINE + 5)
    decision = history.decide()
    assert decision.status is Status.PENDING
    assert decision.next_check.time == DEADLINE + 5 + GRACE + 1
    assert history.now(DEADLINE + 5 + GRACE).new_events() == []
    assert history.now(DEADLINE + 5 + GRACE + 1).new_events() == ["expired"]
