"""When a delivery is tried again, and when an endpoint is given a rest."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.backoff import (
    BREAKER_FAILURES,
    DEFAULT_SCHEDULE,
    DISABLE_ATTEMPTS,
    RETRY_AFTER_CAP,
    Health,
    Verdict,
    first_attempt_at,
    next_attempt_at,
    parse_retry_after,
    verdict,
)

DAY = 86400.0
waits = st.lists(st.floats(0, 1e6), min_size=1, max_size=12)


def test_the_default_schedule_is_the_documented_one():
    assert DEFAULT_SCHEDULE == (0, 60, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400)


def test_the_first_attempt_is_due_after_the_first_wait_and_at_once_without_a_schedule():
    assert first_attempt_at([5, 60], now=100) == 105
    assert first_attempt_at([], now=100) == 100


@given(waits, st.floats(0, 1), st.floats(0, 2e9), st.integers(0, 15))
def test_a_wait_is_never_shorter_and_at_most_a_tenth_longer(schedule, jitter, now, used):
    due = next_attempt_at(schedule, used, now=now, jitter=jitter)
    if used >= len(schedule):
        assert due is None
    else:
        assert due is not None
        assert now + schedule[used] <= due <= now + schedule[used] * 1.1 + 1e-6


@pytest.mark.parametrize(("asked", "expected"), [(10.0, 60.0), (600.0, 600.0), (10 * DAY, DAY)])
def test_retry_after_lengthens_the_wait_but_not_beyond_a_day(asked, expected):
    assert next_attempt_at([0, 60], 1, now=0, jitter=0, retry_after=asked) == expected


def test_retry_after_adds_no_attempt():
    assert next_attempt_at([0, 60], 2, now=0, jitter=0, retry_after=5) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("120", 120.0),
        (" 0 ", 0.0),
        ("9" * 5000, RETRY_AFTER_CAP),
        ("Thu, 01 Jan 1970 00:20:00 GMT", 200.0),
        ("Thu, 01 Jan 1970 00:20:00", 200.0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
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
def test_a_hostile_retry_after_raises_nothing(text):
    wait = parse_retry_after(text, now=1e9)
    assert wait is None or wait >= 0


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (None, Verdict.BROKEN),
        (500, Verdict.BROKEN),
        (599, Verdict.BROKEN),
        (200, Verdict.OK),
        (204, Verdict.OK),
        (299, Verdict.OK),
        (302, Verdict.REFUSED),
        (404, Verdict.REFUSED),
        (429, Verdict.REFUSED),
        (410, Verdict.GONE),
    ],
)
def test_a_status_says_something_about_its_endpoint(status, expected):
    assert verdict(status) is expected


def test_the_breaker_opens_after_five_breakdowns_in_a_row_and_closes_with_a_success():
    health = Health()
    for _ in range(BREAKER_FAILURES):
        assert not health.breaker_open
        assert health.paused_until is None
        health = health.after(Verdict.BROKEN, now=1000, pause=30)
    assert health.breaker_open
    assert health.paused_until == 1030
    assert health.after(Verdict.OK, now=1030, pause=30) == Health()


def test_an_endpoint_that_says_no_is_alive_and_opens_no_breaker():
    health = Health()
    for _ in range(20):
        health = health.after(Verdict.REFUSED, now=1000, pause=30)
    assert not health.breaker_open
    assert health.failed == 20


@pytest.mark.parametrize(
    ("failures", "since", "expected"),
    [(DISABLE_ATTEMPTS, 5 * DAY, True), (DISABLE_ATTEMPTS - 1, 9 * DAY, False), (99, 5 * DAY - 1, False)],
)
def test_an_endpoint_is_hopeless_after_five_days_and_ten_failures(failures, since, expected):
    health = Health()
    for _ in range(failures):
        health = health.after(Verdict.REFUSED, now=1000, pause=30)
    assert health.hopeless(now=1000 + since, disable_after=5 * DAY) is expected


def test_an_endpoint_without_failures_is_not_hopeless():
    assert not Health().hopeless(now=1e9, disable_after=0)
