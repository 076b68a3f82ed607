"""Rows and dataclasses, by name: the column and the field of one name hold one value.

So a plain field needs no line of its own here; what has another name or form in the database is written out
where its rows are read and written.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import fields
from enum import StrEnum
from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING, Any, Generic, TypeVar, get_type_hints

from sqlalchemy import Column, Table

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_T = TypeVar("_T", bound="DataclassInstance")


class RecordColumns(Generic[_T]):
    """The fields of a dataclass, all but those in ``without``, as columns of the same names.

    A field without its column makes every read and write fail. What the work needs is computed once: rows
    are read wherever intents are settled.
    """

    def __init__(self, kind: type[_T], *, without: Collection[str] = ()) -> None:
        self._kind = kind
        self._names = tuple(field.name for field in fields(kind) if field.name not in without)
        self._values_in: Callable[[Any], tuple[Any, ...]] = itemgetter(*self._names)
        self._values_of: Callable[[_T], tuple[Any, ...]] = attrgetter(*self._names)
        types = get_type_hints(kind)
        self._readers = [(name, read) for name in self._names if (read := _reader(types[name]))]

    def read(self, row: Mapping[Any, Any], **rest: Any) -> _T:
        """Return the record of a row; ``rest`` are the fields that no column has."""
        rest |= zip(self._names, self._values_in(row), strict=True)
        for name, read in self._readers:
            rest[name] = read(rest[name])
        return self._kind(**rest)

    def of(self, table: Table) -> list[Column[Any]]:
        """Return the table's columns of these names."""
        return [table.c[name] for name in self._names]

    def values(self, record: _T) -> dict[str, Any]:
        """Return the columns of a record's row, by name."""
        return dict(zip(self._names, self._values_of(record), strict=True))


def _reader(kind: Any) -> Callable[[Any], Any] | None:
    """Return what converts a driver's value to that type; None for a type that drivers return."""
    if kind is bytes:
        return bytes
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        # Takes a third of the time that calling the enumeration takes.
        return {member.value: member for member in kind}.__getitem__
    return None
