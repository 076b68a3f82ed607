"""The tree of the blocks that a node has told of, and the branch of it that is canonical (pure)."""

from collections import OrderedDict
from itertools import islice
from typing import NamedTuple

#: Blocks that are remembered; the first ones told are forgotten first.
MAX_BLOCKS = 10_000
#: Posted blocks that are remembered; children of one block that are looked at.
MAX_TOLD, MAX_CHILDREN = 1_000, 5

#: Seconds for which a block that extends the node's tip is its tip, before the node's RPC says so: its tip is
#: some seconds old.
EXTENDS_SECONDS = 30.0


class Link(NamedTuple):
    """A block's place."""

    height: int
    parent_hash: str


class _Told(NamedTuple):
    link: Link
    at: float

    def is_recent(self, now: float) -> bool:
        return now - self.at <= EXTENDS_SECONDS


class Branches:
    """Links of blocks by index hash, and the canonical chain down from a tip as far as it is linked.

    Links are what the node's RPC says. What was only posted is told: something else may post, too.
    """

    def __init__(self) -> None:
        self._links: OrderedDict[str, Link] = OrderedDict()
        self._told: OrderedDict[str, _Told] = OrderedDict()
        self._canonical: dict[int, str] = {}

    def tell(self, block_hash: str, link: Link, *, at: float) -> None:
        """Note when a block was posted, by any clock; minus infinity: long ago. The first time counts."""
        self._told.setdefault(block_hash, _Told(link, at))
        if len(self._told) > MAX_TOLD:
            self._told.popitem(last=False)

    def is_told(self, block_hash: str, *, now: float) -> bool:
        """Whether the block was told of lately."""
        told = self._told.get(block_hash)
        return told is not None and told.is_recent(now)

    def told_above(self, height: int, block_hash: str, *, now: float) -> list[str]:
        """Return the last children told of lately of the block at ``height``, newest first."""
        link = Link(height + 1, block_hash)
        lately = (
            key for key, told in reversed(self._told.items()) if told.link == link and told.is_recent(now)
        )
        return list(islice(lately, MAX_CHILDREN))

    def link(self, block_hash: str, link: Link) -> None:
        """Add a block."""
        if block_hash in self._links:
            return
        self._links[block_hash] = link
        if len(self._links) > MAX_BLOCKS:
            self._forget()

    def find(self, block_hash: str) -> Link | None:
        """Return a block's link; None for a block that is not linked."""
        return self._links.get(block_hash)

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
        if self._canonical.get(link.height) == oldest:
            for below in [known for known in self._canonical if known < link.height]:
                del self._canonical[below]
