"""What a reindex is asked for, how far it is, and what it reports."""

from dataclasses import dataclass, field
from typing import Any

from watcher.durations import is_ago
from watcher.reindex.diff import Difference
from watcher.reindex.recorder import Change
from watcher.store.reindex_runs import ReindexCounts

#: Rows that were or are wrong are listed up to here, and counted beyond.
MAX_ROWS_LISTED = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class ReindexRequest:
    """A request to reindex: from a height, a time (unix seconds), or for one intent."""

    start: int | None = None
    since: float | None = None
    #: ``since`` as it was written: the same words go on with the same run.
    since_text: str | None = None
    to: int | None = None
    intent: str | None = None
    notify: bool = True
    dry_run: bool = False

    @property
    def is_ago(self) -> bool:
        """Whether ``since`` was written as how long ago, like ``2d``."""
        return self.since_text is not None and is_ago(self.since_text)

    def key(self) -> dict[str, Any]:
        """Return what makes two commands the same."""
        return {
            "from": self.start,
            "since": self.since_text,
            "to": self.to,
            "intent": self.intent,
            "notify": self.notify,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a run is. ``note`` says why it waits, or what it does before it reads; empty while it reads."""

    #: Blocks of the whole range, and those that were done, in an earlier call too.
    total: int
    done: int
    counts: ReindexCounts
    note: str = ""


@dataclass(slots=True, kw_only=True)
class Report:
    """What a run found and changed. Counts include an earlier, interrupted call; lists are of this one."""

    bottom: int
    top: int
    counts: ReindexCounts
    resumed: bool = False
    dry_run: bool = False
    changes: list[Change] = field(default_factory=list)
    #: Rows that were put right, and those that were left because nobody confirmed what their blocks say.
    corrections: list[Difference] = field(default_factory=list)
    differences: list[Difference] = field(default_factory=list)
    #: Of a dry run: missing facts that a step should have stored.
    missed: int = 0
    #: By this machine's clock.
    seconds: float = 0.0

    def document(self) -> dict[str, Any]:
        """Return it as ``--json`` prints it."""
        counts = self.counts.document()
        del counts["later"]
        for name, rows in (("corrections", self.corrections), ("differences", self.differences)):
            counts[name] = {"count": counts[name], "rows": [row.document() for row in rows]}
        counts["changes"] = {
            "count": counts["changes"],
            "intents": [change.document() for change in self.changes],
        }
        return {
            "from": self.bottom,
            "to": self.top,
            "dry_run": self.dry_run,
            "resumed": self.resumed,
            "seconds": round(self.seconds, 3),
            **counts,
        }
