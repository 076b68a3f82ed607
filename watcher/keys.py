"""The key file for webhook secrets: read, and held against what the database has."""

import time

from notifier import endpoints
from notifier.vault import Vault, read_keys
from watcher.database import Database
from watcher.errors import ConfigError
from watcher.settings import Settings

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


def check_vault(database: Database, vault: Vault) -> None:
    """Make sure that every endpoint's secrets open.

    :raises ConfigError: if some do not: their webhooks could not be signed.
    """
    with database.read() as connection:
        sealed = endpoints.unreadable(connection, vault=vault, now=time.time())
    if not sealed:
        return
    names = ", ".join(sealed[:3]) + (", …" if len(sealed) > 3 else "")
    if vault.seals:
        raise ConfigError(
            f"secret_key_file: its keys do not open the secrets of {len(sealed)} endpoints ({names})",
            hint="add the key that sealed them as a further line, or rotate those secrets with --overlap 0",
        )
    raise ConfigError(
        f"secret_key_file: not set, but the secrets of {len(sealed)} endpoints are encrypted ({names})",
        hint="set it to the file that they were sealed with",
    )
