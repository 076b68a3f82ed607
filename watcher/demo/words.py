"""Short lines about a block, an intent and a webhook, from headers and documents (pure)."""

from datetime import datetime
from typing import Any

from rich.text import Text

from chain.model import BlockHeader

#: Colors of statuses and events.
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
    """Format an amount of base units: ``50,000 sats``, ``25 STX``."""
    if asset == "stx":
        whole, part = divmod(int(value), 1_000_000)
        return f"{whole:,}" + (f".{part:06d}".rstrip("0") if part else "") + " STX"
    return "1 sat" if int(value) == 1 else f"{int(value):,} sats"


def elapsed(seconds: int) -> str:
    """Format seconds as ``7d``, ``1h20m`` or ``3m05s``."""
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    if hours >= 24 and not hours % 24:
        return f"{hours // 24}d"
    return f"{hours}h{minutes:02d}m" if hours else f"{minutes}m{rest:02d}s"


def block(header: BlockHeader, first: BlockHeader) -> Text:
    """Return the tip as a line: block, Bitcoin block, chain time since the demo began."""
    spent = elapsed(header.time - first.time)
    return Text.assemble(
        (f"#{header.height}", "bold cyan"), (f" ₿{header.burn_height:,}", "cyan"), (f" +{spent}", "dim")
    )


def status_lines(document: dict[str, Any], before: str | None) -> list[Text]:
    """Return an intent's status, after the previous one if it changed, with flags and what is missing."""
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
    """Return a line per orphaned or moved payment of an intent, and one for its aborted calls."""
    transfers, attempts = document["transfers"], document["attempts"]
    canonical = {t["tx_id"]: t["block_height"] for t in transfers if t["status"] == "canonical"}
    lost = dict.fromkeys(t["tx_id"] for t in transfers if t["status"] == "orphaned")
    lines = [f"mined again in #{canonical[tx]}" if tx in canonical else "payment orphaned" for tx in lost]
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
    """Return the short name of a webhook's event: ``succeeded``, ``failed (reorged)``."""
    kind = str(document["type"]).removeprefix("payment.")
    reason = document["data"]["reason"]
    return f"{kind} ({reason})" if reason else kind


def webhook(document: dict[str, Any], attempt: int) -> list[Text]:
    """Return the content of a verified webhook as lines."""
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
    """Return the seconds between two RFC 3339 times."""
    return (datetime.fromisoformat(later) - datetime.fromisoformat(earlier)).total_seconds()


def short_id(value: str) -> str:
    """Return prefix and end of an id: ``evt_…A1B2C3``."""
    return f"{value.partition('_')[0]}_…{value[-6:]}"
