"""``merchants``: the merchants and their API keys."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from watcher.cli import render
from watcher.cli.commands import keys
from watcher.cli.format import when
from watcher.cli.help import Commands
from watcher.cli.options import (
    CursorOption,
    JsonOption,
    LatePolicyOption,
    LevelOption,
    LimitOption,
    ToleranceOption,
)
from watcher.cli.session import drop_none, get_session, request_of
from watcher.errors import UsageError

app = Commands("merchants", "Add, change and disable merchants; manage their API keys.")
app.add_typer(keys.app)

#: The word by which ``update`` resets a field to the default of the settings.
DEFAULT = "default"

_Merchant = Annotated[str, typer.Argument(metavar="ID", help="The merchant's id (mer_…).")]
_OrNone = f"Or {DEFAULT}: none."
_OrDefault = f"Or {DEFAULT}: use the settings' value."


@app.command()
def add(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="A label; need not be unique.")],
    recipient: Annotated[
        str, typer.Option("--recipient", metavar="PRINCIPAL", help="The address or contract to pay.")
    ],
    level: LevelOption = None,
    ttl: Annotated[
        str | None,
        typer.Option("--ttl", metavar="DURATION", help="Default lifetime of its intents, e.g. 30m or 24h."),
    ] = None,
    tolerance: ToleranceOption = None,
    late_policy: LatePolicyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Add a merchant and print its API key, which is shown only once.

    Example: sbtc-watcher merchants add "Tea shop" --recipient SP2J6ZY48GV1EZ5V2V5RB9MP66SW86PYKKNRV9EJ7
    """
    from watcher.schemas import NewMerchant

    request = request_of(
        NewMerchant,
        name=name,
        recipient=recipient,
        level=level,
        ttl=ttl,
        tolerance=tolerance,
        late_policy=late_policy,
    )
    with get_session(context).services(write=True, create=True) as services:
        found = services.add_merchant(request)
        _print_key(found, as_json)


@app.command("list")
def list_(
    context: typer.Context, limit: LimitOption = 20, cursor: CursorOption = None, as_json: JsonOption = False
) -> None:
    """List merchants, newest first."""
    from watcher.schemas import Page

    with get_session(context).services() as services:
        found = services.merchants(request_of(Page, limit=limit, cursor=cursor))
    columns: render.Columns = {
        "ID": "id",
        "Name": "name",
        "Status": lambda row: render.status_text(row["status"]),
        "Recipient": "recipient",
        "Created (UTC)": lambda row: when(row["created_at"]),
    }
    nothing = "No merchants yet: sbtc-watcher merchants add NAME --recipient PRINCIPAL"
    render.listing(found, as_json, columns, nothing=nothing)


@app.command()
def show(context: typer.Context, merchant: _Merchant, as_json: JsonOption = False) -> None:
    """Show one merchant."""
    with get_session(context).services() as services:
        found = services.merchant_of(merchant)
    render.details(found, as_json, _rows)


@app.command()
def update(
    context: typer.Context,
    merchant: _Merchant,
    name: Annotated[str | None, typer.Option("--name", metavar="NAME", help="A new name.")] = None,
    recipient: Annotated[
        str | None,
        typer.Option(
            "--recipient",
            metavar="PRINCIPAL",
            help="The address or contract to pay from now on; existing intents keep theirs.",
        ),
    ] = None,
    level: Annotated[
        str | None,
        typer.Option(
            "--level",
            metavar="LEVEL",
            help=f"included, anchored, settled or stacks=1,bitcoin=3. {_OrDefault}",
        ),
    ] = None,
    ttl: Annotated[
        str | None, typer.Option("--ttl", metavar="DURATION", help=f"E.g. 30m or 24h. {_OrDefault}")
    ] = None,
    tolerance: Annotated[
        str | None, typer.Option("--tolerance", metavar="N", help=f"Base units. {_OrDefault}")
    ] = None,
    late_policy: Annotated[
        str | None, typer.Option("--late-policy", metavar="POLICY", help=f"hold or accept. {_OrDefault}")
    ] = None,
    display_name: Annotated[
        str | None,
        typer.Option("--display-name", metavar="NAME", help=f"What payers see; {DEFAULT}: the name."),
    ] = None,
    logo_url: Annotated[
        str | None, typer.Option("--logo-url", metavar="URL", help=f"A picture for payers. {_OrNone}")
    ] = None,
    brand_color: Annotated[
        str | None, typer.Option("--brand-color", metavar="COLOR", help=f"Of buttons: #e0662b. {_OrNone}")
    ] = None,
    support_url: Annotated[
        str | None,
        typer.Option(
            "--support-url", metavar="URL", help=f"Where payers ask for help: a page or mailto:… {_OrNone}"
        ),
    ] = None,
    allowed_origins: Annotated[
        str | None,
        typer.Option(
            "--allowed-origins",
            metavar="ORIGINS",
            help=f"Web pages that may frame its checkouts, separated by commas. {_OrNone}",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Change a merchant; existing intents keep what they were created with.

    Example: sbtc-watcher merchants update mer_… --level settled --ttl default
    """
    from watcher.schemas import ChangeMerchant

    changes = drop_none(
        name=name,
        recipient=recipient,
        level=level,
        ttl=ttl,
        tolerance=tolerance,
        late_policy=late_policy,
        display_name=display_name,
        logo_url=logo_url,
        brand_color=brand_color,
        support_url=support_url,
        allowed_origins=_read_origins(allowed_origins),
    )
    if not changes:
        raise UsageError("nothing to change", hint="sbtc-watcher merchants update --help lists what can be")
    for field in changes.keys() - {"name", "recipient"}:
        if changes[field] == DEFAULT:
            changes[field] = None
    request = ChangeMerchant.of(changes)
    with get_session(context).services(write=True) as services:
        render.details(services.change_merchant(merchant, request), as_json, _rows)


@app.command()
def disable(context: typer.Context, merchant: _Merchant, as_json: JsonOption = False) -> None:
    """Disable a merchant: no new intents, keys revoked; open intents continue."""
    from watcher.schemas import ChangeMerchant

    with get_session(context).services(write=True) as services:
        found = services.change_merchant(merchant, ChangeMerchant(status="disabled"))
        render.details(found, as_json, _rows)


@app.command("rotate-key")
def rotate_key(
    context: typer.Context,
    merchant: _Merchant,
    overlap: Annotated[
        str,
        typer.Option(
            "--overlap", metavar="DURATION", help="How long the old keys stay valid; 0 if one leaked."
        ),
    ] = "0",
    as_json: JsonOption = False,
) -> None:
    """Replace a merchant's API keys by a new one, which is shown only once.

    Example: sbtc-watcher merchants rotate-key mer_… --overlap 24h
    """
    from watcher.schemas import RotateKey

    request = RotateKey.of({"overlap": overlap})
    with get_session(context).services(write=True) as services:
        found = services.rotate_merchant_key(merchant, request)
        until = found.get("previous_keys_expire_at")
        _print_key(found, as_json, old=f"valid until {when(until)} UTC" if until else "not valid any more")


def _read_origins(text: str | None) -> list[str] | str | None:
    if text in (None, DEFAULT):
        return text
    return [word.strip() for word in str(text).split(",") if word.strip()]


def _print_key(found: Mapping[str, Any], as_json: bool, *, old: str | None = None) -> None:
    render.details(
        found,
        as_json,
        lambda it: [*_rows(it["merchant"]), ("API key", it["api_key"]), ("Old keys", old)],
        message=keys.KEEP_KEY,
    )


def _rows(merchant: Mapping[str, Any]) -> list[tuple[str, object]]:
    level = merchant["level"]
    if isinstance(level, Mapping):
        level = f"stacks={level['stacks']},bitcoin={level['bitcoin']}"
    ttl = merchant["ttl"]
    origins = merchant.get("allowed_origins")
    return [
        ("Merchant", merchant["id"]),
        ("Name", merchant["name"]),
        ("Status", render.status_text(merchant["status"])),
        ("Recipient", merchant["recipient"]),
        ("Level", level or "from the settings"),
        ("Intent lifetime", f"{ttl} s" if ttl is not None else "from the settings"),
        ("Tolerance", f"{merchant['tolerance']} base units" if merchant["tolerance"] else "none"),
        ("Late payments", merchant["late_policy"] or "from the settings"),
        ("Shown to payers as", merchant.get("display_name")),
        ("Logo", merchant.get("logo_url")),
        ("Color", merchant.get("brand_color")),
        ("Support", merchant.get("support_url")),
        ("May frame checkouts", render.lines(origins) if origins else None),
        ("Created", f"{when(merchant['created_at'])} UTC"),
    ]
