"""The data that intents and their facts are made of."""

from dataclasses import FrozenInstanceError

import pytest

from notifier.events import EventType
from tests.unit.watcher.domain.history import make_intent
from watcher.domain.model import (
    LEVELS,
    ChainClock,
    Depth,
    Inclusion,
    OperatorAction,
    OperatorActionKind,
    SentEvent,
    Status,
)

CLOCK = ChainClock(height=100, hash="0x", time=0, burn_height=20)


@pytest.mark.parametrize(
    ("height", "burn_height", "depth"),
    [
        (100, 20, Depth(stacks=1, bitcoin=0)),
        (98, 18, Depth(stacks=3, bitcoin=2)),
        (101, 21, Depth(stacks=0, bitcoin=0)),
        (500, 99, Depth(stacks=0, bitcoin=0)),
    ],
)
def test_stacks_depth_counts_the_block_itself_and_bitcoin_depth_does_not(
    height: int, burn_height: int, depth: Depth
) -> None:
    assert CLOCK.depth(height, burn_height) == depth


def test_a_depth_reaches_a_level_in_both_chains() -> None:
    level = Depth(stacks=2, bitcoin=2)
    assert Depth(stacks=2, bitcoin=2).reaches(level)
    assert not Depth(stacks=1, bitcoin=9).reaches(level)
    assert not Depth(stacks=9, bitcoin=1).reaches(level)


def test_named_levels_are_ordered() -> None:
    assert list(LEVELS) == ["included", "anchored", "settled"]
    assert LEVELS["settled"].reaches(LEVELS["anchored"])
    assert LEVELS["anchored"].reaches(LEVELS["included"])
    assert LEVELS["included"] == Depth(stacks=1, bitcoin=0)


def test_deadline_and_monitoring_follow_from_the_frozen_policy() -> None:
    intent = make_intent(expires_at=1000, inclusion_grace=100, monitoring=5000)
    assert (intent.deadline, intent.monitored_until) == (1100, 6100)


def test_facts_are_frozen() -> None:
    action = OperatorAction(kind=OperatorActionKind.CANCEL, height=1)
    with pytest.raises(FrozenInstanceError):
        action.height = 2  # type: ignore[misc]


def test_an_inclusion_is_known_by_its_payment_and_placed_by_its_block() -> None:
    one = Inclusion(
        tx_id="0xa",
        rank=3,
        tx_index=2,
        block_hash="0x1",
        height=9,
        time=1,
        burn_height=1,
        sender=None,
        amount=1,
    )
    assert one.key == ("0xa", 3)
    assert one.position == (9, 2, 3)


@pytest.mark.parametrize(
    ("kind", "verdict"),
    [
        (EventType.SUCCEEDED, Status.SUCCEEDED),
        (EventType.FAILED, Status.FAILED),
        (EventType.EXPIRED, Status.EXPIRED),
        (EventType.CANCELED, None),
        (EventType.PROCESSING, None),
        (EventType.ATTENTION, None),
        (EventType.CREATED, None),
    ],
)
def test_only_three_events_are_verdicts(kind: EventType, verdict: Status | None) -> None:
    assert SentEvent(id="evt_", type=kind).verdict is verdict
