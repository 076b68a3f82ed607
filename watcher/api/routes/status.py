"""The daemon's status: for a merchant their own part, for an operator all of it."""

from fastapi import APIRouter, Response

from watcher import schemas
from watcher.api.dependencies import BY_KEY, Read
from watcher.api.responses import reads
from watcher.api.route import ApiRoute

router = APIRouter(prefix="/v1/status", tags=["Status"], route_class=ApiRoute, dependencies=BY_KEY)


@router.get("", response_model=schemas.ServerStatus, responses=reads())
async def get_status(read: Read) -> Response:
    """Return the daemon's status: for a merchant their own counts, and nothing of the operator's machines."""
    return await read(lambda services: services.status(known=read.api.known_reasons()))
