"""Webhook endpoints: where a merchant's webhooks go."""

from typing import Any

from fastapi import APIRouter, Request, Response

from notifier.guard import CheckedUrl
from watcher import documents
from watcher.desk import Desk
from watcher.desk.webhooks import endpoint_url
from watcher.http import query
from watcher.http.callers import Id, Reader, Writer, api_of
from watcher.http.describe import describe
from watcher.http.query import read_query
from watcher.http.whose import for_whom, operators

router = APIRouter(prefix="/v1/webhook_endpoints", tags=["Webhook endpoints"])

#: A body, and what its URL was found to be.
_Checked = tuple[Any, CheckedUrl | None]


@router.post(
    "", **describe(answer=documents.EndpointWithSecret, status=201, body=documents.NewEndpoint, errors=(404,))
)
async def create_webhook_endpoint(request: Request, caller: Writer) -> Response:
    """Add a webhook endpoint. Its secret, which verifies signatures, is shown this once."""

    def create(desk: Desk, checked: _Checked) -> Any:
        body, url = checked
        merchant, rest = for_whom(caller, body)
        return desk.add_endpoint(rest, url=url, merchant=merchant)

    return await api_of(request).change(request, caller, create, before=_checker(request))


@router.get("", **describe(answer=documents.EndpointPage, parameters=(*query.PAGE, query.MERCHANT)))
async def list_webhook_endpoints(request: Request, caller: Reader) -> Response:
    """List webhook endpoints, newest first."""
    asked = read_query(request, *query.PAGE, *operators(caller))
    return await api_of(request).look(request, caller, lambda desk: desk.endpoints(**asked))


@router.get("/{endpoint_id}", **describe(answer=documents.Endpoint, errors=(404,)))
async def get_webhook_endpoint(request: Request, caller: Reader, endpoint_id: Id) -> Response:
    """Return one webhook endpoint."""
    read_query(request)
    return await api_of(request).look(request, caller, lambda desk: desk.endpoint(endpoint_id))


@router.patch(
    "/{endpoint_id}", **describe(answer=documents.Endpoint, body=documents.ChangeEndpoint, errors=(404,))
)
async def change_webhook_endpoint(request: Request, caller: Writer, endpoint_id: Id) -> Response:
    """Change a webhook endpoint: its URL, what it gets, or whether it is sent to at all."""

    def change(desk: Desk, checked: _Checked) -> Any:
        body, url = checked
        return desk.change_endpoint(endpoint_id, body, url=url)

    return await api_of(request).change(request, caller, change, status=200, before=_checker(request))


@router.delete("/{endpoint_id}", **describe(answer=documents.RemovedEndpoint, changes=True, errors=(404,)))
async def remove_webhook_endpoint(request: Request, caller: Writer, endpoint_id: Id) -> Response:
    """Remove a webhook endpoint; what was not delivered to it is given up."""
    return await api_of(request).change(
        request, caller, lambda desk, body: desk.remove_endpoint(endpoint_id, body), status=200
    )


@router.post(
    "/{endpoint_id}/rotate_secret",
    **describe(
        answer=documents.EndpointWithSecret, body=documents.RotateSecret, body_needed=False, errors=(404,)
    ),
)
async def rotate_webhook_endpoint_secret(request: Request, caller: Writer, endpoint_id: Id) -> Response:
    """Give a webhook endpoint a fresh secret, shown this once; the old one signs too for a while."""
    return await api_of(request).change(
        request, caller, lambda desk, body: desk.rotate_endpoint_secret(endpoint_id, body), status=200
    )


@router.post("/{endpoint_id}/test", **describe(answer=documents.TestEvent, changes=True, errors=(404,)))
async def test_webhook_endpoint(request: Request, caller: Writer, endpoint_id: Id) -> Response:
    """Send a webhook endpoint a `webhook.test` event, the way that all go."""
    return await api_of(request).change(
        request, caller, lambda desk, body: desk.test_endpoint(endpoint_id, body), status=200
    )


@router.post("/{endpoint_id}/recover", **describe(answer=documents.Recovered, changes=True, errors=(404,)))
async def recover_webhook_endpoint(request: Request, caller: Writer, endpoint_id: Id) -> Response:
    """Send what was given up to a webhook endpoint once more."""
    return await api_of(request).change(
        request, caller, lambda desk, body: desk.recover_endpoint(endpoint_id, body), status=200
    )


@router.post(
    "/{endpoint_id}/replay", **describe(answer=documents.Replayed, body=documents.Replay, errors=(404,))
)
async def replay_webhook_endpoint(request: Request, caller: Writer, endpoint_id: Id) -> Response:
    """Send a webhook endpoint everything since a time once more."""
    return await api_of(request).change(
        request, caller, lambda desk, body: desk.replay_endpoint(endpoint_id, body), status=200
    )


def _checker(request: Request) -> Any:
    """Return what looks up the name in a body's URL, which takes its time: before the transaction."""
    settings = api_of(request).settings

    def check(body: Any) -> _Checked:
        return body, endpoint_url(settings, body)

    return check
