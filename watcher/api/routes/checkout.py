"""The checkout of an intent, for whoever has its address: as JSON, and as a live stream."""

from typing import Annotated

from fastapi import APIRouter, Header, Query, Request, Response

from watcher.api import payers
from watcher.api.auth import api_of
from watcher.api.checkout_stream import CheckoutStream
from watcher.api.json_response import encode, with_etag

router = APIRouter(tags=["Checkout"])


@router.get("/v1/checkout/{token}", dependencies=payers.LIMITED)
async def get_checkout(token: str, request: Request) -> Response:
    """Return what the page of a payment shows."""
    document, _ = await api_of(request).checkout(token)
    return with_etag(request, encode(document))


@router.get("/v1/checkout/{token}/call", dependencies=payers.LIMITED)
async def get_wallet_call(
    token: str, request: Request, sender: Annotated[str, Query(max_length=128)]
) -> Response:
    """Return what the payer's wallet, whose address is ``sender``, is asked to do."""
    return with_etag(request, encode(await api_of(request).wallet_call(token, sender)))


@router.get("/v1/checkout/{token}/events", dependencies=payers.LIMITED)
async def stream_checkout(
    token: str,
    request: Request,
    after: Annotated[str | None, Query(max_length=64)] = None,
    last_event_id: Annotated[str | None, Header(alias="Last-Event-ID", max_length=64)] = None,
) -> Response:
    """Send what the page of a payment shows, as it is and whenever it changes: server-sent events.

    Each event is the whole document, its id the `version`. With that id as `after` or `Last-Event-ID`, the
    first event comes when something differs from it.
    """
    api = api_of(request)
    document, _ = await api.checkout(token)
    if request.scope["state"]["head"]:
        return Response(media_type=CheckoutStream.media_type)
    return CheckoutStream(
        api, token, document, address=payers.address_of(request), after=last_event_id or after
    )
