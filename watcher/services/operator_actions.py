"""Operator actions on intents and transfers: stored facts like any other, then the intents are settled.

Each action holds the cursor, so that no step of the chain comes in between; the caller's transaction commits
all or nothing. The intent is settled before the action too: it may be due, and a payment that a person has
not seen yet comes first.
"""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, func, select

from contracts.model import Route
from notifier import outbox
from watcher.domain.model import (
    BEFORE_THE_CHAIN,
    ChainClock,
    Intent,
    OperatorActionKind,
    Status,
    TimelineEntry,
)
from watcher.domain.settlement import decide
from watcher.errors import NotFound, Refused
from watcher.indexer.settler import Settler, to_sent_event
from watcher.store import chain_state
from watcher.store import intents as intent_store
from watcher.store import operator_actions as action_store
from watcher.store import transfers as transfer_store
from watcher.store.schema import recipient, transfer, transition


def cancel(
    connection: Connection,
    intent_id: str,
    *,
    reason: str = "canceled",
    actor: str,
    settler: Settler,
    now: float,
    merchant: str | None = None,
) -> None:
    """Cancel a pending intent. ``merchant``: its owner, checked.

    Raises :class:`NotFound`, :class:`Refused` (``not_pending``).
    """
    clock = _hold_clock(connection)
    intent = _settled_intent(connection, intent_id, merchant, clock, settler, now)
    if intent.status is not Status.PENDING:
        raise Refused(
            "not_pending",
            f"intent {intent_id} is {intent.status}; only a pending intent can be canceled",
            hint="mark it, if a person knows better",
        )
    action_store.add_action(
        connection, intent_id, OperatorActionKind.CANCEL, clock, reason=reason, actor=actor, now=now
    )
    _note(connection, intent, f"canceled by {actor}: {reason}", now)
    settler.settle(connection, [intent_id], clock, now=now)


def mark(
    connection: Connection,
    intent_id: str,
    *,
    status: Status,
    reason: str,
    actor: str,
    settler: Settler,
    now: float,
    merchant: str | None = None,
) -> None:
    """Declare an intent ``succeeded`` or ``failed``, whatever was paid. ``merchant``: its owner, checked.

    Raises :class:`NotFound`.
    """
    clock = _hold_clock(connection)
    intent = _settled_intent(connection, intent_id, merchant, clock, settler, now)
    action_store.add_action(
        connection,
        intent_id,
        OperatorActionKind.MARK,
        clock,
        status=status,
        reason=reason,
        actor=actor,
        now=now,
    )
    _note(connection, intent, f"marked {status} by {actor}: {reason}", now)
    settler.settle(connection, [intent_id], clock, now=now)


def dismiss(
    connection: Connection,
    intent_id: str,
    *,
    reason: str,
    actor: str,
    settler: Settler,
    now: float,
    merchant: str | None = None,
) -> None:
    """Dismiss the refund that is due of an ended intent: it was made another way, or it is not made.

    Money that comes later is due again. ``merchant``: the intent's owner, checked.

    Raises :class:`NotFound`, :class:`Refused` (``nothing_due``).
    """
    clock = _hold_clock(connection)
    intent = _settled_intent(connection, intent_id, merchant, clock, settler, now)
    due = _refund_due(connection, intent, clock)
    if not due:
        raise Refused(
            "nothing_due",
            f"no refund is due of intent {intent_id}, which is {intent.status}",
            hint="sbtc-watcher intents list --flag refund_due shows where one is",
        )
    action_store.add_action(
        connection,
        intent_id,
        OperatorActionKind.DISMISS,
        clock,
        reason=reason,
        actor=actor,
        now=now,
        amount=due,
    )
    _note(connection, intent, f"refund of {due} dismissed by {actor}: {reason}", now)
    settler.settle(connection, [intent_id], clock, now=now)


def assign(
    connection: Connection,
    transfer_id: str,
    intent_id: str,
    *,
    reason: str,
    actor: str,
    settler: Settler,
    now: float,
    merchant: str | None = None,
) -> None:
    """Give unmatched money to an intent, wherever on the chain it stands. ``merchant``: the intent's owner,
    checked.

    The same money that other blocks included goes with it, and must not belong to an intent there. The action
    names the money by transaction, rank, amount and recipient, and is void for money that differs in one of
    them or is not of the intent's asset.

    Raises :class:`NotFound`, :class:`Refused` (``already_matched``, ``wrong_asset``, ``wrong_recipient``,
    ``refuted``, ``is_refund``).
    """
    clock = _hold_clock(connection)
    intent = _settled_intent(connection, intent_id, merchant, clock, settler, now)
    money = _find_transfer(connection, transfer_id, intent, merchant)
    if money["asset"] != intent.asset_identifier:
        raise Refused(
            "wrong_asset",
            f"transfer {transfer_id} is of {money['asset']}, "
            f"intent {intent_id} asks for {intent.asset_identifier}",
        )
    if money["refuted"] is not None:
        raise Refused(
            "refuted",
            f"transfer {transfer_id} is not in the chain: {money['refuted']}",
            hint="sbtc-watcher transfers list --unmatched shows what is there instead, if anything is",
        )
    if money["route"] == Route.REFUND:
        raise Refused(
            "is_refund", f"transfer {transfer_id} is a refund through the contract, which pays for nothing"
        )
    identity = {name: money[name] for name in ("tx_id", "rank", "amount", "recipient")}
    same = [transfer.c[name] == value for name, value in identity.items()]
    query = select(transfer.c.id, transfer.c.intent_id, transfer.c.merchant_id).where(
        *same, transfer.c.asset == money["asset"], transfer.c.refuted.is_(None)
    )
    rows = connection.execute(query).all()
    for row in rows:
        if row.intent_id is not None:
            theirs = merchant not in (None, row.merchant_id)
            whose = "an intent of another merchant" if theirs else f"intent {row.intent_id}"
            raise Refused("already_matched", f"transfer {row.id} belongs to {whose}")
    action_store.add_action(
        connection, intent_id, action_store.ASSIGN, clock, reason=reason, actor=actor, now=now, **identity
    )
    _note(connection, intent, f"given {money['amount']} of {money['tx_id']} by {actor}: {reason}", now)
    for row in rows:
        transfer_store.assign_transfer(connection, row.id, intent_id, intent.merchant, assigned=True)
    settler.settle(connection, [intent_id], clock, now=now)


def _refund_due(connection: Connection, intent: Intent, clock: ChainClock) -> int:
    known = transfer_store.load_facts(connection, [intent.id])[intent.id]
    sent = [to_sent_event(row) for row in outbox.previous_events(connection, [intent.id])[intent.id]]
    return decide(intent, known, sent, clock).refund_due


def _hold_clock(connection: Connection) -> ChainClock:
    cursor = chain_state.load_cursor(connection, lock=True)
    return cursor.clock if cursor is not None else BEFORE_THE_CHAIN


def _settled_intent(
    connection: Connection,
    intent_id: str,
    merchant: str | None,
    clock: ChainClock,
    settler: Settler,
    now: float,
) -> Intent:
    """Return an intent as it stands at ``clock``."""
    _find_intent(connection, intent_id, merchant)
    settler.settle(connection, [intent_id], clock, now=now)
    return _find_intent(connection, intent_id, merchant)


def _find_intent(connection: Connection, intent_id: str, merchant: str | None) -> Intent:
    intent = intent_store.load_intents(connection, [intent_id]).get(intent_id)
    if intent is None or merchant not in (None, intent.merchant):
        raise NotFound(f"no intent {intent_id}", hint="sbtc-watcher intents list shows them")
    return intent


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


def _note(connection: Connection, intent: Intent, words: str, now: float) -> None:
    """Write what a person did into the intent's timeline, beside the status that it had; what follows is
    written below.
    """
    query = select(func.count()).select_from(transition).where(transition.c.intent_id == intent.id)
    known = connection.execute(query).scalar_one()
    entry = TimelineEntry(at=int(now), status=intent.status, reason=words)
    intent_store.add_transitions(connection, [(intent.id, known, [entry])])
