"""Problems of pages: whatever refuses a payer's page, they get a page in their language, not JSON."""

import re

from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
from starlette.types import Message, Scope, Send

from watcher.api.errors import MEDIA_TYPE as PROBLEM
from watcher.api.pages.language import headers_of, language_of
from watcher.web.page import MEDIA_TYPE
from watcher.web.problem import problem_page

_PAGES = re.compile(r"/(?:pay|l)/(?!assets/)")


def as_page(scope: Scope, send: Send) -> Send:
    """Return what sends a page where ``send`` would send a problem, if the path is that of a payer's page."""
    if not _PAGES.match(scope["path"]):
        return send
    replaced = False

    async def send_page(message: Message) -> None:
        nonlocal replaced
        if replaced:
            return
        if message["type"] != "http.response.start":
            await send(message)
            return
        headers = MutableHeaders(raw=list(message["headers"]))
        if headers.get("content-type") != PROBLEM:
            await send(message)
            return
        replaced = True
        body = _page(scope, message["status"], headers)
        await send({**message, "headers": headers.raw})
        await send({"type": "http.response.body", "body": body})

    return send_page


def _page(scope: Scope, status: int, headers: MutableHeaders) -> bytes:
    """Return the page of a problem; ``headers`` become its own."""
    language = language_of(HTTPConnection(scope))
    retry = headers.get("retry-after")
    page = problem_page(
        status,
        seconds=int(retry) if retry is not None and retry.isdecimal() else None,
        assets_at="../" * (scope["path"].count("/") - 2) + "assets/",
        language=language,
    )
    body = page.html.encode()
    headers.update(
        {
            **page.headers,
            **headers_of(language),
            "content-type": MEDIA_TYPE,
            "content-length": str(len(body)),
        }
    )
    return body
