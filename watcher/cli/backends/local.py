"""The backend on this machine's database."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from watcher.config.load import config_file
from watcher.config.settings import Settings
from watcher.daemon import runtime_file
from watcher.services import Services
from watcher.services.passwords import hash_password
from watcher.services.webhooks import endpoint_url
from watcher.store.database import Connection, Database


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalBackend:
    """Services in transactions on an open database. Anyone who may open it acts as an operator.

    ``config`` is the --config option, ``actor`` the name in operator actions (``cli:alice``); ``clock``
    returns unix seconds.
    """

    settings: Settings
    config: Path | None
    database: Database
    actor: str
    clock: Callable[[], float]

    @property
    def repeated(self) -> int:
        """Always 0: whether a transaction was committed is never in doubt here."""
        return 0

    @contextmanager
    def reading(self) -> Iterator[Services]:
        """Open a read-only transaction."""
        with self.database.read() as connection:
            yield self._services(connection)

    @contextmanager
    def writing(self, *, idempotency_key: str | None = None) -> Iterator[Services]:
        """Open a transaction that commits at the end.

        Raises :class:`ConfigError` if the running daemon has other settings that matter for what is stored.
        """
        runtime_file.check(self.settings, config_file(self.config), write=True)
        with self.database.begin() as connection:
            yield self._services(connection)

    def endpoint_url(self, url: str | None) -> Any:
        """Resolve the URL's host and check the address."""
        return endpoint_url(self.settings, url)

    def password_hash(self, password: str | None) -> str | None:
        """Hash a link's password."""
        return None if password is None else hash_password(password)

    def _services(self, connection: Connection) -> Services:
        return Services(connection, self.settings, actor=self.actor, now=self.clock())
