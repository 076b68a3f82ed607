"""The reindex runs in the database: where each one is, so that an interrupted one goes on, and for ``status``."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, insert, select, update

from notifier.events import rfc3339
from notifier.ids import new_id
from watcher.tables import scan

#: A run that has not been heard of for so long is taken for interrupted, seconds. One that waits for a source speaks.
SILENCE = 120

#: How long ``status`` shows a run that has ended, seconds.
SHOWN = 86_400


@dataclass(slots=True, kw_only=True)
class Tally:
    """What a run has done so far, interruptions included."""

    blocks: int = 0
    #: Transfers of ours in the blocks read, and those among them that we did not have.
    transfers: int = 0
    found: int = 0
    attempts: int = 0
    #: Refunds that we did not have.
    refunds: int = 0
    #: Intents that changed, events written.
    changes: int = 0
    events: int = 0
    #: Rows that the chain does not bear out: those that were put right, and those that were left unconfirmed.
    corrections: int = 0
    differences: int = 0
    #: Intents that are to be settled: those that only a failed attempt touched at the end, for their money may be in a
    #: later block, and those beyond what one transaction settles.
    later: list[str] = field(default_factory=list)

    def document(self) -> dict[str, Any]:
        """Return it as stored."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(slots=True, kw_only=True)
class Scan:
    """One run over the heights ``bottom`` to ``top``; ``position`` is the newest block that is done."""

    id: str
    bottom: int
    top: int
    position: int
    tally: Tally


def resume(connection: Connection, asked: Mapping[str, Any]) -> Scan | None:
    """Return the unfinished run of the same command, None if there is none."""
    query = select(scan).where(scan.c.asked == _key(asked), scan.c.finished_at.is_(None))
    row = connection.execute(query.order_by(scan.c.id.desc()).limit(1)).one_or_none()
    if row is None:
        return None
    return Scan(id=row.id, bottom=row.bottom, top=row.top, position=row.position, tally=Tally(**row.progress))


def start(connection: Connection, asked: Mapping[str, Any], *, bottom: int, top: int, now: float) -> Scan:
    """Store a run that has done nothing yet."""
    begun = Scan(id=new_id("scan_", now), bottom=bottom, top=top, position=bottom - 1, tally=Tally())
    connection.execute(
        insert(scan).values(
            id=begun.id,
            asked=_key(asked),
            bottom=bottom,
            top=top,
            position=begun.position,
            progress=begun.tally.document(),
            started_at=int(now),
            updated_at=int(now),
        )
    )
    return begun


def advance(
    connection: Connection, run: Scan, position: int, tally: Tally, *, now: float, finished: bool = False
) -> bool:
    """Store how far a run has come; False when another process has moved it meanwhile."""
    statement = update(scan).where(
        scan.c.id == run.id, scan.c.position == run.position, scan.c.finished_at.is_(None)
    )
    values: dict[str, Any] = {
        "position": position,
        "progress": tally.document(),
        "updated_at": int(now),
        "finished_at": int(now) if finished else None,
    }
    return connection.execute(statement.values(**values)).rowcount == 1


def touch(connection: Connection, run: Scan, *, now: float) -> None:
    """Tell ``status`` that a run is alive, though it does not move."""
    connection.execute(update(scan).where(scan.c.id == run.id).values(updated_at=int(now)))


def latest(connection: Connection, *, now: float) -> dict[str, Any] | None:
    """Return the newest run for ``status``; None without one, or when it ended more than a day ago."""
    row = connection.execute(select(scan).order_by(scan.c.id.desc()).limit(1)).one_or_none()
    if row is None or (row.finished_at is not None and row.finished_at < now - SHOWN):
        return None
    if row.finished_at is not None:
        state = "done"
    else:
        state = "running" if row.updated_at >= now - SILENCE else "interrupted"
    blocks = row.top - row.bottom + 1
    done = row.position - row.bottom + 1
    counts = {name: row.progress[name] for name in ("transfers", "found", "changes", "events", "differences")}
    return {
        "state": state,
        "from": row.bottom,
        "to": row.top,
        "position": row.position,
        "progress": 1.0 if state == "done" else round(done / blocks, 4) if blocks else 0.0,
        **counts,
        "started_at": rfc3339(row.started_at),
        "updated_at": rfc3339(row.updated_at),
    }


def _key(asked: Mapping[str, Any]) -> str:
    return json.dumps(dict(asked), sort_keys=True)
