"""Webhook deliveries: events on their way to endpoints, with every attempt."""

from fastapi import APIRouter, Request, Response

from notifier.tables import DeliveryStatus
from watcher import documents
from watcher.http import query
from watcher.http.callers import Id, Reader, Writer, api_of
from watcher.http.describe import describe
from watcher.http.query import read_query
from watcher.http.whose import operators

router = APIRouter(prefix="/v1/webhook_deliveries", tags=["Webhook deliveries"])

_FILTERS = (
    query.choice("status", DeliveryStatus, "Only deliveries with this status."),
    query.an_id("endpoint", "Only deliveries to this endpoint."),
    query.an_id("event", "Only deliveries of this event."),
    *query.PAGE,
)


@router.get("", **describe(answer=documents.DeliveryPage, parameters=(*_FILTERS, query.MERCHANT)))
async def list_webhook_deliveries(request: Request, caller: Reader) -> Response:
    """List webhook deliveries, newest first."""
    asked = read_query(request, *_FILTERS, *operators(caller))
    return await api_of(request).look(request, caller, lambda desk: desk.deliveries(**asked))


@router.get("/{delivery_id}", **describe(answer=documents.Delivery, errors=(404,)))
async def get_webhook_delivery(request: Request, caller: Reader, delivery_id: Id) -> Response:
    """Return one webhook delivery with the log of its attempts."""
    read_query(request)
    return await api_of(request).look(request, caller, lambda desk: desk.delivery(delivery_id))


@router.post("/{delivery_id}/dismiss", **describe(answer=documents.Delivery, changes=True, errors=(404,)))
async def dismiss_webhook_delivery(request: Request, caller: Writer, delivery_id: Id) -> Response:
    """Take a dead webhook delivery out of the count of those that somebody has to look at; it stays dead."""
    return await api_of(request).change(
        request, caller, lambda desk, body: desk.dismiss_delivery(delivery_id, body), status=200
    )


@router.post("/{delivery_id}/retry", **describe(answer=documents.Delivery, changes=True, errors=(404,)))
async def retry_webhook_delivery(request: Request, caller: Writer, delivery_id: Id) -> Response:
    """Try a pending or dead webhook delivery again at once."""
    return await api_of(request).change(
        request, caller, lambda desk, body: desk.retry_delivery(delivery_id, body), status=200
    )
