"""The rows of payment links."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, bindparam, insert, select, update

from watcher.store.link_schema import payment_link

_BY_CODE = select(payment_link).where(payment_link.c.code == bindparam("code"))


def find(connection: Connection, link_id: str, *, lock: bool = False) -> Mapping[Any, Any] | None:
    """Return a link's row, None if there is none; ``lock`` holds it until the transaction ends."""
    query = select(payment_link).where(payment_link.c.id == link_id)
    return connection.execute(query.with_for_update() if lock else query).mappings().one_or_none()


def find_by_code(connection: Connection, code: str) -> Mapping[Any, Any] | None:
    """Return the row of the link with this code, None if there is none."""
    return connection.execute(_BY_CODE, {"code": code}).mappings().one_or_none()


def add(connection: Connection, values: Mapping[str, Any]) -> None:
    """Store a link."""
    connection.execute(insert(payment_link).values(**values))


def change(connection: Connection, link_id: str, values: Mapping[str, Any]) -> None:
    """Change columns of a link."""
    connection.execute(update(payment_link).where(payment_link.c.id == link_id).values(**values))
