"""Row 4a: a success that needs a second source waits for it, and for nothing else."""

import pytest

from tests.unit.watcher.domain.history import DEADLINE, IntentHistory
from watcher.domain.model import Flag, LatePolicy, Status

#: The inclusion grace of these histories, seconds.
GRACE = 100


def paid(**changes: object) -> IntentHistory:
    """Return a history in which the amount is covered, at the required depth, by one source's word."""
    history = IntentHistory(two_sources=True, **changes)
    history.pay("a", 100).grow(2)
    return history


def test_row_4a_holds_a_deep_payment_that_only_one_source_shows() -> None:
    """Without a second source a deep payment is processing and unverified, and no success is sent."""
    history = paid()
    assert history.new_events() == ["processing"]
    decision = history.decide()
    assert (decision.status, decision.flags) == (Status.PROCESSING, {Flag.UNVERIFIED})
    assert history.grow(1_000).decide().status is Status.PROCESSING


def test_row_4a_ends_with_the_success_as_soon_as_a_second_source_shows_it() -> None:
    """Once the covering transfer is verified the success is sent, once."""
    history = paid()
    history.decide()
    assert history.verify("a").new_events() == ["succeeded"]
    assert history.decide().flags == frozenset()
    assert history.grow(9).new_events() == []


def test_an_intent_below_the_amount_needs_no_second_source() -> None:
    """Without the requirement a deep payment succeeds at once, and nothing is to be verified."""
    history = IntentHistory()
    decision = history.pay("a", 100).grow(2).decide()
    assert decision.status is Status.SUCCEEDED
    assert not decision.to_verify


def test_nothing_is_verified_before_it_is_deep() -> None:
    """A second source is asked when the required depth is reached, so that it confirms the depth as well."""
    history = IntentHistory(two_sources=True)
    decision = history.pay("a", 100).decide()
    assert decision.status is Status.PROCESSING
    assert Flag.UNVERIFIED not in decision.flags
    assert not decision.to_verify
    assert history.grow(2).decide().to_verify == {("a", 0)}
    assert not history.decide().to_verify, "they are known by now"


def test_a_person_is_told_once_when_it_lasts() -> None:
    """``payment.attention`` {unverified} is sent when the wait is longer than ``inclusion_grace``, once."""
    history = paid()
    decision = history.decide()
    assert decision.next_check.time == history.clock.time + GRACE + 1
    history.now(history.clock.time + GRACE)
    assert history.new_events() == []
    history.now(history.clock.time + 1)
    assert history.new_events() == ["attention:unverified"]
    assert history.grow(1_000).new_events() == []
    assert history.decide().next_check.time is None


def test_every_transfer_of_the_cover_must_be_verified() -> None:
    """One verified transfer of two that cover the amount together is not enough."""
    history = IntentHistory(two_sources=True)
    history.pay("a", 60).pay("b", 40).grow(2).decide()
    assert history.verify("a").decide().status is Status.PROCESSING
    assert history.verify("b").decide().status is Status.SUCCEEDED


def test_surplus_need_not_be_verified() -> None:
    """Money after the covering transaction holds nothing back."""
    history = paid()
    history.pay("b", 5).decide()
    assert history.verify("a").decide().status is Status.SUCCEEDED


def test_a_verified_payment_that_is_mined_in_another_block_is_verified_again() -> None:
    """Agreement is about one block: on another branch the second source has to show it anew."""
    history = paid()
    history.decide()
    history.verify("a").orphan("a").pay("a", 100).grow(2)
    assert history.decide().flags == {Flag.UNVERIFIED}
    assert history.verify("a").decide().status is Status.SUCCEEDED


def test_an_unverified_payment_does_not_expire() -> None:
    """Money that one source shows holds the deadline back, as any covered payment does."""
    history = paid()
    history.decide()
    assert history.now(DEADLINE + 10_000).decide().status is Status.PROCESSING


def test_a_mark_needs_no_second_source() -> None:
    """An operator who looked the payment up elsewhere can declare it."""
    history = paid()
    history.decide()
    assert history.mark(Status.SUCCEEDED).new_events() == ["succeeded:manual"]
    assert history.decide().flags == {Flag.MANUAL}


def test_a_success_that_was_sent_stays_when_its_money_is_mined_again() -> None:
    """Row 6a: no second success is sent, so nothing waits for a second source."""
    history = paid()
    history.verify("a").decide()
    history.orphan("a").decide()
    history.pay("a", 100).grow(2)
    assert history.decide().status is Status.SUCCEEDED
    assert history.new_events() == []


@pytest.mark.parametrize("policy", LatePolicy)
def test_money_after_an_expiry_is_verified_like_any_other(policy: LatePolicy) -> None:
    """Rows 14 and 15a: late evidence and accepted late money wait for the second source, too."""
    history = IntentHistory(two_sources=True, late_policy=policy)
    history.now(DEADLINE + 1).decide()
    on_time = policy is LatePolicy.HOLD
    history.pay("a", 100, **({"time": DEADLINE} if on_time else {})).grow(2)
    decision = history.decide()
    assert decision.status is Status.PROCESSING
    assert Flag.UNVERIFIED in decision.flags
    assert history.verify("a").decide().status is Status.SUCCEEDED
    assert history.verdicts[-1].supersedes is not None


def test_attention_is_called_again_after_another_verdict() -> None:
    """An expiry between two waits makes the second wait a new one."""
    history = paid()
    history.decide()
    history.now(history.clock.time + GRACE + 1).decide()
    history.orphan("a").now(DEADLINE + 1_000)
    assert history.new_events() == ["expired"]
    history.pay("a", 100, time=DEADLINE).grow(2).decide()
    history.now(history.clock.time + GRACE + 1)
    assert history.new_events() == ["attention:unverified"]


def test_attention_is_called_again_when_another_payment_waits() -> None:
    """A payment that was taken back and a later one are two waits; the rest of one wait is the same wait."""
    history = paid()
    history.decide()
    history.now(history.clock.time + GRACE + 1)
    assert history.new_events() == ["attention:unverified"]
    history.orphan("a").decide()
    history.pay("b", 60).pay("c", 40).grow(2).decide()
    history.now(history.clock.time + GRACE + 1)
    assert history.new_events() == ["attention:unverified"]
    history.verify("b").now(history.clock.time + GRACE + 1)
    assert history.new_events() == []
