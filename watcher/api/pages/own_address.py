"""The addresses of our own pages, for another device or a person."""

from fastapi import Request

from watcher.urls import parse_page_url


def own_address(request: Request, public_url: str | None, path: str) -> str | None:
    """Return the address of the page at a path, None where it is not known."""
    if public_url is not None:
        return f"{public_url}{path}"
    try:
        return parse_page_url(f"{request.url.scheme}://{request.headers.get('host', '')}{path}")
    except ValueError:
        return None
