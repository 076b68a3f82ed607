"""Money of an ended intent that neither pays it nor was refunded: it is due until it is dismissed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.watcher.domain.history import DEADLINE, GRACE, PAYER, IntentHistory
from watcher.domain import refunds
from watcher.domain.model import (
    Flag,
    Inclusion,
    LatePolicy,
    OperatorAction,
    OperatorActionKind,
    Repayment,
    Status,
)


def due(history: IntentHistory) -> int:
    """Return what is due, which the flag agrees with."""
    decision = history.decide()
    assert (Flag.REFUND_DUE in decision.flags) == (decision.refund_due > 0)
    return decision.refund_due


def canceled_in_part() -> IntentHistory:
    history = IntentHistory().pay("a", 40).grow(2)
    history.decide()
    return history.cancel()


def test_row_13_money_in_part_of_a_canceled_intent_is_due() -> None:
    """What came before the cancel pays as little as what comes after it, and no event reports it."""
    history = canceled_in_part()
    assert history.new_events() == ["canceled"]
    assert history.decide().flags == {Flag.REFUND_DUE}
    assert due(history) == 40
    assert history.pay("b", 5).new_events() == ["attention:late"]
    assert due(history) == 45


def test_row_12_money_in_part_of_an_expired_intent_is_due_once_it_expired() -> None:
    """While the intent is pending the rest may still come."""
    history = IntentHistory().pay("a", 40)
    assert due(history) == 0
    assert history.now(DEADLINE + 1).new_events() == ["expired"]
    assert due(history) == 40
    [verdict] = history.verdicts
    assert verdict.flags == {Flag.UNDERPAID, Flag.REFUND_DUE}


def test_row_14_money_that_covers_after_all_is_due_no_more() -> None:
    """On-time money that is found later pays, and so does what had come in part."""
    history = IntentHistory().pay("a", 40).now(DEADLINE + 1)
    assert due(history) == 40
    history.now(900).pay("b", 60).grow(2).now(DEADLINE + 1)
    assert history.new_events() == ["succeeded"]
    assert due(history) == 0


def test_row_10_partial_money_of_a_failed_intent_is_due() -> None:
    """Money that came after the payer's failure does not pay what failed."""
    history = IntentHistory(payer=PAYER).fail("x").grow(2)
    assert history.new_events() == ["failed:abort_by_response"]
    assert due(history.pay("a", 40)) == 40


def test_row_6b_what_a_reorg_left_of_the_money_is_due() -> None:
    """A success that failed after a reorg leaves the part that was not taken."""
    history = IntentHistory().pay("a", 40).pay("b", 60).grow(2)
    assert history.new_events()[-1] == "succeeded"
    history.orphan("b").decide()
    assert due(history) == 0
    assert history.now(history.clock.time + GRACE + 1).new_events() == ["failed:reorged"]
    assert due(history) == 40


def test_row_15_late_money_that_is_held_is_due_and_accepted_money_is_not() -> None:
    """Held, it waits for an operator; accepted, it pays."""
    for policy, expected in ((LatePolicy.HOLD, 100), (LatePolicy.ACCEPT, 0)):
        history = IntentHistory(late_policy=policy).now(DEADLINE + 1)
        history.decide()
        history.pay("a", 100).grow(2)
        assert due(history) == expected


def test_row_5_a_surplus_is_due_and_the_covers_own_excess_is_not() -> None:
    """Too much in one payment is overpaid, which the amount shows; a second payment was for nothing."""
    history = IntentHistory().pay("a", 130).grow(2)
    assert (due(history), history.decide().flags) == (0, {Flag.OVERPAID})
    assert due(history.pay("b", 7)) == 7


def test_row_3_a_surplus_is_not_due_before_the_success() -> None:
    """An intent that is still waiting for depth has not ended: a reorg may make the surplus its cover."""
    history = IntentHistory().pay("a", 100).pay("b", 7)
    assert history.decide().status is Status.PROCESSING
    assert due(history) == 0
    assert due(history.grow(2)) == 7


def test_row_2_of_a_marked_intent_is_due_what_the_mark_does_not_pay() -> None:
    """Marked as failed nothing pays; marked as succeeded what came until then does."""
    failed = IntentHistory().pay("a", 40)
    failed.decide()
    assert due(failed.mark(Status.FAILED)) == 40
    succeeded = IntentHistory().pay("a", 40)
    succeeded.decide()
    assert due(succeeded.mark(Status.SUCCEEDED)) == 0
    assert due(succeeded.pay("b", 60)) == 60


def test_refunds_through_the_contract_reduce_what_is_due() -> None:
    """In part, then whole; a reorg that takes a refund makes it due again."""
    history = canceled_in_part().refund("r", 10)
    assert due(history) == 30
    assert due(history.refund("s", 30)) == 0
    assert due(history.orphan("s")) == 30


def test_a_refund_settles_nothing_that_comes_after_it() -> None:
    """Goods came back and all was refunded; a payment that comes then is due nevertheless."""
    history = IntentHistory().pay("a", 100).grow(2).refund("r", 100)
    assert due(history) == 0
    assert due(history.pay("b", 30)) == 30


def test_what_is_dismissed_is_due_again_when_more_comes() -> None:
    """And then only what came since."""
    history = canceled_in_part().dismiss()
    assert due(history) == 0
    assert due(history.pay("b", 5)) == 5
    assert due(history.dismiss().grow()) == 0
    assert due(history.refund("r", 40)) == 0
    assert due(history.pay("c", 6)) == 6


def test_a_dismissal_settles_no_older_money_that_is_found_later() -> None:
    """It was unknown when the rest was dismissed."""
    history = canceled_in_part().grow(5).dismiss()
    now = history.clock
    history.now(height=now.height - 3).pay("b", 5, same_block=True)
    history.clock = now
    assert due(history) == 5


def test_a_dismissal_settles_no_surplus_of_money_that_pays_after_all() -> None:
    """Dismissed money of an expired intent that is accepted after all does not offset later money."""
    history = IntentHistory(late_policy=LatePolicy.ACCEPT).pay("a", 40).now(DEADLINE + 1).dismiss()
    history.pay("b", 60).grow(2)
    assert history.new_events() == ["succeeded"]
    assert due(history) == 0
    assert due(history.pay("c", 30)) == 30


def test_money_that_a_reorg_moves_above_a_dismissal_is_due_again() -> None:
    """Better twice than never, as with every action."""
    history = canceled_in_part().grow(3).dismiss()
    assert due(history.orphan("a")) == 0
    assert due(history.pay("a", 40)) == 40


@pytest.mark.parametrize("status", [Status.PENDING, Status.PROCESSING])
def test_nothing_is_due_of_an_intent_that_goes_on(status: Status) -> None:
    """All that came may still pay it."""
    history = IntentHistory().pay("a", 40 if status is Status.PENDING else 100)
    assert history.decide().status is status
    assert due(history) == 0


PLACES = st.tuples(st.integers(1, 9), st.integers(0, 3), st.integers(0, 3))
AMOUNTS = st.integers(0, 50)
WHERE = {"block_hash": "0x1", "time": 1, "burn_height": 1, "sender": "SP"}


def position(at: tuple[int, int, int]) -> dict[str, int]:
    height, tx_index, rank = at
    return {"height": height, "tx_index": tx_index, "rank": rank}


@given(
    st.dictionaries(PLACES, AMOUNTS),
    st.dictionaries(PLACES, AMOUNTS),
    st.lists(st.tuples(st.integers(0, 10), AMOUNTS)),
)
def test_never_more_is_due_than_came_nor_less_than_is_left(
    came: dict[tuple[int, int, int], int],
    back: dict[tuple[int, int, int], int],
    dismissed: list[tuple[int, int]],
) -> None:
    """Between what came less all that settles it, and what came; and what comes last of all is always due."""
    money = [Inclusion(tx_id="a", amount=n, **position(at), **WHERE) for at, n in came.items()]
    given_back = [
        Repayment(tx_id="r", amount=n, recipient="SP", **position(at), **WHERE) for at, n in back.items()
    ]
    actions = [
        OperatorAction(kind=OperatorActionKind.DISMISS, height=height, amount=n) for height, n in dismissed
    ]
    total = sum(came.values())
    settled = sum(back.values()) + sum(n for _, n in dismissed)
    found = refunds.due(money, given_back, actions)
    assert max(0, total - settled) <= found <= total
    last = Inclusion(tx_id="z", amount=7, **position((99, 0, 0)), **WHERE)
    assert refunds.due([*money, last], given_back, actions) == found + 7
