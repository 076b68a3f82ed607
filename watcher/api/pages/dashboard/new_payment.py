"""Making a payment by hand."""

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request, Response

from watcher.api.auth import api_of
from watcher.api.pages.dashboard.dependencies import (
    REFUSALS,
    FormIn,
    Show,
    SignedIn,
    Write,
    errors_of,
)
from watcher.api.pages.dashboard.route import DashboardRoute
from watcher.api.pages.dashboard.units import base_units
from watcher.config.settings import Settings
from watcher.schemas import NewPaymentIntent
from watcher.web.dashboard import payments as view

router = APIRouter(prefix="/dashboard", route_class=DashboardRoute)


@router.get("/payments/new")
async def show_new_payment(show: Show, viewer: SignedIn) -> Response:
    """Show the form for a payment."""
    _ = viewer.one_merchant
    return _form_page(show, {}, {})


@router.post("/payments/new")
async def create_payment(
    request: Request, form: FormIn, viewer: SignedIn, write: Write, show: Show
) -> Response:
    """Create a payment by hand, and show it with the link for its payer."""
    _ = viewer.one_merchant
    try:
        asked = _new_payment(form.values, api_of(request).settings)
        made = await write(lambda services: services.create_intent(asked))
    except REFUSALS as error:
        return _form_page(show, form.values, errors_of(request, error))
    return show.redirect(f"payments/{made['id']}", said="The payment is created. Give its link to the payer.")


def _new_payment(values: Mapping[str, str], settings: Settings) -> NewPaymentIntent:
    """Return the request that the form makes: an amount in the asset's own unit. Raises :class:`Refused`."""
    name = values.get("asset", "sbtc")
    fields: dict[str, Any] = {
        key: text
        for key in ("asset", "description", "reference", "expires_in", "level")
        if (text := values.get(key, "").strip())
    }
    if order := values.get("order_id", "").strip():
        fields |= {"metadata": {"order_id": order}}
    return NewPaymentIntent.of(fields | {"amount": base_units(values.get("amount", ""), name, settings)})


def _form_page(show: Show, values: Mapping[str, str], errors: Mapping[str, str]) -> Response:
    return show("payment_new", status=422 if errors else 200, values=values, errors=errors, view=view)
