"""Public JSON of intents, transfers and merchants: the same in the CLI, the HTTP API and webhooks."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, get_type_hints

from contracts.terms import payment_call
from contracts.transfer_call import transfer_call
from notifier.events import MAX_LIST_BODY_BYTES, rfc3339
from watcher.domain.coverage import find_coverage, in_order, sort_transfers
from watcher.domain.matching import trimmed
from watcher.domain.model import (
    ChainClock,
    Depth,
    Facts,
    Inclusion,
    Intent,
    IntentState,
    Repayment,
    Status,
    TimelineEntry,
)
from watcher.domain.server_info import ServerInfo
from watcher.schemas.base import Amount, Hex, Time
from watcher.schemas.payment_intents import PaymentIntent

#: Entries of each list in a document: anyone who knows a reference can send any number of dust transfers to
#: it.
MAX_ENTRIES_SHOWN = 50


def _hex(data: bytes) -> str:
    return f"0x{data.hex()}"


def _form(kind: Any) -> Callable[[Any], Any]:
    """Return what gives a value the JSON of a document's field of that type."""
    for known, form in ((Amount, str), (Time, rfc3339), (Hex, _hex)):
        if kind == known:
            return form
        if kind == known | None:
            return lambda value: None if value is None else form(value)
    return lambda value: value


#: The fields of the document that an intent has under the same name, each with its form.
_SAME_NAMED = [
    (name, _form(kind))
    for name, kind in get_type_hints(PaymentIntent, include_extras=True).items()
    if name in Intent.__dataclass_fields__ and name != "status"
]


def payment_intent(
    intent: Intent,
    state: IntentState,
    facts: Facts,
    timeline: Sequence[TimelineEntry],
    clock: ChainClock,
    *,
    server_info: ServerInfo,
    shown: int = MAX_ENTRIES_SHOWN,
    totals: tuple[int, int] | None = None,
) -> dict[str, Any]:
    """Return the public document of an intent; depths are counted from ``clock``.

    Each list holds at most ``shown`` entries: of the transfers the most relevant, of attempts and refunds the
    newest, of the timeline the first and the newest. The totals count all; ``totals`` are those of transfers
    and of attempts, where ``facts`` are not all.
    """
    attempts = sorted(
        (failure for failure in facts.failures if failure.canonical),
        key=lambda failure: (failure.height, failure.tx_index),
    )
    refunds = sorted(facts.refunds, key=lambda refund: refund.position)
    document = {name: form(getattr(intent, name)) for name, form in _SAME_NAMED}
    document |= {
        "object": "payment_intent",
        "status": state.status,
        "flags": sorted(state.flags),
        # The stored flag is cleared a moment after the payment was mined.
        "in_flight": state.in_flight and state.status is Status.PENDING,
        "amount_received": str(state.received),
        "amount_missing": str(state.missing),
        "amount_over": str(state.over),
        "amount_refunded": str(state.refunded),
        "confirmations": {
            "level": intent.level,
            "required": _depth(intent.required),
            "reached": _depth(clock.depth(*state.anchor)) if state.anchor else None,
        },
        "deadline": rfc3339(intent.deadline),
        "as_of": {"height": clock.height, "time": rfc3339(clock.time)},
        "updated_at": rfc3339(state.updated_at),
        "succeeded_at": rfc3339(state.succeeded_at) if state.succeeded_at is not None else None,
        "transfers": [_inclusion(inclusion, clock) for inclusion in _shown(intent, facts.inclusions, shown)],
        "transfers_total": len(facts.inclusions) if totals is None else totals[0],
        "attempts": [
            {
                "tx_id": failure.tx_id,
                "sender": failure.sender,
                "reason": failure.reason,
                "block_height": failure.height,
            }
            for failure in attempts[-shown:]
        ],
        "attempts_total": len(attempts) if totals is None else totals[1],
        "refunds": [_repayment(refund, clock) for refund in refunds[-shown:]],
        "refunds_total": len(refunds),
        "network": server_info.network,
        "livemode": server_info.livemode,
        "checkout_url": server_info.checkout_url(intent.checkout_token),
        "pay": {
            "memo": intent.reference,
            "transfer": _transfer_call(intent, state.missing),
            "contract": _contract_call(intent, server_info.payment_contract),
        },
        "timeline": [
            {"at": rfc3339(change.at), "status": change.status, "reason": change.reason}
            for change in (timeline if len(timeline) <= shown else [timeline[0], *timeline[-shown:]])
        ],
        "timeline_total": len(timeline),
    }
    return {name: document[name] for name in PaymentIntent.model_fields}


def fitting(make: Callable[[int], bytes]) -> bytes:
    """Return ``make(shown)``, an event's body with as many list entries as ``MAX_LIST_BODY_BYTES`` allows.

    At least one entry of each is kept. The rest of an intent (its metadata) has limits of its own, and all of
    it is far below :data:`notifier.events.MAX_BODY_BYTES`.
    """
    shown = MAX_ENTRIES_SHOWN
    while len(body := make(shown)) > MAX_LIST_BODY_BYTES and shown > 1:
        shown //= 2
    return body


def event_data(
    document: dict[str, Any],
    *,
    previous_status: Status | None,
    reason: str | None,
    supersedes: str | None,
    network: str,
    clock: ChainClock,
    refund: Repayment | None = None,
) -> dict[str, Any]:
    """Return the ``data`` of an event; ``document`` is the intent then. Only a refund's has ``refund``."""
    data = {
        "payment_intent": document,
        "previous_status": previous_status,
        "reason": reason,
        "supersedes": supersedes,
        "chain": {
            "network": network,
            "tip_height": clock.height,
            "tip_hash": clock.hash,
            "burn_block_height": clock.burn_height,
        },
    }
    if refund is not None:
        data["refund"] = {"amount": str(refund.amount), "tx_id": refund.tx_id}
    return data


def transfer(row: Mapping[Any, Any], clock: ChainClock) -> dict[str, Any]:
    """Return the public document of a stored transfer, matched or not."""
    memo = bytes(row["memo"]) if row["memo"] is not None else None
    return {
        "id": row["id"],
        "object": "transfer",
        "tx_id": row["tx_id"],
        "event_index": row["rank"],
        "status": "canonical" if row["canonical"] else "orphaned",
        "merchant": row["merchant_id"],
        "intent": row["intent_id"],
        "unmatched": row["reason"],
        "assigned": row["assigned"],
        "route": row["route"],
        "asset_identifier": row["asset"],
        "sender": row["sender"],
        "recipient": row["recipient"],
        "amount": str(row["amount"]),
        "memo": {"hex": _hex(memo), "text": _printable(memo)} if memo is not None else None,
        "terms_hash": _hex(bytes(row["terms_hash"])) if row["terms_hash"] is not None else None,
        "block_height": row["height"],
        "block_hash": row["block_hash"],
        "block_time": rfc3339(row["time"]),
        "burn_block_height": row["burn_height"],
        "confirmations": _depth(clock.depth(row["height"], row["burn_height"])) if row["canonical"] else None,
    }


def merchant(row: Mapping[Any, Any]) -> dict[str, Any]:
    """Return the public document of a merchant, which never holds a key."""
    return {
        "id": row["id"],
        "object": "merchant",
        "name": row["name"],
        "recipient": row["recipient"],
        "status": row["status"],
        "level": row["level"],
        "ttl": row["ttl"],
        "tolerance": str(row["tolerance"]) if row["tolerance"] is not None else None,
        "late_policy": row["late_policy"],
        "display_name": row["display_name"],
        "logo_url": row["logo_url"],
        "brand_color": row["brand_color"],
        "support_url": row["support_url"],
        "allowed_origins": row["allowed_origins"],
        "created_at": rfc3339(row["created_at"]),
        "updated_at": rfc3339(row["updated_at"]),
    }


def _shown(intent: Intent, inclusions: Sequence[Inclusion], most: int) -> Sequence[Inclusion]:
    """Return the newest transfers and the largest of those that cover the intent, in chain order."""
    listed = in_order(inclusions)
    if len(listed) <= most:
        return listed
    money = sort_transfers(intent, listed)
    covering = find_coverage(intent, money.on_time) or find_coverage(intent, money.canonical)
    keys = covering.keys if covering is not None else frozenset()
    largest = sorted((i for i in listed if i.canonical and i.key in keys), key=lambda i: i.amount)[-most:]
    shown = {*largest, *listed[-most:]}
    return [inclusion for inclusion in listed if inclusion in shown]


def _inclusion(inclusion: Inclusion, clock: ChainClock) -> dict[str, Any]:
    return _identity(inclusion) | {
        "sender": inclusion.sender,
        "amount": str(inclusion.amount),
        "assigned": inclusion.assigned,
        "verified_by": list(inclusion.verified_by),
        **_where(inclusion, clock),
    }


def _repayment(refund: Repayment, clock: ChainClock) -> dict[str, Any]:
    return _identity(refund) | {
        "sender": refund.sender,
        "recipient": refund.recipient,
        "amount": str(refund.amount),
        **_where(refund, clock),
    }


def _identity(moved: Inclusion | Repayment) -> dict[str, Any]:
    return {
        "tx_id": moved.tx_id,
        "event_index": moved.rank,
        "status": "canonical" if moved.canonical else "orphaned",
    }


def _where(moved: Inclusion | Repayment, clock: ChainClock) -> dict[str, Any]:
    depth = clock.depth(moved.height, moved.burn_height)
    return {
        "block_height": moved.height,
        "block_hash": moved.block_hash,
        "block_time": rfc3339(moved.time),
        "burn_block_height": moved.burn_height,
        "confirmations": _depth(depth) if moved.canonical else None,
    }


def _transfer_call(intent: Intent, missing: int) -> dict[str, Any] | None:
    if missing == 0:
        return None
    return transfer_call(
        amount=missing,
        recipient=intent.recipient,
        memo=intent.reference,
        asset=intent.asset_identifier,
        payer=intent.payer,
    )


def _contract_call(intent: Intent, payment_contract: str | None) -> dict[str, Any] | None:
    if payment_contract is None:
        return None
    return payment_call(
        contract_id=payment_contract,
        amount=intent.amount,
        expires_at=intent.expires_at,
        merchant=intent.recipient,
        salt=intent.salt,
        asset=intent.asset_identifier,
        payer=intent.payer,
    )


def _depth(depth: Depth) -> dict[str, int]:
    return {"stacks": depth.stacks, "bitcoin": depth.bitcoin}


def _printable(memo: bytes) -> str | None:
    """Return a memo as trimmed text; None when it is not plain ASCII."""
    text = trimmed(memo.decode(errors="replace"))
    return text if text and text.isascii() and text.isprintable() else None
