"""Rows of transfers, attempts, refunds and operator actions, to and from the domain's facts.

Facts are orphaned, never deleted.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Select,
    Table,
    and_,
    case,
    delete,
    func,
    insert,
    null,
    or_,
    select,
    text,
    union_all,
    update,
)

from chain.model import BlockHeader
from contracts.model import Attempt, Payment, Refund
from notifier.ids import new_id
from notifier.records import RecordColumns
from notifier.statements import chunks, one_of, upsert
from watcher.domain.matching import Claim, MatchResult, label_keys
from watcher.domain.model import (
    Facts,
    Failure,
    Inclusion,
    Intent,
    OperatorAction,
    OperatorActionKind,
    Repayment,
    Status,
)
from watcher.store.schema import NOT_REFUTED, act, attempt, intent, refund, stray, transfer

#: As the domain reads them …
_INCLUSION_COLUMNS = RecordColumns(Inclusion, without=["refuted", "verified_by"])
_FAILURE_COLUMNS = RecordColumns(Failure)
_CLAIM_COLUMNS = RecordColumns(Claim)
_REPAYMENT_COLUMNS = RecordColumns(Repayment)

#: … and as blocks contain them. What is not stored of attempts and refunds is the intent's, or proves
#: nothing.
_PAYMENT_COLUMNS = RecordColumns(Payment, without=["block"])
_ATTEMPT_COLUMNS = RecordColumns(
    Attempt, without=["block", "asset", "recipient", "amount", "memo", "terms_hash"]
)
_REFUND_COLUMNS = RecordColumns(Refund, without=["block", "asset", "terms_hash"])
_BLOCK_COLUMNS = ("block_hash", "height", "time", "burn_height")

#: What the chain says of a transfer: what sources have to agree on.
CHAIN_COLUMNS = (*_BLOCK_COLUMNS, *(column.name for column in _PAYMENT_COLUMNS.of(transfer)))


def _facts_of(table: Table, *columns: Column[Any]) -> Select[Any]:
    """Return the query for those columns of the facts of some intents; an intent can have very many."""
    return select(table.c.intent_id, *columns).where(table.c.intent_id.in_(one_of("ids")))


_TRANSFERS = _facts_of(transfer, transfer.c.refuted, transfer.c.verified_by, *_INCLUSION_COLUMNS.of(transfer))
_ATTEMPTS = _facts_of(attempt, *_FAILURE_COLUMNS.of(attempt))
_REFUNDS = _facts_of(refund, *_REPAYMENT_COLUMNS.of(refund))
_COUNTS = union_all(
    *(
        select(table.c.intent_id, func.count().label("number"))
        .where(table.c.intent_id.in_(one_of("ids")))
        .group_by(table.c.intent_id)
        for table in (transfer, attempt)
    )
)
_ACTIONS = select(act).where(act.c.intent_id.in_(one_of("ids"))).order_by(act.c.sequence)

_CANONICAL = {"canonical": True, "orphaned_at": None}

_UNMATCHED = select(stray.c.transfer_id).where(stray.c.key.in_(one_of("keys")))


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferMatch:
    """A payment with its match, the merchant that may see it, and whether an operator assigned it."""

    payment: Payment
    matched: MatchResult
    merchant: str | None
    assigned: bool = False

    @classmethod
    def assigned_by_operator(cls, payment: Payment, intent: Intent) -> "TransferMatch":
        """Return the match that an operator's assignment asks for."""
        return cls(
            payment=payment, matched=MatchResult(intent=intent), merchant=intent.merchant, assigned=True
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class UnmatchedTransfer:
    """A stored transfer that belongs to no intent."""

    id: str
    claim: Claim


def put_transfers(connection: Connection, transfer_matches: Iterable[TransferMatch], *, now: float) -> None:
    """Store transfers as canonical; one that was orphaned in the same block becomes canonical again.

    It stays verified only if nothing of it has changed.
    """
    for transfer_match in transfer_matches:
        payment, found = transfer_match.payment, transfer_match.matched
        values = transfer_values(payment) | _CANONICAL
        values |= {
            "merchant_id": transfer_match.merchant,
            "intent_id": found.intent.id if found.intent else None,
            "reason": found.reason,
            "assigned": transfer_match.assigned,
            "seen_at": int(now),
        }
        transfer_id = _put(
            connection,
            transfer,
            values,
            ("block_hash", "tx_id", "rank"),
            new_id("tr_", now),
            kept={"verified_by": (*CHAIN_COLUMNS, "intent_id")},
        )
        connection.execute(delete(stray).where(stray.c.transfer_id == transfer_id))
        if found.intent is None and (keys := label_keys(payment.memo, payment.terms_hash)):
            connection.execute(insert(stray), [{"key": key, "transfer_id": transfer_id} for key in keys])


def put_attempts(connection: Connection, attempts: Iterable[tuple[Attempt, str]], *, now: float) -> None:
    """Store failed attempts, each for an intent."""
    for record, intent_id in attempts:
        values = attempt_values(record) | _CANONICAL | {"intent_id": intent_id}
        _put(connection, attempt, values, ("block_hash", "tx_id", "intent_id"), new_id("at_", now))


def put_refunds(connection: Connection, refunds: Iterable[tuple[Refund, str]], *, now: float) -> None:
    """Store refunds as canonical, each of an intent; an orphaned one becomes canonical again."""
    for record, intent_id in refunds:
        values = refund_values(record) | _CANONICAL | {"intent_id": intent_id}
        _put(connection, refund, values, ("block_hash", "tx_id", "rank"), new_id("rf_", now))


def orphan_facts(connection: Connection, *, above: int, at: int) -> set[str]:
    """Orphan every canonical fact above a height, as of chain time ``at``; return the intents it touches.

    Operator actions above that height are lowered to it.
    """
    touched: set[str] = set()
    for table in (transfer, attempt, refund):
        canonical_rows = and_(table.c.height > above, table.c.canonical)
        touched |= _owners(connection, table, canonical_rows)
        connection.execute(update(table).where(canonical_rows).values(canonical=False, orphaned_at=at))
    # Money on the new branch is later than actions on the old one, whatever its height.
    higher = act.c.height > above
    touched |= _owners(connection, act, higher)
    connection.execute(update(act).where(higher).values(height=above))
    return touched


def forget_times_after(connection: Connection, time: int) -> set[str]:
    """Set stored chain times after ``time`` back to ``time``; return the intents it touches.

    For false times only: it reads the whole tables.
    """
    touched: set[str] = set()
    for table in (transfer, attempt, refund):
        false = table.c.orphaned_at > time
        touched |= _owners(connection, table, false)
        connection.execute(update(table).where(false).values(orphaned_at=time))
    false = transfer.c.unverified_since > time
    touched |= _owners(connection, transfer, false)
    connection.execute(update(transfer).where(false).values(unverified_since=time))
    return touched


def _owners(connection: Connection, table: Table, condition: ColumnElement[bool]) -> set[str]:
    """Return the intents that the rows of a table under a condition belong to."""
    query = select(table.c.intent_id).where(condition, table.c.intent_id.is_not(None))
    return set(connection.execute(query).scalars())


def earlier_intents(connection: Connection, tx_ids: Collection[str]) -> dict[tuple[str, int], dict[str, str]]:
    """Return the intents that these transactions' transfers belonged to, by transfer and block."""
    found: dict[tuple[str, int], dict[str, str]] = defaultdict(dict)
    for batch in chunks(sorted(tx_ids)):
        query = select(transfer.c.tx_id, transfer.c.rank, transfer.c.block_hash, transfer.c.intent_id)
        owned = transfer.c.intent_id.is_not(None) & transfer.c.refuted.is_(None)
        for row in connection.execute(
            query.where(transfer.c.tx_id.in_(batch), owned).order_by(transfer.c.id)
        ):
            found[(row.tx_id, row.rank)][row.block_hash] = row.intent_id
    return found


def canonical_among(connection: Connection, tx_ids: Collection[str]) -> frozenset[str]:
    """Return those of the transactions of which a canonical transfer is stored."""
    found: set[str] = set()
    for batch in chunks(sorted(tx_ids)):
        query = select(transfer.c.tx_id).where(transfer.c.tx_id.in_(batch), transfer.c.canonical)
        found.update(connection.execute(query).scalars())
    return frozenset(found)


def assignments(connection: Connection, tx_ids: Collection[str]) -> dict[tuple[str, int, str, int, str], str]:
    """Return the intents that transfers were assigned to, by (tx_id, rank, asset, amount, recipient).

    The newest action wins; the asset is the intent's.
    """
    found: dict[tuple[str, int, str, int, str], str] = {}
    for batch in chunks(sorted(tx_ids)):
        query = select(act, intent.c.asset_identifier).join(intent, intent.c.id == act.c.intent_id)
        query = query.where(act.c.tx_id.is_not(None), act.c.tx_id.in_(batch)).order_by(act.c.sequence)
        for row in connection.execute(query):
            found[(row.tx_id, row.rank, row.asset_identifier, row.amount, row.recipient)] = row.intent_id
    return found


def find_unmatched(
    connection: Connection, keys: Collection[str], *, dedicated: Collection[str]
) -> list[UnmatchedTransfer]:
    """Return the unmatched transfers that carry one of ``keys`` or went to one of ``dedicated``."""
    ids: set[str] = set()
    for batch in chunks(sorted(keys)):
        ids |= set(connection.execute(_UNMATCHED, {"keys": batch}).scalars())
    for batch in chunks(sorted(dedicated)):
        to = select(transfer.c.id).where(
            transfer.c.intent_id.is_(None), transfer.c.refuted.is_(None), transfer.c.recipient.in_(batch)
        )
        ids |= set(connection.execute(to).scalars())
    rows: list[Mapping[Any, Any]] = []
    for batch in chunks(sorted(ids)):
        query = select(transfer).where(transfer.c.intent_id.is_(None), transfer.c.id.in_(batch))
        rows += connection.execute(query.order_by(transfer.c.id)).mappings()
    return [
        UnmatchedTransfer(
            id=row["id"],
            claim=_CLAIM_COLUMNS.read(row),
        )
        for row in rows
    ]


def assign_transfer(
    connection: Connection, transfer_id: str, intent_id: str, merchant: str, *, assigned: bool = False
) -> None:
    """Assign a stored transfer to an intent."""
    connection.execute(
        update(transfer)
        .where(transfer.c.id == transfer_id)
        .values(intent_id=intent_id, merchant_id=merchant, reason=None, assigned=assigned)
    )
    connection.execute(delete(stray).where(stray.c.transfer_id == transfer_id))


def set_unmatched_reason(connection: Connection, money: UnmatchedTransfer, found: MatchResult) -> None:
    """Store why a transfer is unmatched."""
    values: dict[str, Any] = {"reason": found.reason}
    if found.near is not None:
        near = found.near
        # Money sent to another address stays with the merchant of that address, if it has one.
        ours = near.recipient == money.claim.recipient
        values["merchant_id"] = (
            near.merchant if ours else func.coalesce(transfer.c.merchant_id, near.merchant)
        )
    connection.execute(update(transfer).where(transfer.c.id == money.id).values(**values))


def load_some_facts(
    connection: Connection, intent_id: str, *, transfers: Collection[str], attempts: Collection[str]
) -> Facts:
    """Return an intent's facts, of transfers and attempts those with these ids only."""
    limited = (
        _TRANSFERS.where(transfer.c.id.in_(transfers)),
        _ATTEMPTS.where(attempt.c.id.in_(attempts)),
    )
    return _load_facts(connection, [intent_id], *limited)[intent_id]


def load_facts(connection: Connection, ids: Collection[str]) -> dict[str, Facts]:
    """Return all facts of each intent."""
    return _load_facts(connection, ids, _TRANSFERS, _ATTEMPTS)


def _load_facts(
    connection: Connection, ids: Collection[str], of_transfers: Select[Any], of_attempts: Select[Any]
) -> dict[str, Facts]:
    inclusions: dict[str, list[Inclusion]] = defaultdict(list)
    failures: dict[str, list[Failure]] = defaultdict(list)
    actions: dict[str, list[OperatorAction]] = defaultdict(list)
    refunds: dict[str, list[Repayment]] = defaultdict(list)
    for batch in chunks(sorted(ids)):
        these = {"ids": batch}
        for row in connection.execute(of_transfers, these).mappings():
            inclusions[row["intent_id"]].append(_inclusion(row))
        for row in connection.execute(of_attempts, these).mappings():
            failures[row["intent_id"]].append(_FAILURE_COLUMNS.read(row))
        for row in connection.execute(_ACTIONS, these).mappings():
            if row["kind"] in set(OperatorActionKind):
                actions[row["intent_id"]].append(_action(row))
        for row in connection.execute(_REFUNDS, these).mappings():
            refunds[row["intent_id"]].append(_REPAYMENT_COLUMNS.read(row))
    return {
        key: Facts(
            inclusions=tuple(inclusions[key]),
            failures=tuple(failures[key]),
            actions=tuple(actions[key]),
            refunds=tuple(refunds[key]),
        )
        for key in ids
    }


def count_facts(connection: Connection, ids: Collection[str]) -> Counter[str]:
    """Return how many transfers and attempts each intent has, on any branch.

    These are the facts that a stranger can add.
    """
    found: Counter[str] = Counter()
    for batch in chunks(sorted(ids)):
        for row in connection.execute(_COUNTS, {"ids": batch}):
            found[row.intent_id] += row.number
    return found


def newest_transfers(connection: Connection, ids: Collection[str]) -> dict[str, Mapping[Any, Any]]:
    """Return by intent the canonical transfer that was stored last, with the ``number`` of them."""
    found: dict[str, Mapping[Any, Any]] = {}
    for batch in chunks(sorted(ids)):
        newest = (
            select(func.max(transfer.c.id).label("id"), func.count().label("number"))
            .where(transfer.c.intent_id.in_(batch), transfer.c.canonical)
            .group_by(transfer.c.intent_id)
            .subquery()
        )
        query = select(transfer, newest.c.number).join(newest, transfer.c.id == newest.c.id)
        found |= {row["intent_id"]: row for row in connection.execute(query).mappings()}
    return found


def _inclusion(row: Mapping[Any, Any]) -> Inclusion:
    verified_by = tuple(row["verified_by"] or ())
    return _INCLUSION_COLUMNS.read(row, refuted=row["refuted"] is not None, verified_by=verified_by)


def _action(row: Mapping[Any, Any]) -> OperatorAction:
    return OperatorAction(
        kind=OperatorActionKind(row["kind"]),
        status=Status(row["status"]) if row["status"] else None,
        reason=row["reason"],
        height=row["height"],
        amount=row["amount"] or 0,
    )


def transfer_values(payment: Payment) -> dict[str, Any]:
    """Return the columns of a payment that come from the chain."""
    return _block_values(payment.block) | _PAYMENT_COLUMNS.values(payment)


def attempt_values(record: Attempt) -> dict[str, Any]:
    """Return the columns of an attempt that come from the chain."""
    return _block_values(record.block) | _ATTEMPT_COLUMNS.values(record)


def refund_values(record: Refund) -> dict[str, Any]:
    """Return the columns of a refund that come from the chain."""
    return _block_values(record.block) | _REFUND_COLUMNS.values(record)


def _block_values(block: BlockHeader) -> dict[str, Any]:
    values = (block.hash, block.height, block.time, block.burn_height)
    return dict(zip(_BLOCK_COLUMNS, values, strict=True))


def _put(
    connection: Connection,
    table: Table,
    values: dict[str, Any],
    key: tuple[str, ...],
    fresh_id: str,
    *,
    kept: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> str:
    """Insert a row, or update the one with the same key that is not refuted; return its id.

    ``kept``: columns that become null when any of these others changes.
    """
    statement = upsert(connection, table).values(id=fresh_id, **values)
    changes = {name: value for name, value in values.items() if name not in key}
    for column, others in kept.items():
        differs = or_(*(table.c[name].is_distinct_from(statement.excluded[name]) for name in others))
        changes[column] = case((differs, null()), else_=table.c[column])
    statement = statement.on_conflict_do_update(
        index_elements=[table.c[name] for name in key], index_where=text(NOT_REFUTED), set_=changes
    )
    return str(connection.execute(statement.returning(table.c.id)).scalar_one())
