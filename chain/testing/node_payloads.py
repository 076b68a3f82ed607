"""Bodies of a stacks-node for a scripted chain: what its event observer posts and what its RPC answers."""

from collections.abc import Sequence
from typing import Any

from chain.model import TxStatus
from chain.testing import events as ev
from chain.testing.canonical import ScriptedBlock
from chain.testing.tx import Tx

#: The body of a ``POST /new_block``, recorded or scripted; the RPC's answers are made of it.
Body = dict[str, Any]

_KINDS = {ev.FT: "ft", ev.STX: "stx", ev.NFT: "nft"}


def new_block(block: ScriptedBlock) -> Body:
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
        # A tenure is named after its Bitcoin block.
        "consensus_hash": header.burn_hash[:42],
        "signer_bitvec": "000800000001ff",
        "reward_set": None,
        "cycle_number": None,
    }


def replay(body: Body) -> dict[str, Any]:
    """Return the answer of ``GET /v3/blocks/replay/{block_id}``; most ids in it have no ``0x``."""
    events: dict[str, list[Body]] = {}
    for event in sorted(body["events"], key=lambda event: event["event_index"]):
        told = events.setdefault(event["txid"], [])
        told.append({**event, "event_index": len(told)})
    return {
        "block_id": body["index_block_hash"][2:],
        "block_hash": body["block_hash"][2:],
        "block_height": body["block_height"],
        "parent_block_id": body["parent_index_block_hash"][2:],
        "consensus_hash": body["consensus_hash"][2:],
        "fees": 0,
        "timestamp": body["block_time"],
        "transactions": [
            {
                "txid": tx["txid"][2:],
                "tx_index": tx["tx_index"],
                "hex": tx["raw_tx"][2:],
                "result_hex": tx["raw_result"],
                "stx_burned": 0,
                "events": events.get(tx["txid"], []),
                "post_condition_aborted": tx["status"] == TxStatus.ABORT_BY_POST_CONDITION,
                "vm_error": tx["vm_error"],
            }
            for tx in body["transactions"]
        ],
        "valid_merkle_root": True,
    }


def raw_block(body: Body) -> bytes:
    """Return the answer of ``GET /v3/blocks/{block_id}``: header and transactions, serialized."""
    out = bytearray(b"\x00")
    out += body["block_height"].to_bytes(8, "big") + bytes(8)
    out += bytes.fromhex(body["consensus_hash"][2:] + body["parent_index_block_hash"][2:]) + bytes(64)
    out += body["block_time"].to_bytes(8, "big") + bytes(65)
    out += (1).to_bytes(4, "big") + bytes(65)
    out += bytes.fromhex("000800000001ff")
    out += len(body["transactions"]).to_bytes(4, "big")
    out += b"".join(bytes.fromhex(tx["raw_tx"][2:]) for tx in body["transactions"])
    return bytes(out)


def tenure_blocks(bodies: Sequence[Body]) -> dict[str, Any]:
    """Return the answer of ``GET /v3/tenures/blocks/…`` for the blocks of one tenure, newest first."""
    return {
        "consensus_hash": bodies[0]["consensus_hash"][2:],
        "last_sortition_ch": "00" * 20,
        "burn_block_height": bodies[0]["burn_block_height"],
        "burn_block_hash": bodies[0]["burn_block_hash"][2:],
        "stacks_blocks": [
            {
                "block_id": body["index_block_hash"][2:],
                "header_type": "nakamoto",
                "block_hash": body["block_hash"][2:],
                "parent_block_id": body["parent_index_block_hash"][2:],
                "height": body["block_height"],
            }
            for body in bodies
        ],
    }


def sortition(body: Body) -> list[dict[str, Any]]:
    """Return the answer of ``GET /v3/sortitions/consensus/{consensus_hash}`` for a block's tenure."""
    return [
        {
            "burn_block_hash": body["burn_block_hash"],
            "burn_block_height": body["burn_block_height"],
            "burn_header_timestamp": body["burn_block_time"],
            "consensus_hash": body["consensus_hash"],
            "was_sortition": True,
        }
    ]


def new_burn_block(body: Body) -> dict[str, Any]:
    """Return the body of ``POST /new_burn_block`` for a block's Bitcoin block."""
    return {
        "burn_block_hash": body["burn_block_hash"],
        "burn_block_height": body["burn_block_height"],
        "reward_recipients": [],
        "reward_slot_holders": [],
        "burn_amount": 0,
        "consensus_hash": body["consensus_hash"],
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
