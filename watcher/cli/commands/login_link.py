"""``login-link``: a link that signs a merchant in to the dashboard, once."""

from typing import Annotated

import typer

from watcher.cli import render
from watcher.cli.format import when
from watcher.cli.options import JsonOption
from watcher.cli.session import Session, get_session


def login_link(
    context: typer.Context,
    merchant: Annotated[str, typer.Option("--merchant", metavar="ID", help="The merchant's id (mer_…).")],
    scopes: Annotated[
        str, typer.Option("--scopes", metavar="SCOPES", help="What they may do there: read, write or both.")
    ] = "read,write",
    as_json: JsonOption = False,
) -> None:
    """Print a link that signs a merchant in to the dashboard: once, within ten minutes.

    Example: sbtc-watcher login-link --merchant mer_…
    """
    from watcher.schemas import NewLoginLink

    session = get_session(context)
    granted = [scope.strip() for scope in scopes.split(",") if scope.strip()]
    request = NewLoginLink.of({"scopes": granted})
    with session.services(write=True) as services:
        found = services.add_login_link(merchant, request)
        found["url"] = found["url"] or f"{_base(session)}{found['path']}"
        if as_json:
            render.document(found)
            return
        render.line(found["url"])  # alone on its line and on stdout, to be copied or passed on
        may = " and ".join(found["scopes"])
        render.note(
            f"It signs {merchant} in once, until {when(found['expires_at'])} UTC, to {may}."
            " Whoever has it is this merchant: send it by a way that nobody else reads."
        )


def _base(session: Session) -> str:
    """Return where the dashboard is, where the settings do not say it."""
    if session.server is not None:
        return session.server.rstrip("/")
    host, port = session.settings.http_address or ("127.0.0.1", 8420)
    if host in ("", "0.0.0.0", "::"):  # noqa: S104 - all addresses of the machine, also this one
        host = "127.0.0.1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
