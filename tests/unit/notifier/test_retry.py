"""When a delivery is tried again, and when an endpoint is given a rest."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from notifier.retry import (
    BREAKER_FAILURES,
    DEFAULT_SCHEDULE,
    DISABLE_ATTEMPTS,
    MAX_PAUSE_FACTOR,
    OVERLOADED,
    RETRY_AFTER_CAP,
    EndpointHealth,
    Verdict,
    next_attempt_at,
    parse_retry_after,
    rate_room,
    rate_spent,
    rate_wait,
    verdict,
)

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


def after(health, status, *, now=1000.0, pause=30.0, cap=8, retry_after=None):
    return health.after(status, now=now, pause=pause, cap=cap, retry_after=retry_after)


def failed(times, status=500, **more):
    health = EndpointHealth()
    for _ in range(times):
        health = after(health, status, **more)
    return health


def test_the_breaker_opens_after_five_breakdowns_in_a_row_and_closes_with_a_success():
    for count in range(BREAKER_FAILURES):
        health = failed(count, None)
        assert not health.breaker_open
        assert health.paused_until is None
        assert health.allowed(8) == 8
    health = failed(BREAKER_FAILURES, None)
    assert health.breaker_open
    assert health.paused_until == 1030
    assert health.allowed(8) == 1
    assert after(health, 200, now=1030) == EndpointHealth()


def test_each_failed_probe_doubles_the_pause_from_half_a_minute_to_ten():
    health, now, pauses = failed(BREAKER_FAILURES), 1000.0, []
    for _ in range(60):
        assert health.paused_until is not None
        pauses.append(health.paused_until - now)
        now = health.paused_until
        health = after(health, 500, now=now)
    assert pauses[:6] == [30, 60, 120, 240, 480, 600]
    assert set(pauses[5:]) == {600} == {30 * MAX_PAUSE_FACTOR}


def test_attempts_that_were_under_way_when_the_breaker_opened_are_no_probes():
    health = failed(BREAKER_FAILURES)
    late = after(after(health, None, now=1010), 500, now=1029.9)
    assert (late.broken, late.paused_until) == (health.broken, health.paused_until)
    assert late.failed == health.failed + 2


def test_an_answer_that_says_no_ends_a_row_of_breakdowns():
    health = after(failed(BREAKER_FAILURES), 404, now=1030)
    assert not health.breaker_open
    assert health.paused_until is None
    assert health.failed == BREAKER_FAILURES + 1


def test_an_endpoint_that_says_no_is_alive_and_opens_no_breaker():
    health = failed(20, 400)
    assert not health.breaker_open
    assert health.failed == 20


@pytest.mark.parametrize("status", sorted(OVERLOADED))
def test_a_word_of_overload_halves_what_an_endpoint_gets_and_each_success_adds_one(status):
    health = after(EndpointHealth(), status)
    assert health.allowed(8) == 4
    assert after(health, status).allowed(8) == 2
    assert failed(4, 429).allowed(8) == failed(9, 429).allowed(8) == 1
    allowed = []
    for _ in range(4):
        health = after(health, 200)
        allowed.append(health.allowed(8))
    assert allowed == [5, 6, 7, 8]
    assert health == EndpointHealth(), (
        "a healthy endpoint is remembered as nothing, so its row is not written"
    )


def test_a_smaller_setting_goes_before_what_an_endpoint_had():
    assert after(EndpointHealth(), 429, cap=100).allowed(3) == 3


@pytest.mark.parametrize(
    ("status", "asked", "held"),
    [(429, 60.0, 1060.0), (503, 60.0, 1060.0), (503, 1e9, 1000 + DAY), (500, 60.0, None), (429, None, None)],
)
def test_retry_after_holds_the_whole_endpoint_where_it_means_something(status, asked, held):
    assert after(EndpointHealth(), status, retry_after=asked).held_until == held


def test_a_success_or_a_shorter_wish_ends_no_hold_before_its_time():
    health = after(EndpointHealth(), 429, retry_after=60)
    assert after(health, 429, now=1010, retry_after=5).held_until == 1060
    assert after(health, 200, now=1010).held_until == 1060
    assert after(health, 200, now=1060).held_until is None


@pytest.mark.parametrize(
    ("failures", "since", "expected"),
    [(DISABLE_ATTEMPTS, 5 * DAY, True), (DISABLE_ATTEMPTS - 1, 9 * DAY, False), (99, 5 * DAY - 1, False)],
)
def test_an_endpoint_is_hopeless_after_five_days_and_ten_failures(failures, since, expected):
    assert failed(failures, 400).should_disable(now=1000 + since, disable_after=5 * DAY) is expected


def test_an_endpoint_without_failures_is_not_hopeless():
    assert not EndpointHealth().should_disable(now=1e9, disable_after=0)


@given(
    st.floats(0.1, 500),
    st.lists(st.floats(0, 0.3), min_size=1, max_size=60),
    st.integers(1, 50),
)
def test_no_second_sees_more_than_the_rate_and_a_tenth(rate, waits, greed):
    """Whoever looks whenever and takes as much as he may: the law of the rate limit."""
    now, sent_until, sent = 1e9, None, []
    for wait in waits:
        now += wait
        count = min(rate_room(sent_until, rate, now=now), greed)
        if count:
            sent_until = rate_spent(sent_until, rate, count, now=now)
            sent.append((now, count))
    for start, _ in sent:
        within = sum(count for at, count in sent if start <= at < start + 1)
        assert within <= rate + max(1, rate * 0.1) + 1e-3


def test_a_limited_endpoint_gets_its_rate_when_it_is_looked_at_as_often_as_advised():
    for rate in (0.5, 1, 3, 20, 400):
        now, sent_until, total = 1e9, None, 0
        while now < 1e9 + 20:
            count = rate_room(sent_until, rate, now=now)
            if count:
                sent_until = rate_spent(sent_until, rate, count, now=now)
                total += count
            now += rate_wait(rate)
        assert total >= 20 * rate * 0.95
