"""How the daemon stands: for a merchant as far as it concerns him, for an operator all of it."""

from fastapi import APIRouter, Request, Response

from watcher import documents
from watcher.http.callers import Reader, api_of
from watcher.http.describe import describe
from watcher.http.query import read_query

router = APIRouter(prefix="/v1/status", tags=["Status"])


@router.get("", **describe(answer=documents.ServerStatus))
async def get_status(request: Request, caller: Reader) -> Response:
    """Return how the daemon stands. A merchant sees his own counts, and nothing of the operator's machines."""
    read_query(request)
    api = api_of(request)
    return await api.look(request, caller, lambda desk: desk.status(known=api.known_reasons()))
