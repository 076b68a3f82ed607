"""How the daemon stands: for an operator all of it, for a merchant what concerns them."""

from fastapi import APIRouter, Response

from watcher.api.pages.dashboard.dependencies import Read, Show, SignedIn
from watcher.api.pages.dashboard.route import DashboardRoute

router = APIRouter(prefix="/dashboard", route_class=DashboardRoute)


@router.get("/status")
async def show_status(viewer: SignedIn, read: Read, show: Show) -> Response:
    """Show the status; the page looks again by itself."""
    known = read.known_reasons
    if not viewer.is_operator:
        found = await read(lambda services: services.status(known=known))
        return show("status", status_document=found, processes=None, reorgs=None)
    found, processes, reorgs = await read.of_all(
        lambda services: (services.status(known=known), services.processes(), services.reorgs())
    )
    return show("status", status_document=found, processes=processes["data"], reorgs=reorgs["data"])
