"""How every route of the dashboard is read: who looks, then for a form where it comes from, its token, and
whether they may. What goes wrong is a page.
"""

from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, ClassVar
from urllib.parse import urlencode

from fastapi import Request, Response
from fastapi.routing import APIRoute

from watcher.api.auth import api_of
from watcher.api.errors import Problem
from watcher.api.pages.answer import answer
from watcher.api.pages.dashboard import csrf
from watcher.api.pages.dashboard.dependencies import frame
from watcher.api.pages.dashboard.viewer import REFRESH_HEADER, Viewer, authenticate
from watcher.api.pages.forms import read_form
from watcher.web.dashboard import layout


class PageRoute(APIRoute):
    """A page for everybody, whose errors are pages too; a form of another site is refused."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return what answers a request."""
        respond = super().get_route_handler()

        async def handle(request: Request) -> Response:
            request.state.show_problem = partial(show_problem, request)
            if request.method != "GET":
                csrf.check_origin(request, api_of(request).settings.public_url)
            await self.prepare(request)
            return await respond(request)

        return handle

    async def prepare(self, request: Request) -> None:
        """Read what a route needs before it runs. Raises :class:`Problem`."""
        if request.method != "GET":
            request.state.form = await read_form(request)


class DashboardRoute(PageRoute):
    """A page for those who are signed in; GET needs the scope to read, everything else that to write."""

    needs_write: ClassVar[bool] = True

    async def prepare(self, request: Request) -> None:
        """Read who looks, and their form. Raises :class:`Problem` (401, 403, 404, 429 and of the form)."""
        viewer = request.state.viewer = await authenticate(request)
        await super().prepare(request)
        if request.method != "GET":
            csrf.check(request.state.form.text(csrf.FIELD), viewer.secret, viewer.merchant)
            if self.needs_write and not viewer.may_write:
                raise Problem(
                    403,
                    "missing_scope",
                    "you may only look: sign in with a key that has the scope write to change anything",
                )
        self.admit(viewer)

    def admit(self, viewer: Viewer) -> None:
        """Raise :class:`Problem` (404) for those to whom there is no such page."""


class OwnRoute(DashboardRoute):
    """What everybody may do with their own session, also those who only look."""

    needs_write = False


class OperatorRoute(DashboardRoute):
    """A page for operators only."""

    def admit(self, viewer: Viewer) -> None:
        """Raise :class:`Problem` (404) for a merchant."""
        _ = viewer.operator


def show_problem(request: Request, problem: Problem) -> Response:
    """Answer with the page of a problem; who is not signed in is led to where they can."""
    if problem.status_code == 401 and request.method == "GET" and REFRESH_HEADER not in request.headers:
        if request.headers.get("sec-fetch-site") in ("cross-site", "same-site"):
            # A link on another site: the browser keeps the cookie back, and sends it when our page asks.
            return answer(layout.page("again", frame(request, None)), status=401)
        return _to_sign_in(request)
    viewer: Viewer | None = getattr(request.state, "viewer", None)
    page = layout.page(
        "problem",
        frame(request, viewer),
        status=problem.status_code,
        code=problem.code,
        detail=problem.detail,
    )
    response = answer(page, status=problem.status_code)
    response.headers.update(problem.headers or {})
    return response


def _to_sign_in(request: Request) -> Response:
    query = request.url.query
    path = request.url.path + (f"?{query}" if query else "")
    where = layout.link(request.url.path, "sign-in") + "?" + urlencode({"next": path})
    return Response(status_code=303, headers={"location": where})
