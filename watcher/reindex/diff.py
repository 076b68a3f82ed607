"""The differences between some blocks and the database."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import Connection

from contracts.model import Attempt, Payment, Refund
from watcher.store import intents as intent_store
from watcher.store.schema import attempt
from watcher.store.transfers import TransferMatch


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A row that the chain contradicts, or a fact that cannot be stored."""

    #: Id of the transfer, attempt or refund; empty for a fact without a row.
    row: str
    #: Name of its table.
    kind: str
    tx_id: str
    height: int
    intent: str | None
    #: Amount of the row, None for an attempt's.
    amount: int | None
    #: What is wrong with it.
    note: str
    #: Hashes of the blocks whose contents prove it; empty where our own chain of hashes does.
    evidence: frozenset[str] = frozenset()

    def document(self) -> dict[str, Any]:
        """Return the document that ``--json`` prints."""
        return {
            "row": self.row,
            "tx_id": self.tx_id,
            "block_height": self.height,
            "intent": self.intent,
            "note": self.note,
        }


@dataclass(slots=True, kw_only=True)
class BlockDiff:
    """The differences between some blocks and the database: what is missing, and what is wrong."""

    #: Payments to insert: missing ones, and the correct version of those in ``wrong``.
    transfers: list[TransferMatch] = field(default_factory=list)
    #: Failed attempts to insert, each with the id of its intent.
    attempts: list[tuple[Attempt, str]] = field(default_factory=list)
    #: Refunds to insert, each with the id of its intent.
    refunds: list[tuple[Refund, str]] = field(default_factory=list)
    #: Intents whose payments and refunds are stored correctly.
    known: set[str] = field(default_factory=set)
    #: Rows that the chain contradicts, to refute before the others are inserted.
    wrong: list[Difference] = field(default_factory=list)
    #: Rows and facts left as they are, because no second reading confirms their blocks.
    differences: list[Difference] = field(default_factory=list)
    #: Number of payments to us in these blocks, stored ones included.
    ours: int = 0

    def add(self, more: "BlockDiff") -> None:
        """Add the differences of other blocks."""
        self.transfers += more.transfers
        self.attempts += more.attempts
        self.refunds += more.refunds
        self.known |= more.known
        self.wrong += more.wrong
        self.differences += more.differences
        self.ours += more.ours

    @property
    def paid(self) -> set[str]:
        """The intents with payments or refunds in these blocks."""
        return self.changed | self.known

    @property
    def changed(self) -> set[str]:
        """The intents whose stored payments or refunds differ from these blocks."""
        found = {p.matched.intent.id for p in self.transfers if p.matched.intent is not None}
        found |= {row.intent for row in self.wrong if row.intent is not None and row.kind != attempt.name}
        return found | {intent_id for _, intent_id in self.refunds}

    @property
    def attempted(self) -> set[str]:
        """The intents with attempts that are missing or wrong."""
        wrong = {row.intent for row in self.wrong if row.intent is not None and row.kind == attempt.name}
        return {intent_id for _, intent_id in self.attempts} | wrong

    @property
    def evidence(self) -> set[str]:
        """The blocks, by hash, whose contents prove rows wrong."""
        return {block for row in self.wrong for block in row.evidence}

    def exclude(self, doubts: Mapping[str, str]) -> None:
        """Take out what depends on doubtful blocks; ``doubts`` has the reason by block hash.

        Facts of such a block are not inserted either, nor those of a transaction one of whose rows is left.
        """
        left = [row for row in self.wrong if row.evidence & doubts.keys()]
        for row in left:
            why = next(doubts[block] for block in sorted(row.evidence) if block in doubts)
            self.differences.append(replace(row, note=f"{row.note}; left as it is: {why}"))
        kept = {row.tx_id for row in left}
        self.wrong = [row for row in self.wrong if not row.evidence & doubts.keys()]

        def is_kept(fact: Payment | Attempt | Refund) -> bool:
            return fact.block.hash not in doubts and fact.tx_id not in kept

        self.transfers = [found for found in self.transfers if is_kept(found.payment)]
        self.attempts = [found for found in self.attempts if is_kept(found[0])]
        self.refunds = [found for found in self.refunds if is_kept(found[0])]


def count_missed(connection: Connection, diff: BlockDiff) -> int:
    """Count the missing facts that the indexer should have stored: those newer than their intent.

    Older facts, and those without an intent, may not have been ours yet when their block was applied.
    """
    owned = [(p.payment.block, p.matched.intent.id) for p in diff.transfers if p.matched.intent is not None]
    owned += [(made.block, intent_id) for made, intent_id in diff.attempts]
    owned += [(made.block, intent_id) for made, intent_id in diff.refunds]
    intents = intent_store.load_intents(connection, {intent_id for _, intent_id in owned})
    return sum(block.time >= intents[intent_id].created_at for block, intent_id in owned)
