"""The services of a server: what :class:`watcher.services.Services` does, called over HTTP by
:mod:`watcher.client`.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from inspect import signature
from typing import TYPE_CHECKING, Any, cast

from watcher import schemas
from watcher.cli.backends.protocol import Document
from watcher.client import ApiError, Client, NotFound, Refused, Unauthorized
from watcher.client.methods import Method
from watcher.client.request import Request
from watcher.client.retry import read
from watcher.errors import NotFound as Missing
from watcher.errors import Refused as Denied
from watcher.errors import Unreachable, UsageError, WatcherError

if TYPE_CHECKING:
    from watcher.services import Services

#: Tries after the first, and seconds for one: somebody sits before it.
RETRIES = 2
TIMEOUT = 60.0

#: Merchants' keys begin so; the admin token is another text.
KEY_PREFIX = "sk_"

#: Where things are listed, by the word for one in "no intent pi_…".
_LISTS = {
    "intent": "intents list",
    "link": "links list",
    "transfer": "transfers list --unmatched",
    "endpoint": "endpoints list",
    "event": "events list",
    "delivery": "deliveries list",
    "merchant": "merchants list",
    "key": "merchants keys list MERCHANT",
}


#: Services whose name the client uses otherwise.
_NAMES = {"merchant_of": "merchant"}


class HttpBackend:
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
    def reading(self) -> Iterator["Services"]:
        """Return the services; every call is a request."""
        yield cast("Services", HttpServices(self))

    @contextmanager
    def writing(self, *, idempotency_key: str | None = None) -> Iterator["Services"]:
        """Return the services; every change is a transaction there."""
        yield cast("Services", HttpServices(self, idempotency_key))

    def endpoint_url(self, url: str | None) -> Any:
        """Return nothing: the server looks it up."""
        return None

    def password_hash(self, password: str | None) -> None:
        """Return nothing: the server hashes it."""

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def ask(self, request: Request[Any]) -> Document:
        """Return the document that a request brings. Raises :class:`WatcherError`, as the services here
        would.
        """
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

    def check_merchant(self, merchant: str | None) -> None:
        """Raise :class:`UsageError` for a merchant where the key says it."""
        if merchant is not None and self._of_merchant:
            raise UsageError("--merchant: the API key says whose it is", hint="leave --merchant out")

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


class HttpServices:
    """The methods of :class:`watcher.services.Services`, each one request: the client's method of the same
    name.
    """

    def __init__(self, backend: HttpBackend, idempotency_key: str | None = None) -> None:
        self._backend = backend
        self._key = idempotency_key

    def __getattr__(self, name: str) -> Callable[..., Document]:
        method = getattr(Client, _NAMES.get(name, name), None)
        if not isinstance(method, Method):
            raise AttributeError(f"the client has no method {name}")
        return partial(self._call, method)

    def _call(
        self,
        method: Method[..., Any],
        *ids_and_request: str | schemas.Request,
        url: None = None,
        password_hash: None = None,
    ) -> Document:
        """Send what a method's ids and request say. The server itself looks up the ``url`` and hashes the
        password.
        """
        ids = [each for each in ids_and_request if isinstance(each, str)]
        given = {
            name: value
            for each in ids_and_request
            if not isinstance(each, str)
            for name, value in each.document().items()
        }
        self._backend.check_merchant(given.get("merchant"))
        if "changes" in signature(method.build).parameters:
            given = {"changes": given}
        try:
            request = method.build(*ids, **given)
        except NotFound as error:
            raise Missing(error.detail) from None
        if request.method != "GET":
            request = replace(request, idempotency_key=self._key)
        return self._backend.ask(request)
