"""Read from an event's body, which may come from anyone, what it claims (pure)."""

import json
import re
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from pydantic import ValidationError

from chain.api.parse_fields import HASH
from chain.model import MAX_AMOUNT
from contracts.networks import NETWORKS, NetworkName
from notifier.events import MAX_BODY_BYTES, EventType
from watcher import strict_json
from watcher.domain.model import Depth, Flag, Intent, Status
from watcher.domain.proof import ClaimedPayment, ClaimedRefund, ClaimedTransfer
from watcher.schemas.fields import read_id, read_principal, read_reference
from watcher.schemas.intent_facts import IntentTransfer, Refund
from watcher.schemas.payment_intents import PaymentIntent
from watcher.schemas.webhooks import EventData
from watcher.text import quote

#: Transfers of an event, more than any has.
MAX_TRANSFERS = 100

_MAX_HEIGHT = 2**53
_FOREVER: Final = 2**53

#: References as :mod:`watcher.services.intent_requests` makes them.
_GENERATED = re.compile("[0-9A-HJKMNP-TV-Z]{12}")


def read_event(body: bytes) -> ClaimedPayment:
    """Return what the body of a ``payment.…`` webhook claims. Raises ValueError: ``is not JSON: …``."""
    if len(body) > MAX_BODY_BYTES:
        raise ValueError(f"has more than {MAX_BODY_BYTES:,} bytes, which no event has")
    document = strict_json.parse(body)
    kind = document.get("type") if isinstance(document, dict) else None
    if not isinstance(document, dict) or not isinstance(kind, str):
        raise ValueError("is no event: give the body of a webhook, as it was received")
    if kind not in set(EventType) - {EventType.TEST}:
        raise ValueError(f"is about no payment: its type is {quote(kind)}")
    if document.get("test") is True:
        raise ValueError("is a test event: nothing of it happened")
    if document.get("data") is None:
        raise ValueError("holds no data any more: the daemon's retention emptied it")
    try:
        # From JSON again: strict about types, but times and enumerations are texts there.
        data = EventData.model_validate_json(json.dumps(document["data"]), strict=True)
        if kind == EventType.REFUNDED:
            _check_refund(document["data"].get("refund"), data.payment_intent)
        return _claimed(_named("id", read_id, document.get("id")), kind, data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, ("data", *first["loc"])))
        raise ValueError(f"is no event: {place[:200]}: {first['msg'][:200]}") from None
    except ValueError as error:
        raise ValueError(f"is no event: {error}") from None


def _claimed(event_id: str, kind: str, data: EventData) -> ClaimedPayment:
    intent, chain = data.payment_intent, data.chain
    if chain.network not in set(NetworkName):
        raise ValueError(f"the network {quote(chain.network)} is unknown")
    network = NETWORKS[NetworkName(chain.network)]
    for listed in (intent.transfers, intent.refunds):
        if len(listed) > MAX_TRANSFERS:
            raise ValueError(f"it lists {len(listed):,} transfers")
    transfers = tuple(_transfer(one) for one in intent.transfers)
    refunds = tuple(_refund(one) for one in intent.refunds)
    canonical = [(one.tx_id, one.rank) for one in (*transfers, *refunds) if not one.is_orphaned]
    if len(set(canonical)) != len(canonical):
        raise ValueError("it lists a transfer twice")
    contract = intent.pay.contract
    return ClaimedPayment(
        event_id=event_id,
        event_type=kind,
        network=network,
        intent=_intent(intent, _named("asset_identifier", network.parse_asset, intent.asset_identifier)),
        transfers=transfers,
        refunds=refunds,
        unlisted=max(0, intent.transfers_total - len(intent.transfers)),
        payment_contract=None
        if contract is None
        else _named("pay.contract", network.parse_contract, contract.contract_id),
        is_success=kind == EventType.SUCCEEDED or intent.status is Status.SUCCEEDED,
        is_manual=Flag.MANUAL in intent.flags,
        tip_height=_height(chain.tip_height),
    )


def _check_refund(named: object, intent: PaymentIntent) -> None:
    """Refuse an event about a refund that its intent does not list, although it lists all."""
    listed = [{"amount": str(one.amount), "tx_id": one.tx_id} for one in intent.refunds]
    if named not in listed and intent.refunds_total <= len(listed):
        raise ValueError("it is about a refund that it does not list")


def _intent(document: PaymentIntent, asset: str) -> Intent:
    required = document.confirmations.required
    if not 0 <= document.tolerance < document.amount <= MAX_AMOUNT:
        raise ValueError("the tolerance is not below the amount, or the amount is too large")
    if required.stacks < 1 or required.bitcoin < 0:
        raise ValueError("the required confirmations are negative")
    if not HASH.fullmatch(document.terms_hash):
        raise ValueError("the terms hash has not 32 bytes")
    return Intent(
        id=_named("payment_intent.id", read_id, document.id),
        merchant=_named("merchant", read_id, document.merchant),
        status=document.status,
        amount=document.amount,
        asset=document.asset,
        asset_identifier=asset,
        recipient=_named("recipient", read_principal, document.recipient),
        payer=None if document.payer is None else _named("payer", read_principal, document.payer),
        reference=_named("reference", read_reference, document.reference),
        reference_generated=_GENERATED.fullmatch(document.reference) is not None,
        terms_hash=bytes.fromhex(document.terms_hash[2:]),
        salt=b"",
        match=document.match,
        tolerance=document.tolerance,
        level=document.confirmations.level,
        required=Depth(stacks=required.stacks, bitcoin=required.bitcoin),
        created_at=_seconds(document.created_at),
        expires_at=_seconds(document.expires_at),
        not_before=0,
        inclusion_grace=0,
        monitoring=_FOREVER,
        reorg_grace=0,
    )


def _transfer(document: IntentTransfer) -> ClaimedTransfer:
    return ClaimedTransfer(**_moved(document), assigned=document.assigned)


def _refund(document: Refund) -> ClaimedRefund:
    return ClaimedRefund(
        **_moved(document), recipient=_named("recipient", read_principal, document.recipient)
    )


def _moved(document: IntentTransfer | Refund) -> dict[str, Any]:
    for name in ("tx_id", "block_hash"):
        if not HASH.fullmatch(getattr(document, name)):
            raise ValueError(f"the {name} of a transfer has not 32 bytes")
    return {
        "tx_id": document.tx_id,
        "rank": _height(document.event_index),
        "block_hash": document.block_hash,
        "height": _height(document.block_height),
        "time": _seconds(document.block_time),
        "burn_height": _height(document.burn_block_height),
        "sender": None if document.sender is None else _named("sender", read_principal, document.sender),
        "amount": document.amount,
        "is_orphaned": document.status == "orphaned",
    }


def _named(field: str, reader: Callable[[str], str], value: Any) -> str:
    """Return what ``reader`` makes of a field's value; the field's name is before what is wrong with it."""
    try:
        return reader(value)
    except ValueError as error:
        raise ValueError(f"{field}: {error}") from None


def _height(number: int) -> int:
    if not 0 <= number <= _MAX_HEIGHT:
        raise ValueError(f"{quote(number)} is no height or index")
    return number


def _seconds(moment: datetime) -> int:
    return int(moment.timestamp())
