"""Sorting and walking the transfers of an intent."""

from dataclasses import replace

import pytest

from tests.unit.watcher.domain.history import DEADLINE, GRACE, make_intent
from watcher.domain.coverage import find_coverage, in_order, orphaned_at, sort_transfers
from watcher.domain.model import Inclusion

INTENT = make_intent()


def inclusion(tx: str, amount: int = 100, *, rank: int = 0, time: int = 900, height: int = 10) -> Inclusion:
    return Inclusion(
        tx_id=tx,
        rank=rank,
        tx_index=0,
        block_hash=f"0x{height}",
        height=height,
        time=time,
        burn_height=height // 5,
        sender="SPPAYER",
        amount=amount,
    )


def orphaned(one: Inclusion, at: int) -> Inclusion:
    return replace(one, canonical=False, orphaned_at=at)


def lost(*rows: Inclusion, timely: bool = True) -> tuple[Inclusion, ...]:
    """Return what of the rows is lost and was on time, or was not."""
    return tuple(loss.inclusion for loss in sort_transfers(INTENT, rows).lost if loss.timely is timely)


def test_the_deadline_parts_on_time_from_late() -> None:
    timely, late = inclusion("a", time=DEADLINE), inclusion("b", time=DEADLINE + 1, height=11)
    money = sort_transfers(INTENT, [late, timely])
    assert (money.on_time, money.late) == ((timely,), (late,))
    assert money.canonical == (timely, late)
    assert money.lost == ()


def test_an_assigned_payment_is_on_time_whenever_it_came() -> None:
    assigned = replace(inclusion("a", time=DEADLINE + 9000), assigned=True)
    assert sort_transfers(INTENT, [assigned]).on_time == (assigned,)


def test_nothing_is_made_of_transfers_of_nothing() -> None:
    money = sort_transfers(INTENT, [inclusion("a", 0), orphaned(inclusion("b", 0), 950)])
    assert (money.canonical, money.lost) == ((), ())


@pytest.mark.parametrize(("again", "on_time"), [(GRACE, True), (GRACE + 1, False)])
def test_mined_again_within_the_grace_stays_on_time(again: int, on_time: bool) -> None:
    first = orphaned(inclusion("a", time=DEADLINE), DEADLINE)
    second = inclusion("a", time=DEADLINE + again, height=11)
    money = sort_transfers(INTENT, [second, first])
    assert money.on_time == ((second,) if on_time else ())
    assert money.late == (() if on_time else (second,))
    assert lost(first, second) == (() if on_time else (first,)), "mined again too late makes nothing good"


def test_each_orphaning_of_a_timely_payment_starts_a_grace() -> None:
    rows = [
        orphaned(inclusion("a", time=DEADLINE, height=10), DEADLINE),
        orphaned(inclusion("a", time=DEADLINE + GRACE, height=11), DEADLINE + GRACE),
        inclusion("a", time=DEADLINE + 2 * GRACE, height=12),
    ]
    assert sort_transfers(INTENT, rows).on_time == (rows[2],)
    assert sort_transfers(INTENT, [rows[0], rows[2]]).late == (rows[2],)


def test_a_late_payment_gets_no_grace() -> None:
    first = orphaned(inclusion("a", time=DEADLINE + 1), DEADLINE + 1)
    second = inclusion("a", time=DEADLINE + 2, height=11)
    money = sort_transfers(INTENT, [first, second])
    assert money.late == (second,)
    assert money.lost == ()
    assert lost(first, timely=False) == (first,)
    assert lost(first) == ()


def test_a_payment_is_lost_when_less_is_mined_again() -> None:
    first = orphaned(inclusion("a", 100), 950)
    less, same = inclusion("a", 99, height=11), inclusion("a", 100, height=11)
    assert lost(first, less) == (first,)
    assert lost(first, same) == ()


def test_a_payment_is_lost_with_every_amount_that_does_not_stand_again() -> None:
    much = orphaned(inclusion("a", 100), 950)
    less = orphaned(inclusion("a", 10, height=11), 960)
    assert lost(less, much) == (much, less), "in the order of the reorgs"
    assert lost(less, much, inclusion("a", 10, height=12)) == (much,)
    assert lost(less, much, inclusion("a", 100, height=12)) == ()


def test_late_money_mined_again_late_is_made_good_and_what_was_on_time_is_not() -> None:
    timely = orphaned(inclusion("a", time=DEADLINE), DEADLINE)
    late = orphaned(inclusion("a", time=DEADLINE + GRACE + 1, height=11), DEADLINE + GRACE + 1)
    again = inclusion("a", time=DEADLINE + GRACE + 2, height=12)
    assert (lost(timely, late), lost(timely, late, timely=False)) == ((timely,), (late,))
    assert (lost(timely, late, again), lost(timely, late, again, timely=False)) == ((timely,), ())


def test_two_events_of_one_transaction_are_two_payments() -> None:
    one, two = inclusion("a", 60, rank=1), inclusion("a", 60, rank=4)
    assert sort_transfers(INTENT, [two, one]).on_time == (one, two)


def test_walking_order_is_block_then_transaction_then_event() -> None:
    a, b = inclusion("a", height=10), replace(inclusion("b", height=10), tx_index=1)
    c, d = inclusion("c", height=11, rank=2), inclusion("c", height=11, rank=11)
    assert in_order([d, c, b, a]) == (a, b, c, d)


def test_the_cover_ends_with_its_transaction() -> None:
    rows = [
        inclusion("a", 60, height=10),
        inclusion("b", 40, height=16),
        inclusion("b", 7, rank=1, height=16),
        inclusion("c", 9, height=40),
    ]
    found = find_coverage(INTENT, rows)
    assert found is not None
    assert found.keys == {("a", 0), ("b", 0), ("b", 1)}
    assert (found.total, found.height, found.burn_height) == (107, 16, 3)


def test_too_little_covers_nothing() -> None:
    assert find_coverage(INTENT, [inclusion("a", 99)]) is None
    assert find_coverage(INTENT, []) is None
    assert find_coverage(make_intent(tolerance=1), [inclusion("a", 99)]) is not None


def test_an_orphaned_inclusion_without_its_time_is_a_bug() -> None:
    assert orphaned_at(orphaned(inclusion("a"), 7)) == 7
    with pytest.raises(AssertionError, match="carries the time"):
        orphaned_at(inclusion("a"))


def test_reorgs_are_followed_in_the_order_in_which_they_came_not_by_height() -> None:
    rows = [
        orphaned(inclusion("a", 100, time=DEADLINE, height=20), DEADLINE),
        orphaned(inclusion("a", 1, time=DEADLINE + GRACE, height=15), DEADLINE + GRACE),
    ]
    assert lost(*rows) == (rows[0], rows[1])
    third = inclusion("a", 1, time=DEADLINE + 2 * GRACE, height=16)
    assert sort_transfers(INTENT, [*rows, third]).on_time == (third,)
    assert lost(*rows, third) == (rows[0],)


def test_refuted_money_is_lost_and_gives_nothing_time() -> None:
    """It was never there: the same payment mined later is judged by its own block."""
    first = replace(orphaned(inclusion("a", time=DEADLINE), DEADLINE), refuted=True)
    second = inclusion("a", time=DEADLINE + 1, height=11)
    money = sort_transfers(INTENT, [first, second])
    assert (money.on_time, money.late) == ((), (second,))
    assert lost(first, second) == (first,)
