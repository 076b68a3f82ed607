"""Request, progress and report of a reindex."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from notifier.events import EventType
from watcher.durations import is_ago
from watcher.indexer.settle_result import Change
from watcher.log import get_logger
from watcher.reindex.diff import Difference
from watcher.store.reindex_runs import ReindexCounts

log = get_logger(__name__)

#: Corrections, and differences, that a report lists; all are counted.
MAX_ROWS_LISTED = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class ReindexRequest:
    """A request to reindex: from a height, a time (unix seconds), or for one intent."""

    start: int | None = None
    since: float | None = None
    #: ``since`` as the user wrote it: the same text resumes the same run.
    since_text: str | None = None
    to: int | None = None
    intent: str | None = None
    notify: bool = True
    dry_run: bool = False

    @property
    def is_ago(self) -> bool:
        """Whether ``since`` was written as a duration before now, like ``2d``."""
        return self.since_text is not None and is_ago(self.since_text)

    def key(self) -> dict[str, Any]:
        """Return the fields by which a command resumes an interrupted run."""
        return {
            "from": self.start,
            "since": self.since_text,
            "to": self.to,
            "intent": self.intent,
            "notify": self.notify,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Progress of a run. ``note`` says why it waits, or what it does before reading; empty while it reads."""

    #: Blocks of the whole range, and those done so far, by earlier calls included.
    total: int
    done: int
    counts: ReindexCounts
    note: str = ""


@dataclass(slots=True, kw_only=True)
class Report:
    """Findings and changes of a run. Counts include interrupted calls before; lists are of this one."""

    bottom: int
    top: int
    counts: ReindexCounts
    resumed: bool = False
    dry_run: bool = False
    changes: list[Change] = field(default_factory=list)
    #: Rows that were corrected, and rows left unchanged because no second reading confirmed their blocks.
    corrections: list[Difference] = field(default_factory=list)
    differences: list[Difference] = field(default_factory=list)
    #: In a dry run: missing facts that the indexer should have stored.
    missed: int = 0
    #: Duration by this machine's clock.
    seconds: float = 0.0

    def document(self) -> dict[str, Any]:
        """Return the document that ``--json`` prints."""
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


def report_reversals(changes: Iterable[Change]) -> None:
    """Log a critical event for each intent whose reported success was reversed; call it after the commit."""
    for change in changes:
        if any((event["type"], event["reason"]) == (EventType.FAILED, "reorged") for event in change.events):
            log.critical(
                "payment.reversed",
                intent=change.intent,
                hint="the chain does not hold money that was reported as paid",
            )
