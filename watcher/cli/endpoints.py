"""``endpoints``: where merchants want their webhooks."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from watcher.cli import render
from watcher.cli.amounts import when
from watcher.cli.look import Commands
from watcher.cli.options import Cursor, Json, Limit, OfMerchant
from watcher.cli.session import of

app = Commands("endpoints", "Add, test and remove the URLs that get webhooks.")

_Endpoint = Annotated[str, typer.Argument(metavar="ID", help="The endpoint's id (we_…).")]


@app.command()
def add(
    context: typer.Context,
    url: Annotated[str, typer.Argument(metavar="URL", help="Where to post, https://…")],
    merchant: Annotated[str, typer.Option("--merchant", metavar="ID", help="Whose events it gets (mer_…).")],
    events: Annotated[
        str | None,
        typer.Option(
            "--events",
            metavar="A,B",
            help="What it gets, * for all. Default: payment.succeeded, payment.failed, payment.expired.",
        ),
    ] = None,
    legacy_v0: Annotated[
        bool,
        typer.Option("--legacy-v0", help="Also sign in the plain old form, which can be replayed."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Add an endpoint and print its signing secret, which is shown this once.

    Example: sbtc-watcher endpoints add https://shop.example/webhooks --merchant mer_…
    """
    from notifier import endpoints, guard
    from notifier.events import DEFAULT_EVENTS
    from watcher import merchants
    from watcher.keys import open_vault

    session = of(context)
    settings = session.settings
    vault = open_vault(settings)
    # Looks the name up, so it comes before the transaction.
    checked = guard.check_url(
        url, allow_http=settings.webhook_allow_http, allow_private=settings.webhook_allow_private
    )
    wanted = [name.strip() for name in events.split(",") if name.strip()] if events is not None else None
    with session.writing() as connection:
        merchants.find(connection, merchant)
        added, secret = endpoints.create(
            connection,
            merchant=merchant,
            url=checked,
            events=DEFAULT_EVENTS if wanted is None else wanted,
            legacy_v0=legacy_v0,
            vault=vault,
            now=session.now,
        )
    _print_secret(endpoints.endpoint_json(added), secret, as_json)


@app.command("list")
def list_(
    context: typer.Context,
    merchant: OfMerchant = None,
    limit: Limit = 20,
    cursor: Cursor = None,
    as_json: Json = False,
) -> None:
    """List endpoints, newest first."""
    from notifier import endpoints

    with of(context).reading() as connection:
        rows, following = endpoints.list_endpoints(connection, merchant=merchant, limit=limit, cursor=cursor)
    found: dict[str, Any] = {"data": [endpoints.endpoint_json(row) for row in rows], "next_cursor": following}
    if as_json:
        render.document(found)
        return
    lines = [
        (row["id"], _status(row), row["url"], ", ".join(row["events"]), row["merchant"])
        for row in found["data"]
    ]
    render.page(
        found,
        render.table(("ID", "Status", "URL", "Events", "Merchant"), lines),
        nothing="No endpoints yet: sbtc-watcher endpoints add URL --merchant ID",
    )


@app.command()
def remove(context: typer.Context, endpoint: _Endpoint, as_json: Json = False) -> None:
    """Remove an endpoint; what was not delivered to it is dead, its log stays."""
    from notifier import endpoints

    with of(context).writing() as connection:
        removed = endpoints.get(connection, endpoint)
        endpoints.remove(connection, endpoint)
    if as_json:
        render.document({"id": removed.id, "removed": True})
    else:
        render.note(f"Endpoint {removed.id} is removed.")


@app.command()
def enable(context: typer.Context, endpoint: _Endpoint, as_json: Json = False) -> None:
    """Send to an endpoint again; what was held meanwhile is sent at once."""
    from notifier import endpoints

    session = of(context)
    with session.writing() as connection:
        found = endpoints.enable(connection, endpoint, now=session.now)
    _print(endpoints.endpoint_json(found), as_json)


@app.command()
def disable(context: typer.Context, endpoint: _Endpoint, as_json: Json = False) -> None:
    """Send nothing to an endpoint until it is enabled; its deliveries are held."""
    from notifier import endpoints

    with of(context).writing() as connection:
        found = endpoints.disable(connection, endpoint)
    _print(endpoints.endpoint_json(found), as_json)


@app.command("rotate-secret")
def rotate_secret(
    context: typer.Context,
    endpoint: _Endpoint,
    overlap: Annotated[
        str,
        typer.Option(
            "--overlap", metavar="DURATION", help="How long the old secret signs too; 0 for one that leaked."
        ),
    ] = "24h",
    as_json: Json = False,
) -> None:
    """Give an endpoint a fresh signing secret, which is shown this once."""
    from notifier import endpoints
    from watcher.durations import parse_duration
    from watcher.errors import UsageError
    from watcher.keys import open_vault

    try:
        seconds = parse_duration(overlap)
    except ValueError as error:
        raise UsageError(f"overlap: {error}") from None
    session = of(context)
    vault = open_vault(session.settings)
    with session.writing() as connection:
        found, secret = endpoints.rotate_secret(
            connection, endpoint, overlap=seconds, vault=vault, now=session.now
        )
    _print_secret(endpoints.endpoint_json(found), secret, as_json)


@app.command("test")
def send_test(context: typer.Context, endpoint: _Endpoint, as_json: Json = False) -> None:
    """Queue a webhook.test event for an endpoint; the running daemon delivers it."""
    from notifier import endpoints

    session = of(context)
    with session.writing() as connection:
        event, delivery = endpoints.send_test(connection, endpoint, now=session.now)
    if as_json:
        render.document({"event": event, "delivery": delivery})
        return
    render.show(render.card([("Event", event), ("Delivery", delivery)]))
    render.note(f"See how it went: sbtc-watcher deliveries show {delivery}")


def _print_secret(endpoint: Mapping[str, Any], secret: str, as_json: bool) -> None:
    if as_json:
        render.document({"endpoint": endpoint, "secret": secret})
        return
    render.show(render.card([*_rows(endpoint), ("Secret", secret)]))
    render.note("Keep the secret: webhooks are verified with it, and it is not shown again.")


def _print(endpoint: Mapping[str, Any], as_json: bool) -> None:
    if as_json:
        render.document(endpoint)
    else:
        render.show(render.card(_rows(endpoint)))


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
    text = render.word(endpoint["status"])
    return text.append(f" ({endpoint['disabled_reason']})") if endpoint["disabled_reason"] else text
