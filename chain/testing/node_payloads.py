"""Bodies of a stacks-node for a scripted chain: what its event observer posts and what its RPC answers."""

from collections.abc import Sequence
from typing import Any

from chain.model import TxStatus
from chain.testing import events as ev
from chain.testing.canonical import ScriptedBlock
from chain.testing.txs import Tx

_KINDS = {ev.FT: "ft", ev.STX: "stx", ev.NFT: "nft"}


def new_block(block: ScriptedBlock) -> dict[str, Any]:
    """Return the body of ``POST /new_block``; its events are in no order, as a node sends them."""
    header = block.header
    events: list[dict[str, Any]] = []
    for tx in block.txs:
        for event in _told(tx):
            events.append(_event(tx.tx_id, len(events), event))
    return {
        "block_hash": header.block_hash,
        "block_height": header.height,
        "block_time": header.time,
        "burn_block_hash": header.burn_hash,
        "burn_block_height": header.burn_height,
        "burn_block_time": header.burn_time,
        "miner_txid": block.miner_txid,
        "index_block_hash": header.hash,
        "parent_block_hash": block.parent_block_hash,
        "parent_index_block_hash": header.parent_hash,
        "parent_microblock": "0x" + "00" * 32,
        "parent_microblock_sequence": 0,
        "matured_miner_rewards": [],
        "events": events[::-1],
        "transactions": [_transaction(tx, index) for index, tx in enumerate(block.txs)],
        "tenure_height": block.tenure_height,
        "consensus_hash": consensus_hash(block),
        "signer_bitvec": "000800000001ff",
        "reward_set": None,
        "cycle_number": None,
    }


def replay(block: ScriptedBlock) -> dict[str, Any]:
    """Return the answer of ``GET /v3/blocks/replay/{block_id}``; most ids in it have no ``0x``."""
    header = block.header
    return {
        "block_id": header.hash[2:],
        "block_hash": header.block_hash[2:],
        "block_height": header.height,
        "parent_block_id": header.parent_hash[2:],
        "consensus_hash": consensus_hash(block)[2:],
        "fees": 0,
        "timestamp": header.time,
        "transactions": [_replayed(tx, index) for index, tx in enumerate(block.txs)],
        "valid_merkle_root": True,
    }


def raw_block(block: ScriptedBlock) -> bytes:
    """Return the answer of ``GET /v3/blocks/{block_id}``: header and transactions, serialized."""
    header = block.header
    out = bytearray(b"\x00")
    out += header.height.to_bytes(8, "big") + bytes(8)
    out += bytes.fromhex(consensus_hash(block)[2:]) + bytes.fromhex(header.parent_hash[2:]) + bytes(64)
    out += header.time.to_bytes(8, "big") + bytes(65)
    out += (1).to_bytes(4, "big") + bytes(65)
    out += bytes.fromhex("000800000001ff")
    out += len(block.txs).to_bytes(4, "big") + b"".join(tx.raw for tx in block.txs)
    return bytes(out)


def tenure_blocks(blocks: Sequence[ScriptedBlock]) -> dict[str, Any]:
    """Return the answer of ``GET /v3/tenures/blocks/…`` for the blocks of one tenure, newest first."""
    newest = blocks[0]
    return {
        "consensus_hash": consensus_hash(newest)[2:],
        "last_sortition_ch": "00" * 20,
        "burn_block_height": newest.header.burn_height,
        "burn_block_hash": newest.header.burn_hash[2:],
        "stacks_blocks": [
            {
                "block_id": block.header.hash[2:],
                "header_type": "nakamoto",
                "block_hash": block.header.block_hash[2:],
                "parent_block_id": block.header.parent_hash[2:],
                "height": block.header.height,
            }
            for block in blocks
        ],
    }


def sortition(block: ScriptedBlock) -> list[dict[str, Any]]:
    """Return the answer of ``GET /v3/sortitions/consensus/{consensus_hash}`` for a block's tenure."""
    header = block.header
    return [
        {
            "burn_block_hash": header.burn_hash,
            "burn_block_height": header.burn_height,
            "burn_header_timestamp": header.burn_time,
            "consensus_hash": consensus_hash(block),
            "was_sortition": True,
        }
    ]


def consensus_hash(block: ScriptedBlock) -> str:
    """Return the hash that names a block's tenure: made of its Bitcoin block."""
    return block.header.burn_hash[:42]


def new_burn_block(block: ScriptedBlock) -> dict[str, Any]:
    """Return the body of ``POST /new_burn_block`` for a block's Bitcoin block."""
    return {
        "burn_block_hash": block.header.burn_hash,
        "burn_block_height": block.header.burn_height,
        "reward_recipients": [],
        "reward_slot_holders": [],
        "burn_amount": 0,
        "consensus_hash": consensus_hash(block),
        "pox_transactions": [],
    }


def _told(tx: Tx) -> tuple[ev.Event, ...]:
    return tx.events if tx.status == TxStatus.SUCCESS else ()


def _transaction(tx: Tx, index: int) -> dict[str, Any]:
    return {
        "txid": tx.tx_id,
        "tx_index": index,
        "status": tx.status,
        "raw_result": "0x" + tx.result.hex(),
        "raw_tx": "0x" + (tx.raw.hex() or "00"),
        "contract_interface": None,
        "burnchain_op": None if tx.raw else {"transfer_stx": {"sender": {"address": tx.sender}}},
        "microblock_sequence": None,
        "microblock_hash": None,
        "microblock_parent_hash": None,
        "vm_error": tx.vm_error,
    }


def _replayed(tx: Tx, index: int) -> dict[str, Any]:
    aborted = tx.status == TxStatus.ABORT_BY_POST_CONDITION
    return {
        "txid": tx.tx_id[2:],
        "tx_index": index,
        "hex": tx.raw.hex(),
        "result_hex": "0x" + tx.result.hex(),
        "stx_burned": 0,
        "events": [_event(tx.tx_id, rank, event) for rank, event in enumerate(_told(tx))],
        "post_condition_aborted": aborted,
        "vm_error": tx.vm_error,
    }


def _event(tx_id: str, index: int, event: ev.Event) -> dict[str, Any]:
    kind, fields = _fields(event)
    return {"txid": tx_id, "event_index": index, "committed": True, "type": kind, kind: fields}


def _fields(event: ev.Event) -> tuple[str, dict[str, Any]]:
    if event.kind == ev.LOG:
        return "contract_event", {
            "contract_identifier": event.contract_id,
            "topic": "print",
            "raw_value": "0x" + event.value.hex(),
        }
    fields: dict[str, Any] = {}
    if event.kind != ev.STX:
        fields["asset_identifier"] = event.asset
    if event.sender is not None:
        fields["sender"] = event.sender
    if event.recipient is not None:
        fields["recipient"] = event.recipient
    if event.kind == ev.NFT:
        fields["raw_value"] = "0x" + event.value.hex()
    else:
        fields["amount"] = str(event.amount)
    if event.kind == ev.STX and event.action == "transfer":
        fields["memo"] = (event.memo or b"").hex()
    return f"{_KINDS[event.kind]}_{event.action}_event", fields
