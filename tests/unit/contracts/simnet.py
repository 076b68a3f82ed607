"""Recorded events of a real Clarity VM, and hand-made ones, as blocks for the reader."""

import json
from pathlib import Path
from typing import Any

from chain.clarity import Buffer, NoneValue, PrincipalValue, Some, StringAscii, Tuple, UInt, Value, encode
from chain.model import (
    STX,
    Block,
    BlockHeader,
    ContractCall,
    Event,
    MintEvent,
    PrintEvent,
    Transaction,
    TransferEvent,
    TxStatus,
)
from contracts.model import PaymentRules, Reading
from contracts.payments import read_block

DATA = Path(__file__).parents[2] / "data/simnet"
RECORDED = json.loads((DATA / "transactions.json").read_text())

SBTC = "SM3VDXK3WZZSA84XXFKAFAF15NNZX32CTSG82JFQ4.sbtc-token"
SBTC_ASSET = f"{SBTC}::sbtc-token"
REGISTRY = "SM3VDXK3WZZSA84XXFKAFAF15NNZX32CTSG82JFQ4.sbtc-registry"
MERCHANT, ALICE, BOB = (RECORDED["accounts"][name] for name in ("merchant", "alice", "bob"))
TOY = RECORDED["contracts"]["payment"]
#: Contract id of our payment contract in these tests.
PAYMENTS = "ST1PQHQKV0RJXZFY1DGX8MNSNYVE3VGZJSRTPGZGM.sbtc-payments"
FAKE = f"{BOB}.sbtc-token"

RULES = PaymentRules(assets=frozenset({SBTC_ASSET, STX}), sbtc_contract=SBTC, payment_contract=PAYMENTS)


def unhex(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))


def header(height: int = 100, **changes: Any) -> BlockHeader:
    fields: dict[str, Any] = {
        "height": height,
        "hash": f"0x{height:064x}",
        "block_hash": f"0x{height:064x}",
        "parent_hash": f"0x{height - 1:064x}",
        "time": 1_800_000_000 + 10 * height,
        "burn_height": height // 10,
        "burn_hash": f"0x{height // 10:064x}",
        "burn_time": 1_800_000_000,
        "tx_count": 1,
    }
    return BlockHeader(**fields | changes)


def event_of(rank: int, kind: str, data: dict[str, Any]) -> Event | None:
    """Convert a node's event into ours; None for kinds that we leave out."""
    match kind:
        case "ft_transfer_event" | "stx_transfer_event":
            return TransferEvent(
                rank=rank,
                asset=data.get("asset_identifier", STX),
                sender=data["sender"],
                recipient=data["recipient"],
                amount=int(data["amount"]),
                memo=unhex(data["memo"]) if "memo" in data else None,
            )
        case "ft_mint_event":
            return MintEvent(
                rank=rank,
                asset=data["asset_identifier"],
                recipient=data["recipient"],
                amount=int(data["amount"]),
            )
        case "print_event" | "contract_event":
            return PrintEvent(
                rank=rank, contract_id=data["contract_identifier"], value=unhex(data["raw_value"])
            )
        case _:
            return None


def _call(record: dict[str, Any]) -> ContractCall | None:
    if record["tx_type"] != "contract_call":
        return None
    args = tuple(unhex(argument["hex"]) for argument in record["function_args"])
    return ContractCall(contract_id=record["contract_id"], function=record["function_name"], args=args)


def recorded(label: str) -> Transaction:
    """Return a recorded transaction; those that failed did so by their response."""
    record = next(record for record in RECORDED["transactions"] if record["label"].startswith(label))
    events = [event_of(event["event_index"], event["event"], event["data"]) for event in record["events"]]
    succeeded = record["result"]["string"].startswith("(ok")
    return Transaction(
        tx_id=record.get("txid", "0x" + "00" * 32),
        tx_index=0,
        sender=record["sender"],
        status=TxStatus.SUCCESS if succeeded else TxStatus.ABORT_BY_RESPONSE,
        call=_call(record),
        events=tuple(event for event in events if event is not None),
    )


def node_block(name: str) -> Block:
    """Return a recorded ``/new_block`` body as a block; nodes number events per block, we per transaction."""
    body = json.loads((DATA / name).read_text())
    records = {record["txid"]: record for record in RECORDED["transactions"] if "txid" in record}
    transactions = []
    for tx in body["transactions"]:
        own = sorted((e for e in body["events"] if e["txid"] == tx["txid"]), key=lambda e: e["event_index"])
        events = [event_of(rank, event["type"], event[event["type"]]) for rank, event in enumerate(own)]
        record = records[tx["txid"]]
        transactions.append(
            Transaction(
                tx_id=tx["txid"],
                tx_index=tx["tx_index"],
                sender=record["sender"],
                status=TxStatus(tx["status"]),
                call=_call(record),
                events=tuple(event for event in events if event is not None),
            )
        )
    return Block(
        header=header(body["block_height"], hash=body["index_block_hash"], tx_count=len(transactions)),
        transactions=tuple(transactions),
    )


def read(*transactions: Transaction, rules: PaymentRules = RULES) -> Reading:
    return read_block(Block(header=header(), transactions=transactions), rules)


def ft(rank: int, *, amount: int = 1000, asset: str = SBTC_ASSET, **changes: Any) -> TransferEvent:
    fields = {"sender": ALICE, "recipient": MERCHANT} | changes
    return TransferEvent(rank=rank, asset=asset, amount=amount, **fields)


def said(rank: int, value: Value | bytes, contract: str = SBTC) -> PrintEvent:
    data = value if isinstance(value, bytes) else encode(value)
    return PrintEvent(rank=rank, contract_id=contract, value=data)


def payment_fields(**changes: Value | None) -> dict[str, Value]:
    """Return the fields of our contract's payment print; a change to None takes the field away."""
    fields: dict[str, Value | None] = {
        "topic": StringAscii("payment"),
        "version": UInt(1),
        "intent-id": Buffer(b"\x11" * 32),
        "merchant": PrincipalValue.parse(MERCHANT),
        "payer": PrincipalValue.parse(ALICE),
        "token": token_argument(SBTC),
        "amount": UInt(1000),
        "expires-at": UInt(4102444800),
        "stacks-height": UInt(25),
        "burn-height": UInt(5),
        "stacks-time": UInt(1795203488),
    }
    changed = fields | {name.replace("_", "-"): value for name, value in changes.items()}
    return {name: value for name, value in changed.items() if value is not None}


def token_argument(contract: str | None) -> Value:
    return NoneValue() if contract is None else Some(PrincipalValue.parse(contract))


def payment_print(rank: int, *, contract: str = PAYMENTS, **changes: Value | None) -> PrintEvent:
    return said(rank, Tuple.of(payment_fields(**changes)), contract)


def refund_fields(**changes: Value | None) -> dict[str, Value]:
    """Return the fields of our contract's refund print; a change to None takes the field away."""
    fields: dict[str, Value | None] = {
        "topic": StringAscii("refund"),
        "version": UInt(1),
        "intent-id": Buffer(b"\x11" * 32),
        "merchant": PrincipalValue.parse(MERCHANT),
        "to": PrincipalValue.parse(ALICE),
        "token": token_argument(SBTC),
        "amount": UInt(1000),
        "refunded-total": UInt(1000),
        "stacks-height": UInt(25),
        "burn-height": UInt(5),
    }
    changed = fields | {name.replace("_", "-"): value for name, value in changes.items()}
    return {name: value for name, value in changed.items() if value is not None}


def refund_print(rank: int, *, contract: str = PAYMENTS, **changes: Value | None) -> PrintEvent:
    return said(rank, Tuple.of(refund_fields(**changes)), contract)


def back(rank: int, **changes: Any) -> TransferEvent:
    """Return the transfer that the refund print names."""
    return ft(rank, **({"sender": MERCHANT, "recipient": ALICE} | changes))


def succeeded(*events: Event, call: ContractCall | None = None, **changes: Any) -> Transaction:
    fields = {"tx_id": "0x" + "ab" * 32, "tx_index": 0, "sender": ALICE} | changes
    return Transaction(status=TxStatus.SUCCESS, call=call, events=events, **fields)


def failed(
    contract: str, function: str, *args: Value | bytes, status: TxStatus = TxStatus.ABORT_BY_RESPONSE
) -> Transaction:
    raw = tuple(arg if isinstance(arg, bytes) else encode(arg) for arg in args)
    call = ContractCall(contract_id=contract, function=function, args=raw)
    return Transaction(tx_id="0x" + "cd" * 32, tx_index=0, sender=ALICE, status=status, call=call)
