"""For operators: the merchants, which one to look at, and links that sign them in."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from watcher.api.dependencies import Id
from watcher.api.pages.dashboard.dependencies import (
    REFUSALS,
    FormIn,
    Read,
    Reading,
    Show,
    Showing,
    SignedIn,
    Write,
    errors_of,
)
from watcher.api.pages.dashboard.route import OperatorRoute
from watcher.schemas import ChangeMerchant, NewLoginLink, NewMerchant, Page

router = APIRouter(prefix="/dashboard/merchants", route_class=OperatorRoute)

_ROWS = 25

#: Fields of the form for a merchant that is there; an empty one stands for the settings' value.
_FIELDS = ("name", "recipient", "level", "ttl", "tolerance", "late_policy")


@router.get("")
async def list_merchants(
    read: Read, show: Show, cursor: Annotated[str | None, Query(max_length=40)] = None
) -> Response:
    """List the merchants, newest first, with a form for one more."""
    return await _list(read, show, cursor)


@router.post("")
async def add_merchant(request: Request, form: FormIn, read: Read, write: Write, show: Show) -> Response:
    """Add a merchant and show their key, this once."""
    try:
        body = NewMerchant.of({"name": form.text("name"), "recipient": form.text("recipient")})
        made = await write.of_all(lambda services: services.add_merchant(body))
    except REFUSALS as error:
        return await _list(read, show, status=422, values=form.values, errors=errors_of(request, error))
    return await _list(read, show, made=made)


@router.post("/all/view")
async def view_all(viewer: SignedIn, write: Write, show: Show) -> Response:
    """Look at all merchants."""
    await write.of_all(lambda services: services.view_merchant(viewer.session.id, None))
    return show.redirect("")


@router.post("/{merchant_id}/view")
async def view_merchant(merchant_id: Id, viewer: SignedIn, write: Write, show: Show) -> Response:
    """Look at one merchant."""
    await write.of_all(lambda services: services.view_merchant(viewer.session.id, merchant_id))
    return show.redirect("")


@router.get("/{merchant_id}")
async def show_merchant(merchant_id: Id, read: Read, show: Show) -> Response:
    """Show one merchant."""
    return await _one(merchant_id, read, show)


@router.post("/{merchant_id}")
async def change_merchant(
    merchant_id: Id, request: Request, form: FormIn, read: Read, write: Write, show: Show
) -> Response:
    """Change what the form has; intents keep what they were made with."""
    changes: dict[str, Any] = {name: form.optional(name) for name in _FIELDS}
    try:
        body = ChangeMerchant.of(changes)
        await write.of_all(lambda services: services.change_merchant(merchant_id, body))
    except REFUSALS as error:
        return await _one(
            merchant_id, read, show, status=422, values=form.values, errors=errors_of(request, error)
        )
    return show.redirect(f"merchants/{merchant_id}", said="Saved. Intents keep what they were made with.")


@router.post("/{merchant_id}/disable")
async def disable_merchant(merchant_id: Id, write: Write, show: Show) -> Response:
    """Disable a merchant: no new intents, no keys, no sessions."""
    body = ChangeMerchant(status="disabled")
    await write.of_all(lambda services: services.change_merchant(merchant_id, body))
    return show.redirect(f"merchants/{merchant_id}", said="The merchant is disabled.")


@router.post("/{merchant_id}/login-link")
async def make_login_link(
    merchant_id: Id, request: Request, form: FormIn, read: Read, write: Write, show: Show
) -> Response:
    """Make a link that signs the merchant in once, and show it."""
    body = NewLoginLink.of({"scopes": form.texts("scopes")} if form.texts("scopes") else {})
    try:
        made = await write.of_all(lambda services: services.add_login_link(merchant_id, body))
    except REFUSALS as error:
        return await _one(merchant_id, read, show, status=422, errors=errors_of(request, error))
    origin = request.headers.get("origin", "")
    url = made["url"] or (origin if origin.startswith("http") else "") + made["path"]
    return await _one(merchant_id, read, show, link=made | {"url": url})


async def _list(
    read: Reading, show: Showing, cursor: str | None = None, *, status: int = 200, **values: Any
) -> Response:
    page = Page.of({"limit": _ROWS} | ({"cursor": cursor} if cursor else {}))
    found = await read.of_all(lambda services: services.merchants(page))
    defaults: dict[str, Any] = {"made": None, "values": {}, "errors": {}}
    return show("merchants", status=status, merchants=found, cursor=cursor, **(defaults | values))


async def _one(
    merchant_id: str, read: Reading, show: Showing, *, status: int = 200, **values: Any
) -> Response:
    merchant, keys = await read.of_all(
        lambda services: (services.merchant_of(merchant_id), services.merchant_keys(merchant_id)["data"])
    )
    level = merchant["level"]
    if isinstance(level, dict):
        merchant["level"] = f"stacks={level['stacks']},bitcoin={level['bitcoin']}"
    defaults: dict[str, Any] = {"link": None, "values": merchant, "errors": {}}
    return show(
        "merchant",
        status=status,
        merchant=merchant,
        keys=sum(key["status"] == "active" for key in keys),
        **(defaults | values),
    )
