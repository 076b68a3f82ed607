"""Webhook deliveries: events on their way to endpoints, with every attempt."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from watcher import schemas
from watcher.api.dependencies import BY_KEY, Id, Read, Write
from watcher.api.responses import reads, writes
from watcher.api.route import ApiRoute
from watcher.schemas import DeliveryFilters

router = APIRouter(
    prefix="/v1/webhook_deliveries", tags=["Webhook deliveries"], route_class=ApiRoute, dependencies=BY_KEY
)


@router.get("", response_model=schemas.DeliveryPage, responses=reads())
async def list_webhook_deliveries(filters: Annotated[DeliveryFilters, Query()], read: Read) -> Response:
    """List webhook deliveries, newest first."""
    return await read(lambda services: services.deliveries(filters))


@router.get("/{delivery_id}", response_model=schemas.Delivery, responses=reads(404))
async def get_webhook_delivery(delivery_id: Id, read: Read) -> Response:
    """Return one webhook delivery with the log of its attempts."""
    return await read(lambda services: services.delivery(delivery_id))


@router.post("/{delivery_id}/dismiss", response_model=schemas.Delivery, responses=writes(404))
async def dismiss_webhook_delivery(delivery_id: Id, write: Write) -> Response:
    """Take a dead webhook delivery out of the count of those that need attention; it stays dead."""
    return await write(lambda services: services.dismiss_delivery(delivery_id))


@router.post("/{delivery_id}/retry", response_model=schemas.Delivery, responses=writes(404))
async def retry_webhook_delivery(delivery_id: Id, write: Write) -> Response:
    """Try a pending or dead webhook delivery again at once."""
    return await write(lambda services: services.retry_delivery(delivery_id))
