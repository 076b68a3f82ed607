"""The desk at a server: what :class:`watcher.desk.Desk` does there, asked over HTTP by :mod:`watcher.client`."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from watcher.cli.offices import AnyDesk, Document
from watcher.client import ApiError, Client, NotFound, Refused, Unauthorized, routes
from watcher.client.exchange import read
from watcher.client.request import Listing, Request, Route
from watcher.errors import NotFound as Missing
from watcher.errors import Refused as Denied
from watcher.errors import Unreachable, UsageError, WatcherError

#: Tries after the first, and seconds for one: somebody sits before it.
RETRIES = 2
TIMEOUT = 60.0

#: Merchants' keys begin so; the admin token is another text.
KEY_PREFIX = "sk_"

#: Where things are listed, by the word for one in "no intent pi_…".
_LISTS = {
    "intent": "intents list",
    "transfer": "transfers list --unmatched",
    "endpoint": "endpoints list",
    "event": "events list",
    "delivery": "deliveries list",
    "merchant": "merchants list",
    "key": "merchants keys list MERCHANT",
}


class RemoteOffice:
    """A server. ``key`` is a merchant's API key, or the admin token."""

    def __init__(self, server: str, key: str, *, allow_http: bool = False) -> None:
        try:
            self._client = Client(server, key, timeout=TIMEOUT, retries=RETRIES, allow_http=allow_http)
        except ValueError as error:
            hint = "--allow-http allows it" if "http://" in str(error) else ""
            raise UsageError(f"--server: {error}", hint=hint) from None
        self._of_merchant = key.startswith(KEY_PREFIX)
        self._repeated = 0

    @property
    def repeated(self) -> int:
        """How many answers were those to earlier requests."""
        return self._repeated

    @contextmanager
    def reading(self) -> Iterator[AnyDesk]:
        """Give out a desk; every call is a request."""
        yield RemoteDesk(self)

    @contextmanager
    def writing(self, *, idempotency_key: str | None = None) -> Iterator[AnyDesk]:
        """Give out a desk; every change is a transaction there."""
        yield RemoteDesk(self, idempotency_key)

    def endpoint_url(self, document: Mapping[str, Any]) -> Any:
        """Return nothing: the server looks it up."""
        return None

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def ask(self, request: Request[Any]) -> Document:
        """Return the document that a request brings. Raises :class:`WatcherError`, as a desk here would."""
        try:
            document, reply = self._client.document(request)
            read(
                request, document, reply
            )  # what it is made from is shown below: all that came, and in that order
        except ApiError as error:
            raise self._explained(request, error) from error
        if reply.headers.get("idempotent-replayed") == "true":
            self._repeated += 1
        return document

    def whose(self, merchant: str | None) -> str | None:
        """Return the merchant to ask for. Raises :class:`UsageError` for one where the key says it."""
        if merchant is not None and self._of_merchant:
            raise UsageError("--merchant: the API key says whose it is", hint="leave --merchant out")
        return merchant

    def _explained(self, request: Request[Any], error: ApiError) -> WatcherError:
        server = self._client.base_url
        if isinstance(error, NotFound):
            listed = _LISTS.get(error.detail.removeprefix("no ").partition(" ")[0])
            hint = f"`sbtc-watcher {listed}` shows them" if listed else ""
            if request.path.startswith("/v1/admin/") and error.detail == "Not Found":
                hint = "the server has these routes only with the setting admin_token"
            return Missing(error.detail, hint=hint)
        if isinstance(error, Refused):
            errors = [{"field": wrong.field, "message": wrong.message} for wrong in error.errors]
            # Field by field on lines of their own, as here; other details come in lines already.
            message = "" if errors and error.code == "validation" else error.detail
            return Denied(error.code, message, errors=errors)
        if isinstance(error, Unauthorized):
            return UsageError(
                f"{server}: {error.detail}",
                hint="check the key; `merchants keys add` makes others",
            )
        hint = f"request {error.request_id} in the server's log" if error.request_id else ""
        if request.method != "GET" and error.status is None:
            hint = "it may have been done all the same: look before you repeat it"
        return Unreachable(f"{server}: {error.detail}", hint=hint)


class RemoteDesk:
    """The methods of :class:`watcher.desk.Desk`, each one request."""

    def __init__(self, office: RemoteOffice, idempotency_key: str | None = None) -> None:
        self._office = office
        self._key = idempotency_key

    def create_intent(self, document: object, *, merchant: str | None = None) -> Document:
        return self._create(routes.CREATE_INTENT, document, merchant)

    def create_intents(self, documents: object, *, merchant: str | None = None) -> Document:
        return self._create(routes.CREATE_INTENTS, {"intents": documents}, merchant)

    def intent(self, intent_id: str) -> Document:
        return self._do(routes.INTENT, intent_id)

    def intents(self, *, merchant: str | None = None, **filters: Any) -> Document:
        return self._list(routes.INTENTS, merchant, filters)

    def cancel_intent(self, intent_id: str, document: object = None) -> Document:
        return self._do(routes.CANCEL_INTENT, intent_id, body=document)

    def mark_intent(self, intent_id: str, document: object) -> Document:
        return self._do(routes.MARK_INTENT, intent_id, body=document)

    def dismiss_intent(self, intent_id: str, document: object) -> Document:
        return self._do(routes.DISMISS_INTENT, intent_id, body=document)

    def transfers(self, *, merchant: str | None = None, **filters: Any) -> Document:
        return self._list(routes.TRANSFERS, merchant, filters)

    def assign_transfer(self, transfer_id: str, document: object) -> Document:
        return self._do(routes.ASSIGN_TRANSFER, transfer_id, body=document)

    def add_endpoint(self, document: object, *, url: Any, merchant: str | None = None) -> Document:
        return self._create(routes.ADD_ENDPOINT, document, merchant)

    def endpoints(self, *, merchant: str | None = None, **filters: Any) -> Document:
        return self._list(routes.ENDPOINTS, merchant, filters)

    def change_endpoint(self, endpoint_id: str, document: object) -> Document:
        return self._do(routes.CHANGE_ENDPOINT, endpoint_id, body=document)

    def remove_endpoint(self, endpoint_id: str) -> Document:
        return self._do(routes.REMOVE_ENDPOINT, endpoint_id)

    def rotate_endpoint_secret(self, endpoint_id: str, document: object = None) -> Document:
        return self._do(routes.ROTATE_ENDPOINT_SECRET, endpoint_id, body=document)

    def test_endpoint(self, endpoint_id: str) -> Document:
        return self._do(routes.TEST_ENDPOINT, endpoint_id)

    def recover_endpoint(self, endpoint_id: str) -> Document:
        return self._do(routes.RECOVER_ENDPOINT, endpoint_id)

    def replay_endpoint(self, endpoint_id: str, document: object) -> Document:
        return self._do(routes.REPLAY_ENDPOINT, endpoint_id, body=document)

    def deliveries(self, *, merchant: str | None = None, **filters: Any) -> Document:
        return self._list(routes.DELIVERIES, merchant, filters)

    def delivery(self, delivery_id: str) -> Document:
        return self._do(routes.DELIVERY, delivery_id)

    def retry_delivery(self, delivery_id: str) -> Document:
        return self._do(routes.RETRY_DELIVERY, delivery_id)

    def dismiss_delivery(self, delivery_id: str) -> Document:
        return self._do(routes.DISMISS_DELIVERY, delivery_id)

    def events(self, *, merchant: str | None = None, **filters: Any) -> Document:
        return self._list(routes.EVENTS, merchant, filters)

    def event(self, event_id: str) -> Document:
        return self._do(routes.EVENT, event_id)

    def redeliver_event(self, event_id: str, document: object = None) -> Document:
        return self._do(routes.REDELIVER_EVENT, event_id, body=document)

    def status(self) -> Document:
        return self._do(routes.STATUS)

    def add_merchant(self, document: object) -> Document:
        return self._do(routes.ADD_MERCHANT, body=document)

    def merchant_of(self, merchant_id: str) -> Document:
        return self._do(routes.MERCHANT, merchant_id)

    def merchants(self, *, limit: int = 20, cursor: str | None = None) -> Document:
        return self._list(routes.MERCHANTS, None, {"limit": limit, "cursor": cursor})

    def change_merchant(self, merchant_id: str, document: object) -> Document:
        return self._do(routes.CHANGE_MERCHANT, merchant_id, body=document)

    def rotate_merchant_key(self, merchant_id: str, document: object = None) -> Document:
        return self._do(routes.ROTATE_MERCHANT_KEY, merchant_id, body=document)

    def merchant_keys(self, merchant_id: str) -> Document:
        return self._do(routes.MERCHANT_KEYS, merchant_id)

    def add_merchant_key(self, merchant_id: str, document: object = None) -> Document:
        return self._do(routes.ADD_MERCHANT_KEY, merchant_id, body=document)

    def revoke_merchant_key(self, merchant_id: str, key_id: str) -> Document:
        return self._do(routes.REVOKE_MERCHANT_KEY, merchant_id, key_id)

    def _do(self, route: Route[Any], *ids: str, body: object = None) -> Document:
        try:
            request = route.to(*ids, body=body, idempotency_key=self._key)
        except NotFound as error:
            raise Missing(error.detail) from None
        return self._office.ask(request)

    def _create(self, route: Route[Any], document: object, merchant: str | None) -> Document:
        whose = self._office.whose(merchant)
        if isinstance(document, Mapping) and whose is not None:
            document = {**document, "merchant": whose}
        return self._do(route, body=document)

    def _list(self, listing: Listing[Any, Any], merchant: str | None, filters: Mapping[str, Any]) -> Document:
        query = {**filters, "merchant": self._office.whose(merchant)}
        return self._office.ask(listing.to(query=query))
