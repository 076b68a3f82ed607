"""API keys of the merchant that is looked at."""

from typing import Any

from fastapi import APIRouter, Request, Response

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
from watcher.api.pages.dashboard.route import DashboardRoute
from watcher.api.pages.dashboard.viewer import Viewer
from watcher.schemas import AddApiKey

router = APIRouter(prefix="/dashboard", route_class=DashboardRoute)


@router.get("/keys")
async def show_keys(viewer: SignedIn, read: Read, show: Show) -> Response:
    """List the merchant's keys, with a form for one more."""
    return await _page(viewer, read, show)


@router.post("/keys")
async def add_key(
    request: Request, viewer: SignedIn, form: FormIn, read: Read, write: Write, show: Show
) -> Response:
    """Add a key and show it, this once."""
    merchant = viewer.one_merchant
    try:
        body = AddApiKey.of({"name": form.optional("name"), "scopes": form.texts("scopes")})
        made = await write(lambda services: services.add_merchant_key(merchant, body))
    except REFUSALS as error:
        values = form.values | {"scopes": form.texts("scopes")}
        return await _page(viewer, read, show, status=422, values=values, errors=errors_of(request, error))
    return await _page(viewer, read, show, made=made)


@router.post("/keys/{key_id}/revoke")
async def revoke_key(key_id: Id, viewer: SignedIn, write: Write, show: Show) -> Response:
    """Make a key invalid at once."""
    merchant = viewer.one_merchant
    key = await write(lambda services: services.revoke_merchant_key(merchant, key_id))
    return show.redirect("keys", said=f"The key “{key['name']}” does not work any more.")


async def _page(
    viewer: Viewer, read: Reading, show: Showing, *, status: int = 200, **values: Any
) -> Response:
    merchant = viewer.merchant
    keys = [] if merchant is None else (await read(lambda services: services.merchant_keys(merchant)))["data"]
    defaults: dict[str, Any] = {
        "made": None,
        "values": {"scopes": ["read"]},
        "errors": {},
        "own": viewer.session.key_id,
    }
    return show("keys", status=status, keys=keys, **(defaults | values))
