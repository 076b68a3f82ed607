"""``links``: payment links, their statistics and codes."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from watcher.cli import render
from watcher.cli.format import exact, full, short, when
from watcher.cli.help import Commands
from watcher.cli.options import CursorOption, JsonOption, LimitOption, MerchantFilterOption, MerchantOption
from watcher.cli.session import Session, drop_none, get_session, read_pairs, request_of
from watcher.errors import UsageError

app = Commands("links", "Create, change and disable payment links; show what became of them.")

#: The word by which ``update`` takes a value away.
NONE = "none"

#: Stands for a password that is asked for.
ASK = "-"

_Link = Annotated[str, typer.Argument(metavar="ID", help="The link's id (pl_…).")]
_Amount = Annotated[
    str | None,
    typer.Option("--amount", metavar="N", help="What each payer pays, in base units. Default: they say it."),
]
_MinAmount = Annotated[
    str | None, typer.Option("--min-amount", metavar="N", help="The least of an open amount, in base units.")
]
_MaxAmount = Annotated[
    str | None, typer.Option("--max-amount", metavar="N", help="The most of an open amount, in base units.")
]
_Asset = Annotated[
    str | None,
    typer.Option("--asset", metavar="NAME", help="sbtc (default), stx, usdcx or a configured asset."),
]
_Price = Annotated[
    list[str] | None,
    typer.Option(
        "--price",
        metavar="ASSET=N",
        help="Instead of --amount: the price in this asset; repeatable, the payer chooses.",
    ),
]
_Description = Annotated[
    str | None, typer.Option("--description", metavar="TEXT", help="What is paid for; payers see it.")
]
_Metadata = Annotated[
    list[str] | None,
    typer.Option("--metadata", metavar="KEY=VALUE", help="Your own notes, for each payment; repeatable."),
]
_ExpiresAt = Annotated[
    str | None,
    typer.Option("--expires-at", metavar="TIME", help="Nothing is started after it: 2026-12-31T12:00:00Z."),
]
_MaxUses = Annotated[
    str | None, typer.Option("--max-uses", metavar="N", help="How many payments may be open or paid.")
]
_Password = Annotated[
    str | None,
    typer.Option(
        "--password",
        metavar="TEXT",
        help=f"Payers must know it. {ASK} asks for it: other users can see it in `ps` otherwise.",
    ),
]
_Level = Annotated[
    str | None,
    typer.Option(
        "--level", metavar="LEVEL", help="Depth: included, anchored, settled or stacks=1,bitcoin=3."
    ),
]
_Recipient = Annotated[
    str | None,
    typer.Option("--recipient", metavar="PRINCIPAL", help="Who is paid. Default: the merchant's recipient."),
]
_SuccessUrl = Annotated[
    str | None,
    typer.Option("--success-url", metavar="URL", help="Where checkouts lead after the payment."),
]
_CancelUrl = Annotated[
    str | None, typer.Option("--cancel-url", metavar="URL", help="Where they lead back to before that.")
]


@app.command()
def create(
    context: typer.Context,
    merchant: MerchantOption = None,
    amount: _Amount = None,
    min_amount: _MinAmount = None,
    max_amount: _MaxAmount = None,
    asset: _Asset = None,
    price: _Price = None,
    description: _Description = None,
    metadata: _Metadata = None,
    expires_at: _ExpiresAt = None,
    max_uses: _MaxUses = None,
    password: _Password = None,
    level: _Level = None,
    recipient: _Recipient = None,
    success_url: _SuccessUrl = None,
    cancel_url: _CancelUrl = None,
    as_json: JsonOption = False,
) -> None:
    """Create a link: of one amount, of one that payers say, or priced in several assets.

    Example: sbtc-watcher links create --merchant mer_… --price sbtc=50000 --price stx=25000000
    """
    from watcher.schemas import NewPaymentLink

    session = get_session(context)
    request = request_of(
        NewPaymentLink,
        amount=amount,
        min_amount=min_amount,
        max_amount=max_amount,
        asset=asset,
        prices=read_pairs(price, "--price", example="sbtc=50000"),
        description=description,
        metadata=read_pairs(metadata, "--metadata"),
        expires_at=expires_at,
        max_uses=max_uses,
        password=_read_password(password),
        level=level,
        recipient=recipient,
        success_url=success_url,
        cancel_url=cancel_url,
        merchant=merchant,
    )
    with session.backend() as backend:
        password_hash = backend.password_hash(request.password)
    with session.services(write=True) as services:
        found = services.create_link(request, password_hash=password_hash)
        render.details(found, as_json, lambda link: _rows(link, session))


@app.command("list")
def list_(
    context: typer.Context,
    merchant: MerchantFilterOption = None,
    limit: LimitOption = 20,
    cursor: CursorOption = None,
    as_json: JsonOption = False,
) -> None:
    """List links, newest first."""
    from watcher.schemas import OwnedPage

    session = get_session(context)
    page = request_of(OwnedPage, merchant=merchant, limit=limit, cursor=cursor)
    with session.services() as services:
        found = services.links(page)
    columns: render.Columns = {
        "ID": "id",
        "Status": lambda row: render.status_text(row["status"]),
        "Amount": lambda row: " or ".join(_amounts(row, session, short)),
        "Uses": lambda row: row["uses"] if row["max_uses"] is None else f"{row['uses']} of {row['max_uses']}",
        "URL": "url",
    }
    nothing = "No links yet: sbtc-watcher links create --merchant ID --amount N"
    render.listing(found, as_json, columns, right=("Uses",), nothing=nothing)


@app.command()
def show(
    context: typer.Context,
    link: _Link,
    days: Annotated[
        int, typer.Option("--days", metavar="N", help="How many days of statistics, 1 to 366.")
    ] = 7,
    as_json: JsonOption = False,
) -> None:
    """Show a link and what became of it; with --json the link alone (see `links statistics`)."""
    from watcher.schemas import LinkDays

    session = get_session(context)
    request = LinkDays.of({"days": days})
    with session.services() as services:
        found = services.link(link)
        statistics = None if as_json else services.link_statistics(link, request)
    render.details(found, as_json, lambda it: _rows(it, session))
    if statistics is not None:
        _show_statistics(statistics)


@app.command()
def statistics(
    context: typer.Context,
    link: _Link,
    days: Annotated[int, typer.Option("--days", metavar="N", help="How many days, 1 to 366.")] = 30,
    as_json: JsonOption = False,
) -> None:
    """Show who looked, what was started and what was paid with a link, in all and by day."""
    from watcher.schemas import LinkDays

    with get_session(context).services() as services:
        found = services.link_statistics(link, LinkDays.of({"days": days}))
    if as_json:
        render.document(found)
    else:
        _show_statistics(found)


@app.command()
def update(
    context: typer.Context,
    link: _Link,
    amount: _Amount = None,
    min_amount: _MinAmount = None,
    max_amount: _MaxAmount = None,
    asset: _Asset = None,
    price: _Price = None,
    description: _Description = None,
    metadata: _Metadata = None,
    expires_at: _ExpiresAt = None,
    max_uses: _MaxUses = None,
    password: _Password = None,
    level: _Level = None,
    recipient: _Recipient = None,
    success_url: _SuccessUrl = None,
    cancel_url: _CancelUrl = None,
    enable: Annotated[bool, typer.Option("--enable", help="Let it be used again.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Change a link; the word none takes a value away. Payments that were started keep their terms.

    Example: sbtc-watcher links update pl_… --max-uses 100 --password none
    """
    from watcher.schemas import ChangePaymentLink

    session = get_session(context)
    changes = drop_none(
        amount=amount,
        min_amount=min_amount,
        max_amount=max_amount,
        asset=asset,
        prices=None if price == [NONE] else read_pairs(price, "--price", example="sbtc=50000"),
        description=description,
        metadata=None if metadata == [NONE] else read_pairs(metadata, "--metadata"),
        expires_at=expires_at,
        max_uses=max_uses,
        password=_read_password(password),
        level=level,
        recipient=recipient,
        success_url=success_url,
        cancel_url=cancel_url,
        active=enable or None,
    )
    changes = {name: None if value == NONE else value for name, value in changes.items()}
    changes |= {name: None for name, given in (("prices", price), ("metadata", metadata)) if given == [NONE]}
    if not changes:
        raise UsageError("nothing to change", hint="sbtc-watcher links update --help lists what can be")
    request = ChangePaymentLink.of(changes)
    with session.backend() as backend:
        password_hash = backend.password_hash(request.password)
    with session.services(write=True) as services:
        found = services.change_link(link, request, password_hash=password_hash)
        render.details(found, as_json, lambda it: _rows(it, session))


@app.command()
def disable(context: typer.Context, link: _Link, as_json: JsonOption = False) -> None:
    """Disable a link: nothing more is started from it; what was started goes on."""
    from watcher.schemas import ChangePaymentLink

    session = get_session(context)
    with session.services(write=True) as services:
        found = services.change_link(link, ChangePaymentLink(active=False))
        render.details(found, as_json, lambda it: _rows(it, session))


@app.command()
def qr(
    context: typer.Context,
    link: _Link,
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="FILE", help="Where to write it; - is standard output.")
    ],
    form: Annotated[
        str | None,
        typer.Option("--format", metavar="FORMAT", help="svg or png. Default: as the file's name ends."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write a link's QR code to a file.

    Example: sbtc-watcher links qr pl_… -o coffee.png
    """
    from watcher.web.codes import CodeFormat, code_file

    wanted = form or Path(output).suffix.removeprefix(".") or "svg"
    if wanted not in list(CodeFormat):
        raise UsageError(f"--format: {wanted!r} is unknown; write svg or png")
    if as_json and output == ASK:
        raise UsageError("--json: standard output is for the code; name a file with -o")
    with get_session(context).services() as services:
        url = str(services.link(link)["url"])
    if not url.startswith("http"):
        raise UsageError(
            f"the link is only a path, {url}: a code needs its whole address",
            hint="set public_url, the address at which payers reach this server",
        )
    made = code_file(url, CodeFormat(wanted))
    try:
        if output == ASK:
            sys.stdout.buffer.write(made)
            sys.stdout.buffer.flush()
            return
        Path(output).write_bytes(made)
    except BrokenPipeError as error:
        raise render.ReaderGone from error
    except OSError as error:
        raise UsageError(f"cannot write {output}: {error.strerror or error}") from None
    if as_json:
        render.document({"payment_link": link, "url": url, "file": output})
    else:
        render.note(f"{output} leads to {url}")


def _read_password(given: str | None) -> str | None:
    if given != ASK:
        return given
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True))


def _amounts(link: Mapping[str, Any], session: Session, form: Any) -> list[str]:
    """Return what may be paid with a link, an asset each."""
    if link["prices"] is not None:
        return [form(int(amount), asset, session.assets) for asset, amount in link["prices"].items()]
    if link["amount"] is not None:
        return [form(int(link["amount"]), link["asset"], session.assets)]
    limits = {"from": link["min_amount"], "to": link["max_amount"]}
    words = [f"{word} {form(int(of), link['asset'], session.assets)}" for word, of in limits.items() if of]
    return [" ".join(words) or f"any, {link['asset']}"]


def _rows(link: Mapping[str, Any], session: Session) -> list[tuple[str, object]]:
    level = link["level"]
    if isinstance(level, Mapping):
        level = f"stacks={level['stacks']},bitcoin={level['bitcoin']}"
    most = link["max_uses"]
    metadata = [f"{key}={value}" for key, value in link["metadata"].items()]
    return [
        ("Link", link["id"]),
        ("URL", link["url"]),
        ("Status", render.status_text(link["status"])),
        ("Amount", render.lines(_amounts(link, session, full))),
        ("Description", link["description"]),
        ("Uses", link["uses"] if most is None else f"{link['uses']} of {most}"),
        ("Expires", None if link["expires_at"] is None else f"{when(link['expires_at'])} UTC"),
        ("Password", "needed" if link["has_password"] else None),
        ("Level", level),
        ("Recipient", link["recipient"]),
        ("After success", link["success_url"]),
        ("Back", link["cancel_url"]),
        ("Metadata", render.lines(metadata) if metadata else None),
        ("Merchant", link["merchant"]),
        ("Created", f"{when(link['created_at'])} UTC"),
    ]


def _show_statistics(found: Mapping[str, Any]) -> None:
    def money(amounts: Mapping[str, str]) -> str:
        return ", ".join(
            f"{exact(int(amount), found['decimals'].get(asset, 0))} {asset}"
            for asset, amount in amounts.items()
        )

    render.show(render.heading("Since it exists"))
    names = ("views", "started", "open", "paid", "expired", "abandoned", "failed", "canceled")
    render.show(render.card([(name.capitalize(), found[name]) for name in names]))
    if found["amounts"]:
        render.show(render.card([("Paid in all", money(found["amounts"]))]))
    render.show(render.heading("By day (UTC)"))
    rows = [
        [day["date"], day["views"], day["started"], day["paid"], money(day["amounts"])]
        for day in reversed(found["days"])
    ]
    right = ("Views", "Started", "Paid")
    render.show(render.table(["Day", *right, "Came"], rows, right=right))
