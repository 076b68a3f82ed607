"""Order of an intent's events, and isolation of endpoints."""

import asyncio
from collections import Counter

import pytest
from sqlalchemy import insert, text

from notifier import queue
from notifier.circuit_breaker import BREAKER_FAILURES
from notifier.events import EventType
from notifier.schema import endpoint
from notifier.testing import Answer, plan_of

ALL = ["*"]


def types(receiver, path="/"):
    return [arrival.document["type"] for arrival in receiver.at(path)]


async def test_an_event_waits_for_the_one_before_it_of_the_same_intent(shop, old_receiver, drain, clock):
    shop.endpoint(receiver=old_receiver, events=ALL)
    old_receiver.plan(Answer(status=500))
    shop.enqueue("pi_1", EventType.FAILED, sequence=1)
    await drain()
    shop.enqueue("pi_1", EventType.SUCCEEDED, sequence=2)
    shop.enqueue("pi_2", EventType.SUCCEEDED, sequence=1)
    await drain()
    assert sorted(types(old_receiver)) == ["payment.failed", "payment.succeeded"], (
        "the other intent does not wait"
    )
    clock.advance(60)
    await drain()
    assert types(old_receiver)[2:] == ["payment.failed", "payment.succeeded"]


async def test_after_three_failures_an_event_holds_nothing_back(shop, old_receiver, drain, clock):
    shop.endpoint(receiver=old_receiver)
    old_receiver.plan(*plan_of([500, 500, 500]))
    shop.enqueue("pi_1", EventType.FAILED, sequence=1)
    shop.enqueue("pi_1", EventType.SUCCEEDED, sequence=2)
    for wait in (0, 60):
        clock.advance(wait)
        await drain()
    assert types(old_receiver) == ["payment.failed"] * 2
    clock.advance(300)
    await drain()
    assert types(old_receiver) == ["payment.failed"] * 3 + ["payment.succeeded"]


async def test_a_dead_event_holds_nothing_back(shop, old_receiver, drain):
    shop.endpoint(receiver=old_receiver)
    old_receiver.plan(Answer(status=500))
    shop.enqueue("pi_1", EventType.FAILED, sequence=1)
    shop.enqueue("pi_1", EventType.SUCCEEDED, sequence=2)
    await drain(schedule=(0,))
    assert types(old_receiver) == ["payment.failed", "payment.succeeded"]


async def test_an_opt_in_type_never_holds_back_a_verdict_but_waits_for_it(shop, old_receiver, drain, clock):
    shop.endpoint(receiver=old_receiver, events=ALL)
    old_receiver.plan(Answer(status=500))
    shop.enqueue("pi_1", EventType.PROCESSING, sequence=1)
    await drain()
    old_receiver.plan(Answer(status=500))
    shop.enqueue("pi_1", EventType.SUCCEEDED, sequence=2)
    shop.enqueue("pi_1", EventType.ATTENTION, sequence=3)
    await drain()
    assert types(old_receiver) == ["payment.processing", "payment.succeeded"]


async def test_order_is_kept_per_endpoint(shop, receiver, drain):
    """One endpoint's failure of the first event does not delay the second event at another endpoint."""
    shop.endpoint(receiver=receiver, path="/bad")
    shop.endpoint(receiver=receiver, path="/good")
    receiver.always(Answer(status=500), path="/bad")
    shop.enqueue("pi_1", EventType.FAILED, sequence=1)
    shop.enqueue("pi_1", EventType.SUCCEEDED, sequence=2)
    await drain()
    assert types(receiver, "/bad") == ["payment.failed"]
    assert types(receiver, "/good") == ["payment.failed", "payment.succeeded"]


async def test_a_hanging_endpoint_does_not_delay_another(shop, receiver, make_worker, running):
    gate = asyncio.Event()
    shop.endpoint(receiver=receiver, path="/slow")
    shop.endpoint(receiver=receiver, path="/fast")
    receiver.always(Answer(gate=gate), path="/slow")
    for number in range(40):
        shop.enqueue(f"pi_{number}")
    async with running(make_worker(concurrency=10, endpoint_concurrency=4, timeout=60.0)):
        await receiver.wait_for(40, path="/fast")
        assert len(receiver.at("/slow")) == 4, "the slow one has its own slots and no more"
        gate.set()
        await receiver.wait_for(40, path="/slow")
    assert {row.status for row in shop.deliveries()} == {"delivered"}


async def test_an_endpoint_that_is_down_gets_one_probe_at_a_time_and_the_rest_waits_without_attempts(
    shop, old_receiver, drain, clock
):
    id_ = shop.endpoint(receiver=old_receiver)
    old_receiver.always(Answer(status=503))
    for number in range(BREAKER_FAILURES):
        shop.enqueue(f"pi_{number}")
    await drain()
    assert len(old_receiver.arrivals) == BREAKER_FAILURES
    for number in range(BREAKER_FAILURES, 20):
        shop.enqueue(f"pi_{number}")
    await drain()
    assert len(old_receiver.arrivals) == BREAKER_FAILURES, "the breaker is open"
    clock.advance(30)
    await drain()
    assert len(old_receiver.arrivals) == BREAKER_FAILURES + 1, "one probe"
    assert sum(row.attempts for row in shop.deliveries(id_)) == BREAKER_FAILURES + 1
    old_receiver.always(Answer())
    clock.advance(30)
    await drain()
    clock.advance(60)
    await drain()
    assert {row.status for row in shop.deliveries(id_)} == {"delivered"}


def test_claiming_is_fair_among_endpoints(shop, engine, clock):
    """Two hundred rows of one endpoint leave room for the two of another that came later."""
    big, small = shop.endpoint(events=["payment.succeeded"]), shop.endpoint(events=["payment.failed"])
    for number in range(200):
        shop.enqueue(f"pi_{number}")
    for number in range(2):
        shop.enqueue(f"pi_late_{number}", EventType.FAILED)
    with engine.begin() as conn:
        claims = queue.claim(
            conn, lease="l", now=clock(), leased_until=clock() + 9, room=10, endpoint_cap=100
        ).claims
    assert len(claims) == 10
    counts = Counter(claimed.endpoint for claimed in claims)
    assert counts == {big: 8, small: 2}


@pytest.mark.parametrize("busy", [0, 500])
def test_every_query_of_the_worker_is_served_by_an_index(shop, engine, clock, busy):
    """No plan scans a table or a whole index, except for endpoints' rows that are looked up one by one."""
    id_ = shop.endpoint()
    with engine.begin() as conn:
        rows = [
            {
                "id": f"we_{number}",
                "merchant": "m",
                "url": "u",
                "events": [],
                "status": "enabled",
                "legacy_v0": False,
                "secrets": [],
                "created_at": 0.0,
            }
            for number in range(busy)
        ]
        if rows:
            conn.execute(insert(endpoint), rows)
        values = {"now": clock(), "the_endpoint": id_, "the_limit": 8}
        for query in (queue.candidates_query(), queue.due_query()):
            known = {name: value for name, value in values.items() if name in query.compile(engine).params}
            compiled = query.params(known).compile(engine, compile_kwargs={"literal_binds": True})
            if engine.dialect.name == "sqlite":
                plan = [row.detail for row in conn.execute(text(f"EXPLAIN QUERY PLAN {compiled}"))]
                scans = [line for line in plan if line.startswith("SCAN")]
                helpers = ("hop", "CONSTANT ROW")
            else:
                # On small tables a scan would be the right plan, so it is made expensive.
                conn.execute(text("SET LOCAL enable_seqscan = off"))
                plan = [row[0] for row in conn.execute(text(f"EXPLAIN {compiled}"))]
                scans = [line for line in plan if "Seq Scan on" in line]
                helpers = ()
            assert plan
            assert all(any(name in line for name in helpers) for line in scans), plan
