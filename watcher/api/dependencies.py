"""What routes take as parameters: a transaction to read in, one to write in, and ids."""

from collections.abc import Callable, Collection
from typing import Annotated, Any

from fastapi import Depends, Header, Path, Request, Response, Security
from fastapi.security import HTTPBearer

from watcher.api.auth import api_of
from watcher.api.caller import Caller
from watcher.api.request import ApiRequest
from watcher.api.transactions import TransactionRunner
from watcher.services import Services
from watcher.services.passwords import hash_password
from watcher.services.webhooks import endpoint_url

#: How the two kinds of callers authenticate, for the description; :mod:`watcher.api.auth` does it.
API_KEY = HTTPBearer(
    scheme_name="api_key", description="An API key: `sk_live_…` or `sk_test_…`.", auto_error=False
)
ADMIN_TOKEN = HTTPBearer(
    scheme_name="admin_token",
    description="The operator's `admin_token`: opens all routes, for all merchants.",
    auto_error=False,
)

_IDEMPOTENCY_KEY = "The same key and body give the first answer again, for 24 hours. For example a UUID."
_IF_NONE_MATCH = "The `ETag` that you have: answered 304 if it is still the same."


class _Transaction:
    """One request's way to the database."""

    def __init__(self, request: Request) -> None:
        self.api: TransactionRunner = api_of(request)
        self.caller: Caller = request.state.authenticated
        assert isinstance(request, ApiRequest)
        self.request = request


class Reading(_Transaction):
    """Reads in one transaction; ``await read(lambda services: services.intent(id))`` is the answer."""

    async def __call__(self, work: Callable[[Services], Any]) -> Response:
        """Answer with the document that ``work`` returns, or 304 when the caller has it already."""
        return await self.api.read(self.request, self.caller, work)

    async def document(self, work: Callable[[Services], Any]) -> Any:
        """Return the document that ``work`` returns, for an answer that is made of it."""
        return await self.api.read_with(self.caller, work)

    async def wait_for_change(self, intent_id: str, *, seconds: float, seen: Collection[str]) -> None:
        """Wait while an intent's status is one of ``seen``, but no longer than ``seconds``."""
        await self.api.wait_for_intent(self.request, self.caller, intent_id, seconds=seconds, seen=seen)


class Writing(_Transaction):
    """Writes in one transaction, once; ``await write(lambda services: services.cancel_intent(id, body))`` is
    the answer.
    """

    async def __call__(self, work: Callable[[Services], Any]) -> Response:
        """Answer with the document that ``work`` returns."""
        return await self._change(lambda services, _: work(services))

    async def with_url(self, url: str | None, work: Callable[[Services, Any], Any]) -> Response:
        """The same, with an endpoint's URL (None for none) looked up before the transaction begins."""
        return await self._change(work, before=lambda: endpoint_url(self.api.settings, url))

    async def with_password(self, password: str | None, work: Callable[[Services, Any], Any]) -> Response:
        """The same, with a link's password (None for none) hashed before the transaction begins."""
        before = None if password is None else lambda: hash_password(password)
        return await self._change(work, before=before)

    async def _change(
        self, work: Callable[[Services, Any], Any], *, before: Callable[[], object] | None = None
    ) -> Response:
        status = self.request.scope["route"].status_code or 200
        return await self.api.write(self.request, self.caller, work, status=status, before=before)


# Functions that describe the headers, which are read elsewhere; ``async``, because the framework runs what is
# not in a thread pool of its own.


async def _reading(
    request: Request,
    if_none_match: Annotated[str | None, Header(alias="If-None-Match", description=_IF_NONE_MATCH)] = None,
) -> Reading:
    return Reading(request)


async def _writing(
    request: Request,
    idempotency_key: Annotated[
        str | None,
        Header(
            alias="Idempotency-Key",
            description=_IDEMPOTENCY_KEY,
            json_schema_extra={"minLength": 1, "maxLength": 255, "pattern": "^[\\x20-\\x7e]+$"},
        ),
    ] = None,
) -> Writing:
    return Writing(request)


Read = Annotated[Reading, Depends(_reading)]
Write = Annotated[Writing, Depends(_writing)]
#: An id in the path; what cannot be one is answered 404.
Id = Annotated[str, Path(pattern="^[A-Za-z0-9_]{1,64}$", description="The id.")]

#: For the description of routes.
BY_KEY = [Security(API_KEY), Security(ADMIN_TOKEN)]  # either of them
BY_ADMIN_TOKEN = [Security(ADMIN_TOKEN)]
