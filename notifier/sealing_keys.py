"""What a database remembers of the keys that seal its webhook secrets: once there is one, none is stored plain again."""

from collections.abc import Sequence

from sqlalchemy import Connection, select
from sqlalchemy.dialects import postgresql, sqlite

from notifier.schema import sealing_key
from notifier.secrets import Vault


def remember(conn: Connection, vault: Vault) -> None:
    """Keep the name of the key that the vault seals with; without one, and when it is known, nothing is written."""
    name = vault.sealing_key
    if name is None or name in remembered(conn):
        return
    dialect = sqlite if conn.dialect.name == "sqlite" else postgresql
    conn.execute(dialect.insert(sealing_key).values(name=name).on_conflict_do_nothing())


def remembered(conn: Connection) -> Sequence[str]:
    """Return the names of the keys that have sealed secrets, or were to, in this database."""
    return conn.execute(select(sealing_key.c.name).order_by(sealing_key.c.name)).scalars().all()
