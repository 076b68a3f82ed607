"""Answers of pages."""

from fastapi import Response

from watcher.api.pages.language import headers_of
from watcher.web.page import MEDIA_TYPE, Page


def answer(page: Page, *, status: int = 200, language: str | None = None) -> Response:
    """Return the answer that has a page; ``language`` where it has been chosen for the reader."""
    headers = {**page.headers, **({} if language is None else headers_of(language))}
    return Response(page.html, status_code=status, headers=headers, media_type=MEDIA_TYPE)
