"""What intents add to the counters of days."""

from dataclasses import astuple, replace

from hypothesis import given
from hypothesis import strategies as st

from watcher.domain.day_counts import PAYMENT_LINK, CountedIntent, DayCount, DayKey, changes, day_of
from watcher.domain.model import Status

NEW = CountedIntent(
    merchant="mer_1", asset="sbtc", created_at=86_399, status="pending", received=0, succeeded_at=None
)
PAID = replace(NEW, status="succeeded", received=50_000, succeeded_at=86_400)


def test_a_new_intent_counts_as_created_on_its_day() -> None:
    """The last second of a day belongs to it."""
    assert changes([(None, NEW)]) == {DayKey("mer_1", 0, "sbtc"): DayCount(created=1)}


def test_a_success_counts_on_the_day_of_the_success_and_for_the_day_of_the_creation() -> None:
    """What was paid today may have been created yesterday."""
    assert changes([(NEW, PAID)]) == {
        DayKey("mer_1", 0, "sbtc"): DayCount(succeeded=1),
        DayKey("mer_1", 1, "sbtc"): DayCount(paid=1, received=50_000),
    }


def test_a_success_that_a_reorg_takes_back_is_taken_off_its_day() -> None:
    """The time of the success stays in the row; the money does not."""
    gone = replace(PAID, status="processing", received=0)
    assert changes([(PAID, gone)]) == {
        DayKey("mer_1", 0, "sbtc"): DayCount(succeeded=-1),
        DayKey("mer_1", 1, "sbtc"): DayCount(paid=-1, received=-50_000),
    }


def test_more_money_after_a_success_is_added_to_the_day_of_the_success() -> None:
    """Every unit that a paid intent received is counted."""
    more = replace(PAID, received=50_007)
    assert changes([(PAID, more)]) == {DayKey("mer_1", 1, "sbtc"): DayCount(received=7)}


def test_money_that_pays_for_nothing_is_not_counted_as_paid() -> None:
    """What an open, expired or canceled intent received may have to go back."""
    for status in ("pending", "processing", "failed", "expired", "canceled"):
        found = changes([(None, replace(NEW, status=status, received=7))])
        assert all(count.paid == count.received == 0 for count in found.values())


def test_a_success_without_a_time_counts_on_the_day_of_the_creation() -> None:
    """Rows older than the time of the success have none."""
    found = changes([(None, replace(PAID, succeeded_at=None))])
    assert found == {DayKey("mer_1", 0, "sbtc"): DayCount(created=1, succeeded=1, paid=1, received=50_000)}


def test_what_changes_nothing_is_left_out() -> None:
    """Most decisions leave an intent as it was."""
    assert changes([(PAID, PAID), (NEW, replace(NEW, status="processing"))]) == {}
    assert day_of(-1) == -1


INTENTS = st.builds(
    CountedIntent,
    merchant=st.sampled_from(["mer_1", "mer_2"]),
    asset=st.sampled_from(["sbtc", "stx"]),
    created_at=st.integers(0, 400_000),
    status=st.sampled_from(list(Status)),
    received=st.integers(0, 2**128),
    succeeded_at=st.none() | st.integers(0, 400_000),
)


@given(st.lists(st.lists(INTENTS, min_size=1, max_size=5), max_size=5))
def test_counters_that_follow_changes_are_those_of_the_last_states(
    histories: list[list[CountedIntent]],
) -> None:
    """Whatever path intents took, the sum of the changes is what counting anew gives, and never negative."""
    total: dict[DayKey, DayCount] = {}
    for history in histories:
        for pair in zip([None, *history], history, strict=False):
            for key, change in changes([pair]).items():
                total[key] = total.get(key, DayCount()) + change
    anew = changes([(None, history[-1]) for history in histories])
    assert {key: count for key, count in total.items() if count != DayCount()} == anew
    assert all(number >= 0 for count in anew.values() for number in astuple(count))
    assert list(anew) == sorted(anew)


def test_an_intent_that_expired_without_any_money_was_abandoned() -> None:
    """It is not any more when money comes after all."""
    gone = replace(NEW, status="expired")
    assert changes([(NEW, gone)]) == {DayKey("mer_1", 0, "sbtc"): DayCount(expired=1, abandoned=1)}
    late = replace(gone, received=7)
    assert changes([(gone, late)]) == {DayKey("mer_1", 0, "sbtc"): DayCount(abandoned=-1)}


def test_an_intent_of_a_payment_link_counts_for_the_link_too() -> None:
    """Others count for their merchant only."""
    ours = replace(NEW, payment_link="pl_1")
    assert changes([(None, ours), (None, NEW)], PAYMENT_LINK) == {
        DayKey("pl_1", 0, "sbtc"): DayCount(created=1)
    }
