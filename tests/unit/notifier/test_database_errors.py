"""Messages of failed statements."""

import sqlite3

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import (
    DatabaseError,
    DataError,
    IntegrityError,
    InterfaceError,
    InternalError,
    OperationalError,
    ProgrammingError,
    SQLAlchemyError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout

from notifier.database_errors import is_outage, reason_of
from watcher.store.database import Database


@pytest.mark.parametrize("kind", [OperationalError, InterfaceError, InternalError, DatabaseError])
def test_a_database_that_cannot_serve_is_an_outage(kind):
    """The same statement may work later."""
    assert is_outage(kind("SELECT 1", {}, sqlite3.Error("disk I/O error")))
    assert is_outage(PoolTimeout("no connection"))


@pytest.mark.parametrize("kind", [DataError, IntegrityError, ProgrammingError])
def test_a_statement_that_is_refused_is_none(kind):
    """It would fail again, and so would any other exception's statement."""
    assert not is_outage(kind("INSERT", {}, sqlite3.Error("refused")))
    assert not is_outage(SQLAlchemyError("odd"))
    assert not is_outage(ValueError("odd"))


def test_a_reason_has_the_drivers_words_and_the_kind_of_statement_and_no_values():
    """Parameters may be secrets, and so may what PostgreSQL adds as DETAIL."""
    cause = Exception(
        "duplicate key value violates unique constraint\nDETAIL: Key (secret)=(whsec_1) exists."
    )
    error = IntegrityError("insert into endpoint (secret) values (?)", ("whsec_1",), cause)
    assert reason_of(error) == "duplicate key value violates unique constraint (INSERT)"
    assert reason_of(OperationalError(None, None, Exception(""))) != ""
    assert reason_of(PoolTimeout("no turn\nmore")) == "no turn"
    assert reason_of(ValueError("odd")) == "odd"
    assert reason_of(ValueError()) == "ValueError"


def test_no_error_of_our_database_quotes_its_parameters(tmp_path):
    """Neither does a logged traceback."""
    plain = create_engine("sqlite://")
    database = Database(f"sqlite:///{tmp_path}/watcher.db")
    for engine, quotes in ((plain, True), (database.engine, False)):
        with pytest.raises(OperationalError) as caught, engine.connect() as connection:
            connection.execute(text("INSERT INTO nothing VALUES (:x)"), {"x": "whsec_1"})
        assert ("whsec_1" in str(caught.value)) is quotes
    plain.dispose()
    database.close()
