"""Two notifier processes on one database: killed, stopped, sharing the work."""

import asyncio
import signal
import sys
import time
from collections import Counter
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from notifier.testing import Answer
from tests import harness

PROGRAM = Path(__file__).with_name("worker_process.py")
ROOT = Path(__file__).parents[3]

TIMEOUT, MARGIN = 2.5, 0.5


@pytest.fixture
def engine(tmp_path, backend):
    """The database as the daemon opens it, at the URL that the processes get."""
    database = harness.open_database(tmp_path)
    yield database.engine
    database.close()


@pytest.fixture
def clock():
    """The machine's clock, which the processes use too."""
    return time.time


@pytest.fixture
def worker(tmp_path, engine):
    """Return a context manager that runs a worker process; its name is in every request."""

    @asynccontextmanager
    async def run(name, *, limit=TIMEOUT, grace=0.2):
        arguments = (harness.database_url(tmp_path), name, limit, MARGIN, grace)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, PROGRAM, *map(str, arguments)),
            cwd=ROOT,
            env={"PYTHONPATH": str(ROOT)},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(30):
                await process.stdout.readline()
            yield process
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()

    return run


def by(arrival):
    return arrival.headers["user-agent"]


async def until(condition, *, within=20.0):
    """Poll until a condition on the database holds."""
    async with asyncio.timeout(within):
        while not await asyncio.to_thread(condition):  # noqa: ASYNC110 (another process writes it)
            await asyncio.sleep(0.02)


async def test_nothing_is_lost_with_a_killed_process_and_nothing_is_sent_twice_while_a_lease_holds(
    shop, receiver, worker
):
    """One is killed during six attempts; the other one sends those again when their leases have expired."""
    paths, gate = ["/a", "/b", "/c"], asyncio.Event()
    for path in paths:
        shop.endpoint(receiver=receiver, path=path)
        receiver.always(Answer(gate=gate), path=path)
    async with worker("one") as one, worker("two"):
        # Three endpoints of four slots each are two processes of six.
        events = [await asyncio.to_thread(shop.enqueue, f"pi_{number}") for number in range(40)]
        await receiver.wait_for(12)
        assert Counter(by(arrival) for arrival in receiver.arrivals) == {"one": 6, "two": 6}
        one.send_signal(signal.SIGKILL)
        await one.wait()
        gate.set()
        await until(lambda: all(row.status == "delivered" for row in shop.deliveries()))
    received = Counter((arrival.path, arrival.id) for arrival in receiver.arrivals)
    assert set(received) == {(path, event) for path in paths for event in events}, "nothing is lost"
    lost = {(arrival.path, arrival.id) for arrival in receiver.arrivals if by(arrival) == "one"}
    assert {key for key, count in received.items() if count > 1} == lost, (
        "only what the dead one had under way"
    )
    for key in lost:
        first, second = [arrival for arrival in receiver.arrivals if (arrival.path, arrival.id) == key]
        assert (by(first), by(second)) == ("one", "two")
        assert second.at - first.at > TIMEOUT, "not before the lease had run out"
    assert all(arrival.refused is None for arrival in receiver.arrivals)


async def test_two_processes_share_an_endpoints_slots(shop, receiver, worker):
    """The concurrency limit of an endpoint holds over all processes."""
    gate = asyncio.Event()
    shop.endpoint(receiver=receiver)
    receiver.always(Answer(gate=gate))
    for number in range(30):
        shop.enqueue(f"pi_{number}")
    async with worker("one", limit=30), worker("two", limit=30):
        await receiver.wait_for(4)
        await asyncio.sleep(0.5)  # several polls of both
        assert len(receiver.arrivals) == 4
        gate.set()
        await receiver.wait_for(30)
        await until(lambda: all(row.status == "delivered" for row in shop.deliveries()))
    assert len(receiver.arrivals) == 30


async def test_a_stopped_process_hands_back_what_it_holds_at_once(shop, receiver, worker):
    gate = asyncio.Event()
    shop.endpoint(receiver=receiver)
    receiver.plan(*[Answer(gate=gate)] * 4)
    for number in range(10):
        shop.enqueue(f"pi_{number}")
    async with worker("one", limit=60) as one:
        await receiver.wait_for(4)
        one.send_signal(signal.SIGTERM)
        async with asyncio.timeout(10):
            assert await one.wait() == 0
    assert {(row.lease, row.attempts) for row in shop.deliveries() if row.status == "pending"} == {(None, 0)}
    async with worker("two"):
        await until(lambda: all(row.status == "delivered" for row in shop.deliveries()))
    assert {by(arrival) for arrival in receiver.arrivals[4:]} == {"two"}


async def test_a_stopped_process_settles_what_ends_within_its_grace(shop, receiver, worker):
    gate = asyncio.Event()
    shop.endpoint(receiver=receiver)
    receiver.always(Answer(gate=gate))
    for number in range(4):
        shop.enqueue(f"pi_{number}")
    async with worker("one", limit=60, grace=10) as one:
        await receiver.wait_for(4)
        one.send_signal(signal.SIGTERM)
        gate.set()
        async with asyncio.timeout(15):
            assert await one.wait() == 0
    assert {(row.status, row.attempts) for row in shop.deliveries()} == {("delivered", 1)}
    assert len(receiver.arrivals) == 4
