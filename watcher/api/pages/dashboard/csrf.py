"""Forms of other pages are refused: by where the browser says a request comes from, and by a token of the
session in every form.

The token holds for what the session looked at when the page was made: an operator who has turned to another
merchant, in another tab, cannot act on that one by a page of the first. And it is another on each page, so
that a form which is sent twice is done once.
"""

import hmac
import secrets
from urllib.parse import SplitResult, urlsplit

from fastapi import Request

from watcher.api.errors import Problem
from watcher.api.pages.dashboard.cookie import is_local
from watcher.urls import is_loopback

#: The field of a form.
FIELD = "token"


def make(secret: str, viewed: str | None) -> str:
    """Return a token for the forms of one page; ``viewed``: the merchant that is looked at."""
    once = secrets.token_urlsafe(12)
    return f"{once}.{_sign(secret, viewed, once)}"


def check(token: str, secret: str, viewed: str | None) -> None:
    """Raise :class:`Problem` (403) for a token of another session, or of another merchant's page."""
    once, _, mark = token.partition(".")
    if not hmac.compare_digest(mark.encode(), _sign(secret, viewed, once).encode()):
        raise Problem(
            403,
            "stale_form",
            "this form is not of the session as it is now, and nothing was done; go back, reload the page, "
            "and send it again",
        )


def check_origin(request: Request, public_url: str | None) -> None:
    """Raise :class:`Problem` (403) for a request that another site's page sent."""
    site = request.headers.get("sec-fetch-site")
    origin = request.headers.get("origin")
    if site is not None and site != "same-origin":
        raise _foreign()
    if origin is None or origin == "null":
        if site is None:  # neither says anything: no browser of today
            raise _foreign()
        return
    own = {request.headers.get("host", "")} | ({urlsplit(public_url).netloc} if public_url else set())
    if _origin(request).netloc not in own:
        raise _foreign()


def is_secure(request: Request) -> bool:
    """Return whether the browser speaks https with us, for a request that it sent with its origin.

    Raises :class:`Problem` (400) where a secret would go over the network in clear text.
    """
    origin = _origin(request)
    if origin.scheme == "http" and not is_loopback(origin):
        raise Problem(
            400,
            "not_encrypted",
            "the dashboard needs https, because keys would be readable on the way; or open it on the "
            "machine itself, for example through ssh -L 8420:127.0.0.1:8420",
        )
    return origin.scheme == "https" or not is_local(request)


def _origin(request: Request) -> SplitResult:
    try:
        return urlsplit(request.headers.get("origin", ""))
    except ValueError:
        return urlsplit("")


def _sign(secret: str, viewed: str | None, once: str) -> str:
    return hmac.new(secret.encode(), f"form|{viewed or ''}|{once}".encode(), "sha256").hexdigest()


def _foreign() -> Problem:
    return Problem(403, "foreign_form", "this request does not come from a page of this dashboard")
