"""The page of a checkout, for whoever has its address."""

from fastapi import APIRouter, Request, Response

from watcher.api import payers
from watcher.api.auth import api_of
from watcher.api.pages.answer import answer
from watcher.api.pages.language import language_of
from watcher.urls import parse_page_url
from watcher.web.checkout import checkout_page

router = APIRouter(tags=["Checkout"])


@router.get("/pay/{token}", dependencies=payers.LIMITED)
async def show_checkout(token: str, request: Request) -> Response:
    """Return the page of a payment."""
    api = api_of(request)
    document, origins = await api.checkout(token)
    language = language_of(request)
    url = own_url(request, api.settings.public_url, token)
    return answer(checkout_page(document, url=url, origins=origins, language=language), language=language)


def own_url(request: Request, public_url: str | None, token: str) -> str | None:
    """Return the address of a checkout's page for another device, None where it is not known."""
    if public_url is not None:
        return f"{public_url}/pay/{token}"
    try:
        return parse_page_url(f"{request.url.scheme}://{request.headers.get('host', '')}/pay/{token}")
    except ValueError:
        return None
