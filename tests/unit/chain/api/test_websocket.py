"""Detection of stale sockets, and the URL of an API's socket."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain.api.websocket import StaleDetector, socket_url


def watch(tip: int = 100) -> StaleDetector:
    silence = StaleDetector(60.0)
    silence.note_tip(tip, 0.0)
    silence.on_subscribed()
    return silence


def test_a_quiet_chain_is_no_silence() -> None:
    silence = watch()
    silence.note_tip(100, 10.0)
    assert not silence.is_stale(10_000.0)


def test_a_block_without_a_message_is_silence_after_the_limit() -> None:
    silence = watch()
    silence.note_tip(101, 10.0)
    silence.note_tip(101, 60.0)
    assert not silence.is_stale(69.9)
    assert silence.is_stale(70.0)


def test_a_second_block_without_a_message_is_silence_at_once() -> None:
    silence = watch()
    silence.note_tip(101, 10.0)
    assert not silence.is_stale(10.0)
    silence.note_tip(105, 15.0)
    assert silence.is_stale(15.0)


def test_a_message_between_two_blocks_shows_that_the_socket_lives() -> None:
    silence = watch()
    silence.note_tip(101, 10.0)
    silence.on_message(101, 11.0)
    silence.note_tip(102, 15.0)
    assert not silence.is_stale(15.0)


def test_the_first_height_that_is_known_at_all_is_no_movement() -> None:
    silence = StaleDetector(60.0)
    silence.on_subscribed()
    silence.note_tip(100, 10.0)
    assert not silence.is_stale(10_000.0)
    silence.note_tip(101, 10_000.0)
    assert silence.is_stale(10_060.0)


def test_a_message_ends_the_silence() -> None:
    silence = watch()
    silence.note_tip(101, 10.0)
    silence.on_message(101, 50.0)
    assert not silence.is_stale(10_000.0)


def test_a_message_of_what_rest_shows_afterwards_explains_it() -> None:
    silence = watch()
    silence.on_message(101, 10.0)
    silence.note_tip(101, 11.0)
    assert not silence.is_stale(10_000.0)


def test_a_message_of_an_old_block_does_not_explain_the_tip() -> None:
    silence = watch()
    silence.note_tip(105, 10.0)
    silence.on_message(104, 50.0)
    assert not silence.is_stale(109.9)
    assert silence.is_stale(110.0)


def test_a_new_subscription_is_not_blamed_for_what_was_before_it() -> None:
    silence = watch()
    silence.note_tip(101, 10.0)
    silence.on_subscribed()
    silence.note_tip(101, 200.0)
    assert not silence.is_stale(10_000.0)


@given(st.lists(st.integers(min_value=1, max_value=9), min_size=1, max_size=30))
def test_a_socket_that_tells_every_block_is_never_silent(diff: list[int]) -> None:
    silence, now, height = watch(), 0.0, 100
    for gap in diff:
        now, height = now + 20 * gap, height + gap
        silence.on_message(height, now)
        silence.note_tip(height, now + 1)
        assert not silence.is_stale(now + 1_000_000)


@pytest.mark.parametrize(
    ("base", "socket"),
    [
        ("https://api.example.com", "wss://api.example.com/extended/v1/ws"),
        ("https://api.example.com:444/stacks/", "wss://api.example.com:444/stacks/extended/v1/ws"),
        ("http://127.0.0.1:3999", "ws://127.0.0.1:3999/extended/v1/ws"),
        ("http://[::1]:3999", "ws://[::1]:3999/extended/v1/ws"),
    ],
)
def test_the_socket_is_encrypted_exactly_when_the_api_is(base: str, socket: str) -> None:
    assert socket_url(base) == socket
