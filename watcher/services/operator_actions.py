"""Operator actions on intents and transfers: stored facts like any other, then the intents are settled.

Each action holds the cursor, so that no step of the chain comes in between; the caller's transaction commits
all or nothing. The intent is settled before the action too: it may be due, and a payment that a person has
not seen yet comes first.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, func, select

from contracts.model import Route
from notifier import outbox
from watcher.domain.decision import Decision
from watcher.domain.model import (
    BEFORE_THE_CHAIN,
    ChainClock,
    Facts,
    Intent,
    OperatorActionKind,
    Status,
    TimelineEntry,
)
from watcher.domain.settlement import decide
from watcher.errors import NotFound, Refused
from watcher.indexer.settler import to_sent_event
from watcher.schemas import Assign, Cancel, Dismiss, Mark
from watcher.services.context import Document
from watcher.services.payment_intents import PaymentIntentService
from watcher.store import chain_state
from watcher.store import intents as intent_store
from watcher.store import operator_actions as action_store
from watcher.store import transfers as transfer_store
from watcher.store.schema import recipient, transfer, transition


class OperatorActionService(PaymentIntentService):
    """What operators and merchants do to intents and transfers."""

    def cancel_intent(self, intent_id: str, request: Cancel) -> Document:
        """Cancel a pending intent and return it. Raises :class:`NotFound`, :class:`Refused`
        (``not_pending``).
        """
        reason = request.reason or "canceled"
        with self._acting_on(intent_id) as (intent, clock):
            if intent.status is not Status.PENDING:
                raise Refused(
                    "not_pending",
                    f"intent {intent_id} is {intent.status}; only a pending intent can be canceled",
                    hint="mark it, if a person knows better",
                )
            self._record(intent, OperatorActionKind.CANCEL, clock, reason, "canceled")
        return self.intent(intent_id)

    def mark_intent(self, intent_id: str, request: Mark) -> Document:
        """Mark an intent succeeded or failed, whatever was paid, and return it. Raises :class:`NotFound`."""
        status = Status(request.status)
        with self._acting_on(intent_id) as (intent, clock):
            done = f"marked {status}"
            self._record(intent, OperatorActionKind.MARK, clock, request.reason, done, status=status)
        return self.intent(intent_id)

    def dismiss_intent(self, intent_id: str, request: Dismiss) -> Document:
        """Dismiss the refund that is due of an ended intent, and return the intent.

        It was made another way, or it is not made. Money that comes later is due again.

        Raises :class:`NotFound`, :class:`Refused` (``nothing_due``).
        """
        with self._acting_on(intent_id) as (intent, clock):
            facts = transfer_store.load_facts(self.connection, [intent.id])[intent.id]
            due = decision_of(self.connection, intent, facts, clock).refund_due
            if not due:
                raise Refused(
                    "nothing_due",
                    f"no refund is due of intent {intent_id}, which is {intent.status}",
                    hint="sbtc-watcher intents list --flag refund_due shows where one is",
                )
            done = f"refund of {due} dismissed"
            self._record(intent, OperatorActionKind.DISMISS, clock, request.reason, done, amount=due)
        return self.intent(intent_id)

    def assign_transfer(self, transfer_id: str, request: Assign) -> Document:
        """Give an unmatched transfer to an intent, wherever on the chain it is, and return the transfer.

        The same transfer in other blocks goes with it, and must not belong to an intent there. The action
        names the transfer by transaction, rank, amount and recipient, and is void for one that differs in any
        of them or is not of the intent's asset.

        Raises :class:`NotFound`, :class:`Refused` (``already_matched``, ``wrong_asset``, ``wrong_recipient``,
        ``refuted``, ``is_refund``).
        """
        with self._acting_on(request.intent) as (intent, clock):
            row = _find_transfer(self.connection, transfer_id, intent, self.merchant)
            _check_assignable(row, intent)
            identity = {name: row[name] for name in ("tx_id", "rank", "amount", "recipient")}
            same = self._unassigned(row, identity)
            done = f"given {row['amount']} of {row['tx_id']}"
            self._record(intent, action_store.ASSIGN, clock, request.reason, done, **identity)
            for id_ in same:
                transfer_store.assign_transfer(
                    self.connection, id_, intent.id, intent.merchant, assigned=True
                )
        return self.transfer(transfer_id)

    def _unassigned(self, row: Mapping[Any, Any], identity: Mapping[str, Any]) -> list[str]:
        """Return the ids of a transfer in all blocks. Raises :class:`Refused` if one belongs to an intent."""
        query = select(transfer.c.id, transfer.c.intent_id, transfer.c.merchant_id).where(
            *(transfer.c[name] == value for name, value in identity.items()),
            transfer.c.asset == row["asset"],
            transfer.c.refuted.is_(None),
        )
        rows = self.connection.execute(query).all()
        for other in rows:
            if other.intent_id is not None:
                hidden = self.merchant not in (None, other.merchant_id)
                owner = "an intent of another merchant" if hidden else f"intent {other.intent_id}"
                raise Refused("already_matched", f"transfer {other.id} belongs to {owner}")
        return [other.id for other in rows]

    @contextmanager
    def _acting_on(self, intent_id: str) -> Iterator[tuple[Intent, ChainClock]]:
        """Hold the cursor and settle the intent, before an action and after it."""
        cursor = chain_state.load_cursor(self.connection, lock=True)
        clock = cursor.clock if cursor is not None else BEFORE_THE_CHAIN
        self._find_intent(intent_id)
        self.settler.settle(self.connection, [intent_id], clock, now=self.now)
        yield self._find_intent(intent_id), clock
        self.settler.settle(self.connection, [intent_id], clock, now=self.now)

    def _find_intent(self, intent_id: str) -> Intent:
        intent = intent_store.load_intents(self.connection, [intent_id]).get(intent_id)
        if intent is None or self.merchant not in (None, intent.merchant):
            raise NotFound(f"no intent {intent_id}", hint="sbtc-watcher intents list shows them")
        return intent

    def _record(
        self, intent: Intent, kind: str, clock: ChainClock, reason: str, done: str, **values: Any
    ) -> None:
        """Store an action, and note it in the intent's timeline beside the status that the intent had."""
        action_store.add_action(
            self.connection,
            intent.id,
            kind,
            clock,
            reason=reason,
            actor=self.actor,
            now=self.now,
            **values,
        )
        query = select(func.count()).select_from(transition).where(transition.c.intent_id == intent.id)
        known = self.connection.execute(query).scalar_one()
        note = f"{done} by {self.actor}: {reason}"
        entry = TimelineEntry(at=int(self.now), status=intent.status, reason=note)
        intent_store.add_transitions(self.connection, [(intent.id, known, [entry])])


def _check_assignable(row: Mapping[Any, Any], intent: Intent) -> None:
    if row["asset"] != intent.asset_identifier:
        raise Refused(
            "wrong_asset",
            f"transfer {row['id']} is of {row['asset']}, "
            f"intent {intent.id} asks for {intent.asset_identifier}",
        )
    if row["refuted"] is not None:
        raise Refused(
            "refuted",
            f"transfer {row['id']} is not in the chain: {row['refuted']}",
            hint="sbtc-watcher transfers list --unmatched shows what is there instead, if anything is",
        )
    if row["route"] == Route.REFUND:
        raise Refused(
            "is_refund", f"transfer {row['id']} is a refund through the contract, which pays for nothing"
        )


def decision_of(connection: Connection, intent: Intent, facts: Facts, clock: ChainClock) -> Decision:
    """Return how an intent stands now, with more than what is stored of it: what is due, and to whom."""
    sent = [to_sent_event(row) for row in outbox.previous_events(connection, [intent.id])[intent.id]]
    return decide(intent, facts, sent, clock)


def _find_transfer(
    connection: Connection, transfer_id: str, intent: Intent, merchant: str | None
) -> Mapping[Any, Any]:
    """Return a transfer's row, which must have gone to the intent's merchant."""
    row = connection.execute(select(transfer).where(transfer.c.id == transfer_id)).mappings().one_or_none()
    missing = NotFound(
        f"no transfer {transfer_id}", hint="sbtc-watcher transfers list --unmatched shows them"
    )
    if row is None:
        raise missing
    watched = select(recipient.c.principal).where(
        recipient.c.principal == row["recipient"], recipient.c.merchant_id == intent.merchant
    )
    if connection.execute(watched).scalar_one_or_none() is None:
        if merchant is not None:  # who may not see it does not learn that it exists
            raise missing
        raise Refused(
            "wrong_recipient",
            f"transfer {transfer_id} went to {row['recipient']}, "
            f"which is not a recipient of merchant {intent.merchant}",
        )
    return row
