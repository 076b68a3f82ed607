"""The first page."""

from typing import Any

from fastapi import APIRouter, Response

from watcher.api.pages.dashboard.dependencies import Read, Show
from watcher.api.pages.dashboard.route import DashboardRoute
from watcher.schemas import OwnedPage
from watcher.services import Services
from watcher.web.dashboard.overview import Overview

router = APIRouter(prefix="/dashboard", route_class=DashboardRoute)


@router.get("")
async def show_overview(show: Show, read: Read) -> Response:
    """Show the overview."""
    return show("overview", page=Overview(**await read(_load)))


def _load(services: Services) -> dict[str, Any]:
    return {
        "statistics": services.statistics(),
        "status": services.status(),
        "has_links": bool(services.links(OwnedPage(limit=1))["data"]),
        "decimals": {name: asset.decimals for name, asset in services.settings.assets.items()},
    }
