"""Concurrency and rate limits of endpoints, and their isolation from each other."""

import asyncio
import time

import pytest
from sqlalchemy import insert, select, update

from notifier import endpoints, outbox, queue, ssrf
from notifier.events import EventType
from notifier.schema import delivery, delivery_attempt, endpoint
from notifier.testing import Answer


@pytest.fixture
def claim(engine, clock):
    def claim_due(*, rate=None, cap=8, room=100):
        with engine.begin() as conn:
            return queue.claim(
                conn,
                lease="lease_a",
                now=clock(),
                leased_until=clock() + 30,
                room=room,
                endpoint_cap=cap,
                endpoint_rate=rate,
            )

    return claim_due


def test_an_endpoint_gets_its_rate_spread_evenly_over_all_workers(shop, claim, clock):
    shop.endpoint()
    for number in range(30):
        shop.enqueue(f"pi_{number}")
    first = claim(rate=20)
    assert len(first.claims) == 2
    assert first.next_at == pytest.approx(clock() + 0.1)
    assert claim(rate=20).claims == [], "the limit is in the database, so it holds for all workers together"
    clock.advance(0.05)
    assert len(claim(rate=20).claims) == 1
    clock.advance(10)
    assert len(claim(rate=20).claims) == 2, "what was not used is not saved up"


def test_without_a_rate_only_the_slots_limit_and_no_earlier_poll_is_asked_for(shop, claim):
    shop.endpoint()
    for number in range(30):
        shop.enqueue(f"pi_{number}")
    found = claim()
    assert (len(found.claims), found.next_at) == (8, None)


def test_a_rate_that_holds_nothing_back_asks_for_no_earlier_poll(shop, claim):
    shop.endpoint()
    shop.enqueue()
    assert claim(rate=100).next_at is None


async def test_a_running_worker_keeps_the_rate_and_its_pace(shop, engine, receiver, make_worker, running):
    shop.endpoint(receiver=receiver)
    for number in range(20):
        shop.enqueue(f"pi_{number}")
    worker = make_worker(endpoint_rate=40, endpoint_concurrency=100, clock=time.time, poll_interval=30)
    began = time.time()
    async with running(worker):
        await receiver.wait_for(20)
    with engine.begin() as conn:
        at = sorted(conn.execute(select(delivery_attempt.c.at)).scalars())
    assert len(at) == 20
    # Four may start at once; sixteen more take at least 0.4 s at 40 per second, far below the poll interval.
    assert 0.4 <= at[-1] - began < 20


async def test_retry_after_holds_the_whole_endpoint_and_no_other(shop, old_receiver, drain, clock):
    shop.endpoint(receiver=old_receiver, path="/busy")
    shop.endpoint(receiver=old_receiver, path="/free")
    old_receiver.plan(Answer(status=429, headers={"Retry-After": "600"}), path="/busy")
    shop.enqueue("pi_1")
    await drain()
    shop.enqueue("pi_2")
    clock.advance(599)
    await drain()
    assert len(old_receiver.at("/busy")) == 1
    assert len(old_receiver.at("/free")) == 2
    clock.advance(1)
    await drain()
    assert len(old_receiver.at("/busy")) == 3
    assert {row.status for row in shop.deliveries()} == {"delivered"}


async def test_disabling_and_enabling_ends_a_hold(shop, engine, old_receiver, drain, clock):
    id_ = shop.endpoint(receiver=old_receiver)
    old_receiver.plan(Answer(status=503, headers={"Retry-After": "86400"}))
    shop.enqueue()
    await drain()
    with engine.begin() as conn:
        endpoints.disable(conn, id_)
        endpoints.enable(conn, id_, now=clock())
    await drain()
    assert shop.delivery().status == "delivered"


async def test_a_new_address_has_not_failed_yet(shop, engine, old_receiver, drain, clock):
    """A hold, an open breaker and the count of failures belong to the old URL."""
    id_ = shop.endpoint(receiver=old_receiver, path="/old")
    old_receiver.plan(*[Answer(status=503, headers={"Retry-After": "86400"})] * 5, path="/old")
    for number in range(5):
        shop.enqueue(f"pi_{number}")
    await drain()
    shop.enqueue("pi_fresh")
    await drain()
    assert len(old_receiver.arrivals) == 5
    with engine.begin() as conn:
        endpoints.modify(conn, id_, url=ssrf.CheckedUrl(old_receiver.url("/new")))
    await drain()
    assert [one.path for one in old_receiver.arrivals[5:]] == ["/new"]
    with engine.begin() as conn:
        assert outbox.stats(conn, now=clock()).failing_endpoints == ()


@pytest.mark.parametrize("status", [429, 502, 503, 504])
async def test_an_overloaded_endpoint_gets_half_as_much_at_once_and_recovers_one_by_one(
    shop, engine, old_receiver, drain, claim, clock, status
):
    id_ = shop.endpoint(receiver=old_receiver)
    old_receiver.plan(Answer(status=status), Answer(status=status))
    for number in range(2):
        shop.enqueue(f"pi_{number}")
    await drain(endpoint_concurrency=8)
    with engine.begin() as conn:
        assert conn.execute(select(endpoint.c.slots)).scalar_one() == 2
    for number in range(2, 40):
        shop.enqueue(f"pi_{number}")
    found = claim()
    assert len(found.claims) == 2
    with engine.begin() as conn:
        queue.release(conn, found.claims)
    clock.advance(60)
    await drain(endpoint_concurrency=8)
    with engine.begin() as conn:
        assert conn.execute(select(endpoint.c.slots)).scalar_one() is None
    assert {row.status for row in shop.deliveries(id_)} == {"delivered"}


NINETEEN = [f"/{number}" for number in range(1, 20)]


async def test_nineteen_endpoints_do_not_wait_for_one_that_hangs(shop, receiver, make_worker, running):
    """Every attempt at one of twenty endpoints hangs for a minute; the others get all of theirs meanwhile."""
    gate = asyncio.Event()
    for path in ["/0", *NINETEEN]:
        shop.endpoint(receiver=receiver, path=path)
    receiver.always(Answer(gate=gate), path="/0")
    # Fewer slots than the hanging endpoint has webhooks: without a limit it would take them all.
    async with running(make_worker(concurrency=16, endpoint_concurrency=4, timeout=60.0)) as worker:
        for number in range(30):
            await asyncio.to_thread(shop.enqueue, f"pi_{number}")
            worker.wake()
        async with asyncio.timeout(30):
            for path in NINETEEN:
                await receiver.wait_for(30, path=path, within=30)
        assert len(receiver.at("/0")) == 4, (
            "its first attempts hang still, and it holds no more slots than its own"
        )
        gate.set()
        await receiver.wait_for(30, path="/0")


def test_one_claim_serves_all_other_endpoints_however_much_a_hanging_one_has_due(shop, claim):
    """A saturated endpoint is skipped before the claim, so its thousands of rows take no other's room."""
    hanging = shop.endpoint(events=["payment.expired"])
    for number in range(300):
        shop.enqueue(f"pi_old_{number}", EventType.EXPIRED)
    assert len(claim(cap=8, room=16).claims) == 8
    healthy = {shop.endpoint() for _ in range(19)}
    shop.enqueue("pi_fresh")
    claims = claim(cap=8, room=19).claims
    assert {claimed.endpoint for claimed in claims} == healthy
    assert hanging not in healthy


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_a_claim_costs_the_same_whatever_was_delivered_before_and_whatever_is_under_way(
    shop, engine, claim, clock
):
    """Cost is counted in steps of SQLite's virtual machine, so that no clock is needed."""
    ids = [shop.endpoint(events=["payment.failed"]) for _ in range(3)]

    def steps():
        """Claim one delivery of each endpoint; return the cost."""
        shop.enqueue(f"pi_{clock()}", EventType.FAILED)
        clock.advance(60)
        counted = 0

        def count():
            nonlocal counted
            counted += 1

        with engine.begin() as conn:
            conn.connection.dbapi_connection.set_progress_handler(count, 10)
            claimed = queue.claim(
                conn, lease="l", now=clock(), leased_until=clock() + 30, room=8, endpoint_cap=8
            ).claims
            conn.connection.dbapi_connection.set_progress_handler(None, 0)
            conn.execute(
                update(delivery)
                .where(delivery.c.id.in_([one.delivery for one in claimed]))
                .values(status="delivered", lease=None, leased_until=None)
            )
        assert len(claimed) == len(ids)
        return counted

    few = steps()
    event = shop.enqueue("pi_once", EventType.SUCCEEDED)
    row = {
        "event": event,
        "merchant": "mer_1",
        "intent": "pi_once",
        "type": "payment.succeeded",
        "sequence": 1,
        "verdict": True,
        "ordered": True,
        "status": "delivered",
        "created_at": 0.0,
    }
    with engine.begin() as conn:
        rows = [
            {**row, "id": f"dlv_{id_}_{number}", "endpoint": id_} for id_ in ids for number in range(1000)
        ]
        conn.execute(insert(delivery), rows)
    many = steps()
    assert many <= few * 1.5, (few, many)
