"""Settle intents on an open transaction: call ``decide``, store the decision, enqueue its events.

Everything that can change a decision passes through here: a step of the chain, a new intent, an operator
action.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from sqlalchemy import Connection
from sqlalchemy.exc import ProgrammingError, SQLAlchemyError

from notifier import outbox
from notifier.database_errors import is_outage
from notifier.events import EventType
from watcher import unforeseen
from watcher.config.settings import Settings
from watcher.domain.model import ChainClock, SentEvent
from watcher.domain.server_info import ServerInfo
from watcher.domain.settlement import decide
from watcher.errors import WatcherError
from watcher.indexer.intent_settlement import EventContext, Settlement
from watcher.indexer.settle_result import SettleResult
from watcher.store import chain_state, day_counts, due_intents, verification
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
class Settler:
    """Settles intents. What documents say of the server goes into every event; it is fixed at the start."""

    server_info: ServerInfo
    #: Wait before the first attempt of a delivery, seconds.
    first_wait: float = 0.0
    #: Without it events are written, but nothing is delivered.
    notify: bool = True
    #: Settle only intents whose stored state is not what ``decide()`` returns, and put none off.
    repairs: bool = False
    #: When the block that is the cause was first seen, by this machine's clock, for metrics.
    seen_at: float | None = None

    @property
    def network(self) -> str:
        """The network whose chain is followed."""
        return self.server_info.network

    @classmethod
    def of(cls, settings: Settings) -> "Settler":
        """Return a settler for these settings."""
        return cls(
            server_info=settings.server_info,
            first_wait=settings.webhook_retry_schedule[0],
        )

    def for_repair(self, *, notify: bool = True) -> Self:
        """Return this settler for a command that repairs; without ``notify`` nothing is delivered.

        It skips what is up to date, and puts nothing off: an operator runs the command once, and may not want
        the daemon to send events later.
        """
        return replace(self, notify=notify, repairs=True)

    def settle(
        self, connection: Connection, ids: Collection[str], clock: ChainClock, *, now: float
    ) -> SettleResult:
        """Decide each of these intents at ``clock`` and write the decision with its events."""
        rows = intent_store.load_rows(connection, ids)
        done = []
        if self.notify and (heights := due_intents.unnotified_heights(rows)):
            done = self._settle_unnotified(connection, heights, clock, now=now)
            rows = intent_store.load_rows(connection, ids)
        settled = self._settle_rows(connection, rows, clock, now=now)
        return replace(SettleResult.combine([*done, settled]), intents=settled.intents)

    def _settle_rows(
        self, connection: Connection, rows: Mapping[str, Mapping[Any, Any]], clock: ChainClock, *, now: float
    ) -> SettleResult:
        """Decide on these intents and write what is outdated, or everything."""
        settlements = self._decide(connection, rows, clock)
        if not settlements:
            return SettleResult()
        decisions = [(each.intent, each.decision) for each in settlements]
        intent_store.save_decisions(connection, decisions, clock, now=int(now))
        unverified = [(each.intent.id, each.decision.to_verify) for each in settlements]
        verification.mark_unverified(connection, unverified, at=clock.time)
        context = EventContext(
            server_info=self.server_info,
            clock=clock,
            now=now,
            seen_at=self.seen_at,
        )
        events = [row for each in settlements for row in each.build_events(context)]
        succeeded = [row.intent for row in events if row.type is EventType.SUCCEEDED]
        intent_store.record_successes(connection, succeeded, at=clock.time)
        new_successes = frozenset(succeeded)
        day_counts.record(connection, [each.counted(new_successes, at=clock.time) for each in settlements])
        intent_store.add_transitions(
            connection, [(each.intent.id, each.known, each.timeline[each.known :]) for each in settlements]
        )
        if self.notify:
            outbox.enqueue_many(connection, events, now=now, first_wait=self.first_wait)
        else:
            outbox.insert_events(connection, events)
        return SettleResult(
            intents=len(settlements),
            changes=tuple(change for each in settlements for change in each.changes),
            transitions=tuple(
                (each.intent.id, each.intent.status, each.decision.status)
                for each in settlements
                if each.is_moved
            ),
            events=len(events),
            reversed=tuple(each.intent.id for each in settlements for _ in each.reversals),
        )

    def _decide(
        self, connection: Connection, rows: Mapping[str, Mapping[Any, Any]], clock: ChainClock
    ) -> list[Settlement]:
        """Decide on these intents, and load the timelines to which something may be added."""
        facts = transfer_store.load_facts(connection, rows)
        sent = outbox.previous_events(connection, rows)
        settlements = []
        for key in sorted(rows):
            intent = intent_store.read_intent(rows[key])
            decision = decide(intent, facts[key], [to_sent_event(row) for row in sent[key]], clock)
            settlements.append(
                Settlement(
                    row=rows[key], intent=intent, facts=facts[key], sent=len(sent[key]), decision=decision
                )
            )
        if self.repairs:
            settlements = [each for each in settlements if each.is_outdated]
        with_news = [each for each in settlements if each.has_news]
        timelines = intent_store.load_timelines(connection, [each.intent.id for each in with_news])
        for each in with_news:
            each.timeline = timelines[each.intent.id]
            each.known = len(each.timeline)
        return settlements

    def _settle_unnotified(
        self, connection: Connection, heights: Mapping[int, Sequence[str]], clock: ChainClock, *, now: float
    ) -> list[SettleResult]:
        """Settle intents as of our blocks at some heights, without delivering anything.

        ``heights``: the intents by height; what is newer is not part of the decision. Where our block is no
        longer stored, nothing tells what is newer: those are left, and are delivered.
        """
        done = []
        silent = replace(self, notify=False, seen_at=None)
        for height, ids in heights.items():
            header = chain_state.canonical_header(connection, min(height, clock.height))
            if header is None:
                continue
            rows = intent_store.load_rows(connection, ids)
            done.append(silent._settle_rows(connection, rows, chain_state.clock_at(header), now=now))
        return done

    def settle_due(
        self, connection: Connection, touched: Collection[str], clock: ChainClock, *, now: float
    ) -> SettleResult:
        """Settle intents whose facts changed and those due at ``clock``, as many as one transaction may.

        The others stay due, or are marked as due, for the next call: in a transaction of its own, by any
        process. An intent that cannot be settled is set aside for :data:`SET_ASIDE_SECONDS`, and does not
        hold up the others. Without ``notify`` only touched and marked intents are settled: other due ones are
        left to the daemon, because their events are to be delivered.
        """
        if not self.notify:
            return self._settle_due_unnotified(connection, touched, clock, now=now)
        waiting = sorted(touched)
        first = waiting[:MAX_INTENTS_PER_TRANSACTION]
        due_intents.notify(connection, first)
        due_intents.mark_due(connection, waiting[MAX_INTENTS_PER_TRANSACTION:])
        due = due_intents.find_due(connection, clock, limit=MAX_INTENTS_PER_TRANSACTION + 1)
        wanted = list(dict.fromkeys([*first, *due]))
        facts = transfer_store.count_facts(connection, wanted)
        oversized = [key for key in first if facts[key] > OVERSIZED_FACTS and not self.repairs]
        if oversized:
            due_intents.postpone(connection, oversized, until=clock.time + OVERSIZED_WAIT_SECONDS)
            wanted = [key for key in wanted if key not in oversized]
        taken = _within(wanted[:MAX_INTENTS_PER_TRANSACTION], facts, MAX_FACTS_PER_TRANSACTION)
        due_intents.mark_due(connection, [key for key in first if key in wanted and key not in taken])
        settled = self.settle_apart(connection, taken, clock, now=now)
        return replace(settled, more=len(wanted) > len(taken))

    def _settle_due_unnotified(
        self, connection: Connection, touched: Collection[str], clock: ChainClock, *, now: float
    ) -> SettleResult:
        """Settle touched intents and those that are marked; touched ones beyond the limit are marked.

        So settling them later delivers nothing either.
        """
        left = due_intents.unnotified(connection, limit=MAX_INTENTS_PER_TRANSACTION + 1)
        waiting = list(dict.fromkeys([*sorted(touched), *left]))
        taken = self.batch(connection, waiting)
        due_intents.mark_unnotified(connection, sorted({*touched} - {*taken}), height=clock.height)
        settled = self.settle_apart(connection, taken, clock, now=now)
        return replace(settled, more=len(waiting) > len(taken))

    def batch(self, connection: Connection, ids: Sequence[str]) -> list[str]:
        """Return the first of some intents, as many as one transaction may settle."""
        first = ids[:MAX_INTENTS_PER_TRANSACTION]
        return _within(first, transfer_store.count_facts(connection, first), MAX_FACTS_PER_TRANSACTION)

    def settle_apart(
        self, connection: Connection, ids: Sequence[str], clock: ChainClock, *, now: float
    ) -> SettleResult:
        """Settle intents together, or one by one when one of them fails; that one is set aside."""
        try:
            with connection.begin_nested():
                return self.settle(connection, ids, clock, now=now)
        except Exception as error:
            if isinstance(error, WatcherError) or (isinstance(error, SQLAlchemyError) and is_outage(error)):
                raise
            if isinstance(error, ProgrammingError):
                # PostgreSQL's error for a missing table or privilege, which is not the fault of an intent.
                raise
            if len(ids) <= 1:
                unforeseen.report("settle", error)
                due_intents.set_aside(connection, ids, until=clock.time + SET_ASIDE_SECONDS)
                return SettleResult(intents=len(ids))
        done = [self.settle_apart(connection, [key], clock, now=now) for key in ids]
        return SettleResult.combine(done)


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
