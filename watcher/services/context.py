"""What every service knows: the transaction, the settings, who asks, and what time it is."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sqlalchemy import Column, Connection, select

from notifier.clock import database_time
from notifier.secrets import SecretStore
from watcher.config.settings import Settings
from watcher.errors import Refused
from watcher.indexer.settler import Settler
from watcher.schemas.base import OwnedPage, Page
from watcher.services.webhook_secrets import check_encryption, open_secret_store
from watcher.text import quote

#: A document of the public interface.
Document = dict[str, Any]


@dataclass
class Context:
    """What every service knows. ``merchant``: the one whose rows are visible, None for all.

    ``actor``: as operator actions record it. ``now``: this machine's clock, unix seconds.
    """

    connection: Connection
    settings: Settings
    actor: str
    now: float
    merchant: str | None = None
    #: The settler and the secret store, for callers that make many services from the same settings.
    settler_of: Callable[[Settings], Settler] = Settler.of
    secret_store_of: Callable[[Settings], SecretStore] = open_secret_store

    @cached_property
    def shared_now(self) -> float:
        """The time of the clock that judges due times and leases, see :mod:`notifier.clock`."""
        return database_time(self.connection, machine=self.now)

    @cached_property
    def settler(self) -> Settler:
        return self.settler_of(self.settings)

    @cached_property
    def secret_store(self) -> SecretStore:
        return self.secret_store_of(self.settings)

    @property
    def encrypting_store(self) -> SecretStore:
        """The secret store, to store secrets with. Raises :class:`ConfigError` where it would store plain
        what others encrypt.
        """
        check_encryption(self.connection, self.secret_store)
        return self.secret_store

    def owner(self, named: str | None) -> str:
        """Return the merchant that a request creates something for: the caller, or the one an operator names.

        Raises :class:`Refused`.
        """
        if self.merchant is None:
            if named is None:
                raise Refused("validation", errors=[{"field": "merchant", "message": "is missing"}])
            return named
        if named is not None:
            message = "is for operators; an API key belongs to one merchant"
            raise Refused("validation", errors=[{"field": "merchant", "message": message}])
        return self.merchant

    def read_page(self, page: Page, key: Column[Any], owner: Column[Any]) -> str | None:
        """Return the merchant whose rows a list shows, None for all.

        Raises :class:`Refused` for a merchant that names one, and for a cursor that is not a row of this
        list.
        """
        named = page.merchant if isinstance(page, OwnedPage) else None
        if named is not None:
            self.owner(named)
        merchant = self.merchant or named
        if page.cursor is not None:
            query = select(key).where(key == page.cursor)
            if merchant is not None:
                query = query.where(owner == merchant)
            if self.connection.execute(query).first() is None:
                shown = quote(page.cursor)
                message = f"{shown} is no cursor of this list; write the next_cursor of the page before"
                raise Refused("validation", errors=[{"field": "cursor", "message": message}])
        return merchant
