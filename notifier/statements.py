"""Helpers for SQL statements: values in slices, partial indexes, INSERT that ignores duplicates, pages."""

from collections.abc import Iterator, Sequence
from typing import Any, TypeVar, cast

from sqlalchemy import BindParameter, ColumnElement, Connection, Row, Table, bindparam, func, text
from sqlalchemy.dialects import postgresql, sqlite

#: Values in one ``IN (…)``: below every database's limit of bound values.
CHUNK_SIZE = 500


_T = TypeVar("_T")


def chunks(values: Sequence[_T], size: int = CHUNK_SIZE) -> Iterator[Sequence[_T]]:
    """Yield the values in slices that fit one ``IN (…)``."""
    for start in range(0, len(values), size):
        yield values[start : start + size]


def one_of(name: str) -> BindParameter[Any]:
    """Return a list parameter for ``column.in_(…)``: statements built once cost a third."""
    return bindparam(name, expanding=True)


def partial(condition: str) -> dict[str, Any]:
    """Return the options that make an index partial on both databases."""
    return {"sqlite_where": text(condition), "postgresql_where": text(condition)}


def upsert(connection: Connection, table: Table) -> sqlite.Insert:
    """Return an INSERT with ON CONFLICT, in the dialect of the connection (both spell it the same)."""
    if connection.dialect.name == "sqlite":
        return sqlite.insert(table)
    return cast("sqlite.Insert", postgresql.insert(table))


def insert_unless_there(connection: Connection, table: Table, key: str) -> sqlite.Insert:
    """Return an INSERT that skips rows whose ``key`` column is stored already."""
    return upsert(connection, table).on_conflict_do_nothing(index_elements=[key])


def page(rows: Sequence[Row[Any]], limit: int) -> tuple[Sequence[Row[Any]], str | None]:
    """Return the page and the next cursor (None at the end) of a query for ``limit + 1`` rows.

    The cursor is the id of the page's last row.
    """
    return rows[:limit], rows[limit - 1].id if len(rows) > limit else None


def unindexed(column: ColumnElement[Any]) -> ColumnElement[Any]:
    """Return a text column by which rows are compared, not found.

    For a filter beside another one that leaves few rows: without statistics SQLite takes the index of either.
    """
    return func.coalesce(column, "")
