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
    """A row that the chain does not bear out, or a block whose contents are in doubt."""

    #: Id of the transfer, attempt or refund.
    row: str
    #: The table that it stands in.
    kind: str
    tx_id: str
    height: int
    intent: str | None
    #: What it says to have moved, None for an attempt.
    amount: int | None
    #: What is wrong with it, for people.
    note: str
    #: The blocks whose contents say so. Without any, our own chain of hashes does.
    evidence: frozenset[str] = frozenset()

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
class BlockDiff:
    """The differences between some blocks and the database: what is missing, and what is wrong."""

    #: Payments that we should have as canonical and do not; also those that stand in a row of ``wrong``, as they are.
    transfers: list[TransferMatch] = field(default_factory=list)
    #: The same of failed attempts, each for an intent.
    attempts: list[tuple[Attempt, str]] = field(default_factory=list)
    #: The same of refunds, each for its intent.
    refunds: list[tuple[Refund, str]] = field(default_factory=list)
    #: Intents of the payments and refunds that we have.
    known: set[str] = field(default_factory=set)
    #: Rows that the chain does not bear out, to be refuted before the others are put in.
    wrong: list[Difference] = field(default_factory=list)
    #: Such rows that are left, because nobody confirms what their blocks say.
    differences: list[Difference] = field(default_factory=list)
    #: Payments that belong to us, known ones included.
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
        """The intents whose money these blocks are about, that which came and that which went back."""
        return self.changed | self.known

    @property
    def changed(self) -> set[str]:
        """Those of them that have other money than our tables say."""
        found = {p.matched.intent.id for p in self.transfers if p.matched.intent is not None}
        found |= {row.intent for row in self.wrong if row.intent is not None and row.kind != attempt.name}
        return found | {intent_id for _, intent_id in self.refunds}

    @property
    def attempted(self) -> set[str]:
        """The intents of attempts that were missing or wrong."""
        wrong = {row.intent for row in self.wrong if row.intent is not None and row.kind == attempt.name}
        return {intent_id for _, intent_id in self.attempts} | wrong

    @property
    def evidence(self) -> set[str]:
        """The blocks on whose contents it depends whether a row is wrong."""
        return {block for row in self.wrong for block in row.evidence}

    def exclude(self, doubts: Mapping[str, str]) -> None:
        """Leave alone what depends on blocks whose contents are in doubt: block hash -> why.

        Nothing is put in either that such a block says, or that stands in a row which is left.
        """
        left = [row for row in self.wrong if row.evidence & doubts.keys()]
        for row in left:
            why = next(doubts[block] for block in sorted(row.evidence) if block in doubts)
            self.differences.append(replace(row, note=f"{row.note}; left as it is: {why}"))
        kept = {row.tx_id for row in left}
        self.wrong = [row for row in self.wrong if not row.evidence & doubts.keys()]

        def stands(fact: Payment | Attempt | Refund) -> bool:
            return fact.block.hash not in doubts and fact.tx_id not in kept

        self.transfers = [found for found in self.transfers if stands(found.payment)]
        self.attempts = [found for found in self.attempts if stands(found[0])]
        self.refunds = [found for found in self.refunds if stands(found[0])]


def count_missed(connection: Connection, diff: BlockDiff) -> int:
    """Count the missing facts that a step should have stored: those that are newer than their intent.

    Of what is older, or belongs to no intent, nobody may have known yet that it is ours.
    """
    owned = [(p.payment.block, p.matched.intent.id) for p in diff.transfers if p.matched.intent is not None]
    owned += [(made.block, intent_id) for made, intent_id in diff.attempts]
    owned += [(made.block, intent_id) for made, intent_id in diff.refunds]
    intents = intent_store.load_intents(connection, {intent_id for _, intent_id in owned})
    return sum(block.time >= intents[intent_id].created_at for block, intent_id in owned)
