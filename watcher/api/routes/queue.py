"""The queue of deliveries, and how the endpoints answer."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from watcher import schemas
from watcher.api.dependencies import BY_KEY, Read
from watcher.api.responses import reads
from watcher.api.route import ApiRoute
from watcher.schemas import QueueFilters

router = APIRouter(prefix="/v1/queue", tags=["Webhook deliveries"], route_class=ApiRoute, dependencies=BY_KEY)


@router.get("", response_model=schemas.Queue, responses=reads())
async def get_queue(filters: Annotated[QueueFilters, Query()], read: Read) -> Response:
    """Return deliveries by state, and each webhook endpoint's success rate and latency of 24 hours."""
    return await read(lambda services: services.queue(filters))
