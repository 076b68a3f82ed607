"""Settle intents on an open transaction: call ``decide``, store the decision, enqueue its events.

Everything that can change a decision passes through here: a step of the chain, a new intent, an operator
action.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import ProgrammingError, SQLAlchemyError

from notifier import outbox
from notifier.database_errors import is_outage
from notifier.events import EventType, event_body
from watcher import unforeseen
from watcher.config.settings import Settings
from watcher.domain import refunds
from watcher.domain.decision import Decision, EventDraft
from watcher.domain.model import (
    ChainClock,
    Facts,
    Intent,
    IntentState,
    OperatorActionKind,
    SentEvent,
    Status,
    TimelineEntry,
)
from watcher.domain.settlement import decide
from watcher.errors import WatcherError
from watcher.schemas import serialize
from watcher.store import chain_state
from watcher.store import intents as intent_store
from watcher.store import transfers as transfer_store

#: Intents that one transaction settles: it then holds the write lock for about a tenth of a second.
MAX_INTENTS_PER_TRANSACTION = 100

#: Stored transfers and attempts that one transaction loads to settle; a single intent may have more.
MAX_FACTS_PER_TRANSACTION = 2_000

#: An intent with more facts than that is not settled in the step that adds another one, but when the chain
#: clock is :data:`OVERSIZED_WAIT_SECONDS` further: anyone who knows a reference can send dust with every
#: block.
OVERSIZED_FACTS = 1_000
OVERSIZED_WAIT_SECONDS = 60

#: Seconds of chain time after which an intent that could not be settled is tried again.
SET_ASIDE_SECONDS = 3_600


@dataclass(frozen=True, slots=True, kw_only=True)
class SettleResult:
    """The result of settling some intents."""

    intents: int = 0
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
            transitions=tuple(moved for one in done for moved in one.transitions),
            events=sum(one.events for one in done),
            reversed=tuple(key for one in done for key in one.reversed),
        )


@dataclass(slots=True, kw_only=True)
class _Settlement:
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
        """Whether the stored state differs from the decision, or events are missing."""
        columns = intent_store.decided_columns(self.decision)
        return bool(self.decision.drafts) or any(self.row[name] != value for name, value in columns.items())

    @property
    def has_news(self) -> bool:
        """Whether there are events to send, or something that the timeline may lack."""
        return bool(self.decision.drafts or self.is_moved or self.facts.refunds)

    @property
    def reversals(self) -> list[EventDraft]:
        """The events that take a sent success back for good."""
        return [draft for draft in self.decision.drafts if draft.reason == "reorged" and draft.supersedes]

    def state_at(self, draft: EventDraft, *, at: int, succeeded_at: int | None) -> IntentState:
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

    def add_status(self, status: Status, reason: str | None, *, at: int) -> None:
        """Add a status to the timeline, unless it is the last one there."""
        if not self.timeline or self.timeline[-1].status is not status:
            self.timeline.append(TimelineEntry(at=at, status=status, reason=reason))

    def add_refunds(self, status: Status, *, at: int) -> None:
        """Add the refunds that the timeline lacks, made or undone."""
        notes = refunds.notes(self.facts.refunds, [entry.subject for entry in self.timeline])
        self.timeline.extend(
            TimelineEntry(at=at, status=status, reason=note.text, subject=note.subject) for note in notes
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Settler:
    """Settles intents. Network and contract go into every event; they are fixed while the daemon runs."""

    network: str
    payment_contract: str | None = None
    #: Wait before the first attempt of a delivery, seconds.
    first_wait: float = 0.0
    #: Without it events are written, but nothing is delivered.
    notify: bool = True

    @classmethod
    def of(cls, settings: Settings) -> "Settler":
        """Return a settler for these settings."""
        return cls(
            network=settings.network.value,
            payment_contract=settings.payment_contract,
            first_wait=settings.webhook_retry_schedule[0],
        )

    def settle(
        self,
        connection: Connection,
        ids: Collection[str],
        clock: ChainClock,
        *,
        now: float,
        seen_at: float | None = None,
    ) -> SettleResult:
        """Decide each of these intents at ``clock`` and write the decision with its events.

        ``seen_at``: when the block that is the cause was first seen, for metrics.
        """
        rows = intent_store.load_rows(connection, ids)
        before = SettleResult()
        if self.notify and (heights := intent_store.unnotified_heights(rows)):
            before = self._settle_unnotified(connection, heights, clock, now=now)
            rows = intent_store.load_rows(connection, ids)
        settlements = self._decide(connection, rows, clock)
        if settlements:
            decisions = [(each.intent, each.decision) for each in settlements]
            intent_store.save_decisions(connection, decisions, clock, now=int(now))
        events = [
            row for each in settlements for row in self._build_events(each, clock, now=now, seen_at=seen_at)
        ]
        succeeded = [row.intent for row in events if row.type is EventType.SUCCEEDED]
        intent_store.record_successes(connection, succeeded, at=clock.time)
        intent_store.add_transitions(
            connection, [(each.intent.id, each.known, each.timeline[each.known :]) for each in settlements]
        )
        if self.notify:
            outbox.enqueue_many(connection, events, now=now, first_wait=self.first_wait)
        else:
            outbox.insert_events(connection, events)
        transitions = [
            (each.intent.id, each.intent.status, each.decision.status)
            for each in settlements
            if each.is_moved
        ]
        reversals = [each.intent.id for each in settlements for _ in each.reversals]
        return SettleResult(
            intents=len(settlements),
            transitions=(*before.transitions, *transitions),
            events=before.events + len(events),
            reversed=(*before.reversed, *reversals),
        )

    def _decide(
        self, connection: Connection, rows: Mapping[str, Mapping[Any, Any]], clock: ChainClock
    ) -> list[_Settlement]:
        """Decide on these intents, and load the timelines to which something may be added."""
        facts = transfer_store.load_facts(connection, rows)
        sent = outbox.previous_events(connection, rows)
        settlements = []
        for key in sorted(rows):
            intent = intent_store.read_intent(rows[key])
            decision = decide(intent, facts[key], [to_sent_event(row) for row in sent[key]], clock)
            settlements.append(
                _Settlement(
                    row=rows[key], intent=intent, facts=facts[key], sent=len(sent[key]), decision=decision
                )
            )
        with_news = [each for each in settlements if each.has_news]
        timelines = intent_store.load_timelines(connection, [each.intent.id for each in with_news])
        for each in with_news:
            each.timeline = timelines[each.intent.id]
            each.known = len(each.timeline)
        return settlements

    def _settle_unnotified(
        self, connection: Connection, heights: Mapping[int, Sequence[str]], clock: ChainClock, *, now: float
    ) -> SettleResult:
        """Settle intents as of our blocks at some heights, without delivering anything.

        ``heights``: the intents by height; what is newer is not part of the decision. Where our block is no
        longer stored, nothing tells what is newer: those are left, and are delivered.
        """
        done = []
        for height, ids in heights.items():
            header = chain_state.canonical_header(connection, min(height, clock.height))
            if header is None:
                continue
            then = chain_state.clock_at(header)
            done.append(Settler.settle(replace(self, notify=False), connection, ids, then, now=now))
        return SettleResult.combine(done)

    def settle_due(
        self,
        connection: Connection,
        touched: Collection[str],
        clock: ChainClock,
        *,
        now: float,
        seen_at: float | None = None,
    ) -> SettleResult:
        """Settle intents whose facts changed and those due at ``clock``, as many as one transaction may.

        The others stay due, or are marked as due, for the next call: in a transaction of its own, by any
        process. An intent that cannot be settled is set aside for :data:`SET_ASIDE_SECONDS`, and does not
        hold up the others.
        """
        waiting = sorted(touched)
        first = waiting[:MAX_INTENTS_PER_TRANSACTION]
        intent_store.notify(connection, first)
        intent_store.mark_due(connection, waiting[MAX_INTENTS_PER_TRANSACTION:])
        due = intent_store.due_intents(connection, clock, limit=MAX_INTENTS_PER_TRANSACTION + 1)
        wanted = list(dict.fromkeys([*first, *due]))
        facts = transfer_store.count_facts(connection, wanted)
        if oversized := self._oversized(first, facts):
            intent_store.postpone(connection, oversized, until=clock.time + OVERSIZED_WAIT_SECONDS)
            wanted = [key for key in wanted if key not in oversized]
        taken = _within(wanted[:MAX_INTENTS_PER_TRANSACTION], facts, MAX_FACTS_PER_TRANSACTION)
        intent_store.mark_due(connection, [key for key in first if key in wanted and key not in taken])
        settled = self.settle_apart(connection, taken, clock, now=now, seen_at=seen_at)
        return replace(settled, more=len(wanted) > len(taken))

    def batch(self, connection: Connection, ids: Sequence[str]) -> list[str]:
        """Return the first of some intents, as many as one transaction may settle."""
        first = ids[:MAX_INTENTS_PER_TRANSACTION]
        return _within(first, transfer_store.count_facts(connection, first), MAX_FACTS_PER_TRANSACTION)

    def _oversized(self, ids: Sequence[str], facts: Mapping[str, int]) -> list[str]:
        """Return the intents that have too many facts to be settled in the step that adds another one."""
        return [key for key in ids if facts[key] > OVERSIZED_FACTS]

    def settle_apart(
        self,
        connection: Connection,
        ids: Sequence[str],
        clock: ChainClock,
        *,
        now: float,
        seen_at: float | None = None,
    ) -> SettleResult:
        """Settle intents together, or one by one when one of them fails; that one is set aside."""
        try:
            with connection.begin_nested():
                return self.settle(connection, ids, clock, now=now, seen_at=seen_at)
        except Exception as error:
            if isinstance(error, WatcherError) or (isinstance(error, SQLAlchemyError) and is_outage(error)):
                raise
            if isinstance(error, ProgrammingError):
                # PostgreSQL's error for a missing table or privilege, which is not the fault of an intent.
                raise
            if len(ids) <= 1:
                unforeseen.report("settle", error)
                intent_store.set_aside(connection, ids, until=clock.time + SET_ASIDE_SECONDS)
                return SettleResult(intents=len(ids))
        done = [self.settle_apart(connection, [key], clock, now=now, seen_at=seen_at) for key in ids]
        return SettleResult.combine(done)

    def _build_events(
        self, settlement: _Settlement, clock: ChainClock, *, now: float, seen_at: float | None
    ) -> list[outbox.EventRow]:
        """Build the events of a decision, and extend the timeline by what the decision adds.

        The body of an event holds the timeline up to that event.
        """
        intent, decision = settlement.intent, settlement.decision
        if not settlement.has_news:
            return []
        succeeded_at = settlement.row["succeeded_at"]
        events: list[outbox.EventRow] = []
        for number, draft in enumerate(decision.drafts, start=settlement.sent + 1):
            settlement.add_status(draft.status, _why(draft, settlement.facts), at=int(now))
            if draft.refund is not None:
                settlement.add_refunds(draft.status, at=int(now))
            if draft.type is EventType.SUCCEEDED:
                succeeded_at = clock.time
            state = settlement.state_at(draft, at=int(now), succeeded_at=succeeded_at)
            body = partial(self._event_body, settlement, draft, state, clock, number=number, now=now)
            events.append(
                outbox.EventRow(
                    id=draft.id,
                    intent=intent.id,
                    merchant=intent.merchant,
                    type=draft.type,
                    n=draft.n,
                    sequence=number,
                    reason=draft.reason,
                    subject=draft.subject,
                    supersedes=draft.supersedes,
                    as_of=clock.time,
                    body=serialize.fitting(body),
                    created_at=int(now),
                    seen_at=seen_at,
                )
            )
        settlement.add_status(decision.status, None, at=int(now))
        settlement.add_refunds(decision.status, at=int(now))
        return events

    def _event_body(
        self,
        settlement: _Settlement,
        draft: EventDraft,
        state: IntentState,
        clock: ChainClock,
        shown: int,
        *,
        number: int,
        now: float,
    ) -> bytes:
        """Return the body of an event, with up to ``shown`` entries of each list."""
        document = serialize.payment_intent(
            settlement.intent,
            state,
            settlement.facts,
            settlement.timeline,
            clock,
            payment_contract=self.payment_contract,
            shown=shown,
        )
        data = serialize.event_data(
            document,
            previous_status=draft.previous_status,
            reason=draft.reason,
            supersedes=draft.supersedes,
            network=self.network,
            clock=clock,
            refund=draft.refund,
        )
        return event_body(id=draft.id, type=draft.type, created_at=now, sequence=number, data=data)


def _why(draft: EventDraft, facts: Facts) -> str | None:
    if draft.type is EventType.CREATED:
        return "created"
    if draft.reason == "manual":
        mark = next(action for action in reversed(facts.actions) if action.kind is OperatorActionKind.MARK)
        return f"manual: {mark.reason}"
    return draft.reason


def _within(ids: Sequence[str], facts: Mapping[str, int], limit: int) -> list[str]:
    """Return the first of some intents, at least one, that have up to ``limit`` facts together."""
    taken: list[str] = []
    left = limit
    for key in ids:
        left -= facts[key]
        if taken and left < 0:
            break
        taken.append(key)
    return taken


def to_sent_event(row: outbox.EventHeader) -> SentEvent:
    """Convert the header of a stored event to what ``decide`` takes."""
    return SentEvent(id=row.id, type=row.type, reason=row.reason, subject=row.subject, time=row.as_of)
