"""Clocks that are set, and hosts' clocks that differ: no delivery waits too long or is sent twice."""

import asyncio
import time

import pytest
from sqlalchemy import text

from notifier import clock as clocks
from notifier import deliveries, outbox, queue
from notifier.events import EventType
from notifier.testing import Answer
from tests import harness

HOURS = 7200.0


def claim(engine, now, *, lease="lease_a", **more):
    with engine.begin() as conn:
        clocks.repair(conn, now=now)
        return queue.claim(
            conn, lease=lease, now=now, leased_until=now + 30, room=10, endpoint_cap=8, **more
        ).claims


async def test_a_retry_that_was_planned_under_a_clock_that_was_ahead_waits_as_long_as_the_schedule_says(
    shop, old_receiver, drain, clock
):
    """The clock is two hours ahead at the failed first attempt, then corrected: the next is in a minute."""
    shop.endpoint(receiver=old_receiver)
    old_receiver.plan(Answer(status=500))
    clock.advance(HOURS)
    shop.enqueue()
    await drain(schedule=(0, 60))
    clock.advance(-HOURS)
    await drain(schedule=(0, 60))
    assert shop.delivery().next_attempt_at == clock() + 60
    clock.advance(59.9)
    await drain(schedule=(0, 60))
    assert len(old_receiver.arrivals) == 1
    clock.advance(0.1)
    await drain(schedule=(0, 60))
    assert (shop.delivery().status, shop.delivery().attempts) == ("delivered", 2)


async def test_what_was_written_under_a_clock_that_was_ahead_is_sent_at_once(
    shop, engine, receiver, drain, clock
):
    """Its age is not negative: it counts from when the corrected clock saw it."""
    shop.endpoint(receiver=receiver)
    clock.advance(HOURS)
    shop.enqueue()
    clock.advance(-HOURS)
    assert claim(engine, clock(), lease="lease_of_a_killed_one") != []
    clock.advance(10)
    with engine.begin() as conn:
        assert outbox.stats(conn, now=clock()).oldest_seconds == 10
    clock.advance(20)
    await drain()
    assert shop.delivery().status == "delivered"


@pytest.mark.parametrize(
    ("answer", "times", "wait"),
    [
        (Answer(status=429, headers={"retry-after": "300"}), 1, 300),
        (Answer(status=500), 5, 30),
    ],
    ids=["hold", "pause"],
)
async def test_an_endpoint_rests_no_longer_than_it_was_meant_to(
    shop, old_receiver, drain, clock, answer, times, wait
):
    """``Retry-After`` and the circuit breaker, under a clock that was ahead."""
    shop.endpoint(receiver=old_receiver)
    old_receiver.plan(*[answer] * times)
    clock.advance(HOURS)
    shop.enqueue("pi_0")
    for number in range(1, times):
        shop.enqueue(f"pi_{number}")
    await drain(schedule=(0, 1, 1, 1), endpoint_concurrency=8, breaker_pause=30)
    assert len(old_receiver.arrivals) == times
    clock.advance(-HOURS)
    shop.enqueue("pi_new")
    clock.advance(0.5)
    await drain(schedule=(0, 1, 1, 1), breaker_pause=30)
    assert len(old_receiver.arrivals) == times, "it still rests"
    clock.advance(wait)
    await drain(schedule=(0, 1, 1, 1), breaker_pause=30)
    assert {row.status for row in shop.deliveries()} == {"delivered"}


def test_a_rate_limit_lets_through_again_after_the_clock_was_set_back(shop, engine, clock):
    shop.endpoint()
    for number in range(3):
        shop.enqueue(f"pi_{number}")
    clock.advance(HOURS)
    assert len(claim(engine, clock(), endpoint_rate=1.0)) == 1
    clock.advance(-HOURS)
    claim(engine, clock(), endpoint_rate=1.0)
    clock.advance(1)
    assert len(claim(engine, clock(), endpoint_rate=1.0)) == 1


def test_a_lease_from_a_clock_that_was_ahead_lasts_as_long_as_any_and_no_longer(shop, engine, clock):
    """Its worker may be alive, so the row is not claimed at once; or dead, so two hours are too long."""
    shop.endpoint()
    shop.enqueue()
    clock.advance(HOURS)
    assert len(claim(engine, clock(), lease="lease_a")) == 1
    clock.advance(-HOURS)
    assert claim(engine, clock(), lease="lease_b") == []
    clock.advance(29.9)
    assert claim(engine, clock(), lease="lease_b") == []
    clock.advance(0.1)
    assert len(claim(engine, clock(), lease="lease_b")) == 1


async def test_a_clock_that_jumps_ahead_makes_due_what_waits_and_loses_nothing(
    shop, old_receiver, drain, clock
):
    shop.endpoint(receiver=old_receiver)
    old_receiver.plan(Answer(status=500))
    shop.enqueue()
    await drain(schedule=(0, 60))
    clock.advance(HOURS)
    await drain(schedule=(0, 60))
    assert (shop.delivery().status, shop.delivery().attempts) == ("delivered", 2)


def test_a_right_clock_repairs_nothing(shop, engine, clock):
    shop.endpoint()
    shop.enqueue()
    before = shop.delivery()
    with engine.begin() as conn:
        clocks.repair(conn, now=clock())
    assert shop.delivery() == before


def test_times_are_put_right_in_batches(shop, engine, clock, monkeypatch):
    """A clock that was ahead for long leaves many rows, but no transaction takes longer."""
    monkeypatch.setattr(clocks, "BATCH_ROWS", 2)
    clocks._deliveries.cache_clear()
    try:
        shop.endpoint()
        clock.advance(HOURS)
        for number in range(5):
            shop.enqueue(f"pi_{number}")
        clock.advance(-HOURS)
        right = []
        for _ in range(3):
            with engine.begin() as conn:
                clocks.repair(conn, now=clock())
            right.append(sum(row.next_attempt_at == clock() for row in shop.deliveries()))
        assert right == [2, 4, 5]
    finally:
        clocks._deliveries.cache_clear()


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_the_search_for_wrong_times_reads_only_those(shop, engine):
    with engine.begin() as conn:
        for statement, index in (
            (clocks._deliveries(), "ix_delivery_stamped"),
            (clocks._endpoints(), "ix_endpoint_stamped"),
        ):
            compiled = statement.compile(engine)
            plan = conn.exec_driver_sql(
                f"EXPLAIN QUERY PLAN {compiled}", tuple([1.0] * len(compiled.positiontup))
            )
            steps = [row.detail for row in plan]
            assert any(index in step for step in steps), steps
            assert not any(step.startswith("SCAN") and "late" not in step for step in steps), steps


# On PostgreSQL, hosts share deliveries: the server's clock is the reference.


@pytest.fixture
def make_host(make_worker):
    """Return a function that makes the worker of a host whose clock is off by some seconds."""

    def make(ahead, **settings):
        worker = make_worker(clock=None, **settings)
        worker._clock = lambda: time.time() + ahead
        return worker

    return make


@pytest.mark.parametrize("backend", ["postgresql"], indirect=True)
async def test_a_host_whose_clock_is_ahead_does_not_claim_a_live_lease(shop, receiver, make_host, running):
    gate = asyncio.Event()
    shop.endpoint(receiver=receiver)
    receiver.plan(Answer(gate=gate))
    shop.enqueue()
    async with running(make_host(0.0)), asyncio.timeout(20):
        await receiver.wait_for(1)
        await make_host(60.0).drain(time.monotonic() + 10)
        assert len(receiver.arrivals) == 1
        gate.set()
        await harness.until(lambda: shop.delivery().status == "delivered")
    assert (len(receiver.arrivals), shop.delivery().attempts) == (1, 1)


@pytest.mark.parametrize("backend", ["postgresql"], indirect=True)
@pytest.mark.parametrize("ahead", [-3600.0, -60.0, 60.0, 3600.0])
async def test_a_host_with_a_wrong_clock_sends_what_is_due(shop, old_receiver, make_host, ahead):
    """Whichever host wrote it: the writer's clock is wrong by as much in the other direction."""
    shop.endpoint(receiver=old_receiver)
    shop.clock.now = time.time() - ahead
    shop.enqueue()
    assert await make_host(ahead).drain(time.monotonic() + 10)
    assert (shop.delivery().status, shop.delivery().attempts) == ("delivered", 1)


@pytest.mark.parametrize("backend", ["postgresql"], indirect=True)
async def test_a_retry_is_planned_by_the_servers_clock(shop, engine, old_receiver, make_host):
    shop.endpoint(receiver=old_receiver)
    old_receiver.plan(Answer(status=500))
    shop.enqueue()
    await make_host(3600.0, schedule=(0, 60)).drain(time.monotonic() + 10)
    with engine.begin() as conn:
        now = clocks.database_time(conn, machine=0.0)
    assert shop.delivery().next_attempt_at == pytest.approx(now + 60, abs=10)


def test_an_opt_in_event_is_written_with_its_stamp(shop, clock):
    """Every way to write a delivery stamps it: else its times could not be repaired."""
    shop.endpoint(events=["*"])
    shop.enqueue(type=EventType.CREATED)
    assert shop.delivery().stamped_at == clock()


async def test_every_way_of_making_a_delivery_due_says_when(shop, engine, receiver, drain, clock):
    endpoint = shop.endpoint(receiver=receiver)
    receiver.always(Answer(status=400))
    event = shop.enqueue()
    await drain(schedule=(0,))
    first = shop.delivery().id

    def stamps():
        return {row.stamped_at for row in shop.deliveries() if row.status == "pending"}

    for again in (
        lambda conn: deliveries.retry(conn, first, now=clock()),
        lambda conn: deliveries.recover(conn, endpoint, now=clock()),
        lambda conn: deliveries.redeliver(conn, event, now=clock()),
        lambda conn: deliveries.replay(conn, endpoint, since=0, now=clock()),
    ):
        with engine.begin() as conn:
            conn.execute(text("DELETE FROM delivery_attempt"))
            conn.execute(text("DELETE FROM delivery WHERE id <> :first"), {"first": first})
            conn.execute(text("UPDATE delivery SET status = 'dead', stamped_at = NULL"))
        clock.advance(5)
        with engine.begin() as conn:
            again(conn)
        assert stamps() == {clock()}
