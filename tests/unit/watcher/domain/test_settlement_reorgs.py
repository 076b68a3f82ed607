"""Rows 6, 6a, 6b and 7 of the status table: what a reorg does to money."""

import pytest

from notifier.events import EventType
from tests.unit.watcher.domain.history import DEADLINE, GRACE, PAYER, STRANGER, Story
from watcher.domain.model import Depth, Flag, LatePolicy, Status


def paid(**changes: object) -> Story:
    """A story with ``payment.succeeded`` told for one transfer of 100, at chain time 530."""
    story = Story(**changes).pay("a", 100).grow(2)
    assert "succeeded" in story.say()
    return story


def test_row_6_a_reorg_that_takes_a_success_goes_back_to_processing() -> None:
    story = paid().orphan("a", at=540)
    decision = story.decide()
    assert decision.status is Status.PROCESSING
    assert decision.flags == {Flag.REORGED}
    assert [(d.type, d.reason) for d in decision.drafts] == [(EventType.ATTENTION, "reorged")]
    assert (decision.received, decision.missing) == (0, 100)
    assert decision.next_check.time == 540 + GRACE + 1


def test_row_6_holds_at_the_same_chain_time_as_the_success() -> None:
    story = paid().orphan("a")
    assert story.say() == ["attention:reorged"]
    assert story.intent.status is Status.PROCESSING


def test_row_6_is_not_fooled_by_a_new_tip_that_is_older() -> None:
    story = paid().orphan("a", at=505, height=100)
    decision = story.decide()
    assert decision.status is Status.PROCESSING
    assert decision.next_check.time == 530 + GRACE + 1


def test_row_6_one_of_several_covering_transfers_is_enough() -> None:
    story = Story().pay("a", 60).pay("b", 40).grow(2)
    assert story.say() == ["succeeded"]
    decision = story.orphan("b").decide()
    assert decision.status is Status.PROCESSING
    assert decision.received == 60


def test_row_6_two_reorgs_take_one_part_each() -> None:
    story = Story().pay("a", 60).pay("b", 60).grow(2)
    assert story.say() == ["succeeded"]
    assert story.orphan("b").grow().say() == ["attention:reorged"]
    assert story.orphan("a").grow().say() == ["attention:reorged"]
    assert story.pay("a", 60).say() == []
    assert story.intent.status is Status.PROCESSING
    assert story.pay("b", 60).say() == []
    assert story.intent.status is Status.SUCCEEDED


def test_row_6_the_rest_still_covers() -> None:
    story = paid().pay("b", 100)
    assert story.say() == ["attention:surplus"]
    assert story.orphan("a").say() == []
    decision = story.decide()
    assert decision.status is Status.SUCCEEDED
    assert decision.flags == frozenset()


def test_row_6_a_reorg_of_surplus_changes_amounts_only() -> None:
    story = paid().pay("b", 30)
    story.decide()
    decision = story.orphan("b").decide()
    assert decision.status is Status.SUCCEEDED
    assert decision.drafts == ()
    assert decision.received == 100


def test_row_6a_mined_again_succeeds_without_a_word() -> None:
    story = paid().orphan("a")
    story.decide()
    decision = story.pay("a", 100).decide()
    assert decision.status is Status.SUCCEEDED
    assert decision.flags == frozenset()
    assert decision.drafts == ()
    assert [d.type for d in story.verdicts] == [EventType.SUCCEEDED]


def test_row_6a_mined_again_in_the_same_step_is_never_seen() -> None:
    story = paid().orphan("a").pay("a", 100)
    assert story.say() == []
    assert story.intent.status is Status.SUCCEEDED


def test_row_6a_another_payment_covers_as_well() -> None:
    story = paid().orphan("a")
    story.decide()
    assert story.pay("b", 100).say() == []
    assert story.intent.status is Status.SUCCEEDED


def test_row_6a_mined_again_in_the_last_second_of_the_grace_is_on_time_even_after_the_deadline() -> None:
    story = Story().pay("a", 100, at=DEADLINE - 5).grow(2)
    assert story.say() == ["succeeded"]
    orphaned = story.clock.time
    story.orphan("a").decide()
    assert story.pay("a", 100, at=orphaned + GRACE).say() == []
    decision = story.decide()
    assert decision.status is Status.SUCCEEDED
    assert decision.flags == frozenset()


def test_row_6a_each_orphaning_gives_its_own_grace() -> None:
    story = Story().pay("a", 100, at=DEADLINE).grow(2)
    story.decide()
    for _ in range(3):
        assert story.orphan("a").say() == ["attention:reorged"]
        assert story.pay("a", 100, at=story.clock.time + GRACE).say() == []
        assert story.intent.status is Status.SUCCEEDED
    assert len(story.verdicts) == 1


def test_row_6a_a_branch_that_comes_back_is_as_before() -> None:
    story = paid()
    first = story.inclusions
    story.orphan("a").decide()
    story.pay("a", 100).decide()
    second = story.orphan("a").inclusions[-1]
    story.inclusions = [*first, second]
    assert story.say() == []
    assert story.intent.status is Status.SUCCEEDED


def test_row_6b_not_mined_again_in_reorg_grace_fails_and_supersedes() -> None:
    story = paid().orphan("a", at=540)
    story.decide()
    assert story.now(540 + GRACE).say() == []
    assert story.now(540 + GRACE + 1).say() == ["failed:reorged"]
    success, failure = story.verdicts
    assert failure.supersedes == success.id
    assert failure.flags == {Flag.REORGED}
    decision = story.decide()
    assert decision.status is Status.FAILED
    assert decision.flags == {Flag.REORGED}
    assert decision.next_check.time is None


def test_row_6b_a_batch_over_the_grace_fails_at_once() -> None:
    story = paid().orphan("a").grow(1).now(530 + GRACE + 1)
    assert story.say() == ["failed:reorged"]


def test_row_6b_it_fails_on_the_new_branch_at_depth() -> None:
    story = paid().orphan("a")
    story.decide()
    decision = story.fail("a").decide()
    assert decision.status is Status.PROCESSING
    assert decision.next_check.height == story.clock.height + 2
    assert story.grow(2).say() == ["failed:reorged"]


def test_row_6b_somebody_elses_failure_proves_nothing() -> None:
    story = paid().orphan("a")
    story.decide()
    assert story.fail("z", by=STRANGER).grow(5).say() == []
    assert story.intent.status is Status.PROCESSING


def test_row_6b_all_that_was_taken_must_fail() -> None:
    story = Story().pay("a", 60).pay("b", 40).grow(2)
    story.decide()
    story.orphan("a", "b").decide()
    assert story.fail("a").grow(5).say() == []
    assert story.fail("b").grow(2).say() == ["failed:reorged"]


def test_row_6b_a_failure_after_the_deadline_counts_for_a_payment_on_its_way_back() -> None:
    story = Story().pay("a", 100, at=DEADLINE).grow(2)
    story.decide()
    story.orphan("a").decide()
    assert story.fail("a").grow(2).say() == ["failed:reorged"]


def test_row_6b_accepted_late_money_that_fails_on_the_new_branch_fails_at_depth() -> None:
    story = Story(late_policy=LatePolicy.ACCEPT).pay("a", 100, at=DEADLINE + 5).grow(2)
    assert story.say() == ["expired", "succeeded"]
    assert story.orphan("a").say() == ["attention:reorged"]
    assert story.fail("a").grow(2).say() == ["failed:reorged"]


def test_row_6b_mined_again_with_less() -> None:
    story = paid().orphan("a", at=540)
    decision = story.pay("a", 99).decide()
    assert decision.status is Status.PROCESSING
    assert decision.flags == {Flag.REORGED}
    assert decision.received == 99
    assert story.now(540 + GRACE + 1).say() == ["failed:reorged"]


def test_row_6b_mined_again_with_nothing() -> None:
    story = paid().orphan("a", at=540).pay("a", 0)
    assert story.decide().status is Status.PROCESSING
    assert story.now(540 + GRACE + 1).say() == ["failed:reorged"]


@pytest.mark.parametrize("again", [0, 10])
def test_row_6b_no_number_of_reorgs_with_other_amounts_hides_that_the_money_is_gone(again: int) -> None:
    story = paid().orphan("a").pay("a", 10)
    assert story.say() == ["attention:reorged"]
    story.orphan("a").pay("a", again)
    decision = story.decide()
    assert (decision.status, decision.flags) == (Status.PROCESSING, {Flag.REORGED})
    assert decision.received == again
    assert story.now(story.clock.time + GRACE + 1).say() == ["failed:reorged"]


def test_row_6b_reorgs_in_one_step_hide_nothing_either() -> None:
    story = paid().orphan("a").pay("a", 10).orphan("a").grow()
    assert story.say() == ["attention:reorged"]
    assert story.now(story.clock.time + GRACE + 1).say() == ["failed:reorged"]


def test_row_6a_the_first_amount_comes_back_after_two_reorgs() -> None:
    story = paid().orphan("a").pay("a", 10)
    story.decide()
    story.orphan("a").pay("a", 100)
    decision = story.decide()
    assert (decision.status, decision.flags, decision.drafts) == (Status.SUCCEEDED, frozenset(), ())


def test_row_6a_mined_again_with_more_is_overpaid() -> None:
    decision = paid().orphan("a").pay("a", 150).decide()
    assert decision.status is Status.SUCCEEDED
    assert decision.flags == {Flag.OVERPAID}
    assert decision.drafts == ()


@pytest.mark.parametrize("seen_in_between", [True, False])
def test_row_6b_mined_again_too_late_is_late_money(seen_in_between: bool) -> None:
    story = Story().pay("a", 100, at=DEADLINE - 30).grow(2)
    story.decide()
    story.orphan("a").decide()
    end = story.clock.time + GRACE
    if seen_in_between:
        story.grow().now(end + 1).decide()
    story.pay("a", 100, at=end + 2).decide()
    decision = story.decide()
    assert decision.status is Status.FAILED
    assert decision.flags == {Flag.REORGED, Flag.LATE, Flag.REFUND_DUE}
    assert [d.reason for d in story.drafts if d.type is EventType.ATTENTION] == ["reorged", "late"]


def test_row_6b_then_mined_again_before_the_deadline_is_evidence() -> None:
    story = paid(expires_at=5000).orphan("a")
    story.decide()
    story.now(2000)
    assert story.say() == ["failed:reorged"]
    assert story.pay("a", 100).grow(2).say() == ["succeeded"]
    assert story.decide().flags == {Flag.LATE_EVIDENCE}
    assert [d.supersedes for d in story.verdicts] == [None, *(d.id for d in story.verdicts[:2])]


def test_row_6b_a_chain_of_verdicts_each_supersedes_the_one_before() -> None:
    story = paid(expires_at=50_000)
    for _ in range(3):
        story.orphan("a").decide()
        assert story.grow().now(story.clock.time + GRACE + 1).say() == ["failed:reorged"]
        assert story.pay("a", 100).grow(2).say() == ["succeeded"]
    chain = story.verdicts
    assert [d.supersedes for d in chain[1:]] == [d.id for d in chain[:-1]]
    assert len({d.id for d in story.drafts}) == len(story.drafts)


def test_row_6_an_accepted_late_success_can_be_taken_and_come_back() -> None:
    story = Story(late_policy=LatePolicy.ACCEPT).now(DEADLINE + 1)
    assert story.say() == ["expired"]
    assert story.pay("a", 100).grow(2).say() == ["succeeded"]
    assert story.orphan("a").say() == ["attention:reorged"]
    decision = story.decide()
    assert decision.flags == {Flag.REORGED}
    assert decision.next_check.time == story.clock.time + GRACE + 1
    assert story.pay("a", 100).say() == []
    assert story.decide().flags == {Flag.LATE}


def test_row_7_unseen_before_the_success_is_as_if_never_seen() -> None:
    story = Story().pay("a", 100)
    assert story.say() == ["processing"]
    decision = story.orphan("a").decide()
    assert decision.status is Status.PENDING
    assert decision.flags == frozenset()
    assert decision.drafts == ()
    assert decision.received == 0
    assert decision.next_check.time == 510 + GRACE + 1, "the nearest point, not the deadline"


def test_row_7_holds_back_row_10() -> None:
    story = Story(payer=PAYER).pay("a", 100)
    story.decide()
    story.orphan("a", at=520)
    assert story.fail("x").grow(5).say() == []
    assert story.now(520 + GRACE).say() == []
    assert story.now(520 + GRACE + 1).say() == ["failed:abort_by_response"]


def test_row_7_holds_back_rows_11_and_12_until_the_payment_has_failed_itself() -> None:
    story = Story().pay("a", 100, at=DEADLINE)
    story.decide()
    story.orphan("a").fail("a").decide()
    assert story.intent.status is Status.PENDING
    assert story.grow(2).say() == ["failed:abort_by_response"]


def test_row_7_a_failure_after_the_grace_is_no_reason() -> None:
    live = Story().pay("a", 100, at=DEADLINE).orphan("a").now(DEADLINE + GRACE + 1)
    assert live.say() == ["expired"]
    batch = Story().pay("a", 100, at=DEADLINE).orphan("a").fail("a", at=DEADLINE + GRACE + 1)
    assert batch.say() == ["expired"]


def test_row_7_the_payment_comes_back_after_the_deadline() -> None:
    story = Story().pay("a", 100, at=DEADLINE)
    story.decide()
    story.orphan("a").decide()
    assert story.pay("a", 100, at=DEADLINE + GRACE).say() == []
    assert story.grow(2).say() == ["succeeded"]
    assert story.decide().flags == frozenset()


def test_row_7_a_late_payment_holds_nothing_back() -> None:
    story = Story().pay("a", 100, at=DEADLINE + 1).orphan("a")
    assert story.say() == ["expired"]


def test_row_7_the_mined_depth_starts_again() -> None:
    story = Story().pay("a", 100).grow(1)
    story.decide()
    story.orphan("a").pay("a", 100).decide()
    assert story.intent.status is Status.PROCESSING
    assert story.grow(1).say() == []
    assert story.grow(1).say() == ["succeeded"]


def test_missing_rows_never_take_back_a_verdict() -> None:
    story = paid().lose("a").grow(100)
    assert story.say() == []
    assert story.intent.status is Status.SUCCEEDED


def test_an_orphan_from_before_the_success_does_not_explain_a_missing_row() -> None:
    story = Story().pay("a", 100)
    story.decide()
    story.orphan("a").decide()
    story.pay("b", 100).grow(2)
    assert story.say() == ["succeeded"]
    assert story.lose("b").grow(100).say() == []
    assert story.intent.status is Status.SUCCEEDED


def test_an_orphan_after_the_success_that_covered_nothing_does_not_explain_a_missing_row() -> None:
    story = paid().pay("b", 30)
    story.decide()
    assert story.lose("a").orphan("b").grow(100).say() == []
    assert story.intent.status is Status.SUCCEEDED


def test_depth_and_clock_going_back_never_take_back_a_success() -> None:
    story = paid(required=Depth(stacks=3, bitcoin=0)).now(10, height=50, burn=1)
    assert story.say() == []
    assert story.intent.status is Status.SUCCEEDED


def test_depth_going_back_before_the_success_waits_again() -> None:
    story = Story().pay("a", 100).grow(1)
    story.decide()
    story.now(height=story.clock.height - 1)
    assert story.decide().status is Status.PROCESSING
    assert story.grow(1).decide().status is Status.PROCESSING
    assert story.grow(1).say() == ["succeeded"]


def test_row_7_waits_for_the_last_of_several_payments_that_reorgs_took() -> None:
    story = Story().pay("a", 60, at=DEADLINE - 10).pay("b", 40, at=DEADLINE)
    story.decide()
    story.orphan("b").grow(5).orphan("a").decide()
    first, last = sorted(i.orphaned_at or 0 for i in story.inclusions)
    assert story.now(first + GRACE + 1).say() == []
    assert story.intent.status is Status.PENDING
    assert story.now(last + GRACE + 1).say() == ["expired"]


def test_row_6_a_success_told_for_money_that_was_never_there() -> None:
    story = paid().refute("a")
    assert story.say() == ["attention:reorged"]
    assert story.intent.status is Status.PROCESSING
    assert story.now(story.clock.time + GRACE + 1).say() == ["failed:reorged"]
    assert story.verdicts[-1].supersedes == story.verdicts[0].id


def test_row_6_a_success_told_for_more_than_came() -> None:
    story = paid().refute("a").pay("a", 60)
    assert story.say() == ["attention:reorged"]
    assert (story.decide().received, story.intent.status) == (60, Status.PROCESSING)
    assert story.pay("b", 40).say() == []
    assert story.intent.status is Status.SUCCEEDED


def test_row_6b_refuted_money_whose_call_had_failed_is_not_waited_for() -> None:
    story = paid().refute("a").fail("a").grow(3)
    assert story.say() == ["failed:reorged"]


def test_row_7_refuted_money_holds_nothing_back() -> None:
    story = Story().pay("a", 60, at=DEADLINE).refute("a")
    assert story.now(DEADLINE + 1).say() == ["expired"]


def test_row_10_refuted_money_gives_a_failure_no_time() -> None:
    """A failure after the deadline counts where its payment was on time in an orphaned block, not where it never was."""
    story = Story(payer=PAYER).pay("a", 100, at=DEADLINE).refute("a").fail("a", at=DEADLINE + 10).grow(3)
    assert story.say() == ["expired"]
