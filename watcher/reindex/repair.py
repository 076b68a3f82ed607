"""Apply a diff to the database: refute the rows that are wrong, then insert what is missing."""

from collections.abc import Iterable, Sequence

from sqlalchemy import Connection, and_, bindparam, delete, update

from notifier.statements import chunks
from watcher.reindex.diff import BlockDiff, Difference
from watcher.store import transfers as transfer_store
from watcher.store.schema import act, attempt, refund, stray, transfer

_TABLES = {table.name: table for table in (transfer, attempt, refund)}


def apply_corrections(connection: Connection, diff: BlockDiff, *, at: int, now: float) -> None:
    """Write the corrections of ``diff`` in an open transaction, without settling any intent.

    ``at`` is the newest chain time so far: from then on refuted money counts as lost.
    """
    refute(connection, diff.wrong, at=at)
    _lower_actions(connection, diff)
    transfer_store.put_transfers(connection, diff.transfers, now=now)
    transfer_store.put_attempts(connection, diff.attempts, now=now)
    transfer_store.put_refunds(connection, diff.refunds, now=now)


def refute(connection: Connection, wrong: Sequence[Difference], *, at: int) -> None:
    """Orphan the rows, each with a note why; they are kept as a record."""
    for kind, table in _TABLES.items():
        rows = [row for row in wrong if row.kind == kind]
        if not rows:
            continue
        statement = update(table).where(table.c.id == bindparam("row"))
        statement = statement.values(canonical=False, orphaned_at=at, refuted=bindparam("note"))
        connection.execute(statement, [{"row": row.row, "note": row.note} for row in rows])
    for batch in chunks([row.row for row in wrong if row.kind == transfer.name]):
        connection.execute(delete(stray).where(stray.c.transfer_id.in_(batch)))


def _lower_actions(connection: Connection, diff: BlockDiff) -> None:
    """Date operator actions before corrected money, as after a reorg: the operator did not know of it."""
    for intent_id, height in _changed(diff):
        later = and_(act.c.intent_id == intent_id, act.c.height >= height)
        connection.execute(update(act).where(later).values(height=height - 1))


def _changed(diff: BlockDiff) -> Iterable[tuple[str, int]]:
    """Return the intents whose money differs from that of wrong rows, with the height of its block."""
    was = {(row.intent, row.tx_id, row.amount, row.height) for row in diff.wrong if row.kind == transfer.name}
    wrong = {tx_id for _, tx_id, _, _ in was}
    becomes = {
        (p.matched.intent.id, p.payment.tx_id, p.payment.amount, p.payment.block.height)
        for p in diff.transfers
        if p.matched.intent is not None and p.payment.tx_id in wrong
    }
    return sorted({(intent, height) for intent, _, _, height in was ^ becomes if intent is not None})
