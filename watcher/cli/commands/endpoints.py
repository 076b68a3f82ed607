"""``endpoints``: the URLs that receive merchants' webhooks."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from watcher.cli import render
from watcher.cli.commands import trigger
from watcher.cli.format import when
from watcher.cli.help import Commands
from watcher.cli.options import CursorOption, JsonOption, LimitOption, MerchantFilterOption, MerchantOption
from watcher.cli.session import get_session, request_of

app = Commands("endpoints", "Add, test and remove the URLs that receive webhooks.")

_Endpoint = Annotated[str, typer.Argument(metavar="ID", help="The endpoint's id (we_…).")]


@app.command()
def add(
    context: typer.Context,
    url: Annotated[str, typer.Argument(metavar="URL", help="The URL to post to, https://…")],
    merchant: MerchantOption = None,
    events: Annotated[
        str | None,
        typer.Option(
            "--events",
            metavar="A,B",
            help="Event types it receives, * for all. Default: payment.succeeded, payment.failed,"
            " payment.expired, payment.attention.",
        ),
    ] = None,
    legacy_v0: Annotated[
        bool,
        typer.Option("--legacy-v0", help="Also sign with the old plain HMAC, which does not stop replays."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Add an endpoint and print its signing secret, which is shown only once.

    Example: sbtc-watcher endpoints add https://shop.example/webhooks --merchant mer_…
    """
    from watcher.schemas import NewEndpoint

    names = None if events is None else [name.strip() for name in events.split(",") if name.strip()]
    request = request_of(NewEndpoint, url=url, legacy_v0=legacy_v0, events=names, merchant=merchant)
    session = get_session(context)
    with session.backend() as backend:
        # A DNS lookup: done before the transaction opens.
        checked = backend.endpoint_url(request.url)
    with session.services(write=True) as services:
        found = services.add_endpoint(request, url=checked)
        _print_secret(found, as_json)


@app.command("list")
def list_(
    context: typer.Context,
    merchant: MerchantFilterOption = None,
    limit: LimitOption = 20,
    cursor: CursorOption = None,
    as_json: JsonOption = False,
) -> None:
    """List endpoints, newest first."""
    from watcher.schemas import OwnedPage

    page = request_of(OwnedPage, merchant=merchant, limit=limit, cursor=cursor)
    with get_session(context).services() as services:
        found = services.endpoints(page)
    columns: render.Columns = {
        "ID": "id",
        "Status": _status,
        "URL": "url",
        "Events": lambda row: ", ".join(row["events"]),
        "Merchant": "merchant",
    }
    nothing = "No endpoints yet: sbtc-watcher endpoints add URL --merchant ID"
    render.listing(found, as_json, columns, nothing=nothing)


@app.command()
def remove(context: typer.Context, endpoint: _Endpoint, as_json: JsonOption = False) -> None:
    """Remove an endpoint; its undelivered events become dead, its log stays."""
    with get_session(context).services(write=True) as services:
        found = services.remove_endpoint(endpoint)
        if as_json:
            render.document(found)
        else:
            render.note(f"Endpoint {found['id']} is removed.")


@app.command()
def enable(context: typer.Context, endpoint: _Endpoint, as_json: JsonOption = False) -> None:
    """Resume sending to an endpoint; deliveries held meanwhile are sent now."""
    from watcher.schemas import ChangeEndpoint

    with get_session(context).services(write=True) as services:
        found = services.change_endpoint(endpoint, ChangeEndpoint(status="enabled"))
        render.details(found, as_json, _rows)


@app.command()
def disable(context: typer.Context, endpoint: _Endpoint, as_json: JsonOption = False) -> None:
    """Stop sending to an endpoint until it is enabled; its deliveries are held."""
    from watcher.schemas import ChangeEndpoint

    with get_session(context).services(write=True) as services:
        found = services.change_endpoint(endpoint, ChangeEndpoint(status="disabled"))
        render.details(found, as_json, _rows)


@app.command("rotate-secret")
def rotate_secret(
    context: typer.Context,
    endpoint: _Endpoint,
    overlap: Annotated[
        str,
        typer.Option(
            "--overlap", metavar="DURATION", help="How long the old secret also signs; 0 if it leaked."
        ),
    ] = "24h",
    as_json: JsonOption = False,
) -> None:
    """Replace an endpoint's signing secret; the new one is shown only once."""
    from watcher.schemas import RotateSecret

    request = request_of(RotateSecret, overlap=overlap)
    with get_session(context).services(write=True) as services:
        found = services.rotate_endpoint_secret(endpoint, request)
        until = found.get("previous_secret_expires_at")
        _print_secret(
            found, as_json, old=f"signs too until {when(until)} UTC" if until else "not valid any more"
        )


@app.command("test")
def send_test(
    context: typer.Context,
    endpoint: _Endpoint,
    event_type: Annotated[
        str | None,
        typer.Option("--type", metavar="TYPE", help="Send a sample of this type. Default: webhook.test."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Queue a test event for an endpoint; the running daemon delivers it."""
    trigger.send(context, endpoint, event_type, None, as_json)


def _print_secret(found: Mapping[str, Any], as_json: bool, *, old: str | None = None) -> None:
    render.details(
        found,
        as_json,
        lambda it: [*_rows(it["endpoint"]), ("Secret", it["secret"]), ("Old secret", old)],
        message="Keep the secret: webhooks are verified with it, and it is not shown again.",
    )


def _rows(endpoint: Mapping[str, Any]) -> list[tuple[str, object]]:
    return [
        ("Endpoint", endpoint["id"]),
        ("URL", endpoint["url"]),
        ("Status", _status(endpoint)),
        ("Events", ", ".join(endpoint["events"])),
        ("Legacy v0", "yes" if endpoint["legacy_v0"] else None),
        ("Merchant", endpoint["merchant"]),
        ("Created", f"{when(endpoint['created_at'])} UTC"),
    ]


def _status(endpoint: Mapping[str, Any]) -> Any:
    text = render.status_text(endpoint["status"])
    return text.append(f" ({endpoint['disabled_reason']})") if endpoint["disabled_reason"] else text
