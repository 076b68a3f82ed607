"""A server's view of a scripted chain: the canonical branch up to a height."""

from chain.model import BlockHeader
from chain.testing.canonical import Place, ScriptedBlock
from chain.testing.mempool import PoolEntry
from chain.testing.scripted import ScriptedChain

#: ``microblock_sequence`` of everything since Nakamoto: there are no microblocks.
NO_MICROBLOCK = 2147483647


class View:
    """The canonical chain without its newest ``behind`` blocks. Made for one request."""

    def __init__(self, chain: ScriptedChain, behind: int = 0) -> None:
        self._chain = chain
        self._canonical = chain.canonical
        height = max(self._canonical.tip.header.height - behind, self._canonical.first_height)
        tip = self._canonical.at(height)
        assert tip is not None
        #: The newest block.
        self.tip: ScriptedBlock = tip

    @property
    def block_count(self) -> int:
        """Number of canonical blocks."""
        return self.tip.header.height - self._canonical.first_height + 1

    @property
    def tx_count(self) -> int:
        """Number of canonical transactions."""
        return self._canonical.end(self.tip.header.height)

    def at(self, height: int) -> ScriptedBlock | None:
        """The canonical block of a height."""
        return self._canonical.at(height) if height <= self.tip.header.height else None

    def find(self, block_hash: str) -> ScriptedBlock | None:
        """The canonical block of an index block hash or a block hash."""
        block = self._canonical.find(block_hash)
        return block if block is not None and block.header.height <= self.tip.header.height else None

    def is_orphan(self, index_hash: str) -> bool:
        """Whether a block of this index hash is known but not canonical."""
        return self._chain.knows(index_hash) and not self._chain.is_canonical(index_hash)

    def burn_blocks(self, ref: int | str) -> list[ScriptedBlock]:
        """The Stacks blocks of a Bitcoin block (height or hash), newest first."""

        def matches(header: BlockHeader) -> bool:
            return ref in (header.burn_height, header.burn_hash)

        top = self.tip.header.height
        return [b for b in reversed(self._chain.blocks) if b.header.height <= top and matches(b.header)]

    def blocks(self, newest: int, limit: int) -> list[ScriptedBlock]:
        """Up to ``limit`` blocks downwards from a height."""
        found = (self.at(height) for height in range(newest, newest - limit, -1))
        return [block for block in found if block is not None]

    def place(self, tx_id: str) -> Place | None:
        """The place of a mined transaction."""
        place = self._canonical.place(tx_id)
        return place if place is not None and place[0].header.height <= self.tip.header.height else None

    def pooled(self, tx_id: str) -> PoolEntry | None:
        """The entry of a transaction that is not mined, pending or dropped."""
        entry = self._chain.mempool.get(tx_id)
        if entry is None and self._canonical.place(tx_id) is not None and self.place(tx_id) is None:
            entry = self._chain.mempool.before_mined(tx_id)
        return entry

    def pending(self) -> list[PoolEntry]:
        """The mempool, newest first."""
        return self._chain.mempool.pending()

    @property
    def mempool_stamp(self) -> str:
        """A text that changes with every change of the mempool."""
        return f"{self._chain.tip.time}.{self._chain.mempool.changes:06d}"

    def bounds(self, block: ScriptedBlock) -> tuple[int, int]:
        """Positions of a block's first transaction and of the one after its last."""
        height = block.header.height
        return self._canonical.end(height - 1), self._canonical.end(height)

    def position(self, height: int, sequence: int, index: int) -> int:
        """The newest position at or below a cursor ``height:sequence:index``.

        A microblock sequence below :data:`NO_MICROBLOCK`, as in ``H:0:0``, means the end of the block.
        """
        block = self.at(height)
        if block is None:
            return self.tx_count - 1 if height > self.tip.header.height else -1
        start, end = self.bounds(block)
        return end - 1 if sequence < NO_MICROBLOCK else min(start + index, end - 1)

    def rows(self, position: int, limit: int) -> list[Place]:
        """Up to ``limit`` transactions, newest first, from a position downwards."""
        return self._canonical.newest_first(position, limit)
