"""Match the transfers, attempts and refunds of some blocks to intents, with one query of each kind."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from sqlalchemy import Connection

from chain.model import Block
from contracts.model import Attempt, Payment, PaymentRules, Reading, Refund
from contracts.payments import read_block
from watcher.domain.matching import Claim
from watcher.indexer.candidates import Candidates
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
    watched = intent_store.watched(connection, {payment.recipient for payment in reading.payments})
    facts: list[Payment | Attempt] = [*reading.payments, *reading.attempts]
    labels = {(fact.memo, fact.terms_hash) for fact in facts}
    labels |= {(None, refund.terms_hash) for refund in reading.refunds}
    candidates = Candidates.load(connection, labels, watched)
    return BlockMatches(
        transfers=_match_transfers(connection, rules, reading.payments, watched, candidates, held),
        attempts=_match_attempts(reading.attempts, candidates),
        refunds=_match_refunds(reading.refunds, candidates),
    )


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


def _match_transfers(
    connection: Connection,
    rules: PaymentRules,
    payments: Sequence[Payment],
    watched: Mapping[str, str],
    candidates: Candidates,
    held: Mapping[tuple[str, str, int], str],
) -> list[TransferMatch]:
    """Match the payments that are stored: those with a known label, or to a watched recipient."""
    stored = [
        payment
        for payment in payments
        if candidates.labelled[payment.memo, payment.terms_hash]
        or (payment.recipient in watched and payment.asset in rules.assets)
    ]
    tx_ids = {payment.tx_id for payment in stored}
    earlier = transfer_store.earlier_intents(connection, tx_ids)
    assigned = transfer_store.assignments(connection, tx_ids)
    assigned_intents = intent_store.load_intents(connection, set(assigned.values()))
    matches = []
    for payment in stored:
        identity = (payment.tx_id, payment.rank, payment.asset, payment.amount, payment.recipient)
        if identity in assigned:
            intent = assigned_intents[assigned[identity]]
            matches.append(TransferMatch.assigned_by_operator(payment, intent))
            continue
        before = earlier.get((payment.tx_id, payment.rank), {})
        found = candidates.match(
            Claim.of(payment),
            previous=next(
                (of for block, of in reversed(before.items()) if block != payment.block.hash), None
            ),
            holder=held.get((payment.block.hash, payment.tx_id, payment.rank)),
        )
        near = found.intent or found.near
        merchant = watched.get(payment.recipient)
        if near is not None and (merchant is None or near.recipient == payment.recipient):
            merchant = near.merchant
        matches.append(TransferMatch(payment=payment, matched=found, merchant=merchant))
    return matches


def _match_attempts(attempts: Sequence[Attempt], candidates: Candidates) -> list[tuple[Attempt, str]]:
    return [
        (attempt, intent.id)
        for attempt in attempts
        for intent in candidates.labelled[attempt.memo, attempt.terms_hash]
        if attempt.recipient == intent.recipient
        and attempt.asset == intent.asset_identifier
        and attempt.block.time >= intent.not_before  # an older one was not for this intent
    ]


def _match_refunds(refunds: Sequence[Refund], candidates: Candidates) -> list[tuple[Refund, str]]:
    """Match refunds by terms, asset and sender: the contract always refunds the payer."""
    return [
        (refund, intent.id)
        for refund in refunds
        for intent in candidates.labelled[None, refund.terms_hash]
        if (refund.terms_hash, refund.asset, refund.sender)
        == (intent.terms_hash, intent.asset_identifier, intent.recipient)
    ]
