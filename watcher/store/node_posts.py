"""What an own node posted: stored before the node is answered, and only the newest of each kind kept.

Nothing here is a fact: the chain is, and a block that is no longer here is read in another way.
"""

import hashlib
import zlib
from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, delete, func, select, update

from chain.model import BlockHeader
from chain.node.inbox import Added, SetAside, StoredBlock
from notifier.statements import chunks, upsert
from watcher.store.node_schema import node_post

BLOCK: Final = "block"
BURN_BLOCK: Final = "burn_block"
MEMPOOL_TX: Final = "mempool_tx"
UNREADABLE: Final = "unreadable"

#: Rows kept of each kind: six hours of blocks, a day of Bitcoin.
ROWS_KEPT: Final = {BLOCK: 3000, BURN_BLOCK: 144, MEMPOOL_TX: 5000, UNREADABLE: 50}
#: Bytes of blocks kept, compressed. A block's body of 100 KB takes about 20 KB.
BLOCK_BYTES_KEPT: Final = 256 * 2**20
#: Bytes are counted after so many blocks, and after each block that is larger than its share of them.
_COUNT_EVERY: Final = 100

CONTRADICTED: Final = "a block whose post another post or the node's RPC contradicts"

#: Least compression, because the node waits.
_LEVEL: Final = 1


def add_block(
    connection: Connection, *, header: BlockHeader, tx_ids: Sequence[str], body: bytes, now: int
) -> Added:
    """Store a block's body, unless one is stored; its transactions are pending no more."""
    drop_pending(connection, tx_ids)
    digest = hashlib.sha256(body).hexdigest()
    packed = zlib.compress(body, _LEVEL)
    place = {"parent_hash": header.parent_hash, "height": header.height}
    number = _add(connection, BLOCK, header.hash, digest, packed, now, **place)
    if number is not None:
        _prune(connection, BLOCK, number)
        if number % _COUNT_EVERY == 0 or len(packed) > BLOCK_BYTES_KEPT // ROWS_KEPT[BLOCK]:
            _prune_bytes(connection)
        return Added.NEW
    known = connection.execute(select(node_post.c.digest, node_post.c.problem).where(_row(header.hash))).one()
    return Added.KNOWN if known.digest == digest or known.problem is not None else Added.DIFFERENT


def contradict(connection: Connection, block_hash: str) -> None:
    """Note that what was posted of a block is not believed."""
    connection.execute(update(node_post).where(_row(block_hash)).values(problem=CONTRADICTED))


def add_burn_block(connection: Connection, *, block_hash: str, height: int, now: int) -> bool:
    """Store a Bitcoin block; return whether it is new, and another one of its height was stored before."""
    number = _add(connection, BURN_BLOCK, block_hash, "", b"", now, height=height)
    if number is None:
        return False
    _prune(connection, BURN_BLOCK, number)
    other = (node_post.c.kind == BURN_BLOCK) & (node_post.c.height == height) & (node_post.c.id != number)
    return connection.execute(select(node_post.c.id).where(other).limit(1)).first() is not None


def add_pending(connection: Connection, transactions: Sequence[tuple[str, bytes]], *, now: int) -> None:
    """Store pending transactions; of a long list only those that are kept."""
    numbers = [
        _add(connection, MEMPOOL_TX, tx_id, hashlib.sha256(raw).hexdigest(), raw, now)
        for tx_id, raw in transactions[-ROWS_KEPT[MEMPOOL_TX] :]
    ]
    if new := [number for number in numbers if number is not None]:
        _prune(connection, MEMPOOL_TX, new[-1])


def drop_pending(connection: Connection, tx_ids: Sequence[str]) -> None:
    """Delete pending transactions."""
    for batch in chunks(sorted(set(tx_ids))):
        connection.execute(
            delete(node_post).where(node_post.c.kind == MEMPOOL_TX, node_post.c.key.in_(batch))
        )


def set_aside(connection: Connection, *, path: str, body: bytes, reason: str, now: int) -> None:
    """Store a post that cannot be read, with the reason."""
    digest = hashlib.sha256(path.encode("utf-8", "replace") + b"\n" + body).hexdigest()
    number = _add(
        connection,
        UNREADABLE,
        digest,
        digest,
        zlib.compress(body, _LEVEL),
        now,
        problem=f"{path[:100]}: {reason[:1000]}",
    )
    if number is not None:
        _prune(connection, UNREADABLE, number)


def blocks_after(connection: Connection, number: int) -> list[StoredBlock]:
    """Return the blocks with a larger number, oldest first."""
    columns = (node_post.c.id, node_post.c.key, node_post.c.parent_hash, node_post.c.height)
    query = select(*columns).where(node_post.c.kind == BLOCK, node_post.c.id > number)
    return [
        StoredBlock(
            number=row.id,
            hash=row.key,
            parent_hash=row.parent_hash,
            height=row.height,
        )
        for row in connection.execute(query.order_by(node_post.c.id))
    ]


def body(connection: Connection, block_hash: str) -> bytes | None:
    """Return a block's body; None when it is not stored, or was contradicted."""
    query = select(node_post.c.body).where(_row(block_hash), node_post.c.problem.is_(None))
    packed = connection.execute(query).scalar_one_or_none()
    return None if packed is None else zlib.decompress(packed)


def pending(connection: Connection) -> list[tuple[str, bytes]]:
    """Return the pending transactions, newest first."""
    query = select(node_post.c.key, node_post.c.body).where(node_post.c.kind == MEMPOOL_TX)
    return [(row.key, row.body) for row in connection.execute(query.order_by(node_post.c.id.desc()))]


def newest(connection: Connection) -> tuple[int, int] | None:
    """Return the height of the block that was stored last, and when (unix s); None without any."""
    query = select(node_post.c.height, node_post.c.received_at).where(node_post.c.kind == BLOCK)
    row = connection.execute(query.order_by(node_post.c.id.desc()).limit(1)).first()
    return None if row is None else (row.height, row.received_at)


def put_aside(connection: Connection) -> SetAside | None:
    """Return the number of posts that are not used, and the reason and time of the newest."""
    unreadable = node_post.c.problem.is_not(None)
    newest = connection.execute(
        select(node_post.c.problem, node_post.c.received_at)
        .where(unreadable)
        .order_by(node_post.c.id.desc())
        .limit(1)
    ).first()
    if newest is None:
        return None
    count = connection.execute(select(func.count()).where(unreadable)).scalar_one()
    return SetAside(count=count, reason=newest.problem, at=newest.received_at)


def _row(block_hash: str) -> ColumnElement[bool]:
    return (node_post.c.kind == BLOCK) & (node_post.c.key == block_hash)


def _add(
    connection: Connection, kind: str, key: str, digest: str, packed: bytes, now: int, **values: Any
) -> int | None:
    """Insert a row unless its key is known; return its number, None for a known one."""
    statement = upsert(connection, node_post).values(
        kind=kind, key=key, digest=digest, body=packed, size=len(packed), received_at=now, **values
    )
    statement = statement.on_conflict_do_nothing(index_elements=[node_post.c.kind, node_post.c.key])
    row = connection.execute(statement.returning(node_post.c.id)).first()
    return None if row is None else int(row[0])


def _prune(connection: Connection, kind: str, newest: int) -> None:
    """Delete the rows of a kind beyond those to keep."""
    if newest <= ROWS_KEPT[kind]:
        return
    last = connection.execute(
        select(node_post.c.id)
        .where(node_post.c.kind == kind)
        .order_by(node_post.c.id.desc())
        .offset(ROWS_KEPT[kind])
        .limit(1)
    ).scalar_one_or_none()
    if last is not None:
        connection.execute(delete(node_post).where(node_post.c.kind == kind, node_post.c.id <= last))


def _prune_bytes(connection: Connection) -> None:
    """Delete the oldest blocks beyond the bytes to keep."""
    left = BLOCK_BYTES_KEPT
    query = select(node_post.c.id, node_post.c.size).where(node_post.c.kind == BLOCK)
    for row in connection.execute(query.order_by(node_post.c.id.desc())):
        left -= row.size
        if left < 0:
            connection.execute(delete(node_post).where(node_post.c.kind == BLOCK, node_post.c.id <= row.id))
            return
