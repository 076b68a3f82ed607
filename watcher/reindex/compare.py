"""Diff blocks against the database, column by column, and against the matching rules. Read-only."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from sqlalchemy import Connection, Row, Table, select

from chain.model import Block, PrintEvent, TxStatus
from contracts.model import Attempt, Payment, PaymentRules, Reading, Refund, Route
from contracts.networks import asset_contract
from contracts.payments import read_block
from watcher.indexer.matcher import match_blocks, match_unknown_status
from watcher.reindex.diff import BlockDiff, Difference
from watcher.store import transfers as transfer_store
from watcher.store.database import chunks
from watcher.store.schema import attempt, refund, transfer
from watcher.store.transfers import TransferMatch

#: Of a transaction.
UNKNOWN_STATUS = "has a status that this version does not know (a newer one may)"

_Fact = TypeVar("_Fact", Payment, Refund)


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
    """Compare canonical blocks, contiguous and oldest first, with our tables; ``reading`` is what they say.

    ``only``: one intent's facts. ``elsewhere``: what further blocks say that hold the same transactions by our tables.
    ``unknowable``: blocks (by hash) of which no source can say what became of a transaction that is ours: that one is left.
    Raises :class:`watcher.indexer.matcher.UnknownStatus` for one in another block.
    """
    moved: list[Payment | Refund] = [*reading.payments, *reading.refunds]
    for other in elsewhere:
        moved += [*other.payments, *other.refunds]
    comparison = _Comparison(connection, rules, blocks, only, {_key(fact) for fact in moved})
    held = {
        key: row.intent_id
        for key, row in comparison.stored(transfer, "rank").items()
        if row.intent_id is not None and not row.assigned
    }
    left = tuple(fact for fact in reading.unknown_status if fact.block.hash in unknowable)
    reading = replace(
        reading, unknown_status=tuple(fact for fact in reading.unknown_status if fact not in left)
    )
    matches = match_blocks(connection, rules, reading, held)
    comparison.transfers(reading, matches.transfers)
    comparison.attempts(matches.attempts)
    comparison.refunds(matches.refunds)
    comparison.leave(match_unknown_status(connection, rules, Reading(unknown_status=left)))
    return comparison.diff


class _Comparison:
    """One call of :func:`diff_blocks`."""

    def __init__(
        self,
        connection: Connection,
        rules: PaymentRules,
        blocks: Sequence[Block],
        only: str | None,
        says: set[tuple[str, str, int]],
    ) -> None:
        self.diff = BlockDiff()
        self._connection = connection
        self._rules = rules
        self._blocks = {block.header.hash: block for block in blocks}
        self._heights = blocks[0].header.height, blocks[-1].header.height
        self._only = only
        #: Transactions of which nobody can say what became of them, by block.
        self._unknown = {
            (block.header.hash, tx.tx_id)
            for block in blocks
            for tx in block.transactions
            if tx.status is TxStatus.UNKNOWN
        }
        #: What the chain says to have moved, as (block, transaction, rank).
        self._says = says

    def stored(self, table: Table, third: str) -> dict[tuple[str, str, Any], Row[Any]]:
        """Return our canonical rows at these heights by block, transaction and a third column."""
        query = select(table).where(table.c.height.between(*self._heights), table.c.canonical)
        return {
            (row.block_hash, row.tx_id, row._mapping[third]): row for row in self._connection.execute(query)
        }

    def transfers(self, reading: Reading, transfer_matches: Iterable[TransferMatch]) -> None:
        have = self.stored(transfer, "rank")
        said = {_key(payment): payment for payment in reading.payments}
        by_key = {_key(transfer_match.payment): transfer_match for transfer_match in transfer_matches}
        for key, due in by_key.items():
            if self._only in (None, _intent(due)):
                self.diff.ours += 1
                if key not in have:
                    self.diff.transfers.append(due)
        for key, row in have.items():
            transfer_match = by_key.get(key)
            if self._only not in (None, row.intent_id, _intent(transfer_match)):
                continue
            note = self._mismatch(row, said.get(key), transfer_store.transfer_values, lambda r: r.payments)
            # What a person assigned stays.
            if (
                note is None
                and transfer_match is not None
                and not row.assigned
                and row.intent_id != _intent(transfer_match)
            ):
                note = f"it belongs to {_intent(transfer_match) or 'no intent'}, not to {row.intent_id or 'none'}"
            if note is None:
                self._note_match(row)
                continue
            self._refute(transfer, row, note)
            if transfer_match is not None:
                self.diff.transfers.append(transfer_match)
        wanted = [transfer_match.payment for transfer_match in self.diff.transfers]
        conflicting = self._conflicts(transfer, wanted)
        self.diff.transfers = [p for p in self.diff.transfers if _key(p.payment) not in conflicting]

    def attempts(self, tries: Iterable[tuple[Attempt, str]]) -> None:
        said = {
            (made.block.hash, made.tx_id, intent_id): (made, intent_id)
            for made, intent_id in tries
            if self._only in (None, intent_id)
        }
        have = self.stored(attempt, "intent_id")
        self.diff.attempts += [found for key, found in said.items() if key not in have]
        for key, row in have.items():
            if self._only not in (None, row.intent_id):
                continue
            found = said.get(key)
            note = self._mismatch(row, found[0] if found is not None else None, transfer_store.attempt_values)
            if note is not None:
                self._refute(attempt, row, note)
                self.diff.attempts += [found] if found is not None else []

    def refunds(self, refunds: Iterable[tuple[Refund, str]]) -> None:
        said = {_key(made): (made, intent_id) for made, intent_id in refunds}
        have = self.stored(refund, "rank")
        self.diff.refunds += [
            found for key, found in said.items() if key not in have and self._only in (None, found[1])
        ]
        for key, row in have.items():
            found = said.get(key)
            if self._only not in (None, row.intent_id, found[1] if found is not None else None):
                continue
            made = found[0] if found is not None else None
            note = self._mismatch(row, made, transfer_store.refund_values, lambda r: r.refunds)
            if note is None and found is not None and found[1] != row.intent_id:
                note = f"it belongs to {found[1]}, not to {row.intent_id}"
            if note is None:
                self._note_match(row)
                continue
            self._refute(refund, row, note)
            self.diff.refunds += [found] if found is not None else []
        conflicting = self._conflicts(refund, [made for made, _ in self.diff.refunds])
        self.diff.refunds = [found for found in self.diff.refunds if _key(found[0]) not in conflicting]

    def leave(self, doubtful: Iterable[tuple[Payment | Attempt, str | None]]) -> None:
        """Note what cannot be put in, each transaction once."""
        noted = {row.tx_id for row in self.diff.differences}
        for fact, intent_id in doubtful:
            if fact.tx_id in noted or self._only not in (None, intent_id):
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
                    note=f"transaction {fact.tx_id} {UNKNOWN_STATUS}; it is not put in",
                )
            )

    def _note_match(self, row: Row[Any]) -> None:
        if row.intent_id is not None and self._only in (None, row.intent_id):
            self.diff.known.add(row.intent_id)

    def _mismatch(
        self,
        row: Row[Any],
        said: Any,
        values: Callable[[Any], dict[str, Any]],
        others: Callable[[Reading], Iterable[Any]] = lambda _: (),
    ) -> str | None:
        """Return what is wrong about a row, given what its block says of it; None for nothing.

        ``others`` picks the facts of its kind from a reading: under other settings the block may say what the row says.
        """
        block = self._blocks.get(row.block_hash)
        if block is None:
            return f"its block {row.block_hash} is not in the chain"
        wrong = _differing(row, values(said)) if said is not None else None
        if wrong == {}:
            return None
        for reading in _under_other_settings(block, row, self._rules):
            for fact in others(reading):
                if (fact.tx_id, fact.rank) == (row.tx_id, row.rank) and not _differing(row, values(fact)):
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

    def _conflicts(self, table: Table, wanted: Sequence[_Fact]) -> set[tuple[str, str, int]]:
        """Refute what stands elsewhere of the facts that are missing here; return those that two blocks hold.

        A transaction is in one block. Whether the other one holds it, only its contents can say: they are asked for
        by naming it as evidence.
        """
        refuted = {row.row for row in self.diff.wrong}
        here = {(fact.tx_id, fact.rank): fact for fact in wanted}
        conflicting = set()
        for batch in chunks(sorted({fact.tx_id for fact in wanted})):
            query = select(table).where(table.c.tx_id.in_(batch), table.c.canonical)
            for row in self._connection.execute(query):
                fact = here.get((row.tx_id, row.rank))
                if fact is None or row.block_hash == fact.block.hash or row.id in refuted:
                    continue
                note = f"the chain has it in block {fact.block.hash}"
                if (row.block_hash, row.tx_id) in self._unknown:
                    conflicting.add(_key(fact))
                    self._refute(table, row, note)
                elif (row.block_hash, row.tx_id, row.rank) in self._says:
                    conflicting.add(_key(fact))
                    note += f" and in block {row.block_hash}, which cannot be; left as it is"
                    self.diff.differences.append(_difference(table, row, note))
                else:
                    self._refute(table, row, note, fact.block.hash, row.block_hash)
        return conflicting


def _key(fact: Payment | Refund) -> tuple[str, str, int]:
    return (fact.block.hash, fact.tx_id, fact.rank)


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
    """Return what the chain says instead, by column."""
    return {name: value for name, value in values.items() if row._mapping[name] != value}


def _intent(transfer_match: TransferMatch | None) -> str | None:
    found = transfer_match.matched.intent if transfer_match is not None else None
    return found.id if found is not None else None


def _under_other_settings(block: Block, row: Row[Any], rules: PaymentRules) -> Iterator[Reading]:
    """Yield what the row's transaction says under settings that may have been in force when the row was stored.

    Settings act on new blocks only: a sender that is ignored since, or another payment contract, refutes nothing. They
    explain what a row says, never what it lacks.
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
