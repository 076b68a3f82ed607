"""Column types and the naming of constraints, for :mod:`watcher.store.schema`."""

import json
from typing import Any

from sqlalchemy import Numeric, String, Text, TypeDecorator
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeEngine

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


class Amount(TypeDecorator[int]):
    """A non-negative integer of up to 48 digits, exact on every database.

    SQLite has no such number: there it is zero-padded text, which compares and sorts like the number. It is
    never summed or cast in SQL.
    """

    impl = Numeric(48, 0)
    cache_ok = True
    DIGITS = 48

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name == "sqlite":
            return dialect.type_descriptor(String(self.DIGITS))
        return dialect.type_descriptor(Numeric(self.DIGITS, 0))

    def process_bind_param(self, value: int | None, dialect: Dialect) -> Any:
        if value is None:
            return None
        if not 0 <= value < 10**self.DIGITS:
            raise ValueError(f"amount {value} is negative or longer than {self.DIGITS} digits")
        return f"{value:0{self.DIGITS}d}" if dialect.name == "sqlite" else value

    def process_result_value(self, value: Any, dialect: Dialect) -> int | None:
        return None if value is None else int(value)


class Json(TypeDecorator[Any]):
    """A small JSON document as text: read and written whole, never queried."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        return None if value is None else json.dumps(value, ensure_ascii=False, separators=(",", ":"))

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        return None if value is None else json.loads(value)
