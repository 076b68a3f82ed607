"""Blocks of a scripted chain, and its canonical branch with the indexes that an API needs."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from chain.model import BlockHeader
from chain.testing.tx import Tx


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptedBlock:
    """A block of any branch with its transactions."""

    header: BlockHeader
    parent_block_hash: str
    #: Time of the parent's Bitcoin block.
    parent_burn_time: int
    tenure_height: int
    miner_txid: str
    txs: tuple[Tx, ...]


#: Place of a mined transaction: its block and the index in it.
Place = tuple[ScriptedBlock, int]


class Canonical:
    """The canonical branch from its first block to its tip, indexed by hash, transaction and position."""

    def __init__(self, first: ScriptedBlock) -> None:
        self._first_height = first.header.height
        self._blocks: list[ScriptedBlock] = []
        #: Number of transactions up to and including each block.
        self._ends: list[int] = []
        self._heights: dict[str, int] = {}
        self._places: dict[str, Place] = {}
        self.append(first)

    def copy(self) -> "Canonical":
        """Return an independent branch of the same blocks."""
        twin = Canonical(self._blocks[0])
        twin._blocks, twin._ends = list(self._blocks), list(self._ends)
        twin._heights, twin._places = dict(self._heights), dict(self._places)
        return twin

    @property
    def first_height(self) -> int:
        """Height of the first block."""
        return self._first_height

    @property
    def tip(self) -> ScriptedBlock:
        """The newest block."""
        return self._blocks[-1]

    @property
    def blocks(self) -> Sequence[ScriptedBlock]:
        """All blocks, oldest first."""
        return tuple(self._blocks)

    def append(self, block: ScriptedBlock) -> None:
        """Append a block to the tip."""
        self._blocks.append(block)
        self._ends.append((self._ends[-1] if self._ends else 0) + len(block.txs))
        self._heights[block.header.hash] = self._heights[block.header.block_hash] = block.header.height
        for index, tx in enumerate(block.txs):
            self._places[tx.tx_id] = (block, index)

    def cut(self, height: int) -> list[ScriptedBlock]:
        """Remove and return all blocks above ``height``, oldest first."""
        keep = height - self._first_height + 1
        removed = self._blocks[keep:]
        del self._blocks[keep:], self._ends[keep:]
        for block in removed:
            self._heights.pop(block.header.hash)
            self._heights.pop(block.header.block_hash)
            for tx in block.txs:
                self._places.pop(tx.tx_id)
        return removed

    def at(self, height: int) -> ScriptedBlock | None:
        """Return the block at a height."""
        place = height - self._first_height
        return self._blocks[place] if 0 <= place < len(self._blocks) else None

    def find(self, block_hash: str) -> ScriptedBlock | None:
        """Return the block of an index block hash or a block hash."""
        height = self._heights.get(block_hash)
        return None if height is None else self.at(height)

    def place(self, tx_id: str) -> Place | None:
        """Return the place of a mined transaction."""
        return self._places.get(tx_id)

    def end(self, height: int) -> int:
        """Return the number of transactions in all blocks up to and including ``height``."""
        place = height - self._first_height
        return self._ends[place] if place >= 0 else 0

    def newest_first(self, position: int, limit: int) -> list[Place]:
        """Return up to ``limit`` transactions downwards from ``position`` (0: the first block's first)."""
        rows: list[Place] = []
        place = bisect_right(self._ends, position)
        while position >= 0 and len(rows) < limit:
            start = self._ends[place - 1] if place else 0
            if position < start:
                place -= 1
                continue
            rows.append((self._blocks[place], position - start))
            position -= 1
        return rows
