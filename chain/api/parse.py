"""Parse and validate the API's JSON (pure).

Each function takes decoded JSON and raises ``Malformed`` for anything that violates the API. Unknown words
from the *chain* are no error: unknown statuses, transaction types and event kinds are returned as unknown or
left out, and a printed value stays bytes, because a contract can print anything. ``repr`` texts are never
read. Field names: Stacks Blockchain API 9.0 (``/extended/v1/tx/multiple``, ``/extended/v2/blocks``,
``/extended/v3/…``).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from chain.api.parse_fields import (
    Malformed,
    as_amount,
    as_bytes,
    as_count,
    as_flag,
    as_hash,
    as_name,
    as_next_cursor,
    as_object,
    as_principal,
    as_rows,
    as_text,
    as_time,
    as_total,
    shown,
)
from chain.model import (
    MAX_VALUE_BYTES,
    MEMO_BYTES,
    STX,
    BlockHeader,
    ContractCall,
    Event,
    TransferEvent,
    TxStatus,
    UnknownWord,
)

#: Format of a cursor in v3 lists: height, microblock sequence, transaction index.
TX_CURSOR = re.compile(r"[0-9]{1,20}:[0-9]{1,20}:[0-9]{1,20}")

#: More events of one transaction than the costs of a block allow.
MAX_EVENTS = 2**20

#: Seconds by which a block's time may be behind its Bitcoin block's: miners' clocks are off by hours.
MAX_BEHIND_SECONDS = 86_400

_VERSION = re.compile(r"\bv?(\d{1,6})\.(\d{1,6})\.(\d{1,6})")
#: Statuses by the word for them.
STATUSES = {status.value: status for status in TxStatus if status is not TxStatus.UNKNOWN}

#: The words that this version understands, used or not, by field.
KNOWN_WORDS: dict[str, frozenset[str]] = {
    "status": frozenset(STATUSES),
    "tx_type": frozenset(
        {
            "token_transfer",
            "contract_call",
            "smart_contract",
            "coinbase",
            "tenure_change",
            "poison_microblock",
        }
    ),
    "event_type": frozenset(
        {
            "fungible_token_asset",
            "stx_asset",
            "non_fungible_token_asset",
            "smart_contract_log",
            "stx_lock",
        }
    ),
    "asset_event_type": frozenset({"transfer", "mint", "burn"}),
    "topic": frozenset({"print"}),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiStatus:
    """``/extended``: the server's version and newest block; the tip is None on an empty database."""

    server_version: str
    #: Such as ``(9, 0, 2)``; None when the text has no version, as in development builds.
    version: tuple[int, int, int] | None
    tip_height: int | None
    #: Index block hash.
    tip_hash: str | None
    tip_burn_height: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TxSummary:
    """A mined canonical transaction in a v3 list: with its block, without its events."""

    tx_id: str
    sender: str
    block_height: int
    #: ``hash`` in v2 and v3, ``block_hash`` in v1.
    block_hash: str
    #: Identity of the block: equals ``BlockHeader.hash``.
    block_index_hash: str
    block_time: int
    tx_index: int
    burn_height: int
    status: TxStatus
    #: ``token_transfer``, ``contract_call``, ``smart_contract``, ``coinbase``, ``tenure_change`` or another.
    kind: str
    #: Set for a ``token_transfer`` of any status: rank 0, asset STX, the memo as on the chain (34 bytes).
    transfer: TransferEvent | None = None
    #: The contract called by a ``contract_call``, or deployed by a ``smart_contract``.
    contract_id: str | None = None
    #: The function called by a ``contract_call``.
    function: str | None = None
    #: Number of events of every kind; None before API 9.7.
    event_count: int | None = None
    unknown: frozenset[UnknownWord] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class TxPage:
    """One page of a v3 list, newest first."""

    results: tuple[TxSummary, ...]
    #: Number of rows of the whole list.
    total: int
    #: Cursor of the page with older rows; None on the last page.
    next_cursor: str | None
    #: ETag of the whole list, with its quotes; for ``If-None-Match``.
    etag: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TxDetail:
    """A transaction in ``tx/multiple``, mined or not."""

    tx_id: str
    found: bool
    #: ``UNKNOWN`` while it is pending, dropped or not found; ``raw_status`` tells them apart.
    status: TxStatus = TxStatus.UNKNOWN
    #: The status text as served: ``success``, ``pending``, ``dropped_replace_by_fee`` …; empty when not
    #: found.
    raw_status: str = ""
    #: Mined in a block of the canonical chain.
    canonical: bool = False
    #: v1's ``block_hash``: compare with ``BlockHeader.block_hash``, not with ``hash``.
    block_hash: str | None = None
    block_height: int | None = None
    #: Number of events of every kind.
    event_count: int = 0
    #: Transfers, mints and prints in rank order; left-out kinds leave gaps in the ranks.
    events: tuple[Event, ...] = ()
    call: ContractCall | None = None
    unknown: frozenset[UnknownWord] = frozenset()


# Answers


def status(body: object) -> ApiStatus:
    """Parse ``GET /extended``."""
    fields = as_object(body, "answer")
    text = as_text(fields.get("server_version"), "server_version")
    version = parse_version(text)
    if fields.get("chain_tip") is None:
        return ApiStatus(
            server_version=text, version=version, tip_height=None, tip_hash=None, tip_burn_height=None
        )
    tip = as_object(fields["chain_tip"], "chain_tip")
    burn = tip.get("burn_block_height")
    return ApiStatus(
        server_version=text,
        version=version,
        tip_height=as_count(tip.get("block_height"), "chain_tip.block_height"),
        tip_hash=as_hash(tip.get("index_block_hash"), "chain_tip.index_block_hash"),
        tip_burn_height=None if burn is None else as_count(burn, "chain_tip.burn_block_height"),
    )


def parse_version(text: str) -> tuple[int, int, int] | None:
    """Return the first ``x.y.z`` in a server version; None when there is none."""
    found = _VERSION.search(text)
    return None if found is None else (int(found[1]), int(found[2]), int(found[3]))


def network_id(body: object) -> int | None:
    """Parse ``network_id`` of the node's ``GET /v2/info``; None when missing."""
    value = body.get("network_id") if isinstance(body, dict) else None
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def header(body: object) -> BlockHeader | None:
    """Parse a v2 block; None for a block that is not canonical."""
    fields = as_object(body, "block")
    if not as_flag(fields.get("canonical"), "canonical"):
        return None
    time = as_time(fields.get("block_time"), "block_time")
    burn_time = as_time(fields.get("burn_block_time"), "burn_block_time")
    if time < burn_time - MAX_BEHIND_SECONDS:
        raise Malformed(f"block_time must not be a day before burn_block_time, {burn_time}, but is {time}")
    return BlockHeader(
        height=as_count(fields.get("height"), "height"),
        hash=as_hash(fields.get("index_block_hash"), "index_block_hash"),
        block_hash=as_hash(fields.get("hash"), "hash"),
        parent_hash=as_hash(fields.get("parent_index_block_hash"), "parent_index_block_hash"),
        time=time,
        burn_height=as_count(fields.get("burn_block_height"), "burn_block_height"),
        burn_hash=as_hash(fields.get("burn_block_hash"), "burn_block_hash"),
        burn_time=burn_time,
        tx_count=as_count(fields.get("tx_count"), "tx_count"),
    )


def headers(body: object, *, limit: int) -> tuple[BlockHeader, ...]:
    """Parse ``GET /extended/v2/blocks``: canonical headers, newest first, at most ``limit``."""
    found = []
    for row in as_rows(as_object(body, "answer"), limit):
        one = header(row)
        if one is None:
            raise Malformed("a block list holds a block that is not canonical")
        found.append(one)
    return tuple(found)


def tx_page(body: object, *, limit: int, etag: str | None = None) -> TxPage:
    """Parse a v3 list of transactions, at most ``limit`` rows."""
    fields = as_object(body, "answer")
    rows = as_rows(fields, limit)
    older = as_next_cursor(fields, TX_CURSOR, "height:sequence:index")
    return TxPage(
        results=tuple(_summary(row) for row in rows),
        total=as_total(fields.get("total"), "total"),
        next_cursor=older,
        etag=etag,
    )


def _summary(row: object) -> TxSummary:
    fields = as_object(row, "transaction")
    block = as_object(fields.get("block"), "block")
    sender = as_principal(as_object(fields.get("sender"), "sender").get("address"), "sender.address")
    kind = as_text(fields.get("type"), "type")
    transfer: TransferEvent | None = None
    contract_id: str | None = None
    function: str | None = None
    if kind == "token_transfer":
        transfer = stx_transfer(fields, sender)
    elif kind in ("contract_call", "smart_contract"):
        payload = as_object(fields.get(kind), kind)
        contract_id = as_principal(payload.get("contract_id"), f"{kind}.contract_id")
        if kind == "contract_call":
            function = as_name(payload.get("function_name"), "contract_call.function_name")
    status = as_text(fields.get("status"), "status")
    return TxSummary(
        tx_id=as_hash(fields.get("tx_id"), "tx_id"),
        sender=sender,
        block_height=as_count(block.get("height"), "block.height"),
        block_hash=as_hash(block.get("hash"), "block.hash"),
        block_index_hash=as_hash(block.get("index_hash"), "block.index_hash"),
        block_time=as_time(block.get("time"), "block.time"),
        tx_index=as_count(block.get("tx_index"), "block.tx_index"),
        burn_height=as_count(
            as_object(fields.get("bitcoin_block"), "bitcoin_block").get("height"), "bitcoin_block.height"
        ),
        status=STATUSES.get(status, TxStatus.UNKNOWN),
        kind=kind,
        transfer=transfer,
        contract_id=contract_id,
        function=function,
        event_count=event_count(fields.get("event_count")),
        unknown=unknown_words(("status", status), ("tx_type", kind)),
    )


def event_count(value: object) -> int | None:
    """Parse a number of events; None where a version has none."""
    if value is None:
        return None
    count = as_count(value, "event_count")
    if count > MAX_EVENTS:
        raise Malformed(f"event_count must be at most {MAX_EVENTS}, not {count}")
    return count


def unknown_words(*words: tuple[str, object]) -> frozenset[UnknownWord]:
    """Return the words that this version does not know, each with its field."""
    return frozenset(
        UnknownWord(kind, word[:64] if isinstance(word, str) and word.isprintable() else shown(word)[:64])
        for kind, word in words
        if not (isinstance(word, str) and word in KNOWN_WORDS[kind])
    )


def stx_transfer(fields: Mapping[str, object], sender: str) -> TransferEvent:
    """Parse the transfer of a ``token_transfer`` in a v3 list, mined or pending."""
    payload = as_object(fields.get("token_transfer"), "token_transfer")
    return TransferEvent(
        rank=0,
        asset=STX,
        sender=sender,
        recipient=as_principal(payload.get("recipient"), "token_transfer.recipient"),
        amount=as_amount(payload.get("amount"), "token_transfer.amount"),
        memo=v3_memo(payload.get("memo")),
    )


def v3_memo(value: object) -> bytes | None:
    """Parse a v3 memo; None without one."""
    # repr is the text without padding and unprintable characters; only hex is the memo.
    return None if value is None else memo_bytes(as_bytes(as_object(value, "memo").get("hex"), "memo.hex"))


def memo_bytes(raw: bytes) -> bytes | None:
    """Return a memo unchanged, None for a longer value, which is none."""
    return raw if len(raw) <= MEMO_BYTES else None


def argument(raw: bytes) -> bytes:
    """Return an argument's bytes, none if there are too many: the position is kept."""
    return raw if len(raw) <= MAX_VALUE_BYTES else b""
