"""A scripted Stacks chain: a tree of blocks, a fork choice, a mempool."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from chain.model import BlockHeader
from chain.testing.canonical import Canonical, ScriptedBlock
from chain.testing.mempool import Mempool, PoolEntry
from chain.testing.tx import Tx
from chain.testing.txs import coinbase, tenure_change

#: How a fork wins. ``stale`` (API 9.0): blocks arrive one by one and stay invisible until their branch is
#: longer than the canonical one. ``follow`` (later APIs): :meth:`Branch.promote` makes the branch canonical
#: at once, even if the tip height decreases. ``instant`` (API 9.1): every block is canonical as soon as it
#: arrives, whatever its height; one on an orphaned parent restores that whole branch.
Keep = Literal["stale", "follow", "instant"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockSeen:
    """A new block. Orphaned blocks, and blocks of a winning branch below its tip, are never announced."""

    block: ScriptedBlock
    canonical: bool
    #: Mempool entries of its transactions.
    was_pending: tuple[PoolEntry, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolSeen:
    """A transaction that was added to the mempool or dropped from it."""

    entry: PoolEntry


Announcement = BlockSeen | PoolSeen
Listener = Callable[[Announcement], None]


class ScriptedChain:
    """An in-memory chain, deterministic: equal calls on chains of one seed give equal hashes.

    It starts with one block at ``height``, which holds ``txs``. Not thread-safe: change it from one thread.
    APIs that serve it may run in another thread's event loop as long as changes there are made through that
    loop.
    """

    def __init__(
        self,
        *,
        seed: str = "",
        keep: Keep = "stale",
        height: int = 100,
        burn_height: int = 900_000,
        time: int = 1_800_000_000,
        txs: Iterable[Tx] = (),
    ) -> None:
        self.keep: Keep = keep
        self.mempool = Mempool()
        self._listeners: list[Listener] = []
        #: Every block of every branch by index block hash; how many children each has.
        self._tree: dict[str, ScriptedBlock] = {}
        self._children: dict[str, int] = {}
        first = self._first(seed, height, burn_height, time, txs)
        self._tree[first.header.hash] = first
        self._canonical = Canonical(first)

    # Reading.

    @property
    def tip(self) -> BlockHeader:
        """The newest canonical header."""
        return self._canonical.tip.header

    @property
    def canonical(self) -> Canonical:
        """The canonical branch with its indexes; read only."""
        return self._canonical

    @property
    def blocks(self) -> Sequence[ScriptedBlock]:
        """The canonical blocks, oldest first."""
        return self._canonical.blocks

    def header(self, ref: int | str) -> BlockHeader:
        """The header of a canonical height or of any block's index hash. KeyError if there is none."""
        return self.block(ref).header

    def block(self, ref: int | str) -> ScriptedBlock:
        """The block of a canonical height or of any index hash, orphans too. KeyError if there is none."""
        block = self._canonical.at(ref) if isinstance(ref, int) else self._tree.get(ref)
        if block is None:
            raise KeyError(f"no block {ref}")
        return block

    @property
    def tree(self) -> Sequence[ScriptedBlock]:
        """The blocks of every branch, in the order in which they were mined."""
        return tuple(self._tree.values())

    def is_canonical(self, block_hash: str) -> bool:
        """Whether the block of this index hash is on the canonical branch."""
        return self._canonical.find(block_hash) is not None

    def knows(self, block_hash: str) -> bool:
        """Whether any branch has a block of this index hash."""
        return block_hash in self._tree

    def mined_in(self, tx_id: str) -> BlockHeader | None:
        """The canonical block that holds a transaction."""
        place = self._canonical.place(tx_id)
        return None if place is None else place[0].header

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Call ``listener`` with every announcement; return a function that stops that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def clone(self) -> "ScriptedChain":
        """Return an independent chain with the same history: for sources that diverge or freeze."""
        twin = object.__new__(ScriptedChain)
        twin.keep, twin.mempool, twin._listeners = self.keep, self.mempool.copy(), []
        twin._tree, twin._children = dict(self._tree), dict(self._children)
        twin._canonical = self._canonical.copy()
        return twin

    # Growing.

    def mine(
        self,
        txs: Iterable[Tx] = (),
        *,
        n: int = 1,
        burn: bool = False,
        burn_blocks: int = 0,
        seconds: int = 10,
        time: int | None = None,
        empty: bool = False,
    ) -> BlockHeader:
        """Mine ``n`` blocks on the canonical tip and return the last one's header.

        The first block holds ``txs``, in order; each holds at least one transaction of its miner. Before
        *each* block ``burn_blocks`` Bitcoin blocks pass (``burn``: one) and a tenure begins. A block is
        ``seconds`` after its parent, which may be negative; ``time`` sets the first one's time. ``empty``
        blocks have no transaction at all: no miner makes such blocks, but some were recorded. ValueError if a
        transaction is on the branch already.
        """
        branch = Branch(self, self._canonical.tip, self.keep)
        return branch.mine(
            txs, n=n, burn=burn, burn_blocks=burn_blocks, seconds=seconds, time=time, empty=empty
        )

    def fork(self, at: int | str, *, keep: Keep | None = None) -> "Branch":
        """Start a branch from a canonical height or any block's index hash, even an orphan's."""
        return Branch(self, self.block(at), keep or self.keep)

    def reorg(
        self, depth: int, blocks: Iterable[Iterable[Tx]] | None = None, *, burn: bool = False
    ) -> "Branch":
        """Replace the newest ``depth`` blocks by others (default: ``depth`` + 1 without payments) at once.

        ``blocks`` holds the transactions of each new block; there may be fewer new blocks than old ones, even
        none.
        """
        branch = self.fork(self.tip.height - depth, keep="follow")
        for txs in blocks if blocks is not None else [()] * (depth + 1):
            branch.mine(txs, burn=burn)
        branch.promote()
        return branch

    def add_pending(self, tx: Tx, *, time: int | None = None) -> PoolEntry:
        """Add a transaction to the mempool, received at ``time`` (default: the tip's)."""
        if self._canonical.place(tx.tx_id) is not None:
            raise ValueError(f"{tx.tx_id} is mined already")
        when = self.tip.time if time is None else time
        entry = self.mempool.add(tx, time=when, height=self.tip.height)
        self._announce(PoolSeen(entry=entry))
        return entry

    def drop_pending(
        self, tx_id: str, reason: str = "stale_garbage_collect", *, replaced_by: str | None = None
    ) -> PoolEntry:
        """Drop a pending transaction, with a ``reason`` such as ``replace_by_fee`` or ``too_expensive``."""
        entry = self.mempool.drop(tx_id, f"dropped_{reason}", replaced_by)
        self._announce(PoolSeen(entry=entry))
        return entry

    # How branches grow.

    def _first(self, seed: str, height: int, burn_height: int, time: int, txs: Iterable[Tx]) -> ScriptedBlock:
        before = BlockHeader(
            height=height - 1,
            hash=_hash("index before", seed),
            block_hash=_hash("block before", seed),
            parent_hash=_hash("root", seed),
            time=time - 10,
            burn_height=burn_height - 1,
            burn_hash=_hash("burn before", seed),
            burn_time=time - 11,
            tx_count=1,
        )
        parent = ScriptedBlock(
            header=before,
            parent_block_hash=_hash("root block", seed),
            parent_burn_time=time - 11,
            tenure_height=0,
            miner_txid=_hash("miner before", seed),
            txs=(),
        )
        return self._make(parent, txs, burn_blocks=1, time=time)

    def _make(
        self, parent: ScriptedBlock, txs: Iterable[Tx], *, burn_blocks: int, time: int, empty: bool = False
    ) -> ScriptedBlock:
        above = parent.header
        sibling = self._children.get(above.hash, 0)
        self._children[above.hash] = sibling + 1
        label = f"{above.hash}/{sibling}"
        listed = [tenure_change(label), coinbase(label)] if burn_blocks and not empty else []
        listed += txs
        if not listed and not empty:
            listed.append(tenure_change(label, "extended"))
        contents = [(tx.tx_id, tx.status, tx.result, tx.events) for tx in listed]
        block_hash = _hash("block", label, time, burn_blocks, contents)
        burn_hash, burn_time = above.burn_hash, above.burn_time
        if burn_blocks:
            burn_hash, burn_time = _hash("burn", label, above.burn_height + burn_blocks), time - 1
        header = BlockHeader(
            height=above.height + 1,
            hash=_hash("index", block_hash),
            block_hash=block_hash,
            parent_hash=above.hash,
            time=time,
            burn_height=above.burn_height + burn_blocks,
            burn_hash=burn_hash,
            burn_time=burn_time,
            tx_count=len(listed),
        )
        return ScriptedBlock(
            header=header,
            parent_block_hash=above.block_hash,
            parent_burn_time=above.burn_time,
            tenure_height=parent.tenure_height + (1 if burn_blocks else 0),
            miner_txid=_hash("miner", burn_hash),
            txs=tuple(listed),
        )

    def _grow(
        self,
        parent: ScriptedBlock,
        txs: Sequence[Tx],
        *,
        burn_blocks: int,
        time: int,
        keep: Keep,
        empty: bool = False,
    ) -> ScriptedBlock:
        self._refuse_repeats(parent, txs)
        block = self._make(parent, txs, burn_blocks=burn_blocks, time=time, empty=empty)
        self._tree[block.header.hash] = block
        if parent is self._canonical.tip:
            self._canonical.append(block)
            left = self.mempool.mined(block.txs)
            self._announce(BlockSeen(block=block, canonical=True, was_pending=tuple(left)))
        elif keep == "instant" or (keep == "stale" and block.header.height > self.tip.height):
            self._switch(block)
        elif keep == "stale":
            self._announce(BlockSeen(block=block, canonical=False))
        return block

    def _switch(self, tip: ScriptedBlock) -> None:
        """Make ``tip`` canonical: mine its branch's transactions, make the old branch's pending again."""
        branch: list[ScriptedBlock] = []
        block = tip
        while not self.is_canonical(block.header.hash):
            branch.append(block)
            block = self._tree[block.header.parent_hash]
        orphans = self._canonical.cut(block.header.height)
        left: list[PoolEntry] = []
        for block in reversed(branch):
            self._canonical.append(block)
            left = self.mempool.mined(block.txs)
        for orphan in orphans:
            for tx in orphan.txs:
                if not tx.is_system and self._canonical.place(tx.tx_id) is None:
                    self.mempool.restore(tx, burn_time=orphan.header.burn_time, height=orphan.header.height)
        self._announce(BlockSeen(block=tip, canonical=True, was_pending=tuple(left)))

    def _refuse_repeats(self, parent: ScriptedBlock, txs: Sequence[Tx]) -> None:
        seen: set[str] = set()
        for tx in txs:
            if tx.tx_id in seen:
                raise ValueError(f"{tx.tx_id} is twice in one block: give one a label of its own")
            seen.add(tx.tx_id)
        block = parent
        while seen and not self.is_canonical(block.header.hash):
            repeated = seen.intersection(tx.tx_id for tx in block.txs)
            if repeated:
                raise ValueError(
                    f"{min(repeated)} is on this branch already: give the other a label of its own"
                )
            block = self._tree[block.header.parent_hash]
        for tx_id in seen:
            place = self._canonical.place(tx_id)
            if place is not None and place[0].header.height <= block.header.height:
                raise ValueError(f"{tx_id} is on this branch already: give the other a label of its own")

    def _announce(self, announcement: Announcement) -> None:
        for listener in tuple(self._listeners):
            listener(announcement)


class Branch:
    """A branch to mine on, made by :meth:`ScriptedChain.fork`; :data:`Keep` says how it becomes canonical."""

    def __init__(self, chain: ScriptedChain, tip: ScriptedBlock, keep: Keep) -> None:
        self._chain = chain
        self._tip = tip
        self._keep: Keep = keep

    @property
    def tip(self) -> BlockHeader:
        """The branch's newest header."""
        return self._tip.header

    @property
    def is_canonical(self) -> bool:
        """Whether the branch's tip is on the canonical branch."""
        return self._chain.is_canonical(self.tip.hash)

    def mine(
        self,
        txs: Iterable[Tx] = (),
        *,
        n: int = 1,
        burn: bool = False,
        burn_blocks: int = 0,
        seconds: int = 10,
        time: int | None = None,
        empty: bool = False,
    ) -> BlockHeader:
        """Mine like :meth:`ScriptedChain.mine`; transactions of other branches may be mined again here."""
        if n < 1:
            raise ValueError("mine at least one block")
        listed = tuple(txs)
        for _ in range(n):
            when = self.tip.time + seconds if time is None else time
            self._tip = self._chain._grow(
                self._tip,
                listed,
                burn_blocks=burn_blocks or int(burn),
                time=when,
                keep=self._keep,
                empty=empty,
            )
            listed, time = (), None
        return self.tip

    def promote(self) -> BlockHeader:
        """Make the branch's tip the canonical tip, whatever its height.

        Under ``stale`` a longer branch is already canonical; a shorter one raises ValueError.
        """
        chain = self._chain
        if self.tip != chain.tip:
            if self._keep == "stale":
                if self.is_canonical:
                    return self.tip
                missing = chain.tip.height - self.tip.height + 1
                raise ValueError(
                    f"a stale branch stays: mine {missing} more blocks on this one, or fork(keep='follow')"
                )
            chain._switch(self._tip)
        return self.tip


def _hash(*parts: object) -> str:
    return "0x" + hashlib.sha256(repr(parts).encode()).hexdigest()
