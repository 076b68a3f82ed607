"""What some blocks say and our tables do not, and the other way round. Reads only."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Row, Table, select

from chain.model import BlockHeader
from contracts.model import Attempt, MoneyRules, Payment, Reading, Refund
from watcher import records
from watcher.database import chunks
from watcher.facts import Placement
from watcher.placing import place
from watcher.tables import attempt, refund, transfer


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A row that the chain does not bear out. It is reported and left as it is: a person judges."""

    #: Id of the transfer, attempt or refund.
    row: str
    tx_id: str
    height: int
    intent: str | None
    #: What is odd about it, for people.
    note: str

    def document(self) -> dict[str, Any]:
        """Return it as ``--json`` prints it."""
        return {
            "row": self.row,
            "tx_id": self.tx_id,
            "block_height": self.height,
            "intent": self.intent,
            "note": self.note,
        }


@dataclass(slots=True, kw_only=True)
class Gaps:
    """What comparing some blocks with our tables found."""

    #: Payments that we should have as canonical and do not.
    transfers: list[Placement] = field(default_factory=list)
    #: The same of failed attempts, each for an intent.
    attempts: list[tuple[Attempt, str]] = field(default_factory=list)
    #: The same of refunds, each for its intent.
    refunds: list[tuple[Refund, str]] = field(default_factory=list)
    #: Intents of the payments and refunds that we have.
    known: set[str] = field(default_factory=set)
    differences: list[Difference] = field(default_factory=list)
    #: Payments that belong to us, known ones included.
    ours: int = 0

    def add(self, more: "Gaps") -> None:
        """Take over what other blocks lack."""
        self.transfers += more.transfers
        self.attempts += more.attempts
        self.refunds += more.refunds
        self.known |= more.known
        self.differences += more.differences
        self.ours += more.ours

    @property
    def paid(self) -> set[str]:
        """The intents that have money in these blocks, that which came and that which went back."""
        found = {p.matched.intent.id for p in self.transfers if p.matched.intent is not None}
        return found | {intent_id for _, intent_id in self.refunds} | self.known

    @property
    def tried(self) -> set[str]:
        """The intents of attempts that were missing."""
        return {intent_id for _, intent_id in self.attempts}


def find_gaps(
    connection: Connection,
    rules: MoneyRules,
    headers: Sequence[BlockHeader],
    reading: Reading,
    *,
    only: str | None = None,
) -> Gaps:
    """Compare canonical blocks, contiguous and oldest first, with our tables; ``only``: one intent's facts."""
    gaps = Gaps()
    placed = place(connection, rules, reading)
    placements = placed.transfers
    if only is not None:
        placements = [p for p in placements if p.matched.intent is not None and p.matched.intent.id == only]
    gaps.ours = len(placements)
    in_chain = {header.hash for header in headers}
    low, high = headers[0].height, headers[-1].height
    rows = connection.execute(select(transfer).where(transfer.c.height.between(low, high))).all()
    have = {(row.block_hash, row.tx_id, row.rank): row for row in rows if row.canonical}
    said = {(p.block.hash, p.tx_id, p.rank): p for p in reading.payments}
    elsewhere = canonical_elsewhere(connection, transfer, [p.payment for p in placements])
    for placement in placements:
        payment = placement.payment
        row = have.get((payment.block.hash, payment.tx_id, payment.rank))
        if row is not None:
            if row.intent_id is not None and only in (None, row.intent_id):
                gaps.known.add(row.intent_id)
        elif (other := elsewhere.get((payment.tx_id, payment.rank))) is not None:
            gaps.differences.append(_difference(other, f"the chain has it in block {payment.block.hash}"))
        else:
            gaps.transfers.append(placement)
    for key, row in have.items():
        if only not in (None, row.intent_id) or (row.tx_id, row.rank) in elsewhere:
            continue
        if (note := _oddity(row, said.get(key), in_chain)) is not None:
            gaps.differences.append(_difference(row, note))
    _find_attempts(connection, gaps, (low, high), in_chain, placed.attempts, only)
    _find_refunds(connection, gaps, (low, high), in_chain, placed.refunds, only)
    return gaps


def _find_attempts(
    connection: Connection,
    gaps: Gaps,
    heights: tuple[int, int],
    in_chain: set[str],
    tries: list[tuple[Attempt, str]],
    only: str | None,
) -> None:
    tries = [found for found in tries if only in (None, found[1])]
    query = select(attempt).where(attempt.c.height.between(*heights), attempt.c.canonical)
    have = {(row.block_hash, row.tx_id, row.intent_id): row for row in connection.execute(query)}
    said = {(made.block.hash, made.tx_id, intent_id) for made, intent_id in tries}
    gaps.attempts += [
        (made, intent_id) for made, intent_id in tries if (made.block.hash, made.tx_id, intent_id) not in have
    ]
    for key, row in have.items():
        if key not in said and only in (None, row.intent_id):
            missing = "does not say so" if row.block_hash in in_chain else "is not in the chain"
            gaps.differences.append(_difference(row, f"its block {row.block_hash} {missing}"))


def _find_refunds(
    connection: Connection,
    gaps: Gaps,
    heights: tuple[int, int],
    in_chain: set[str],
    refunds: list[tuple[Refund, str]],
    only: str | None,
) -> None:
    said = {(made.block.hash, made.tx_id, made.rank): (made, intent_id) for made, intent_id in refunds}
    query = select(refund).where(refund.c.height.between(*heights), refund.c.canonical)
    have = {(row.block_hash, row.tx_id, row.rank): row for row in connection.execute(query)}
    elsewhere = canonical_elsewhere(connection, refund, [made for made, _ in refunds])
    for key, (made, intent_id) in said.items():
        if only not in (None, intent_id):
            continue
        if key in have:
            gaps.known.add(intent_id)
        elif (other := elsewhere.get((made.tx_id, made.rank))) is not None:
            gaps.differences.append(_difference(other, f"the chain has it in block {made.block.hash}"))
        else:
            gaps.refunds.append((made, intent_id))
    for key, row in have.items():
        if only not in (None, row.intent_id) or (row.tx_id, row.rank) in elsewhere:
            continue
        truth = said.get(key)
        if row.block_hash not in in_chain:
            gaps.differences.append(_difference(row, f"its block {row.block_hash} is not in the chain"))
        elif truth is None:
            gaps.differences.append(_difference(row, f"its block {row.block_hash} does not say so"))
        elif truth[0].amount != row.amount:
            gaps.differences.append(_difference(row, f"its block says {truth[0].amount}"))


def overlooked(connection: Connection, gaps: Gaps) -> int:
    """Count the missing facts that a step should have stored: those that are newer than their intent.

    Of what is older, or belongs to no intent, nobody may have known yet that it is ours.
    """
    owned = [(p.payment.block, p.matched.intent.id) for p in gaps.transfers if p.matched.intent is not None]
    owned += [(made.block, intent_id) for made, intent_id in gaps.attempts]
    owned += [(made.block, intent_id) for made, intent_id in gaps.refunds]
    intents = records.load_intents(connection, {intent_id for _, intent_id in owned})
    return sum(block.time >= intents[intent_id].created_at for block, intent_id in owned)


def canonical_elsewhere(
    connection: Connection, table: Table, facts: Sequence[Payment | Refund]
) -> dict[tuple[str, int], Row[Any]]:
    """Return the table's rows that have these movements as canonical in another block: one of the two cannot be."""
    blocks = {(fact.tx_id, fact.rank): fact.block.hash for fact in facts}
    found: dict[tuple[str, int], Row[Any]] = {}
    for some in chunks(sorted({fact.tx_id for fact in facts})):
        query = select(table).where(table.c.tx_id.in_(some), table.c.canonical)
        for row in connection.execute(query):
            if blocks.get((row.tx_id, row.rank), row.block_hash) != row.block_hash:
                found[(row.tx_id, row.rank)] = row
    return found


def _oddity(row: Row[Any], said: Payment | None, in_chain: set[str]) -> str | None:
    """Return what is odd about a transfer that we have, given what its block says of it; None for nothing."""
    if row.block_hash not in in_chain:
        return f"its block {row.block_hash} is not in the chain"
    if said is None:
        return f"its block {row.block_hash} does not say so"
    if (said.amount, said.asset, said.recipient) != (row.amount, row.asset, row.recipient):
        return f"its block says {said.amount} of {said.asset} to {said.recipient}"
    return None


def _difference(row: Row[Any], note: str) -> Difference:
    return Difference(row=row.id, tx_id=row.tx_id, height=row.height, intent=row.intent_id, note=note)
