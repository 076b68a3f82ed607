"""The card of an intent: amounts, payments, failed attempts, timeline, and how to pay it."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.text import Text

from contracts.networks import AssetSpec
from watcher.cli import render
from watcher.cli.format import full, relative, short, when

#: Statuses in which the intent can still be paid.
_OPEN_STATUSES = ("pending", "processing")

#: Texts and numbers that other rows show, or that say nothing to a person.
_KNOWN = frozenset(
    {
        *("id", "object", "merchant", "status", "in_flight", "asset", "asset_identifier", "amount"),
        *("amount_received", "amount_missing", "amount_over", "amount_refunded", "tolerance"),
        *("recipient", "payer", "reference", "terms_hash", "match", "late_policy", "expires_at", "deadline"),
        *("created_at", "updated_at", "succeeded_at", "network", "livemode"),
        *("description", "checkout_url", "success_url", "cancel_url"),
        *("transfers_total", "attempts_total", "refunds_total", "timeline_total"),
    }
)


def show(intent: Mapping[str, Any], assets: Sequence[AssetSpec], *, now: float) -> None:
    """Print the card of an intent document."""
    render.show(render.card(_rows(intent, assets, now=now)))
    _section(intent, "transfers", "Transfers", _money_table(intent, "transfers", "sender", "From", assets))
    _section(intent, "refunds", "Refunds", _money_table(intent, "refunds", "recipient", "To", assets))
    rows = [(row["block_height"], row["reason"], row["sender"], row["tx_id"]) for row in intent["attempts"]]
    failed = render.table(("Block", "Reason", "From", "Transaction"), rows, right=("Block",))
    _section(intent, "attempts", "Failed attempts", failed)
    changes = [
        (when(row["at"]), render.status_text(row["status"]), row["reason"]) for row in intent["timeline"]
    ]
    _section(intent, "timeline", "Timeline", render.table(("Time (UTC)", "Status", "Reason"), changes))
    if intent["status"] in _OPEN_STATUSES and intent["amount_missing"] != "0":
        render.show(render.heading("How to pay"))
        render.show(render.card(_payment(intent, assets)))


def status_and_flags(intent: Mapping[str, Any]) -> Text:
    """Return an intent's status and flags as one line."""
    text = render.status_text(intent["status"])
    marks = [*intent["flags"], *(["in flight"] if intent["in_flight"] else [])]
    return text.append(f" ({', '.join(marks)})", style="yellow") if marks else text


def _rows(intent: Mapping[str, Any], assets: Sequence[AssetSpec], *, now: float) -> list[tuple[str, object]]:
    def money(field: str) -> str | None:
        count = int(intent[field])
        return full(count, intent["asset"], assets) if count else None

    open_ = intent["status"] in _OPEN_STATUSES
    metadata = intent["metadata"]
    return [
        ("Intent", intent["id"]),
        ("Status", status_and_flags(intent)),
        ("For", intent.get("description")),
        ("Amount", money("amount")),
        ("Price", "{amount} {currency}".format(**intent["fiat"]) if intent.get("fiat") else None),
        ("Received", money("amount_received")),
        ("Missing", money("amount_missing") if intent["amount_received"] != "0" else None),
        ("Overpaid", money("amount_over")),
        ("Refunded", money("amount_refunded")),
        ("Tolerance", money("tolerance")),
        (
            "Recipient",
            intent["recipient"] + (" (for this intent only)" if intent["match"] == "recipient" else ""),
        ),
        ("Payer", intent["payer"]),
        ("Checkout", intent.get("checkout_url")),
        ("Back to, paid", intent.get("success_url")),
        ("Back to, unpaid", intent.get("cancel_url")),
        ("Reference", intent["reference"]),
        ("Depth", _depth(intent["confirmations"])),
        (
            "Expires",
            relative(intent["expires_at"], now=now) if open_ else f"{when(intent['expires_at'])} UTC",
        ),
        ("Late payments", {"hold": "held for a person", "accept": "accepted"}[intent["late_policy"]]),
        ("Merchant", intent["merchant"]),
        ("Metadata", render.lines([f"{k}={v}" for k, v in metadata.items()]) if metadata else None),
        ("Created", f"{when(intent['created_at'])} UTC"),
        (
            "As of",
            f"block {intent['as_of']['height']:,}" if intent["as_of"]["height"] else "no block read yet",
        ),
        *_other_rows(intent),
    ]


def _other_rows(intent: Mapping[str, Any]) -> list[tuple[str, object]]:
    """Return the fields that no other row is for: plain ones, and those of a newer server."""
    return [
        (name.replace("_", " ").capitalize(), value)
        for name, value in intent.items()
        if name not in _KNOWN and isinstance(value, str | int)
    ]


def _depth(confirmations: Mapping[str, Any]) -> str:
    required, reached = confirmations["required"], confirmations["reached"]
    text = f"{_blocks(required)} required"
    if confirmations["level"]:
        text = f"{confirmations['level']}: {text}"
    return f"{text}, {_blocks(reached)} reached" if reached else text


def _blocks(depth: Mapping[str, int]) -> str:
    return f"{depth['stacks']:,} Stacks + {depth['bitcoin']:,} Bitcoin blocks"


def _section(intent: Mapping[str, Any], name: str, title: str, table: Any) -> None:
    """Print a table unless it is empty, and how many rows the document leaves out."""
    listed, total = len(intent[name]), intent[f"{name}_total"]
    if not listed:
        return
    render.show(render.heading(title))
    render.show(table)
    if total > listed:
        render.show(Text(f"… and {total - listed:,} more"))


def _money_table(
    intent: Mapping[str, Any], name: str, other: str, column: str, assets: Sequence[AssetSpec]
) -> Any:
    """Return the table of transfers or refunds; ``other`` is the field with the other party."""
    rows = [
        (
            f"{row['block_height']:,}",
            short(int(row["amount"]), intent["asset"], assets),
            "–"
            if row["confirmations"] is None
            else "{stacks:,} + {bitcoin:,}".format(**row["confirmations"]),
            render.status_text(row["status"]),
            row[other] or "peg-in",
            row["tx_id"],
        )
        for row in intent[name]
    ]
    columns = ("Block", "Amount", "Depth", "Status", column, "Transaction")
    return render.table(columns, rows, right=("Block", "Amount", "Depth"))


def _payment(intent: Mapping[str, Any], assets: Sequence[AssetSpec]) -> list[tuple[str, object]]:
    contract = intent["pay"]["contract"]
    missing = full(int(intent["amount_missing"]), intent["asset"], assets)
    label = "no memo needed" if intent["match"] == "recipient" else f"memo {intent['pay']['memo']}"
    rows: list[tuple[str, object]] = [("Transfer", f"{missing} to {intent['recipient']}, {label}")]
    # A contract call pays the whole amount, so it cannot pay a missing rest.
    if contract is not None and intent["amount_received"] == "0":
        rows.append(("Or call", f"{contract['contract_id']} {contract['function']}"))
        rows += [(f"  {argument['name']}", argument["value"]) for argument in contract["arguments"]]
    return rows
