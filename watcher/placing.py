"""Where the money and the attempts of some blocks belong: one query of each kind, however many there are."""

from collections.abc import Sequence

from sqlalchemy import Connection

from chain.model import Block
from contracts.model import Attempt, MoneyRules, Payment
from contracts.reader import read_block
from watcher import facts, records
from watcher.facts import Placement
from watcher.matching import Claim, by_strength, label_keys, match


def read_all(blocks: Sequence[Block], rules: MoneyRules) -> tuple[list[Payment], list[Attempt]]:
    """Return the payments and attempts of several blocks, in chain order."""
    readings = [read_block(block, rules) for block in blocks]
    return (
        [payment for reading in readings for payment in reading.payments],
        [attempt for reading in readings for attempt in reading.attempts],
    )


def place(
    connection: Connection, rules: MoneyRules, payments: Sequence[Payment], attempts: Sequence[Attempt]
) -> tuple[list[Placement], list[tuple[Attempt, str]]]:
    """Return the payments that are ours to keep, with where they belong, and each attempt with its intents."""
    labelled: list[Payment | Attempt] = [*payments, *attempts]
    keys = {id(fact): label_keys(fact.memo, fact.terms_hash) for fact in labelled}
    by_label = records.intents_by_label(connection, {key for some in keys.values() for key in some})
    recipients = {payment.recipient for payment in payments}
    watched = records.watched(connection, recipients)
    dedicated = records.dedicated_intents(connection, watched)
    kept = [
        payment
        for payment in payments
        if any(key in by_label for key in keys[id(payment)])
        or (payment.recipient in watched and payment.asset in rules.assets)
    ]
    earlier = facts.earlier_intents(connection, {payment.tx_id for payment in kept})
    assigned = facts.assignments(connection, {payment.tx_id for payment in kept})
    given = records.load_intents(connection, set(assigned.values()))
    placements = []
    for payment in kept:
        identity = (payment.tx_id, payment.rank, payment.asset, payment.amount, payment.recipient)
        act = assigned.get(identity)
        if act is not None:
            placements.append(Placement.by_person(payment, given[act]))
            continue
        found = match(
            Claim.of(payment),
            labelled=by_strength(by_label, keys[id(payment)]),
            dedicated=dedicated.get(payment.recipient, ()),
            previous=earlier.get((payment.tx_id, payment.rank)),
        )
        near = found.intent or found.near
        merchant = watched.get(payment.recipient)
        if near is not None and (merchant is None or near.recipient == payment.recipient):
            merchant = near.merchant
        placements.append(Placement(payment=payment, matched=found, merchant=merchant))
    tries = [
        (attempt, intent.id)
        for attempt in attempts
        for intent in by_strength(by_label, keys[id(attempt)])
        if attempt.recipient == intent.recipient and attempt.asset == intent.asset_identifier
    ]
    return placements, tries
