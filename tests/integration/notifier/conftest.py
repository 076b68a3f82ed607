# ruff: noqa: A002 (an event has a type)
"""Fixtures: SQLite and PostgreSQL databases, a manual clock, a merchant with a receiver."""

import asyncio
import time
from contextlib import asynccontextmanager
from dataclasses import fields

import pytest
from sqlalchemy import create_engine, event, select

from notifier import endpoints, outbox, ssrf
from notifier.delivery_limits import DeliveryLimits
from notifier.events import DEFAULT_EVENTS, EventType, event_body, event_id
from notifier.schema import delivery, metadata
from notifier.secrets import PLAIN
from notifier.testing import Receiver
from notifier.worker import Worker
from tests import harness


class Clock:
    """Manual clock that starts at this machine's time, because receivers check the age of signatures."""

    def __init__(self):
        self.now = float(int(time.time()))

    def __call__(self):
        return self.now

    def advance(self, seconds):
        self.now += seconds


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def engine(tmp_path, backend):
    """A database as the daemon opens it."""
    if backend == "postgresql":
        made = create_engine(harness.database_url(tmp_path))  # it has the schema
        yield made
        made.dispose()
        return
    made = create_engine(f"sqlite:///{tmp_path / 'notifier.db'}", connect_args={"timeout": 10})

    @event.listens_for(made, "connect")
    def set_up(connection, _record):
        connection.isolation_level = None
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA foreign_keys=ON")

    @event.listens_for(made, "begin")
    def begin(connection):
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    metadata.create_all(made)
    yield made
    made.dispose()


@pytest.fixture
async def receiver():
    async with Receiver() as server:
        yield server


@pytest.fixture
async def old_receiver():
    """A receiver that accepts old timestamps, for tests that move the clock by hours."""
    async with Receiver(check_age=False) as server:
        yield server


class Shop:
    """One merchant: shortcuts to write endpoints and events into the database."""

    def __init__(self, engine, clock):
        self.engine = engine
        self.clock = clock
        self.secrets = {}
        self.secret_store = PLAIN

    def endpoint(
        self, url="https://shop.example/x", *, receiver=None, path="/", events=DEFAULT_EVENTS, **more
    ):
        """Create an endpoint (at a receiver's path, which then trusts its secret) and return its id."""
        if receiver is not None:
            url = receiver.url(path)
        with self.engine.begin() as conn:
            made, secret = endpoints.create(
                conn,
                merchant="mer_1",
                url=ssrf.CheckedUrl(url),
                events=events,
                secret_store=self.secret_store,
                now=self.clock(),
                **more,
            )
        self.secrets[made.id] = secret
        if receiver is not None:
            receiver.trust(secret, path)
        return made.id

    def row(self, intent="pi_1", type=EventType.SUCCEEDED, n=0, sequence=1, **more):
        id_ = event_id(intent, type, n)
        values = {
            "id": id_,
            "intent": intent,
            "merchant": "mer_1",
            "type": type,
            "n": n,
            "sequence": sequence,
            "body": event_body(
                id=id_,
                type=type,
                created_at=self.clock(),
                sequence=sequence,
                data={"payment_intent": {"id": intent, "note": "€"}},
            ),
            "created_at": int(self.clock()),
        }
        return outbox.EventRow(**values | more)

    def enqueue(self, intent="pi_1", type=EventType.SUCCEEDED, n=0, sequence=1, **more):
        """Enqueue an event and return its id."""
        row = self.row(intent, type, n, sequence, **more)
        with self.engine.begin() as conn:
            assert outbox.enqueue(conn, row, now=self.clock())
        return row.id

    def deliveries(self, endpoint=None):
        """Return the rows of the delivery table in order of their ids."""
        query = select(delivery).order_by(delivery.c.id)
        if endpoint is not None:
            query = query.where(delivery.c.endpoint == endpoint)
        with self.engine.begin() as conn:
            return list(conn.execute(query))

    def delivery(self, endpoint=None):
        """Return the only row of the delivery table."""
        [row] = self.deliveries(endpoint)
        return row


@pytest.fixture
def shop(engine, clock):
    return Shop(engine, clock)


@pytest.fixture
def make_worker(engine, clock):
    """Return a function that makes a worker without jitter, for local plain-http receivers."""

    def make(*, database=engine, **settings):
        limits = {"allow_http": True, "allow_private": True, "timeout": 5.0}
        others = {"user_agent": "sbtc-watcher/0", "clock": clock, "jitter": lambda: 0.0}
        names = {field.name for field in fields(DeliveryLimits)}
        for name, value in settings.items():
            (limits if name in names else others)[name] = value
        return Worker(database, limits=DeliveryLimits(**limits), **others)

    return make


@pytest.fixture
def drain(make_worker):
    """Return a coroutine function that delivers what is due now."""

    async def once(**settings):
        return await make_worker(**settings).drain(time.monotonic() + 20)

    return once


@pytest.fixture
def running():
    """Return an async context manager that runs a worker and stops it at the end."""

    @asynccontextmanager
    async def run(worker):
        stop = asyncio.Event()
        task = asyncio.create_task(worker.run(stop))
        try:
            yield worker
        finally:
            stop.set()
            async with asyncio.timeout(20):
                await task

    return run
