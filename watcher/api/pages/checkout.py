"""The page of a checkout, for whoever has its address."""

from fastapi import APIRouter, Request, Response

from watcher.api import payers
from watcher.api.auth import api_of
from watcher.api.pages.answer import answer
from watcher.api.pages.language import language_of
from watcher.api.pages.own_address import own_address
from watcher.web.checkout import checkout_page

router = APIRouter(tags=["Checkout"])


@router.get("/pay/{token}", dependencies=payers.LIMITED)
async def show_checkout(token: str, request: Request) -> Response:
    """Return the page of a payment."""
    api = api_of(request)
    document, origins = await api.checkout(token)
    language = language_of(request)
    url = own_address(request, api.settings.public_url, f"/pay/{token}")
    return answer(checkout_page(document, url=url, origins=origins, language=language), language=language)
