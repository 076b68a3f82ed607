"""JSON of the Stacks Blockchain API v9.0.2, field by field as the real server writes it.

Fields that later versions added to these objects are written for those versions.
"""

from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from chain.testing import events as ev
from chain.testing import tx as transactions
from chain.testing.canonical import ScriptedBlock
from chain.testing.clarity_json import clarity, clarity_type
from chain.testing.events import Event
from chain.testing.mempool import PoolEntry
from chain.testing.tx import Tx
from chain.testing.versions import Features
from chain.testing.view import NO_MICROBLOCK

Json = dict[str, Any]

_V9_0 = Features("9.0.2")
_COST = {"read_count": 10, "read_length": 1000, "runtime": 5000, "write_count": 2, "write_length": 100}
_FLAT_COST = {f"execution_cost_{name}": value for name, value in _COST.items()}


# Blocks.


def block(block: ScriptedBlock) -> Json:
    """A block of ``/extended/v2/blocks``."""
    header = block.header
    return {
        "canonical": True,
        "height": header.height,
        "hash": header.block_hash,
        "block_time": header.time,
        "block_time_iso": iso(header.time),
        "tenure_height": block.tenure_height,
        "index_block_hash": header.hash,
        "parent_block_hash": block.parent_block_hash,
        "parent_index_block_hash": header.parent_hash,
        "burn_block_time": header.burn_time,
        "burn_block_time_iso": iso(header.burn_time),
        "burn_block_hash": header.burn_hash,
        "burn_block_height": header.burn_height,
        "miner_txid": block.miner_txid,
        "tx_count": header.tx_count,
        **_FLAT_COST,
    }


def block_v1(source: ScriptedBlock, *, canonical: bool) -> Json:
    """A block of the WebSocket and of v1: no parent index hash; an orphan lists no transactions."""
    shown = block(source)
    del shown["parent_index_block_hash"], shown["tx_count"]
    shown["canonical"] = canonical
    shown["txs"] = [tx.tx_id for tx in reversed(source.txs)] if canonical else []
    shown |= {"parent_microblock_hash": "", "parent_microblock_sequence": -1}
    shown |= {"microblocks_accepted": [], "microblocks_streamed": [], "microblock_tx_count": {}}
    return shown


# Transactions, v3.


def summary(source: ScriptedBlock, index: int, features: Features = _V9_0) -> Json:
    """A mined transaction in a v3 list."""
    tx, header = source.txs[index], source.header
    return {
        **_head(tx),
        "block": {
            "height": header.height,
            "hash": header.block_hash,
            "index_hash": header.hash,
            "time": header.time,
            **iso_time(header.time, features),
            "tx_index": index,
        },
        "bitcoin_block": {
            "height": header.burn_height,
            "time": header.burn_time,
            **iso_time(header.burn_time, features),
        },
        "status": str(tx.status),
        **({"event_count": len(tx.events)} if features.has_blocks else {}),
        **_payload(tx, frozenset()),
    }


def iso_time(time: int, features: Features) -> Json:
    """The field that later versions write beside a v3 time."""
    return {"time_iso": iso(time)} if features.has_iso_times else {}


def transaction(
    source: ScriptedBlock, index: int, include: frozenset[str], features: Features = _V9_0
) -> Json:
    """A mined transaction of ``/extended/v3/transactions/{tx_id}``."""
    tx = source.txs[index]
    shown = summary(source, index, features)
    shown |= {
        "parent_block": {"hash": source.parent_block_hash, "index_hash": source.header.parent_hash},
        "event_count": len(tx.events),
        "execution_cost": dict(_COST),
        "vm_error": tx.vm_error,
        **_payload(tx, include),
    }
    if "post_conditions" in include:
        shown["post_conditions"] = []
    if "result" in include:
        shown["result"] = clarity(tx.result)
    return shown


def pending_summary(entry: PoolEntry) -> Json:
    """A mempool transaction in a v3 list."""
    return {
        **_head(entry.tx),
        "receipt_time": entry.receipt_time,
        "receipt_block_height": entry.receipt_height,
        "status": entry.status,
        **_payload(entry.tx, frozenset()),
    }


def pending_transaction(entry: PoolEntry, include: frozenset[str]) -> Json:
    """A mempool transaction of ``/extended/v3/transactions/{tx_id}``."""
    shown = pending_summary(entry)
    shown |= {"replaced_by_tx_id": entry.replaced_by, **_payload(entry.tx, include)}
    if "post_conditions" in include:
        shown["post_conditions"] = []
    return shown


def event(shown: Event, index: int) -> Json:
    """An event of ``/extended/v3/transactions/{tx_id}/events``."""
    if shown.kind == ev.LOG:
        body: Json = {"contract_id": shown.contract_id, "topic": "print", "value": clarity(shown.value)}
        return {"event_index": index, "type": ev.LOG, ev.LOG: body}
    body = {"type": shown.action}
    if shown.kind != ev.STX:
        body["asset_identifier"] = shown.asset
    body |= {"sender": shown.sender} if shown.sender is not None else {}
    body |= {"recipient": shown.recipient} if shown.recipient is not None else {}
    if shown.kind == ev.NFT:
        body["value"] = clarity(shown.value)
    else:
        body["amount"] = str(shown.amount)
    if shown.kind == ev.STX:
        body["memo"] = None if shown.memo is None else memo_json(shown.memo)
    return {"event_index": index, "type": shown.kind, shown.kind: body}


# Transactions, v1.


def transaction_v1(
    source: ScriptedBlock, index: int, events: range = range(0), *, canonical: bool = True, args: bool = True
) -> Json:
    """A mined transaction of v1, of ``tx/multiple`` and of the WebSocket, with a window of its events."""
    tx, header = source.txs[index], source.header
    return {
        **_head_v1(tx),
        "block_hash": header.block_hash,
        "block_height": header.height,
        "block_time": header.time,
        "block_time_iso": iso(header.time),
        "burn_block_time": header.burn_time,
        "burn_block_height": header.burn_height,
        "burn_block_time_iso": iso(header.burn_time),
        "parent_burn_block_time": source.parent_burn_time,
        "parent_burn_block_time_iso": iso(source.parent_burn_time),
        "canonical": canonical,
        "tx_index": index,
        "tx_status": str(tx.status),
        "tx_result": clarity(tx.result),
        "event_count": len(tx.events),
        "parent_block_hash": source.parent_block_hash,
        "is_unanchored": False,
        "microblock_hash": "0x",
        "microblock_sequence": NO_MICROBLOCK,
        "microblock_canonical": True,
        **_FLAT_COST,
        "vm_error": tx.vm_error,
        "events": [event_v1(tx, rank) for rank in events if rank < len(tx.events)],
        **_payload_v1(tx, args=args, block=source),
    }


def pending_v1(entry: PoolEntry, *, args: bool = True) -> Json:
    """A pending or dropped transaction of v1, of ``tx/multiple`` and of the WebSocket."""
    return {
        **_head_v1(entry.tx),
        "tx_status": entry.status,
        "replaced_by_tx_id": entry.replaced_by,
        "receipt_time": entry.receipt_time,
        "receipt_time_iso": iso(entry.receipt_time),
        **_payload_v1(entry.tx, args=args, block=None),
    }


_KINDS_V1 = {
    ev.FT: "fungible_token_asset",
    ev.STX: "stx_asset",
    ev.NFT: "non_fungible_token_asset",
    ev.LOG: "smart_contract_log",
}


def event_v1(tx: Tx, rank: int) -> Json:
    """An event of v1 and of contract logs: a missing sender or recipient is ""."""
    shown = tx.events[rank]
    body: Json = {"event_index": rank, "event_type": _KINDS_V1[shown.kind], "tx_id": tx.tx_id}
    if shown.kind == ev.LOG:
        value = clarity(shown.value)
        body["contract_log"] = {"contract_id": shown.contract_id, "topic": "print", "value": value}
        return body
    asset: Json = {"asset_event_type": shown.action}
    if shown.kind != ev.STX:
        asset["asset_id"] = shown.asset
    asset |= {"sender": shown.sender or "", "recipient": shown.recipient or ""}
    if shown.kind == ev.NFT:
        asset["value"] = clarity(shown.value)
    else:
        asset["amount"] = str(shown.amount)
    if shown.memo is not None:
        asset["memo"] = "0x" + shown.memo.hex()
    body["asset"] = asset
    return body


def address_update(source: ScriptedBlock, index: int, address: str) -> Json:
    """An ``address_tx_update``: STX sums only, never a token amount."""
    tx = source.txs[index]
    moved = [
        e
        for e in tx.events
        if e.kind == ev.STX and e.action == "transfer" and address in (e.sender, e.recipient)
    ]
    sent = sum(e.amount for e in moved if e.sender == address) + (tx.fee if tx.sender == address else 0)
    return {
        "address": address,
        "tx_id": tx.tx_id,
        "tx_status": str(tx.status),
        "tx_type": tx.kind,
        "tx": transaction_v1(source, index),
        "stx_sent": str(sent),
        "stx_received": str(sum(e.amount for e in moved if e.recipient == address)),
        "stx_transfers": [
            {"amount": str(e.amount), "sender": e.sender, "recipient": e.recipient} for e in moved
        ],
    }


# Parts.


@lru_cache(maxsize=4096)
def iso(time: int) -> str:
    """A unix time in the API's date format."""
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def _head(tx: Tx) -> Json:
    sender = {"address": tx.sender, "nonce": tx.shown_nonce}
    return {"tx_id": tx.tx_id, "sender": sender, "sponsor": None, "fee_rate": str(tx.fee)}


def _head_v1(tx: Tx) -> Json:
    return {
        "tx_id": tx.tx_id,
        "nonce": tx.shown_nonce,
        "fee_rate": str(tx.fee),
        "sender_address": tx.sender,
        "sponsored": False,
        "post_condition_mode": "allow" if tx.kind == transactions.CONTRACT_CALL else "deny",
        "post_conditions": [],
        "anchor_mode": "any",
    }


def _payload(tx: Tx, include: frozenset[str]) -> Json:
    match tx.kind:
        case transactions.TOKEN_TRANSFER:
            assert tx.transfer is not None
            recipient, amount, memo = tx.transfer
            body: Json = {"recipient": recipient, "amount": str(amount), "memo": memo_json(memo)}
        case transactions.CONTRACT_CALL:
            body = {"contract_id": tx.contract_id, "function_name": tx.function}
            if "function_args" in include:
                body["function_args"] = [clarity(arg) for arg in tx.args]
        case transactions.SMART_CONTRACT:
            body = {"clarity_version": 3, "contract_id": tx.contract_id}
            if "source_code" in include:
                body["source_code"] = ""
        case transactions.COINBASE:
            body = {"alt_recipient": None}
        case _:
            body = {"cause": tx.cause}
    return {"type": tx.kind, tx.kind: body}


def _payload_v1(tx: Tx, *, args: bool, block: ScriptedBlock | None) -> Json:
    name = tx.kind
    match tx.kind:
        case transactions.TOKEN_TRANSFER:
            assert tx.transfer is not None
            recipient, amount, memo = tx.transfer
            body: Json = {"recipient_address": recipient, "amount": str(amount), "memo": "0x" + memo.hex()}
        case transactions.CONTRACT_CALL:
            body = {"contract_id": tx.contract_id, "function_name": tx.function, "function_signature": ""}
            if args:
                body["function_args"] = _args_v1(tx)
        case transactions.SMART_CONTRACT:
            body = {"clarity_version": 3, "contract_id": tx.contract_id, "source_code": ""}
        case transactions.COINBASE:
            name = "coinbase_payload"
            body = {"data": "0x" + "00" * 32, "alt_recipient": None, "vrf_proof": "0x" + "00" * 80}
        case _:
            name = "tenure_change_payload"
            parent = "" if block is None else block.header.parent_hash
            body = {
                "tenure_consensus_hash": tx.tx_id[:42],
                "prev_tenure_consensus_hash": parent[:42],
                "burn_view_consensus_hash": tx.tx_id[:42],
                "previous_tenure_end": parent,
                "previous_tenure_blocks": 1,
                "cause": tx.cause,
                "pubkey_hash": "0x" + "00" * 20,
            }
    return {"tx_type": tx.kind, name: body}


def _args_v1(tx: Tx) -> list[Json]:
    names = (*tx.arg_names, *[""] * len(tx.args))
    return [
        {**clarity(arg), "name": name, "type": clarity_type(arg)}
        for arg, name in zip(tx.args, names, strict=False)
    ]


def memo_json(memo: bytes) -> Json:
    """A memo of v3: its bytes, and its printable text."""
    text = memo.decode("utf-8", "ignore")
    return {"hex": "0x" + memo.hex(), "repr": "".join(c for c in text if c.isprintable())}
