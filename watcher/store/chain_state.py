"""Headers, the cursor and reorgs in the database. Every function works on an open connection."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select, update

from chain.api.dates import agreed
from chain.model import BlockHeader
from notifier.records import RecordColumns
from notifier.statements import chunks, upsert
from watcher.domain.model import ChainClock
from watcher.store.schema import block, cursor, reorg

#: Advisory lock key: any number that is unique in the database.
_BEGINNING_LOCK_KEY = 8_420_003


@dataclass(frozen=True, slots=True, kw_only=True)
class Halt:
    """Why the indexer does not move on, for the operator: it cannot know what is true."""

    #: A short stable name, e.g. ``reorg_too_deep``.
    code: str
    message: str
    hint: str


#: Seconds without an answer from any source after which the lag is unknown.
SILENT_AFTER_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    """Where the indexer is: the newest applied canonical block, and the newest that a source reported."""

    network: str
    clock: ChainClock
    #: The newest chain time applied, orphaned blocks included; limited by
    #: :data:`watcher.indexer.ledger.MAX_TIME_AHEAD_SECONDS`.
    newest_time: int
    start_height: int
    tip_height: int
    tip_time: int
    #: {code, message, hint, since}; None while the indexer moves.
    halted: dict[str, Any] | None
    sources: list[dict[str, Any]] | None
    looked_at: int | None
    moved_at: int

    @property
    def unanswered_seconds(self) -> float | None:
        """Seconds since the last answer of any source when the last poll ended; None if unknown."""
        known = [row.get("answered_seconds") for row in self.sources or []]
        return min((seconds for seconds in known if seconds is not None), default=None)

    @property
    def clock_skew(self) -> float | None:
        """Seconds by which our clock was ahead of the sources' at the last poll; None if unknown."""
        return agreed(row.get("clock_skew") for row in self.sources or [])

    @property
    def lag_blocks(self) -> int | None:
        """Blocks between the newest that a source reported and the newest applied.

        None when there seem to be none, but no source has answered for :data:`SILENT_AFTER_SECONDS`.
        """
        behind = max(0, self.tip_height - self.clock.height)
        silent = self.unanswered_seconds
        return None if behind == 0 and silent is not None and silent > SILENT_AFTER_SECONDS else behind

    @property
    def newest(self) -> int:
        """The chain time as of which facts are orphaned: never older than a success that was sent before."""
        return max(self.newest_time, self.clock.time)

    @property
    def header(self) -> BlockHeader:
        """The header of the cursor without its parent, for when the stored header is lost."""
        return BlockHeader(
            height=self.clock.height,
            hash=self.clock.hash,
            block_hash="",
            parent_hash="",
            time=self.clock.time,
            burn_height=self.clock.burn_height,
            burn_hash="",
            burn_time=self.clock.time,
            tx_count=0,
        )


_CURSOR_COLUMNS = RecordColumns(Cursor, without=["clock"])
_CLOCK_COLUMNS = RecordColumns(ChainClock)
_HEADER_COLUMNS = RecordColumns(BlockHeader)

_CURSOR = select(cursor).where(cursor.c.id == 1)
_CURSOR_LOCKED = _CURSOR.with_for_update()


def load_cursor(connection: Connection, *, lock: bool = False) -> Cursor | None:
    """Return the cursor, None on a database that has not begun; ``lock`` holds it until the transaction ends.

    On a database that has not begun, ``lock`` also keeps others from beginning, and from locking it.
    """
    query = _CURSOR_LOCKED if lock else _CURSOR
    row = connection.execute(query).mappings().one_or_none()
    if row is None and lock and connection.dialect.name == "postgresql":
        # There is no row to lock yet.
        connection.execute(select(func.pg_advisory_xact_lock(_BEGINNING_LOCK_KEY)))
        row = connection.execute(query).mappings().one_or_none()
    if row is None:
        return None
    return _CURSOR_COLUMNS.read(row, clock=_CLOCK_COLUMNS.read(row))


def begin_cursor(
    connection: Connection, network: str, header: BlockHeader, *, tip: BlockHeader, now: int
) -> None:
    """Write the first cursor: ``header`` is the last block before those that will be read."""
    connection.execute(
        insert(cursor).values(
            id=1,
            network=network,
            start_height=header.height + 1,
            moved_at=now,
            looked_at=now,
            newest_time=header.time,
            **_place(header, tip),
        )
    )


def move_cursor(
    connection: Connection, header: BlockHeader, *, newest_time: int, tip: BlockHeader, now: int
) -> None:
    """Set the cursor to ``header`` and clear a halt: what moves is not halted."""
    place = _place(header, tip) | {"newest_time": newest_time}
    connection.execute(
        update(cursor).where(cursor.c.id == 1).values(moved_at=now, looked_at=now, halted=None, **place)
    )


def record_poll(
    connection: Connection,
    *,
    tip: BlockHeader | None,
    sources: list[dict[str, Any]],
    halt: Halt | None,
    over: bool,
    now: int,
) -> None:
    """Record a poll for ``status``, without moving the cursor.

    An earlier halt is shown until it is ``over``.
    """
    values: dict[str, Any] = {"sources": sources, "looked_at": now}
    if over:
        values["halted"] = None
    if halt is not None:
        before = load_cursor(connection, lock=True)
        since = before.halted["since"] if before is not None and before.halted is not None else now
        values["halted"] = {"code": halt.code, "message": halt.message, "hint": halt.hint, "since": since}
    if tip is not None:
        values |= {"tip_height": tip.height, "tip_time": tip.time}
    connection.execute(update(cursor).where(cursor.c.id == 1).values(**values))


def add_headers(connection: Connection, headers: Iterable[BlockHeader]) -> None:
    """Store headers as canonical; an orphaned one becomes canonical again, as it is described now."""
    rows = [_HEADER_COLUMNS.values(header) | {"canonical": True} for header in headers]
    if rows:
        statement = upsert(connection, block)
        description = {
            column.name: statement.excluded[column.name] for column in block.c if column.name != "hash"
        }
        connection.execute(
            statement.on_conflict_do_update(index_elements=[block.c.hash], set_=description), rows
        )


def canonical_among(connection: Connection, hashes: Sequence[str]) -> BlockHeader | None:
    """Return one of our canonical headers that has one of these hashes, None if there is none."""
    for batch in chunks(hashes):
        query = select(block).where(block.c.hash.in_(batch), block.c.canonical).limit(1)
        row = connection.execute(query).mappings().one_or_none()
        if row is not None:
            return _HEADER_COLUMNS.read(row)
    return None


def restore_headers(connection: Connection, headers: Sequence[BlockHeader]) -> None:
    """Store lost linked headers up to the cursor, oldest first; others at their heights are orphaned."""
    heights = block.c.height.between(headers[0].height, headers[-1].height)
    ours = [header.hash for header in headers]
    kept = connection.execute(select(block.c.hash).where(heights, block.c.canonical)).scalars().all()
    for batch in chunks(sorted({*kept} - {*ours})):
        connection.execute(update(block).where(block.c.hash.in_(batch)).values(canonical=False))
    add_headers(connection, headers)


def canonical_header(connection: Connection, height: int) -> BlockHeader | None:
    """Return our canonical header at a height, None when it is not kept."""
    row = (
        connection.execute(select(block).where(block.c.height == height, block.c.canonical))
        .mappings()
        .one_or_none()
    )
    return _HEADER_COLUMNS.read(row) if row is not None else None


def newest_reorg(connection: Connection) -> int:
    """Return the number of the newest reorg, 0 without any."""
    return connection.execute(select(func.max(reorg.c.id))).scalar_one_or_none() or 0


def has_forked(connection: Connection, height: int, *, since: int) -> bool:
    """Return whether our chain has forked below a height since that reorg."""
    query = select(reorg.c.id).where(reorg.c.id > since, reorg.c.ancestor_height < height)
    return connection.execute(query.limit(1)).first() is not None


def clock_at(header: BlockHeader) -> ChainClock:
    """Return the chain clock with ``header`` as the newest applied block."""
    return ChainClock(
        height=header.height, hash=header.hash, time=header.time, burn_height=header.burn_height
    )


def canonical_hashes(connection: Connection, low: int, high: int) -> dict[int, str]:
    """Return the stored hashes of our canonical blocks from ``low`` to ``high``, by height."""
    query = select(block.c.height, block.c.hash).where(block.c.height.between(low, high), block.c.canonical)
    return {row.height: row.hash for row in connection.execute(query)}


def window_headers(connection: Connection, *, burn_blocks: int) -> tuple[BlockHeader, ...]:
    """Return the unbroken canonical headers up to the cursor that reach ``burn_blocks`` Bitcoin blocks back.

    Oldest first; empty where the cursor's own header is not kept.
    """
    tip = load_cursor(connection)
    if tip is None:
        return ()
    # A subquery: a number would make the planner read the whole table.
    newest = select(cursor.c.burn_height).scalar_subquery()
    found = connection.execute(
        select(block).where(block.c.canonical, block.c.burn_height >= newest - burn_blocks)
    ).mappings()
    # Sorted here: with ORDER BY, SQLite would read all blocks by height.
    rows = sorted(found, key=lambda row: -row["height"])
    headers: list[BlockHeader] = []
    for row in rows:
        header = _HEADER_COLUMNS.read(row)
        if header.hash != (headers[-1].parent_hash if headers else tip.clock.hash):
            break
        headers.append(header)
    return tuple(reversed(headers))


def orphan_headers(connection: Connection, *, above: int) -> int:
    """Mark our canonical headers above a height as orphaned; return how many."""
    return connection.execute(
        update(block).where(block.c.height > above, block.c.canonical).values(canonical=False)
    ).rowcount


def record_reorg(
    connection: Connection,
    *,
    ancestor: BlockHeader,
    old: ChainClock,
    new: BlockHeader,
    orphaned: int,
    now: int,
) -> None:
    """Record a reorg, for ``status`` and for operators."""
    connection.execute(
        insert(reorg).values(
            at=now,
            ancestor_height=ancestor.height,
            orphaned_blocks=orphaned,
            burn_depth=max(0, old.burn_height - ancestor.burn_height),
            old_tip=old.hash,
            new_tip=new.hash,
        )
    )


def count_reorgs(connection: Connection, *, since: int) -> int:
    """Return how many reorgs were applied since a time of this machine's clock."""
    return connection.execute(select(func.count()).select_from(reorg).where(reorg.c.at >= since)).scalar_one()


def latest_reorgs(connection: Connection, *, limit: int) -> list[Mapping[str, Any]]:
    """Return the newest reorgs, newest first."""
    query = select(reorg).order_by(reorg.c.id.desc()).limit(limit)
    return [dict(row) for row in connection.execute(query).mappings()]


def thin_headers(connection: Connection, *, keep_burn_blocks: int) -> int:
    """Delete headers that no reorg can reach any more; return how many.

    Counted from the cursor: on an abandoned branch, Bitcoin may have been further.
    """
    here = load_cursor(connection)
    if here is None:
        return 0
    lowest = here.clock.burn_height - keep_burn_blocks
    return connection.execute(delete(block).where(block.c.burn_height < lowest)).rowcount


def _place(header: BlockHeader, tip: BlockHeader) -> dict[str, Any]:
    return {
        "height": header.height,
        "hash": header.hash,
        "time": header.time,
        "burn_height": header.burn_height,
        "tip_height": tip.height,
        "tip_time": tip.time,
    }
