"""``merchants keys``: a merchant's API keys, each with a name and scopes."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from watcher.cli import render
from watcher.cli.format import when
from watcher.cli.help import Commands
from watcher.cli.options import JsonOption
from watcher.cli.session import get_session

app = Commands("keys", "A merchant's API keys: one per program that calls the HTTP API.")

_Merchant = Annotated[str, typer.Argument(metavar="MERCHANT", help="The merchant's id (mer_…).")]


@app.command()
def add(
    context: typer.Context,
    merchant: _Merchant,
    name: Annotated[
        str, typer.Option("--name", metavar="NAME", help="A label: which program uses it.")
    ] = "default",
    scopes: Annotated[
        str, typer.Option("--scopes", metavar="SCOPES", help="What it may do: read, write or both.")
    ] = "read,write",
    as_json: JsonOption = False,
) -> None:
    """Add an API key to a merchant and print it, which is shown only once.

    Example: sbtc-watcher merchants keys add mer_… --name "till 2" --scopes read
    """
    from watcher.schemas import AddApiKey

    granted = [scope.strip() for scope in scopes.split(",") if scope.strip()]
    request = AddApiKey.of({"name": name, "scopes": granted})
    with get_session(context).services(write=True) as services:
        found = services.add_merchant_key(merchant, request)
        if as_json:
            render.document(found)
            return
        render.show(render.card([*_rows(found["key"]), ("API key", found["api_key"])]))
        render.note("Keep the API key: it is not stored and not shown again.")


@app.command("list")
def list_(context: typer.Context, merchant: _Merchant, as_json: JsonOption = False) -> None:
    """List a merchant's keys, revoked and expired ones too, newest first."""
    with get_session(context).services() as services:
        found = services.merchant_keys(merchant)
    if as_json:
        render.document(found)
        return
    lines = [
        (
            row["id"],
            row["name"],
            ", ".join(row["scopes"]),
            render.status_text(row["status"]),
            when(row["created_at"]),
            when(row["last_used_at"]) if row["last_used_at"] else "never",
            when(row["expires_at"]) if row["expires_at"] else "–",
        )
        for row in found["data"]
    ]
    titles = ("ID", "Name", "Scopes", "Status", "Created (UTC)", "Last used", "Ends")
    render.page(
        found,
        render.table(titles, lines),
        nothing=f"No keys: sbtc-watcher merchants keys add {merchant}",
    )


@app.command()
def revoke(
    context: typer.Context,
    merchant: _Merchant,
    key: Annotated[str, typer.Argument(metavar="KEY", help="The key's id (key_…), as `list` shows it.")],
    as_json: JsonOption = False,
) -> None:
    """Revoke a key; it stops working at once."""
    with get_session(context).services(write=True) as services:
        found = services.revoke_merchant_key(merchant, key)
        if as_json:
            render.document(found)
        else:
            render.show(render.card(_rows(found)))


def _rows(key: Mapping[str, Any]) -> list[tuple[str, object]]:
    return [
        ("Key", key["id"]),
        ("Merchant", key["merchant"]),
        ("Name", key["name"]),
        ("Scopes", ", ".join(key["scopes"])),
        ("Status", render.status_text(key["status"])),
        ("Created", f"{when(key['created_at'])} UTC"),
    ]
