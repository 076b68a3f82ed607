"""Parse blocks as a stacks-node tells them: the observer's ``/new_block``, and the RPC's replay (pure).

Field names: stacks-core 4.0. A block becomes the same header, rows and events that an API serves, so that
one reader (``chain.block_reader``) reads both. The functions raise ``Malformed``.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from chain.api.parse import (
    MAX_BEHIND_SECONDS,
    STATUSES,
    TxDetail,
    TxSummary,
    argument,
    memo_bytes,
    unknown_words,
)
from chain.api.parse_fields import (
    Malformed,
    as_amount,
    as_asset,
    as_bytes,
    as_count,
    as_flag,
    as_hash,
    as_list,
    as_object,
    as_principal,
    as_text,
    as_time,
    shown,
)
from chain.model import (
    MAX_VALUE_BYTES,
    STX,
    BlockHeader,
    ContractCall,
    Event,
    MintEvent,
    PrintEvent,
    TransferEvent,
    TxStatus,
    UnknownWord,
)
from chain.node.transaction import RawTransaction, parse_transaction

#: ``raw_tx`` of a transaction that was made on Bitcoin (a transfer or stacking operation).
_ON_BITCOIN = "0x00"

#: What a node's configuration must say, or it leaves events out.
_FILTERED = 'the observer needs events_keys = ["*"]'

#: Events of these types are used; those of the others only count for the ranks.
_EVENT_TYPES = frozenset(
    {
        "contract_event",
        "ft_transfer_event",
        "ft_mint_event",
        "ft_burn_event",
        "stx_transfer_event",
        "stx_mint_event",
        "stx_burn_event",
        "stx_lock_event",
        "nft_transfer_event",
        "nft_mint_event",
        "nft_burn_event",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenure:
    """The Bitcoin block that elected the miner of some Stacks blocks."""

    burn_height: int
    burn_hash: str
    burn_time: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeBlock:
    """A block with all of its transactions, as the API's rows and details."""

    header: BlockHeader
    #: In ``tx_index`` order.
    rows: tuple[TxSummary, ...]
    _details: Mapping[str, TxDetail]
    _raw: Mapping[str, RawTransaction]

    @property
    def tx_ids(self) -> tuple[str, ...]:
        """Ids of the transactions, in the block's order."""
        return tuple(row.tx_id for row in self.rows)

    def detail(self, tx_id: str, *, with_args: bool = False) -> TxDetail:
        """Status and events of a transaction of this block. Raises ``Malformed`` for bad arguments."""
        detail, raw = self._details[tx_id], self._raw.get(tx_id)
        if not with_args or detail.call is None or raw is None:
            return detail
        args = tuple(map(argument, raw.args()))
        return replace(detail, call=replace(detail.call, args=args))


def new_block(body: object) -> NodeBlock:
    """Parse the body of ``POST /new_block``."""
    fields = as_object(body, "body")
    listed = [as_object(tx, "transaction") for tx in as_list(fields.get("transactions"), "transactions")]
    burn_time = as_time(fields.get("burn_block_time"), "burn_block_time")
    header = block_header(
        height=as_count(fields.get("block_height"), "block_height"),
        hash=as_hash(fields.get("index_block_hash"), "index_block_hash"),
        block_hash=as_hash(fields.get("block_hash"), "block_hash"),
        parent_hash=as_hash(fields.get("parent_index_block_hash"), "parent_index_block_hash"),
        # Blocks of before Nakamoto have no time of their own.
        time=burn_time if fields.get("block_time") is None else as_time(fields["block_time"], "block_time"),
        tenure=Tenure(
            burn_height=as_count(fields.get("burn_block_height"), "burn_block_height"),
            burn_hash=as_hash(fields.get("burn_block_hash"), "burn_block_hash"),
            burn_time=burn_time,
        ),
        tx_count=len(listed),
    )
    events = [as_object(event, "event") for event in as_list(fields.get("events"), "events")]
    by_index = {as_count(event.get("event_index"), "event_index"): event for event in events}
    if by_index.keys() != set(range(len(events))):
        raise Malformed(
            f"events are missing: {len(events)} came, numbered up to {max(by_index, default=0)}; {_FILTERED}"
        )
    by_tx: dict[str, list[Mapping[str, object]]] = {}
    for index in range(len(events)):
        event = by_index[index]
        by_tx.setdefault(as_hash(event.get("txid"), "event.txid"), []).append(event)
    parsed = [_transaction(header, tx, by_tx.pop(_tx_id(tx, "txid"), [])) for tx in listed]
    if by_tx:
        raise Malformed(f"an event names transaction {min(by_tx)}, which the block does not list")
    return _block(header, parsed)


def replayed_block(body: object, tenure: Tenure) -> NodeBlock:
    """Parse the answer of ``GET /v3/blocks/replay/{block_id}``; its block was mined in ``tenure``."""
    fields = as_object(body, "answer")
    if as_flag(fields.get("valid_merkle_root"), "valid_merkle_root") is not True:
        raise Malformed("the replay gives other transactions than the block has")
    listed = [as_object(tx, "transaction") for tx in as_list(fields.get("transactions"), "transactions")]
    header = block_header(
        height=as_count(fields.get("block_height"), "block_height"),
        hash=hash_of(fields.get("block_id"), "block_id"),
        block_hash=hash_of(fields.get("block_hash"), "block_hash"),
        parent_hash=hash_of(fields.get("parent_block_id"), "parent_block_id"),
        time=as_time(fields.get("timestamp"), "timestamp"),
        tenure=tenure,
        tx_count=len(listed),
    )
    parsed = []
    for tx in listed:
        events = [as_object(event, "event") for event in as_list(tx.get("events"), "events")]
        events.sort(key=lambda event: as_count(event.get("event_index"), "event_index"))
        raw = tx.get("hex")
        told = {
            "txid": tx.get("txid"),
            "tx_index": tx.get("tx_index"),
            "status": _replayed_status(tx),
            "raw_tx": raw if isinstance(raw, str) and raw.startswith("0x") else f"0x{raw}",
        }
        parsed.append(_transaction(header, told, events))
    return _block(header, parsed)


def hash_of(value: object, what: str) -> str:
    """Return a hash that may be written without ``0x``, as the RPC does."""
    return as_hash(f"0x{value}" if isinstance(value, str) and not value.startswith("0x") else value, what)


def block_header(*, tenure: Tenure, time: int, **fields: object) -> BlockHeader:
    if time < tenure.burn_time - MAX_BEHIND_SECONDS:
        raise Malformed(
            f"block_time must not be a day before burn_block_time, {tenure.burn_time}, but is {time}"
        )
    return BlockHeader(
        time=time,
        burn_height=tenure.burn_height,
        burn_hash=tenure.burn_hash,
        burn_time=tenure.burn_time,
        **fields,  # type: ignore[arg-type]
    )


def _block(
    header: BlockHeader, parsed: Sequence[tuple[TxSummary, TxDetail, RawTransaction | None]]
) -> NodeBlock:
    rows = sorted((row for row, _, _ in parsed), key=lambda row: row.tx_index)
    if [row.tx_index for row in rows] != list(range(len(rows))):
        raise Malformed(f"the {len(rows)} transactions of a block are not numbered from 0")
    details = {detail.tx_id: detail for _, detail, _ in parsed}
    if len(details) != len(rows):
        raise Malformed("a transaction is twice in one block")
    raw = {row.tx_id: one for row, _, one in parsed if one is not None}
    return NodeBlock(header=header, rows=tuple(rows), _details=details, _raw=raw)


def _tx_id(tx: Mapping[str, object], name: str) -> str:
    return hash_of(tx.get(name), name)


def _transaction(
    header: BlockHeader, tx: Mapping[str, object], events: Sequence[Mapping[str, object]]
) -> tuple[TxSummary, TxDetail, RawTransaction | None]:
    """Parse a transaction with its events, which are in order."""
    tx_id = _tx_id(tx, "txid")
    word = as_text(tx.get("status"), "status")
    status = STATUSES.get(word, TxStatus.UNKNOWN)
    raw = None
    words: set[UnknownWord] = set(unknown_words(("status", word)))
    if tx.get("raw_tx") == _ON_BITCOIN:
        sender, kind = _sender_on_bitcoin(tx.get("burnchain_op")), "burnchain_op"
    else:
        raw = _signed(tx_id, tx.get("raw_tx"))
        sender, kind = raw.sender, raw.kind
        if not raw.is_known:
            words.add(UnknownWord("tx_type", kind))
        if raw.transfer is not None and status is TxStatus.SUCCESS and not events:
            raise Malformed(f"the transfer {tx_id} came without its event; {_FILTERED}")
    read: list[Event] = []
    if status in (TxStatus.SUCCESS, TxStatus.UNKNOWN):
        for rank, event in enumerate(events):
            words |= _unknown_of_event(event)
            # Nodes before 3.3 also tell what a post-condition undid.
            if event.get("committed") is not False and (one := _event(rank, event)) is not None:
                read.append(one)
    call = None
    if raw is not None and raw.contract_id is not None and raw.function is not None:
        call = ContractCall(contract_id=raw.contract_id, function=raw.function)
    row = TxSummary(
        tx_id=tx_id,
        sender=sender,
        block_height=header.height,
        block_hash=header.block_hash,
        block_index_hash=header.hash,
        block_time=header.time,
        tx_index=as_count(tx.get("tx_index"), "tx_index"),
        burn_height=header.burn_height,
        status=status,
        kind=kind,
        transfer=None if raw is None else stx_transfer_of(raw),
        contract_id=None if raw is None else raw.contract_id,
        function=None if raw is None else raw.function,
        unknown=frozenset(words),
    )
    detail = TxDetail(
        tx_id=tx_id,
        found=True,
        status=status,
        raw_status=word,
        canonical=True,
        block_hash=header.block_hash,
        block_height=header.height,
        event_count=len(events),
        events=tuple(read),
        call=call,
    )
    return row, detail, raw


def _signed(tx_id: str, value: object) -> RawTransaction:
    raw = as_bytes(value, "raw_tx")
    if tx_id_of(raw) != tx_id:
        raise Malformed(f"raw_tx is another transaction than {tx_id}: its bytes give {tx_id_of(raw)}")
    return parse_transaction(raw)


def tx_id_of(raw: bytes) -> str:
    """Return the id of a serialized transaction."""
    return "0x" + hashlib.new("sha512_256", raw).hexdigest()


def stx_transfer_of(raw: RawTransaction) -> TransferEvent | None:
    """Return the transfer of a ``token_transfer``, None for any other kind."""
    if raw.transfer is None:
        return None
    recipient, amount, memo = raw.transfer
    return TransferEvent(rank=0, asset=STX, sender=raw.sender, recipient=recipient, amount=amount, memo=memo)


def _sender_on_bitcoin(op: object) -> str:
    """Return the sender of a Bitcoin operation: ``{"transfer_stx": {"sender": {"address": …}}}``."""
    if isinstance(op, dict):
        for fields in op.values():
            sender = fields.get("sender") if isinstance(fields, dict) else None
            if isinstance(sender, dict) and "address" in sender:
                return as_principal(sender["address"], "burnchain_op.sender.address")
    return ""


def _replayed_status(tx: Mapping[str, object]) -> str:
    if as_flag(tx.get("post_condition_aborted"), "post_condition_aborted"):
        return TxStatus.ABORT_BY_POST_CONDITION
    result = as_bytes(tx.get("result_hex"), "result_hex")[:1]
    if result not in (b"\x07", b"\x08"):
        raise Malformed(f"the result of a replayed transaction is no response: {shown(tx.get('result_hex'))}")
    return TxStatus.SUCCESS if result == b"\x07" else TxStatus.ABORT_BY_RESPONSE


def _unknown_of_event(event: Mapping[str, object]) -> frozenset[UnknownWord]:
    kind = event.get("type")
    if not isinstance(kind, str) or kind not in _EVENT_TYPES:
        return unknown_words(("event_type", kind))
    fields = event.get(kind)
    if kind == "contract_event" and isinstance(fields, dict):
        return unknown_words(("topic", fields.get("topic")))
    return frozenset()


def _event(rank: int, event: Mapping[str, object]) -> Event | None:
    match event.get("type"):
        case "ft_transfer_event" | "stx_transfer_event" as kind:
            fields = as_object(event.get(kind), kind)
            is_stx = kind == "stx_transfer_event"
            return TransferEvent(
                rank=rank,
                asset=STX if is_stx else as_asset(fields.get("asset_identifier"), f"{kind}.asset_identifier"),
                sender=as_principal(fields.get("sender"), f"{kind}.sender"),
                recipient=as_principal(fields.get("recipient"), f"{kind}.recipient"),
                amount=as_amount(fields.get("amount"), f"{kind}.amount"),
                memo=_memo(fields.get("memo")) if is_stx else None,
            )
        case "ft_mint_event" as kind:
            fields = as_object(event.get(kind), kind)
            return MintEvent(
                rank=rank,
                asset=as_asset(fields.get("asset_identifier"), f"{kind}.asset_identifier"),
                recipient=as_principal(fields.get("recipient"), f"{kind}.recipient"),
                amount=as_amount(fields.get("amount"), f"{kind}.amount"),
            )
        case "contract_event" as kind:
            fields = as_object(event.get(kind), kind)
            if fields.get("topic") != "print":
                return None
            contract_id = as_principal(fields.get("contract_identifier"), f"{kind}.contract_identifier")
            value = as_bytes(fields.get("raw_value"), f"{kind}.raw_value")
            if len(value) > MAX_VALUE_BYTES:
                return None
            return PrintEvent(rank=rank, contract_id=contract_id, value=value)
    return None


def _memo(value: object) -> bytes | None:
    """Parse hex without ``0x``; longer values are not memos."""
    if value in (None, ""):
        return None
    return memo_bytes(as_bytes(f"0x{value}" if isinstance(value, str) else value, "stx_transfer_event.memo"))
