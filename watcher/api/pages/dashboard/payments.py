"""Payments: the list with its search and its CSV, one payment, and what is done with it."""

from collections.abc import AsyncIterator, Mapping
from datetime import date, timedelta
from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter, Request, Response

from watcher import csv_lines
from watcher.api.auth import api_of
from watcher.api.csv_response import CsvResponse
from watcher.api.dependencies import Id
from watcher.api.pages.dashboard.dependencies import REFUSALS, FormIn, Read, Show, Write, errors_of
from watcher.api.pages.dashboard.route import DashboardRoute
from watcher.api.pages.own_address import own_address
from watcher.schemas import (
    Cancel,
    DeliveryFilters,
    Dismiss,
    EventFilters,
    Mark,
    PaymentIntentFilters,
)
from watcher.services import Services
from watcher.services.export import INTENT_COLUMNS
from watcher.web import codes
from watcher.web.dashboard import payments as view
from watcher.web.dashboard import words

router = APIRouter(prefix="/dashboard", route_class=DashboardRoute)

#: Rows of a page, and of one read of an export.
_ROWS, _EXPORT_ROWS = 25, 100
#: Events of a payment that its page shows, and deliveries of each.
_EVENTS, _DELIVERIES = 10, 10

#: Fields of the filter form, by their names in the list's filters.
_NARROWING = ("status", "flag", "asset", "created_from", "created_to")
_FILTERS = ("search", *_NARROWING, "payment_link", "attention")


@router.get("/payments")
async def list_payments(request: Request, read: Read, show: Show) -> Response:
    """Show the payments that pass the filters, newest first."""
    asked, errors = _asked(request), {}
    found: dict[str, Any] = {"data": [], "next_cursor": None}
    try:
        filters = PaymentIntentFilters.of(asked | {"limit": _ROWS})
        found = await read(lambda services: services.intents(filters))
    except REFUSALS as error:
        errors = errors_of(request, error)
    filtered = any(name in asked for name in _FILTERS)
    return show(
        "payments",
        status=422 if errors else 200,
        found=found,
        values=dict(request.query_params),
        errors=errors,
        filtered=filtered,
        narrowed=any(name in asked for name in _NARROWING),
        csv="?" + urlencode({name: value for name, value in asked.items() if name != "cursor"}),
        view=view,
    )


@router.get("/payments.csv")
async def export_payments(request: Request, read: Read) -> Response:
    """Send the filtered list as CSV: page by page, so that it needs no more memory when it is long."""
    asked = {name: value for name, value in _asked(request).items() if name != "cursor"}
    filters = PaymentIntentFilters.of(asked | {"limit": _EXPORT_ROWS})
    # The first page before the answer begins: what is wrong with the filters is an answer of its own.
    first = await read(lambda services: services.export_intents(filters))

    async def lines() -> AsyncIterator[str]:
        page = first
        yield csv_lines.csv_lines([INTENT_COLUMNS, *page["rows"]])
        while page["next_cursor"] is not None:
            following = filters.model_copy(update={"cursor": page["next_cursor"]})
            page = await read(lambda services: services.export_intents(following))  # noqa: B023 - awaited here
            yield csv_lines.csv_lines(page["rows"])

    headers = {"content-disposition": 'attachment; filename="payments.csv"', "cache-control": "no-store"}
    return CsvResponse(lines(), headers=headers)


@router.get("/payments/{intent_id}")
async def show_payment(intent_id: Id, request: Request, read: Read, show: Show) -> Response:
    """Show one payment."""
    return await _payment_page(request, intent_id, read, show)


@router.post("/payments/{intent_id}/cancel")
async def cancel_payment(
    intent_id: Id, request: Request, form: FormIn, read: Read, write: Write, show: Show
) -> Response:
    """Cancel a payment that nobody made."""
    try:
        body = Cancel.of({"reason": form.text("reason")} if form.text("reason") else {})
        await write(lambda services: services.cancel_intent(intent_id, body))
    except REFUSALS as error:
        return await _payment_page(request, intent_id, read, show, errors=errors_of(request, error))
    return show.redirect(f"payments/{intent_id}", said="The payment is canceled.")


@router.post("/payments/{intent_id}/mark")
async def mark_payment(
    intent_id: Id, request: Request, form: FormIn, read: Read, write: Write, show: Show
) -> Response:
    """Decide by hand what became of a payment."""
    try:
        body = Mark.of({"status": form.text("status"), "reason": form.text("reason")})
        await write(lambda services: services.mark_intent(intent_id, body))
    except REFUSALS as error:
        return await _payment_page(request, intent_id, read, show, errors=errors_of(request, error))
    return show.redirect(f"payments/{intent_id}", said=f"The payment is marked {body.status}.")


@router.post("/payments/{intent_id}/dismiss")
async def dismiss_refund(
    intent_id: Id, request: Request, form: FormIn, read: Read, write: Write, show: Show
) -> Response:
    """Note that nothing is to be given back any more."""
    try:
        body = Dismiss.of({"reason": form.text("reason")})
        await write(lambda services: services.dismiss_intent(intent_id, body))
    except REFUSALS as error:
        return await _payment_page(request, intent_id, read, show, errors=errors_of(request, error))
    return show.redirect(f"payments/{intent_id}", said="Noted: nothing is due of this payment any more.")


def _asked(request: Request) -> dict[str, Any]:
    """Return the filters of the list's address, without those that are empty."""
    found: dict[str, Any] = {
        name: value for name in (*_FILTERS, "cursor") if (value := request.query_params.get(name, "").strip())
    }
    # Days as their fields send them: UTC days, the last one whole.
    for name, days in (("created_from", 0), ("created_to", 1)):
        try:
            found[name] = f"{date.fromisoformat(found[name]) + timedelta(days)}T00:00:00Z"
        except (KeyError, ValueError, OverflowError):
            continue
    return found


async def _payment_page(
    request: Request, intent_id: str, read: Read, show: Show, *, errors: Mapping[str, str] | None = None
) -> Response:
    def work(services: Services) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        payment = services.intent(intent_id)
        events = services.events(EventFilters(intent=intent_id, limit=_EVENTS))["data"]
        sent = {
            event["id"]: services.deliveries(DeliveryFilters(event=event["id"], limit=_DELIVERIES))["data"]
            for event in events
        }
        return payment, view.deliveries_of(events, sent)

    payment, events = await read(work)
    settings = api_of(request).settings
    path = payment["checkout_url"]
    where = None if path is None else f"/pay/{path.rpartition('/')[2]}"
    url = None if where is None else own_address(request, settings.public_url, where)
    return show(
        "payment",
        status=422 if errors else 200,
        payment=payment,
        events=events,
        errors=errors or {},
        values=dict(request.state.form.values) if errors else {},
        checkout=url or path,
        code=None if url is None else codes.code(url, "QR code of the checkout"),
        explorer=settings.server_info.transaction_url,
        attempts=words.ATTEMPTS,
        view=view,
    )
