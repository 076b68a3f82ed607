"""The interface between commands and backends."""

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from watcher.services import Services

#: A document of the public interface.
Document = dict[str, Any]


class Backend(Protocol):
    """Access to the services, one transaction at a time.

    Both backends offer the methods of :class:`watcher.services.Services`, with the same documents and errors:
    a command is written once.
    """

    @property
    def repeated(self) -> int:
        """The number of changes that were not made because they were stored before under the same key."""
        ...

    def reading(self) -> AbstractContextManager["Services"]:
        """Open the services for reading."""
        ...

    def writing(self, *, idempotency_key: str | None = None) -> AbstractContextManager["Services"]:
        """Open the services for writing, in one transaction.

        ``idempotency_key``: a server makes the change at most once under this key within 24 hours.
        """
        ...

    def endpoint_url(self, url: str | None) -> Any:
        """Resolve the URL for :meth:`watcher.services.Services.add_endpoint`, outside any transaction."""
        ...

    def password_hash(self, password: str | None) -> Any:
        """Hash the password for :meth:`watcher.services.Services.create_link`, outside any transaction."""
        ...
