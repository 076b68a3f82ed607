"""The page of a checkout, for whoever has its address."""

from fastapi import APIRouter, Request, Response

from watcher.api import payers
from watcher.api.auth import api_of
from watcher.api.pages.answer import answer
from watcher.api.pages.forms import read_form
from watcher.api.pages.language import language_of
from watcher.api.pages.own_address import own_address
from watcher.errors import Refused
from watcher.web.checkout import checkout_page

router = APIRouter(tags=["Checkout"])

#: The parameter of a page that says that what the payer asked for was not done.
UNCHANGED = "unchanged"


@router.get("/pay/{token}", dependencies=payers.LIMITED)
async def show_checkout(token: str, request: Request) -> Response:
    """Return the page of a payment."""
    api = api_of(request)
    document, origins = await api.checkout(token)
    language = language_of(request)
    url = own_address(request, api.settings.public_url, f"/pay/{token}")
    unchanged = UNCHANGED in request.query_params
    page = checkout_page(document, url=url, origins=origins, language=language, unchanged=unchanged)
    return answer(page, language=language)


@router.post("/pay/{token}", dependencies=payers.LIMITED)
async def change_checkout(token: str, request: Request) -> Response:
    """Go on in another asset, or start anew what ended unpaid, and show the checkout that takes its place.

    Where that is not possible any more, the checkout itself says so, and how it stands.
    """
    links = api_of(request).links
    form = await read_form(request)
    asset, address = form.optional("asset"), payers.limited_address(request)
    try:
        if asset is not None:
            following = await links.switch_checkout(token, asset, address=address)
        else:
            following = await links.restart_checkout(token, address=address)
        unchanged = {}
    except Refused:
        following, unchanged = token, {UNCHANGED: ""}
    query = str(request.url.remove_query_params(UNCHANGED).include_query_params(**unchanged).query)
    return Response(status_code=303, headers={"location": f"{following}?{query}" if query else following})
