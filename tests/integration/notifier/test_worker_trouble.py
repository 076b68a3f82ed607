"""Failures of one delivery, or of the database, stay contained."""

import asyncio

import pytest
from sqlalchemy import update
from sqlalchemy.exc import OperationalError

from notifier.schema import endpoint, event
from notifier.sender import Sender
from notifier.testing import Answer, Receiver
from notifier.worker import LEASE_MARGIN_SECONDS


@pytest.mark.parametrize("secrets", [[], [{"secret": "not a secret", "valid_until": None}]])
async def test_an_endpoint_whose_secrets_are_unreadable_fails_alone(shop, engine, receiver, drain, secrets):
    broken, healthy = shop.endpoint(receiver=receiver, path="/a"), shop.endpoint(receiver=receiver, path="/b")
    with engine.begin() as conn:
        conn.execute(update(endpoint).where(endpoint.c.id == broken).values(secrets=secrets))
    shop.enqueue()
    await drain()
    assert shop.delivery(broken).last_error.startswith("not signed: ")
    assert shop.delivery(healthy).status == "delivered"
    assert receiver.at("/a") == []


async def test_a_crash_within_one_attempt_is_an_outcome_of_that_attempt(shop, receiver, drain, monkeypatch):
    broken, healthy = shop.endpoint("http://crash.example/"), shop.endpoint(receiver=receiver)
    send = Sender.send

    async def crash(self, url, **more):
        if "crash" in url:
            raise RuntimeError("a bug")
        return await send(self, url, **more)

    monkeypatch.setattr(Sender, "send", crash)
    shop.enqueue()
    await drain()
    assert shop.delivery(broken).last_error == "internal error: RuntimeError"
    assert shop.delivery(healthy).status == "delivered"


async def test_a_delivery_without_a_body_is_not_sent(shop, engine, receiver, drain):
    shop.endpoint(receiver=receiver)
    shop.enqueue()
    with engine.begin() as conn:
        conn.execute(update(event).values(body=None))
    await drain()
    assert (shop.delivery().last_error, receiver.arrivals) == ("the event's body was pruned", [])


async def test_a_stop_on_a_dead_database_ends_and_the_lease_brings_the_row_back(
    shop, engine, old_receiver, make_worker, drain, clock, monkeypatch
):
    monkeypatch.setattr("notifier.worker.DATABASE_PAUSE_SECONDS", 0.01)

    class Dying:
        dead = False

        def begin(self):
            if self.dead:
                raise OperationalError("begin", {}, Exception("disk I/O error"))
            return engine.begin()

    database, gate, stop = Dying(), asyncio.Event(), asyncio.Event()
    shop.endpoint(receiver=old_receiver)
    old_receiver.plan(Answer(gate=gate))
    shop.enqueue()
    task = asyncio.create_task(make_worker(database=database).run(stop))
    await old_receiver.wait_for(1)
    database.dead = True
    stop.set()
    gate.set()
    async with asyncio.timeout(10):
        await task
    assert shop.delivery().lease is not None
    clock.advance(5 + LEASE_MARGIN_SECONDS)
    await drain()
    assert shop.delivery().status == "delivered"
    assert len({arrival.id for arrival in old_receiver.arrivals}) == 1
    assert len(old_receiver.arrivals) == 2


async def test_a_probe_waits_for_the_breaker_pause(shop, old_receiver, drain, clock):
    shop.endpoint(receiver=old_receiver)
    old_receiver.always(Answer(status=500))
    for number in range(6):
        shop.enqueue(f"pi_{number}")
    await drain(breaker_pause=7, endpoint_concurrency=1)
    assert len(old_receiver.arrivals) == 5
    clock.advance(6)
    await drain(breaker_pause=7)
    assert len(old_receiver.arrivals) == 5
    clock.advance(1)
    await drain(breaker_pause=7)
    assert len(old_receiver.arrivals) == 6


@pytest.mark.parametrize("check_age", [True, False])
async def test_the_receiver_refuses_a_wrong_signature(shop, drain, check_age):
    """Proves that "arrived and verified" in the other tests can fail."""
    async with Receiver(check_age=check_age) as server:
        shop.endpoint(receiver=server)
        server.trust("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
        shop.enqueue()
        await drain()
        assert "No matching signature" in server.arrivals[0].refused
    assert (shop.delivery().status, shop.delivery().last_status_code) == ("pending", 401)


async def test_waking_a_worker_that_does_not_run_does_nothing(make_worker):
    make_worker().wake()
