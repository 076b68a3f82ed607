"""``verify``: check an event's claims against any Stacks API, as its receiver."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from watcher.cli import render
from watcher.cli.options import JsonOption
from watcher.cli.session import get_session
from watcher.errors import UsageError

if TYPE_CHECKING:
    from watcher.cli.event_lookup import LookUp
    from watcher.domain.model import Inclusion
    from watcher.domain.proof import ClaimedPayment, ClaimedRefund, Comparison

#: The worst verdict first.
EXIT_CODES = {"contradicted": 1, "unknown": 3, "confirmed": 0}


def verify(
    context: typer.Context,
    file: Annotated[
        str,
        typer.Argument(
            metavar="EVENT.json", help="The body of a payment.… webhook as received; - is standard input."
        ),
    ],
    apis: Annotated[
        list[str] | None,
        typer.Option(
            "--api",
            metavar="URL",
            help="A Stacks API to ask; may be repeated. Default: the public one of the event's network.",
            show_default=False,
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Look up in the chain what a webhook claims, one line per API.

    Needs no database, no settings and no key. Checks each transfer (its
    block, sender, recipient, asset, amount and label), and of a success
    that the transfers cover the amount, as deep as required. It does not
    check the webhook's signature, nor that the recipient is yours.

    Exit code 0 confirmed by all, 1 contradicted, 2 no such event, 3 could
    not be looked up.

    Example: sbtc-watcher verify event.json --api https://api.hiro.so
    """
    # Which routes a server deprecates is no concern of a receiver.
    get_session(context).log(least="error")
    from watcher import event_loop
    from watcher.cli.event_lookup import look_up_everywhere
    from watcher.schemas.claimed_payment import read_event

    name = "standard input" if file == "-" else file
    try:
        claimed = read_event(_read(file))
    except ValueError as error:
        raise UsageError(f"{name} {error}") from None
    if not claimed.moves and not claimed.is_success:
        if as_json:
            render.document(_document(claimed, []))
        else:
            render.line(f"nothing to look up: this {claimed.event_type} lists no transfer")
        return
    found = event_loop.run(look_up_everywhere(apis or [claimed.network.api_url], claimed))
    if as_json:
        render.document(_document(claimed, found))
    else:
        for one in found:
            _show(claimed, one)
    raise typer.Exit(EXIT_CODES[_worst(found)])


def _read(file: str) -> bytes:
    """Return the bytes of a file, one more than an event can have at most."""
    from notifier.events import MAX_BODY_BYTES

    try:
        if file == "-":
            return sys.stdin.buffer.read(MAX_BODY_BYTES + 1)
        with Path(file).open("rb") as source:
            return source.read(MAX_BODY_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        reason = (getattr(error, "strerror", None) or str(error)).lower()
        raise UsageError(f"EVENT.json: cannot read {file}: {reason}") from None


def _worst(found: "list[LookUp]") -> str:
    verdicts = {one.comparison.verdict.value for one in found}
    return next(verdict for verdict in EXIT_CODES if verdict in verdicts)


_WORDS = {
    "confirmed": ("confirmed by", "green"),
    "contradicted": ("contradicted by", "red"),
    "unknown": ("not confirmed by", "yellow"),
}


def _show(claimed: "ClaimedPayment", one: "LookUp") -> None:
    from rich.text import Text

    found = one.comparison
    words, style = _WORDS[found.verdict]
    text = _confirmed(claimed, found) if not found.reasons else found.reasons[0]
    more = f"; {len(found.reasons) - 1} more, see --json" if len(found.reasons) > 1 else ""
    remark = f" ({one.remark})" if one.remark else ""
    where = f" {one.url.partition('://')[2]}: "
    render.show(Text.assemble((words, style), render.plain(f"{where}{text}{more}{remark}")))


def _confirmed(claimed: "ClaimedPayment", found: "Comparison") -> str:
    """Return ``50,000 sats to SP… in block 5012344 (0x9a8b…), 7 Bitcoin blocks deep``."""
    parts = []
    if found.depth is not None:
        deep = render.count(found.depth.bitcoin, "Bitcoin block")
        paid = f"{_amount(claimed, found.amount)} to {claimed.intent.recipient}"
        parts.append(f"{paid} in {_blocks(found.inclusions)}, {deep} deep")
    if refunds := _canonical_refunds(claimed):
        parts.append(f"{_amount(claimed, sum(refund.amount for refund in refunds))} refunded")
    if orphaned := sum(moved.is_orphaned for moved in claimed.moves):
        parts.append(f"{render.count(orphaned, 'orphaned transfer')} not in its chain")
    if any(inclusion.assigned for inclusion in found.inclusions):
        parts.append("an operator assigned it to the intent, its memo does not name it")
    return "; ".join(parts) + ("" if claimed.network.mainnet else f", on {claimed.network.name}")


def _canonical_refunds(claimed: "ClaimedPayment") -> "list[ClaimedRefund]":
    return [refund for refund in claimed.refunds if not refund.is_orphaned]


def _amount(claimed: "ClaimedPayment", base_units: int) -> str:
    from contracts.networks import default_assets
    from watcher.cli.format import find, short

    identifier = claimed.intent.asset_identifier
    assets = default_assets(claimed.network, claimed.network.sbtc_contract)
    unit = "" if find(identifier, assets) is not None else f" of {identifier}"
    return short(base_units, identifier, assets) + unit


def _blocks(inclusions: "tuple[Inclusion, ...]") -> str:
    blocks = {inclusion.height: inclusion.block_hash for inclusion in inclusions}
    if len(blocks) == 1:
        [(height, block_hash)] = blocks.items()
        return f"block {height} ({block_hash[:10]}…)"
    return f"{len(blocks)} blocks, {min(blocks)} to {max(blocks)}"


def _document(claimed: "ClaimedPayment", found: "list[LookUp]") -> dict[str, Any]:
    intent = claimed.intent
    return {
        "event": claimed.event_id,
        "type": claimed.event_type,
        "network": claimed.network.name,
        "payment_intent": intent.id,
        "recipient": intent.recipient,
        "asset_identifier": intent.asset_identifier,
        "amount": str(intent.amount),
        "refunds": [
            {"tx_id": refund.tx_id, "event_index": refund.rank, "amount": str(refund.amount)}
            for refund in _canonical_refunds(claimed)
        ],
        "orphaned": [
            {"tx_id": moved.tx_id, "event_index": moved.rank, "block_hash": moved.block_hash}
            for moved in claimed.moves
            if moved.is_orphaned
        ],
        "verdict": _worst(found) if found else None,
        "sources": [_source(one) for one in found],
    }


def _source(one: "LookUp") -> dict[str, Any]:
    found, depth = one.comparison, one.comparison.depth
    return {
        "url": one.url,
        "verdict": found.verdict,
        "reasons": list(found.reasons),
        "note": one.remark,
        "amount": str(found.amount),
        "confirmations": None if depth is None else {"stacks": depth.stacks, "bitcoin": depth.bitcoin},
        "transfers": [
            {
                "tx_id": i.tx_id,
                "event_index": i.rank,
                "amount": str(i.amount),
                "assigned": i.assigned,
                "block_height": i.height,
                "block_hash": i.block_hash,
                "burn_block_height": i.burn_height,
            }
            for i in found.inclusions
        ],
    }
