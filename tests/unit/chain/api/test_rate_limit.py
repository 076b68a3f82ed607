"""Token buckets and the limits that sources send, on a fake clock."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain.api.rate_limit import MAX_WAIT_SECONDS, MINUTE, MONTH, RateLimiter, RequestBudget, TokenBucket
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


def limiter(clock, *, per_minute=None, per_month=None, turn=5.0, on_request=None):
    budget = RequestBudget(per_minute=per_minute, per_month=per_month, now=clock())
    return RateLimiter(
        "http://a.test", budget, max_wait=turn, clock=clock, sleep=clock.sleep, on_request=on_request
    )


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
    free = limiter(clock)
    for _ in range(1000):
        await free.acquire()
    assert clock.slept == []


@pytest.mark.parametrize(("limit", "burst", "wait"), [(60, 12, 60 / 49), (5, 1, 60 / 5), (1, 1, 60)])
async def test_requests_beyond_the_burst_wait_for_one_token_each(limit, burst, wait):
    clock = Clock()
    paced = limiter(clock, per_minute=limit)
    await send(paced, burst)
    assert clock.slept == []
    await send(paced, 8)
    assert sum(clock.slept) == pytest.approx(8 * wait, abs=1e-4)


async def test_even_a_very_long_wait_for_the_own_budget_is_waited():
    """A step abandoned whenever the budget is empty would restart with each token and never end."""
    clock = Clock()
    paced = limiter(clock, per_month=20)
    await send(paced, 21)
    assert sum(clock.slept) == pytest.approx(MONTH)


async def test_requests_at_once_are_let_through_in_order_each_with_a_token_of_its_own():
    clock = Clock()
    paced = limiter(clock, per_minute=5)
    at = []

    async def request(name):
        await paced.acquire()
        at.append((name, clock.now - 1000))

    await asyncio.gather(*(request(name) for name in range(4)))
    assert at == [(name, pytest.approx(12 * name, abs=1e-4)) for name in range(4)]


async def test_who_is_cancelled_while_waiting_takes_no_token_and_keeps_nobody_waiting():
    clock = Clock()
    paced = limiter(clock, per_minute=5)
    await paced.acquire()
    waiting = asyncio.Event()

    async def sleep(_):
        waiting.set()
        await asyncio.Event().wait()

    paced._sleep = sleep
    tasks = [asyncio.create_task(paced.acquire()) for _ in range(3)]
    await asyncio.wait_for(waiting.wait(), 5)
    for task in tasks:
        task.cancel()
    assert all(
        isinstance(end, asyncio.CancelledError)
        for end in await asyncio.gather(*tasks, return_exceptions=True)
    )
    paced._sleep = clock.sleep
    await paced.acquire()
    assert sum(clock.slept) == pytest.approx(12, abs=1e-4)


async def test_a_budget_is_plentiful_until_a_quarter_of_a_burst_is_used():
    clock = Clock()
    paced = limiter(clock, per_month=150_000)
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
        (429, {"retry-after": "999999999"}, MAX_WAIT_SECONDS),
        (200, {"retry-after": "30"}, 0),
        (429, {}, 0),
        (200, {"ratelimit-remaining": "0", "ratelimit-reset": "12"}, 12),
        (200, {"ratelimit-remaining": "1", "ratelimit-reset": "12"}, 0),
        (200, {"ratelimit-remaining": "0"}, 0),
        (200, {"ratelimit-remaining": "none", "ratelimit-reset": "-5"}, 0),
        (200, {"x-ratelimit-remaining-stacks-second": "0"}, 1),
        (200, {"x-ratelimit-remaining-stacks-minute": "0"}, 60),
        (200, {"x-ratelimit-remaining-stacks-minute": "0", "ratelimit-reset": "9"}, 9),
        (200, {"x-ratelimit-remaining-stacks-month": "0"}, MAX_WAIT_SECONDS),
        (200, {"x-ratelimit-remaining-stacks-month": "4"}, 0),
    ],
)
async def test_what_the_source_says_is_obeyed(code, headers, seconds):
    clock = Clock()
    paced = limiter(clock)
    paced.observe(code, 0.1, headers)
    assert paced.budget.blocked(clock()) == seconds
    if seconds > 5:
        with pytest.raises(SourceLimited) as caught:
            await paced.acquire()
        assert caught.value.retry_after == seconds
    clock.now += seconds
    await paced.acquire()


async def test_a_shorter_block_does_not_replace_a_longer_one():
    clock = Clock()
    paced = limiter(clock)
    paced.observe(429, 0.1, {"retry-after": "30"})
    paced.observe(429, 0.1, {"retry-after": "3"})
    assert paced.budget.blocked(clock()) == 30


async def test_a_request_that_waited_meets_a_block_that_came_meanwhile():
    clock = Clock()
    paced = limiter(clock, per_minute=60)

    async def sleep(seconds):
        clock.now += seconds
        paced.observe(429, 0.1, {"retry-after": "40"})

    paced._sleep = sleep
    with pytest.raises(SourceLimited, match="asks to wait") as caught:
        await send(paced, 20)
    assert caught.value.retry_after == 40


async def test_a_short_block_is_waited_for():
    clock = Clock()
    paced = limiter(clock)
    paced.observe(200, 0.1, {"x-ratelimit-remaining-stacks-second": "0"})
    await paced.acquire()
    assert clock.slept == [1]


async def test_each_request_is_reported_and_only_usable_answers_count_for_latency():
    clock = Clock()
    seen = []
    paced = limiter(clock, on_request=lambda *report: seen.append(report))
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
