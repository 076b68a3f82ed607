"""What payers see of the merchant that is looked at, and which pages may frame its checkouts."""

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request, Response

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
from watcher.schemas import ChangeMerchant
from watcher.urls import origin_of
from watcher.web.dashboard.brand import brand_color

router = APIRouter(prefix="/dashboard", route_class=DashboardRoute)

_TEXTS = ("display_name", "logo_url", "brand_color", "support_url")


@router.get("/brand")
async def show_brand(viewer: SignedIn, read: Read, show: Show) -> Response:
    """Show the fields, and the head of a checkout."""
    return await _page(viewer, read, show)


@router.post("/brand")
async def change_brand(
    request: Request, viewer: SignedIn, form: FormIn, read: Read, write: Write, show: Show
) -> Response:
    """Change all fields to what the form has; what is empty is taken back."""
    merchant = viewer.one_merchant
    changes: dict[str, Any] = {name: form.optional(name) for name in _TEXTS}
    changes["allowed_origins"] = form.lines("allowed_origins")
    try:
        body = ChangeMerchant.of(changes)
        await write(lambda services: services.change_merchant(merchant, body))
    except REFUSALS as error:
        return await _page(
            viewer, read, show, status=422, values=form.values, errors=errors_of(request, error)
        )
    return show.redirect("brand", said="Saved. Checkouts show it from now on.")


async def _page(
    viewer: Viewer,
    read: Reading,
    show: Showing,
    *,
    status: int = 200,
    values: Mapping[str, str] | None = None,
    errors: Mapping[str, str] | None = None,
) -> Response:
    chosen = viewer.merchant
    if chosen is None:
        return show("brand", merchant=None)
    merchant = await read(lambda services: services.merchant_of(chosen))
    logo, color = merchant["logo_url"], merchant["brand_color"]
    return show(
        "brand",
        status=status,
        images=() if logo is None else (origin_of(logo),),
        merchant=merchant,
        color=None if color is None else brand_color(color),
        values=values or merchant | {"allowed_origins": "\n".join(merchant["allowed_origins"])},
        errors=errors or {},
    )
