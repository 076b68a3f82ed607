"""The log of webhooks: deliveries with every attempt, the events themselves, and how to verify them.

Its paths come before that of an endpoint, which takes any id: modules are served in the order of their names.
"""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from watcher.api.dependencies import Id
from watcher.api.pages.dashboard.dependencies import (
    REFUSALS,
    FormIn,
    Read,
    Show,
    Write,
    errors_of,
)
from watcher.api.pages.dashboard.route import DashboardRoute
from watcher.schemas import DeliveryFilters, EventFilters, OwnedPage, QueueFilters, Redeliver
from watcher.services import Services
from watcher.web.dashboard import webhooks as view

router = APIRouter(prefix="/dashboard/webhooks", route_class=DashboardRoute)

_ROWS = 25

#: A parameter of an address; the filters say what is wrong with it.
_Text = Annotated[str, Query(max_length=100)]


@router.get("/deliveries")
async def show_deliveries(
    request: Request,
    read: Read,
    show: Show,
    status: _Text = "",
    endpoint: _Text = "",
    type: _Text = "",  # noqa: A002 - it is called so
    within: _Text = "",
    event: _Text = "",
    cursor: _Text = "",
) -> Response:
    """List deliveries, newest first."""
    asked = {"status": status, "endpoint": endpoint, "type": type, "event": event, "cursor": cursor}
    given = {name: value for name, value in asked.items() if value}
    seconds = view.WITHIN.get(within)

    def look(services: Services) -> dict[str, Any]:
        since = {} if seconds is None else {"created_from": int(services.now - seconds)}
        filters = DeliveryFilters.of({"limit": _ROWS} | given | since)
        return {
            "deliveries": services.deliveries(filters),
            "endpoints": services.endpoints(OwnedPage(limit=50))["data"],
            "queue": services.queue(QueueFilters()),
        }

    try:
        found, errors = await read(look), {}
    except REFUSALS as error:
        errors = errors_of(request, error)
        given.clear()
        found = await read(look)
    return show(
        "webhook_deliveries",
        status=422 if errors else 200,
        **found,
        errors=errors,
        values=asked | {"within": within},
        view=view,
    )


@router.get("/deliveries/{delivery_id}")
async def show_delivery(delivery_id: Id, read: Read, show: Show) -> Response:
    """Show a delivery: the request, and every attempt with its answer."""

    def look(services: Services) -> dict[str, Any]:
        found = services.delivery(delivery_id)
        return {"it": found, "sent": services.sent_request(found)}

    found = await read(look)
    return show("webhook_delivery", **found, body=view.parsed(found["sent"]["body"]), view=view)


@router.post("/deliveries/{delivery_id}/retry")
async def retry_delivery(delivery_id: Id, write: Write, show: Show) -> Response:
    """Send a delivery again, now."""
    await write(lambda services: services.retry_delivery(delivery_id))
    return show.redirect(f"webhooks/deliveries/{delivery_id}", said="It is sent again, now.")


@router.post("/deliveries/{delivery_id}/dismiss")
async def dismiss_delivery(delivery_id: Id, write: Write, show: Show) -> Response:
    """Count a dead delivery no more."""
    await write(lambda services: services.dismiss_delivery(delivery_id))
    said = "It needs nobody's attention any more. It can still be sent again."
    return show.redirect(f"webhooks/deliveries/{delivery_id}", said=said)


@router.get("/events")
async def show_events(
    request: Request,
    read: Read,
    show: Show,
    type: _Text = "",  # noqa: A002 - it is called so
    intent: _Text = "",
    test: _Text = "",
    cursor: _Text = "",
) -> Response:
    """List events, newest first."""
    asked = {"type": type, "intent": intent, "test": test, "cursor": cursor}
    given = {name: value for name, value in asked.items() if value}
    try:
        filters = EventFilters.of({"limit": _ROWS} | given)
        found, errors = await read(lambda services: services.events(filters)), {}
    except REFUSALS as error:
        errors = errors_of(request, error)
        found = await read(lambda services: services.events(EventFilters(limit=_ROWS)))
    return show(
        "webhook_events", status=422 if errors else 200, events=found, errors=errors, values=asked, view=view
    )


@router.get("/events/{event_id}")
async def show_event(event_id: Id, read: Read, show: Show) -> Response:
    """Show an event as it was sent, and to whom."""

    def look(services: Services) -> dict[str, Any]:
        return {
            "it": services.event(event_id),
            "deliveries": services.deliveries(DeliveryFilters(event=event_id, limit=50))["data"],
            "endpoints": services.endpoints(OwnedPage(limit=50))["data"],
        }

    return show("webhook_event", **await read(look), view=view)


@router.post("/events/{event_id}/redeliver")
async def redeliver_event(event_id: Id, form: FormIn, write: Write, show: Show) -> Response:
    """Send an event again."""
    endpoint = form.optional("endpoint")
    body = Redeliver.of({} if endpoint is None else {"endpoint": endpoint})
    done = await write(lambda services: services.redeliver_event(event_id, body))
    said = view.told(len(done["deliveries"]), complete=True)
    return show.redirect(f"webhooks/events/{event_id}", said=said)


@router.get("/verify")
async def show_verify(show: Show) -> Response:
    """Show how a shop verifies what it gets."""
    return show("webhook_verify", view=view)
