"""Rows 2 and 13 of the status table: what people do, and what the chain does afterwards."""

import pytest

from tests.unit.watcher.domain.history import DEADLINE, GRACE, PAYER, Story
from watcher.domain.model import Flag, LatePolicy, Status


def test_row_2_a_mark_tells_the_verdict() -> None:
    story = Story().mark(Status.SUCCEEDED)
    assert story.say() == ["succeeded:manual"]
    decision = story.decide()
    assert decision.status is Status.SUCCEEDED
    assert decision.flags == {Flag.MANUAL}
    assert decision.next_check.time is decision.next_check.height is decision.next_check.burn_height is None


def test_row_2_a_mark_supersedes_what_was_told() -> None:
    story = Story().now(DEADLINE + 1)
    story.decide()
    assert story.mark(Status.FAILED).say() == ["failed:manual"]
    assert story.mark(Status.SUCCEEDED).say() == ["succeeded:manual"]
    assert [d.supersedes for d in story.verdicts[1:]] == [d.id for d in story.verdicts[:-1]]
    assert [d.subject for d in story.verdicts] == ["", "mark:1", "mark:2"]


def test_row_2_the_same_mark_twice_is_told_once() -> None:
    story = Story().mark(Status.FAILED)
    assert story.say() == ["failed:manual"]
    assert story.mark(Status.FAILED, "again").say() == []


def test_row_2_a_mark_that_agrees_with_the_chain_is_not_told() -> None:
    story = Story().pay("a", 100).grow(2)
    assert story.say() == ["succeeded"]
    assert story.mark(Status.SUCCEEDED).say() == []
    assert story.decide().flags == {Flag.MANUAL}


def test_row_2_a_mark_is_sticky_against_the_deadline() -> None:
    story = Story().mark(Status.SUCCEEDED)
    story.decide()
    assert story.now(DEADLINE + 10_000).say() == []
    assert story.intent.status is Status.SUCCEEDED


@pytest.mark.parametrize("status", [Status.SUCCEEDED, Status.FAILED])
def test_row_2_money_after_a_mark_calls_attention_and_changes_amounts_only(status: Status) -> None:
    story = Story().mark(status)
    story.decide()
    reason = "surplus" if status is Status.SUCCEEDED else "late"
    assert story.pay("a", 100).say() == [f"attention:{reason}"]
    decision = story.grow(50).decide()
    assert decision.status is status
    assert decision.flags == {Flag.MANUAL, Flag.REFUND_DUE}
    assert decision.received == 100
    assert decision.drafts == ()


def test_row_2_money_from_before_the_mark_calls_no_attention() -> None:
    story = Story().pay("a", 60)
    story.decide()
    assert story.mark(Status.SUCCEEDED).say() == ["succeeded:manual"]
    assert story.pay("b", 40).say() == ["attention:surplus"]


def test_row_2_money_calls_attention_for_one_reason_even_when_it_is_surplus_too() -> None:
    story = Story().mark(Status.FAILED)
    story.decide()
    assert story.pay("a", 100).pay("b", 7).say() == ["attention:surplus", "attention:late"]
    assert {d.subject for d in story.drafts if d.reason in {"surplus", "late"}} == {"a:0+0=100", "b:0+0=7"}


def test_row_2_late_money_after_a_failed_mark_calls_attention_once() -> None:
    story = Story().mark(Status.FAILED)
    story.decide()
    assert story.pay("a", 100, at=DEADLINE + 1).say() == ["attention:late"]
    assert story.decide().flags == {Flag.MANUAL, Flag.LATE, Flag.REFUND_DUE}


def test_row_2_assigned_money_after_a_mark_needs_no_attention() -> None:
    story = Story().mark(Status.SUCCEEDED)
    story.decide()
    assert story.pay("a", 100, assigned=True).say() == []


def test_row_2_a_reorg_after_a_mark_calls_attention_once_and_leaves_the_status() -> None:
    story = Story().pay("a", 60)
    story.decide()
    story.mark(Status.SUCCEEDED).decide()
    assert story.grow().orphan("a").say() == ["attention:reorged"]
    decision = story.decide()
    assert decision.status is Status.SUCCEEDED
    assert decision.flags == {Flag.MANUAL, Flag.REORGED}
    assert story.now(story.clock.time + GRACE + 1).say() == []
    assert story.pay("a", 60).say() == ["attention:surplus"]
    assert story.decide().flags == {Flag.MANUAL, Flag.REFUND_DUE}


def test_row_2_a_reorg_of_late_money_after_a_mark_calls_attention() -> None:
    story = Story().pay("a", 100, at=DEADLINE + 1)
    assert story.say() == ["expired", "attention:late"]
    assert story.mark(Status.SUCCEEDED).say() == ["succeeded:manual"]
    assert story.grow().orphan("a").say() == ["attention:reorged"]


def test_row_2_a_reorg_from_before_the_mark_is_no_news() -> None:
    story = Story().pay("a", 100)
    story.decide()
    story.orphan("a").grow().decide()
    assert story.mark(Status.SUCCEEDED).say() == ["succeeded:manual"]
    assert story.decide().flags == {Flag.MANUAL}


def test_row_2_a_reorg_from_before_the_mark_is_no_news_at_the_same_chain_time_either() -> None:
    story = Story().pay("a", 100)
    story.decide()
    story.orphan("a").decide()
    assert story.mark(Status.SUCCEEDED).say() == ["succeeded:manual"]
    assert story.decide().flags == {Flag.MANUAL}


def test_row_2_a_mark_that_confirms_a_reorged_success_judges_that_reorg() -> None:
    story = Story().pay("a", 100).grow(2)
    story.decide()
    assert story.orphan("a").say() == ["attention:reorged"]
    assert story.mark(Status.SUCCEEDED).say() == []
    assert story.decide().flags == {Flag.MANUAL}
    assert story.pay("a", 100).orphan("a").say() == ["attention:reorged"], "a second reorg is news"


def test_row_2_a_reorg_after_a_failed_mark_is_no_news() -> None:
    story = Story().pay("a", 60)
    story.decide()
    story.mark(Status.FAILED).decide()
    assert story.grow().orphan("a").say() == []
    assert story.decide().flags == {Flag.MANUAL}


def test_row_2_a_mark_settles_a_reorged_success() -> None:
    story = Story().pay("a", 100).grow(2)
    story.decide()
    assert story.orphan("a").say() == ["attention:reorged"]
    assert story.mark(Status.FAILED).say() == ["failed:manual"]
    assert story.pay("a", 100).grow(9).say() == ["attention:late"]
    assert story.intent.status is Status.FAILED


def test_row_2_a_mark_comes_before_a_cancel() -> None:
    story = Story().cancel()
    assert story.say() == ["canceled"]
    assert story.mark(Status.SUCCEEDED).say() == ["succeeded:manual"]
    assert story.intent.status is Status.SUCCEEDED


def test_row_13_canceled_is_told_once_and_stays() -> None:
    story = Story().cancel()
    assert story.say() == ["canceled"]
    assert story.now(DEADLINE + 1).say() == []
    decision = story.decide()
    assert decision.status is Status.CANCELED
    assert decision.flags == frozenset()
    assert decision.next_check.time is decision.next_check.height is decision.next_check.burn_height is None


def test_row_13_money_after_the_cancel_is_late_and_covers_nothing() -> None:
    story = Story().cancel()
    story.decide()
    assert story.pay("a", 100).grow(9).say() == ["attention:late"]
    decision = story.decide()
    assert decision.status is Status.CANCELED
    assert decision.flags == {Flag.LATE, Flag.REFUND_DUE}
    assert decision.received == 100


def test_row_13_money_after_cancel_and_deadline_is_late() -> None:
    story = Story().cancel()
    story.decide()
    assert story.pay("a", 50, at=DEADLINE + 1).say() == ["attention:late"]


def test_row_13_partial_money_from_before_the_cancel_is_not_late() -> None:
    story = Story().pay("a", 60)
    story.decide()
    assert story.cancel().say() == ["canceled"]
    decision = story.decide()
    assert decision.flags == {Flag.REFUND_DUE}
    assert decision.received == 60
    assert story.pay("b", 70).say() == ["attention:late"]
    assert story.decide().flags == {Flag.LATE, Flag.REFUND_DUE}


@pytest.mark.parametrize("fork", [105, 119])
def test_row_13_a_branch_that_covers_up_to_the_cancels_height_is_late_money(fork: int) -> None:
    story = Story().grow(20).cancel()
    assert story.say() == ["canceled"]
    story.now(height=fork).pay("a", 100)
    assert story.say() == ["attention:late"]
    decision = story.decide()
    assert decision.status is Status.CANCELED
    assert decision.flags == {Flag.LATE, Flag.REFUND_DUE}


def test_row_13_attempts_and_reorgs_do_not_move_a_canceled_intent() -> None:
    story = Story(late_policy=LatePolicy.ACCEPT).pay("a", 60)
    story.decide()
    story.cancel().decide()
    assert story.fail("x").orphan("a").grow(50).say() == []
    assert story.intent.status is Status.CANCELED


def test_row_13_an_accept_policy_means_nothing_after_a_cancel_and_a_mark() -> None:
    story = Story(late_policy=LatePolicy.ACCEPT).cancel()
    story.decide()
    story.mark(Status.FAILED).decide()
    story.pay("a", 130, at=DEADLINE + 1).decide()
    assert story.decide().flags == {Flag.MANUAL, Flag.LATE, Flag.REFUND_DUE}


@pytest.mark.parametrize("close", ["cancel", "mark"])
def test_what_a_person_closed_never_wakes(close: str) -> None:
    story = Story(payer=PAYER).fail("x")
    assert story.decide().next_check.height is not None
    if close == "cancel":
        story.cancel()
    else:
        story.mark(Status.FAILED)
    wake = story.decide().next_check
    assert wake.time is wake.height is wake.burn_height is None


def test_row_13_all_money_after_the_cancel_is_late_and_none_is_surplus() -> None:
    story = Story().cancel()
    story.decide()
    assert story.pay("a", 130).pay("b", 5).say() == ["attention:late"]
    assert story.decide().flags == {Flag.LATE, Flag.REFUND_DUE}
