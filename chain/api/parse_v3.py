"""Parse and validate the routes of the v3 API that replace the deprecated ones (pure).

Blocks (``/extended/v3/blocks``, API 9.7), a single transaction and its events. The block objects are known
from release notes and drafts only, so older names of their fields are accepted too, and a missing parent or
Bitcoin hash is None, not an error.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

from chain.api.parse import (
    KNOWN_WORDS,
    MAX_BEHIND_SECONDS,
    STATUSES,
    argument,
    event_count,
    unknown_words,
    v3_memo,
)
from chain.api.parse_fields import (
    Malformed,
    as_amount,
    as_asset,
    as_bytes,
    as_count,
    as_hash,
    as_list,
    as_name,
    as_object,
    as_principal,
    as_rows,
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

#: Longest cursor that is sent back, in characters.
_MAX_CURSOR_CHARACTERS = 200

#: The names of v1 for the kinds of events, which are those of the words that are reported.
_KINDS = {
    "ft_asset": "fungible_token_asset",
    "stx_asset": "stx_asset",
    "nft_asset": "non_fungible_token_asset",
    "contract_log": "smart_contract_log",
    "stx_lock": "stx_lock",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockRow:
    """A canonical block of ``v3/blocks``: a header of which two fields may be missing."""

    height: int
    hash: str
    block_hash: str
    time: int
    burn_height: int
    burn_time: int
    tx_count: int
    parent_hash: str | None
    burn_hash: str | None

    def header(self, *, parent_hash: str, burn_hash: str) -> BlockHeader:
        """Return the header, with these for what is missing."""
        return BlockHeader(
            height=self.height,
            hash=self.hash,
            block_hash=self.block_hash,
            parent_hash=parent_hash,
            time=self.time,
            burn_height=self.burn_height,
            burn_hash=burn_hash,
            burn_time=self.burn_time,
            tx_count=self.tx_count,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockPage:
    """One page of ``v3/blocks``, newest first, without gaps."""

    results: tuple[BlockRow, ...]
    #: Cursor of the first row; its form is the server's own.
    current: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TxState:
    """A transaction of ``v3/transactions/{tx_id}``, mined or pending."""

    tx_id: str
    #: As in :class:`chain.api.parse.TxDetail`.
    status: TxStatus
    raw_status: str
    event_count: int
    call: ContractCall | None
    #: None while it is pending.
    block_height: int | None = None
    block_hash: str | None = None
    block_index_hash: str | None = None
    #: Index hash of the block below; None when not named.
    parent_hash: str | None = None
    unknown: frozenset[UnknownWord] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class EventPage:
    """A part of a transaction's events, ascending: ``ranks`` of all, ``events`` of those that are kept."""

    total: int
    ranks: tuple[int, ...]
    events: tuple[Event, ...]
    unknown: frozenset[UnknownWord]


def block(body: object) -> BlockRow:
    """Parse a block of ``v3/blocks``."""
    fields = as_object(body, "block")
    anchor = fields.get("bitcoin_block")
    burn = as_object(anchor, "bitcoin_block") if anchor is not None else {}
    parent = fields.get("parent_block")
    above = as_object(parent, "parent_block") if parent is not None else {}
    time = as_time(_either(fields, "time", "block_time"), "time")
    burn_time = as_time(_either(burn, "time", outer=(fields, "burn_block_time")), "bitcoin_block.time")
    if time < burn_time - MAX_BEHIND_SECONDS:
        raise Malformed(f"time must not be a day before bitcoin_block.time, {burn_time}, but is {time}")
    parent_hash = _either(above, "index_hash", "index_block_hash", outer=(fields, "parent_index_block_hash"))
    burn_hash = _either(burn, "hash", outer=(fields, "burn_block_hash"))
    return BlockRow(
        height=as_count(_either(fields, "height", "block_height"), "height"),
        hash=as_hash(_either(fields, "index_hash", "index_block_hash"), "index_hash"),
        block_hash=as_hash(_either(fields, "hash", "block_hash"), "hash"),
        time=time,
        burn_height=as_count(
            _either(burn, "height", outer=(fields, "burn_block_height")), "bitcoin_block.height"
        ),
        burn_time=burn_time,
        tx_count=as_count(_either(fields, "tx_count", "transactions_total"), "tx_count"),
        parent_hash=None if parent_hash is None else as_hash(parent_hash, "parent_block.index_hash"),
        burn_hash=None if burn_hash is None else as_hash(burn_hash, "bitcoin_block.hash"),
    )


def _either(
    fields: Mapping[str, object], *names: str, outer: tuple[Mapping[str, object], str] | None = None
) -> object:
    """Return the first of these fields that is there, or the one of the object outside."""
    found = next((fields[name] for name in names if fields.get(name) is not None), None)
    return outer[0].get(outer[1]) if found is None and outer is not None else found


def block_page(body: object, *, limit: int) -> BlockPage:
    """Parse a page of ``v3/blocks``, at most ``limit`` rows."""
    fields = as_object(body, "answer")
    rows = tuple(block(row) for row in as_rows(fields, limit))
    for newer, older in pairwise(rows):
        if older.height != newer.height - 1 or newer.parent_hash not in (None, older.hash):
            raise Malformed(
                f"a block list shows block {older.height} below {newer.height}, or another parent"
            )
    current = as_object(fields.get("cursor"), "cursor").get("current")
    usable = isinstance(current, str) and current.isascii() and current.isprintable()
    return BlockPage(
        results=rows,
        current=current
        if usable and isinstance(current, str) and len(current) <= _MAX_CURSOR_CHARACTERS
        else None,
    )


def bitcoin_hash(body: object) -> str:
    """Parse the hash of a block of ``v3/bitcoin-blocks``."""
    fields = as_object(body, "Bitcoin block")
    return as_hash(_either(fields, "hash", "burn_block_hash"), "hash")


def transaction(body: object, *, tx_id: str, with_args: bool) -> TxState:
    """Parse ``GET /extended/v3/transactions/{tx_id}``."""
    fields = as_object(body, "transaction")
    if fields.get("tx_id") != tx_id:
        raise Malformed(f"asked for {tx_id}, the answer holds {shown(fields.get('tx_id'))}")
    raw_status = as_text(fields.get("status"), "status")
    call = _call(fields, with_args=with_args)
    if fields.get("block") is None:
        return TxState(tx_id=tx_id, status=TxStatus.UNKNOWN, raw_status=raw_status, event_count=0, call=call)
    place = as_object(fields.get("block"), "block")
    parent = fields.get("parent_block")
    above = None if parent is None else as_object(parent, "parent_block").get("index_hash")
    return TxState(
        tx_id=tx_id,
        status=STATUSES.get(raw_status, TxStatus.UNKNOWN),
        raw_status=raw_status,
        event_count=event_count(fields.get("event_count")) or 0,
        call=call,
        block_height=as_count(place.get("height"), "block.height"),
        block_hash=as_hash(place.get("hash"), "block.hash"),
        block_index_hash=as_hash(place.get("index_hash"), "block.index_hash"),
        parent_hash=None if above is None else as_hash(above, "parent_block.index_hash"),
        unknown=unknown_words(("status", raw_status)),
    )


def _call(fields: Mapping[str, object], *, with_args: bool) -> ContractCall | None:
    if fields.get("type") != "contract_call":
        return None
    payload = as_object(fields.get("contract_call"), "contract_call")
    args: tuple[bytes, ...] | None = None
    if with_args:
        listed = as_list(payload.get("function_args") or [], "function_args")
        args = tuple(
            argument(as_bytes(as_object(one, "argument").get("hex"), "argument.hex")) for one in listed
        )
    return ContractCall(
        contract_id=as_principal(payload.get("contract_id"), "contract_call.contract_id"),
        function=as_name(payload.get("function_name"), "contract_call.function_name"),
        args=args,
    )


def event_page(body: object, *, limit: int) -> EventPage:
    """Parse a page of ``GET /extended/v3/transactions/{tx_id}/events``, at most ``limit`` rows."""
    fields = as_object(body, "answer")
    total = event_count(fields.get("total"))
    rows = [as_object(row, "event") for row in as_rows(fields, limit)]
    ranks = tuple(as_count(row.get("event_index"), "event_index") for row in rows)
    found = [_event(rank, row) for rank, row in zip(ranks, rows, strict=True)]
    return EventPage(
        total=as_count(total, "total"),
        ranks=ranks,
        events=tuple(event for event in found if event is not None),
        unknown=frozenset[UnknownWord]().union(*map(_unknown_of, rows)),
    )


def _unknown_of(row: Mapping[str, object]) -> frozenset[UnknownWord]:
    kind = row.get("type")
    known = _KINDS.get(kind) if isinstance(kind, str) else None
    words: list[tuple[str, object]] = [("event_type", kind if known is None else known)]
    inner = row.get(kind) if isinstance(kind, str) else None
    if isinstance(inner, dict) and kind == "contract_log":
        words.append(("topic", inner.get("topic", next(iter(KNOWN_WORDS["topic"])))))
    elif isinstance(inner, dict) and kind in ("ft_asset", "stx_asset"):
        words.append(("asset_event_type", inner.get("type")))
    return unknown_words(*words)


def _event(rank: int, row: Mapping[str, object]) -> Event | None:
    kind = row.get("type")
    if kind == "contract_log":
        log = as_object(row.get("contract_log"), "contract_log")
        if log.get("topic", "print") != "print":
            return None
        value = as_object(log.get("value"), "contract_log.value")
        printed = as_bytes(value.get("hex"), "contract_log.value.hex")
        contract_id = as_principal(log.get("contract_id"), "contract_log.contract_id")
        if len(printed) > MAX_VALUE_BYTES:
            return None
        return PrintEvent(rank=rank, contract_id=contract_id, value=printed)
    if kind not in ("ft_asset", "stx_asset"):
        return None
    asset = as_object(row.get(kind), kind)
    fungible = kind == "ft_asset"
    match asset.get("type"):
        case "transfer":
            return TransferEvent(
                rank=rank,
                asset=_asset(asset) if fungible else STX,
                sender=as_principal(asset.get("sender"), "sender"),
                recipient=as_principal(asset.get("recipient"), "recipient"),
                amount=as_amount(asset.get("amount"), "amount"),
                memo=None if fungible else _memo(asset.get("memo")),
            )
        case "mint" if fungible:
            return MintEvent(
                rank=rank,
                asset=_asset(asset),
                recipient=as_principal(asset.get("recipient"), "recipient"),
                amount=as_amount(asset.get("amount"), "amount"),
            )
    return None


def _asset(asset: Mapping[str, object]) -> str:
    return as_asset(asset.get("asset_identifier"), "asset_identifier")


def _memo(value: object) -> bytes | None:
    # An empty memo is none, as in tx/multiple.
    return v3_memo(value) or None
