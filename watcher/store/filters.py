"""Conditions on small JSON columns, in SQL that both databases and their indexes understand."""

from typing import Any

from sqlalchemy import ColumnElement, Connection, Text, func, literal_column, type_coerce

from watcher.domain.model import Flag
from watcher.store.column_types import Json
from watcher.store.schema import NEEDS_ATTENTION, intent

#: Whether an intent has any flag, as in the index of those that have, which are in the order of their ids.
IS_FLAGGED: ColumnElement[bool] = literal_column("(intent.flags <> '[]')")


def has_flag(connection: Connection, *flags: Flag) -> ColumnElement[bool]:
    """Return the condition that an intent has one of these flags; the index of flagged intents serves it."""
    condition = IS_FLAGGED
    first, *others = (_holds(connection, intent.c.flags, f'"{flag}"') for flag in flags)
    for other in others:
        first |= other
    return condition & first


def needs_attention(connection: Connection) -> ColumnElement[bool]:
    """Return the condition that an intent needs an operator.

    That is a due refund until it is made or dismissed; and, until the intent is marked, a sent success whose
    money was orphaned, and a payment that no second source shows.
    """
    is_sqlite = connection.dialect.name == "sqlite"
    # Spelled as in the partial index, so that it serves it.
    flagged: ColumnElement[bool] = literal_column(
        "(" + NEEDS_ATTENTION.format(find="instr" if is_sqlite else "strpos") + ")"
    )
    judged = _holds(connection, intent.c.flags, f'"{Flag.MANUAL}"')
    return flagged & (_holds(connection, intent.c.flags, f'"{Flag.REFUND_DUE}"') | ~judged)


def has_metadata(connection: Connection, key: str, value: str) -> ColumnElement[bool]:
    """Return the condition that an intent's metadata have exactly this value under this key."""
    fragment = Json().process_bind_param({key: value}, connection.dialect)
    assert fragment is not None, "a table is never null"
    return _holds(connection, intent.c.metadata, fragment[1:-1])


def _holds(connection: Connection, column: ColumnElement[Any], fragment: str) -> ColumnElement[bool]:
    """Return the condition that a stored JSON text contains a fragment of compact JSON.

    Exact for whole strings: a quotation mark inside a string is escaped, and keys contain none.
    """
    find = func.instr if connection.dialect.name == "sqlite" else func.strpos
    condition: ColumnElement[bool] = find(type_coerce(column, Text), fragment) > 0
    return condition
