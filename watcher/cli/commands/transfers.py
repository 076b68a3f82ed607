"""``transfers``: received transfers, matched and unmatched."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from watcher.cli import render
from watcher.cli.format import short, when
from watcher.cli.help import Commands
from watcher.cli.options import CursorOption, JsonOption, LimitOption, MerchantFilterOption, ReasonOption
from watcher.cli.session import get_session, request_of

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
    filters = request_of(
        TransferFilters, merchant=merchant, unmatched=unmatched or None, limit=limit, cursor=cursor
    )
    with session.services() as services:
        found = services.transfers(filters)
    columns: render.Columns = {
        "ID": "id",
        "Time (UTC)": lambda row: when(row["block_time"]),
        "Amount": lambda row: short(int(row["amount"]), row["asset_identifier"], session.assets),
        "Intent, or why none": _intent_or_reason,
        "Memo": lambda row: (row["memo"] or {}).get("text"),
        "From": lambda row: row["sender"] or "peg-in",
    }
    render.listing(found, as_json, columns, right=("Amount",), nothing="No such transfers.")


def _intent_or_reason(row: Mapping[str, Any]) -> object:
    orphaned = row["status"] == "orphaned"
    return render.status_text("orphaned") if orphaned else row["intent"] or row["unmatched"]


@app.command()
def assign(
    context: typer.Context,
    transfer: Annotated[
        str, typer.Argument(metavar="TRANSFER", help="The transfer's id, from `transfers list`.")
    ],
    intent: Annotated[str, typer.Argument(metavar="INTENT", help="The intent's id (pi_…).")],
    reason: ReasonOption,
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
