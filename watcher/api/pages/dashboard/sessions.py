"""Who is signed in, and the log of sign-ins."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from watcher.api.dependencies import Id
from watcher.api.pages.dashboard.dependencies import Read, Show, SignedIn, Write
from watcher.api.pages.dashboard.route import DashboardRoute
from watcher.schemas import Page
from watcher.services.dashboard_sessions import IDLE_SECONDS, MAX_AGE_SECONDS

router = APIRouter(prefix="/dashboard", route_class=DashboardRoute)

#: Lines of the log on a page.
_LINES = 25

_LIMITS: dict[str, Any] = {"idle_hours": IDLE_SECONDS // 3600, "max_hours": MAX_AGE_SECONDS // 3600}


@router.get("/sessions")
async def show_sessions(
    read: Read, show: Show, cursor: Annotated[str | None, Query(max_length=40)] = None
) -> Response:
    """Show who is signed in, and when somebody tried to."""
    page = Page.of({"limit": _LINES} | ({"cursor": cursor} if cursor else {}))
    sessions, log = await read(lambda services: (services.dashboard_sessions(), services.sign_ins(page)))
    return show("sessions", sessions=sessions["data"], log=log, cursor=cursor, **_LIMITS)


@router.post("/sessions/{session_id}/end")
async def end_session(session_id: Id, viewer: SignedIn, write: Write, show: Show) -> Response:
    """End a session of the merchant."""
    await write(lambda services: services.end_dashboard_session(session_id))
    if session_id == viewer.session.id:
        return show.redirect("sign-in")
    return show.redirect("sessions", said="The session has ended.")
