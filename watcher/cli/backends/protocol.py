"""Where commands find the services: on this machine's database, or on a server, over HTTP."""

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from watcher.services import Services

#: A document of the public interface.
Document = dict[str, Any]


class Backend(Protocol):
    """Opens the services, one transaction at a time.

    A command says what it wants once; both kinds of services have the methods of :class:`watcher.services.Services`, give the same
    documents, and refuse in the same words.
    """

    @property
    def repeated(self) -> int:
        """How many changes had been made before, under the same idempotency key, and were not made again."""
        ...

    def reading(self) -> AbstractContextManager["Services"]:
        """Open the services for reading."""
        ...

    def writing(self, *, idempotency_key: str | None = None) -> AbstractContextManager["Services"]:
        """Open the services for writing: one transaction, all of it or nothing.

        ``idempotency_key``: at a server the one change is made once under it, within 24 hours.
        """
        ...

    def endpoint_url(self, url: str | None) -> Any:
        """Return what :meth:`watcher.services.Services.add_endpoint` takes as the URL: looked up before the transaction begins."""
        ...
