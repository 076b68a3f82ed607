"""Answers of pages."""

from fastapi import Response

from watcher.web.page import MEDIA_TYPE, Page


def answer(page: Page, *, status: int = 200) -> Response:
    """Return the answer that has a page."""
    return Response(page.html, status_code=status, headers=dict(page.headers), media_type=MEDIA_TYPE)
