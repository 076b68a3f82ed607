"""Addresses below ``/dashboard`` at which there is nothing."""

from fastapi import APIRouter, Request, Response

from watcher.api.errors import Problem
from watcher.api.pages.dashboard.route import OwnRoute
from watcher.web.dashboard import layout

router = APIRouter(prefix="/dashboard", route_class=OwnRoute)

#: After all the others: it takes whatever they do not.
IS_LAST = True


@router.get("/{path:path}")
async def show_nothing(path: str, request: Request) -> Response:
    """Say that there is no such page; a slash at the end leads to the page without it."""
    if not path.strip("/"):
        return Response(status_code=303, headers={"location": layout.link(request.url.path, "")})
    raise Problem(404, "not_found", "there is no such page")
