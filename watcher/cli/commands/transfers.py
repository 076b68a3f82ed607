"""``transfers``: received transfers, matched and unmatched."""

from typing import Annotated

import typer

from watcher.cli import render
from watcher.cli.format import short, when
from watcher.cli.help import Commands
from watcher.cli.options import CursorOption, JsonOption, LimitOption, MerchantFilterOption
from watcher.cli.session import drop_none, get_session

app = Commands("transfers", "List received transfers; assign unmatched ones to an intent.")


@app.command("list")
def list_(
    context: typer.Context,
    merchant: MerchantFilterOption = None,
    unmatched: Annotated[
        bool, typer.Option("--unmatched", help="Only transfers without an intent, with the reason.")
    ] = False,
    limit: LimitOption = 20,
    cursor: CursorOption = None,
    as_json: JsonOption = False,
) -> None:
    """List transfers, newest first."""
    from watcher.schemas import TransferFilters

    session = get_session(context)
    fields = {"merchant": merchant, "unmatched": unmatched or None, "limit": limit, "cursor": cursor}
    filters = TransferFilters.of(drop_none(fields))
    with session.services() as services:
        found = services.transfers(filters)
    if as_json:
        render.document(found)
        return
    assets = session.assets
    rows = [
        (
            row["id"],
            when(row["block_time"]),
            short(int(row["amount"]), row["asset_identifier"], assets),
            render.status_text(row["status"])
            if row["status"] == "orphaned"
            else row["intent"] or row["unmatched"],
            (row["memo"] or {}).get("text"),
            row["sender"] or "peg-in",
        )
        for row in found["data"]
    ]
    columns = ("ID", "Time (UTC)", "Amount", "Intent, or why none", "Memo", "From")
    render.page(found, render.table(columns, rows, right=("Amount",)), nothing="No such transfers.")


@app.command()
def assign(
    context: typer.Context,
    transfer: Annotated[
        str, typer.Argument(metavar="TRANSFER", help="The transfer's id, from `transfers list`.")
    ],
    intent: Annotated[str, typer.Argument(metavar="INTENT", help="The intent's id (pi_…).")],
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why, for the record.")],
    as_json: JsonOption = False,
) -> None:
    """Assign an unmatched transfer to an intent.

    Example: sbtc-watcher transfers assign tr_… pi_… --reason "memo was mistyped"
    """
    from watcher.schemas import Assign

    session = get_session(context)
    request = Assign.of({"intent": intent, "reason": reason})
    with session.services(write=True) as services:
        found = services.assign_transfer(transfer, request)
        status = services.intent(intent)["status"]
        if as_json:
            render.document(found)
            return
        amount = short(int(found["amount"]), found["asset_identifier"], session.assets)
        render.note(f"{amount} of transfer {transfer} belong to intent {intent}, which is {status}.")
