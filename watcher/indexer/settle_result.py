"""The result of settling intents: how many, what changed, what was sent."""

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from watcher.domain.model import Status


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


def merge_changes(changes: Iterable[Change]) -> list[Change]:
    """Return one change per intent, from its first ``before`` to its last ``after``."""
    merged: dict[str, Change] = {}
    for change in changes:
        first = merged.get(change.intent)
        if first is not None:
            change = dataclasses.replace(change, before=first.before, events=first.events + change.events)
        merged[change.intent] = change
    return list(merged.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class SettleResult:
    """The result of settling some intents."""

    intents: int = 0
    #: What changed, for people: at most one entry per intent.
    changes: tuple[Change, ...] = ()
    #: Status changes as (intent, before, after).
    transitions: tuple[tuple[str, Status, Status], ...] = ()
    #: Events written; some may have no endpoint to go to.
    events: int = 0
    #: Intents whose sent success a reorg reversed for good.
    reversed: tuple[str, ...] = ()
    #: More intents are due: further transactions settle them.
    more: bool = False

    @classmethod
    def combine(cls, done: Sequence["SettleResult"]) -> "SettleResult":
        """Return the sum of several results."""
        return cls(
            intents=sum(one.intents for one in done),
            changes=tuple(merge_changes(change for one in done for change in one.changes)),
            transitions=tuple(moved for one in done for moved in one.transitions),
            events=sum(one.events for one in done),
            reversed=tuple(key for one in done for key in one.reversed),
        )
