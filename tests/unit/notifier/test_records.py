"""Rows and dataclasses of the same names."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import pytest
from sqlalchemy import Column, Integer, LargeBinary, MetaData, Table, Text

from notifier.records import RecordColumns


class Color(StrEnum):
    RED = "red"


@dataclass(frozen=True, kw_only=True)
class Tag:
    id: int
    color: Color
    salt: bytes
    name: str | None = None
    size: tuple[int, int]


COLUMNS = RecordColumns(Tag, without=["size"])
TAG = Tag(id=1, color=Color.RED, salt=b"\x01", size=(2, 3))


def test_a_row_becomes_a_record_with_the_types_of_its_fields() -> None:
    """Texts become words of their enumeration, and what a driver returns for bytes becomes bytes."""
    row: dict[str, Any] = {"id": 1, "color": "red", "salt": memoryview(b"\x01"), "name": None, "width": 2}
    tag = COLUMNS.read(row, size=(2, 3))
    assert tag == TAG
    assert (type(tag.color), type(tag.salt)) == (Color, bytes)


def test_a_record_becomes_the_row_that_it_was() -> None:
    """The columns of a record are its fields, without those that no column has."""
    assert COLUMNS.values(TAG) == {"id": 1, "color": "red", "salt": b"\x01", "name": None}


def test_a_field_without_a_column_is_not_left_at_its_default() -> None:
    """A column that a table or a row lacks is an error, also where the field has a default."""
    with pytest.raises(KeyError, match="name"):
        COLUMNS.read({"id": 1, "color": "red", "salt": b""}, size=(2, 3))
    table = Table(
        "tag", MetaData(), Column("id", Integer), Column("color", Text), Column("salt", LargeBinary)
    )
    with pytest.raises(KeyError, match="name"):
        COLUMNS.of(table)
    with pytest.raises(KeyError, match="blue"):
        COLUMNS.read({"id": 1, "color": "blue", "salt": b"", "name": None}, size=(2, 3))
