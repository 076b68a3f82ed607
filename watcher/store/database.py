"""The database: engine, short transactions, settings per kind of database, and the schema's revision."""

import random
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import URL as URL
from sqlalchemy import Connection as Connection
from sqlalchemy import create_engine, event, make_url, text
from sqlalchemy.exc import DBAPIError, OperationalError, ProgrammingError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as TransactionTimeout

from notifier.database_errors import is_outage, reason_of
from watcher.errors import ConfigError, Unreachable
from watcher.log import get_logger
from watcher.store import revisions, sqlite_file
from watcher.store.fair_lock import LIMIT_CHECK_SECONDS, FairLock, WaitLimit

if TYPE_CHECKING:
    from alembic.config import Config

#: What to do about a database that a newer version upgraded.
NEWER_DATABASE_HINT = "install the version that made it, or restore a backup"

#: Any failure of the database, as callers catch it.
DatabaseError = SQLAlchemyError

#: How long a transaction waits for another process's write on SQLite, seconds.
BUSY_TIMEOUT_SECONDS = 10.0

#: How long a transaction waits for earlier writes of its own process on SQLite, seconds.
WRITE_LOCK_TIMEOUT_SECONDS = 10.0

#: How long it waits for either when the process is about to end, seconds.
STOPPING_TIMEOUT_SECONDS = 1.0

#: After a longer write transaction on SQLite, the file is left free for a share of its duration: other
#: processes poll for it, and would not find it free between two long transactions in close succession.
LONG_TRANSACTION_SECONDS = 0.05
PAUSE_SHARE = 0.2

#: Attempts at a transaction that PostgreSQL rolls back in favour of another one, and the first wait in
#: between, seconds; each further wait is twice as long, with jitter.
MAX_TRIES = 5
FIRST_RETRY_SECONDS = 0.02

#: PostgreSQL's SQLSTATEs for a serialization failure and a deadlock: a retry may succeed.
_REPEATABLE = frozenset({"40001", "40P01"})

#: PostgreSQL: connections of one process at most, and how long a transaction waits for one, seconds.
MAX_CONNECTIONS = 16
CONNECTION_TIMEOUT_SECONDS = 10.0

#: PostgreSQL's own limits of every session, seconds. A transaction that is idle for so long (its process was
#: frozen, or cut off) is rolled back, so that it does not hold its locks against the others.
STATEMENT_TIMEOUT_SECONDS = 30
LOCK_TIMEOUT_SECONDS = 10
IDLE_TIMEOUT_SECONDS = 15

#: How long an upgrade waits for one of another process, seconds.
UPGRADE_TIMEOUT_SECONDS = 120

#: Advisory lock key: any number that is unique in the database.
_UPGRADE_LOCK_KEY = 8_420_001

_T = TypeVar("_T")

log = get_logger(__name__)


class Database:
    """One database, embedded (SQLite) or shared (PostgreSQL).

    :meth:`transact` runs a write transaction, :meth:`begin` opens one that is not retried, :meth:`read` opens
    a consistent view; hold each for milliseconds. On SQLite the writers of one process take turns, first come
    first served.
    """

    def __init__(self, url: str, *, create: bool = True) -> None:
        """Make the engine. Raises :class:`NotFound` when there is no SQLite file and ``create`` is false.

        A PostgreSQL server is contacted by the first transaction.
        """
        self.url = make_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        if self.file is not None:
            sqlite_file.prepare(self.file, create=create)
        options = (
            {"connect_args": {"timeout": BUSY_TIMEOUT_SECONDS}} if self.is_sqlite else _postgresql(self.url)
        )
        try:
            # Parameters hold secrets: no error, and no traceback, quotes them.
            self.engine = create_engine(self.url, hide_parameters=True, **options)
        except ModuleNotFoundError as error:
            raise ConfigError(
                f"database_url: {self.safe_url} needs the Python package {error.name}",
                hint=f"in the folder of its source: {sys.prefix}/bin/pip install '.[postgres]'",
            ) from error
        self._wait_limit = WaitLimit()
        self._write_lock = FairLock(self._wait_limit) if self.is_sqlite else None
        #: Whether the write in turn waits for another process.
        self._is_held_outside = False
        self._read_options: dict[str, Any] = {"readonly": True}
        if not self.is_sqlite:
            self._read_options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        if self.is_sqlite:
            event.listen(self.engine, "connect", _configure_sqlite)
            event.listen(self.engine, "begin", self._begin_sqlite)
        else:
            # First: the dialect itself reads texts when it gets its first connection.
            event.listen(self.engine, "connect", _check_encoding, insert=True)

    @property
    def file(self) -> Path | None:
        """The file of a SQLite database, None for one in memory and for PostgreSQL."""
        name = self.url.database
        return Path(name) if self.is_sqlite and name and name != ":memory:" else None

    def transact(self, work: Callable[[Connection], _T]) -> _T:
        """Run ``work`` in a write transaction, commit it, and return its result.

        When the database rolls it back in favour of another transaction (a deadlock, a serialization failure)
        it is retried, :data:`MAX_TRIES` times at most: ``work`` must change nothing but the database.
        """
        for attempt in range(1, MAX_TRIES):
            try:
                with self.begin() as connection:
                    return work(connection)
            except DBAPIError as error:
                if not is_repeatable(error):
                    raise
                log.warning("database.repeated", sqlstate=_sqlstate(error), attempt=attempt)
            time.sleep(FIRST_RETRY_SECONDS * 2 ** (attempt - 1) * random.uniform(1, 2))  # noqa: S311 (only jitter)
        with self.begin() as connection:
            return work(connection)

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """Open a write transaction: committed at the end, rolled back when the block raises."""
        if self._write_lock is None:
            with self.engine.begin() as connection:
                yield connection
            return
        with self._hold_write_lock(self._write_lock), self.engine.begin() as connection:
            yield connection

    def shorten_waits(self) -> None:
        """Limit all waits on SQLite to :data:`STOPPING_TIMEOUT_SECONDS`, because the process ends.

        Also those that have begun. Transactions that have begun go on to their end.
        """
        self._wait_limit.begin(STOPPING_TIMEOUT_SECONDS)

    @contextmanager
    def _hold_write_lock(self, lock: FairLock) -> Iterator[None]:
        if not lock.acquire(WRITE_LOCK_TIMEOUT_SECONDS):
            if self._is_held_outside:
                raise TransactionTimeout(
                    "write lock not acquired: another process holds the database, "
                    "and an earlier write of this one waits for it"
                )
            raise TransactionTimeout(
                "write lock not acquired: other writes of this process hold the database"
            )
        began = time.monotonic()
        try:
            yield
        finally:
            took = time.monotonic() - began
            if took > LONG_TRANSACTION_SECONDS:
                time.sleep(took * PAUSE_SHARE)
            lock.release()

    def _begin_sqlite(self, connection: Connection) -> None:
        # A write transaction takes the lock at once: a read that becomes a write could fail half-way as busy.
        if connection.get_execution_options().get("readonly", False):
            connection.exec_driver_sql("BEGIN")
            return
        driver = connection.connection.driver_connection
        assert isinstance(driver, sqlite3.Connection), "SQLite's own driver"
        began = time.monotonic()
        # In pieces: SQLite's own wait cannot be interrupted.
        driver.execute(f"PRAGMA busy_timeout={int(LIMIT_CHECK_SECONDS * 1000)}")
        try:
            while self._wait_limit.left(began, BUSY_TIMEOUT_SECONDS) > LIMIT_CHECK_SECONDS:
                try:
                    driver.execute("BEGIN IMMEDIATE")
                    return
                except sqlite3.OperationalError as error:
                    if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
                        break
                    self._is_held_outside = True
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        finally:
            self._is_held_outside = False
            driver.execute(f"PRAGMA busy_timeout={int(BUSY_TIMEOUT_SECONDS * 1000)}")

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Open a transaction with a consistent view that does not block writers."""
        with self.engine.connect().execution_options(**self._read_options) as connection, connection.begin():
            yield connection

    @contextmanager
    def answering(self) -> Iterator[None]:
        """Raise :class:`Unreachable`, in one line, when the database does not serve the block."""
        try:
            yield
        except (DatabaseError, ExceptionGroup) as error:
            outage = _outage(error)
            if outage is None:
                raise  # a bug of ours
            raise Unreachable(
                f"database {self.safe_url} does not answer: {reason_of(outage)}",
                hint="check database_url, and that its server runs, has disk space and is not blocked",
            ) from error

    def upgrade(self) -> None:
        """Upgrade the schema to this version's revision; no effect when it is current.

        Raises :class:`ConfigError` when the database is newer than this program or does not let it create
        tables, :class:`Unreachable` when it does not answer.
        """
        try:
            current = self.revision()
            if current is not None and not self.knows(current):
                raise ConfigError(
                    f"the database has revision {current}, which this version does not know",
                    hint=NEWER_DATABASE_HINT,
                )
            if current != self.head():
                with self.begin() as connection:
                    if not self.is_sqlite:
                        # Like SQLite's write lock: of two upgrades at once, the second finds it done.
                        connection.execute(text(f"SET LOCAL lock_timeout = '{UPGRADE_TIMEOUT_SECONDS}s'"))
                        connection.execute(text("SET LOCAL statement_timeout = 0"))
                        connection.execute(text(f"SELECT pg_advisory_xact_lock({_UPGRADE_LOCK_KEY})"))
                    _upgrade(connection)
        except OperationalError as error:
            raise Unreachable(
                f"database {self.safe_url} does not answer: {error.orig}", hint="check database_url"
            ) from error
        except ProgrammingError as error:
            raise ConfigError(
                f"database_url: the tables cannot be made in {self.safe_url}: {error.orig}",
                hint="give it a database of its own, and run `sbtc-watcher db upgrade` "
                "as a user who may create tables there",
            ) from error

    def revision(self) -> str | None:
        """Return the schema's revision, None for an empty database."""
        with self.read() as connection:
            return revisions.current(connection)

    @staticmethod
    def knows(revision: str) -> bool:
        """Whether this program has a schema's revision among its own; a newer program's it has not."""
        return revision in revisions.known()

    @staticmethod
    def head() -> str:
        """Return the revision that this program needs."""
        return revisions.known()[-1]

    def size(self) -> int:
        """Return the size of the database in bytes."""
        with self.read() as connection:
            return size(connection)

    @property
    def safe_url(self) -> str:
        """The URL with its password masked, for messages."""
        return self.url.render_as_string(hide_password=True)

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()


def alembic_config() -> "Config":
    """Return Alembic's configuration; the connection goes into its ``attributes``."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "watcher.store:migrations")
    return config


def _upgrade(connection: Connection) -> None:
    from alembic import command  # see watcher.store.revisions

    config = alembic_config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _outage(error: Exception) -> Exception | None:
    """Return the outage that an error is, or the first of a group of outages only; else None."""
    if isinstance(error, ExceptionGroup):
        found = [_outage(each) for each in error.exceptions]
        return found[0] if all(found) else None
    return error if isinstance(error, DatabaseError) and is_outage(error) else None


def is_repeatable(error: DBAPIError) -> bool:
    """Return whether the database rolled back a transaction that may succeed when it is retried."""
    return _sqlstate(error) in _REPEATABLE


def _sqlstate(error: DBAPIError) -> str | None:
    return getattr(error.orig, "sqlstate", None)


def size(connection: Connection) -> int:
    """Return the size of the database in bytes."""
    if connection.dialect.name == "sqlite":
        pages = connection.execute(text("PRAGMA page_count")).scalar_one()
        return int(pages) * int(connection.execute(text("PRAGMA page_size")).scalar_one())
    return int(connection.execute(text("SELECT pg_database_size(current_database())")).scalar_one())


def _postgresql(url: URL) -> dict[str, Any]:
    """Return the options of an engine on PostgreSQL; connection options in the URL take precedence."""
    limits = {
        "statement_timeout": STATEMENT_TIMEOUT_SECONDS,
        "lock_timeout": LOCK_TIMEOUT_SECONDS,
        "idle_in_transaction_session_timeout": IDLE_TIMEOUT_SECONDS,
    }
    connection = {
        "application_name": "sbtc-watcher",
        "connect_timeout": 10,
        # A server that is gone is noticed within half a minute, also while a reply is waited for.
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 4,
        "tcp_user_timeout": 30_000,
        # Never an outdated plan: the schema may be upgraded meanwhile, and the planner sees the values.
        "prepare_threshold": None,
        # Also where $PGCLIENTENCODING or the role says otherwise.
        "client_encoding": "UTF8",
        "options": " ".join(f"-c {name}={seconds}s" for name, seconds in limits.items()),
    }
    if "options" in url.query:
        connection["options"] = f"{connection['options']} {url.query['options']}"  # the last one wins
    return {
        "connect_args": {
            name: value for name, value in connection.items() if name not in url.query or name == "options"
        },
        "pool_pre_ping": True,
        "pool_size": MAX_CONNECTIONS // 2,
        "max_overflow": MAX_CONNECTIONS - MAX_CONNECTIONS // 2,
        "pool_timeout": CONNECTION_TIMEOUT_SECONDS,
    }


def _check_encoding(connection: Any, _record: Any) -> None:
    """Raise :class:`ConfigError` unless texts of any language can be stored and read back."""
    for what in ("server_encoding", "client_encoding"):
        found = connection.info.parameter_status(what)
        if found not in ("UTF8", None):  # None: a proxy that does not say
            name = connection.info.dbname
            connection.close()
            if what == "client_encoding":
                raise ConfigError(f"database_url: client_encoding is {found}", hint="leave it out of the URL")
            raise ConfigError(
                f"database_url: the database {name} has the encoding {found}, and UTF8 is needed",
                hint=f"make another one: createdb --encoding=UTF8 --template=template0 {name}_utf8",
            )


def _configure_sqlite(connection: Any, _record: Any) -> None:
    # The driver's own transaction handling is off: BEGIN is ours, see _begin_sqlite.
    connection.isolation_level = None
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
        f"busy_timeout={int(BUSY_TIMEOUT_SECONDS * 1000)}",
    ):
        connection.execute(f"PRAGMA {pragma}")
