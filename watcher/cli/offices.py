"""Where commands find a desk: in this machine's database, or at a server that is asked over HTTP.

A command says what it wants once; both kinds of desk have the methods of :class:`watcher.desk.Desk`, give the same
documents, and refuse in the same words.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol

from notifier.events import EventType
from watcher.intents import Flag, Status

#: A document of the public interface.
Document = dict[str, Any]


class AnyDesk(Protocol):
    """What commands ask for; see :class:`watcher.desk.Desk`."""

    def create_intent(self, document: object, *, merchant: str | None = None) -> Document: ...
    def create_intents(self, documents: object, *, merchant: str | None = None) -> Document: ...
    def intent(self, intent_id: str) -> Document: ...
    def intents(
        self,
        *,
        merchant: str | None = None,
        status: Status | None = None,
        flag: Flag | None = None,
        attention: bool = False,
        reference: str | None = None,
        created_from: float | None = None,
        created_to: float | None = None,
        metadata: Mapping[str, str] | None = None,
        limit: int = 20,
        cursor: str | None = None,
    ) -> Document: ...
    def cancel_intent(self, intent_id: str, document: object = None) -> Document: ...
    def mark_intent(self, intent_id: str, document: object) -> Document: ...
    def dismiss_intent(self, intent_id: str, document: object) -> Document: ...

    def transfers(
        self,
        *,
        merchant: str | None = None,
        unmatched: bool = False,
        limit: int = 20,
        cursor: str | None = None,
    ) -> Document: ...
    def assign_transfer(self, transfer_id: str, document: object) -> Document: ...

    def add_endpoint(self, document: object, *, url: Any, merchant: str | None = None) -> Document: ...
    def endpoints(
        self, *, merchant: str | None = None, limit: int = 20, cursor: str | None = None
    ) -> Document: ...
    def change_endpoint(self, endpoint_id: str, document: object) -> Document: ...
    def remove_endpoint(self, endpoint_id: str) -> Document: ...
    def rotate_endpoint_secret(self, endpoint_id: str, document: object = None) -> Document: ...
    def test_endpoint(self, endpoint_id: str) -> Document: ...
    def recover_endpoint(self, endpoint_id: str) -> Document: ...
    def replay_endpoint(self, endpoint_id: str, document: object) -> Document: ...

    def deliveries(
        self,
        *,
        merchant: str | None = None,
        endpoint: str | None = None,
        event: str | None = None,
        status: str | None = None,
        limit: int = 20,
        cursor: str | None = None,
    ) -> Document: ...
    def delivery(self, delivery_id: str) -> Document: ...
    def retry_delivery(self, delivery_id: str) -> Document: ...

    def events(
        self,
        *,
        merchant: str | None = None,
        type: EventType | None = None,  # noqa: A002 - it is called so
        intent: str | None = None,
        limit: int = 20,
        cursor: str | None = None,
    ) -> Document: ...
    def event(self, event_id: str) -> Document: ...
    def redeliver_event(self, event_id: str, document: object = None) -> Document: ...

    def status(self) -> Document: ...

    def add_merchant(self, document: object) -> Document: ...
    def merchant_of(self, merchant_id: str) -> Document: ...
    def merchants(self, *, limit: int = 20, cursor: str | None = None) -> Document: ...
    def change_merchant(self, merchant_id: str, document: object) -> Document: ...
    def rotate_merchant_key(self, merchant_id: str, document: object = None) -> Document: ...
    def merchant_keys(self, merchant_id: str) -> Document: ...
    def add_merchant_key(self, merchant_id: str, document: object = None) -> Document: ...
    def revoke_merchant_key(self, merchant_id: str, key_id: str) -> Document: ...


class Office(Protocol):
    """Gives out desks, one for each transaction."""

    @property
    def repeated(self) -> int:
        """How many changes had been made before, under the same idempotency key, and were not made again."""
        ...

    def reading(self) -> AbstractContextManager[AnyDesk]:
        """Open a desk to look at."""
        ...

    def writing(self, *, idempotency_key: str | None = None) -> AbstractContextManager[AnyDesk]:
        """Open a desk to change something at, all of it or nothing.

        ``idempotency_key``: at a server the one change is made once under it, within 24 hours.
        """
        ...

    def endpoint_url(self, document: Mapping[str, Any]) -> Any:
        """Return what :meth:`AnyDesk.add_endpoint` takes as the URL: looked up before the transaction begins."""
        ...
