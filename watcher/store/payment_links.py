"""The rows of payment links, and which intents were started from them."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from notifier.statements import chunks, upsert
from watcher.store.link_schema import payment_link, payment_link_start

_BY_CODE = select(payment_link).where(payment_link.c.code == bindparam("code"))
_LED_TO = select(payment_link_start.c.intent_id).where(payment_link_start.c.token_hash == bindparam("hash"))


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


def led_to(connection: Connection, token_hash: bytes) -> str | None:
    """Return the intent that a form or a checkout has led to, None for none."""
    found: str | None = connection.execute(_LED_TO, {"hash": token_hash}).scalar_one_or_none()
    return found


def lead_to(connection: Connection, token_hash: bytes, intent_id: str, *, now: float) -> None:
    """Remember the intent that a form or a checkout leads to from now on."""
    values = {"intent_id": intent_id, "created_at": int(now)}
    statement = upsert(connection, payment_link_start).values(token_hash=token_hash, **values)
    connection.execute(
        statement.on_conflict_do_update(index_elements=[payment_link_start.c.token_hash], set_=values)
    )


def forget_starts(connection: Connection, *, before: float, limit: int = 1_000) -> int:
    """Delete up to ``limit`` memories of what led where that are older; return how many."""
    table = payment_link_start
    old = select(table.c.token_hash).where(table.c.created_at < before).order_by(table.c.created_at)
    hashes = list(connection.execute(old.limit(limit)).scalars())
    for batch in chunks(hashes):
        connection.execute(delete(table).where(table.c.token_hash.in_(batch)))
    return len(hashes)
