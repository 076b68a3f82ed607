"""Names of the keys that encrypt a database's webhook secrets: with one, no secret is stored plain."""

from collections.abc import Sequence

from sqlalchemy import Connection, select

from notifier.schema import sealing_key
from notifier.secrets import SecretStore
from notifier.statements import insert_unless_there


def remember_key(conn: Connection, secret_store: SecretStore) -> None:
    """Store the name of the encryption key; no effect without a key, or if its name is stored already."""
    name = secret_store.encryption_key
    if name is None or name in known_keys(conn):
        return
    conn.execute(insert_unless_there(conn, sealing_key, "name").values(name=name))


def known_keys(conn: Connection) -> Sequence[str]:
    """Return the names of the keys that this database's secrets were or could have been encrypted with."""
    return conn.execute(select(sealing_key.c.name).order_by(sealing_key.c.name)).scalars().all()
