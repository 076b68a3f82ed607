"""Events: what merchants were told, by webhook or by asking."""

from typing import Any

from fastapi import APIRouter, Request, Response

from notifier.events import EventType
from watcher import documents
from watcher.desk import Desk
from watcher.errors import Refused
from watcher.http import query
from watcher.http.callers import Id, Reader, Writer, api_of
from watcher.http.describe import describe
from watcher.http.query import Parameter, read_query
from watcher.http.whose import operators

router = APIRouter(prefix="/v1/events", tags=["Events"])

_ID = query.an_id("after", "")


def _read_after(text: str) -> str | None:
    return _ID.read(text) if text else None


_FILTERS = (
    query.choice("type", EventType, "Only events of this type."),
    query.an_id("intent", "Only events about this payment intent."),
    query.CURSOR,
)
_AFTER = Parameter(
    name="after",
    read=_read_after,
    description="For a merchant's own key: what was told after this event, oldest first and without tests, empty for "
    "everything; the rows hold the bodies as they are sent. Ask for `next_cursor` next. No filters go with it.",
)
_ENDPOINT = query.an_id("endpoint", "With `after`: sign the bodies with the secrets of this endpoint.")


@router.get(
    "",
    **describe(
        answer=documents.EventList,
        parameters=(*_FILTERS, query.LIMIT, _AFTER, _ENDPOINT, query.MERCHANT),
        errors=(404,),
    ),
)
async def list_events(request: Request, caller: Reader) -> Response:
    """List events, newest first; with `after` as a merchant pulls them, oldest first."""
    asked = read_query(request, *_FILTERS, query.LIMIT, _AFTER, _ENDPOINT, *operators(caller))

    def look(desk: Desk) -> Any:
        if "after" not in asked:
            return desk.events(**asked)
        after = asked.pop("after")
        return desk.events_after(after, **asked)

    _check_together(asked)
    return await api_of(request).look(request, caller, look)


@router.get("/{event_id}", **describe(answer=documents.Event, errors=(404,)))
async def get_event(request: Request, caller: Reader, event_id: Id) -> Response:
    """Return one event as it was told."""
    read_query(request)
    return await api_of(request).look(request, caller, lambda desk: desk.event(event_id))


@router.post(
    "/{event_id}/redeliver",
    **describe(answer=documents.Redelivered, body=documents.Redeliver, body_needed=False, errors=(404,)),
)
async def redeliver_event(request: Request, caller: Writer, event_id: Id) -> Response:
    """Send an event again, under the same id: to one webhook endpoint, or to all that got it."""
    return await api_of(request).change(
        request, caller, lambda desk, body: desk.redeliver_event(event_id, body), status=200
    )


def _check_together(asked: dict[str, Any]) -> None:
    """Refuse parameters that do not go together."""
    pulls = "after" in asked
    wrong = [name for name in asked if name not in ("after", "endpoint", "limit")] if pulls else ["endpoint"]
    message = "does not go with after" if pulls else "goes only with after"
    errors = [{"field": name, "message": message} for name in wrong if name in asked]
    if errors:
        raise Refused("validation", errors=errors)
