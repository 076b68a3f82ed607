"""REST routes that came with API 9.1 to 9.7: pure functions from view and request to an answer.

Their fields are those of the release notes and drafts; ``Shape`` has what those leave open.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping

from chain.model import BlockHeader
from chain.testing import events as ev
from chain.testing import render
from chain.testing.canonical import Place, ScriptedBlock
from chain.testing.events import Event
from chain.testing.render import Json, iso_time
from chain.testing.routes import Answer, Route, Server, error, find_block
from chain.testing.schema import ValidationFailed, integer, text
from chain.testing.versions import Features
from chain.testing.view import NO_MICROBLOCK, View

_MAX_BATCH = 20
_ID = re.compile(r"0x[0-9a-fA-F]{64}")
_ASSET = re.compile(r"[0-9A-Z]{28,41}\.[a-zA-Z][a-zA-Z0-9_-]{0,39}::[a-zA-Z][a-zA-Z0-9_-]{0,127}")
_TRANSFER_CURSOR = "^[0-9]+:[0-9]+:[0-9]+:[0-9]+$"

#: Height, sequence, index of the transaction, index of the event.
_Key = tuple[int, int, int, int]


# Blocks.


def blocks(view: View, path: Mapping[str, str], query: Mapping[str, str], server: Server) -> Answer:
    """``/extended/v3/blocks``: newest first; ``cursor.next`` is older and names that page's first row."""
    limit = integer(query, "limit", default=20, low=1, high=server.shape.max_limit)
    tip = view.tip.header
    start: int | None = tip.height
    if (cursor := query.get("cursor")) is not None:
        start = _height_of(view, cursor, server)
    found = [] if start is None else view.blocks(min(start, tip.height), limit)
    older = view.at(found[-1].header.height - 1) if found else None
    newer = view.at(min(found[0].header.height + limit, tip.height)) if found else None
    page = {
        "next": older and _cursor(older, server),
        "previous": newer and _cursor(newer, server) if newer not in found[:1] else None,
        "current": _cursor(found[0], server) if found else None,
    }
    results = [_block(block, server, parent=server.shape.parent_in_list) for block in found]
    return Answer(
        body={"total": view.block_count, "limit": limit, "cursor": page, "results": results}, etag=tip.hash
    )


def block(view: View, path: Mapping[str, str], query: Mapping[str, str], server: Server) -> Answer:
    """``/extended/v3/blocks/{height|hash|index hash|latest}``."""
    found = find_block(view, path["ref"])
    if isinstance(found, Answer):
        return found
    body = _block(found, server, parent=server.shape.parent_in_block)
    body |= {"size": 1000, "execution_cost": {"read_count": 10, "runtime": 5000}}
    return Answer(body=body, etag=f"{found.header.hash}:true")


def bitcoin_blocks(view: View, path: Mapping[str, str], query: Mapping[str, str], server: Server) -> Answer:
    """``/extended/v3/bitcoin-blocks``: those that have a Stacks block, newest first, by height."""
    limit = integer(query, "limit", default=20, low=1, high=server.shape.max_limit)
    below_tip = view.blocks(view.tip.header.height, view.block_count)
    anchors = sorted({block.header.burn_height for block in below_tip})
    start = integer(query, "cursor", default=anchors[-1], low=0, high=None)
    listed = [height for height in reversed(anchors) if height <= start]
    page = {
        "next": str(listed[limit]) if limit < len(listed) else None,
        "previous": None,
        "current": str(listed[0]) if listed else None,
    }
    results = [_bitcoin_block(view.burn_blocks(height), server) for height in listed[:limit]]
    body = {"total": len(anchors), "limit": limit, "cursor": page, "results": results}
    return Answer(body=body, etag=view.tip.header.hash)


def bitcoin_block(view: View, path: Mapping[str, str], query: Mapping[str, str], server: Server) -> Answer:
    """``/extended/v3/bitcoin-blocks/{height|hash|latest}``."""
    found = _stacks_blocks(view, path["ref"])
    if not found:
        return _no_bitcoin_block()
    return Answer(body=_bitcoin_block(found, server), etag=view.tip.header.hash)


def bitcoin_block_blocks(
    view: View, path: Mapping[str, str], query: Mapping[str, str], server: Server
) -> Answer:
    """``/extended/v3/bitcoin-blocks/{height|hash|latest}/blocks``: one page, newest first."""
    limit = integer(query, "limit", default=20, low=1, high=server.shape.max_limit)
    found = _stacks_blocks(view, path["ref"])
    if not found:
        return _no_bitcoin_block()
    results = [_block(block, server, parent=server.shape.parent_in_list) for block in found[:limit]]
    page = {"next": None, "previous": None, "current": _cursor(found[0], server)}
    return Answer(
        body={"total": len(found), "limit": limit, "cursor": page, "results": results},
        etag=view.tip.header.hash,
    )


# Transactions.


def transactions_batch(
    view: View, path: Mapping[str, str], query: Mapping[str, str], server: Server
) -> Answer:
    """``/extended/v3/transactions/batch``: newest first, not in the order asked for; unknown ones absent."""
    ids = query.get("tx_id", "").split(",")
    if not 1 <= len(ids) <= _MAX_BATCH or len(set(ids)) < len(ids) or not all(map(_ID.fullmatch, ids)):
        raise ValidationFailed(f"querystring/tx_id must hold 1 to {_MAX_BATCH} different ids")
    places = [place for tx_id in ids if (place := view.place(tx_id.lower())) is not None]
    places.sort(key=lambda place: (place[0].header.height, place[1]), reverse=True)
    results = [render.summary(*place, server.features) for place in places]
    return Answer(body={"results": results}, etag=view.tip.header.hash)


# Transfers of a principal.


def ft_transfers(view: View, path: Mapping[str, str], query: Mapping[str, str], server: Server) -> Answer:
    """``/extended/v3/principals/{p}/transfers/ft/{asset}``: in, out, mint and burn; one row per event."""
    principal, asset = path["principal"], path["asset"]
    if not _ASSET.fullmatch(asset):
        raise ValidationFailed("params/asset_identifier must match a schema")

    def wanted(event: Event) -> bool:
        return event.kind == ev.FT and event.asset == asset and principal in (event.sender, event.recipient)

    return _transfers(view, principal, query, server, [row for row in _events(view) if wanted(row[2])])


def stx_inbound(view: View, path: Mapping[str, str], query: Mapping[str, str], server: Server) -> Answer:
    """``/extended/v3/principals/{p}/transfers/stx/inbound``: with memos."""
    principal = path["principal"]

    def wanted(event: Event) -> bool:
        return event.kind == ev.STX and event.action != "burn" and event.recipient == principal

    return _transfers(view, principal, query, server, [row for row in _events(view) if wanted(row[2])])


_Row = tuple[_Key, Place, Event]


def _events(view: View) -> Iterator[_Row]:
    """All events of the canonical chain, newest first."""
    for source, index in view.rows(view.tx_count - 1, view.tx_count):
        for rank in reversed(range(len(source.txs[index].events))):
            key = (source.header.height, NO_MICROBLOCK, index, rank)
            yield key, (source, index), source.txs[index].events[rank]


def _transfers(
    view: View, principal: str, query: Mapping[str, str], server: Server, rows: list[_Row]
) -> Answer:
    limit = integer(query, "limit", default=20, low=1, high=50)
    cursor = text(query, "cursor", _TRANSFER_CURSOR)
    keys = [key for key, _, _ in rows]
    start = 0
    if cursor is not None:
        height, *rest = map(int, cursor.split(":"))
        # All zero: the end of that block.
        at = (height, *rest) if any(rest) else (height + 1, 0, 0, 0)
        start = sum(1 for key in keys if key > at)

    def name(row: int) -> str | None:
        return ":".join(map(str, keys[row])) if 0 <= row < len(keys) else None

    page = {
        "next": name(start + limit),
        "previous": name(max(0, start - limit)) if start else None,
        "current": name(start),
    }
    results = [_transfer(*row, server.features) for row in rows[start : start + limit]]
    # As of 9.0: the newest transaction's id alone, which misses a block that holds the same one.
    newest = rows[0][1][0].txs[rows[0][1][1]].tx_id if rows else ""
    return Answer(
        body={"total": len(rows), "limit": limit, "cursor": page, "results": results},
        etag=hashlib.sha256(f"{principal} {newest}".encode()).hexdigest(),
    )


def _transfer(key: _Key, place: Place, event: Event, features: Features) -> Json:
    source, index = place
    header = source.header
    shown: Json = {
        "sender": event.sender,
        "recipient": event.recipient,
        "amount": str(event.amount),
        "transaction": {"tx_id": source.txs[index].tx_id, "event_index": key[3]},
        "block": {
            "height": header.height,
            "hash": header.block_hash,
            "index_hash": header.hash,
            "time": header.time,
            **iso_time(header.time, features),
            "tx_index": index,
        },
    }
    if event.kind == ev.STX:
        shown["memo"] = None if event.memo is None else render.memo_json(event.memo)
    return shown


# Parts.


def _height_of(view: View, cursor: str, server: Server) -> int | None:
    """Return the height that a cursor of the block list names; None if it is gone."""
    if server.shape.cursor == "height":
        if not cursor.isdecimal():
            raise ValidationFailed('querystring/cursor must match pattern "^[0-9]+$"')
        return int(cursor)
    if server.shape.cursor == "opaque":
        cursor = cursor.removeprefix("c-")[::-1]
    found = view.find(cursor)
    return None if found is None else found.header.height


def _cursor(source: ScriptedBlock, server: Server) -> str:
    header = source.header
    match server.shape.cursor:
        case "height":
            return str(header.height)
        case "hash":
            return header.hash
        case _:
            return f"c-{header.hash[::-1]}"


def _block(source: ScriptedBlock, server: Server, *, parent: bool) -> Json:
    header = source.header
    if server.shape.old_names:
        shown = render.block(source)
        if not parent:
            del shown["parent_block_hash"], shown["parent_index_block_hash"]
        return shown
    shown = {
        "height": header.height,
        "hash": header.block_hash,
        "index_hash": header.hash,
        "time": header.time,
        **iso_time(header.time, server.features),
        "tenure_height": source.tenure_height,
        "tx_count": header.tx_count,
        "bitcoin_block": _anchor(header, server),
    }
    if parent:
        shown["parent_block"] = {"hash": source.parent_block_hash, "index_hash": header.parent_hash}
    return shown


def _anchor(header: BlockHeader, server: Server) -> Json:
    return {
        "height": header.burn_height,
        **({"hash": header.burn_hash} if server.shape.bitcoin_hash else {}),
        "time": header.burn_time,
        **iso_time(header.burn_time, server.features),
    }


def _bitcoin_block(found: list[ScriptedBlock], server: Server) -> Json:
    header = found[0].header
    return {
        "height": header.burn_height,
        "hash": header.burn_hash,
        "time": header.burn_time,
        **iso_time(header.burn_time, server.features),
        "block_count": len(found),
        "tx_count": sum(block.header.tx_count for block in found),
    }


def _stacks_blocks(view: View, ref: str) -> list[ScriptedBlock]:
    if ref == "latest":
        return view.burn_blocks(view.tip.header.burn_height)
    return view.burn_blocks(int(ref) if ref.isdecimal() else ref)


def _no_bitcoin_block() -> Answer:
    return Answer(status=404, body=error(404, "Not Found", "Bitcoin block not found"))


#: Route name -> path and function, see ``routes.ROUTES``.
ROUTES_V3: dict[str, tuple[str, Route]] = {
    "blocks_v3": ("/extended/v3/blocks", blocks),
    "block_v3": ("/extended/v3/blocks/{ref}", block),
    "bitcoin_blocks": ("/extended/v3/bitcoin-blocks", bitcoin_blocks),
    "bitcoin_block": ("/extended/v3/bitcoin-blocks/{ref}", bitcoin_block),
    "bitcoin_block_blocks": ("/extended/v3/bitcoin-blocks/{ref}/blocks", bitcoin_block_blocks),
    "transactions_batch": ("/extended/v3/transactions/batch", transactions_batch),
    "ft_transfers": ("/extended/v3/principals/{principal}/transfers/ft/{asset}", ft_transfers),
    "stx_inbound": ("/extended/v3/principals/{principal}/transfers/stx/inbound", stx_inbound),
}
