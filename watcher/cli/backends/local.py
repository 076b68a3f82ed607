"""The services on this machine's database."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from watcher.config.settings import config_file
from watcher.daemon import runtime_file
from watcher.services import Services
from watcher.services.webhooks import endpoint_url

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from watcher.cli.session import Session
    from watcher.store.database import Database


@dataclass(frozen=True, slots=True)
class LocalBackend:
    """Whoever may open the database is an operator."""

    session: "Session"
    database: "Database"

    @property
    def repeated(self) -> int:
        """Always 0: a transaction is made or not, and the caller knows which."""
        return 0

    @contextmanager
    def reading(self) -> Iterator[Services]:
        """Open a transaction that only reads."""
        with self.database.read() as connection:
            yield self._services(connection)

    @contextmanager
    def writing(self, *, idempotency_key: str | None = None) -> Iterator[Services]:
        """Open a transaction that is committed at the end, under the settings of the daemon that runs."""
        runtime_file.check(self.session.settings, config_file(self.session.config), write=True)
        with self.database.begin() as connection:
            yield self._services(connection)

    def endpoint_url(self, url: str | None) -> Any:
        """Look the name up and check the address."""
        return endpoint_url(self.session.settings, url)

    def _services(self, connection: "Connection") -> Services:
        session = self.session
        return Services(connection, session.settings, actor=session.actor, now=session.now)
