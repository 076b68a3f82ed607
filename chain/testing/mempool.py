"""The mempool of a scripted chain, with the API's memory of drops, replacements and reorgs."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from chain.testing.tx import Tx

PENDING = "pending"
REPLACED = "dropped_replace_by_fee"


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolEntry:
    """A transaction that is not mined, as shown by the API."""

    tx: Tx
    receipt_time: int
    #: Height of the tip at its receipt; for a transaction restored by a reorg and never pending before, its
    #: old block.
    receipt_height: int
    #: ``pending`` or ``dropped_…``.
    status: str = PENDING
    replaced_by: str | None = None


class Mempool:
    """Pending and dropped transactions by id. ``changes`` counts every change, for the mempool's ETag."""

    def __init__(self) -> None:
        self._entries: dict[str, PoolEntry] = {}
        #: Entries as they were when mined: a reorg restores them unchanged.
        self._mined: dict[str, PoolEntry] = {}
        self._changes = 0

    @property
    def changes(self) -> int:
        """Number of changes so far."""
        return self._changes

    def copy(self) -> "Mempool":
        """Return an independent mempool with the same contents."""
        twin = Mempool()
        twin._entries, twin._mined, twin._changes = dict(self._entries), dict(self._mined), self._changes
        return twin

    def get(self, tx_id: str) -> PoolEntry | None:
        """Return the entry, pending or dropped."""
        return self._entries.get(tx_id)

    def before_mined(self, tx_id: str) -> PoolEntry | None:
        """Return the former entry of a mined transaction."""
        return self._mined.get(tx_id)

    def pending(self) -> list[PoolEntry]:
        """Return all pending entries, newest first as in the API."""
        waiting = (entry for entry in self._entries.values() if entry.status == PENDING)
        return sorted(waiting, key=lambda entry: (entry.receipt_time, entry.tx.tx_id), reverse=True)

    def add(self, tx: Tx, *, time: int, height: int) -> PoolEntry:
        """Add a transaction; of two with one sender and (given) nonce, drop the lower fee as replaced."""
        entry = PoolEntry(tx=tx, receipt_time=time, receipt_height=height)
        for rival in self._rivals(tx):
            if rival.tx.fee >= tx.fee:
                entry = replace(entry, status=REPLACED, replaced_by=rival.tx.tx_id)
            else:
                self._entries[rival.tx.tx_id] = replace(rival, status=REPLACED, replaced_by=tx.tx_id)
        self._entries[tx.tx_id] = entry
        self._changes += 1
        return entry

    def drop(self, tx_id: str, status: str, replaced_by: str | None) -> PoolEntry:
        """Mark an entry as dropped. KeyError if it is not pending."""
        entry = self._entries[tx_id]
        if entry.status != PENDING:
            raise KeyError(f"{tx_id} is not pending but {entry.status}")
        entry = self._entries[tx_id] = replace(entry, status=status, replaced_by=replaced_by)
        self._changes += 1
        return entry

    def mined(self, txs: Iterable[Tx]) -> list[PoolEntry]:
        """Remove and return the entries of mined transactions, in order; drop rivals of the same nonce."""
        left = []
        for tx in txs:
            entry = self._entries.pop(tx.tx_id, None)
            if entry is not None:
                left.append(entry)
                self._mined[tx.tx_id] = entry
                self._changes += 1
            for rival in self._rivals(tx):
                self.drop(rival.tx.tx_id, REPLACED, tx.tx_id)
        return left

    def restore(self, tx: Tx, *, burn_time: int, height: int) -> None:
        """Restore an orphaned transaction as pending."""
        entry = self._mined.get(tx.tx_id)
        if entry is None:
            entry = PoolEntry(tx=tx, receipt_time=burn_time, receipt_height=height)
        self._entries[tx.tx_id] = replace(entry, status=PENDING, replaced_by=None)
        self._changes += 1

    def _rivals(self, tx: Tx) -> list[PoolEntry]:
        if tx.nonce is None:
            return []
        return [
            entry
            for entry in self._entries.values()
            if entry.status == PENDING
            and (entry.tx.sender, entry.tx.nonce) == (tx.sender, tx.nonce)
            and entry.tx.tx_id != tx.tx_id
        ]
