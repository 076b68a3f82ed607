"""Rows 6, 6a, 6b and 7 of the status table: reorgs of an intent's money."""

import pytest

from notifier.events import EventType
from tests.unit.watcher.domain.history import DEADLINE, GRACE, PAYER, STRANGER, IntentHistory
from watcher.domain.model import Depth, Flag, LatePolicy, Status


def paid(**changes: object) -> IntentHistory:
    """Return a history with ``payment.succeeded`` sent for one transfer of 100, at chain time 530."""
    history = IntentHistory(**changes).pay("a", 100).grow(2)
    assert "succeeded" in history.new_events()
    return history


def test_row_6_a_reorg_that_takes_a_success_goes_back_to_processing() -> None:
    history = paid().orphan("a", at=540)
    decision = history.decide()
    assert decision.status is Status.PROCESSING
    assert decision.flags == {Flag.REORGED}
    assert [(d.type, d.reason) for d in decision.drafts] == [(EventType.ATTENTION, "reorged")]
    assert (decision.received, decision.missing) == (0, 100)
    assert decision.next_check.time == 540 + GRACE + 1


def test_row_6_holds_at_the_same_chain_time_as_the_success() -> None:
    history = paid().orphan("a")
    assert history.new_events() == ["attention:reorged"]
    assert history.intent.status is Status.PROCESSING


def test_row_6_is_not_fooled_by_a_new_tip_that_is_older() -> None:
    history = paid().orphan("a", at=505, height=100)
    decision = history.decide()
    assert decision.status is Status.PROCESSING
    assert decision.next_check.time == 530 + GRACE + 1


def test_row_6_one_of_several_covering_transfers_is_enough() -> None:
    history = IntentHistory().pay("a", 60).pay("b", 40).grow(2)
    assert history.new_events() == ["succeeded"]
    decision = history.orphan("b").decide()
    assert decision.status is Status.PROCESSING
    assert decision.received == 60


def test_row_6_two_reorgs_take_one_part_each() -> None:
    history = IntentHistory().pay("a", 60).pay("b", 60).grow(2)
    assert history.new_events() == ["succeeded"]
    assert history.orphan("b").grow().new_events() == ["attention:reorged"]
    assert history.orphan("a").grow().new_events() == ["attention:reorged"]
    assert history.pay("a", 60).new_events() == []
    assert history.intent.status is Status.PROCESSING
    assert history.pay("b", 60).new_events() == []
    assert history.intent.status is Status.SUCCEEDED


def test_row_6_the_rest_still_covers() -> None:
    history = paid().pay("b", 100)
    assert history.new_events() == ["attention:surplus"]
    assert history.orphan("a").new_events() == []
    decision = history.decide()
    assert decision.status is Status.SUCCEEDED
    assert decision.flags == frozenset()


def test_row_6_a_reorg_of_surplus_changes_amounts_only() -> None:
    history = paid().pay("b", 30)
    history.decide()
    decision = history.orphan("b").decide()
    assert decision.status is Status.SUCCEEDED
    assert decision.drafts == ()
    assert decision.received == 100


def test_row_6a_mined_again_succeeds_without_a_word() -> None:
    history = paid().orphan("a")
    history.decide()
    decision = history.pay("a", 100).decide()
    assert decision.status is Status.SUCCEEDED
    assert decision.flags == frozenset()
    assert decision.drafts == ()
    assert [d.type for d in history.verdicts] == [EventType.SUCCEEDED]


def test_row_6a_mined_again_in_the_same_step_is_never_seen() -> None:
    history = paid().orphan("a").pay("a", 100)
    assert history.new_events() == []
    assert history.intent.status is Status.SUCCEEDED


def test_row_6a_another_payment_covers_as_well() -> None:
    history = paid().orphan("a")
    history.decide()
    assert history.pay("b", 100).new_events() == []
    assert history.intent.status is Status.SUCCEEDED


def test_row_6a_mined_again_in_the_last_second_of_the_grace_is_on_time_even_after_the_deadline() -> None:
    history = IntentHistory().pay("a", 100, at=DEADLINE - 5).grow(2)
    assert history.new_events() == ["succeeded"]
    orphaned = history.clock.time
    history.orphan("a").decide()
    assert history.pay("a", 100, at=orphaned + GRACE).new_events() == []
    decision = history.decide()
    assert decision.status is Status.SUCCEEDED
    assert decision.flags == frozenset()


def test_row_6a_each_orphaning_gives_its_own_grace() -> None:
    history = IntentHistory().pay("a", 100, at=DEADLINE).grow(2)
    history.decide()
    for _ in range(3):
        assert history.orphan("a").new_events() == ["attention:reorged"]
        assert history.pay("a", 100, at=history.clock.time + GRACE).new_events() == []
        assert history.intent.status is Status.SUCCEEDED
    assert len(history.verdicts) == 1


def test_row_6a_a_branch_that_comes_back_is_as_before() -> None:
    history = paid()
    first = history.inclusions
    history.orphan("a").decide()
    history.pay("a", 100).decide()
    second = history.orphan("a").inclusions[-1]
    history.inclusions = [*first, second]
    assert history.new_events() == []
    assert history.intent.status is Status.SUCCEEDED


def test_row_6b_not_mined_again_in_reorg_grace_fails_and_supersedes() -> None:
    history = paid().orphan("a", at=540)
    history.decide()
    assert history.now(540 + GRACE).new_events() == []
    assert history.now(540 + GRACE + 1).new_events() == ["failed:reorged"]
    success, failure = history.verdicts
    assert failure.supersedes == success.id
    assert failure.flags == {Flag.REORGED}
    decision = history.decide()
    assert decision.status is Status.FAILED
    assert decision.flags == {Flag.REORGED}
    assert decision.next_check.time is None


def test_row_6b_a_batch_over_the_grace_fails_at_once() -> None:
    history = paid().orphan("a").grow(1).now(530 + GRACE + 1)
    assert history.new_events() == ["failed:reorged"]


def test_row_6b_it_fails_on_the_new_branch_at_depth() -> None:
    history = paid().orphan("a")
    history.decide()
    decision = history.fail("a").decide()
    assert decision.status is Status.PROCESSING
    assert decision.next_check.height == history.clock.height + 2
    assert history.grow(2).new_events() == ["failed:reorged"]


def test_row_6b_the_failure_of_another_sender_proves_nothing() -> None:
    history = paid().orphan("a")
    history.decide()
    assert history.fail("z", by=STRANGER).grow(5).new_events() == []
    assert history.intent.status is Status.PROCESSING


def test_row_6b_all_that_was_taken_must_fail() -> None:
    history = IntentHistory().pay("a", 60).pay("b", 40).grow(2)
    history.decide()
    history.orphan("a", "b").decide()
    assert history.fail("a").grow(5).new_events() == []
    assert history.fail("b").grow(2).new_events() == ["failed:reorged"]


def test_row_6b_a_failure_after_the_deadline_counts_for_a_payment_on_its_way_back() -> None:
    history = IntentHistory().pay("a", 100, at=DEADLINE).grow(2)
    history.decide()
    history.orphan("a").decide()
    assert history.fail("a").grow(2).new_events() == ["failed:reorged"]


def test_row_6b_accepted_late_money_that_fails_on_the_new_branch_fails_at_depth() -> None:
    history = IntentHistory(late_policy=LatePolicy.ACCEPT).pay("a", 100, at=DEADLINE + 5).grow(2)
    assert history.new_events() == ["expired", "succeeded"]
    assert history.orphan("a").new_events() == ["attention:reorged"]
    assert history.fail("a").grow(2).new_events() == ["failed:reorged"]


def test_row_6b_mined_again_with_less() -> None:
    history = paid().orphan("a", at=540)
    decision = history.pay("a", 99).decide()
    assert decision.status is Status.PROCESSING
    assert decision.flags == {Flag.REORGED}
    assert decision.received == 99
    assert history.now(540 + GRACE + 1).new_events() == ["failed:reorged"]


def test_row_6b_mined_again_with_nothing() -> None:
    history = paid().orphan("a", at=540).pay("a", 0)
    assert history.decide().status is Status.PROCESSING
    assert history.now(540 + GRACE + 1).new_events() == ["failed:reorged"]


@pytest.mark.parametrize("again", [0, 10])
def test_row_6b_no_number_of_reorgs_with_other_amounts_hides_that_the_money_is_gone(again: int) -> None:
    history = paid().orphan("a").pay("a", 10)
    assert history.new_events() == ["attention:reorged"]
    history.orphan("a").pay("a", again)
    decision = history.decide()
    assert (decision.status, decision.flags) == (Status.PROCESSING, {Flag.REORGED})
    assert decision.received == again
    assert history.now(history.clock.time + GRACE + 1).new_events() == ["failed:reorged"]


def test_row_6b_reorgs_in_one_step_hide_nothing_either() -> None:
    history = paid().orphan("a").pay("a", 10).orphan("a").grow()
    assert history.new_events() == ["attention:reorged"]
    assert history.now(history.clock.time + GRACE + 1).new_events() == ["failed:reorged"]


def test_row_6a_the_first_amount_comes_back_after_two_reorgs() -> None:
    history = paid().orphan("a").pay("a", 10)
    history.decide()
    history.orphan("a").pay("a", 100)
    decision = history.decide()
    assert (decision.status, decision.flags, decision.drafts) == (Status.SUCCEEDED, frozenset(), ())


def test_row_6a_mined_again_with_more_is_overpaid() -> None:
    decision = paid().orphan("a").pay("a", 150).decide()
    assert decision.status is Status.SUCCEEDED
    assert decision.flags == {Flag.OVERPAID}
    assert decision.drafts == ()


@pytest.mark.parametrize("seen_in_between", [True, False])
def test_row_6b_mined_again_too_late_is_late_money(seen_in_between: bool) -> None:
    history = IntentHistory().pay("a", 100, at=DEADLINE - 30).grow(2)
    history.decide()
    history.orphan("a").decide()
    end = history.clock.time + GRACE
    if seen_in_between:
        history.grow().now(end + 1).decide()
    history.pay("a", 100, at=end + 2).decide()
    decision = history.decide()
    assert decision.status is Status.FAILED
    assert decision.flags == {Flag.REORGED, Flag.LATE, Flag.REFUND_DUE}
    assert [d.reason for d in history.drafts if d.type is EventType.ATTENTION] == ["reorged", "late"]


def test_row_6b_then_mined_again_before_the_deadline_is_evidence() -> None:
    history = paid(expires_at=5000).orphan("a")
    history.decide()
    history.now(2000)
    assert history.new_events() == ["failed:reorged"]
    assert history.pay("a", 100).grow(2).new_events() == ["succeeded"]
    assert history.decide().flags == {Flag.LATE_EVIDENCE}
    assert [d.supersedes for d in history.verdicts] == [None, *(d.id for d in history.verdicts[:2])]


def test_row_6b_a_chain_of_verdicts_each_supersedes_the_one_before() -> None:
    history = paid(expires_at=50_000)
    for _ in range(3):
        history.orphan("a").decide()
        assert history.grow().now(history.clock.time + GRACE + 1).new_events() == ["failed:reorged"]
        assert history.pay("a", 100).grow(2).new_events() == ["succeeded"]
    chain = history.verdicts
    assert [d.supersedes for d in chain[1:]] == [d.id for d in chain[:-1]]
    assert len({d.id for d in history.drafts}) == len(history.drafts)


def test_row_6_an_accepted_late_success_can_be_taken_and_come_back() -> None:
    history = IntentHistory(late_policy=LatePolicy.ACCEPT).now(DEADLINE + 1)
    assert history.new_events() == ["expired"]
    assert history.pay("a", 100).grow(2).new_events() == ["succeeded"]
    assert history.orphan("a").new_events() == ["attention:reorged"]
    decision = history.decide()
    assert decision.flags == {Flag.REORGED}
    assert decision.next_check.time == history.clock.time + GRACE + 1
    assert history.pay("a", 100).new_events() == []
    assert history.decide().flags == {Flag.LATE}


def test_row_7_unseen_before_the_success_is_as_if_never_seen() -> None:
    history = IntentHistory().pay("a", 100)
    assert history.new_events() == ["processing"]
    decision = history.orphan("a").decide()
    assert decision.status is Status.PENDING
    assert decision.flags == frozenset()
    assert decision.drafts == ()
    assert decision.received == 0
    assert decision.next_check.time == 510 + GRACE + 1, "the nearest point, not the deadline"


def test_row_7_holds_back_row_10() -> None:
    history = IntentHistory(payer=PAYER).pay("a", 100)
    history.decide()
    history.orphan("a", at=520)
    assert history.fail("x").grow(5).new_events() == []
    assert history.now(520 + GRACE).new_events() == []
    assert history.now(520 + GRACE + 1).new_events() == ["failed:abort_by_response"]


def test_row_7_holds_back_rows_11_and_12_until_the_payment_has_failed_itself() -> None:
    history = IntentHistory().pay("a", 100, at=DEADLINE)
    history.decide()
    history.orphan("a").fail("a").decide()
    assert history.intent.status is Status.PENDING
    assert history.grow(2).new_events() == ["failed:abort_by_response"]


def test_row_7_a_failure_after_the_grace_is_no_reason() -> None:
    live = IntentHistory().pay("a", 100, at=DEADLINE).orphan("a").now(DEADLINE + GRACE + 1)
    assert live.new_events() == ["expired"]
    batch = IntentHistory().pay("a", 100, at=DEADLINE).orphan("a").fail("a", at=DEADLINE + GRACE + 1)
    assert batch.new_events() == ["expired"]


def test_row_7_the_payment_comes_back_after_the_deadline() -> None:
    history = IntentHistory().pay("a", 100, at=DEADLINE)
    history.decide()
    history.orphan("a").decide()
    assert history.pay("a", 100, at=DEADLINE + GRACE).new_events() == []
    assert history.grow(2).new_events() == ["succeeded"]
    assert history.decide().flags == frozenset()


def test_row_7_a_late_payment_holds_nothing_back() -> None:
    history = IntentHistory().pay("a", 100, at=DEADLINE + 1).orphan("a")
    assert history.new_events() == ["expired"]


def test_row_7_the_mined_depth_starts_again() -> None:
    history = IntentHistory().pay("a", 100).grow(1)
    history.decide()
    history.orphan("a").pay("a", 100).decide()
    assert history.intent.status is Status.PROCESSING
    assert history.grow(1).new_events() == []
    assert history.grow(1).new_events() == ["succeeded"]


def test_missing_rows_never_take_back_a_verdict() -> None:
    history = paid().lose("a").grow(100)
    assert history.new_events() == []
    assert history.intent.status is Status.SUCCEEDED


def test_an_orphan_from_before_the_success_does_not_explain_a_missing_row() -> None:
    history = IntentHistory().pay("a", 100)
    history.decide()
    history.orphan("a").decide()
    history.pay("b", 100).grow(2)
    assert history.new_events() == ["succeeded"]
    assert history.lose("b").grow(100).new_events() == []
    assert history.intent.status is Status.SUCCEEDED


def test_an_orphan_after_the_success_that_covered_nothing_does_not_explain_a_missing_row() -> None:
    history = paid().pay("b", 30)
    history.decide()
    assert history.lose("a").orphan("b").grow(100).new_events() == []
    assert history.intent.status is Status.SUCCEEDED


def test_depth_and_clock_going_back_never_take_back_a_success() -> None:
    history = paid(required=Depth(stacks=3, bitcoin=0)).now(10, height=50, burn=1)
    assert history.new_events() == []
    assert history.intent.status is Status.SUCCEEDED


def test_depth_going_back_before_the_success_waits_again() -> None:
    history = IntentHistory().pay("a", 100).grow(1)
    history.decide()
    history.now(height=history.clock.height - 1)
    assert history.decide().status is Status.PROCESSING
    assert history.grow(1).decide().status is Status.PROCESSING
    assert history.grow(1).new_events() == ["succeeded"]


def test_row_7_waits_for_the_last_of_several_payments_that_reorgs_took() -> None:
    history = IntentHistory().pay("a", 60, at=DEADLINE - 10).pay("b", 40, at=DEADLINE)
    history.decide()
    history.orphan("b").grow(5).orphan("a").decide()
    first, last = sorted(i.orphaned_at or 0 for i in history.inclusions)
    assert history.now(first + GRACE + 1).new_events() == []
    assert history.intent.status is Status.PENDING
    assert history.now(last + GRACE + 1).new_events() == ["expired"]


def test_row_6_a_success_sent_for_money_that_was_never_there() -> None:
    history = paid().refute("a")
    assert history.new_events() == ["attention:reorged"]
    assert history.intent.status is Status.PROCESSING
    assert history.now(history.clock.time + GRACE + 1).new_events() == ["failed:reorged"]
    assert history.verdicts[-1].supersedes == history.verdicts[0].id


def test_row_6_a_success_sent_for_more_than_came() -> None:
    history = paid().refute("a").pay("a", 60)
    assert history.new_events() == ["attention:reorged"]
    assert (history.decide().received, history.intent.status) == (60, Status.PROCESSING)
    assert history.pay("b", 40).new_events() == []
    assert history.intent.status is Status.SUCCEEDED


def test_row_6b_refuted_money_whose_call_had_failed_is_not_waited_for() -> None:
    history = paid().refute("a").fail("a").grow(3)
    assert history.new_events() == ["failed:reorged"]


def test_row_7_refuted_money_holds_nothing_back() -> None:
    history = IntentHistory().pay("a", 60, at=DEADLINE).refute("a")
    assert history.now(DEADLINE + 1).new_events() == ["expired"]


def test_row_10_refuted_money_gives_a_failure_no_time() -> None:
    """A failure after the deadline counts only if its payment was on time in an orphaned block."""
    history = (
        IntentHistory(payer=PAYER).pay("a", 100, at=DEADLINE).refute("a").fail("a", at=DEADLINE + 10).grow(3)
    )
    assert history.new_events() == ["expired"]
