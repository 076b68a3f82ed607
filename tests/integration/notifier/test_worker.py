"""Life cycle of a delivery: sent, retried on schedule, dead, held; over real sockets."""

import asyncio
import itertools
import time
from contextlib import contextmanager

import pytest
import stripe
from standardwebhooks import Webhook
from svix.webhooks import Webhook as SvixWebhook

from notifier import deliveries, endpoints
from notifier.events import EventType
from notifier.retry import DEFAULT_SCHEDULE
from notifier.secrets import PLAIN
from notifier.testing import Answer, plan_of


def show(engine, id_):
    with engine.begin() as conn:
        return deliveries.show(conn, id_)


async def test_what_goes_over_the_socket_satisfies_every_public_verifier(
    shop, engine, receiver, drain, clock
):
    endpoint = shop.endpoint(receiver=receiver, legacy_v0=True)
    old = shop.secrets[endpoint]
    with engine.begin() as conn:
        _, current = endpoints.rotate_secret(conn, endpoint, secret_store=PLAIN, now=clock())
    id_ = shop.enqueue()
    await drain()
    [arrival] = receiver.arrivals
    assert arrival.refused is None
    for secret in (old, current):
        assert Webhook(secret).verify(arrival.body, arrival.headers)["id"] == id_
        SvixWebhook(secret).verify(arrival.body, arrival.headers)
        stripe.Webhook.construct_event(arrival.body, arrival.headers["x-webhook-signature"], secret)
    assert arrival.body == shop.row().body
    assert arrival.headers["content-type"] == "application/json"
    assert arrival.headers["user-agent"] == "sbtc-watcher/0"
    assert arrival.headers["webhook-id"] == id_
    assert ",v0=" in arrival.headers["x-webhook-signature"]


async def test_after_the_overlap_only_the_current_secret_signs(shop, engine, old_receiver, drain, clock):
    endpoint = shop.endpoint(receiver=old_receiver)
    with engine.begin() as conn:
        _, current = endpoints.rotate_secret(conn, endpoint, secret_store=PLAIN, now=clock(), overlap=60)
    clock.advance(60)
    old_receiver.trust(current)
    shop.enqueue()
    await drain()
    [arrival] = old_receiver.arrivals
    assert arrival.refused is None
    assert " " not in arrival.headers["webhook-signature"]


async def test_a_success_is_stored_with_its_log(shop, engine, receiver, drain, clock):
    endpoint = shop.endpoint(receiver=receiver)
    event = shop.enqueue()
    receiver.plan(Answer(status=204))
    seen = []
    assert await drain(on_attempt=lambda result, seconds: seen.append((result, seconds)))
    row = shop.delivery()
    document = show(engine, row.id)
    log = document.pop("log")
    stamp = document["created_at"]
    assert document == {
        "id": row.id,
        "event": event,
        "event_type": "payment.succeeded",
        "endpoint": endpoint,
        "status": "delivered",
        "attempts": 1,
        "next_attempt_at": None,
        "last_status_code": 204,
        "last_error": None,
        "created_at": stamp,
        "delivered_at": stamp,
        "dismissed_at": None,
    }
    assert log == [
        {
            "number": 1,
            "at": stamp,
            "duration_ms": log[0]["duration_ms"],
            "status_code": 204,
            "error": None,
            "response": "",
        }
    ]
    assert [result for result, _ in seen] == ["delivered"]
    assert 0 < seen[0][1] < 5


async def test_the_latency_is_taken_once_per_event_at_its_first_attempt(shop, engine, receiver, drain, clock):
    """From first sight of the event's cause to the start of its first attempt, whatever its outcome."""
    shop.endpoint(receiver=receiver)
    receiver.plan(Answer(status=500))
    clock.advance(2.5)
    event = shop.enqueue(seen_at=clock() - 2.5)
    shop.enqueue("pi_2", seen_at=None)
    seen, results = [], []

    async def once():
        await drain(on_first_attempt=seen.append, on_attempt=lambda result, _: results.append(result))

    await once()
    assert seen == [2.5]
    clock.advance(60)
    await once()
    with engine.begin() as conn:
        deliveries.redeliver(conn, event, now=clock())
    await once()
    assert seen == [2.5], "neither at a retry nor at a resend"
    assert sorted(results) == ["delivered", "delivered", "delivered", "pending"]


async def test_failures_follow_the_schedule_under_one_id_and_then_the_delivery_is_dead(
    shop, engine, old_receiver, drain, clock
):
    shop.endpoint(receiver=old_receiver)
    old_receiver.always(Answer(status=404, body=b"no such shop"))
    event = shop.enqueue()
    for number, wait in enumerate(DEFAULT_SCHEDULE, start=1):
        if wait:
            clock.advance(wait - 1)
            await drain()
            assert len(old_receiver.arrivals) == number - 1, "nothing is sent too early"
            clock.advance(1)
        await drain()
        assert len(old_receiver.arrivals) == number
    row = shop.delivery()
    assert (row.status, row.attempts, row.last_status_code, row.next_attempt_at) == ("dead", 10, 404, None)
    assert {arrival.id for arrival in old_receiver.arrivals} == {event}
    assert len({arrival.body for arrival in old_receiver.arrivals}) == 1
    stamps = [int(arrival.headers["webhook-timestamp"]) for arrival in old_receiver.arrivals]
    assert [later - earlier for earlier, later in itertools.pairwise(stamps)] == list(DEFAULT_SCHEDULE[1:])
    assert all(arrival.refused is None for arrival in old_receiver.arrivals), "each attempt is signed afresh"
    log = show(engine, row.id)["log"]
    assert [entry["number"] for entry in log] == list(range(1, 11))
    assert {entry["response"] for entry in log} == {"no such shop"}
    clock.advance(10 * 86400)
    await drain()
    assert len(old_receiver.arrivals) == 10


@pytest.mark.parametrize(
    ("answer", "wait"),
    [
        (Answer(status=429, headers={"Retry-After": "600"}), 600),
        (Answer(status=503, headers={"Retry-After": "600"}), 600),
        (Answer(status=429, headers={"Retry-After": "5"}), 60),
        (Answer(status=429, headers={"Retry-After": "9999999"}), 86400),
        (Answer(status=500, headers={"Retry-After": "600"}), 60),
        (Answer(status=429, headers={"Retry-After": "nonsense"}), 60),
        (Answer(status=429, headers={"Retry-After": "Thu, 01 Jan 1970 00:00:00 GMT"}), 60),
        (Answer(status=503, headers={"Retry-After": "Fri, 31 Dec 9999 23:59:59 GMT"}), 86400),
        (Answer(status=429, headers={"Retry-After": "Mon, 01 Jan 99999999999 00:00:00 GMT"}), 60),
        (Answer(status=503, headers={"Retry-After": "Mon, 01 Jan 99999999999 00:00:00 GMT"}), 60),
        (Answer(status=429), 60),
    ],
)
async def test_retry_after_is_honoured_where_it_means_something(shop, receiver, drain, clock, answer, wait):
    shop.endpoint(receiver=receiver)
    receiver.plan(answer)
    shop.enqueue()
    await drain()
    assert shop.delivery().next_attempt_at == clock() + wait


async def test_jitter_makes_waits_longer_only(shop, receiver, drain, clock):
    shop.endpoint(receiver=receiver)
    receiver.plan(Answer(status=500))
    shop.enqueue()
    await drain(jitter=lambda: 1.0)
    assert shop.delivery().next_attempt_at == pytest.approx(clock() + 66)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirect_is_a_failure_and_not_followed(shop, receiver, drain, status):
    shop.endpoint(receiver=receiver, path="/here")
    receiver.plan(Answer(status=status, headers={"Location": receiver.url("/there")}), path="/here")
    shop.enqueue()
    await drain()
    assert [arrival.path for arrival in receiver.arrivals] == ["/here"]
    assert (shop.delivery().status, shop.delivery().last_status_code) == ("pending", status)


async def test_gone_disables_the_endpoint_and_holds_all_that_is_left(shop, engine, receiver, drain, clock):
    endpoint = shop.endpoint(receiver=receiver)
    receiver.plan(Answer(status=410))
    gone = shop.enqueue("pi_1")
    waiting = shop.enqueue("pi_1", EventType.FAILED, sequence=2)
    await drain()
    with engine.begin() as conn:
        found = endpoints.get(conn, endpoint)
    assert (found.status, found.disabled_reason) == ("disabled", "gone")
    assert [(row.status, row.next_attempt_at) for row in shop.deliveries()] == [
        ("held", None),
        ("held", None),
    ]
    later = shop.enqueue("pi_2")
    await drain()
    assert len(receiver.arrivals) == 1
    with engine.begin() as conn:
        endpoints.enable(conn, endpoint, now=clock())
    await drain()
    assert {row.status for row in shop.deliveries()} == {"delivered"}
    assert {arrival.id for arrival in receiver.arrivals} == {gone, waiting, later}


async def test_a_dropped_connection_and_a_closed_port_are_failures_with_a_reason(
    shop, receiver, drain, engine
):
    dropping = shop.endpoint(receiver=receiver, path="/drop")
    receiver.plan(Answer(drop=True), path="/drop")
    closed = shop.endpoint("http://127.0.0.1:1/x")
    shop.enqueue()
    await drain()
    for endpoint in (dropping, closed):
        row = shop.delivery(endpoint)
        assert (row.status, row.attempts, row.last_status_code) == ("pending", 1, None)
        assert row.last_error


async def test_an_endpoint_that_only_failed_for_five_days_is_disabled_and_enabling_it_sends_what_is_held(
    shop, engine, old_receiver, drain, clock
):
    endpoint = shop.endpoint(receiver=old_receiver)
    old_receiver.always(Answer(status=400))
    for number in range(11):
        shop.enqueue(f"pi_{number}")
        await drain()
        clock.advance(86400 / 2)
    with engine.begin() as conn:
        found = endpoints.get(conn, endpoint)
    assert (found.status, found.disabled_reason) == ("disabled", "failing")
    held = [row for row in shop.deliveries() if row.status == "held"]
    assert held
    old_receiver.always(Answer())
    with engine.begin() as conn:
        endpoints.enable(conn, endpoint, now=clock())
    await drain()
    assert {row.status for row in shop.deliveries()} == {"delivered"}


async def test_one_success_starts_the_five_days_anew(shop, engine, old_receiver, drain, clock):
    endpoint = shop.endpoint(receiver=old_receiver)
    old_receiver.always(Answer(status=400))
    for number in range(8):
        shop.enqueue(f"pi_{number}")
        await drain()
        clock.advance(86400 / 2)
    old_receiver.plan(Answer())
    for number in range(8, 14):
        shop.enqueue(f"pi_{number}")
        await drain()
        clock.advance(86400 / 2)
    with engine.begin() as conn:
        assert endpoints.get(conn, endpoint).status == "enabled"


async def test_a_body_that_trickles_after_a_success_does_not_matter(shop, drain, clock):
    """The status decides; the connection is dropped at the timeout."""

    async def trickle(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nx")
        await writer.drain()
        await reader.read()
        writer.close()

    server = await asyncio.start_server(trickle, "127.0.0.1", 0)
    async with server:
        shop.endpoint(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
        shop.enqueue()
        await drain(timeout=0.2)
    assert shop.delivery().status == "delivered"


async def test_a_running_worker_delivers_when_woken_and_retries_by_itself(
    shop, receiver, make_worker, running, engine
):
    shop.endpoint(receiver=receiver)
    receiver.plan(*plan_of([500, 500]))
    worker = make_worker(schedule=(0, 0.01, 0.01), clock=time.time, poll_interval=60)
    async with running(worker):
        shop.enqueue()
        worker.wake()
        await receiver.wait_for(3)
    assert shop.delivery().status == "delivered"
    assert len({arrival.id for arrival in receiver.arrivals}) == 1


async def test_a_worker_that_is_not_woken_polls_by_itself(shop, receiver, make_worker, running):
    shop.endpoint(receiver=receiver)
    async with running(make_worker(poll_interval=0.01)):
        shop.enqueue()
        await receiver.wait_for(1)


async def test_deliveries_are_never_more_at_once_than_allowed(shop, engine, receiver, make_worker, running):
    """Twenty due rows, three slots: at most three are open however often it polls, and all arrive."""
    gate, loop, polled = asyncio.Event(), asyncio.get_running_loop(), asyncio.Queue()

    class Counting:
        @contextmanager
        def begin(self):
            with engine.begin() as conn:
                yield conn
            loop.call_soon_threadsafe(polled.put_nowait, None)

    for number in range(4):
        shop.endpoint(receiver=receiver, path=f"/{number}")
        receiver.always(Answer(gate=gate), path=f"/{number}")
    for number in range(5):
        shop.enqueue(f"pi_{number}")
    async with running(make_worker(database=Counting(), concurrency=3)) as worker, asyncio.timeout(20):
        await receiver.wait_for(3)
        for _ in range(3):
            worker.wake()
            await polled.get()
        assert sum(row.lease is not None for row in shop.deliveries()) == 3
        gate.set()
        await receiver.wait_for(20)
    assert {row.status for row in shop.deliveries()} == {"delivered"}
