"""Retry schedule and ``Retry-After``."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from notifier.retry import DEFAULT_SCHEDULE, MAX_RETRY_AFTER_SECONDS, next_attempt_at, parse_retry_after

DAY = 86400.0
waits = st.lists(st.floats(0, 1e6), min_size=1, max_size=12)


def test_the_default_schedule_is_the_documented_one():
    assert DEFAULT_SCHEDULE == (0, 60, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400)


@given(waits, st.floats(0, 1), st.floats(0, 2e9), st.integers(0, 15))
def test_a_wait_is_never_shorter_and_at_most_a_tenth_longer(schedule, jitter, now, used):
    due = next_attempt_at(schedule, used, now=now, jitter=jitter)
    if used >= len(schedule):
        assert due is None
    else:
        assert due is not None
        assert now + schedule[used] <= due <= now + schedule[used] * 1.1 + 1e-6


@pytest.mark.parametrize(("wanted", "expected"), [(10.0, 60.0), (600.0, 600.0), (10 * DAY, DAY)])
def test_retry_after_lengthens_the_wait_but_not_beyond_a_day(wanted, expected):
    assert next_attempt_at([0, 60], 1, now=0, jitter=0, retry_after=wanted) == expected


def test_retry_after_adds_no_attempt():
    assert next_attempt_at([0, 60], 2, now=0, jitter=0, retry_after=5) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("120", 120.0),
        (" 0 ", 0.0),
        ("9" * 5000, MAX_RETRY_AFTER_SECONDS),
        ("Thu, 01 Jan 1970 00:20:00 GMT", 200.0),
        ("Thu, 01 Jan 1970 00:20:00", 200.0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
        ("Thu, 01 Jan 1970 02:20:00 +0200", 200.0),
        ("Thursday, 01-Jan-70 00:20:00 GMT", 200.0),
        ("Thu Jan  1 00:20:00 1970", 200.0),
        ("0", 0.0),
        ("00120", 120.0),
        ("999999999", 999999999.0),
        ("120, 60", None),
        ("120 s", None),
        ("+120", None),
        ("0x10", None),
        ("1e3", None),
        ("inf", None),
        ("nan", None),
        ("٣", None),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("", None),
        ("²", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(text, expected):
    assert parse_retry_after(text, now=1000.0) == expected


numbers = st.integers(0, 10**6)
dates = st.builds(
    "{}, {} {} {} {}:{}:{} {}".format,
    st.sampled_from(["Mon", "Xyz"]),
    numbers,
    st.sampled_from(["Jan", "Feb", "Foo"]),
    numbers,
    numbers,
    numbers,
    numbers,
    st.one_of(st.sampled_from(["GMT", "+0200", "-9999", "+99999999"]), st.text(max_size=5)),
)


@given(st.one_of(st.text(), dates))
@example("Mon, 01 Jan 99999999999 00:00:00 GMT")
def test_a_hostile_retry_after_raises_nothing(text):
    wait = parse_retry_after(text, now=1e9)
    assert wait is None or wait >= 0
