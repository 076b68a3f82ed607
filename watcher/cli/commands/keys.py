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

#: Message below a new key.
KEEP_KEY = "Keep the API key: it is not stored and not shown again."

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
        render.details(
            found, as_json, lambda it: [*_rows(it["key"]), ("API key", it["api_key"])], message=KEEP_KEY
        )


@app.command("list")
def list_(context: typer.Context, merchant: _Merchant, as_json: JsonOption = False) -> None:
    """List a merchant's keys, revoked and expired ones too, newest first."""
    with get_session(context).services() as services:
        found = services.merchant_keys(merchant)
    columns: render.Columns = {
        "ID": "id",
        "Name": "name",
        "Scopes": lambda row: ", ".join(row["scopes"]),
        "Status": lambda row: render.status_text(row["status"]),
        "Created (UTC)": lambda row: when(row["created_at"]),
        "Last used": lambda row: when(row["last_used_at"]) if row["last_used_at"] else "never",
        "Ends": lambda row: when(row["expires_at"]),
    }
    render.listing(found, as_json, columns, nothing=f"No keys: sbtc-watcher merchants keys add {merchant}")


@app.command()
def revoke(
    context: typer.Context,
    merchant: _Merchant,
    key: Annotated[str, typer.Argument(metavar="KEY", help="The key's id (key_…), as `list` shows it.")],
    as_json: JsonOption = False,
) -> None:
    """Revoke a key; it stops working at once."""
    with get_session(context).services(write=True) as services:
        render.details(services.revoke_merchant_key(merchant, key), as_json, _rows)


def _rows(key: Mapping[str, Any]) -> list[tuple[str, object]]:
    return [
        ("Key", key["id"]),
        ("Merchant", key["merchant"]),
        ("Name", key["name"]),
        ("Scopes", ", ".join(key["scopes"])),
        ("Status", render.status_text(key["status"])),
        ("Created", f"{when(key['created_at'])} UTC"),
    ]
