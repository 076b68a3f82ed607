"""Signing in and out."""

import re
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from watcher.api import payers
from watcher.api.auth import api_of
from watcher.api.errors import rate_limited
from watcher.api.pages.answer import answer
from watcher.api.pages.dashboard import cookie, csrf
from watcher.api.pages.dashboard.dependencies import SignedIn, frame
from watcher.api.pages.dashboard.route import OwnRoute, PageRoute
from watcher.services import dashboard_sessions
from watcher.services.dashboard_sessions import MAX_AGENT, Browser
from watcher.store.database import Connection
from watcher.web.dashboard import layout

_open = APIRouter(prefix="/dashboard", route_class=PageRoute)
_own = APIRouter(prefix="/dashboard", route_class=OwnRoute)
routers = (_open, _own)

#: Where somebody may be led after they signed in: pages of the dashboard only.
_NEXT = re.compile(r"/dashboard(?:/[A-Za-z0-9_./-]*)?(?:\?[!-~]*)?", re.ASCII)

_WRONG = "That is not a valid key, or not any more."
_LINK_OVER = "This link was used before, or is over. Ask for another one."


@_open.get("/sign-in")
async def show_sign_in(
    request: Request,
    next: Annotated[str, Query(max_length=2000)] = "",  # noqa: A002 - the usual name
    link: Annotated[str, Query(max_length=100)] = "",
) -> Response:
    """Show how to sign in. A link is only looked at: programs that show what is behind it use up nothing."""
    api = api_of(request)
    if not link:
        secret = cookie.read(request)
        if secret is not None and await api.dashboard_session(secret) is not None:
            return _redirect(request, next)
        return _page(request, wanted=next)
    name = await api.in_read(lambda connection: dashboard_sessions.peek_link(connection, link, now=api.now()))
    return _page(
        request, link=link, name=name, problem="" if name else _LINK_OVER, status=200 if name else 410
    )


@_open.post("/sign-in")
async def sign_in(request: Request) -> Response:
    """Begin a session, always a new one; what this browser had before ends."""
    api, form = api_of(request), request.state.form
    _limit(request)
    secure = csrf.is_secure(request)
    browser = Browser(
        address=payers.address_of(request), agent=request.headers.get("user-agent", "")[:MAX_AGENT]
    )
    link, before = form.text("link"), cookie.read(request)

    def begin(connection: Connection) -> str | None:
        now = api.now()
        if link:
            secret = dashboard_sessions.sign_in_with_link(connection, link, browser=browser, now=now)
        else:
            secret = dashboard_sessions.sign_in(
                connection, form.text("key"), settings=api.settings, browser=browser, now=now
            )
        if secret is not None and before is not None:
            dashboard_sessions.sign_out(connection, before, now=now)
        return secret

    secret = await api.in_write(begin)
    if secret is None:
        problem = _LINK_OVER if link else _WRONG
        return _page(request, wanted=form.text("next"), problem=problem, status=410 if link else 401)
    response = _redirect(request, form.text("next"))
    cookie.write(request, response, secret, secure=secure)
    return response


@_own.post("/sign-out")
async def sign_out(request: Request, viewer: SignedIn) -> Response:
    """End the session."""
    api = api_of(request)
    await api.in_write(
        lambda connection: dashboard_sessions.sign_out(connection, viewer.secret, now=api.now())
    )
    where = layout.link(request.url.path, "sign-in")
    response = Response(status_code=303, headers={"location": where})
    cookie.delete(request, response)
    return response


def _page(
    request: Request,
    *,
    wanted: str = "",
    link: str = "",
    name: str | None = None,
    problem: str = "",
    status: int = 200,
) -> Response:
    local = cookie.is_local(request)
    page = layout.page(
        "sign_in",
        frame(request, None),
        local=local,
        has_admin=api_of(request).settings.admin_token is not None,
        next=wanted,
        link=link,
        name=name,
        problem=problem,
    )
    response = answer(page, status=status)
    if not local:
        # From a page that came without encryption, the browser does not even send the key.
        policy = response.headers["content-security-policy"]
        response.headers["content-security-policy"] = policy.replace(
            "form-action 'self'", "form-action https:"
        )
    return response


def _redirect(request: Request, wanted: str) -> Response:
    path = wanted.removeprefix("/dashboard") if _NEXT.fullmatch(wanted) and ".." not in wanted else ""
    where = layout.link(request.url.path, path.removeprefix("/"))
    return Response(status_code=303, headers={"location": where})


def _limit(request: Request) -> None:
    """Count an attempt to sign in. Raises :class:`Problem` (429)."""
    api = api_of(request)
    for limit, key in (
        (api.sign_in_limit, payers.limited_address(request)),
        (api.sign_in_limit_of_all, "all"),
    ):
        _, wait = limit.take(key)
        if wait is not None:
            raise rate_limited("too many attempts to sign in", wait)
