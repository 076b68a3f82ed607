"""Token buckets and what sources say about their limits, on a fake clock."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain.budget import LONGEST_WAIT, MINUTE, MONTH, Budget, Pacer, TokenBucket
from chain.errors import SourceLimited


class Clock:
    """Time that moves only when something sleeps."""

    def __init__(self):
        self.now = 1000.0
        self.slept = []

    def __call__(self):
        return self.now

    async def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds


def pacer(clock, *, per_minute=None, per_month=None, turn=5.0, on_request=None):
    budget = Budget(per_minute=per_minute, per_month=per_month, now=clock())
    return Pacer("http://a.test", budget, turn=turn, clock=clock, sleep=clock.sleep, on_request=on_request)


async def send(paced, requests):
    for _ in range(requests):
        await paced.acquire()


@given(
    st.integers(1, 40).flatmap(lambda limit: st.tuples(st.just(limit), st.integers(1, limit))),
    st.lists(st.floats(0, 30), max_size=150),
)
def test_no_period_holds_more_than_the_limit(sizes, pauses):
    """Whatever the arrivals, any half-open period sees at most ``limit`` requests."""
    limit, burst = sizes
    bucket = TokenBucket(limit, 60.0, burst=burst, now=0.0)
    now, sent = 0.0, []
    for pause in pauses:
        now += pause
        if bucket.wait(now) == 0:
            bucket.take(now)
            sent.append(now)
    for start in sent:
        assert sum(start <= at < start + 60.0 - 1e-6 for at in sent) <= limit


def test_a_budget_refills_evenly():
    """150,000 a month is one request in about 18 seconds after an hour's share."""
    bucket = TokenBucket(150_000, MONTH, burst=201, now=0.0)
    for _ in range(201):
        assert bucket.wait(0.0) == 0
        bucket.take(0.0)
    interval = bucket.wait(0.0)
    assert interval == pytest.approx(MONTH / 150_000, rel=0.01)
    bucket.take(0.0)
    assert bucket.wait(0.0) == pytest.approx(2 * interval)
    assert bucket.wait(3 * interval) == 0


def test_an_idle_bucket_never_holds_more_than_its_burst():
    bucket = TokenBucket(60, MINUTE, burst=3, now=0.0)
    assert bucket.wait(10_000.0, 3) == 0
    assert bucket.wait(10_000.0, 4) > 0


def test_a_clock_that_steps_back_gives_no_tokens():
    bucket = TokenBucket(1, MINUTE, burst=1, now=100.0)
    bucket.take(100.0)
    wait = bucket.wait(100.0)
    assert bucket.wait(50.0) == wait == pytest.approx(60.0)


@pytest.mark.parametrize("burst", [0, 11])
def test_a_burst_is_part_of_the_limit(burst):
    with pytest.raises(ValueError, match="burst"):
        TokenBucket(10, MINUTE, burst=burst, now=0.0)


async def test_without_a_budget_nothing_waits():
    clock = Clock()
    free = pacer(clock)
    for _ in range(1000):
        await free.acquire()
    assert clock.slept == []


async def test_short_waits_are_slept_and_queue_up():
    clock = Clock()
    paced = pacer(clock, per_minute=60)
    for _ in range(20):
        await paced.acquire()
    assert clock.slept == pytest.approx([60 / 49] * 8)


async def test_long_waits_are_raised_with_the_time_to_come_back():
    clock = Clock()
    paced = pacer(clock, per_month=20)
    for _ in range(20):
        await paced.acquire()
    with pytest.raises(SourceLimited) as caught:
        await paced.acquire()
    assert caught.value.retry_after == pytest.approx(MONTH)
    assert caught.value.url == "http://a.test"
    assert clock.slept == []


async def test_a_step_that_ran_dry_begins_again_with_twice_as_many_requests():
    """Else a step of several requests would begin with each new token and never end."""
    clock = Clock()
    paced = pacer(clock, per_month=150_000)
    await send(paced, 190)
    paced.begin()
    needed, rounds = 47, 0
    while True:
        rounds += 1
        try:
            await send(paced, needed)
            break
        except SourceLimited:
            assert paced.drained
            clock.now += paced.rest(clock()) + 0.001
            assert paced.rest(clock()) == 0
            assert not paced.drained
            paced.begin()
    assert rounds == 4
    assert clock.slept == []


async def test_looks_of_one_request_go_on_evenly_when_the_burst_is_used_up():
    clock = Clock()
    paced = pacer(clock, per_month=150_000)
    await send(paced, 201)
    for _ in range(20):
        paced.begin()
        with pytest.raises(SourceLimited):
            await paced.acquire()
        rest = paced.rest(clock())
        assert 17 < rest < 19
        clock.now += rest + 0.001
        assert paced.rest(clock()) == 0
        await paced.acquire()


async def test_a_step_larger_than_the_burst_waits_for_the_burst_only():
    clock = Clock()
    paced = pacer(clock, per_month=20)
    with pytest.raises(SourceLimited):
        await send(paced, 21)
    assert paced.rest(clock()) == pytest.approx(20 * MONTH)


async def test_a_budget_is_plentiful_until_a_quarter_of_a_burst_is_used():
    clock = Clock()
    paced = pacer(clock, per_month=150_000)
    await send(paced, 50)
    assert paced.budget.is_plentiful(clock())
    await send(paced, 1)
    assert not paced.budget.is_plentiful(clock())
    clock.now += 3600
    assert paced.budget.is_plentiful(clock())
    paced.observe(429, 0.1, {"retry-after": "30"})
    assert not paced.budget.is_plentiful(clock())


@pytest.mark.parametrize(
    ("code", "headers", "seconds"),
    [
        (429, {"retry-after": "30"}, 30),
        (503, {"retry-after": "7"}, 7),
        (429, {"retry-after": "999999999"}, LONGEST_WAIT),
        (200, {"retry-after": "30"}, 0),
        (429, {}, 0),
        (200, {"ratelimit-remaining": "0", "ratelimit-reset": "12"}, 12),
        (200, {"ratelimit-remaining": "1", "ratelimit-reset": "12"}, 0),
        (200, {"ratelimit-remaining": "0"}, 0),
        (200, {"ratelimit-remaining": "none", "ratelimit-reset": "-5"}, 0),
        (200, {"x-ratelimit-remaining-stacks-second": "0"}, 1),
        (200, {"x-ratelimit-remaining-stacks-minute": "0"}, 60),
        (200, {"x-ratelimit-remaining-stacks-minute": "0", "ratelimit-reset": "9"}, 9),
        (200, {"x-ratelimit-remaining-stacks-month": "0"}, LONGEST_WAIT),
        (200, {"x-ratelimit-remaining-stacks-month": "4"}, 0),
    ],
)
async def test_what_the_source_says_is_obeyed(code, headers, seconds):
    clock = Clock()
    paced = pacer(clock)
    paced.observe(code, 0.1, headers)
    assert paced.rest(clock()) == seconds
    if seconds > 5:
        with pytest.raises(SourceLimited) as caught:
            await paced.acquire()
        assert caught.value.retry_after == seconds
    clock.now += seconds
    await paced.acquire()


async def test_a_shorter_block_does_not_replace_a_longer_one():
    clock = Clock()
    paced = pacer(clock)
    paced.observe(429, 0.1, {"retry-after": "30"})
    paced.observe(429, 0.1, {"retry-after": "3"})
    assert paced.rest(clock()) == 30


async def test_who_waited_for_his_turn_meets_a_block_that_came_meanwhile():
    clock = Clock()
    paced = pacer(clock, per_minute=60)

    async def sleep(seconds):
        clock.now += seconds
        paced.observe(429, 0.1, {"retry-after": "40"})

    paced._sleep = sleep
    with pytest.raises(SourceLimited, match="asks to wait") as caught:
        await send(paced, 20)
    assert caught.value.retry_after == 40


async def test_each_request_is_reported_and_only_usable_answers_count_for_latency():
    clock = Clock()
    seen = []
    paced = pacer(clock, on_request=lambda *report: seen.append(report))
    assert not paced.tried
    paced.observe(200, 0.1, {})
    paced.observe(500, 9.0, {})
    paced.observe(0, 9.0, {})
    paced.observe(304, 0.2, {})
    assert paced.tried
    assert paced.latency == pytest.approx(0.12)
    assert seen == [
        ("http://a.test", 200, 0.1),
        ("http://a.test", 500, 9.0),
        ("http://a.test", 0, 9.0),
        ("http://a.test", 304, 0.2),
    ]
