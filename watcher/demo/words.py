"""What the demo says of a block, an intent and a webhook: short lines, made from documents and headers (pure)."""

from datetime import datetime
from typing import Any

from rich.text import Text

from chain.model import BlockHeader

#: Colours of statuses and of what webhooks tell.
COLORS = {
    "pending": "yellow",
    "processing": "bright_blue",
    "succeeded": "green",
    "failed": "red",
    "expired": "magenta",
    "canceled": "bright_black",
    "attention": "yellow",
}


def amount(value: int | str, asset: str) -> str:
    """Return an amount of base units for people: ``50,000 sats``, ``25 STX``."""
    if asset == "stx":
        whole, part = divmod(int(value), 1_000_000)
        return f"{whole:,}" + (f".{part:06d}".rstrip("0") if part else "") + " STX"
    return "1 sat" if int(value) == 1 else f"{int(value):,} sats"


def elapsed(seconds: int) -> str:
    """Return a time span as people say it: ``7d``, ``1h20m``, ``3m05s``."""
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    if hours >= 24 and not hours % 24:
        return f"{hours // 24}d"
    return f"{hours}h{minutes:02d}m" if hours else f"{minutes}m{rest:02d}s"


def block(header: BlockHeader, first: BlockHeader) -> Text:
    """Return where the chain stands: block, Bitcoin block, chain time since the demo began."""
    spent = elapsed(header.time - first.time)
    return Text.assemble(
        (f"#{header.height}", "bold cyan"), (f" ₿{header.burn_height:,}", "cyan"), (f" +{spent}", "dim")
    )


def standing(document: dict[str, Any], before: str | None) -> list[Text]:
    """Return how an intent stands, with the status it had before."""
    status, flags = document["status"], document["flags"]
    line = Text()
    if before not in (None, status):
        line.append(f"{before} → ", "dim")
    line.append(status, f"bold {COLORS[status]}")
    lines = [line]
    lines += [Text(flag, COLORS["attention"]) for flag in flags]
    received, owed, asset = int(document["amount_received"]), document["amount"], document["asset"]
    if 0 < received < int(owed):
        lines.append(Text(f"{received:,} of {amount(owed, asset)}"))
    if status == "processing" and (depth := _depth(document)) is not None:
        lines.append(depth)
    return lines


def history(document: dict[str, Any]) -> list[str]:
    """Return what else befell an intent: payments that a reorg took or moved, aborted calls."""
    transfers, attempts = document["transfers"], document["attempts"]
    standing = {t["tx_id"]: t["block_height"] for t in transfers if t["status"] == "canonical"}
    lost = dict.fromkeys(t["tx_id"] for t in transfers if t["status"] == "orphaned")
    lines = [f"mined again in #{standing[tx]}" if tx in standing else "payment orphaned" for tx in lost]
    if attempts:
        lines.append(f"{len(attempts)} aborted call{'s' if len(attempts) > 1 else ''} noted")
    return lines


def _depth(document: dict[str, Any]) -> Text | None:
    confirmations = document["confirmations"]
    if confirmations["reached"] is None:
        return None
    needed, reached = confirmations["required"]["bitcoin"], confirmations["reached"]["bitcoin"]
    return Text(f"{reached} of {needed} Bitcoin blocks", "bright_blue") if needed else None


def event_name(document: dict[str, Any]) -> str:
    """Return what a webhook tells in short: ``succeeded``, ``failed (reorged)``."""
    kind = str(document["type"]).removeprefix("payment.")
    reason = document["data"]["reason"]
    return f"{kind} ({reason})" if reason else kind


def webhook(document: dict[str, Any], attempt: int) -> list[Text]:
    """Return what a merchant reads in a webhook that the library has verified."""
    data = document["data"]
    intent = data["payment_intent"]
    kind = str(document["type"])
    color = COLORS[kind.removeprefix("payment.")]
    lines = [Text.assemble(("✔ ", "bold green"), (kind, f"bold {color}"))]
    if data["reason"]:
        lines.append(Text(data["reason"], color))
    lines.append(Text.assemble((intent["reference"], "bold"), (" · verified", "green")))
    lines.append(Text(f"{_paid(intent)} · attempt {attempt}"))
    if data["supersedes"]:
        lines.append(Text(f"supersedes {short_id(data['supersedes'])}", "dim"))
    lines.append(Text(f"webhook-id {short_id(document['id'])}", "dim"))
    return lines


def _paid(intent: dict[str, Any]) -> str:
    received, owed, asset = intent["amount_received"], intent["amount"], intent["asset"]
    if received == owed:
        return amount(owed, asset)
    return f"{int(received):,} of {amount(owed, asset)}" if asset != "stx" else amount(received, asset)


def between(earlier: str, later: str) -> float:
    """Return the seconds between two times as the interface writes them."""
    return (datetime.fromisoformat(later) - datetime.fromisoformat(earlier)).total_seconds()


def short_id(value: str) -> str:
    """Return the end of a long id, enough to tell two apart by eye."""
    return f"{value.partition('_')[0]}_…{value[-6:]}"
