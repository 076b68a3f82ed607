"""The database: transactions that are whole or nothing, pragmas, exact amounts, and readable errors."""

import sqlite3
import stat
import threading
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, insert, select, text
from sqlalchemy.exc import IntegrityError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as TransactionTimeout

from notifier.statements import chunks
from tests import harness
from tests.integration.watcher.ledger_fixture import LedgerFixture
from watcher.errors import ConfigError, Unreachable
from watcher.reindex.dry_run import rolled_back
from watcher.store.database import Database
from watcher.store.schema import act, status_count
from watcher.store.schema import transfer as transfer_table


def test_sqlite_is_safe_against_power_loss_and_waits_for_writers(tmp_path: Path) -> None:
    database = harness.open_database(tmp_path)
    with database.read() as connection:
        pragmas = {
            name: connection.execute(text(f"PRAGMA {name}")).scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 10_000}
    database.close()


def test_a_block_that_raises_leaves_nothing(tmp_path: Path, backend: str) -> None:
    database = harness.open_database(tmp_path)

    def fail() -> None:
        with database.begin() as connection:
            connection.execute(insert(status_count).values(merchant_id="mer_X", status="pending", count=1))
            raise RuntimeError("half-way")

    with pytest.raises(RuntimeError):
        fail()
    with database.read() as connection:
        assert connection.execute(select(status_count)).all() == []
    database.close()


def test_a_reader_sees_one_moment_and_blocks_no_writer(tmp_path: Path, backend: str) -> None:
    database = harness.open_database(tmp_path)
    with database.read() as reader:
        assert reader.execute(select(status_count)).all() == []
        with database.begin() as writer:
            writer.execute(insert(status_count).values(merchant_id="mer_X", status="pending", count=1))
        assert reader.execute(select(status_count)).all() == []
    with database.read() as reader:
        assert len(reader.execute(select(status_count)).all()) == 1
    database.close()


def writers_waiting(database: Database) -> int:
    """Return how many threads wait for their turn to write to SQLite."""
    assert database._write_lock is not None
    return database._write_lock.waiting


def test_writers_of_one_process_take_turns_in_the_order_in_which_they_came(tmp_path: Path) -> None:
    """A thread that writes without a pause does not keep the others out."""
    database = harness.open_database(tmp_path)
    turns: list[str] = []
    begun = threading.Event()

    def another() -> None:
        begun.set()
        with database.begin() as connection:
            turns.append("another")
            connection.execute(insert(status_count).values(merchant_id="mer_X", status="failed", count=1))

    thread = threading.Thread(target=another)
    with database.begin():
        thread.start()
        assert begun.wait(10)
        while writers_waiting(database) == 0:
            assert thread.is_alive()
    for _ in range(20):
        with database.begin():
            turns.append("busy")
    thread.join(20)
    assert turns == ["another", *["busy"] * 20]
    database.close()


def test_who_gets_no_turn_to_write_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("watcher.store.database.WRITE_LOCK_TIMEOUT_SECONDS", 0.01)
    database = harness.open_database(tmp_path)
    with (
        database.begin(),
        pytest.raises(TransactionTimeout, match="write lock not acquired"),
        database.begin(),
    ):
        pass
    with database.begin():  # the next one gets it
        pass
    database.close()


def held_outside(database: Database) -> sqlite3.Connection:
    """Lock a database as another process does."""
    assert database.file is not None
    outside = sqlite3.connect(database.file, isolation_level=None)
    outside.execute("BEGIN IMMEDIATE")
    return outside


def test_who_waits_behind_a_write_that_waits_for_another_process_blames_that_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("watcher.store.database.BUSY_TIMEOUT_SECONDS", 1.0)
    database = harness.open_database(tmp_path)
    errors: list[Exception] = []

    def write() -> None:
        try:
            with database.begin():
                pass
        except SQLAlchemyError as error:
            errors.append(error)

    with closing(held_outside(database)):
        first = threading.Thread(target=write)
        first.start()
        while not database._is_held_outside:
            assert first.is_alive()
        monkeypatch.setattr("watcher.store.database.WRITE_LOCK_TIMEOUT_SECONDS", 0.0)
        write()
        first.join(20)
    assert "another process holds the database" in str(errors[0])
    assert "locked" in str(errors[1])
    assert not database._is_held_outside
    database.close()


@pytest.mark.parametrize("begun", [True, False], ids=["that wait", "that come"])
def test_a_hurry_shortens_the_waits_for_another_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, begun: bool
) -> None:
    """Of all writers: the one whose turn it is, and those behind it."""
    monkeypatch.setattr("watcher.store.database.BUSY_TIMEOUT_SECONDS", 1000.0)
    monkeypatch.setattr("watcher.store.database.WRITE_LOCK_TIMEOUT_SECONDS", 1000.0)
    monkeypatch.setattr("watcher.store.database.STOPPING_TIMEOUT_SECONDS", 0.1)
    database = harness.open_database(tmp_path)
    errors: list[Exception] = []

    def write() -> None:
        with pytest.raises(SQLAlchemyError) as caught, database.begin():
            pass
        errors.append(caught.value)

    with closing(held_outside(database)):
        if not begun:
            database.shorten_waits()
        threads = [threading.Thread(target=write) for _ in range(3)]
        for thread in threads:
            thread.start()
        while begun and writers_waiting(database) < 2:
            assert all(thread.is_alive() for thread in threads)
        database.shorten_waits()
        for thread in threads:
            thread.join(20)
    assert len(errors) == 3
    with database.begin():
        pass
    database.close()


def test_what_is_only_tried_out_takes_its_turn_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dry run holds the write lock like any other transaction, and leaves nothing behind."""
    monkeypatch.setattr("watcher.store.database.BUSY_TIMEOUT_SECONDS", 0.05)
    monkeypatch.setattr("watcher.store.database.WRITE_LOCK_TIMEOUT_SECONDS", 0.0)
    database = harness.open_database(tmp_path)
    with (
        database.begin(),
        pytest.raises(TransactionTimeout, match="write lock not acquired"),
        rolled_back(database),
    ):
        pass
    with rolled_back(database) as connection:
        connection.execute(insert(status_count).values(merchant_id="mer_X", status="pending", count=1))
        with pytest.raises(TransactionTimeout), database.begin():
            pass
    with database.read() as connection:
        assert connection.execute(select(status_count)).all() == []
    database.close()


def test_a_long_transaction_leaves_the_file_free_before_the_next_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other processes poll for the lock: between long transactions they find it free for a while."""
    database = harness.open_database(tmp_path)
    clock = harness.Clock()
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        with closing(sqlite3.connect(tmp_path / "watcher.db", timeout=0, isolation_level=None)) as another:
            another.execute("BEGIN IMMEDIATE")
        with pytest.raises(TransactionTimeout), database.begin():
            pass

    monkeypatch.setattr("watcher.store.database.time", SimpleNamespace(monotonic=clock, sleep=pause))
    monkeypatch.setattr("watcher.store.database.WRITE_LOCK_TIMEOUT_SECONDS", 0.0)
    for seconds in (0.04, 0.5):
        with database.begin():
            clock.now += seconds
    assert pauses == pytest.approx([0.1])
    database.close()


def test_what_the_database_refuses_for_good_is_not_made_again(tmp_path: Path, backend: str) -> None:
    database = harness.open_database(tmp_path)
    calls: list[int] = []

    def twice(connection: Connection) -> None:
        calls.append(1)
        row = {"merchant_id": "mer_X", "status": "pending", "count": 1}
        connection.execute(insert(status_count), [row, row])

    with pytest.raises(IntegrityError):
        database.transact(twice)
    assert len(calls) == 1
    database.close()


def test_of_two_writers_the_second_waits(tmp_path: Path) -> None:
    database = harness.open_database(tmp_path)
    order: list[str] = []
    begun = threading.Event()

    def second() -> None:
        begun.set()
        with database.begin() as connection:
            order.append("second")
            connection.execute(insert(status_count).values(merchant_id="mer_X", status="failed", count=1))

    thread = threading.Thread(target=second)
    with database.begin() as connection:
        thread.start()
        assert begun.wait(10)
        connection.execute(insert(status_count).values(merchant_id="mer_X", status="pending", count=1))
        order.append("first")
    thread.join(20)
    assert order == ["first", "second"]
    database.close()


def test_the_folder_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    folder = tmp_path / "state" / "deep"
    Database(f"sqlite:///{folder}/watcher.db").close()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_folder_that_cannot_be_made_is_a_settings_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="database_url: cannot create") as caught:
        Database(f"sqlite:///{tmp_path}/file/watcher.db")
    assert caught.value.exit_code == 2


def test_a_folder_that_takes_no_files_is_a_settings_error() -> None:
    # The kernel's own file system: not even root may write into it.
    with pytest.raises(ConfigError, match=r"not writable|cannot create"):
        Database("sqlite:////proc/self/watcher.db").upgrade()


def test_a_locked_database_is_unreachable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("watcher.store.database.BUSY_TIMEOUT_SECONDS", 0.05)
    holder = sqlite3.connect(tmp_path / "watcher.db", isolation_level=None)
    holder.execute("PRAGMA journal_mode=WAL")
    holder.execute("BEGIN EXCLUSIVE")
    database = Database(f"sqlite:///{tmp_path}/watcher.db")
    with pytest.raises(Unreachable, match="does not answer"):
        database.upgrade()
    holder.close()
    database.close()


def test_the_size_is_that_of_the_file(tmp_path: Path) -> None:
    database = harness.open_database(tmp_path)
    with database.engine.connect() as connection:
        connection.exec_driver_sql("ROLLBACK")
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    assert database.size() == (tmp_path / "watcher.db").stat().st_size
    database.close()


def test_chunks_keep_every_value_in_order() -> None:
    assert [list(some) for some in chunks(range(5), 2)] == [[0, 1], [2, 3], [4]]
    assert list(chunks([])) == []


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.integers(0, 10**48 - 1), min_size=1, max_size=10))
def test_amounts_of_any_size_come_back_whole_and_sort_like_numbers(
    fixture: LedgerFixture, amounts: list[int]
) -> None:
    intent = fixture.create()
    with fixture.database.begin() as connection:
        connection.execute(act.delete())
        connection.execute(
            insert(act),
            [
                {
                    "id": f"act_{n}",
                    "sequence": n,
                    "intent_id": intent,
                    "kind": "assign",
                    "reason": "x",
                    "actor": "x",
                    "at": 0,
                    "height": 0,
                    "time": 0,
                    "amount": amount,
                }
                for n, amount in enumerate(amounts)
            ],
        )
        stored = connection.execute(select(act.c.amount).order_by(act.c.amount)).scalars().all()
        largest = connection.execute(select(act.c.amount).where(act.c.amount >= max(amounts))).scalars().all()
    assert stored == sorted(amounts)
    assert set(largest) == {max(amounts)}


@pytest.mark.parametrize("amount", [-1, 10**48])
def test_an_amount_that_does_not_fit_is_never_stored(fixture: LedgerFixture, amount: int) -> None:
    with pytest.raises(Exception, match="negative or longer"), fixture.database.begin() as connection:
        connection.execute(transfer_table.update().values(amount=amount))


def test_a_transaction_has_one_canonical_row_for_each_movement(fixture: LedgerFixture) -> None:
    row = {
        "height": 1,
        "time": 1,
        "burn_height": 1,
        "tx_id": "0x1",
        "tx_index": 0,
        "rank": 0,
        "asset": "STX",
        "recipient": "SP",
        "amount": 1,
        "route": "transfer",
        "seen_at": 0,
        "canonical": True,
    }
    with fixture.database.begin() as connection:
        connection.execute(insert(transfer_table).values(id="tr_1", block_hash="0xa", **row))
        connection.execute(
            insert(transfer_table).values(id="tr_2", block_hash="0xb", **row | {"canonical": False})
        )
    with pytest.raises(IntegrityError), fixture.database.begin() as connection:
        connection.execute(insert(transfer_table).values(id="tr_3", block_hash="0xc", **row))


def test_a_reader_cannot_see_a_database_that_is_not_there(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/watcher.db")
    with pytest.raises(OperationalError, match="no such table"), database.read() as connection:
        connection.execute(select(status_count)).all()
    database.close()
