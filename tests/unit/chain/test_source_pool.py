"""Selection of sources on a fake clock, without requests."""

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain.api.client import StacksApi
from chain.api.rate_limit import MAX_WAIT_SECONDS
from chain.errors import (
    SourceError,
    SourceInconsistent,
    SourceLimited,
    SourceMalformed,
    SourceRefused,
    SourceUnavailable,
)
from chain.source_health import SourceState
from chain.source_pool import BackoffPolicy, SourcePool

BACKOFF = BackoffPolicy(backoff=1.0, max_backoff=300.0, lagging=30.0, settle=120.0)
CLIENT = httpx.AsyncClient(trust_env=False)


class Clock:
    """A clock that only the test moves."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now

    async def sleep(self, seconds):
        self.now += seconds


class PoolFixture:
    """A pool of sources named a, b, c …"""

    def __init__(self, count=2, *, rng=lambda: 1.0, **options):
        self.clock = Clock()
        self.apis = [StacksApi(f"http://{name}.test", client=CLIENT) for name in "abcd"[:count]]
        self.pool = SourcePool(
            self.apis, clock=self.clock, sleep=self.clock.sleep, rng=rng, backoff=BACKOFF, **options
        )

    def picked(self):
        return self.pool.pick().url[7]

    def states(self):
        return [row.state for row in self.pool.health()]


def test_a_pool_without_sources_is_a_mistake():
    with pytest.raises(ValueError, match="at least one"):
        SourcePool([])


def test_the_first_source_is_preferred():
    assert PoolFixture(3).picked() == "a"


def test_a_failing_source_is_left_for_the_next_in_order():
    setup = PoolFixture(3)
    setup.pool.failed(setup.apis[0], SourceUnavailable("down"))
    assert setup.picked() == "b"
    setup.pool.failed(setup.apis[1], SourceMalformed("odd"))
    assert setup.picked() == "c"
    assert setup.states() == [SourceState.FAILING, SourceState.FAILING, SourceState.UNKNOWN]


def test_the_pool_goes_back_only_after_the_better_source_was_calm_for_a_while():
    setup = PoolFixture()
    setup.pool.failed(setup.apis[0], SourceUnavailable("down"))
    assert setup.picked() == "b"
    setup.clock.now += 1 + 119
    assert setup.picked() == "b"
    setup.clock.now += 1
    assert setup.picked() == "a"


def test_the_pool_goes_back_at_once_when_there_is_nothing_else():
    setup = PoolFixture()
    setup.pool.failed(setup.apis[0], SourceUnavailable("down"))
    assert setup.picked() == "b"
    setup.clock.now += 2
    setup.pool.failed(setup.apis[1], SourceUnavailable("down"))
    assert setup.picked() == "a"


def test_a_source_that_failed_last_is_not_used_again_as_soon_as_its_pause_is_over():
    """Polls may be farther apart than the pause."""
    setup = PoolFixture(3)
    assert setup.picked() == "a"
    setup.pool.failed(setup.apis[0], SourceInconsistent("its step cannot be stored"))
    setup.clock.now += 60
    assert setup.picked() == "b"


def test_the_sources_of_one_poll_come_once_each_the_preferred_one_first():
    setup = PoolFixture(4)
    setup.pool.failed(setup.apis[0], SourceUnavailable("down"))
    setup.pool.lagging(setup.apis[1])
    assert [api.url[7] for api in setup.pool.attempts()] == ["c", "d", "b"]


def test_a_poll_that_no_source_can_serve_is_an_error_at_once():
    setup = PoolFixture(1)
    setup.pool.failed(setup.apis[0], SourceUnavailable("down"))
    with pytest.raises(SourceUnavailable, match="down"):
        next(setup.pool.attempts())


def test_a_flapping_source_is_left_alone_longer_each_time():
    setup = PoolFixture(1)
    pauses = []
    for _ in range(12):
        setup.pool.failed(setup.apis[0], SourceUnavailable("down"))
        with pytest.raises(SourceUnavailable) as caught:
            setup.pool.pick()
        pauses.append(caught.value.retry_after)
        setup.clock.now += caught.value.retry_after
        assert setup.picked() == "a"
    assert pauses == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]


def test_a_success_ends_the_series_of_failures():
    setup = PoolFixture(1)
    for _ in range(5):
        setup.pool.failed(setup.apis[0], SourceUnavailable("down"))
    setup.pool.succeeded(setup.apis[0], tip_height=7, latency=0.25)
    assert setup.picked() == "a"
    setup.pool.failed(setup.apis[0], SourceUnavailable("down"))
    with pytest.raises(SourceUnavailable) as caught:
        setup.pool.pick()
    assert caught.value.retry_after == 1


@given(st.floats(0, 1, exclude_max=True), st.integers(1, 2000))
def test_jitter_stays_between_half_and_all_of_the_pause(chance, failures):
    setup = PoolFixture(1, rng=lambda: chance)
    for _ in range(failures):
        setup.pool.failed(setup.apis[0], SourceUnavailable("down"))
    with pytest.raises(SourceUnavailable) as caught:
        setup.pool.pick()
    full = min(300.0, 2.0 ** min(failures - 1, 20))
    assert full / 2 - 1e-9 <= caught.value.retry_after <= full


def test_a_limited_source_is_not_failing_and_is_left_alone_for_as_long_as_it_says():
    setup = PoolFixture()
    setup.pool.failed(setup.apis[0], SourceLimited("slow down", retry_after=40))
    assert setup.states()[0] is SourceState.LIMITED
    assert setup.pool.health()[0].errors == 0
    assert setup.picked() == "b"
    setup.pool.failed(setup.apis[1], SourceLimited("slow down", retry_after=90))
    with pytest.raises(SourceLimited) as caught:
        setup.pool.pick()
    assert caught.value.retry_after == 40
    assert "http://a.test: limited" in str(caught.value)
    setup.clock.now += 40
    assert setup.picked() == "a"


@pytest.mark.parametrize("retry_after", [None, 0.0])
def test_a_limit_without_a_time_backs_off_like_a_failure(retry_after):
    setup = PoolFixture(1)
    setup.pool.failed(setup.apis[0], SourceLimited("slow down", retry_after=retry_after))
    with pytest.raises(SourceError) as caught:
        setup.pool.pick()
    assert caught.value.retry_after == 1


def test_a_refused_key_rests_longest_and_shows_its_hint():
    setup = PoolFixture()
    setup.pool.failed(setup.apis[0], SourceRefused("401 bad key", url="http://a.test"))
    row = setup.pool.health()[0]
    assert row.state is SourceState.REFUSED
    assert row.note.startswith("401 bad key. Check this source's api_key")
    setup.clock.now += 299
    assert [api.url for api in setup.pool.others(setup.apis[1])] == []
    setup.clock.now += 1
    assert [api.url for api in setup.pool.others(setup.apis[1])] == ["http://a.test"]


def test_a_lagging_source_is_used_only_when_no_other_is_there():
    setup = PoolFixture()
    setup.pool.succeeded(setup.apis[0], tip_height=100)
    setup.pool.lagging(setup.apis[0], 90)
    assert setup.states()[0] is SourceState.LAGGING
    assert setup.pool.health()[0].tip_height == 90
    assert setup.picked() == "b"
    assert setup.pool.others(setup.apis[1]) == []
    setup.pool.lagging(setup.apis[1])
    assert setup.picked() == "b", "when all lag there is no reason to move"
    setup.pool.failed(setup.apis[1], SourceUnavailable("down"))
    assert setup.picked() == "a"


def test_a_lag_is_forgotten_after_a_while_but_the_return_is_not_hasty():
    setup = PoolFixture()
    setup.pool.succeeded(setup.apis[0])
    setup.pool.lagging(setup.apis[0], 90)
    assert setup.picked() == "b"
    setup.clock.now += 30
    assert setup.states()[0] is SourceState.OK
    assert setup.picked() == "b"
    setup.clock.now += 120
    assert setup.picked() == "a"


def test_a_source_that_shows_the_newest_tip_lags_no_more():
    setup = PoolFixture()
    setup.pool.succeeded(setup.apis[1], tip_height=100)
    setup.pool.lagging(setup.apis[0], 90)
    setup.pool.succeeded(setup.apis[0], tip_height=99)
    assert setup.states()[0] is SourceState.LAGGING
    setup.pool.succeeded(setup.apis[0], tip_height=100)
    assert setup.states()[0] is SourceState.OK


def test_others_are_the_healthy_rest_in_order():
    setup = PoolFixture(4)
    setup.pool.failed(setup.apis[1], SourceInconsistent("mixed"))
    assert [api.url for api in setup.pool.others(setup.apis[0])] == ["http://c.test", "http://d.test"]


async def test_a_used_up_budget_moves_the_pool_to_the_next_source_until_the_first_has_one_for_a_while():
    setup = PoolFixture(requests_per_minute=50)
    assert setup.picked() == "a"
    for _ in range(10):
        await setup.apis[0].limiter.acquire()
    assert setup.states() == [SourceState.LIMITED, SourceState.UNKNOWN]
    assert setup.pool.idle_source() is None, "nothing is spare at a source whose budget is used up"
    assert setup.picked() == "b"
    assert setup.pool.idle_source() is setup.apis[1]
    assert setup.pool.others(setup.apis[1]) == [setup.apis[0]], "a second opinion is worth the wait"
    setup.clock.now += 110
    assert setup.picked() == "b"
    setup.clock.now += 15
    assert setup.picked() == "a"


async def test_when_all_budgets_are_used_up_the_shortest_wait_is_preferred():
    setup = PoolFixture(requests_per_minute=5)
    await setup.apis[0].limiter.acquire()
    setup.clock.now += 2
    await setup.apis[1].limiter.acquire()
    assert setup.picked() == "a"
    await setup.apis[0].limiter.acquire()
    assert setup.picked() == "b"


async def test_a_used_up_budget_is_better_than_a_source_that_lags():
    setup = PoolFixture(requests_per_minute=5)
    await setup.apis[0].limiter.acquire()
    setup.pool.lagging(setup.apis[1])
    assert setup.picked() == "a"


def test_a_source_that_asks_for_a_very_long_pause_is_gone_back_to_after_the_longest_one():
    setup = PoolFixture()
    setup.pool.failed(setup.apis[0], SourceLimited("slow down", retry_after=1e12))
    assert setup.picked() == "b"
    setup.clock.now += MAX_WAIT_SECONDS + BACKOFF.settle
    assert setup.picked() == "a"


@pytest.mark.parametrize(
    ("interval", "lagging", "settle"), [(1, 30, 120), (5, 30, 120), (60, 360, 1440), (600, 3600, 14400)]
)
def test_a_source_stays_left_for_some_polls_however_rare_they_are(interval, lagging, settle):
    policy = BackoffPolicy.for_polls(interval)
    assert (policy.lagging, policy.settle) == (lagging, settle)


async def test_what_can_be_left_out_gets_only_what_is_left_of_a_burst():
    setup = PoolFixture(requests_per_minute=50)
    limiter = setup.apis[0].limiter
    for left, enough in (9, 0.75), (8, 0.75), (7, 0.7), (6, 0.6), (5, 0.5):
        await limiter.acquire()
        assert setup.pool.idle_source(enough) is setup.apis[0]
        assert setup.pool.idle_source(left / 10 + 0.05) is None


def test_nothing_is_spare_at_a_source_in_trouble():
    setup = PoolFixture()
    setup.pool.failed(setup.apis[0], SourceInconsistent("mixed"))
    assert setup.pool.idle_source() is None


def test_health_has_a_row_per_source_in_order():
    seen = []
    setup = PoolFixture(on_request=lambda *report: seen.append(report))
    setup.apis[0].limiter.observe(200, 0.08, {})
    setup.pool.succeeded(setup.apis[0], tip_height=5)
    setup.pool.failed(setup.apis[1], SourceUnavailable("GET /extended: 500 boom", url="http://b.test"))
    one, two = setup.pool.health()
    assert (one.url, one.state, one.tip_height, one.latency_ms, one.errors, one.note) == (
        "http://a.test",
        SourceState.OK,
        5,
        80,
        0,
        None,
    )
    assert (two.state, two.latency_ms, two.errors, two.note) == (
        SourceState.FAILING,
        None,
        1,
        "GET /extended: 500 boom",
    )
    assert seen == [("http://a.test", 200, 0.08)]


def test_a_latency_measured_outside_is_shown():
    setup = PoolFixture(1)
    setup.pool.succeeded(setup.apis[0], latency=0.25)
    assert setup.pool.health()[0].latency_ms == 250
