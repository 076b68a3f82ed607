"""The key file for webhook secrets: read, and held against what the database has."""

import time

from sqlalchemy import Connection

from notifier import endpoints, sealing_keys
from notifier.secrets import Vault, read_keys
from watcher.config.settings import Settings
from watcher.errors import ConfigError
from watcher.store.database import Database
from watcher.text import count

#: More than this is not a key file.
_MAX_FILE = 64 * 1024


def open_vault(settings: Settings) -> Vault:
    """Return the vault of the settings' key file, one that stores secrets plain without it.

    :raises ConfigError: if the file cannot be read or holds no key.
    """
    path = settings.secret_key_file
    if path is None:
        return Vault()
    try:
        with path.open("rb") as file:
            return Vault(read_keys(file.read(_MAX_FILE).decode("ascii")))
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


def check_sealing(connection: Connection, vault: Vault) -> None:
    """Make sure that a vault may store secrets: one without a key only where no key has ever sealed any.

    :raises ConfigError: if it would store them plain in a database whose secrets are encrypted.
    """
    if vault.seals:
        sealing_keys.remember(connection, vault)
    elif names := sealing_keys.remembered(connection):
        raise ConfigError(
            f"secret_key_file: not set, but this database's secrets are encrypted (key {', '.join(names)})",
            hint="set it to the daemon's key file, or send the command to the daemon (--server), which has the key",
        )


def check_vault(database: Database, vault: Vault) -> None:
    """Make sure that every endpoint's secrets open, and that new ones may be stored.

    :raises ConfigError: if some do not open: their webhooks could not be signed. And see :func:`check_sealing`.
    """
    with database.read() as connection:
        sealed = endpoints.unreadable(connection, vault=vault, now=time.time())
        known = vault.sealing_key in sealing_keys.remembered(connection)
        if not sealed and not vault.seals:
            check_sealing(connection, vault)
    if not sealed:
        # Only a new key is written down: a start must not wait for whoever holds the database's lock.
        if vault.seals and not known:
            database.transact(lambda connection: check_sealing(connection, vault))
        return
    names = ", ".join(sealed[:3]) + (", …" if len(sealed) > 3 else "")
    if vault.seals:
        raise ConfigError(
            f"secret_key_file: its keys do not open the secrets of {count(len(sealed), 'endpoint')} ({names})",
            hint="add the key that sealed them as a further line, or rotate those secrets with --overlap 0",
        )
    raise ConfigError(
        f"secret_key_file: not set, but the secrets of {count(len(sealed), 'endpoint')} are encrypted ({names})",
        hint="set it to the file that they were sealed with",
    )
