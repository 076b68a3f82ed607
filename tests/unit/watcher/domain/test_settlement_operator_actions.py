"""Rows 2 and 13 of the status table: operator actions, and what the chain does afterwards."""

import pytest

from tests.unit.watcher.domain.history import DEADLINE, GRACE, PAYER, IntentHistory
from watcher.domain.model import Flag, LatePolicy, Status


def test_row_2_a_mark_sends_the_verdict() -> None:
    history = IntentHistory().mark(Status.SUCCEEDED)
    assert history.new_events() == ["succeeded:manual"]
    decision = history.decide()
    assert decision.status is Status.SUCCEEDED
    assert decision.flags == {Flag.MANUAL}
    assert decision.next_check.time is decision.next_check.height is decision.next_check.burn_height is None


def test_row_2_a_mark_supersedes_what_was_sent() -> None:
    history = IntentHistory().now(DEADLINE + 1)
    history.decide()
    assert history.mark(Status.FAILED).new_events() == ["failed:manual"]
    assert history.mark(Status.SUCCEEDED).new_events() == ["succeeded:manual"]
    assert [d.supersedes for d in history.verdicts[1:]] == [d.id for d in history.verdicts[:-1]]
    assert [d.subject for d in history.verdicts] == ["", "mark:1", "mark:2"]


def test_row_2_the_same_mark_twice_is_sent_once() -> None:
    history = IntentHistory().mark(Status.FAILED)
    assert history.new_events() == ["failed:manual"]
    assert history.mark(Status.FAILED, "again").new_events() == []


def test_row_2_a_mark_that_agrees_with_the_chain_is_not_sent() -> None:
    history = IntentHistory().pay("a", 100).grow(2)
    assert history.new_events() == ["succeeded"]
    assert history.mark(Status.SUCCEEDED).new_events() == []
    assert history.decide().flags == {Flag.MANUAL}


def test_row_2_a_mark_is_sticky_against_the_deadline() -> None:
    history = IntentHistory().mark(Status.SUCCEEDED)
    history.decide()
    assert history.now(DEADLINE + 10_000).new_events() == []
    assert history.intent.status is Status.SUCCEEDED


@pytest.mark.parametrize("status", [Status.SUCCEEDED, Status.FAILED])
def test_row_2_money_after_a_mark_calls_attention_and_changes_amounts_only(status: Status) -> None:
    history = IntentHistory().mark(status)
    history.decide()
    reason = "surplus" if status is Status.SUCCEEDED else "late"
    assert history.pay("a", 100).new_events() == [f"attention:{reason}"]
    decision = history.grow(50).decide()
    assert decision.status is status
    assert decision.flags == {Flag.MANUAL, Flag.REFUND_DUE}
    assert decision.received == 100
    assert decision.drafts == ()


def test_row_2_money_from_before_the_mark_calls_no_attention() -> None:
    history = IntentHistory().pay("a", 60)
    history.decide()
    assert history.mark(Status.SUCCEEDED).new_events() == ["succeeded:manual"]
    assert history.pay("b", 40).new_events() == ["attention:surplus"]


def test_row_2_money_calls_attention_for_one_reason_even_when_it_is_surplus_too() -> None:
    history = IntentHistory().mark(Status.FAILED)
    history.decide()
    assert history.pay("a", 100).pay("b", 7).new_events() == ["attention:surplus", "attention:late"]
    assert {d.subject for d in history.drafts if d.reason in {"surplus", "late"}} == {"a:0+0=100", "b:0+0=7"}


def test_row_2_late_money_after_a_failed_mark_calls_attention_once() -> None:
    history = IntentHistory().mark(Status.FAILED)
    history.decide()
    assert history.pay("a", 100, at=DEADLINE + 1).new_events() == ["attention:late"]
    assert history.decide().flags == {Flag.MANUAL, Flag.LATE, Flag.REFUND_DUE}


def test_row_2_assigned_money_after_a_mark_needs_no_attention() -> None:
    history = IntentHistory().mark(Status.SUCCEEDED)
    history.decide()
    assert history.pay("a", 100, assigned=True).new_events() == []


def test_row_2_a_reorg_after_a_mark_calls_attention_once_and_leaves_the_status() -> None:
    history = IntentHistory().pay("a", 60)
    history.decide()
    history.mark(Status.SUCCEEDED).decide()
    assert history.grow().orphan("a").new_events() == ["attention:reorged"]
    decision = history.decide()
    assert decision.status is Status.SUCCEEDED
    assert decision.flags == {Flag.MANUAL, Flag.REORGED}
    assert history.now(history.clock.time + GRACE + 1).new_events() == []
    assert history.pay("a", 60).new_events() == ["attention:surplus"]
    assert history.decide().flags == {Flag.MANUAL, Flag.REFUND_DUE}


def test_row_2_a_reorg_of_late_money_after_a_mark_calls_attention() -> None:
    history = IntentHistory().pay("a", 100, at=DEADLINE + 1)
    assert history.new_events() == ["expired", "attention:late"]
    assert history.mark(Status.SUCCEEDED).new_events() == ["succeeded:manual"]
    assert history.grow().orphan("a").new_events() == ["attention:reorged"]


def test_row_2_a_reorg_from_before_the_mark_is_no_news() -> None:
    history = IntentHistory().pay("a", 100)
    history.decide()
    history.orphan("a").grow().decide()
    assert history.mark(Status.SUCCEEDED).new_events() == ["succeeded:manual"]
    assert history.decide().flags == {Flag.MANUAL}


def test_row_2_a_reorg_from_before_the_mark_is_no_news_at_the_same_chain_time_either() -> None:
    history = IntentHistory().pay("a", 100)
    history.decide()
    history.orphan("a").decide()
    assert history.mark(Status.SUCCEEDED).new_events() == ["succeeded:manual"]
    assert history.decide().flags == {Flag.MANUAL}


def test_row_2_a_mark_that_confirms_a_reorged_success_judges_that_reorg() -> None:
    history = IntentHistory().pay("a", 100).grow(2)
    history.decide()
    assert history.orphan("a").new_events() == ["attention:reorged"]
    assert history.mark(Status.SUCCEEDED).new_events() == []
    assert history.decide().flags == {Flag.MANUAL}
    assert history.pay("a", 100).orphan("a").new_events() == ["attention:reorged"], "a second reorg is news"


def test_row_2_a_reorg_after_a_failed_mark_is_no_news() -> None:
    history = IntentHistory().pay("a", 60)
    history.decide()
    history.mark(Status.FAILED).decide()
    assert history.grow().orphan("a").new_events() == []
    assert history.decide().flags == {Flag.MANUAL}


def test_row_2_a_mark_settles_a_reorged_success() -> None:
    history = IntentHistory().pay("a", 100).grow(2)
    history.decide()
    assert history.orphan("a").new_events() == ["attention:reorged"]
    assert history.mark(Status.FAILED).new_events() == ["failed:manual"]
    assert history.pay("a", 100).grow(9).new_events() == ["attention:late"]
    assert history.intent.status is Status.FAILED


def test_row_2_a_mark_comes_before_a_cancel() -> None:
    history = IntentHistory().cancel()
    assert history.new_events() == ["canceled"]
    assert history.mark(Status.SUCCEEDED).new_events() == ["succeeded:manual"]
    assert history.intent.status is Status.SUCCEEDED


def test_row_13_canceled_is_sent_once_and_stays() -> None:
    history = IntentHistory().cancel()
    assert history.new_events() == ["canceled"]
    assert history.now(DEADLINE + 1).new_events() == []
    decision = history.decide()
    assert decision.status is Status.CANCELED
    assert decision.flags == frozenset()
    assert decision.next_check.time is decision.next_check.height is decision.next_check.burn_height is None


def test_row_13_money_after_the_cancel_is_late_and_covers_nothing() -> None:
    history = IntentHistory().cancel()
    history.decide()
    assert history.pay("a", 100).grow(9).new_events() == ["attention:late"]
    decision = history.decide()
    assert decision.status is Status.CANCELED
    assert decision.flags == {Flag.LATE, Flag.REFUND_DUE}
    assert decision.received == 100


def test_row_13_money_after_cancel_and_deadline_is_late() -> None:
    history = IntentHistory().cancel()
    history.decide()
    assert history.pay("a", 50, at=DEADLINE + 1).new_events() == ["attention:late"]


def test_row_13_partial_money_from_before_the_cancel_is_not_late() -> None:
    history = IntentHistory().pay("a", 60)
    history.decide()
    assert history.cancel().new_events() == ["canceled"]
    decision = history.decide()
    assert decision.flags == {Flag.REFUND_DUE}
    assert decision.received == 60
    assert history.pay("b", 70).new_events() == ["attention:late"]
    assert history.decide().flags == {Flag.LATE, Flag.REFUND_DUE}


@pytest.mark.parametrize("fork", [105, 119])
def test_row_13_a_branch_that_covers_up_to_the_cancels_height_is_late_money(fork: int) -> None:
    history = IntentHistory().grow(20).cancel()
    assert history.new_events() == ["canceled"]
    history.now(height=fork).pay("a", 100)
    assert history.new_events() == ["attention:late"]
    decision = history.decide()
    assert decision.status is Status.CANCELED
    assert decision.flags == {Flag.LATE, Flag.REFUND_DUE}


def test_row_13_attempts_and_reorgs_do_not_move_a_canceled_intent() -> None:
    history = IntentHistory(late_policy=LatePolicy.ACCEPT).pay("a", 60)
    history.decide()
    history.cancel().decide()
    assert history.fail("x").orphan("a").grow(50).new_events() == []
    assert history.intent.status is Status.CANCELED


def test_row_13_an_accept_policy_means_nothing_after_a_cancel_and_a_mark() -> None:
    history = IntentHistory(late_policy=LatePolicy.ACCEPT).cancel()
    history.decide()
    history.mark(Status.FAILED).decide()
    history.pay("a", 130, at=DEADLINE + 1).decide()
    assert history.decide().flags == {Flag.MANUAL, Flag.LATE, Flag.REFUND_DUE}


@pytest.mark.parametrize("close", ["cancel", "mark"])
def test_what_an_operator_closed_is_never_due(close: str) -> None:
    history = IntentHistory(payer=PAYER).fail("x")
    assert history.decide().next_check.height is not None
    if close == "cancel":
        history.cancel()
    else:
        history.mark(Status.FAILED)
    wake = history.decide().next_check
    assert wake.time is wake.height is wake.burn_height is None


def test_row_13_all_money_after_the_cancel_is_late_and_none_is_surplus() -> None:
    history = IntentHistory().cancel()
    history.decide()
    assert history.pay("a", 130).pay("b", 5).new_events() == ["attention:late"]
    assert history.decide().flags == {Flag.LATE, Flag.REFUND_DUE}
