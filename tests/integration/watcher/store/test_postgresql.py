"""What is specific to PostgreSQL: limits of every session, locks in place of one writer, and retries."""

import asyncio
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import Connection, insert, select, text, update
from sqlalchemy.exc import InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from chain.api.client import StacksApi
from chain.source_pool import SourcePool
from chain.testing import principal, txs
from tests import harness
from tests.integration.watcher.ledger_fixture import PAYER, SHOP, LedgerFixture
from tests.postgresql import Server
from watcher.errors import ConfigError, Refused, Unreachable
from watcher.indexer.ledger import OutOfStep
from watcher.indexer.mempool import MempoolFlags
from watcher.schemas import ChangeMerchant, NewPaymentIntent
from watcher.services import intent_requests, merchants
from watcher.store import database as database_module
from watcher.store.database import Database
from watcher.store.schema import cursor, intent, status_count

OWN = principal("own address")


@pytest.fixture
def shared(tmp_path: Path, on_postgresql: Server) -> Iterator[LedgerFixture]:
    """A world on PostgreSQL."""
    fixture = LedgerFixture(tmp_path)
    yield fixture
    fixture.database.close()


def waits_for_a_lock(database: Database) -> bool:
    """Return whether a session of this database waits for another's lock."""
    query = text(
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    with database.engine.connect() as connection:
        return bool(connection.execute(query).scalar_one())


def while_cursor_is_held(fixture: LedgerFixture, other: Callable[[], object]) -> None:
    """Run ``other`` and see that it waits for the end of a transaction that holds the cursor."""
    with ThreadPoolExecutor(1) as threads:
        with fixture.database.begin() as connection:
            connection.execute(select(cursor).with_for_update())
            running = threads.submit(other)
            while not waits_for_a_lock(fixture.database):
                assert not running.done(), "it did not wait"
        running.result(20)


def test_every_session_has_limits_and_the_url_goes_first(shared: LedgerFixture) -> None:
    names = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")

    def limits(database: Database) -> dict[str, str]:
        with database.read() as connection:
            return {name: connection.execute(text(f"SHOW {name}")).scalar_one() for name in names}

    assert limits(shared.database) == dict(zip(names, ("30s", "10s", "15s"), strict=True))
    url = shared.database.url.update_query_dict({"options": "-c lock_timeout=3s", "application_name": "mine"})
    own = Database(url.render_as_string(hide_password=False))
    assert limits(own) == dict(zip(names, ("30s", "3s", "15s"), strict=True))
    with own.read() as connection:
        assert connection.execute(text("SHOW application_name")).scalar_one() == "mine"
    own.close()


def test_a_reader_cannot_write(shared: LedgerFixture) -> None:
    with pytest.raises(InternalError, match="read-only"), shared.database.read() as connection:
        connection.execute(insert(status_count).values(merchant_id="mer_X", status="x", count=1))
    with shared.database.begin() as connection:
        connection.execute(insert(status_count).values(merchant_id="mer_X", status="x", count=1))


def test_connections_are_bounded_and_waiting_for_one_ends(
    shared: LedgerFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "MAX_CONNECTIONS", 2)
    monkeypatch.setattr(database_module, "CONNECTION_TIMEOUT_SECONDS", 0.05)
    few = Database(harness.database_url(shared.folder))
    with few.read(), few.read(), pytest.raises(PoolTimeout), few.read():
        pass
    few.close()


def test_a_silent_transaction_is_ended_by_the_server(
    shared: LedgerFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a frozen process holds is free again soon."""
    monkeypatch.setattr(database_module, "IDLE_TIMEOUT_SECONDS", 1)
    frozen = Database(harness.database_url(shared.folder))

    def wake_up_late() -> None:
        with frozen.begin() as connection:
            connection.execute(select(cursor).with_for_update())
            shared.mine()  # waits for the row, and gets it
            connection.execute(select(cursor))

    with pytest.raises(InternalError, match="idle-in-transaction"):
        wake_up_late()
    frozen.close()


def test_a_step_waits_for_an_intent_that_is_being_made_and_finds_it(shared: LedgerFixture) -> None:
    """The intent and the money for it commit at the same time: one of the two sees the other."""
    request = NewPaymentIntent.of({"amount": 50_000, "level": "included", "reference": "inv-1"})
    made = []
    height = shared.chain.tip.height
    shared.chain.mine([txs.sbtc_transfer(PAYER, SHOP, 50_000, b"INV-1")])
    with ThreadPoolExecutor(1) as threads:
        with shared.database.begin() as connection:
            made.append(
                intent_requests.create(
                    connection,
                    request,
                    merchant_id=shared.merchant,
                    settings=shared.settings,
                    settler=shared.settler,
                    now=shared.clock(),
                )
            )
            running = threads.submit(shared.ledger.apply, shared.extend(height))
            while not waits_for_a_lock(shared.database):
                assert not running.done(), "the step did not wait"
        running.result(20)
    assert shared.status(made[0]) == "succeeded"


def test_operator_actions_wait_for_a_step(shared: LedgerFixture) -> None:
    first, second = shared.create(), shared.create()
    while_cursor_is_held(shared, lambda: shared.cancel(first))
    while_cursor_is_held(shared, lambda: shared.mark(second, "failed"))
    while_cursor_is_held(shared, lambda: shared.add_merchant("Other", principal("other")))
    assert (shared.status(first), shared.status(second)) == ("canceled", "failed")


def test_the_victim_of_a_deadlock_is_made_again(shared: LedgerFixture) -> None:
    """Two transactions lock two rows in opposite orders: the server ends one of them, and both succeed."""
    rows = [{"merchant_id": "mer_X", "status": status, "count": 0} for status in ("a", "b")]
    shared.database.transact(lambda connection: connection.execute(insert(status_count), rows))
    attempts: list[int] = []

    def add(connection: Connection, status: str) -> None:
        row = update(status_count).where(status_count.c.status == status)
        connection.execute(row.values(count=status_count.c.count + 1))

    def forwards(connection: Connection) -> None:
        attempts.append(1)
        # The server detects deadlocks for this session only, so it is this one that is rolled back.
        connection.execute(text("SET LOCAL deadlock_timeout = '10ms'"))
        add(connection, "a")
        holds_a.set()
        assert holds_b.wait(20)
        add(connection, "b")

    holds_a, holds_b = threading.Event(), threading.Event()
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(shared.database.transact, forwards)
        assert holds_a.wait(20)

        def backwards(connection: Connection) -> None:
            connection.execute(text("SET LOCAL deadlock_timeout = '60s'"))
            add(connection, "b")
            holds_b.set()
            add(connection, "a")

        second = threads.submit(shared.database.transact, backwards)
        first.result(30)
        second.result(30)
    with shared.database.read() as connection:
        counts = {row.status: row.count for row in connection.execute(select(status_count)) if row.count}
    assert counts["a"] == counts["b"] == 2
    assert len(attempts) == 2


def test_what_becomes_a_victim_again_and_again_is_given_up(shared: LedgerFixture) -> None:
    calls: list[int] = []

    def fail(connection: Connection) -> None:
        calls.append(1)
        connection.execute(text("DO $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '40001'; END $$"))

    with pytest.raises(OperationalError):
        shared.database.transact(fail)
    assert len(calls) == database_module.MAX_TRIES


def test_the_mempool_flags_wait_for_a_step(shared: LedgerFixture) -> None:
    """Steps and flags write the same intents in different orders; holding the cursor first separates them."""
    intent_id = shared.create()
    with shared.database.begin() as connection:
        connection.execute(update(intent).where(intent.c.id == intent_id).values(in_flight=True))
    # Without a reader nothing is shown, and no source is asked.
    pool = SourcePool([StacksApi("http://127.0.0.1:9")])
    flags = MempoolFlags(shared.database, pool, harness.RULES, None, interval=15.0)
    while_cursor_is_held(shared, lambda: asyncio.run(flags.poll()))
    assert shared.show(intent_id)["in_flight"] is False


def test_of_two_that_dedicate_one_recipient_before_the_chain_has_begun_one_is_refused(
    tmp_path: Path, on_postgresql: Server
) -> None:
    """There is no cursor to lock yet; the lock holds all the same."""
    fixture = LedgerFixture(tmp_path, begin=False)
    other = fixture.add_merchant("Other", principal("other"))
    together = threading.Barrier(2)

    def dedicate(merchant: str) -> str:
        together.wait(10)
        try:
            fixture.create(merchant, match="recipient", recipient=OWN)
        except Refused as error:
            return error.code
        return "created"

    with ThreadPoolExecutor(2) as threads:
        assert sorted(threads.map(dedicate, (fixture.merchant, other))) == ["created", "recipient_in_use"]
    fixture.database.close()


def test_of_two_that_begin_one_is_out_of_step(tmp_path: Path, on_postgresql: Server) -> None:
    fixture = LedgerFixture(tmp_path)
    with pytest.raises(OutOfStep, match="another process has begun"):
        fixture.begin()
    fixture.database.close()


def test_changing_a_merchants_recipient_takes_the_locks_in_the_order_of_intake(shared: LedgerFixture) -> None:
    """Else an intent in creation and a change of its merchant could wait for each other."""
    with ThreadPoolExecutor(1) as threads:

        def change() -> None:
            with shared.database.begin() as connection:
                merchants.change(
                    connection,
                    shared.settings,
                    shared.merchant,
                    ChangeMerchant(recipient=principal("moved")),
                    now=shared.clock(),
                )

        with shared.database.begin() as connection:
            connection.execute(select(cursor).with_for_update())
            running = threads.submit(change)
            while not waits_for_a_lock(shared.database):
                assert not running.done(), "it did not wait"
            merchants.find(connection, shared.merchant, lock=True)
        running.result(20)


def test_a_server_that_is_not_there_is_unreachable(tmp_path: Path) -> None:
    database = Database(f"postgresql+psycopg://nobody@/nothing?host={tmp_path}")
    with pytest.raises(Unreachable, match="does not answer"):
        database.upgrade()
    database.close()


def test_a_user_who_may_not_make_tables_gets_a_message(on_postgresql: Server) -> None:
    url = on_postgresql.create("guarded")
    owner = Database(url)
    with owner.begin() as connection:
        connection.execute(text("DROP ROLE IF EXISTS guest"))
        connection.execute(text("CREATE ROLE guest LOGIN"))
        connection.execute(text("REVOKE CREATE ON SCHEMA public FROM public"))
    guest = Database(url.replace("//postgres@", "//guest@"))
    with pytest.raises(ConfigError, match="permission denied") as caught:
        guest.upgrade()
    assert "db upgrade" in caught.value.hint
    guest.close()
    owner.close()


def test_without_the_driver_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(ConfigError, match="needs the Python package psycopg") as caught:
        Database("postgresql+psycopg://w:hunter2@db/watcher")
    assert "bin/pip install '.[postgres]'" in caught.value.hint
    assert "hunter2" not in str(caught.value)
