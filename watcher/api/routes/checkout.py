"""The checkout of an intent, for whoever has its address: as JSON, as a live stream, as a page."""

from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query, Request, Response

from watcher.api import payers
from watcher.api.auth import api_of
from watcher.api.checkout_stream import CheckoutStream
from watcher.api.errors import not_found
from watcher.api.json_response import encode, with_etag
from watcher.errors import NotFound
from watcher.urls import parse_page_url
from watcher.web import assets
from watcher.web.checkout import MEDIA_TYPE, checkout_page, lost_page

router = APIRouter(tags=["Checkout"])


async def _limited(request: Request) -> None:
    payers.check_limit(request)


LIMITED = [Depends(_limited)]


@router.get("/v1/checkout/{token}", dependencies=LIMITED)
async def get_checkout(token: str, request: Request) -> Response:
    """Return what the page of a payment shows."""
    document, _ = await api_of(request).checkout(token)
    return with_etag(request, encode(document))


@router.get("/v1/checkout/{token}/events", dependencies=LIMITED)
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


@router.get("/pay/{token}", dependencies=LIMITED)
async def show_checkout(token: str, request: Request) -> Response:
    """Return the page of a payment."""
    api = api_of(request)
    try:
        document, origins = await api.checkout(token)
    except NotFound:
        lost = lost_page()
        return Response(lost.html, status_code=404, headers=dict(lost.headers), media_type=MEDIA_TYPE)
    url = _own_url(request, api.settings.public_url, token)
    page = checkout_page(document, url=url, origins=origins)
    return Response(page.html, headers=dict(page.headers), media_type=MEDIA_TYPE)


@router.get("/pay/assets/{name}")
async def get_asset(name: str) -> Response:
    """Return a style or a script of the page."""
    asset = assets.find(name)
    if asset is None:
        not_found()
    return Response(asset.content, media_type=asset.media_type, headers={"cache-control": assets.CACHE})


def _own_url(request: Request, public_url: str | None, token: str) -> str | None:
    """Return the address of the page for another device, None where it is not known."""
    if public_url is not None:
        return f"{public_url}/pay/{token}"
    try:
        return parse_page_url(f"{request.url.scheme}://{request.headers.get('host', '')}/pay/{token}")
    except ValueError:
        return None
