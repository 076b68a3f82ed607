"""What an endpoint gets at once and per second, and that one in trouble costs the others nothing."""

import asyncio
import time

import pytest
from sqlalchemy import select

from notifier import endpoints, queue
from notifier.tables import delivery_attempt, endpoint
from notifier.testing import Answer


@pytest.fixture
def claim(engine, clock):
    def some(*, rate=None, cap=8, room=100):
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

    return some


def test_an_endpoint_gets_its_rate_spread_evenly_whoever_claims(shop, claim, clock):
    shop.endpoint()
    for number in range(30):
        shop.tell(f"pi_{number}")
    first = claim(rate=20)
    assert len(first.claims) == 2
    assert first.look_at == pytest.approx(clock() + 0.1)
    assert claim(rate=20).claims == [], "the limit is in the database, so it holds for all workers together"
    clock.advance(0.05)
    assert len(claim(rate=20).claims) == 1
    clock.advance(10)
    assert len(claim(rate=20).claims) == 2, "what was not used is not saved up"


def test_without_a_rate_nothing_but_the_slots_limits_and_nothing_calls_for_another_look(shop, claim):
    shop.endpoint()
    for number in range(30):
        shop.tell(f"pi_{number}")
    found = claim()
    assert (len(found.claims), found.look_at) == (8, None)


def test_a_rate_that_holds_nothing_back_calls_for_no_other_look(shop, claim):
    shop.endpoint()
    shop.tell()
    assert claim(rate=100).look_at is None


async def test_a_running_worker_keeps_the_rate_and_its_pace(shop, engine, receiver, make_worker, running):
    shop.endpoint(receiver=receiver)
    for number in range(20):
        shop.tell(f"pi_{number}")
    worker = make_worker(endpoint_rate=40, endpoint_concurrency=100, clock=time.time, poll_interval=30)
    began = time.time()
    async with running(worker):
        await receiver.wait_for(20)
    with engine.begin() as conn:
        at = sorted(conn.execute(select(delivery_attempt.c.at)).scalars())
    assert len(at) == 20
    # Four may go at once; sixteen more take at least 0.4 s at 40 a second. The poll interval is far longer.
    assert 0.4 <= at[-1] - began < 20


async def test_retry_after_holds_the_whole_endpoint_and_no_other(shop, old_receiver, drain, clock):
    shop.endpoint(receiver=old_receiver, path="/busy")
    shop.endpoint(receiver=old_receiver, path="/free")
    old_receiver.plan(Answer(status=429, headers={"Retry-After": "600"}), path="/busy")
    shop.tell("pi_1")
    await drain()
    shop.tell("pi_2")
    clock.advance(599)
    await drain()
    assert len(old_receiver.at("/busy")) == 1
    assert len(old_receiver.at("/free")) == 2
    clock.advance(1)
    await drain()
    assert len(old_receiver.at("/busy")) == 3
    assert {row.status for row in shop.deliveries()} == {"delivered"}


async def test_a_person_ends_a_hold_by_disabling_and_enabling(shop, engine, old_receiver, drain, clock):
    id_ = shop.endpoint(receiver=old_receiver)
    old_receiver.plan(Answer(status=503, headers={"Retry-After": "86400"}))
    shop.tell()
    await drain()
    with engine.begin() as conn:
        endpoints.disable(conn, id_)
        endpoints.enable(conn, id_, now=clock())
    await drain()
    assert shop.delivery().status == "delivered"


@pytest.mark.parametrize("status", [429, 502, 503, 504])
async def test_an_overloaded_endpoint_gets_half_as_much_at_once_and_recovers_one_by_one(
    shop, engine, old_receiver, drain, claim, clock, status
):
    id_ = shop.endpoint(receiver=old_receiver)
    old_receiver.plan(Answer(status=status), Answer(status=status))
    for number in range(2):
        shop.tell(f"pi_{number}")
    await drain(endpoint_concurrency=8)
    with engine.begin() as conn:
        assert conn.execute(select(endpoint.c.slots)).scalar_one() == 2
    for number in range(2, 40):
        shop.tell(f"pi_{number}")
    found = claim()
    assert len(found.claims) == 2
    with engine.begin() as conn:
        queue.hand_back(conn, found.claims)
    clock.advance(60)
    await drain(endpoint_concurrency=8)
    with engine.begin() as conn:
        assert conn.execute(select(endpoint.c.slots)).scalar_one() is None
    assert {row.status for row in shop.deliveries(id_)} == {"delivered"}


async def test_a_hanging_endpoint_leaves_the_latency_of_nineteen_others_where_it_was(
    shop, receiver, make_worker, running
):
    """One endpoint of twenty takes every attempt's full timeout; for the others it is as if it were not there."""
    gate = asyncio.Event()
    paths = [f"/{number}" for number in range(20)]
    for path in paths:
        shop.endpoint(receiver=receiver, path=path)
    committed, latencies = {}, {"alone": [], "beside": []}

    async def spell(name, events):
        """Write 25 events, each to all endpoints, and note when each arrived at the healthy ones."""
        seen = len(receiver.arrivals)
        for number in range(25):
            id_ = await asyncio.to_thread(shop.tell, f"pi_{name}_{number}")
            committed[id_] = time.monotonic()
            worker.wake()
            await asyncio.sleep(0.01)
        healthy = paths[1:]
        async with asyncio.timeout(20):
            while sum(arrival.path != "/0" for arrival in receiver.arrivals[seen:]) < 25 * len(healthy):
                await receiver.wait_for(len(receiver.arrivals) + 1)
        events.extend(one.at - committed[one.id] for one in receiver.arrivals[seen:] if one.path != "/0")

    # Sixteen slots in all: without a cap of its own the hanging endpoint would have every one of them.
    worker = make_worker(
        concurrency=16, endpoint_concurrency=4, timeout=2.0, clock=time.time, disable_after=1e9
    )
    async with running(worker):
        await spell("warm", [])
        await spell("alone", latencies["alone"])
        receiver.always(Answer(gate=gate), path="/0")
        await spell("beside", latencies["beside"])
        stuck = len(receiver.at("/0"))
        gate.set()
    p99 = {name: sorted(values)[int(len(values) * 0.99)] for name, values in latencies.items()}
    assert stuck - 50 <= 5 + 4, "it holds its own slots and no more"
    # Far from the two seconds that waiting behind it would take, on a busy machine too.
    assert p99["beside"] < max(0.5, 3 * p99["alone"]), p99
