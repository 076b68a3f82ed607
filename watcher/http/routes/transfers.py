"""Transfers: money that the chain has seen, and who gives it to an intent."""

from fastapi import APIRouter, Request, Response

from watcher import documents
from watcher.http import query
from watcher.http.callers import Id, Reader, Writer, api_of
from watcher.http.describe import describe
from watcher.http.query import read_query
from watcher.http.whose import operators

router = APIRouter(prefix="/v1/transfers", tags=["Transfers"])

_FILTERS = (
    query.yes_or_no("unmatched", "Only money that belongs to no intent; `unmatched` in each says why."),
    *query.PAGE,
)


@router.get("", **describe(answer=documents.TransferPage, parameters=(*_FILTERS, query.MERCHANT)))
async def list_transfers(request: Request, caller: Reader) -> Response:
    """List money that arrived, newest first."""
    asked = read_query(request, *_FILTERS, *operators(caller))
    return await api_of(request).look(request, caller, lambda desk: desk.transfers(**asked))


@router.get("/{transfer_id}", **describe(answer=documents.Transfer, errors=(404,)))
async def get_transfer(request: Request, caller: Reader, transfer_id: Id) -> Response:
    """Return one transfer."""
    read_query(request)
    return await api_of(request).look(request, caller, lambda desk: desk.transfer(transfer_id))


@router.post(
    "/{transfer_id}/assign", **describe(answer=documents.Transfer, body=documents.Assign, errors=(404,))
)
async def assign_transfer(request: Request, caller: Writer, transfer_id: Id) -> Response:
    """Give unmatched money to a payment intent, for a reason that is kept."""
    return await api_of(request).change(
        request, caller, lambda desk, body: desk.assign_transfer(transfer_id, body), status=200
    )
