"""Benchmark of webhook delivery: ``make bench-notifier``. Bounded, on loopback, with the daemon's worker.

All measurements commit events and deliveries by the daemon's own code, sign each POST and log each attempt,
on a database as the daemon opens it (SQLite: WAL, ``synchronous=FULL``), in a process set up like the
daemon's. The receiver is a process of its own that reads requests and answers 204; it verifies no signature,
so that only the worker is measured. Both share this machine.

* backlog: events to 20 endpoints, written while the worker is off, then delivered; deliveries per second.
* steady: 50 events per second, each to one of 20 endpoints, from commit to arrival; p50 and p99 in
  milliseconds.
* hanging: the same while one endpoint never answers; figures of the other 19, and their ratio to steady.
"""

import argparse
import asyncio
import json
import multiprocessing
import resource
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from notifier import endpoints, outbox
from notifier.delivery_limits import DeliveryLimits
from notifier.events import EventType, event_body, event_id
from notifier.secrets import PLAIN, SecretStore
from notifier.ssrf import CheckedUrl
from notifier.worker import Worker
from watcher.daemon import main as daemon_main
from watcher.store.database import Database

ENDPOINTS = 20
BODY_NOTE = "x" * 400  # makes a body of about 600 bytes
ANSWER = b"HTTP/1.1 204 No Content\r\n\r\n"


class Sink(asyncio.Protocol):
    """Receiver's side of one connection: answers each request, except to paths that hang."""

    arrivals: dict[bytes, float] = {}  # noqa: RUF012 (one process, one sink)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._buffer = b""

    def data_received(self, data: bytes) -> None:
        """Split the bytes into requests by their Content-Length."""
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end]
            size = int(_value(head, b"content-length"))
            if len(self._buffer) < end + 4 + size:
                return
            self._buffer = self._buffer[end + 4 + size :]
            self.arrivals[_value(head, b"webhook-id") + head.split(b" ", 2)[1]] = time.monotonic()
            if b" /hang" not in head[:20]:
                self._transport.write(ANSWER)


def _value(head: bytes, name: bytes) -> bytes:
    at = head.lower().index(b"\r\n" + name + b":") + len(name) + 3
    return head[at:].split(b"\r\n", 1)[0].strip()


def sink(listener: socket.socket, pipe: Connection) -> None:
    """Serve until the pipe closes; answer each message on it with the arrivals so far."""

    async def serve() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Sink, sock=listener)
        async with server:
            while await loop.run_in_executor(None, _asked, pipe):
                pipe.send(dict(Sink.arrivals))
                Sink.arrivals.clear()

    asyncio.run(serve())


def _asked(pipe: Connection) -> bool:
    try:
        pipe.recv()
    except EOFError:
        return False
    return True


class Shop:
    """A merchant with endpoints at the sink."""

    def __init__(self, database: Database, base: str, secret_store: SecretStore) -> None:
        self.database = database
        self.count = 0
        self.ids = []
        with database.begin() as connection:
            for number in range(ENDPOINTS):
                made, _ = endpoints.create(
                    connection,
                    merchant=f"mer_{number}",
                    url=CheckedUrl(f"{base}/{number}"),
                    events=["*"],
                    secret_store=secret_store,
                    now=time.time(),
                )
                self.ids.append(made.id)

    def hang(self, base: str) -> None:
        """Make the first endpoint hang."""
        with self.database.begin() as connection:
            endpoints.modify(connection, self.ids[0], url=CheckedUrl(f"{base}/hang"))

    def write(self, events: int) -> list[str]:
        """Write events, each for the next endpoint, in one transaction; return their ids."""
        written, now = [], time.time()
        with self.database.begin() as connection:
            for _ in range(events):
                intent = f"pi_{self.count}"
                id_ = event_id(intent, EventType.SUCCEEDED, 0)
                body = event_body(
                    id=id_, type=EventType.SUCCEEDED, created_at=now, sequence=1, data={"note": BODY_NOTE}
                )
                row = outbox.EventRow(
                    id=id_,
                    intent=intent,
                    merchant=f"mer_{self.count % ENDPOINTS}",
                    type=EventType.SUCCEEDED,
                    n=0,
                    sequence=1,
                    body=body,
                    created_at=int(now),
                )
                outbox.enqueue(connection, row, now=now)
                written.append(id_)
                self.count += 1
        return written


def make_worker(database: Database, secret_store: SecretStore) -> Worker:
    """Make a worker with the default settings."""
    return Worker(
        database,
        user_agent="bench",
        limits=DeliveryLimits(allow_http=True, allow_private=True),
        secret_store=secret_store,
    )


async def backlog(shop: Shop, worker: Worker, pipe: Connection, events: int) -> dict[str, Any]:
    """Measure the throughput of a backlog."""
    for start in range(0, events, 1000):
        shop.write(min(1000, events - start))
    began, cpu = time.monotonic(), time.process_time()
    assert await worker.drain(time.monotonic() + 120), "not done within two minutes"
    seconds, cpu = time.monotonic() - began, time.process_time() - cpu
    assert len(ask(pipe)) == events, "every delivery arrived"
    return {
        "deliveries": events,
        "per_second": round(events / seconds),
        "cpu_ms_per_delivery": round(1000 * cpu / events, 3),
    }


async def steady(shop: Shop, worker: Worker, pipe: Connection, seconds: float) -> dict[str, Any]:
    """Measure the latency of events from commit to arrival, at 50 per second."""
    stop, committed = asyncio.Event(), {}
    task = asyncio.create_task(worker.run(stop))
    began = time.monotonic()
    for number in range(int(50 * seconds)):
        await asyncio.sleep(max(0.0, began + number / 50 - time.monotonic()))
        [id_] = await asyncio.to_thread(shop.write, 1)
        committed[id_] = (time.monotonic(), shop.count - 1)
        worker.wake()
    await asyncio.sleep(1.0)
    arrivals = ask(pipe)
    stop.set()
    await task
    # Without the first second, in which connections are opened, and without the endpoint that may hang.
    waits = sorted(
        1000 * (arrivals[f"{id_}/{number % ENDPOINTS}".encode()] - at)
        for id_, (at, number) in list(committed.items())[50:]
        if number % ENDPOINTS
    )
    return {
        "events": len(waits),
        "p50_ms": round(waits[len(waits) // 2], 1),
        "p99_ms": round(waits[int(len(waits) * 0.99)], 1),
        "max_ms": round(waits[-1], 1),
    }


def ask(pipe: Connection) -> dict[bytes, float]:
    """Return the arrivals at the sink since the last call."""
    pipe.send("arrivals")
    found: dict[bytes, float] = pipe.recv()
    return found


@contextmanager
def receiving() -> Iterator[tuple[str, Connection]]:
    """Run the sink; yield its base URL and the pipe to it."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listener:
        process = context.Process(target=sink, args=(listener, theirs), daemon=True)
        process.start()
        theirs.close()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}", ours
        finally:
            ours.close()
            process.join(10)


@contextmanager
def postgresql(folder: Path) -> Iterator[str]:
    """Run a PostgreSQL server with durable writes, unlike the tests'; yield the URL of an empty database."""
    from tests import postgresql as cluster

    setattr(cluster, "_FAST", ("listen_addresses=",))  # noqa: B010 (a shorter tuple, for once)
    server = cluster.Server()
    try:
        yield server.create("bench")
    finally:
        server.stop()


@contextmanager
def sqlite(folder: Path) -> Iterator[str]:
    """Yield the URL of an SQLite file."""
    yield f"sqlite:///{folder}/bench.db"


async def measure(url: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Run all measurements on one database."""
    database = Database(url)
    database.upgrade()
    secret_store = SecretStore([bytes(32)]) if arguments.sealed else PLAIN
    try:
        with receiving() as (base, pipe):
            shop = Shop(database, base, secret_store)
            figures: dict[str, Any] = {}
            worker = make_worker(database, secret_store)
            await backlog(shop, worker, pipe, 200)  # warms up
            runs = [await backlog(shop, worker, pipe, arguments.events) for _ in range(arguments.runs)]
            figures["backlog"] = sorted(runs, key=lambda run: run["per_second"])[len(runs) // 2]
            figures["backlog"]["all_runs"] = [run["per_second"] for run in runs]
            figures["steady"] = await steady(shop, worker, pipe, arguments.seconds)
            shop.hang(base)
            figures["hanging"] = await steady(shop, worker, pipe, arguments.seconds)
            figures["hanging"]["p99_to_steady"] = round(
                figures["hanging"]["p99_ms"] / figures["steady"]["p99_ms"], 2
            )
            figures["peak_rss_mib"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
            return figures
    finally:
        database.close()


def main() -> None:
    """Measure and print one JSON document."""
    parser = argparse.ArgumentParser(description="How fast webhooks go out.")
    parser.add_argument("--events", type=int, default=10_000, help="deliveries in a backlog")
    parser.add_argument("--runs", type=int, default=3, help="backlogs, of which the median counts")
    parser.add_argument("--seconds", type=float, default=8.0, help="how long 50 events a second are written")
    parser.add_argument("--databases", default="sqlite,postgresql")
    parser.add_argument("--sealed", action="store_true", help="with encrypted secrets")
    arguments = parser.parse_args()
    figures = {}
    daemon_main.tune_garbage_collector()
    for name in arguments.databases.split(","):
        with (
            tempfile.TemporaryDirectory() as folder,
            {"sqlite": sqlite, "postgresql": postgresql}[name](Path(folder)) as url,
        ):
            figures[name] = asyncio.run(measure(url, arguments))
    json.dump(figures, sys.stdout, indent=2)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
