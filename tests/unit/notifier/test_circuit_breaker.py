"""An endpoint's health: circuit breaker, concurrency limit, holds, disabling."""

import pytest

from notifier.circuit_breaker import (
    BREAKER_FAILURES,
    DISABLE_ATTEMPTS,
    MAX_PAUSE_FACTOR,
    OVERLOAD_STATUSES,
    EndpointHealth,
    Verdict,
    verdict,
)

DAY = 86400.0


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


@pytest.mark.parametrize("status", sorted(OVERLOAD_STATUSES))
def test_overload_halves_the_concurrency_limit_and_each_success_raises_it_by_one(status):
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
    ("status", "wanted", "held"),
    [(429, 60.0, 1060.0), (503, 60.0, 1060.0), (503, 1e9, 1000 + DAY), (500, 60.0, None), (429, None, None)],
)
def test_retry_after_holds_the_whole_endpoint_where_it_means_something(status, wanted, held):
    assert after(EndpointHealth(), status, retry_after=wanted).held_until == held


def test_a_success_or_a_shorter_wish_ends_no_hold_before_its_time():
    health = after(EndpointHealth(), 429, retry_after=60)
    assert after(health, 429, now=1010, retry_after=5).held_until == 1060
    assert after(health, 200, now=1010).held_until == 1060
    assert after(health, 200, now=1060).held_until is None


@pytest.mark.parametrize(
    ("failures", "since", "expected"),
    [(DISABLE_ATTEMPTS, 5 * DAY, True), (DISABLE_ATTEMPTS - 1, 9 * DAY, False), (99, 5 * DAY - 1, False)],
)
def test_an_endpoint_should_be_disabled_after_five_days_and_ten_failures(failures, since, expected):
    assert failed(failures, 400).should_disable(now=1000 + since, disable_after=5 * DAY) is expected


def test_an_endpoint_without_failures_should_not_be_disabled():
    assert not EndpointHealth().should_disable(now=1e9, disable_after=0)
