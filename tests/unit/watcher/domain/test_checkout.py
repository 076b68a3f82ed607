"""What a payer is told of an intent, by the table of states."""

from dataclasses import replace
from typing import Any

import pytest

from tests.harness import intent_record
from watcher.domain.checkout import (
    STALLED_SECONDS,
    CheckoutState,
    can_restart,
    can_switch,
    checkout_state,
    is_stalled,
    seconds_left,
    version,
)
from watcher.domain.model import ChainClock, Flag, IntentState, Status

INTENT = intent_record("one", created_at=1_800_000_000)
CLOCK = ChainClock(height=10, hash="0xaa", time=INTENT.expires_at - 120, burn_height=1)
STATE = IntentState(
    status=Status.PENDING,
    flags=frozenset(),
    received=0,
    missing=INTENT.amount,
    over=0,
    refunded=0,
    anchor=None,
    in_flight=False,
    updated_at=0,
    succeeded_at=None,
)


@pytest.mark.parametrize(
    ("change", "after", "shown"),
    [
        ({}, -1, "waiting"),
        ({"received": 5}, -1, "underpaid"),
        ({"in_flight": True}, -1, "seen"),
        ({"in_flight": True, "received": 5}, 5, "seen"),
        ({}, 0, "closing"),
        ({"received": 5}, 0, "closing"),
        ({"status": Status.PROCESSING, "in_flight": True}, 9, "confirming"),
        ({"status": Status.SUCCEEDED}, 9, "paid"),
        ({"status": Status.EXPIRED, "received": 5}, 9, "expired"),
        ({"status": Status.FAILED, "flags": frozenset({Flag.REORGED})}, 9, "failed"),
        ({"status": Status.CANCELED}, -1, "canceled"),
    ],
)
def test_each_status_has_its_screen(change: dict[str, Any], after: int, shown: str) -> None:
    """Only ``succeeded`` is paid; the time to pay ends with the chain's clock, not with the deadline."""
    clock = replace(CLOCK, time=INTENT.expires_at + after)
    assert checkout_state(INTENT, replace(STATE, **change), clock) == CheckoutState(shown)


@pytest.mark.parametrize(
    ("change", "after", "allowed"),
    [
        ({}, -1, True),
        ({}, 0, False),
        ({"received": 1}, -1, False),
        ({"in_flight": True}, -1, False),
        ({"status": Status.PROCESSING}, -1, False),
        ({"status": Status.SUCCEEDED}, -1, False),
        ({"status": Status.CANCELED}, -1, False),
    ],
)
def test_another_asset_is_chosen_until_something_was_paid_or_seen(
    change: dict[str, Any], after: int, allowed: bool
) -> None:
    """Never while money is on its way, nor when the time to pay is over."""
    clock = replace(CLOCK, time=INTENT.expires_at + after)
    assert can_switch(INTENT, replace(STATE, **change), clock) is allowed


@pytest.mark.parametrize(
    ("change", "allowed"),
    [
        ({"status": Status.EXPIRED}, True),
        ({"status": Status.FAILED}, True),
        ({"status": Status.CANCELED}, False),
        ({"status": Status.SUCCEEDED}, False),
        ({}, False),
        ({"status": Status.EXPIRED, "received": 1}, False),
        ({"status": Status.FAILED, "in_flight": True}, False),
    ],
)
def test_a_payment_that_ended_by_itself_without_money_starts_anew(
    change: dict[str, Any], allowed: bool
) -> None:
    """What the merchant canceled does not, and where money came or comes nobody is asked to pay again."""
    assert can_restart(replace(STATE, **change)) is allowed


def test_the_time_left_is_the_chains() -> None:
    """It counts from the newest block, never below nothing; a chain without blocks stands still."""
    assert seconds_left(INTENT, CLOCK) == 120
    assert seconds_left(INTENT, replace(CLOCK, time=INTENT.expires_at + 1)) == 0
    assert not is_stalled(CLOCK, now=CLOCK.time + STALLED_SECONDS)
    assert is_stalled(CLOCK, now=CLOCK.time + STALLED_SECONDS + 1)


@pytest.mark.parametrize(
    "change",
    [
        {"status": Status.PROCESSING},
        {"flags": frozenset({Flag.LATE})},
        {"in_flight": True},
        {"received": 1},
        {"refunded": 1},
    ],
)
def test_what_a_payer_would_see_is_a_new_version(change: dict[str, Any]) -> None:
    """Status, flags, money and the mempool each make another version."""
    assert version(INTENT, replace(STATE, **change), CLOCK, now=0) != version(INTENT, STATE, CLOCK, now=0)


def test_blocks_count_while_it_confirms_and_minutes_while_it_waits() -> None:
    """A block that changes nothing for the payer makes no new version; once it has ended, none does."""
    next_block = replace(CLOCK, hash="0xbb", height=11)
    minute = replace(CLOCK, time=CLOCK.time + 60)
    confirming = replace(STATE, status=Status.PROCESSING)
    ended = replace(STATE, status=Status.SUCCEEDED)

    def shown(state: IntentState, clock: ChainClock) -> str:
        return version(INTENT, state, clock, now=0)

    assert shown(STATE, CLOCK) == shown(STATE, next_block)
    assert shown(STATE, CLOCK) != shown(STATE, minute)
    assert shown(confirming, CLOCK) != shown(confirming, next_block)
    assert shown(ended, CLOCK) == shown(ended, replace(minute, hash="0xbb"))
    over = [replace(CLOCK, time=INTENT.expires_at + after) for after in (-1, 0)]
    assert shown(STATE, over[0]) != shown(STATE, over[1])


def test_a_chain_that_begins_to_stand_still_is_a_new_version() -> None:
    """Nothing else changes then, and whoever still has to pay must be told."""
    ended = replace(STATE, status=Status.SUCCEEDED)
    before, after = CLOCK.time + STALLED_SECONDS, CLOCK.time + STALLED_SECONDS + 1
    assert version(INTENT, STATE, CLOCK, now=before) != version(INTENT, STATE, CLOCK, now=after)
    assert version(INTENT, ended, CLOCK, now=before) == version(INTENT, ended, CLOCK, now=after)
