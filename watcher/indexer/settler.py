"""Settle intents on an open transaction: call ``decide``, store the decision, enqueue its events.

Everything that can change a decision passes through here: a step of the chain, a new intent, an operator
action.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
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
        facts = transfer_store.load_facts(connection, rows)
        sent = outbox.previous_events(connection, rows)
        intents = {key: intent_store.read_intent(row) for key, row in rows.items()}
        decisions = {
            key: decide(intent, facts[key], [to_sent_event(row) for row in sent[key]], clock)
            for key, intent in intents.items()
        }
        moved = [
            key
            for key, decision in decisions.items()
            if decision.drafts or decision.status is not intents[key].status or facts[key].refunds
        ]
        timelines = intent_store.load_timelines(connection, moved)
        transitions = []
        changes = []
        taken_back = []
        events: list[outbox.EventRow] = []
        ordered = sorted(rows)
        decided = [(intents[key], decisions[key]) for key in ordered]
        if decided:
            intent_store.save_decisions(connection, decided, clock, now=int(now))
        for key in ordered:
            intent, decision = intents[key], decisions[key]
            if key in timelines:
                known, gained, written = self._build_events(
                    rows[key],
                    facts[key],
                    timelines[key],
                    decision,
                    len(sent[key]),
                    clock,
                    now=now,
                    seen_at=seen_at,
                )
                changes.append((key, known, gained))
                events += written
            if decision.status is not intent.status:
                transitions.append((key, intent.status, decision.status))
            taken_back += [key for draft in decision.drafts if draft.reason == "reorged" and draft.supersedes]
        intent_store.record_successes(
            connection, [row.intent for row in events if row.type is EventType.SUCCEEDED], at=clock.time
        )
        intent_store.add_transitions(connection, changes)
        if self.notify:
            outbox.enqueue_many(connection, events, now=now, first_wait=self.first_wait)
        else:
            outbox.insert_events(connection, events)
        return SettleResult(
            intents=len(rows),
            transitions=(*before.transitions, *transitions),
            events=before.events + len(events),
            reversed=(*before.reversed, *taken_back),
        )

    def _settle_unnotified(
        self, connection: Connection, heights: Mapping[int, Sequence[str]], clock: ChainClock, *, now: float
    ) -> SettleResult:
        """Settle intents as of our blocks at some heights, without delivering anything.

        ``heights``: the intents by height; what is newer is not part of the decision.
        """
        done = []
        for height, ids in heights.items():
            header = chain_state.canonical_header(connection, min(height, clock.height))
            then = clock if header is None else chain_state.clock_at(header)
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
        self,
        row: Mapping[Any, Any],
        facts: Facts,
        timeline: list[TimelineEntry],
        decision: Decision,
        sequence: int,
        clock: ChainClock,
        *,
        now: float,
        seen_at: float | None,
    ) -> tuple[int, list[tuple[int, Status, str | None]], list[outbox.EventRow]]:
        """Make the events of a decision, each with the timeline up to its own moment.

        Return how long the timeline was, what it gained, and the events.
        ``row`` is the intent's before the decision, ``sequence`` the number of events that it had.
        """
        intent = intent_store.read_intent(row)
        succeeded_at = row["succeeded_at"]
        known = len(timeline)
        events: list[outbox.EventRow] = []

        def note(status: Status, reason: str | None) -> None:
            if not timeline or timeline[-1].status is not status:
                timeline.append(TimelineEntry(at=int(now), status=status, reason=reason))

        def note_refunds(status: Status) -> None:
            new = refunds.notes(facts.refunds, [change.reason for change in timeline])
            timeline.extend(TimelineEntry(at=int(now), status=status, reason=reason) for reason in new)

        for number, draft in enumerate(decision.drafts, start=sequence + 1):
            note(draft.status, _why(draft, facts))
            if draft.refund is not None:
                note_refunds(draft.status)
            if draft.type is EventType.SUCCEEDED:
                succeeded_at = clock.time
            state = IntentState(
                status=draft.status,
                flags=draft.flags,
                received=decision.received,
                missing=decision.missing,
                over=decision.over,
                refunded=decision.refunded,
                anchor=decision.anchor,
                in_flight=row["in_flight"],
                updated_at=int(now),
                succeeded_at=succeeded_at,
            )

            def body(
                shown: int,
                draft: EventDraft = draft,
                number: int = number,
                state: IntentState = state,
            ) -> bytes:
                data = serialize.event_data(
                    serialize.payment_intent(
                        intent,
                        state,
                        facts,
                        timeline,
                        clock,
                        payment_contract=self.payment_contract,
                        shown=shown,
                    ),
                    previous_status=draft.previous_status,
                    reason=draft.reason,
                    supersedes=draft.supersedes,
                    network=self.network,
                    clock=clock,
                    refund=draft.refund,
                )
                return event_body(id=draft.id, type=draft.type, created_at=now, sequence=number, data=data)

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
        note(decision.status, None)
        note_refunds(decision.status)
        gained = [(change.at, change.status, change.reason) for change in timeline[known:]]
        return known, gained, events


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
