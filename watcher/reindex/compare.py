"""Diff of blocks against the database: which rows are missing, which are wrong. Read-only."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from sqlalchemy import Connection, Row, Table, select

from chain.model import Block, PrintEvent, TxStatus
from contracts.model import Attempt, Payment, PaymentRules, Reading, Refund, Route
from contracts.networks import asset_contract
from contracts.payments import read_block
from notifier.statements import chunks
from watcher.indexer.matcher import match_blocks, match_unknown_status
from watcher.reindex.diff import BlockDiff, Difference
from watcher.store import transfers as transfer_store
from watcher.store.schema import attempt, refund, transfer
from watcher.store.transfers import TransferMatch

#: Note of a transaction whose status cannot be interpreted.
UNKNOWN_STATUS = "has a status that this version does not know (a newer one may)"

#: A fact's block hash, transaction id, and rank; of an attempt, the id of its intent.
_Key = tuple[str, str, Any]

_Entry = TypeVar("_Entry")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    """A kind of fact, and its table."""

    table: Table
    #: The third column of the key.
    third: str
    #: Column values of a fact.
    values: Callable[[Any], dict[str, Any]]
    #: Facts of this kind in a reading under other settings; none for attempts.
    facts_in: Callable[[Reading], Iterable[Any]] = lambda _: ()
    moves_money: bool = True


_TRANSFERS = _Kind(
    table=transfer, third="rank", values=transfer_store.transfer_values, facts_in=lambda r: r.payments
)
_ATTEMPTS = _Kind(table=attempt, third="intent_id", values=transfer_store.attempt_values, moves_money=False)
_REFUNDS = _Kind(
    table=refund, third="rank", values=transfer_store.refund_values, facts_in=lambda r: r.refunds
)


@dataclass(frozen=True, slots=True)
class _Expected(Generic[_Entry]):
    """A fact that the tables should hold: its entry in the diff, the fact, and its intent."""

    entry: _Entry
    fact: Any
    intent: str | None


def diff_blocks(
    connection: Connection,
    rules: PaymentRules,
    blocks: Sequence[Block],
    reading: Reading,
    *,
    only: str | None = None,
    elsewhere: Iterable[Reading] = (),
    unknowable: Collection[str] = (),
) -> BlockDiff:
    """Compare canonical blocks, contiguous and oldest first, with the tables; ``reading`` holds their facts.

    ``only`` restricts the diff to one intent. ``elsewhere`` holds the readings of further blocks that contain
    the same transactions by our tables. ``unknowable`` are hashes of blocks with a transaction of ours whose
    status no source knows: it is left out. Raises :class:`watcher.indexer.matcher.UnknownStatus` for a
    transaction of ours with an unknown status in any other block.
    """
    moved: list[Payment | Refund] = [*reading.payments, *reading.refunds]
    for other in elsewhere:
        moved += [*other.payments, *other.refunds]
    comparison = _Comparison(connection, rules, blocks, only, {_key(fact) for fact in moved})
    held = {
        key: row.intent_id
        for key, row in comparison.stored(_TRANSFERS).items()
        if row.intent_id is not None and not row.assigned
    }
    left = tuple(fact for fact in reading.unknown_status if fact.block.hash in unknowable)
    reading = replace(
        reading, unknown_status=tuple(fact for fact in reading.unknown_status if fact not in left)
    )
    matches = match_blocks(connection, rules, reading, held)
    transfers = {
        _key(found.payment): _Expected(found, found.payment, _intent(found)) for found in matches.transfers
    }
    attempts = {
        (found[0].block.hash, found[0].tx_id, found[1]): _Expected(found, *found)
        for found in matches.attempts
    }
    refunds = {_key(found[0]): _Expected(found, *found) for found in matches.refunds}
    diff = comparison.diff
    diff.ours = sum(comparison.concerns(found.intent) for found in transfers.values())
    diff.transfers = comparison.compare(
        _TRANSFERS, transfers, {_key(fact): fact for fact in reading.payments}
    )
    diff.attempts = comparison.compare(_ATTEMPTS, attempts)
    diff.refunds = comparison.compare(_REFUNDS, refunds)
    comparison.note_unknown_status(match_unknown_status(connection, rules, Reading(unknown_status=left)))
    return diff


class _Comparison:
    """One call of :func:`diff_blocks`."""

    def __init__(
        self,
        connection: Connection,
        rules: PaymentRules,
        blocks: Sequence[Block],
        only: str | None,
        moved: set[_Key],
    ) -> None:
        self.diff = BlockDiff()
        self._connection = connection
        self._rules = rules
        self._blocks = {block.header.hash: block for block in blocks}
        self._heights = blocks[0].header.height, blocks[-1].header.height
        self._only = only
        #: Transactions with an unknown status, as (block hash, transaction id).
        self._unknown = {
            (block.header.hash, tx.tx_id)
            for block in blocks
            for tx in block.transactions
            if tx.status is TxStatus.UNKNOWN
        }
        #: Keys of all payments and refunds in the chain.
        self._moved = moved

    def concerns(self, *intents: str | None) -> bool:
        """Say whether this comparison is about one of these intents."""
        return self._only is None or self._only in intents

    def stored(self, kind: _Kind) -> dict[_Key, Row[Any]]:
        """Return our canonical rows at these heights."""
        table = kind.table
        query = select(table).where(table.c.height.between(*self._heights), table.c.canonical)
        return {
            (row.block_hash, row.tx_id, row._mapping[kind.third]): row
            for row in self._connection.execute(query)
        }

    def compare(
        self,
        kind: _Kind,
        expected: Mapping[_Key, _Expected[_Entry]],
        facts: Mapping[_Key, Any] | None = None,
    ) -> list[_Entry]:
        """Compare the stored rows of a kind with the expected facts; note wrong rows, return what to insert.

        ``facts`` are what the blocks hold, where they hold more than is expected of our tables.
        """
        facts = {key: found.fact for key, found in expected.items()} if facts is None else facts
        stored = self.stored(kind)
        due = [found for key, found in expected.items() if key not in stored and self.concerns(found.intent)]
        for key, row in stored.items():
            found = expected.get(key)
            if not self.concerns(row.intent_id, *([found.intent] if found is not None else [])):
                continue
            note = self._mismatch(kind, row, facts.get(key)) or _misassigned(row, found)
            if note is not None:
                self._refute(kind.table, row, note)
                due += [found] if found is not None else []
            elif kind.moves_money:
                self._note_match(row)
        if kind.moves_money:
            conflicting = self._conflicts(kind.table, [found.fact for found in due])
            due = [found for found in due if _key(found.fact) not in conflicting]
        return [found.entry for found in due]

    def note_unknown_status(self, unknown: Iterable[tuple[Payment | Attempt, str | None]]) -> None:
        """Note facts that cannot be inserted, once per transaction."""
        noted = {row.tx_id for row in self.diff.differences}
        for fact, intent_id in unknown:
            if fact.tx_id in noted or not self.concerns(intent_id):
                continue
            noted.add(fact.tx_id)
            self.diff.differences.append(
                Difference(
                    row="",
                    kind=transfer.name if isinstance(fact, Payment) else attempt.name,
                    tx_id=fact.tx_id,
                    height=fact.block.height,
                    intent=intent_id,
                    amount=fact.amount,
                    note=f"transaction {fact.tx_id} {UNKNOWN_STATUS}; it is not stored",
                )
            )

    def _note_match(self, row: Row[Any]) -> None:
        if row.intent_id is not None and self.concerns(row.intent_id):
            self.diff.known.add(row.intent_id)

    def _mismatch(self, kind: _Kind, row: Row[Any], fact: Any) -> str | None:
        """Return what is wrong with a row, None for nothing; ``fact`` is what its block holds under its key.

        A row that its block would have given under earlier settings is not wrong.
        """
        block = self._blocks.get(row.block_hash)
        if block is None:
            return f"its block {row.block_hash} is not in the chain"
        wrong = _differing(row, kind.values(fact)) if fact is not None else None
        if wrong == {}:
            return None
        for reading in _under_other_settings(block, row, self._rules):
            for other in kind.facts_in(reading):
                if (other.tx_id, other.rank) == (row.tx_id, row.rank) and not _differing(
                    row, kind.values(other)
                ):
                    return None
        if wrong is None:
            return f"its block {row.block_hash} does not say so"
        return "its block says " + ", ".join(
            f"{name} {_shown(value)}, not {_shown(row._mapping[name])}" for name, value in wrong.items()
        )

    def _refute(self, table: Table, row: Row[Any], note: str, *evidence: str) -> None:
        if (row.block_hash, row.tx_id) in self._unknown:
            self.diff.differences.append(
                _difference(table, row, f"its transaction {UNKNOWN_STATUS}; left as it is")
            )
            self._note_match(row)
            return
        own = [row.block_hash] if row.block_hash in self._blocks else []
        self.diff.wrong.append(_difference(table, row, note, *own, *evidence))

    def _conflicts(self, table: Table, due: Sequence[Payment | Refund]) -> set[_Key]:
        """Refute rows in other blocks of the facts to insert; return the keys of facts that two blocks hold.

        A transaction is in one block only. Whether the other block holds it is decided by its contents, which
        are read because the block is named as evidence.
        """
        refuted = {row.row for row in self.diff.wrong}
        here = {(fact.tx_id, fact.rank): fact for fact in due}
        conflicting = set()
        for batch in chunks(sorted({fact.tx_id for fact in due})):
            query = select(table).where(table.c.tx_id.in_(batch), table.c.canonical)
            for row in self._connection.execute(query):
                fact = here.get((row.tx_id, row.rank))
                if fact is None or row.block_hash == fact.block.hash or row.id in refuted:
                    continue
                note = f"the chain has it in block {fact.block.hash}"
                if (row.block_hash, row.tx_id) in self._unknown:
                    conflicting.add(_key(fact))
                    self._refute(table, row, note)
                elif (row.block_hash, row.tx_id, row.rank) in self._moved:
                    conflicting.add(_key(fact))
                    note += f" and in block {row.block_hash}, which cannot be; left as it is"
                    self.diff.differences.append(_difference(table, row, note))
                else:
                    self._refute(table, row, note, fact.block.hash, row.block_hash)
        return conflicting


def _key(fact: Payment | Refund) -> _Key:
    return (fact.block.hash, fact.tx_id, fact.rank)


def _misassigned(row: Row[Any], found: _Expected[Any] | None) -> str | None:
    """Return the note of a row that belongs to another intent; what an operator assigned stays."""
    if found is None or row._mapping.get("assigned") or row.intent_id == found.intent:
        return None
    return f"it belongs to {found.intent or 'no intent'}, not to {row.intent_id or 'none'}"


def _difference(table: Table, row: Row[Any], note: str, *evidence: str) -> Difference:
    return Difference(
        row=row.id,
        kind=table.name,
        tx_id=row.tx_id,
        height=row.height,
        intent=row.intent_id,
        amount=row._mapping.get("amount"),
        note=note,
        evidence=frozenset(evidence),
    )


def _differing(row: Row[Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the columns that differ, with their values in the chain."""
    return {name: value for name, value in values.items() if row._mapping[name] != value}


def _intent(found: TransferMatch) -> str | None:
    return found.matched.intent.id if found.matched.intent is not None else None


def _under_other_settings(block: Block, row: Row[Any], rules: PaymentRules) -> Iterator[Reading]:
    """Yield readings of the row's transaction under settings that may have been in force when it was stored.

    Settings act on new blocks only, so a sender that is ignored since then, or a change of the payment
    contract, refutes nothing. Such a reading can justify a row, never require one.
    """
    alone = replace(block, transactions=tuple(tx for tx in block.transactions if tx.tx_id == row.tx_id))
    rules = replace(rules, ignored_senders=frozenset())
    known = row._mapping
    if known.get("route") == Route.PEG_IN:
        yield read_block(
            alone, replace(rules, sbtc_contract=asset_contract(row.asset) or rules.sbtc_contract)
        )
    elif known.get("route", Route.REFUND) == Route.REFUND or known.get("terms_hash") is not None:
        events = (event for tx in alone.transactions for event in tx.events if isinstance(event, PrintEvent))
        for contract in sorted({event.contract_id for event in events}):
            yield read_block(alone, replace(rules, payment_contract=contract))
    else:
        yield read_block(alone, rules)


def _shown(value: Any) -> str:
    if value is None:
        return "none"
    return f"0x{value.hex()}" if isinstance(value, bytes) else str(value)
