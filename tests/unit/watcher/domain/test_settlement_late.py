"""Rows 14, 15 and 15a of the status table: evidence after a verdict, and money after the deadline."""

from notifier.events import EventType
from tests.unit.watcher.domain.history import DEADLINE, GRACE, PAYER, IntentHistory
from watcher.domain.model import Depth, Flag, LatePolicy, Status


def expired(**changes: object) -> IntentHistory:
    history = IntentHistory(**changes).now(DEADLINE + 1, height=200)
    assert history.new_events() == ["expired"]
    return history


def healed(history: IntentHistory, tx: str, amount: int, *, time: int, height: int) -> IntentHistory:
    """Money of an older block turns up: a gap was healed, or a reindex found it."""
    now = history.clock
    history.now(time, height=height).pay(tx, amount, same_block=True)
    history.clock = now
    return history


def test_row_14_on_time_money_found_after_expiry_succeeds_and_supersedes() -> None:
    history = healed(expired(), "a", 100, time=900, height=150)
    assert history.new_events() == ["succeeded"]
    decision = history.decide()
    assert decision.flags == {Flag.LATE_EVIDENCE}
    first, second = history.verdicts
    assert second.supersedes == first.id
    assert second.flags == {Flag.LATE_EVIDENCE}


def test_row_14_goes_through_processing_while_it_is_not_deep() -> None:
    history = healed(expired(required=Depth(stacks=60, bitcoin=0)), "a", 100, time=DEADLINE, height=150)
    assert history.new_events() == ["processing"]
    decision = history.decide()
    assert decision.status is Status.PROCESSING
    assert decision.flags == {Flag.LATE_EVIDENCE}
    assert decision.next_check.height == 209
    assert history.grow(9).new_events() == ["succeeded"]


def test_row_14_a_retry_after_the_payers_failure_succeeds() -> None:
    history = IntentHistory(payer=PAYER).fail("x").grow(2)
    assert history.new_events() == ["failed:abort_by_response"]
    assert history.pay("a", 100).new_events() == ["processing"]
    assert history.grow(2).new_events() == ["succeeded"]
    assert history.decide().flags == {Flag.LATE_EVIDENCE}
    assert history.verdicts[1].supersedes == history.verdicts[0].id


def test_row_14_processing_is_sent_again_after_a_verdict() -> None:
    history = IntentHistory(payer=PAYER).pay("a", 100)
    assert history.new_events() == ["processing"]
    history.orphan("a").fail("a").grow(2)
    assert history.new_events() == ["failed:abort_by_response"]
    assert history.pay("b", 100).new_events() == ["processing"]
    assert history.grow(2).new_events() == ["succeeded"]


def test_row_14_evidence_that_is_orphaned_before_its_depth_leaves_the_verdict() -> None:
    history = IntentHistory(payer=PAYER).fail("x").grow(2)
    history.decide()
    history.pay("a", 100).decide()
    assert history.orphan("a").new_events() == []
    decision = history.decide()
    assert decision.status is Status.FAILED
    assert decision.flags == frozenset()


def test_row_14_then_reorged_again() -> None:
    history = healed(expired(), "a", 100, time=900, height=150)
    assert history.new_events() == ["succeeded"]
    assert history.orphan("a").new_events() == ["attention:reorged"]
    assert history.decide().status is Status.PROCESSING
    assert history.now(DEADLINE + 1 + GRACE + 1).new_events() == ["failed:reorged"]
    assert [d.supersedes for d in history.verdicts[1:]] == [d.id for d in history.verdicts[:-1]]


def test_row_14_partial_evidence_changes_amounts_only() -> None:
    history = healed(expired(), "a", 60, time=900, height=150)
    assert history.new_events() == []
    decision = history.decide()
    assert decision.status is Status.EXPIRED
    assert decision.flags == {Flag.UNDERPAID, Flag.REFUND_DUE}
    assert decision.received == 60


def test_row_15_late_money_is_held_by_default() -> None:
    history = expired().pay("a", 100).grow(50)
    assert history.new_events() == ["attention:late"]
    decision = history.decide()
    assert decision.status is Status.EXPIRED
    assert decision.flags == {Flag.LATE, Flag.REFUND_DUE}
    assert (decision.received, decision.missing) == (100, 0)
    assert decision.next_check.time is decision.next_check.height is None


def test_row_15_the_second_after_the_deadline_is_late() -> None:
    assert IntentHistory().pay("a", 100, at=DEADLINE + 1).grow(9).new_events() == [
        "expired",
        "attention:late",
    ]


def test_row_15_attention_is_sent_again_for_more_late_money_only() -> None:
    history = expired().pay("a", 10)
    assert history.new_events() == ["attention:late"]
    assert history.orphan("a").pay("a", 10).new_events() == []
    assert history.pay("b", 10).new_events() == ["attention:late"]
    assert [d.subject for d in history.drafts if d.type is EventType.ATTENTION] == ["a:0+0=10", "b:0+1=20"]


def test_row_15_on_time_and_late_money_together_do_not_cover_under_hold() -> None:
    history = IntentHistory().pay("a", 60).pay("b", 40, at=DEADLINE + 1).grow(9)
    assert history.new_events() == ["expired", "attention:late"]
    decision = history.decide()
    assert decision.flags == {Flag.UNDERPAID, Flag.LATE, Flag.REFUND_DUE}
    assert decision.received == 100


def test_row_15_late_money_after_failed_keeps_failed() -> None:
    history = IntentHistory(payer=PAYER).fail("x").grow(2)
    history.decide()
    assert history.pay("a", 100, at=DEADLINE + 1).grow(9).new_events() == ["attention:late"]
    assert history.intent.status is Status.FAILED


def test_row_15_assigned_money_counts_on_time_and_calls_no_attention() -> None:
    history = expired().pay("a", 100, assigned=True).grow(2)
    assert history.new_events() == ["succeeded"]
    assert history.decide().flags == {Flag.LATE_EVIDENCE}
    assert history.pay("b", 5, assigned=True).new_events() == []
    assert history.decide().flags == {Flag.LATE_EVIDENCE, Flag.SURPLUS, Flag.REFUND_DUE}


def test_row_15_an_assigned_payment_mined_again_without_the_assignment_is_judged_by_its_grace() -> None:
    history = expired().pay("a", 100, assigned=True).grow(2)
    history.decide()
    history.orphan("a").decide()
    assert history.pay("a", 100).new_events() == []
    assert history.intent.status is Status.SUCCEEDED


def test_row_15a_accepted_late_money_succeeds_and_supersedes() -> None:
    history = expired(late_policy=LatePolicy.ACCEPT)
    assert history.pay("a", 100).new_events() == ["processing"]
    assert history.decide().flags == {Flag.LATE}
    assert history.grow(2).new_events() == ["succeeded"]
    assert history.decide().flags == {Flag.LATE}
    assert history.verdicts[1].supersedes == history.verdicts[0].id


def test_row_15a_on_time_and_late_money_cover_together() -> None:
    history = IntentHistory(late_policy=LatePolicy.ACCEPT).pay("a", 60).now(DEADLINE + 1)
    assert history.new_events() == ["expired"]
    assert history.pay("b", 30).grow(5).new_events() == ["attention:late"]
    decision = history.pay("c", 30).decide()
    assert decision.status is Status.PROCESSING
    assert decision.flags == {Flag.LATE, Flag.OVERPAID}
    assert history.grow(2).new_events() == ["succeeded"]


def test_row_15a_one_decision_may_expire_and_succeed() -> None:
    history = IntentHistory(late_policy=LatePolicy.ACCEPT).pay("a", 100, at=DEADLINE + 1).grow(2)
    assert history.new_events() == ["expired", "succeeded"]
    first, second = history.verdicts
    assert (first.previous_status, first.status) == (Status.PENDING, Status.EXPIRED)
    assert (second.previous_status, second.status) == (Status.EXPIRED, Status.SUCCEEDED)
    assert second.supersedes == first.id


def test_row_15a_more_late_money_is_surplus() -> None:
    history = expired(late_policy=LatePolicy.ACCEPT).pay("a", 100).grow(2)
    history.decide()
    assert history.pay("b", 7).new_events() == ["attention:surplus"]
    assert history.decide().flags == {Flag.LATE, Flag.SURPLUS, Flag.REFUND_DUE}


def test_row_15a_late_money_after_failed_is_accepted_too() -> None:
    history = IntentHistory(late_policy=LatePolicy.ACCEPT).fail("x").pay("a", 100, at=DEADLINE + 1).grow(2)
    assert history.new_events() == ["failed:abort_by_response", "succeeded"]


def test_row_15a_late_money_waits_while_on_time_money_may_come_back() -> None:
    history = IntentHistory(late_policy=LatePolicy.ACCEPT).pay("a", 100, at=DEADLINE)
    history.decide()
    history.orphan("a").decide()
    assert history.pay("b", 100).grow(2).new_events() == []
    assert history.intent.status is Status.PENDING
    assert history.now(DEADLINE + GRACE + 1).new_events() == ["expired", "succeeded"]


def test_row_15a_does_not_accept_after_a_cancel() -> None:
    history = IntentHistory(late_policy=LatePolicy.ACCEPT).cancel()
    assert history.new_events() == ["canceled"]
    assert history.pay("a", 100, at=DEADLINE + 1).grow(9).new_events() == ["attention:late"]
    assert history.intent.status is Status.CANCELED


def test_row_15a_a_re_mined_late_payment_still_covers() -> None:
    history = IntentHistory(late_policy=LatePolicy.ACCEPT).pay("a", 100).grow(2)
    assert history.new_events() == ["succeeded"]
    history.orphan("a").decide()
    end = max(DEADLINE, history.clock.time + GRACE)
    assert history.pay("a", 100, at=end + 1).new_events() == []
    decision = history.decide()
    assert decision.status is Status.SUCCEEDED
    assert decision.flags == {Flag.LATE}


def test_row_15a_on_time_money_that_covers_alone_makes_the_late_money_surplus() -> None:
    history = IntentHistory(late_policy=LatePolicy.ACCEPT).pay("a", 100, at=DEADLINE).orphan("a")
    history.pay("b", 100).pay("a", 100).grow(2)
    assert history.new_events() == ["succeeded", "attention:surplus"]
    decision = history.decide()
    assert decision.flags == {Flag.SURPLUS, Flag.REFUND_DUE}
    assert decision.anchor == (103, 10)
