"""Events: what merchants were sent, by webhook or by asking."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from watcher import schemas
from watcher.api.dependencies import BY_KEY, Id, Read, Write
from watcher.api.responses import reads, writes
from watcher.api.route import ApiRoute
from watcher.schemas import EventFilters, Redeliver

router = APIRouter(prefix="/v1/events", tags=["Events"], route_class=ApiRoute, dependencies=BY_KEY)


@router.get("", response_model=schemas.EventList, responses=reads(404))
async def list_events(filters: Annotated[EventFilters, Query()], read: Read) -> Response:
    """List events, newest first; with `after` as a merchant pulls them, oldest first."""
    return await read(lambda services: services.events(filters))


@router.get("/{event_id}", response_model=schemas.Event, responses=reads(404))
async def get_event(event_id: Id, read: Read) -> Response:
    """Return one event as it was sent."""
    return await read(lambda services: services.event(event_id))


@router.post("/{event_id}/redeliver", response_model=schemas.Redelivered, responses=writes(404))
async def redeliver_event(event_id: Id, write: Write, body: Redeliver | None = None) -> Response:
    """Send an event again, under the same id: to one webhook endpoint, or to all that got it."""
    return await write(lambda services: services.redeliver_event(event_id, body or Redeliver()))
