"""The key file for webhook secrets: read it, and check it against the database."""

import time

from sqlalchemy import Connection

from notifier import endpoints, sealing_keys
from notifier.secrets import SecretStore, read_keys
from watcher.config.settings import Settings
from watcher.errors import ConfigError
from watcher.store.database import Database
from watcher.text import count

#: More than this is not a key file.
_MAX_FILE = 64 * 1024


def open_secret_store(settings: Settings) -> SecretStore:
    """Return the secret store of the settings' key file; without one it stores secrets plain.

    :raises ConfigError: if the file cannot be read or holds no key.
    """
    path = settings.secret_key_file
    if path is None:
        return SecretStore()
    try:
        with path.open("rb") as file:
            return SecretStore(read_keys(file.read(_MAX_FILE).decode("ascii")))
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ConfigError(
            f"secret_key_file: cannot read {path}: {reason}", hint="openssl rand -hex 32 makes a key"
        ) from None
    except UnicodeDecodeError:
        raise ConfigError(
            f"secret_key_file: {path} is not text", hint="write 64 hex digits into it (openssl rand -hex 32)"
        ) from None
    except ValueError as error:
        raise ConfigError(f"secret_key_file: {path}: {error}") from None


def check_encryption(connection: Connection, secret_store: SecretStore) -> None:
    """Check that secrets may be stored: without a key only where no key has ever encrypted any.

    :raises ConfigError: if it would store them plain in a database whose secrets are encrypted.
    """
    if secret_store.encrypts:
        sealing_keys.remember_key(connection, secret_store)
    elif names := sealing_keys.known_keys(connection):
        raise ConfigError(
            f"secret_key_file: not set, but this database's secrets are encrypted (key {', '.join(names)})",
            hint="set it to the daemon's key file, or send the command to the daemon (--server), "
            "which has the key",
        )


def check_secrets(database: Database, secret_store: SecretStore) -> None:
    """Check that every endpoint's secrets can be decrypted, and that new ones may be stored.

    :raises ConfigError: if some cannot: their webhooks could not be signed; see :func:`check_encryption`.
    """
    with database.read() as connection:
        unreadable = endpoints.unreadable(connection, secret_store=secret_store, now=time.time())
        known = secret_store.encryption_key in sealing_keys.known_keys(connection)
        if not unreadable and not secret_store.encrypts:
            check_encryption(connection, secret_store)
    if not unreadable:
        # Only a new key is written down: a start must not wait for the database's lock.
        if secret_store.encrypts and not known:
            database.transact(lambda connection: check_encryption(connection, secret_store))
        return
    names = ", ".join(unreadable[:3]) + (", …" if len(unreadable) > 3 else "")
    which = f"the secrets of {count(len(unreadable), 'endpoint')}"
    if secret_store.encrypts:
        raise ConfigError(
            f"secret_key_file: its keys do not open {which} ({names})",
            hint="add the key that sealed them as a further line, or rotate those secrets with --overlap 0",
        )
    raise ConfigError(
        f"secret_key_file: not set, but {which} are encrypted ({names})",
        hint="set it to the file that they were sealed with",
    )
