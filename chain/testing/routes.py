"""REST routes of the Stacks Blockchain API v9.0.2: pure functions from view and request to an answer.

The routes of later versions are in ``routes_v3``.
"""

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from chain.clarity import Ok, StringAscii, UInt, Value, encode
from chain.testing import events as ev
from chain.testing import render
from chain.testing.canonical import Place, ScriptedBlock
from chain.testing.mempool import PENDING
from chain.testing.schema import ValidationFailed, integer, text
from chain.testing.versions import Features, Shape
from chain.testing.view import NO_MICROBLOCK, View

_TX_CURSOR = "^[0-9]+:[0-9]+:[0-9]+$"
_LOG_CURSOR = "^[0-9]+:[0-9]+:[0-9]+:[0-9]+$"
_MEMPOOL_CURSOR = "^[0-9]+:0x[0-9a-fA-F]{64}$"
_HASH = re.compile(r"0x[0-9a-fA-F]{64}")
_TX_ID = re.compile(r"(0x)?[0-9a-fA-F]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A route's answer. ``etag`` without quotes; None: the answer is not cacheable."""

    body: Any
    status: int = 200
    etag: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """Properties of a server that do not depend on its chain."""

    version: str
    #: Served at ``/v2/info`` as by a node; None: no node behind this API.
    network_id: int | None
    features: Features
    shape: Shape
    #: Symbol and decimals of each token contract that the node behind this API answers for.
    tokens: Mapping[str, tuple[str, int]]


#: View, path parameters, query, server -> answer.
Route = Callable[[View, Mapping[str, str], Mapping[str, str], Server], Answer]


def status(view: View, path: Mapping[str, str], query: Mapping[str, str], server: Server) -> Answer:
    """``/extended``."""
    tip = view.tip.header
    chain_tip = {
        "block_height": tip.height,
        "block_hash": tip.block_hash,
        "index_block_hash": tip.hash,
        "burn_block_height": tip.burn_height,
    }
    version = f"stacks-blockchain-api {server.version}"
    return Answer(body={"server_version": version, "status": "ready", "chain_tip": chain_tip}, etag=tip.hash)


def info(view: View, path: Mapping[str, str], query: Mapping[str, str], server: Server) -> Answer:
    """``/v2/info``: the node's own, or the proxy's error when there is no node."""
    if server.network_id is None:
        body = error(500, "Internal Server Error", "connect ECONNREFUSED 127.0.0.1:20443")
        return Answer(status=500, body={**body, "code": "FST_REPLY_FROM_INTERNAL_SERVER_ERROR"})
    tip = view.tip.header
    body = {
        "peer_version": 402653194,
        "network_id": server.network_id,
        "parent_network_id": 3652501241 if server.network_id == 1 else 118034699,
        "burn_block_height": tip.burn_height,
        "stacks_tip_height": tip.height,
        "stacks_tip": tip.block_hash.removeprefix("0x"),
        "server_version": "stacks-node 4.0.2",
    }
    return Answer(body=body)


# Blocks.


def blocks(view: View, path: Mapping[str, str], query: Mapping[str, str], server: Server) -> Answer:
    """``/extended/v2/blocks``: cursor = index hash; here ``prev_cursor`` is older, ``next_cursor`` newer."""
    limit = integer(query, "limit", default=20, low=1, high=30)
    offset = integer(query, "offset", default=0, low=-300, high=300)
    cursor = query.get("cursor")
    tip = view.tip.header
    start = tip.height
    if cursor is not None:
        block = view.find(cursor)
        if block is None or block.header.hash != cursor:
            return Answer(status=404, body=error(404, "Not Found", "Cursor not found"), etag=tip.hash)
        start = block.header.height
    # An offset beyond either end finds nothing, and then the total is 0 too.
    found = view.blocks(start - offset, limit) if view.at(start - offset) else []
    older = view.at(found[-1].header.height - 1) if found else None
    newer = view.at(found[0].header.height + limit) if found else None
    body = {
        "limit": limit,
        "offset": offset,
        "total": view.block_count if found else 0,
        "next_cursor": newer and newer.header.hash,
        "prev_cursor": older and older.header.hash,
        "cursor": found[0].header.hash if found else None,
        "results": [render.block(block) for block in found],
    }
    return Answer(body=body, etag=tip.hash)


def block(view: View, path: Mapping[str, str], query: Mapping[str, str], server: Server) -> Answer:
    """``/extended/v2/blocks/{height|hash|index hash|latest}``."""
    found = find_block(view, path["ref"])
    if isinstance(found, Answer):
        return found
    return Answer(body=render.block(found), etag=f"{found.header.hash}:true")


def burn_block_blocks(
    view: View, path: Mapping[str, str], query: Mapping[str, str], server: Server
) -> Answer:
    """``/extended/v2/burn-blocks/{height|hash|latest}/blocks``."""
    limit = integer(query, "limit", default=20, low=1, high=30)
    offset = integer(query, "offset", default=0, low=0, high=None)
    ref: int | str = path["ref"]
    if ref == "latest":
        ref = view.tip.header.burn_height
    elif isinstance(ref, str) and ref.isdecimal():
        ref = int(ref)
    found = view.burn_blocks(ref)
    if not found:
        return Answer(status=404, body=error(404, "Not Found", "Burn block not found"))
    shown = [render.block(block) for block in found[offset : offset + limit]]
    body = {"limit": limit, "offset": offset, "total": len(found), "results": shown}
    return Answer(body=body, etag=view.tip.header.hash)


# Transactions.


def transactions(view: View, path: Mapping[str, str], query: Mapping[str, str], server: Server) -> Answer:
    """``/extended/v3/transactions``: ``cursor.next`` is older; ``H:0:0`` begins at the end of block H."""
    limit = integer(query, "limit", default=20, low=1, high=50)
    top = view.tx_count - 1
    return Answer(body=_page(view, query, server, limit=limit, top=top, bottom=0), etag=view.tip.header.hash)


def block_transactions(
    view: View, path: Mapping[str, str], query: Mapping[str, str], server: Server
) -> Answer:
    """``/extended/v3/blocks/{ref}/transactions``. By height it silently serves the canonical block."""
    limit = integer(query, "limit", default=20, low=1, high=50)
    text(query, "cursor", _TX_CURSOR)
    found = find_block(view, path["ref"])
    if isinstance(found, Answer):
        return found
    start, end = view.bounds(found)
    page = _page(view, query, server, limit=limit, top=end - 1, bottom=start)
    return Answer(body=page, etag=f"{found.header.hash}:true")


def transaction(view: View, path: Mapping[str, str], query: Mapping[str, str], server: Server) -> Answer:
    """``/extended/v3/transactions/{tx_id}``: mined or pending; dropped: 404 with an ETag; without 0x: 500."""
    tx_id = tx_id_of(path)
    etag = tx_etag(view, "0x" + tx_id.removeprefix("0x"))
    if not tx_id.startswith("0x"):
        message = "String value for bytea column does not have 0x prefix"
        return Answer(status=500, body=error(500, "Internal Server Error", message), etag=etag)
    include = frozenset(query.get("include", "").split(","))
    place = view.place(tx_id)
    if place is not None:
        return Answer(body=render.transaction(*place, include, server.features), etag=etag)
    entry = view.pooled(tx_id)
    if entry is None or entry.status != PENDING:
        return Answer(status=404, body=error(404, "Not Found", "Transaction not found"), etag=etag)
    return Answer(body=render.pending_transaction(entry, include), etag=etag)


def transaction_events(
    view: View, path: Mapping[str, str], query: Mapping[str, str], server: Server
) -> Answer:
    """``/extended/v3/transactions/{tx_id}/events``: ascending; 400 for a transaction that is not mined."""
    limit = integer(query, "limit", default=20, low=1, high=100)
    start = int(text(query, "cursor", "^[0-9]+$") or 0)
    tx_id = tx_id_of(path)
    place, etag = view.place(tx_id), tx_etag(view, tx_id)
    if place is None:
        return Answer(status=400, body=error(400, "Bad Request", "Transaction not found"), etag=etag)
    listed = place[0].txs[place[1]].events
    shown = listed[start : start + limit]
    cursor = {
        "next": str(start + limit) if start + limit < len(listed) else None,
        "previous": str(max(0, start - limit)) if start else None,
        "current": str(start) if shown else None,
    }
    results = [render.event(event, start + index) for index, event in enumerate(shown)]
    return Answer(
        body={"total": len(listed), "limit": limit, "cursor": cursor, "results": results}, etag=etag
    )


def tx_multiple(view: View, path: Mapping[str, str], query: Mapping[str, str], server: Server) -> Answer:
    """``/extended/v1/tx/multiple``: mined first, then pending and dropped, then the unknown."""
    limit = integer(query, "event_limit", default=20, low=0, high=100)
    offset = integer(query, "event_offset", default=0, low=0, high=None)
    if "tx_id" not in query:
        raise ValidationFailed("querystring must have required property 'tx_id'")
    args = query.get("exclude_function_args") != "true"
    etag = view.mempool_stamp
    tx_ids = query["tx_id"].split(",")
    if not all(tx_id.startswith("0x") for tx_id in tx_ids):
        message = 'Hex string is missing the "0x" prefix'
        return Answer(status=400, body=error(400, "Bad Request", message), etag=etag)
    window = range(offset, offset + limit)
    mined: dict[str, Any] = {}
    pooled: dict[str, Any] = {}
    unknown: dict[str, Any] = {}
    for tx_id in tx_ids:
        place, entry = view.place(tx_id), view.pooled(tx_id)
        if place is not None:
            mined[tx_id] = {"found": True, "result": render.transaction_v1(*place, window, args=args)}
        elif entry is not None:
            pooled[tx_id] = {"found": True, "result": render.pending_v1(entry, args=args)}
        else:
            unknown[tx_id] = {"found": False, "result": {"tx_id": tx_id}}
    return Answer(body={**mined, **pooled, **unknown}, etag=etag)


def transaction_v1(view: View, path: Mapping[str, str], query: Mapping[str, str], server: Server) -> Answer:
    """``/extended/v1/tx/{tx_id}``: deprecated; also shows dropped transactions."""
    limit = integer(query, "event_limit", default=96, low=0, high=100)
    offset = integer(query, "event_offset", default=0, low=0, high=None)
    tx_id = "0x" + tx_id_of(path).removeprefix("0x")
    place, entry, etag = view.place(tx_id), view.pooled(tx_id), tx_etag(view, tx_id)
    args = query.get("exclude_function_args") != "true"
    if place is not None:
        shown = render.transaction_v1(*place, range(offset, offset + limit), args=args)
    elif entry is not None:
        shown = render.pending_v1(entry, args=args)
    else:
        message = f"could not find transaction by ID {tx_id}"
        return Answer(status=404, body=error(404, "Not Found", message))
    return Answer(body=shown, etag=etag)


def mempool(view: View, path: Mapping[str, str], query: Mapping[str, str], server: Server) -> Answer:
    """``/extended/v3/mempool/transactions``: newest first, cursor ``receipt_time:tx_id``."""
    limit = integer(query, "limit", default=20, low=1, high=50)
    cursor = text(query, "cursor", _MEMPOOL_CURSOR)
    listed = view.pending()
    keys = [(entry.receipt_time, entry.tx.tx_id) for entry in listed]
    start = 0
    if cursor is not None:
        received, _, tx_id = cursor.partition(":")
        start = sum(1 for key in keys if key > (int(received), tx_id))
    names = [f"{received}:{tx_id}" for received, tx_id in keys]
    page = {
        "next": names[start + limit] if start + limit < len(names) else None,
        "previous": names[max(0, start - limit)] if start and names else None,
        "current": names[start] if start < len(names) else None,
    }
    results = [render.pending_summary(entry) for entry in listed[start : start + limit]]
    body = {"total": len(listed), "limit": limit, "cursor": page, "results": results}
    return Answer(body=body, etag=view.mempool_stamp)


# Contract logs.


def contract_logs(view: View, path: Mapping[str, str], query: Mapping[str, str], server: Server) -> Answer:
    """``/extended/v2/smart-contracts/{id}/logs``: newest first; cursors are positions and survive reorgs."""
    limit = integer(query, "limit", default=20, low=1, high=100)
    offset = integer(query, "offset", default=0, low=-1000, high=1000)
    cursor = text(query, "cursor", _LOG_CURSOR)
    rows = [
        ((source.header.height, NO_MICROBLOCK, index, rank), source.txs[index], rank)
        for source, index in view.rows(view.tx_count - 1, view.tx_count)
        for rank in reversed(range(len(source.txs[index].events)))
        if (event := source.txs[index].events[rank]).kind == ev.LOG
        and event.contract_id == path["contract_id"]
    ]
    keys = [key for key, _, _ in rows]
    start = offset
    if cursor is not None:
        at = tuple(int(part) for part in cursor.split(":"))
        start += sum(1 for key in keys if key > at)
    page = rows[start : start + limit] if start >= 0 else []

    def name(row: int) -> str | None:
        return ":".join(map(str, keys[row])) if page and 0 <= row < len(keys) else None

    body = {
        "limit": limit,
        "offset": offset,
        "total": len(rows) if page else 0,
        "next_cursor": name(start - limit),
        "prev_cursor": name(start + limit),
        "cursor": name(start),
        "results": [render.event_v1(tx, rank) for _, tx, rank in page],
    }
    return Answer(body=body, etag=view.tip.header.hash)


def call_read(view: View, path: Mapping[str, str], query: Mapping[str, str], server: Server) -> Answer:
    """``/v2/contracts/call-read/{address}/{name}/{function}``, of a token contract."""
    if server.network_id is None:
        body = error(500, "Internal Server Error", "connect ECONNREFUSED 127.0.0.1:20443")
        return Answer(status=500, body={**body, "code": "FST_REPLY_FROM_INTERNAL_SERVER_ERROR"})
    token = server.tokens.get(f"{path['address']}.{path['name']}")
    if token is None:
        return Answer(body={"okay": False, "cause": "Unchecked(NoSuchContract)"})
    symbol, decimals = token
    values: dict[str, Value] = {"get-symbol": StringAscii(symbol), "get-decimals": UInt(decimals)}
    if path["function"] not in values:
        return Answer(body={"okay": False, "cause": "Unchecked(UndefinedFunction)"})
    return Answer(body={"okay": True, "result": f"0x{encode(Ok(values[path['function']])).hex()}"})


#: Route name -> path and function. Faults, hooks and the request log use the names.
ROUTES: dict[str, tuple[str, Route]] = {
    "status": ("/extended", status),
    "blocks": ("/extended/v2/blocks", blocks),
    "block": ("/extended/v2/blocks/{ref}", block),
    "burn_block_blocks": ("/extended/v2/burn-blocks/{ref}/blocks", burn_block_blocks),
    "transactions": ("/extended/v3/transactions", transactions),
    "block_transactions": ("/extended/v3/blocks/{ref}/transactions", block_transactions),
    "transaction": ("/extended/v3/transactions/{tx_id}", transaction),
    "transaction_events": ("/extended/v3/transactions/{tx_id}/events", transaction_events),
    "tx_multiple": ("/extended/v1/tx/multiple", tx_multiple),
    "transaction_v1": ("/extended/v1/tx/{tx_id}", transaction_v1),
    "mempool": ("/extended/v3/mempool/transactions", mempool),
    "contract_logs": ("/extended/v2/smart-contracts/{contract_id}/logs", contract_logs),
    "info": ("/v2/info", info),
    "call_read": ("/v2/contracts/call-read/{address}/{name}/{function}", call_read),
}


def not_found(method: str, path: str) -> Answer:
    """Any other path."""
    message = f"Route {method}:{path} not found"
    return Answer(status=404, body=error(404, "Not Found", message))


def error(code: int, name: str, message: str) -> dict[str, Any]:
    """Return the body of an error answer."""
    return {"statusCode": code, "error": name, "message": message}


def find_block(view: View, ref: str) -> ScriptedBlock | Answer:
    """Return the block, or the 404; only an orphan's *index* hash gets an ETag."""
    if ref == "latest":
        return view.tip
    if not ref.isdecimal() and not _HASH.fullmatch(ref):
        raise ValidationFailed("params/height_or_hash must match a schema in anyOf")
    found = view.at(int(ref)) if ref.isdecimal() else view.find(ref)
    if found is not None:
        return found
    etag = f"{ref}:false" if view.is_orphan(ref) else None
    return Answer(status=404, body=error(404, "Not Found", "Block not found"), etag=etag)


def _page(view: View, query: Mapping[str, str], server: Server, *, limit: int, top: int, bottom: int) -> Any:
    """Return a v3 list of transactions between two positions, both included."""
    cursor = text(query, "cursor", _TX_CURSOR)
    start = top
    if cursor is not None:
        height, sequence, index = map(int, cursor.split(":"))
        start = min(view.position(height, sequence, index), top)
    rows = view.rows(start, min(limit, start - bottom + 1))

    def name(position: int) -> str | None:
        found = view.rows(position, 1) if bottom <= position <= top else []
        return f"{found[0][0].header.height}:{NO_MICROBLOCK}:{found[0][1]}" if found else None

    page = {
        "next": name(start - limit),
        "previous": name(min(start + limit, top)) if start < top else None,
        "current": name(start),
    }
    results = [render.summary(*row, server.features) for row in rows]
    return {"total": top - bottom + 1, "limit": limit, "cursor": page, "results": results}


def tx_id_of(path: Mapping[str, str]) -> str:
    """Return the transaction id of a path, in lower case."""
    tx_id = path["tx_id"]
    if not _TX_ID.fullmatch(tx_id):
        raise ValidationFailed('params/tx_id must match pattern "^(0x)?[a-fA-F0-9]{64}$"')
    return tx_id.lower()


#: Statuses as the server numbers them for ETags.
_STATUS_NUMBERS = {
    "success": 1,
    "pending": 0,
    "abort_by_response": -1,
    "abort_by_post_condition": -2,
    "problematic_skipped": -3,
    "dropped_replace_by_fee": -10,
    "dropped_replace_across_fork": -11,
    "dropped_too_expensive": -12,
    "dropped_stale_garbage_collect": -13,
    "dropped_problematic": -14,
}


def tx_etag(view: View, tx_id: str) -> str | None:
    """Return the hash of the transaction's state, as the real server makes it; None for an unknown one."""
    place: Place | None = view.place(tx_id)
    entry = view.pooled(tx_id)
    if place is not None:
        block, status = place[0], place[0].txs[place[1]].status
        state = f"{block.header.hash}:0x:{_STATUS_NUMBERS.get(status, -99)}"
    elif entry is not None:
        state = f"::{_STATUS_NUMBERS.get(entry.status, -99)}"
    else:
        return None
    return hashlib.sha256(f"{tx_id}:{state}".encode()).hexdigest()
