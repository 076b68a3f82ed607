"""The first page."""

from fastapi import APIRouter, Response

from watcher.api.pages.dashboard.dependencies import Show
from watcher.api.pages.dashboard.route import DashboardRoute

router = APIRouter(prefix="/dashboard", route_class=DashboardRoute)


@router.get("")
async def show_overview(show: Show) -> Response:
    """Show the overview."""
    return show("overview")
