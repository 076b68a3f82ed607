"""Unforeseen exceptions: they cost the affected delivery an attempt, and other deliveries nothing."""

import asyncio
import time

import pytest
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from notifier import queue
from notifier import results as delivery_results
from notifier.retry import DEFAULT_SCHEDULE
from notifier.schema import delivery_attempt
from notifier.sender import Sender, SendResult
from notifier.testing import Answer

POISON = Answer(status=429, headers={"Retry-After": "poison"}, body=b"slow down")


@pytest.fixture
def poisoned(monkeypatch):
    """Make parsing one certain header raise, as a bug in a parser would."""
    read = delivery_results.parse_retry_after

    def parse(value, *, now):
        if value == "poison":
            raise OverflowError("signed integer is greater than maximum")
        return read(value, now=now)

    monkeypatch.setattr(delivery_results, "parse_retry_after", parse)


@pytest.fixture
def noted():
    return []


@pytest.fixture
def deliver(drain, noted):
    """Deliver what is due, and collect unforeseen exceptions."""

    async def once(**settings):
        return await drain(
            on_unforeseen=lambda where, error: noted.append((where, type(error).__name__)), **settings
        )

    return once


def log_of(engine):
    with engine.begin() as conn:
        return conn.execute(select(delivery_attempt).order_by(delivery_attempt.c.number)).all()


async def test_a_result_that_cannot_be_settled_is_a_failed_attempt_and_the_others_are_settled(
    shop, engine, receiver, deliver, noted, poisoned, clock
):
    """One merchant's answer does not keep another's result from being stored."""
    bad = shop.endpoint(receiver=receiver, path="/bad")
    good = [shop.endpoint(receiver=receiver, path=f"/{number}") for number in range(3)]
    receiver.always(POISON, path="/bad")
    shop.enqueue()
    assert await deliver()
    row = shop.delivery(bad)
    assert (row.status, row.attempts, row.last_status_code, row.lease) == ("pending", 1, 429, None)
    assert row.next_attempt_at == clock() + DEFAULT_SCHEDULE[1]
    assert {shop.delivery(one).status for one in good} == {"delivered"}
    assert len(receiver.arrivals) == 4, "nothing was sent twice"
    assert ("settle", "OverflowError") in noted
    [entry] = [entry for entry in log_of(engine) if entry.delivery == row.id]
    assert (entry.number, entry.status_code, bytes(entry.response)) == (1, 429, b"")


async def test_a_delivery_that_never_can_be_settled_is_dead_after_its_schedule(
    shop, old_receiver, deliver, poisoned, clock
):
    """It is not sent for ever."""
    shop.endpoint(receiver=old_receiver)
    old_receiver.always(POISON)
    shop.enqueue()
    for wait in DEFAULT_SCHEDULE:
        clock.advance(wait)
        assert await deliver()
    assert (shop.delivery().status, shop.delivery().attempts) == ("dead", len(DEFAULT_SCHEDULE))
    assert len(old_receiver.arrivals) == len(DEFAULT_SCHEDULE)
    clock.advance(1e6)
    await deliver()
    assert len(old_receiver.arrivals) == len(DEFAULT_SCHEDULE)


async def test_a_success_that_cannot_be_settled_as_it_is_stays_a_success(
    shop, receiver, deliver, monkeypatch
):
    """A delivered event is not sent again just because its answer could not be stored."""
    real = delivery_results.record_results

    def settle(conn, results, **more):
        if results:
            raise RuntimeError("a bug")
        return real(conn, results, **more)

    monkeypatch.setattr(delivery_results, "record_results", settle)
    shop.endpoint(receiver=receiver)
    shop.enqueue()
    assert await deliver()
    assert (shop.delivery().status, shop.delivery().attempts) == ("delivered", 1)
    assert len(receiver.arrivals) == 1


async def test_what_the_database_refuses_of_a_result_is_left_out(shop, receiver, deliver, monkeypatch):
    """PostgreSQL rejects NUL and SQLite lone surrogates, wherever one gets through."""
    send = Sender.send

    async def dirty(self, url, **more):
        if "bad" in url:
            return SendResult(status_code=None, error="a\x00b\ud800", seconds=0.0)
        return await send(self, url, **more)

    monkeypatch.setattr(Sender, "send", dirty)
    bad, good = shop.endpoint("http://bad.example/"), shop.endpoint(receiver=receiver)
    shop.enqueue()
    assert await deliver()
    assert (shop.delivery(bad).status, shop.delivery(bad).attempts) == ("pending", 1)
    assert shop.delivery(bad).last_error.startswith("internal error: ")
    assert shop.delivery(good).status == "delivered"


async def test_results_are_settled_although_nothing_can_be_claimed(
    shop, receiver, make_worker, running, noted, monkeypatch
):
    """A queue that cannot be read does not delay results, and is read again."""
    claim, broken, tried = queue.claim, asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def failing(*arguments, **more):
        if broken.is_set():
            loop.call_soon_threadsafe(tried.set)
            raise KeyError("we_1")
        return claim(*arguments, **more)

    monkeypatch.setattr(queue, "claim", failing)
    monkeypatch.setattr("notifier.worker.DATABASE_PAUSE_SECONDS", 0.01)
    gate = asyncio.Event()
    shop.endpoint(receiver=receiver)
    receiver.plan(Answer(gate=gate))
    shop.enqueue("pi_1")
    stored = asyncio.Event()
    worker = make_worker(
        poll_interval=0.01,
        on_attempt=lambda *_: stored.set(),
        on_unforeseen=lambda where, error: noted.append((where, type(error).__name__)),
    )
    async with running(worker), asyncio.timeout(20):
        await receiver.wait_for(1)
        broken.set()
        await tried.wait()
        gate.set()
        await stored.wait()
        shop.enqueue("pi_2")
        broken.clear()
        await receiver.wait_for(2)
    assert {row.status for row in shop.deliveries()} == {"delivered"}
    assert set(noted) == {("queue", "KeyError")}


async def test_a_result_waits_where_not_even_the_least_of_it_can_be_stored(
    shop, receiver, make_worker, running, poisoned, monkeypatch
):
    """As during an outage: it is kept, nothing is claimed, and the worker keeps trying."""
    real, loop, tried = delivery_results.record_results_plainly, asyncio.get_running_loop(), asyncio.Event()

    def away(*_, **__):
        loop.call_soon_threadsafe(tried.set)
        raise OperationalError("update", {}, Exception("disk I/O error"))

    monkeypatch.setattr(delivery_results, "record_results_plainly", away)
    monkeypatch.setattr("notifier.worker.DATABASE_PAUSE_SECONDS", 0.01)
    shop.endpoint(receiver=receiver)
    receiver.always(POISON)
    shop.enqueue()
    stored = asyncio.Event()
    worker = make_worker(poll_interval=0.01, on_attempt=lambda *_: stored.set())
    async with running(worker), asyncio.timeout(20):
        await tried.wait()
        assert shop.delivery().lease is not None
        monkeypatch.setattr(delivery_results, "record_results_plainly", real)
        worker.wake()
        await stored.wait()
    assert (shop.delivery().status, shop.delivery().attempts) == ("pending", 1)
    assert len(receiver.arrivals) == 1


async def test_a_stop_settles_what_it_can_apart(shop, receiver, make_worker, noted, poisoned):
    """A worker's last transaction, too, may contain a poisoned result."""
    gate, stop = asyncio.Event(), asyncio.Event()
    bad = shop.endpoint(receiver=receiver, path="/bad")
    good = shop.endpoint(receiver=receiver, path="/good")
    receiver.plan(Answer(status=429, headers={"Retry-After": "poison"}, gate=gate), path="/bad")
    receiver.plan(Answer(gate=gate), path="/good")
    shop.enqueue()
    worker = make_worker(on_unforeseen=lambda where, error: noted.append(where))
    task = asyncio.create_task(worker.run(stop))
    await receiver.wait_for(2)
    stop.set()
    gate.set()
    async with asyncio.timeout(20):
        await task
    assert (shop.delivery(bad).attempts, shop.delivery(bad).lease) == (1, None)
    assert shop.delivery(good).status == "delivered"
    assert "settle" in noted


async def test_a_hook_that_fails_does_not_end_the_worker(shop, receiver, make_worker, noted):
    """Not even the metrics hook; the delivery is stored by then."""

    def fail(*_):
        raise ValueError("no such label")

    shop.endpoint(receiver=receiver)
    shop.enqueue()
    worker = make_worker(on_attempt=fail, on_unforeseen=lambda where, error: noted.append(where))
    assert await worker.drain(time.monotonic() + 20)
    assert (shop.delivery().status, noted) == ("delivered", ["queue"])
