"""The tree of the blocks that a node has told of, and the branch of it that is canonical (pure)."""

from collections import OrderedDict
from typing import NamedTuple

#: Blocks that are remembered; the first ones told are forgotten first.
MAX_BLOCKS = 10_000

#: Seconds for which a block that extends the node's tip is its tip, before the node's RPC says so: its tip is
#: some seconds old.
EXTENDS_SECONDS = 30.0


class Link(NamedTuple):
    """A block's place."""

    height: int
    parent_hash: str


class Branches:
    """Links of blocks by index hash, and the canonical chain down from a tip as far as it is linked."""

    def __init__(self) -> None:
        self._links: OrderedDict[str, Link] = OrderedDict()
        #: Children that were told of as new, and when, by any clock.
        self._told_at: dict[str, float] = {}
        self._children: dict[str, list[str]] = {}
        self._canonical: dict[int, str] = {}

    def link(self, block_hash: str, link: Link, *, told_at: float = float("-inf")) -> None:
        """Add a block; ``told_at`` unless it is an old one."""
        if block_hash in self._links:
            return
        self._links[block_hash] = link
        self._told_at[block_hash] = told_at
        self._children.setdefault(link.parent_hash, []).append(block_hash)
        if len(self._links) > MAX_BLOCKS:
            self._forget()

    def find(self, block_hash: str) -> Link | None:
        """Return a block's link; None for an unknown block."""
        return self._links.get(block_hash)

    def next(self, height: int, block_hash: str, *, now: float) -> str | None:
        """Return the last child told of lately of the block at ``height``; None without any."""
        told = [
            child
            for child in self._children.get(block_hash, ())
            if now - self._told_at[child] <= EXTENDS_SECONDS and self._links[child].height == height + 1
        ]
        return told[-1] if told else None

    def set_tip(self, height: int, block_hash: str) -> None:
        """Make the chain that ends in this block the canonical one."""
        for above in [known for known in self._canonical if known > height]:
            del self._canonical[above]
        at, current = height, block_hash
        while self._canonical.get(at) != current:
            self._canonical[at] = current
            link = self._links.get(current)
            if link is None or link.height != at:
                # Whether what is below belongs to it is not known.
                for below in [known for known in self._canonical if known < at]:
                    del self._canonical[below]
                return
            at, current = at - 1, link.parent_hash

    def confirm(self, height: int, block_hash: str) -> None:
        """Note that the node has this block in its chain, below what is linked to the tip."""
        self._canonical.setdefault(height, block_hash)

    def at(self, height: int) -> str | None:
        """Return the hash of the canonical block of a height, None where it is not known."""
        return self._canonical.get(height)

    def is_canonical(self, block_hash: str) -> bool:
        """Whether the block is known to be canonical."""
        link = self._links.get(block_hash)
        return link is not None and self._canonical.get(link.height) == block_hash

    def _forget(self) -> None:
        oldest, link = self._links.popitem(last=False)
        del self._told_at[oldest]
        siblings = self._children[link.parent_hash]
        siblings.remove(oldest)
        if not siblings:
            del self._children[link.parent_hash]
        if self._canonical.get(link.height) == oldest:
            for below in [known for known in self._canonical if known < link.height]:
                del self._canonical[below]
