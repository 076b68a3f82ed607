"""Helpers for SQL statements: values in slices, partial indexes, INSERT that ignores duplicates, pages."""

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, Insert, Row, Table, text
from sqlalchemy.dialects import postgresql, sqlite

#: Values in one ``IN (…)``: below every database's limit of bound values.
CHUNK_SIZE = 500


def chunks(values: Sequence[str]) -> Iterator[Sequence[str]]:
    """Yield the values in slices of at most :data:`CHUNK_SIZE`."""
    for start in range(0, len(values), CHUNK_SIZE):
        yield values[start : start + CHUNK_SIZE]


def partial(condition: str) -> dict[str, Any]:
    """Return the options that make an index partial on both databases."""
    return {"sqlite_where": text(condition), "postgresql_where": text(condition)}


def insert_unless_there(conn: Connection, table: Table, key: str) -> Insert:
    """Return an INSERT that skips rows whose ``key`` column is stored already."""
    if conn.dialect.name == "postgresql":
        return postgresql.insert(table).on_conflict_do_nothing(index_elements=[key])
    return sqlite.insert(table).on_conflict_do_nothing(index_elements=[key])


def page(rows: Sequence[Row[Any]], limit: int) -> tuple[Sequence[Row[Any]], str | None]:
    """Return the page and the next cursor (None at the end) of a query for ``limit + 1`` rows.

    The cursor is the id of the page's last row.
    """
    return rows[:limit], rows[limit - 1].id if len(rows) > limit else None
