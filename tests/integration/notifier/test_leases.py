"""Leases: no delivery is sent by two workers at once, and none is lost with a worker."""

import asyncio
import time
from contextlib import contextmanager

import pytest
from sqlalchemy import update
from sqlalchemy.exc import OperationalError
from structlog.testing import capture_logs

from notifier import deliveries, endpoints, queue
from notifier import results as delivery_results
from notifier.errors import NotPossible
from notifier.schema import endpoint
from notifier.sender import SendResult
from notifier.testing import Answer
from notifier.worker import LEASE_MARGIN_SECONDS

POLICY = delivery_results.Policy(schedule=(0, 60), breaker_pause=30, disable_after=1e9)
OK = SendResult(status_code=200, error=None, seconds=0.1)


@pytest.fixture
def claim(engine, clock):
    def claim_due(room=10, *, lease="lease_a", endpoint_cap=8, seconds=30):
        with engine.begin() as conn:
            return queue.claim(
                conn,
                lease=lease,
                now=clock(),
                leased_until=clock() + seconds,
                room=room,
                endpoint_cap=endpoint_cap,
            ).claims

    return claim_due


@pytest.fixture
def settle(engine, clock):
    def store(claimed, outcome=OK):
        result = delivery_results.AttemptResult(
            claim=claimed, started_at=clock(), ended_at=clock(), outcome=outcome
        )
        with engine.begin() as conn:
            return delivery_results.record_results(conn, [result], policy=POLICY, jitters=[0.0])

    return store


def test_a_claimed_row_is_not_claimed_again_until_its_lease_expires(shop, claim, clock):
    shop.endpoint()
    shop.enqueue()
    [first] = claim(lease="lease_a")
    assert claim(lease="lease_b") == []
    clock.advance(29.9)
    assert claim(lease="lease_b") == []
    clock.advance(0.1)
    [second] = claim(lease="lease_b")
    assert (second.delivery, second.event, second.lease) == (first.delivery, first.event, "lease_b")


def test_leases_that_ran_out_take_no_slot(shop, claim, clock):
    """Else an endpoint whose worker died with all its slots would get nothing any more."""
    shop.endpoint()
    for number in range(4):
        shop.enqueue(f"pi_{number}")
    assert len(claim(endpoint_cap=2)) == 2
    assert claim(endpoint_cap=2) == []
    clock.advance(30)
    assert len(claim(lease="lease_b", endpoint_cap=2)) == 2


def test_an_endpoint_with_more_under_way_than_it_may_have_by_now_gets_nothing(shop, engine, claim):
    """Overload while eight attempts are open: the lower limit leaves no room."""
    shop.endpoint()
    for number in range(20):
        shop.enqueue(f"pi_{number}")
    assert len(claim(endpoint_cap=8)) == 8
    with engine.begin() as conn:
        conn.execute(update(endpoint).values(slots=2))
    assert claim(endpoint_cap=8) == []


def test_a_row_that_was_written_while_its_endpoint_was_disabled_waits_until_it_is_enabled(
    shop, engine, claim, clock
):
    """On PostgreSQL the two may overlap: the row is pending, not held, and still nothing is sent."""
    id_ = shop.endpoint()
    shop.enqueue()
    with engine.begin() as conn:
        conn.execute(update(endpoint).values(status="disabled", disabled_reason="operator"))
    assert claim() == []
    with engine.begin() as conn:
        endpoints.enable(conn, id_, now=clock())
    assert len(claim()) == 1


def test_a_result_counts_only_under_the_lease_that_the_row_still_has(shop, claim, settle, clock):
    shop.endpoint()
    shop.enqueue()
    [stale] = claim(lease="lease_a")
    clock.advance(30)
    [current] = claim(lease="lease_b")
    assert settle(stale) == []
    assert (shop.delivery().status, shop.delivery().attempts) == ("pending", 0)
    [settled] = settle(current)
    assert settled.status == "delivered"
    assert settle(current) == [], "a result is stored once"
    assert (shop.delivery().status, shop.delivery().attempts) == ("delivered", 1)


def test_released_claims_are_due_at_once_and_other_leases_are_untouched(shop, engine, claim, clock):
    shop.endpoint()
    shop.enqueue()
    [mine] = claim(lease="lease_a")
    with engine.begin() as conn:
        queue.release(conn, [mine])
    [theirs] = claim(lease="lease_b")
    assert theirs.delivery == mine.delivery
    with engine.begin() as conn:
        queue.release(conn, [mine])
    assert shop.delivery().lease == "lease_b"


def test_a_result_for_a_removed_endpoint_is_dropped(shop, engine, claim, settle):
    id_ = shop.endpoint()
    shop.enqueue()
    [claimed] = claim()
    with engine.begin() as conn:
        endpoints.remove(conn, id_)
    assert settle(claimed) == []
    assert (shop.delivery().status, shop.delivery().last_error) == ("dead", "the endpoint was removed")


@pytest.mark.parametrize(("status", "expected"), [(200, "delivered"), (500, "held")])
def test_an_attempt_under_way_when_its_endpoint_is_disabled_still_counts(
    shop, engine, claim, settle, status, expected
):
    id_ = shop.endpoint()
    shop.enqueue()
    [claimed] = claim()
    with engine.begin() as conn:
        endpoints.disable(conn, id_)
    [settled] = settle(claimed, SendResult(status_code=status, error=None, seconds=0.1))
    assert settled.status == expected
    assert (shop.delivery().status, shop.delivery().attempts, shop.delivery().lease) == (expected, 1, None)


def test_a_delivery_being_sent_cannot_be_retried_by_hand(shop, engine, claim, clock):
    shop.endpoint()
    shop.enqueue()
    [claimed] = claim()
    with pytest.raises(NotPossible, match="being sent"), engine.begin() as conn:
        deliveries.retry(conn, claimed.delivery, now=clock())


async def test_two_workers_on_one_database_send_each_event_once(shop, receiver, make_worker, running):
    for number in range(3):
        shop.endpoint(receiver=receiver, path=f"/{number}")
    async with running(make_worker(concurrency=4)) as one, running(make_worker(concurrency=4)) as two:
        for number in range(20):
            shop.enqueue(f"pi_{number}")
            one.wake()
            two.wake()
        await receiver.wait_for(60)
    assert len(receiver.arrivals) == 60
    assert len({(arrival.path, arrival.id) for arrival in receiver.arrivals}) == 60
    assert {(row.status, row.attempts) for row in shop.deliveries()} == {("delivered", 1)}


async def test_a_worker_that_died_leaves_its_row_to_the_next_one_under_the_same_id(
    shop, old_receiver, make_worker, drain, clock
):
    shop.endpoint(receiver=old_receiver)
    event = shop.enqueue()
    old_receiver.plan(Answer(gate=asyncio.Event()))
    worker = make_worker(timeout=60.0)
    killed = asyncio.create_task(worker.run(asyncio.Event()))
    await old_receiver.wait_for(1)
    killed.cancel()
    with pytest.raises(asyncio.CancelledError):
        await killed
    await drain()
    assert len(old_receiver.arrivals) == 1, "the lease still holds"
    clock.advance(60 + LEASE_MARGIN_SECONDS)
    await drain()
    assert [arrival.id for arrival in old_receiver.arrivals] == [event, event]
    assert shop.delivery().status == "delivered"


async def test_a_stop_waits_for_attempts_under_way_and_settles_them(shop, receiver, make_worker):
    gate = asyncio.Event()
    shop.endpoint(receiver=receiver)
    receiver.plan(Answer(gate=gate))
    shop.enqueue()
    stop = asyncio.Event()
    task = asyncio.create_task(make_worker().run(stop))
    await receiver.wait_for(1)
    stop.set()
    gate.set()
    async with asyncio.timeout(10):
        await task
    assert shop.delivery().status == "delivered"


async def test_a_stop_hands_back_what_takes_too_long(shop, receiver, make_worker):
    shop.endpoint(receiver=receiver)
    receiver.plan(Answer(gate=asyncio.Event()))
    shop.enqueue()
    stop = asyncio.Event()
    task = asyncio.create_task(make_worker(grace=0.05).run(stop))
    await receiver.wait_for(1)
    stop.set()
    async with asyncio.timeout(10):
        await task
    row = shop.delivery()
    assert (row.status, row.attempts, row.lease) == ("pending", 0, None)


async def test_a_drain_ends_at_its_deadline(shop, receiver, make_worker):
    shop.endpoint(receiver=receiver)
    receiver.plan(Answer(gate=asyncio.Event()))
    shop.enqueue()
    worker = make_worker(grace=0.01)
    async with asyncio.timeout(10):
        assert not await worker.drain(time.monotonic() + 0.3)
    assert shop.delivery().lease is None


async def test_a_database_that_fails_for_a_while_loses_nothing(
    shop, receiver, engine, make_worker, running, monkeypatch
):
    """Results are kept in memory and stored when the database comes back."""
    monkeypatch.setattr("notifier.worker.DATABASE_PAUSE_SECONDS", 0.01)
    settled, failed_thrice = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    class Flaky:
        broken = False
        failures = 0

        def begin(self):
            if not self.broken:
                return engine.begin()
            self.failures += 1
            if self.failures == 3:
                loop.call_soon_threadsafe(failed_thrice.set)
            raise OperationalError("begin", {}, Exception("database or disk is full"))

    database, gate = Flaky(), asyncio.Event()
    shop.endpoint(receiver=receiver)
    receiver.plan(Answer(gate=gate))
    shop.enqueue()
    worker = make_worker(database=database, on_attempt=lambda _result, _seconds: settled.set())
    async with running(worker), asyncio.timeout(10):
        await receiver.wait_for(1)
        database.broken = True
        gate.set()
        await failed_thrice.wait()
        assert shop.delivery().status == "pending"
        database.broken = False
        await settled.wait()
    assert len(receiver.arrivals) == 1
    assert (shop.delivery().status, shop.delivery().attempts) == ("delivered", 1)


async def test_a_claim_that_lay_too_long_is_not_sent_but_left_to_the_next_one(
    shop, engine, old_receiver, make_worker, drain, clock
):
    """Held up between claim and attempt: the lease could expire, and another worker send, meanwhile."""

    class Slow:
        @contextmanager
        def begin(self):
            with engine.begin() as conn:
                yield conn
            clock.advance(LEASE_MARGIN_SECONDS + 1)

    shop.endpoint(receiver=old_receiver)
    shop.enqueue()
    with capture_logs() as logs:
        await make_worker(database=Slow()).drain(time.monotonic() + 20)
    assert old_receiver.arrivals == []
    assert (shop.delivery().status, shop.delivery().attempts) == ("pending", 0)
    assert "delivery.claimed_too_long_ago" in {line["event"] for line in logs}
    clock.advance(5)
    await drain()
    assert shop.delivery().status == "delivered"
    assert len(old_receiver.arrivals) == 1


async def test_while_a_slow_attempt_lasts_no_other_worker_sends_the_row(
    shop, old_receiver, make_worker, drain, clock
):
    """An attempt never outlasts its lease; if it was not recorded by then, the same id is sent again."""
    gate = asyncio.Event()
    shop.endpoint(receiver=old_receiver)
    old_receiver.plan(Answer(gate=gate))
    event = shop.enqueue()
    stop, slow = asyncio.Event(), make_worker(timeout=60.0)
    task = asyncio.create_task(slow.run(stop))
    await old_receiver.wait_for(1)
    clock.advance(60 + LEASE_MARGIN_SECONDS - 0.1)
    await drain()
    assert len(old_receiver.arrivals) == 1
    # The machine was suspended: the lease is over, the first attempt is not.
    clock.advance(0.1)
    await drain()
    assert [arrival.id for arrival in old_receiver.arrivals] == [event, event]
    assert (shop.delivery().status, shop.delivery().attempts) == ("delivered", 1)
    gate.set()
    stop.set()
    async with asyncio.timeout(10):
        await task
    assert (shop.delivery().status, shop.delivery().attempts) == ("delivered", 1), (
        "the late result is nobody's"
    )
