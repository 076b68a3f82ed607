"""Keeping an intent's books: ask ``decide``, write what it says, and its events, on one open transaction.

Everything that can change a decision comes through here: a step of the chain, a new intent, a person's act.
"""

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import Connection, select

from notifier import outbox
from notifier.events import EventType, event_body
from watcher import facts as facts_store
from watcher import records, views
from watcher.intents import ChainClock, Facts, Intent, Status, Told
from watcher.settings import Settings
from watcher.settlement import Decision, Draft, decide
from watcher.tables import intent as intent_table
from watcher.tables import transition

#: The clock of a database that has not begun to follow the chain: nothing is deep, nothing has passed.
BEFORE_THE_CHAIN = ChainClock(height=0, hash="", time=0, burn_height=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """What settling some intents did."""

    intents: int = 0
    #: Status changes as (intent, before, after).
    transitions: tuple[tuple[str, Status, Status], ...] = ()
    #: Events written; some may have no endpoint to go to.
    events: int = 0
    #: Intents whose told success a reorg took back for good.
    reversed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """The network's name and contract go into what is told; they are fixed while the daemon runs."""

    network: str
    payment_contract: str | None = None
    #: Wait before the first attempt of a delivery, seconds.
    first_wait: float = 0.0

    @classmethod
    def of(cls, settings: Settings) -> "Books":
        """Return the books as the settings say."""
        return cls(
            network=settings.network.value,
            payment_contract=settings.payment_contract,
            first_wait=settings.webhook_retry_schedule[0],
        )

    def settle(
        self, connection: Connection, ids: Collection[str], clock: ChainClock, *, now: float
    ) -> Settled:
        """Decide each of these intents at ``clock`` and write the outcome with its events."""
        intents = records.load_intents(connection, ids)
        facts = facts_store.load_facts(connection, intents)
        told = outbox.told(connection, intents)
        transitions = []
        taken_back = []
        events = 0
        for key in sorted(intents):
            earlier = [_told(row) for row in told[key]]
            decision = decide(intents[key], facts[key], earlier, clock)
            records.save_decision(connection, intents[key], decision, clock, now=int(now))
            self._note(connection, intents[key], facts[key], decision, now=int(now))
            events += self._tell(connection, intents[key], facts[key], decision, len(earlier), clock, now=now)
            if decision.status is not intents[key].status:
                transitions.append((key, intents[key].status, decision.status))
            taken_back += [key for draft in decision.drafts if draft.reason == "reorged" and draft.supersedes]
        return Settled(
            intents=len(intents), transitions=tuple(transitions), events=events, reversed=tuple(taken_back)
        )

    def _note(
        self, connection: Connection, intent: Intent, facts: Facts, decision: Decision, *, now: int
    ) -> None:
        changes: list[tuple[Status, str | None]] = [
            (draft.status, _why(draft, facts)) for draft in decision.drafts
        ]
        records.note_transitions(connection, intent.id, [*changes, (decision.status, None)], at=now)

    def _tell(
        self,
        connection: Connection,
        intent: Intent,
        facts: Facts,
        decision: Decision,
        sequence: int,
        clock: ChainClock,
        *,
        now: float,
    ) -> int:
        if not decision.drafts:
            return 0
        timeline = load_timeline(connection, intent.id)
        query = select(intent_table).where(intent_table.c.id == intent.id)
        row = connection.execute(query).mappings().one()
        succeeded_at = row["succeeded_at"]
        for number, draft in enumerate(decision.drafts, start=sequence + 1):
            if draft.type is EventType.SUCCEEDED:
                succeeded_at = clock.time
                records.note_success(connection, intent.id, at=clock.time)
            standing = views.Standing(
                status=draft.status,
                flags=draft.flags,
                received=decision.received,
                missing=decision.missing,
                over=decision.over,
                anchor=decision.anchor,
                in_flight=row["in_flight"],
                updated_at=int(now),
                succeeded_at=succeeded_at,
            )
            document = views.payment_intent(
                intent, standing, facts, timeline, clock, payment_contract=self.payment_contract
            )
            data = views.event_data(
                document,
                previous_status=draft.previous_status,
                reason=draft.reason,
                supersedes=draft.supersedes,
                network=self.network,
                clock=clock,
            )
            body = event_body(id=draft.id, type=draft.type, created_at=now, sequence=number, data=data)
            outbox.enqueue(
                connection,
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
                    body=body,
                    created_at=int(now),
                ),
                now=now,
                first_wait=self.first_wait,
            )
        return len(decision.drafts)


def load_timeline(connection: Connection, intent_id: str) -> tuple[views.Change, ...]:
    """Return an intent's status changes, oldest first."""
    query = select(transition).where(transition.c.intent_id == intent_id).order_by(transition.c.n)
    return tuple(
        views.Change(at=row.at, status=Status(row.status), reason=row.reason)
        for row in connection.execute(query)
    )


def _why(draft: Draft, facts: Facts) -> str | None:
    if draft.type is EventType.CREATED:
        return "created"
    if draft.reason == "manual":
        return f"manual: {facts.acts[-1].reason}"
    return draft.reason


def _told(row: outbox.ToldRow) -> Told:
    return Told(id=row.id, type=row.type, reason=row.reason, subject=row.subject, time=row.as_of)
