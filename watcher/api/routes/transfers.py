"""Transfers: money that the chain has seen, and who gives it to an intent."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from watcher import schemas
from watcher.api.dependencies import BY_KEY, Id, Read, Write
from watcher.api.responses import reads, writes
from watcher.api.route import ApiRoute
from watcher.schemas import Assign, TransferFilters

router = APIRouter(prefix="/v1/transfers", tags=["Transfers"], route_class=ApiRoute, dependencies=BY_KEY)


@router.get("", response_model=schemas.TransferPage, responses=reads())
async def list_transfers(filters: Annotated[TransferFilters, Query()], read: Read) -> Response:
    """List money that arrived, newest first."""
    return await read(lambda services: services.transfers(filters))


@router.get("/{transfer_id}", response_model=schemas.Transfer, responses=reads(404))
async def get_transfer(transfer_id: Id, read: Read) -> Response:
    """Return one transfer."""
    return await read(lambda services: services.transfer(transfer_id))


@router.post("/{transfer_id}/assign", response_model=schemas.Transfer, responses=writes(404))
async def assign_transfer(transfer_id: Id, body: Assign, write: Write) -> Response:
    """Give unmatched money to a payment intent, for a reason that is kept."""
    return await write(lambda services: services.assign_transfer(transfer_id, body))
