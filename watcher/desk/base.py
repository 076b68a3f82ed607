"""What every part of the desk knows: the transaction, the settings, who asks, and what time it is."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

from sqlalchemy import Column, Connection, select

from notifier.clock import database_time
from notifier.vault import Vault
from watcher import fields
from watcher.assets import suggest
from watcher.books import Books
from watcher.errors import Refused
from watcher.fields import Problems
from watcher.keys import check_sealing, open_vault
from watcher.settings import Settings

_T = TypeVar("_T")

#: A document of the public interface.
Document = dict[str, Any]


@dataclass
class Base:
    """``merchant``: whose things are seen, None for all. ``actor``: who acts, as acts keep it. ``now``: unix seconds."""

    connection: Connection
    settings: Settings
    actor: str
    now: float
    merchant: str | None = None
    #: The books and the vault, for callers that make many desks from the same settings.
    books_of: Callable[[Settings], Books] = Books.of
    vault_of: Callable[[Settings], Vault] = open_vault

    @cached_property
    def shared_now(self) -> float:
        """The time of the clock that judges due times and leases, see :mod:`notifier.clock`."""
        return database_time(self.connection, machine=self.now)

    @cached_property
    def books(self) -> Books:
        return self.books_of(self.settings)

    @cached_property
    def vault(self) -> Vault:
        return self.vault_of(self.settings)

    @property
    def sealing_vault(self) -> Vault:
        """The vault, to store secrets with. Raises :class:`ConfigError` where it would store plain what others seal."""
        check_sealing(self.connection, self.vault)
        return self.vault

    def check_cursor(
        self, cursor: str | None, key: Column[Any], owner: Column[Any], whose: str | None
    ) -> None:
        """Raise :class:`Refused` for a page's cursor that is no id of such a row, or of another merchant's."""
        if cursor is None:
            return
        query = select(key).where(key == cursor)
        if whose is not None:
            query = query.where(owner == whose)
        if self.connection.execute(query).first() is None:
            message = (
                f"{fields.quote(cursor)} is no cursor of this list; write the next_cursor of the page before"
            )
            raise Refused("validation", errors=[{"field": "cursor", "message": message}])


def fields_of(
    document: object, *known: str, required: tuple[str, ...] = (), what: str = "the body"
) -> Mapping[str, object]:
    """Return the members of a JSON object, None for no object at all, with only ``known`` names.

    Raises :class:`Refused` for what is unknown or missing.
    """
    if document is None:
        document = {}
    if not isinstance(document, Mapping):
        raise Refused("validation", f"{what} is a JSON object")
    problems = Problems()
    for name in document:
        if name not in known:
            problems.add(str(name), f"unknown field{suggest(str(name), known)}")
    for name in required:
        if document.get(name) is None:
            problems.add(name, "is missing")
    problems.check()
    return document


def read(field: str, reader: Callable[[Any], _T], value: object) -> _T:
    """Return what ``reader`` makes of one field. Raises :class:`Refused` with its name."""
    try:
        return reader(value)
    except ValueError as error:
        raise Refused("validation", errors=[{"field": field, "message": str(error)}]) from None
