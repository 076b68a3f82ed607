"""Match the transfers, attempts and refunds of some blocks to intents, with one query of each kind."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from sqlalchemy import Connection

from chain.model import Block
from contracts.model import Attempt, Payment, PaymentRules, Reading, Refund
from contracts.payments import read_block
from watcher.domain.matching import Claim, MatchResult, by_strength, label_keys, match
from watcher.store import intents as intent_store
from watcher.store import transfers as transfer_store
from watcher.store.transfers import TransferMatch


class BadStep(Exception):
    """A step that contradicts what is stored, or cannot be understood: its source is at fault."""


class UnknownStatus(BadStep):
    """A transaction that would pay an intent has a status unknown to this version."""

    def __init__(self, fact: Payment | Attempt) -> None:
        super().__init__(
            f"transaction {fact.tx_id} in block {fact.block.height} would pay {fact.recipient}, but has a "
            "status that this version does not know; a newer version of sbtc-watcher may, or another source"
        )
        self.fact = fact


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockMatches:
    """The transfers, attempts and refunds of some blocks that are stored, each with its intent."""

    transfers: list[TransferMatch]
    #: Each with an intent that it was meant to pay.
    attempts: list[tuple[Attempt, str]]
    #: Each with the intent that it refunds.
    refunds: list[tuple[Refund, str]]

    @property
    def intents(self) -> set[str]:
        """The intents that anything was matched to."""
        found = {p.matched.intent.id for p in self.transfers if p.matched.intent is not None}
        return found | {intent for _, intent in self.attempts} | {intent for _, intent in self.refunds}


def read_all(blocks: Sequence[Block], rules: PaymentRules) -> Reading:
    """Read the payments, attempts and refunds of several blocks, in chain order."""
    readings = [read_block(block, rules) for block in blocks]
    return Reading(
        payments=tuple(payment for reading in readings for payment in reading.payments),
        attempts=tuple(attempt for reading in readings for attempt in reading.attempts),
        refunds=tuple(refund for reading in readings for refund in reading.refunds),
        unknown_status=tuple(fact for reading in readings for fact in reading.unknown_status),
    )


def match_blocks(
    connection: Connection,
    rules: PaymentRules,
    reading: Reading,
    held: Mapping[tuple[str, str, int], str] = MappingProxyType({}),
) -> BlockMatches:
    """Match the facts of some blocks to intents.

    ``held``: the intents that already have some payments, by (block, transaction, rank). An intent keeps a
    payment that still fits it, whatever intents were created since. Raises :class:`UnknownStatus`.
    """
    for fact, _ in match_unknown_status(connection, rules, reading):
        raise UnknownStatus(fact)
    payments, attempts, refunds = reading.payments, reading.attempts, reading.refunds
    labelled_facts: list[Payment | Attempt] = [*payments, *attempts]
    keys = {id(fact): label_keys(fact.memo, fact.terms_hash) for fact in labelled_facts}
    keys |= {id(refund): label_keys(None, refund.terms_hash) for refund in refunds}
    by_label = intent_store.intents_by_label(connection, {key for batch in keys.values() for key in batch})
    recipients = {payment.recipient for payment in payments}
    watched = intent_store.watched(connection, recipients)
    dedicated = intent_store.dedicated_intents(connection, watched)
    kept = [
        payment
        for payment in payments
        if any(key in by_label for key in keys[id(payment)])
        or (payment.recipient in watched and payment.asset in rules.assets)
    ]
    earlier = transfer_store.earlier_intents(connection, {payment.tx_id for payment in kept})
    assigned = transfer_store.assignments(connection, {payment.tx_id for payment in kept})
    assigned_intents = intent_store.load_intents(connection, set(assigned.values()))
    matches = []
    for payment in kept:
        identity = (payment.tx_id, payment.rank, payment.asset, payment.amount, payment.recipient)
        action = assigned.get(identity)
        if action is not None:
            matches.append(TransferMatch.assigned_by_operator(payment, assigned_intents[action]))
            continue
        labelled = by_strength(by_label, keys[id(payment)])
        own = dedicated.get(payment.recipient, ())
        before = earlier.get((payment.tx_id, payment.rank), {})
        previous = next((of for block, of in reversed(before.items()) if block != payment.block.hash), None)
        found = MatchResult()
        holder = held.get((payment.block.hash, payment.tx_id, payment.rank))
        if holder is not None:
            found = match(
                Claim.of(payment),
                labelled=[intent for intent in labelled if intent.id == holder],
                dedicated=[intent for intent in own if intent.id == holder],
                previous=previous,
            )
        if found.intent is None:
            found = match(Claim.of(payment), labelled=labelled, dedicated=own, previous=previous)
        near = found.intent or found.near
        merchant = watched.get(payment.recipient)
        if near is not None and (merchant is None or near.recipient == payment.recipient):
            merchant = near.merchant
        matches.append(TransferMatch(payment=payment, matched=found, merchant=merchant))
    matched_attempts = [
        (attempt, intent.id)
        for attempt in attempts
        for intent in by_strength(by_label, keys[id(attempt)])
        if attempt.recipient == intent.recipient
        and attempt.asset == intent.asset_identifier
        and attempt.block.time >= intent.not_before  # an older one was not for this intent
    ]
    # The contract refunds the payer, so that only terms, asset and sender have to be compared.
    matched_refunds = [
        (refund, intent.id)
        for refund in refunds
        for intent in by_strength(by_label, keys[id(refund)])
        if (refund.terms_hash, refund.asset, refund.sender)
        == (intent.terms_hash, intent.asset_identifier, intent.recipient)
    ]
    return BlockMatches(transfers=matches, attempts=matched_attempts, refunds=matched_refunds)


def match_unknown_status(
    connection: Connection, rules: PaymentRules, reading: Reading
) -> list[tuple[Payment | Attempt, str | None]]:
    """Return our transactions of unknown status, each with the intent that it would belong to, if any."""
    if not reading.unknown_status:
        return []
    payments = tuple(fact for fact in reading.unknown_status if isinstance(fact, Payment))
    attempts = tuple(fact for fact in reading.unknown_status if isinstance(fact, Attempt))
    ours = match_blocks(connection, rules, Reading(payments=payments, attempts=attempts))
    owners = ((p.payment, p.matched.intent) for p in ours.transfers)
    return [*((fact, owner.id if owner else None) for fact, owner in owners), *ours.attempts]
