"""The names of the keys that encrypt a database's webhook secrets: once there is one, none is stored plain again."""

from collections.abc import Sequence

from sqlalchemy import Connection, select
from sqlalchemy.dialects import postgresql, sqlite

from notifier.schema import sealing_key
from notifier.secrets import SecretStore


def remember_key(conn: Connection, secret_store: SecretStore) -> None:
    """Store the name of the encryption key; without one, and when it is known, nothing is written."""
    name = secret_store.encryption_key
    if name is None or name in known_keys(conn):
        return
    dialect = sqlite if conn.dialect.name == "sqlite" else postgresql
    conn.execute(dialect.insert(sealing_key).values(name=name).on_conflict_do_nothing())


def known_keys(conn: Connection) -> Sequence[str]:
    """Return the names of the keys that have encrypted secrets, or were to, in this database."""
    return conn.execute(select(sealing_key.c.name).order_by(sealing_key.c.name)).scalars().all()
