"""One intent while it is settled: its decision, what it adds to the timeline, and the events it sends."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from notifier import outbox
from notifier.events import EventType, event_body
from watcher.domain import refunds
from watcher.domain.day_counts import CountedIntent
from watcher.domain.decision import Decision, EventDraft
from watcher.domain.model import (
    ChainClock,
    Facts,
    Intent,
    IntentState,
    OperatorActionKind,
    Status,
    TimelineEntry,
)
from watcher.domain.server_info import ServerInfo
from watcher.indexer.settle_result import Change
from watcher.schemas import serialize
from watcher.store import day_counts
from watcher.store import intents as intent_store


@dataclass(frozen=True, slots=True, kw_only=True)
class EventContext:
    """What all events of one transaction have in common."""

    server_info: ServerInfo
    clock: ChainClock
    #: Unix seconds of this machine's clock.
    now: float
    #: When the block that is the cause was first seen, for metrics.
    seen_at: float | None


@dataclass(slots=True, kw_only=True)
class Settlement:
    """One intent while it is settled: its row, its facts, the decision, and the timeline that it extends."""

    row: Mapping[Any, Any]
    intent: Intent
    facts: Facts
    #: Number of events that were sent before.
    sent: int
    decision: Decision
    #: Loaded only if :attr:`has_news`; the first ``known`` entries are stored.
    timeline: list[TimelineEntry] = field(default_factory=list)
    known: int = 0

    @property
    def is_moved(self) -> bool:
        """Whether the status changes."""
        return self.decision.status is not self.intent.status

    @property
    def is_outdated(self) -> bool:
        """Whether the stored state differs from the decision, or events or marks on transfers are missing."""
        columns = intent_store.decided_columns(self.decision)
        missing = self.decision.drafts or self.decision.to_verify
        return bool(missing) or any(self.row[name] != value for name, value in columns.items())

    @property
    def has_news(self) -> bool:
        """Whether there are events to send, or something that the timeline may lack."""
        return bool(self.decision.drafts or self.is_moved or self.facts.refunds)

    @property
    def changes(self) -> tuple[Change, ...]:
        """The change that the decision makes, if anything of it is visible."""
        before, after = _snapshot(self.row), _snapshot(intent_store.decided_columns(self.decision))
        events = tuple(
            {"id": draft.id, "type": draft.type.value, "reason": draft.reason}
            for draft in self.decision.drafts
        )
        if not events and before == after:
            return ()
        return (Change(intent=self.intent.id, before=before, after=after, events=events),)

    def counted(self, successes: Collection[str], *, at: int) -> tuple[CountedIntent, CountedIntent]:
        """Return what the counters of days take from the intent, before and after the decision.

        ``successes``: intents that succeed now, at this chain time.
        """
        after = {"status": self.decision.status, "received": self.decision.received}
        if self.intent.id in successes:
            after["succeeded_at"] = at
        return day_counts.counted(self.row), day_counts.counted(self.row, **after)

    @property
    def reversals(self) -> list[EventDraft]:
        """The events that take a sent success back for good."""
        return [draft for draft in self.decision.drafts if draft.reason == "reorged" and draft.supersedes]

    def build_events(self, context: EventContext) -> list[outbox.EventRow]:
        """Build the events of the decision, and extend the timeline by what the decision adds.

        The body of an event holds the timeline up to that event.
        """
        if not self.has_news:
            return []
        at = int(context.now)
        succeeded_at = self.row["succeeded_at"]
        events: list[outbox.EventRow] = []
        for number, draft in enumerate(self.decision.drafts, start=self.sent + 1):
            self._add_status(draft.status, _why(draft, self.facts), at=at)
            if draft.refund is not None:
                self._add_refunds(draft.status, at=at)
            if draft.type is EventType.SUCCEEDED:
                succeeded_at = context.clock.time
            state = self._state_at(draft, at=at, succeeded_at=succeeded_at)
            events.append(
                outbox.EventRow(
                    id=draft.id,
                    intent=self.intent.id,
                    merchant=self.intent.merchant,
                    type=draft.type,
                    n=draft.n,
                    sequence=number,
                    reason=draft.reason,
                    subject=draft.subject,
                    supersedes=draft.supersedes,
                    as_of=context.clock.time,
                    body=serialize.fitting(partial(self._body, context, draft, state, number)),
                    created_at=at,
                    seen_at=context.seen_at,
                )
            )
        self._add_status(self.decision.status, None, at=at)
        self._add_refunds(self.decision.status, at=at)
        return events

    def _body(
        self, context: EventContext, draft: EventDraft, state: IntentState, number: int, shown: int
    ) -> bytes:
        """Return the body of an event, with up to ``shown`` entries of each list."""
        document = serialize.payment_intent(
            self.intent,
            state,
            self.facts,
            self.timeline,
            context.clock,
            server_info=context.server_info,
            shown=shown,
        )
        data = serialize.event_data(
            document,
            previous_status=draft.previous_status,
            reason=draft.reason,
            supersedes=draft.supersedes,
            network=context.server_info.network,
            clock=context.clock,
            refund=draft.refund,
        )
        return event_body(
            id=draft.id,
            type=draft.type,
            created_at=context.now,
            sequence=number,
            data=data,
            livemode=context.server_info.livemode,
        )

    def _state_at(self, draft: EventDraft, *, at: int, succeeded_at: int | None) -> IntentState:
        """Return the state of the intent that an event shows."""
        return IntentState(
            status=draft.status,
            flags=draft.flags,
            received=self.decision.received,
            missing=self.decision.missing,
            over=self.decision.over,
            refunded=self.decision.refunded,
            anchor=self.decision.anchor,
            in_flight=self.row["in_flight"],
            updated_at=at,
            succeeded_at=succeeded_at,
        )

    def _add_status(self, status: Status, reason: str | None, *, at: int) -> None:
        """Add a status to the timeline, unless it is the last one there."""
        if not self.timeline or self.timeline[-1].status is not status:
            self.timeline.append(TimelineEntry(at=at, status=status, reason=reason))

    def _add_refunds(self, status: Status, *, at: int) -> None:
        """Add the refunds that the timeline lacks, made or undone."""
        notes = refunds.notes(self.facts.refunds, [entry.subject for entry in self.timeline])
        self.timeline.extend(
            TimelineEntry(at=at, status=status, reason=note.text, subject=note.subject) for note in notes
        )


def _why(draft: EventDraft, facts: Facts) -> str | None:
    if draft.type is EventType.CREATED:
        return "created"
    if draft.reason == "manual":
        mark = next(action for action in reversed(facts.actions) if action.kind is OperatorActionKind.MARK)
        return f"manual: {mark.reason}"
    return draft.reason


def _snapshot(columns: Mapping[Any, Any]) -> dict[str, Any]:
    return {
        "status": str(columns["status"]),
        "amount_received": str(columns["received"]),
        "amount_refunded": str(columns["refunded"]),
        "flags": [str(flag) for flag in columns["flags"]],
    }
