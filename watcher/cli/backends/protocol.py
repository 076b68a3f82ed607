"""Where commands find a desk: in this machine's database, or at a server that is asked over HTTP."""

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from watcher.services import Desk

#: A document of the public interface.
Document = dict[str, Any]


class Office(Protocol):
    """Gives out desks, one for each transaction.

    A command says what it wants once; both kinds of desk have the methods of :class:`watcher.services.Desk`, give the same
    documents, and refuse in the same words.
    """

    @property
    def repeated(self) -> int:
        """How many changes had been made before, under the same idempotency key, and were not made again."""
        ...

    def reading(self) -> AbstractContextManager["Desk"]:
        """Open a desk to look at."""
        ...

    def writing(self, *, idempotency_key: str | None = None) -> AbstractContextManager["Desk"]:
        """Open a desk to change something at, all of it or nothing.

        ``idempotency_key``: at a server the one change is made once under it, within 24 hours.
        """
        ...

    def endpoint_url(self, url: str | None) -> Any:
        """Return what :meth:`watcher.services.Desk.add_endpoint` takes as the URL: looked up before the transaction begins."""
        ...
