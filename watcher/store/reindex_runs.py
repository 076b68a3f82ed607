"""Reindex runs in the database: how far each is, to resume an interrupted one, and for ``status``."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from notifier.events import rfc3339
from notifier.ids import new_id
from notifier.statements import upsert
from watcher.store.process_schema import scan, scan_header

#: Seconds without an update after which a run counts as interrupted.
STALE_AFTER_SECONDS = 120

#: How long ``status`` shows a run that was interrupted, seconds.
INTERRUPTED_RUN_SHOWN_SECONDS = 86_400

#: How long the hashes that an interrupted run followed down are kept, seconds.
HASHES_KEPT_SECONDS = 30 * 86_400

#: Length of a hash, bytes.
_HASH_BYTES = 32


@dataclass(slots=True, kw_only=True)
class ReindexCounts:
    """Counts of a reindex run, across interruptions."""

    blocks: int = 0
    #: Our transfers in the blocks read, and those among them that were not stored.
    transfers: int = 0
    found: int = 0
    attempts: int = 0
    #: Refunds that were not stored.
    refunds: int = 0
    #: Intents that changed, events written.
    changes: int = 0
    events: int = 0
    #: Rows that the chain contradicts: those that were corrected, and those that were left unconfirmed.
    corrections: int = 0
    differences: int = 0
    #: Intents still to be settled: those that only a failed attempt touched at the end, as their money may be
    #: in a later block, and those beyond what one transaction settles.
    later: list[str] = field(default_factory=list)

    def document(self) -> dict[str, Any]:
        """Return it as stored."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(slots=True, kw_only=True)
class ReindexRun:
    """One run over the heights ``bottom`` to ``top``; ``position`` is the newest block done."""

    id: str
    bottom: int
    top: int
    position: int
    counts: ReindexCounts


def resume(connection: Connection, request_key: Mapping[str, Any]) -> ReindexRun | None:
    """Return the unfinished run of the same command, None if there is none."""
    query = select(scan).where(scan.c.asked == _key(request_key), scan.c.finished_at.is_(None))
    row = connection.execute(query.order_by(scan.c.id.desc()).limit(1)).one_or_none()
    if row is None:
        return None
    return ReindexRun(
        id=row.id, bottom=row.bottom, top=row.top, position=row.position, counts=ReindexCounts(**row.progress)
    )


def start(
    connection: Connection, request_key: Mapping[str, Any], *, bottom: int, top: int, now: float
) -> ReindexRun:
    """Store a new run; what runs of long ago kept is deleted."""
    old = select(scan.c.id).where(scan.c.updated_at < int(now) - HASHES_KEPT_SECONDS)
    connection.execute(delete(scan_header).where(scan_header.c.scan_id.in_(old)))
    begun = ReindexRun(
        id=new_id("scan_", now), bottom=bottom, top=top, position=bottom - 1, counts=ReindexCounts()
    )
    connection.execute(
        insert(scan).values(
            id=begun.id,
            asked=_key(request_key),
            bottom=bottom,
            top=top,
            position=begun.position,
            progress=begun.counts.document(),
            started_at=int(now),
            updated_at=int(now),
        )
    )
    return begun


def advance(
    connection: Connection,
    run: ReindexRun,
    position: int,
    counts: ReindexCounts,
    *,
    now: float,
    finished: bool = False,
) -> bool:
    """Store how far a run has come; False when another process has moved it."""
    statement = update(scan).where(
        scan.c.id == run.id, scan.c.position == run.position, scan.c.finished_at.is_(None)
    )
    values: dict[str, Any] = {
        "position": position,
        "progress": counts.document(),
        "updated_at": int(now),
        "finished_at": int(now) if finished else None,
    }
    if finished:
        connection.execute(delete(scan_header).where(scan_header.c.scan_id == run.id))
    return connection.execute(statement.values(**values)).rowcount == 1


def keep_hashes(connection: Connection, run: ReindexRun, top: int, hashes: Sequence[bytes]) -> None:
    """Keep the hashes of blocks that a run followed down, from a height down without a gap."""
    statement = upsert(connection, scan_header).values(scan_id=run.id, top=top, hashes=b"".join(hashes))
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=[scan_header.c.scan_id, scan_header.c.top],
            set_={"hashes": statement.excluded.hashes},
        )
    )


def kept_hashes(connection: Connection, run: ReindexRun) -> tuple[int, list[bytes]]:
    """Return the hashes that an interrupted run followed down, without a gap.

    The first value is the height of the first hash.
    """
    query = select(scan_header).where(scan_header.c.scan_id == run.id).order_by(scan_header.c.top.desc())
    top: int | None = None
    hashes: list[bytes] = []
    for row in connection.execute(query):
        top = row.top if top is None else top
        known = top - row.top  # hashes above this piece
        if known > len(hashes):
            break
        piece = bytes(row.hashes)
        hashes += [
            piece[at : at + _HASH_BYTES]
            for at in range((len(hashes) - known) * _HASH_BYTES, len(piece), _HASH_BYTES)
        ]
    return top or 0, hashes


def touch(connection: Connection, run: ReindexRun, *, now: float) -> None:
    """Show ``status`` that a run is alive, though it does not move."""
    connection.execute(update(scan).where(scan.c.id == run.id).values(updated_at=int(now)))


def latest(connection: Connection, *, now: float) -> dict[str, Any] | None:
    """Return the newest unfinished run for ``status``; None without one.

    An interrupted run is shown for a day: the same command resumes it.
    """
    query = select(scan).where(
        scan.c.finished_at.is_(None), scan.c.updated_at >= int(now) - INTERRUPTED_RUN_SHOWN_SECONDS
    )
    row = connection.execute(query.order_by(scan.c.id.desc()).limit(1)).one_or_none()
    if row is None:
        return None
    blocks = row.top - row.bottom + 1
    done = row.position - row.bottom + 1
    names = ("transfers", "found", "changes", "events", "corrections", "differences")
    return {
        "state": "running" if row.updated_at >= now - STALE_AFTER_SECONDS else "interrupted",
        "from": row.bottom,
        "to": row.top,
        "position": row.position,
        "progress": round(done / blocks, 4) if blocks else 0.0,
        **{name: row.progress.get(name, 0) for name in names},
        "started_at": rfc3339(row.started_at),
        "updated_at": rfc3339(row.updated_at),
    }


def _key(request_key: Mapping[str, Any]) -> str:
    return json.dumps(dict(request_key), sort_keys=True)
