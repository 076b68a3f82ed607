"""Rows 14, 15 and 15a of the status table: evidence after a verdict, and money after the deadline."""

from notifier.events import EventType
from tests.unit.watcher.domain.history import DEADLINE, GRACE, PAYER, Story
from watcher.domain.model import Depth, Flag, LatePolicy, Status


def expired(**changes: object) -> Story:
    story = Story(**changes).now(DEADLINE + 1, height=200)
    assert story.say() == ["expired"]
    return story


def healed(story: Story, tx: str, amount: int, *, time: int, height: int) -> Story:
    """Money of an older block turns up: a gap was healed, or a reindex found it."""
    now = story.clock
    story.now(time, height=height).pay(tx, amount, same_block=True)
    story.clock = now
    return story


def test_row_14_on_time_money_found_after_expiry_succeeds_and_supersedes() -> None:
    story = healed(expired(), "a", 100, time=900, height=150)
    assert story.say() == ["succeeded"]
    decision = story.decide()
    assert decision.flags == {Flag.LATE_EVIDENCE}
    first, second = story.verdicts
    assert second.supersedes == first.id
    assert second.flags == {Flag.LATE_EVIDENCE}


def test_row_14_goes_through_processing_while_it_is_not_deep() -> None:
    story = healed(expired(required=Depth(stacks=60, bitcoin=0)), "a", 100, time=DEADLINE, height=150)
    assert story.say() == ["processing"]
    decision = story.decide()
    assert decision.status is Status.PROCESSING
    assert decision.flags == {Flag.LATE_EVIDENCE}
    assert decision.next_check.height == 209
    assert story.grow(9).say() == ["succeeded"]


def test_row_14_a_retry_after_the_payers_failure_succeeds() -> None:
    story = Story(payer=PAYER).fail("x").grow(2)
    assert story.say() == ["failed:abort_by_response"]
    assert story.pay("a", 100).say() == ["processing"]
    assert story.grow(2).say() == ["succeeded"]
    assert story.decide().flags == {Flag.LATE_EVIDENCE}
    assert story.verdicts[1].supersedes == story.verdicts[0].id


def test_row_14_processing_is_told_again_after_a_verdict() -> None:
    story = Story(payer=PAYER).pay("a", 100)
    assert story.say() == ["processing"]
    story.orphan("a").fail("a").grow(2)
    assert story.say() == ["failed:abort_by_response"]
    assert story.pay("b", 100).say() == ["processing"]
    assert story.grow(2).say() == ["succeeded"]


def test_row_14_evidence_that_is_orphaned_before_its_depth_leaves_the_verdict() -> None:
    story = Story(payer=PAYER).fail("x").grow(2)
    story.decide()
    story.pay("a", 100).decide()
    assert story.orphan("a").say() == []
    decision = story.decide()
    assert decision.status is Status.FAILED
    assert decision.flags == frozenset()


def test_row_14_then_reorged_again() -> None:
    story = healed(expired(), "a", 100, time=900, height=150)
    assert story.say() == ["succeeded"]
    assert story.orphan("a").say() == ["attention:reorged"]
    assert story.decide().status is Status.PROCESSING
    assert story.now(DEADLINE + 1 + GRACE + 1).say() == ["failed:reorged"]
    assert [d.supersedes for d in story.verdicts[1:]] == [d.id for d in story.verdicts[:-1]]


def test_row_14_partial_evidence_changes_amounts_only() -> None:
    story = healed(expired(), "a", 60, time=900, height=150)
    assert story.say() == []
    decision = story.decide()
    assert decision.status is Status.EXPIRED
    assert decision.flags == {Flag.UNDERPAID, Flag.REFUND_DUE}
    assert decision.received == 60


def test_row_15_late_money_is_held_by_default() -> None:
    story = expired().pay("a", 100).grow(50)
    assert story.say() == ["attention:late"]
    decision = story.decide()
    assert decision.status is Status.EXPIRED
    assert decision.flags == {Flag.LATE, Flag.REFUND_DUE}
    assert (decision.received, decision.missing) == (100, 0)
    assert decision.next_check.time is decision.next_check.height is None


def test_row_15_the_second_after_the_deadline_is_late() -> None:
    assert Story().pay("a", 100, at=DEADLINE + 1).grow(9).say() == ["expired", "attention:late"]


def test_row_15_attention_is_told_again_for_more_late_money_only() -> None:
    story = expired().pay("a", 10)
    assert story.say() == ["attention:late"]
    assert story.orphan("a").pay("a", 10).say() == []
    assert story.pay("b", 10).say() == ["attention:late"]
    assert [d.subject for d in story.drafts if d.type is EventType.ATTENTION] == ["a:0+0=10", "b:0+1=20"]


def test_row_15_on_time_and_late_money_together_do_not_cover_under_hold() -> None:
    story = Story().pay("a", 60).pay("b", 40, at=DEADLINE + 1).grow(9)
    assert story.say() == ["expired", "attention:late"]
    decision = story.decide()
    assert decision.flags == {Flag.UNDERPAID, Flag.LATE, Flag.REFUND_DUE}
    assert decision.received == 100


def test_row_15_late_money_after_failed_keeps_failed() -> None:
    story = Story(payer=PAYER).fail("x").grow(2)
    story.decide()
    assert story.pay("a", 100, at=DEADLINE + 1).grow(9).say() == ["attention:late"]
    assert story.intent.status is Status.FAILED


def test_row_15_money_assigned_by_a_person_counts_on_time_and_calls_no_attention() -> None:
    story = expired().pay("a", 100, assigned=True).grow(2)
    assert story.say() == ["succeeded"]
    assert story.decide().flags == {Flag.LATE_EVIDENCE}
    assert story.pay("b", 5, assigned=True).say() == []
    assert story.decide().flags == {Flag.LATE_EVIDENCE, Flag.SURPLUS, Flag.REFUND_DUE}


def test_row_15_an_assigned_payment_mined_again_without_the_assignment_is_judged_by_its_grace() -> None:
    story = expired().pay("a", 100, assigned=True).grow(2)
    story.decide()
    story.orphan("a").decide()
    assert story.pay("a", 100).say() == []
    assert story.intent.status is Status.SUCCEEDED


def test_row_15a_accepted_late_money_succeeds_and_supersedes() -> None:
    story = expired(late_policy=LatePolicy.ACCEPT)
    assert story.pay("a", 100).say() == ["processing"]
    assert story.decide().flags == {Flag.LATE}
    assert story.grow(2).say() == ["succeeded"]
    assert story.decide().flags == {Flag.LATE}
    assert story.verdicts[1].supersedes == story.verdicts[0].id


def test_row_15a_on_time_and_late_money_cover_together() -> None:
    story = Story(late_policy=LatePolicy.ACCEPT).pay("a", 60).now(DEADLINE + 1)
    assert story.say() == ["expired"]
    assert story.pay("b", 30).grow(5).say() == ["attention:late"]
    decision = story.pay("c", 30).decide()
    assert decision.status is Status.PROCESSING
    assert decision.flags == {Flag.LATE, Flag.OVERPAID}
    assert story.grow(2).say() == ["succeeded"]


def test_row_15a_one_decision_may_expire_and_succeed() -> None:
    story = Story(late_policy=LatePolicy.ACCEPT).pay("a", 100, at=DEADLINE + 1).grow(2)
    assert story.say() == ["expired", "succeeded"]
    first, second = story.verdicts
    assert (first.previous_status, first.status) == (Status.PENDING, Status.EXPIRED)
    assert (second.previous_status, second.status) == (Status.EXPIRED, Status.SUCCEEDED)
    assert second.supersedes == first.id


def test_row_15a_more_late_money_is_surplus() -> None:
    story = expired(late_policy=LatePolicy.ACCEPT).pay("a", 100).grow(2)
    story.decide()
    assert story.pay("b", 7).say() == ["attention:surplus"]
    assert story.decide().flags == {Flag.LATE, Flag.SURPLUS, Flag.REFUND_DUE}


def test_row_15a_late_money_after_failed_is_accepted_too() -> None:
    story = Story(late_policy=LatePolicy.ACCEPT).fail("x").pay("a", 100, at=DEADLINE + 1).grow(2)
    assert story.say() == ["failed:abort_by_response", "succeeded"]


def test_row_15a_late_money_waits_while_on_time_money_may_come_back() -> None:
    story = Story(late_policy=LatePolicy.ACCEPT).pay("a", 100, at=DEADLINE)
    story.decide()
    story.orphan("a").decide()
    assert story.pay("b", 100).grow(2).say() == []
    assert story.intent.status is Status.PENDING
    assert story.now(DEADLINE + GRACE + 1).say() == ["expired", "succeeded"]


def test_row_15a_does_not_accept_after_a_cancel() -> None:
    story = Story(late_policy=LatePolicy.ACCEPT).cancel()
    assert story.say() == ["canceled"]
    assert story.pay("a", 100, at=DEADLINE + 1).grow(9).say() == ["attention:late"]
    assert story.intent.status is Status.CANCELED


def test_row_15a_a_re_mined_late_payment_still_covers() -> None:
    story = Story(late_policy=LatePolicy.ACCEPT).pay("a", 100).grow(2)
    assert story.say() == ["succeeded"]
    story.orphan("a").decide()
    end = max(DEADLINE, story.clock.time + GRACE)
    assert story.pay("a", 100, at=end + 1).say() == []
    decision = story.decide()
    assert decision.status is Status.SUCCEEDED
    assert decision.flags == {Flag.LATE}


def test_row_15a_on_time_money_that_covers_alone_makes_the_late_money_surplus() -> None:
    story = Story(late_policy=LatePolicy.ACCEPT).pay("a", 100, at=DEADLINE).orphan("a")
    story.pay("b", 100).pay("a", 100).grow(2)
    assert story.say() == ["succeeded", "attention:surplus"]
    decision = story.decide()
    assert decision.flags == {Flag.SURPLUS, Flag.REFUND_DUE}
    assert decision.anchor == (103, 10)
