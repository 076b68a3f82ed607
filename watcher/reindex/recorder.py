"""A settler that touches only what is out of date, and records what it changed."""

import dataclasses
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection

from notifier import outbox
from notifier.events import EventType
from watcher.domain.model import ChainClock
from watcher.indexer.settler import MAX_INTENTS_PER_TRANSACTION, Settler, SettleResult
from watcher.log import get_logger
from watcher.store import intents as intent_store

log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Change of an intent; ``before``, ``after``: {status, amount_received, amount_refunded, flags}."""

    intent: str
    before: dict[str, Any]
    after: dict[str, Any]
    #: {id, type, reason} of each event that was sent.
    events: tuple[dict[str, Any], ...]

    def document(self) -> dict[str, Any]:
        """Return the document that ``--json`` prints."""
        return {
            "intent": self.intent,
            "before": self.before,
            "after": self.after,
            "events": list(self.events),
        }


@dataclass(frozen=True, kw_only=True)
class RecordingSettler(Settler):
    """A settler that skips intents whose stored state is up to date, and records ``changes``."""

    changes: list[Change] = field(default_factory=list)

    @classmethod
    def like(cls, settler: Settler, *, notify: bool = True) -> "RecordingSettler":
        """Return a recording settler configured like ``settler``; without ``notify`` nothing is delivered."""
        same = {each.name: getattr(settler, each.name) for each in dataclasses.fields(Settler)}
        return cls(**(same | {"notify": notify}))

    def settle(
        self,
        connection: Connection,
        ids: Collection[str],
        clock: ChainClock,
        *,
        now: float,
        seen_at: float | None = None,
    ) -> SettleResult:
        """As :meth:`Settler.settle`, for the intents whose stored state is not what ``decide()`` returns."""
        decided = self._decide(connection, intent_store.load_rows(connection, ids), clock)
        outdated = {each.intent.id: each for each in decided if each.is_outdated}
        settled = super().settle(connection, outdated, clock, now=now, seen_at=seen_at)
        rows = intent_store.load_rows(connection, outdated)
        sent = outbox.previous_events(connection, outdated)
        for key, each in outdated.items():
            before, after = _snapshot(each.row), _snapshot(rows[key])
            events = tuple(
                {"id": row.id, "type": row.type.value, "reason": row.reason} for row in sent[key][each.sent :]
            )
            if events or before != after:
                self.changes.append(Change(intent=key, before=before, after=after, events=events))
        return settled

    def settle_due(
        self,
        connection: Connection,
        touched: Collection[str],
        clock: ChainClock,
        *,
        now: float,
        seen_at: float | None = None,
    ) -> SettleResult:
        """As :meth:`Settler.settle_due`; without ``notify`` settle only touched and marked intents.

        Other due intents are left to the daemon, because their events are to be delivered. Touched intents
        beyond what one transaction may settle are marked, so that settling them later delivers nothing
        either.
        """
        if self.notify:
            return super().settle_due(connection, touched, clock, now=now, seen_at=seen_at)
        left = intent_store.unnotified(connection, limit=MAX_INTENTS_PER_TRANSACTION + 1)
        waiting = list(dict.fromkeys([*sorted(touched), *left]))
        taken = self.batch(connection, waiting)
        intent_store.mark_unnotified(connection, sorted({*touched} - {*taken}), height=clock.height)
        settled = self.settle_apart(connection, taken, clock, now=now)
        return dataclasses.replace(settled, more=len(waiting) > len(taken))

    def _oversized(self, ids: Sequence[str], facts: Mapping[str, int]) -> list[str]:
        """Defer no intent: an operator runs this once, and may not want the daemon to send events later."""
        return []


def merge(changes: Iterable[Change]) -> list[Change]:
    """Return one change per intent, from its first ``before`` to its last ``after``."""
    merged: dict[str, Change] = {}
    for change in changes:
        first = merged.get(change.intent)
        if first is not None:
            change = dataclasses.replace(change, before=first.before, events=first.events + change.events)
        merged[change.intent] = change
    return list(merged.values())


def report_reversals(changes: Iterable[Change]) -> None:
    """Log a critical event for each intent whose reported success was reversed; call it after the commit."""
    for change in changes:
        if any((event["type"], event["reason"]) == (EventType.FAILED, "reorged") for event in change.events):
            log.critical(
                "payment.reversed",
                intent=change.intent,
                hint="the chain does not hold money that was reported as paid",
            )


def _snapshot(row: Mapping[Any, Any]) -> dict[str, Any]:
    return {
        "status": row["status"],
        "amount_received": str(row["received"]),
        "amount_refunded": str(row["refunded"]),
        "flags": row["flags"],
    }
