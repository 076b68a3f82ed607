"""Endpoints of webhooks: listed with how they answer, added, changed, tested, removed."""

from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, Request, Response

from notifier.events import DEFAULT_EVENTS, EventType
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
from watcher.api.pages.forms import Form
from watcher.errors import NotFound
from watcher.schemas import (
    ChangeEndpoint,
    DeliveryFilters,
    NewEndpoint,
    OwnedPage,
    QueueFilters,
    Replay,
    RotateSecret,
    SendTest,
)
from watcher.services import Services
from watcher.web.dashboard import webhooks as view

router = APIRouter(prefix="/dashboard/webhooks", route_class=DashboardRoute)

#: Endpoints on a page: as many as a merchant can have.
_ROWS = 50
#: Deliveries that an endpoint's own page shows.
_NEWEST = 10


@router.get("")
async def show_endpoints(read: Read, show: Show, cursor: str | None = None) -> Response:
    """List the endpoints, and how each answered in the last 24 hours."""
    page = OwnedPage.of({"limit": _ROWS} | ({"cursor": cursor} if cursor else {}))

    def look(services: Services) -> dict[str, Any]:
        found = services.endpoints(page)
        ids = [one["id"] for one in found["data"]]
        return {
            "endpoints": found,
            "performance": services.endpoint_performance(ids),
            "queue": services.queue(QueueFilters()),
        }

    return show("webhooks", **await read(look), cursor=cursor, view=view)


@router.get("/new")
async def show_new_endpoint(viewer: SignedIn, show: Show) -> Response:
    """Show the form for an endpoint to add."""
    return _new(viewer, show)


@router.post("/new")
async def add_endpoint(
    request: Request, viewer: SignedIn, form: FormIn, write: Write, show: Show
) -> Response:
    """Add an endpoint and show its secret, this once."""
    _ = viewer.one_merchant
    try:
        body = NewEndpoint.of(
            {"url": form.text("url"), "events": _events(form), "legacy_v0": "legacy_v0" in form.values}
        )
        made = await write.with_url(body.url, lambda services, url: services.add_endpoint(body, url=url))
    except REFUSALS as error:
        return _new(viewer, show, values=_values(form), errors=errors_of(request, error), status=422)
    return show("webhook_secret", made=made, is_new=True)


@router.get("/{endpoint_id}")
async def show_endpoint(endpoint_id: Id, read: Read, show: Show) -> Response:
    """Show an endpoint: how it answers, what was sent last, and all that can be done with it."""
    return await _endpoint(endpoint_id, read, show)


@router.post("/{endpoint_id}")
async def change_endpoint(
    endpoint_id: Id, request: Request, form: FormIn, read: Read, write: Write, show: Show
) -> Response:
    """Change where an endpoint is and what it gets."""
    try:
        url = form.text("url")
        known = await read(lambda services: services.endpoint(endpoint_id))
        body = ChangeEndpoint.of(
            {"events": _events(form), "legacy_v0": "legacy_v0" in form.values}
            | ({} if url == known["url"] else {"url": url})
        )
        await write.with_url(
            body.url, lambda services, checked: services.change_endpoint(endpoint_id, body, url=checked)
        )
    except REFUSALS as error:
        errors = errors_of(request, error)
        return await _endpoint(endpoint_id, read, show, values=_values(form), errors=errors, status=422)
    return show.redirect(f"webhooks/{endpoint_id}", said="The endpoint was changed.")


@router.post("/{endpoint_id}/status")
async def set_endpoint_status(endpoint_id: Id, form: FormIn, write: Write, show: Show) -> Response:
    """Enable or disable an endpoint."""
    body = ChangeEndpoint.of({"status": form.text("status")})
    await write(lambda services: services.change_endpoint(endpoint_id, body))
    said = {
        "enabled": "The endpoint is enabled: what was held for it is sent.",
        "disabled": "The endpoint is disabled: its webhooks are held until it is enabled.",
    }
    return show.redirect(f"webhooks/{endpoint_id}", said=said[form.text("status")])


@router.post("/{endpoint_id}/rotate")
async def rotate_secret(
    endpoint_id: Id, request: Request, form: FormIn, read: Read, write: Write, show: Show
) -> Response:
    """Give an endpoint a fresh secret and show it, this once."""
    try:
        body = RotateSecret.of({"overlap": form.text("overlap")})
        made = await write(lambda services: services.rotate_endpoint_secret(endpoint_id, body))
    except REFUSALS as error:
        return await _endpoint(endpoint_id, read, show, errors=errors_of(request, error), status=422)
    return show("webhook_secret", made=made, is_new=False)


@router.post("/{endpoint_id}/remove")
async def remove_endpoint(endpoint_id: Id, write: Write, show: Show) -> Response:
    """Remove an endpoint."""
    await write(lambda services: services.remove_endpoint(endpoint_id))
    return show.redirect("webhooks", said="The endpoint was removed. Its log stays.")


@router.post("/{endpoint_id}/test")
async def test_endpoint(
    endpoint_id: Id, request: Request, form: FormIn, read: Read, write: Write, show: Show
) -> Response:
    """Send an endpoint a sample event, and lead to what it answers."""
    try:
        asked = {"type": form.text("type"), "intent": form.optional("intent")}
        body = SendTest.of({name: value for name, value in asked.items() if value})
        made = await write(lambda services: services.test_endpoint(endpoint_id, body))
    except (*REFUSALS, NotFound) as error:  # no such payment
        errors = errors_of(request, error)
        return await _endpoint(endpoint_id, read, show, tested=form.values, errors=errors, status=422)
    return show.redirect(f"webhooks/deliveries/{made['delivery']}")


@router.post("/{endpoint_id}/recover")
async def recover_endpoint(endpoint_id: Id, write: Write, show: Show) -> Response:
    """Send what was given up once more."""
    done = await write(lambda services: services.recover_endpoint(endpoint_id))
    return show.redirect(f"webhooks/{endpoint_id}", said=view.told(done["recovered"], done["complete"]))


@router.post("/{endpoint_id}/replay")
async def replay_endpoint(
    endpoint_id: Id, request: Request, form: FormIn, read: Read, write: Write, show: Show
) -> Response:
    """Send everything since a time once more."""
    try:
        body = Replay.of({"since": _utc(form.text("since"))})
        done = await write(lambda services: services.replay_endpoint(endpoint_id, body))
    except REFUSALS as error:
        errors = errors_of(request, error)
        return await _endpoint(endpoint_id, read, show, replayed=form.values, errors=errors, status=422)
    return show.redirect(f"webhooks/{endpoint_id}", said=view.told(done["replayed"], done["complete"]))


def _new(viewer: Viewer, show: Showing, *, status: int = 200, **values: Any) -> Response:
    defaults: dict[str, Any] = {
        "values": {"events": [kind.value for kind in DEFAULT_EVENTS], "legacy_v0": False},
        "errors": {},
    }
    return show("webhook_new", status=status, view=view, **(defaults | values))


async def _endpoint(
    endpoint_id: str, read: Reading, show: Showing, *, status: int = 200, **values: Any
) -> Response:
    def look(services: Services) -> dict[str, Any]:
        newest = DeliveryFilters(endpoint=endpoint_id, limit=_NEWEST)
        dead = DeliveryFilters(endpoint=endpoint_id, status="dead", limit=1)
        return {
            "endpoint": services.endpoint(endpoint_id),
            "performance": services.endpoint_performance([endpoint_id])[endpoint_id],
            "deliveries": services.deliveries(newest)["data"],
            "has_dead": bool(services.deliveries(dead)["data"]),
        }

    found = await read(look)
    defaults: dict[str, Any] = {
        "values": found["endpoint"],
        "errors": {},
        "tested": {"type": EventType.SUCCEEDED.value},
        "replayed": {},
    }
    return show("webhook", status=status, view=view, **found, **(defaults | values))


def _events(form: Form) -> list[str]:
    """Return the types that are ticked; all of them leave out the others."""
    events = form.texts("events")
    return ["*"] if "*" in events else events


def _values(form: Form) -> dict[str, Any]:
    """Return an endpoint's form as it was sent."""
    return form.values | {"events": _events(form), "legacy_v0": "legacy_v0" in form.values}


def _utc(text: str) -> str:
    """Return the time of a field for day and time, in UTC, as RFC 3339; anything else as it is."""
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).isoformat()
    except ValueError:
        return text
