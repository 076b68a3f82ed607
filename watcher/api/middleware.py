"""ASGI middleware: request id, access log, security headers, concurrency limit."""

import asyncio
import re
import secrets
import time
from collections.abc import MutableMapping
from typing import Any

import structlog
from fastapi import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from watcher import unforeseen
from watcher.api.errors import problem, unavailable
from watcher.api.pages.problems import as_page
from watcher.log import get_logger

#: Requests at the same time; more are answered 503. The health routes are always answered.
MAX_REQUESTS = 512

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
_MAX_PATH = 200

#: Addresses that hold a payer's secret, which no log may have.
_SECRET = re.compile(r"(/pay|/v1/checkout)/+[^/]+")
#: Live streams last as long as a payer looks; they have a limit of their own.
_STREAM = re.compile(r"/v1/checkout/[^/]+/events")

#: Asked for every few seconds by machines: logged for those who look closely.
HEALTH = frozenset({"/healthz", "/readyz", "/metrics"})

_NOTHING = "default-src 'none'; frame-ancestors 'none'"
_PAGE = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
}

log = get_logger(__name__)


class RequestMiddleware:
    """An ASGI application around another one."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._running = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        send = as_page(scope, send)
        request_id = _request_id(scope)
        state: MutableMapping[str, Any] = scope.setdefault("state", {})
        scope["state"] = state = {**state, "headers": {}, "caller": None, "head": False}
        path = scope["path"]
        shown = _SECRET.sub(r"\1/…", path)[:_MAX_PATH]
        counted = 0 if _STREAM.fullmatch(path) else 1
        method = scope["method"]
        if method == "HEAD":  # every GET can be asked for its head; the server leaves the body out
            scope = {**scope, "method": "GET"}
            state["head"] = True
        began = time.monotonic()
        status = 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                _add_headers(message, path, {"x-request-id": request_id, **state["headers"]})
            await send(message)

        self._running += counted
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                if self._running > MAX_REQUESTS and path not in HEALTH:
                    await unavailable("too many requests at once; try again")(
                        scope, receive, send_with_headers
                    )
                else:
                    await self._app(scope, receive, send_with_headers)
            except asyncio.CancelledError:
                # The server stops, and has waited for this request as long as it waits for any.
                if status == 0:
                    await unavailable("the server is stopping; try again")(scope, receive, send_with_headers)
            except Exception:
                unforeseen.COUNTER.labels("http").inc()
                log.exception("http.failed", method=method, path=shown)
                if status == 0:
                    await _broken()(scope, receive, send_with_headers)
            finally:
                self._running -= counted
                log_request = log.debug if path in HEALTH else log.info
                log_request(
                    "http.request",
                    method=method,
                    path=shown,
                    status=status,
                    duration_ms=round((time.monotonic() - began) * 1000, 1),
                    caller=state["caller"],
                )


def _broken() -> Response:
    return problem(500, "internal_error", "the server made a mistake")


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            given = value.decode("latin-1")
            return given if _REQUEST_ID.fullmatch(given) else f"req_{secrets.token_hex(12)}"
    return f"req_{secrets.token_hex(12)}"


def _add_headers(message: Message, path: str, more: dict[str, str]) -> None:
    has = {name for name, _ in message["headers"]}
    own = b"content-security-policy" in has
    page = path == "/docs" or path.startswith("/docs/")
    policy = {"content-security-policy": _PAGE if page else _NOTHING}
    cache = {"cache-control": "no-store"}
    # A page that others may frame says so in its own policy.
    headers = {name: value for name, value in _HEADERS.items() if name != "x-frame-options" or not own}
    message["headers"] = [
        *message["headers"],
        *(
            (name.encode(), value.encode("latin-1"))
            for name, value in (headers | policy | cache | more).items()
            if name.encode() not in has
        ),
    ]
