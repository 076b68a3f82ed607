"""The cookie that holds a session's secret.

Over https its name begins with ``__Host-``: then the browser takes it from this host only, over https only.
On the machine itself the dashboard also works over http, with a plain name.
"""

import re
from urllib.parse import urlsplit

from fastapi import Request, Response

from watcher.urls import is_loopback

NAME = "sbtc_watcher_session"
SECURE_NAME = f"__Host-{NAME}"

_SECRET = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)


def read(request: Request) -> str | None:
    """Return the secret that a request carries, None for none; a plain cookie counts on this machine only."""
    secret = request.cookies.get(SECURE_NAME)
    if secret is None and is_local(request):
        secret = request.cookies.get(NAME)
    return secret if secret is not None and _SECRET.fullmatch(secret) else None


def write(request: Request, response: Response, secret: str, *, secure: bool) -> None:
    """Let the browser keep a secret until it is closed or the session ends, and forget another one."""
    delete(request, response)
    response.set_cookie(
        SECURE_NAME if secure else NAME, secret, path="/", secure=secure, httponly=True, samesite="strict"
    )


def delete(request: Request, response: Response) -> None:
    """Let the browser forget the secrets that it sent."""
    for name, secure in ((SECURE_NAME, True), (NAME, False)):
        if name in request.cookies:
            response.delete_cookie(name, path="/", secure=secure, httponly=True, samesite="strict")


def is_local(request: Request) -> bool:
    """Return whether the browser asked this machine by an address of the machine itself."""
    try:
        return is_loopback(urlsplit(f"//{request.headers.get('host', '')}"))
    except ValueError:
        return False
