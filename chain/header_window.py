"""The window of the newest applied canonical headers, and its verdict on a header that a source shows.

Pure: no network, no clock. A reorg is only ever concluded from a block at one of our heights with another
hash; anything absent (a lower tip, an unknown hash, an unknown height) proves nothing.
"""

from collections.abc import Generator, Iterable, Sequence
from enum import StrEnum

from chain.model import BlockHeader, Reorg, Step


class Verdict(StrEnum):
    """Relation of a source's newest block to the window."""

    #: It is our own tip.
    SAME = "same"
    #: It is higher than our tip; whether it descends from our tip is not yet known.
    AHEAD = "ahead"
    #: It is an older block of ours, or older than the window: the source lags.
    LAGGING = "lagging"
    #: It is another block at one of our heights: positive evidence of a fork.
    CONFLICT = "conflict"


class BrokenLink(ValueError):
    """The headers do not link by hash and height."""


def links(parent: BlockHeader, headers: Sequence[BlockHeader]) -> bool:
    """Whether ``headers`` (oldest first) follow ``parent`` and one another by hash and height, none twice."""
    seen = {parent.hash}
    for header in headers:
        if header.parent_hash != parent.hash or header.height != parent.height + 1 or header.hash in seen:
            return False
        seen.add(header.hash)
        parent = header
    return True


class HeaderWindow:
    """Contiguous canonical headers, oldest first; the newest one is the cursor.

    Raises ``BrokenLink`` for headers that do not link; the window is then unchanged.
    """

    def __init__(self, headers: Iterable[BlockHeader] = ()) -> None:
        self._headers: list[BlockHeader] = []
        self.replace(headers)

    def __len__(self) -> int:
        return len(self._headers)

    @property
    def headers(self) -> tuple[BlockHeader, ...]:
        """All headers, oldest first."""
        return tuple(self._headers)

    @property
    def tip(self) -> BlockHeader:
        """The newest header; raises ``LookupError`` when the window is empty."""
        if not self._headers:
            raise LookupError("the header window is empty; bootstrap() fills it")
        return self._headers[-1]

    @property
    def oldest(self) -> BlockHeader:
        """The oldest header; raises ``LookupError`` when the window is empty."""
        if not self._headers:
            raise LookupError("the header window is empty; bootstrap() fills it")
        return self._headers[0]

    def at(self, height: int) -> BlockHeader | None:
        """The header at ``height``, None outside the window."""
        index = height - self._headers[0].height if self._headers else -1
        return self._headers[index] if 0 <= index < len(self._headers) else None

    def judge(self, height: int, block_hash: str) -> Verdict:
        """Judge a source whose newest block is ``block_hash`` at ``height``."""
        if height > self.tip.height:
            return Verdict.AHEAD
        ours = self.at(height)
        if ours is None:
            return Verdict.LAGGING
        if ours.hash != block_hash:
            return Verdict.CONFLICT
        return Verdict.SAME if height == self.tip.height else Verdict.LAGGING

    def burn_depth(self, header: BlockHeader) -> int:
        """Number of Bitcoin blocks between ``header`` and our tip."""
        return self.tip.burn_height - header.burn_height

    def search_fork(self, conflict: int) -> Generator[int, str, BlockHeader | None]:
        """Find the newest header shared with another branch, given a height in the window where it differs.

        Yields heights, receives the other branch's hash there, and returns the shared header, or None when
        even the oldest one differs. Doubles the distance, then halves it: about 2 log2(depth) questions.
        """
        low = self.oldest.height
        differs, distance = conflict, 1
        shared: int | None = None
        while shared is None:
            if differs == low:
                return None
            probe = max(low, conflict - distance)
            if (yield probe) == self._hash(probe):
                shared = probe
            else:
                differs, distance = probe, distance * 2
        while differs - shared > 1:
            probe = (differs + shared) // 2
            if (yield probe) == self._hash(probe):
                shared = probe
            else:
                differs = probe
        return self.at(shared)

    def apply(self, step: Step) -> None:
        """Apply ``step``; raises ``BrokenLink`` when it does not start at our tip or at a header of ours."""
        added = [block.header for block in step.blocks]
        kept = self._headers
        if isinstance(step, Reorg):
            ancestor = step.ancestor
            if self.at(ancestor.height) != ancestor:
                raise BrokenLink(f"block {ancestor.height} {ancestor.hash} is not in the header window")
            kept = kept[: ancestor.height - self.oldest.height + 1]
        self.replace([*kept, *added])

    def replace(self, headers: Iterable[BlockHeader]) -> None:
        """Replace all headers by ``headers`` (oldest first)."""
        fresh = list(headers)
        if fresh and not links(fresh[0], fresh[1:]):
            raise BrokenLink(f"headers {fresh[0].height} to {fresh[-1].height} do not form a chain")
        self._headers = fresh

    def trim(self, burn_blocks: int) -> None:
        """Drop headers more than ``burn_blocks`` Bitcoin blocks below the tip; the tip stays."""
        surplus = 0
        while self.burn_depth(self._headers[surplus]) > burn_blocks:
            surplus += 1
        del self._headers[:surplus]

    def _hash(self, height: int) -> str:
        return self._headers[height - self._headers[0].height].hash
