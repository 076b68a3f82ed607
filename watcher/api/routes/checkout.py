"""The checkout of an intent, for whoever has its address: as JSON, and as a live stream."""

from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Query, Request, Response

from watcher import schemas
from watcher.api import payers
from watcher.api.auth import api_of
from watcher.api.checkout_stream import CheckoutStream
from watcher.api.json_response import encode, with_etag
from watcher.api.responses import reads_openly, streams_openly
from watcher.schemas import WaitForCheckout
from watcher.schemas.checkout import Version, WalletCall

router = APIRouter(prefix="/v1/checkout", tags=["Checkout"], dependencies=payers.LIMITED)

#: For the description: no key is asked for.
OPEN: dict[str, Any] = {"security": []}

Token = Annotated[str, Path(description="The last part of `checkout_url`.")]


@router.get("/{token}", response_model=schemas.Checkout, responses=reads_openly(404), openapi_extra=OPEN)
async def get_checkout(
    token: Token, query: Annotated[WaitForCheckout, Query()], request: Request
) -> Response:
    """Return what the page of a payment shows, with `wait` when that changes."""
    api = api_of(request)
    if query.wait:
        await api.wait_for_checkout(
            request, token, address=payers.limited_address(request), seconds=query.wait, after=query.after
        )
    document, _ = await api.checkout(token)
    return with_etag(request, encode(document))


@router.get("/{token}/call", response_model=WalletCall, responses=reads_openly(404, 409), openapi_extra=OPEN)
async def get_wallet_call(
    token: Token,
    request: Request,
    sender: Annotated[str, Query(max_length=128, description="The address that the payer's wallet has.")],
) -> Response:
    """Return what the payer's wallet, whose address is `sender`, is asked to do."""
    return with_etag(request, encode(await api_of(request).wallet_call(token, sender)))


@router.get("/{token}/events", response_class=Response, responses=streams_openly(404), openapi_extra=OPEN)
async def stream_checkout(
    token: Token,
    request: Request,
    after: Annotated[Version | None, Query(description="The `version` that you have.")] = None,
    last_event_id: Annotated[
        Version | None, Header(alias="Last-Event-ID", description="The same, as browsers send it.")
    ] = None,
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
        api, token, document, address=payers.limited_address(request), after=last_event_id or after
    )
