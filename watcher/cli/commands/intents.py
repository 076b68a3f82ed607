"""``intents``: payment intents and their status."""

from enum import StrEnum
from typing import Annotated, Any

import typer

from watcher.cli import intent_card, render
from watcher.cli.commands import import_intents
from watcher.cli.format import short, when
from watcher.cli.help import Commands
from watcher.cli.options import (
    CursorOption,
    JsonOption,
    LatePolicyOption,
    LevelOption,
    LimitOption,
    MerchantFilterOption,
    MerchantOption,
    ReasonOption,
    ToleranceOption,
)
from watcher.cli.session import Session, get_session, read_moment, read_pairs, request_of
from watcher.domain.model import Flag, Status

app = Commands("intents", "Create, list, cancel and mark payment intents; dismiss their refunds.")


def _or(kind: type[StrEnum]) -> str:
    *names, last = kind
    return f"{', '.join(names)} or {last}"


_Intent = Annotated[str, typer.Argument(metavar="ID", help="The intent's id (pi_…).")]
_Metadata = Annotated[
    list[str] | None, typer.Option("--metadata", metavar="KEY=VALUE", help="Your own notes; repeatable.")
]


@app.command()
def create(
    context: typer.Context,
    amount: Annotated[
        str,
        typer.Option("--amount", metavar="N", help="The amount to pay, in base units: sats, micro-STX."),
    ],
    merchant: MerchantOption = None,
    asset: Annotated[
        str, typer.Option("--asset", metavar="NAME", help="sbtc, stx, usdcx or a configured asset.")
    ] = "sbtc",
    recipient: Annotated[
        str | None,
        typer.Option(
            "--recipient",
            metavar="PRINCIPAL",
            help="The address or contract to pay. Default: the merchant's.",
        ),
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option(
            "--reference",
            metavar="TEXT",
            help="The memo to pay with, at most 34 characters. Default: random.",
        ),
    ] = None,
    expires_in: Annotated[
        str | None,
        typer.Option(
            "--expires-in", metavar="DURATION", help="E.g. 30m. Default: the merchant's, else default_ttl."
        ),
    ] = None,
    expires_at: Annotated[
        str | None,
        typer.Option(
            "--expires-at", metavar="TIME", help="Instead of --expires-in, e.g. 2026-12-31T12:00:00Z."
        ),
    ] = None,
    level: LevelOption = None,
    payer: Annotated[
        str | None, typer.Option("--payer", metavar="PRINCIPAL", help="Only payments from this sender count.")
    ] = None,
    metadata: _Metadata = None,
    late_policy: LatePolicyOption = None,
    tolerance: ToleranceOption = None,
    match: Annotated[
        str | None,
        typer.Option(
            "--match",
            metavar="HOW",
            help="reference: by memo or contract call. recipient: by an address that is used for this intent"
            " only, without a memo.",
        ),
    ] = None,
    not_before: Annotated[
        str | None,
        typer.Option("--not-before", metavar="TIME", help="Earlier payments do not count. Default: 24h ago."),
    ] = None,
    salt: Annotated[
        str | None,
        typer.Option(
            "--salt", metavar="HEX", help="16 bytes, part of the contract call's terms. Default: random."
        ),
    ] = None,
    description: Annotated[
        str | None,
        typer.Option("--description", metavar="TEXT", help="What is paid for; the payer sees it."),
    ] = None,
    success_url: Annotated[
        str | None,
        typer.Option("--success-url", metavar="URL", help="Where the checkout leads after the payment."),
    ] = None,
    cancel_url: Annotated[
        str | None, typer.Option("--cancel-url", metavar="URL", help="Where it leads back to before that.")
    ] = None,
    fiat: Annotated[
        str | None,
        typer.Option(
            "--fiat",
            metavar="PRICE",
            help="What the amount was counted from, for the payer's eye: '49.90 EUR'.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Create an intent and print how to pay it.

    Example: sbtc-watcher intents create --merchant mer_… --amount 50000 --metadata order_id=12345
    """
    from watcher.schemas import NewPaymentIntent

    session = get_session(context)
    request = request_of(
        NewPaymentIntent,
        amount=amount,
        asset=asset,
        recipient=recipient,
        reference=reference,
        expires_in=expires_in,
        expires_at=expires_at,
        level=level,
        payer=payer,
        match=match,
        tolerance=tolerance,
        late_policy=late_policy,
        not_before=not_before,
        salt=salt,
        metadata=read_pairs(metadata, "--metadata"),
        description=description,
        success_url=success_url,
        cancel_url=cancel_url,
        fiat=fiat,
        merchant=merchant,
    )
    with session.services(write=True) as services:
        found = services.create_intent(request)
        _print(session, found, as_json)


@app.command("list")
def list_(
    context: typer.Context,
    merchant: MerchantFilterOption = None,
    status: Annotated[
        Status | None, typer.Option("--status", metavar="STATUS", help=f"Only this status: {_or(Status)}.")
    ] = None,
    flag: Annotated[
        Flag | None, typer.Option("--flag", metavar="FLAG", help=f"Only with this flag: {_or(Flag)}.")
    ] = None,
    attention: Annotated[
        bool,
        typer.Option("--attention", help="Only those that need a person, as counted in `status`."),
    ] = False,
    asset: Annotated[
        str | None, typer.Option("--asset", metavar="NAME", help="Only in this asset: sbtc, stx or another.")
    ] = None,
    search: Annotated[
        str | None,
        typer.Option(
            "--search",
            metavar="TEXT",
            help="Only with exactly this reference, id, transaction, address or text of the metadata.",
        ),
    ] = None,
    payment_link: Annotated[
        str | None,
        typer.Option("--payment-link", metavar="ID", help="Only those of this payment link (pl_…)."),
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option("--reference", metavar="TEXT", help="Only with this reference; case does not matter."),
    ] = None,
    created_from: Annotated[
        str | None,
        typer.Option(
            "--created-from",
            metavar="TIME",
            help="Created then or later: RFC 3339 time, or how long ago: 2d.",
        ),
    ] = None,
    created_to: Annotated[
        str | None,
        typer.Option(
            "--created-to", metavar="TIME", help="Created before: RFC 3339 time, or how long ago: 2h."
        ),
    ] = None,
    metadata: _Metadata = None,
    limit: LimitOption = 20,
    cursor: CursorOption = None,
    as_json: JsonOption = False,
) -> None:
    """List intents, newest first.

    Example: sbtc-watcher intents list --status pending --created-from 2d
    """
    from watcher.schemas import PaymentIntentFilters

    session = get_session(context)
    filters = request_of(
        PaymentIntentFilters,
        merchant=merchant,
        status=status,
        flag=flag,
        attention=attention or None,
        asset=asset,
        search=search,
        payment_link=payment_link,
        reference=reference,
        created_from=read_moment(created_from, "--created-from", now=session.now),
        created_to=read_moment(created_to, "--created-to", now=session.now),
        metadata=read_pairs(metadata, "--metadata"),
        limit=limit,
        cursor=cursor,
    )
    with session.services() as services:
        found = services.intents(filters)
    columns: render.Columns = {
        "ID": "id",
        "Status": intent_card.status_and_flags,
        "Amount": lambda row: short(int(row["amount"]), row["asset"], session.assets),
        "Received": lambda row: short(int(row["amount_received"]), row["asset"], session.assets),
        "Reference": "reference",
        "Expires (UTC)": lambda row: when(row["expires_at"]),
    }
    render.listing(found, as_json, columns, right=("Amount", "Received"), nothing="No such intents.")


@app.command()
def show(context: typer.Context, intent: _Intent, as_json: JsonOption = False) -> None:
    """Show an intent: payments, failed attempts, timeline, and how to pay it."""
    session = get_session(context)
    with session.services() as services:
        found = services.intent(intent)
    _print(session, found, as_json)


@app.command()
def cancel(
    context: typer.Context,
    intent: _Intent,
    reason: ReasonOption = "canceled",
    as_json: JsonOption = False,
) -> None:
    """Cancel a pending intent; payments that still arrive are flagged late."""
    from watcher.schemas import Cancel

    session = get_session(context)
    request = Cancel.of({"reason": reason})
    with session.services(write=True) as services:
        found = services.cancel_intent(intent, request)
        _print(session, found, as_json)


@app.command()
def mark(
    context: typer.Context,
    intent: _Intent,
    status: Annotated[str, typer.Option("--status", metavar="STATUS", help="succeeded or failed.")],
    reason: ReasonOption,
    as_json: JsonOption = False,
) -> None:
    """Set an intent to succeeded or failed, whatever the chain says; the merchant is notified.

    Only another mark changes it again.

    Example: sbtc-watcher intents mark pi_… --status succeeded --reason "paid in cash"
    """
    from watcher.schemas import Mark

    session = get_session(context)
    request = Mark.of({"status": status, "reason": reason})
    with session.services(write=True) as services:
        found = services.mark_intent(intent, request)
        _print(session, found, as_json)


@app.command()
def dismiss(
    context: typer.Context,
    intent: _Intent,
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="Why no refund is needed, for the record.")
    ],
    as_json: JsonOption = False,
) -> None:
    """Dismiss the refund that is due for an ended intent.

    Use it when the money went back another way, or stays with the merchant.
    If more money arrives, that is due again.

    Example: sbtc-watcher intents dismiss pi_… --reason "sent back by hand"
    """
    from watcher.schemas import Dismiss

    session = get_session(context)
    request = Dismiss.of({"reason": reason})
    with session.services(write=True) as services:
        found = services.dismiss_intent(intent, request)
        _print(session, found, as_json)


app.command("import")(import_intents.import_)


def _print(session: Session, found: dict[str, Any], as_json: bool) -> None:
    if as_json:
        render.document(found)
    else:
        intent_card.show(found, session.assets, now=session.now)
