"""Ancestry of a header: known headers, and the block hashes that a source links below them."""

from collections.abc import Awaitable, Callable, Sequence

from chain.block_fetcher import HEADER_ROWS, headers_below
from chain.errors import SourceInconsistent
from chain.model import BlockHeader, parent_of_first
from chain.source import ChainSource


class HeaderAncestry:
    """The ancestors of ``kept`` (linked headers, oldest first, at least one), as far down as traced.

    ``known``: hashes (32 bytes each) of an earlier trace, from a height down without a gap. A trace that
    reaches the first of them continues below the last.
    """

    def __init__(self, kept: Sequence[BlockHeader], known: tuple[int, Sequence[bytes]] = (0, ())) -> None:
        self.kept = tuple(kept)
        #: The lowest block that was traced.
        self.oldest = self.kept[0]
        #: Whether ``oldest`` is where the chain begins.
        self.is_whole = False
        #: Hashes below ``kept``, highest first; as bytes, because there may be millions.
        self._traced: list[bytes] = []
        self._known_top, self._known = known

    @property
    def top(self) -> BlockHeader:
        """The newest block."""
        return self.kept[-1]

    def hash_at(self, height: int) -> str | None:
        """Return the block hash at a height, None outside of the traced range."""
        first = self.kept[0].height
        if height > self.top.height:
            return None
        if height >= first:
            return self.kept[height - first].hash
        index = first - 1 - height
        return f"0x{self._traced[index].hex()}" if index < len(self._traced) else None

    async def trace(
        self,
        source: ChainSource,
        down_to: int,
        *,
        on_walk: Callable[[Sequence[BlockHeader]], Awaitable[None]] | None = None,
    ) -> None:
        """Trace down to a height or to the first block; each header must be the parent of the one above.

        Below block 1 is block 0, which no source has: it is made from what block 1 names as its parent.

        One request per 30 blocks; after an error, another call continues where this one stopped. ``on_walk``
        receives the headers of each request, newest first. Raises ``SourceError``.
        """
        while self.oldest.height > down_to and not self.is_whole:
            if await self._join(source):
                continue
            rows = min(HEADER_ROWS, self.oldest.height - down_to)
            older = await headers_below(source, self.oldest, rows)
            if not older:
                if await source.header(self.oldest.hash) is None:
                    raise _gone(source, self.oldest.height, self.oldest.hash)
                self.is_whole = True
                if self.oldest.height == 1:
                    self.oldest = parent_of_first(self.oldest)
                    self._traced.append(bytes.fromhex(self.oldest.hash[2:]))
                return
            self._traced += [bytes.fromhex(header.hash[2:]) for header in older]
            self.oldest = older[-1]
            if on_walk is not None:
                await on_walk(older)

    async def _join(self, source: ChainSource) -> bool:
        """Continue below an earlier trace if this one has reached it; return whether it did."""
        first = self._known_top - self.oldest.height + 1  # index of our next block among the known ones
        if not 0 <= first < len(self._known) or f"0x{self._known[first].hex()}" != self.oldest.parent_hash:
            return False
        known, self._known = self._known[first:], ()
        lowest = self.oldest.height - len(known)
        if lowest == 0:  # no source has the header of block 0
            known, lowest = known[:-1], 1
        if not known:
            return False
        oldest = await source.header(f"0x{known[-1].hex()}")
        if oldest is None:
            raise _gone(source, lowest, f"0x{known[-1].hex()}")
        self._traced += known
        self.oldest = oldest
        return True

    async def header(self, source: ChainSource, height: int) -> BlockHeader:
        """Return the header at a traced height. Raises ``SourceError`` if ``source`` lacks that block."""
        if height >= self.kept[0].height:
            return self.kept[height - self.kept[0].height]
        known = self.hash_at(height)
        assert known is not None, "only traced heights are requested"
        found = await source.header(known if height else 0)
        if found is None or found.hash != known:
            raise _gone(source, height, known)
        return found


async def height_at(source: ChainSource, time: int, *, low: int, high: int) -> int:
    """Return the lowest height from ``low`` to ``high`` whose block is not older than ``time`` (unix s).

    Returns ``high`` when all are older. Heights that ``source`` does not have count as older. About 22
    requests for the whole chain. Raises ``SourceError``.
    """
    while low < high:
        middle = (low + high) // 2
        header = await source.header(middle)
        if header is None or header.time < time:
            low = middle + 1
        else:
            high = middle
    return low


def _gone(source: ChainSource, height: int, block_hash: str) -> SourceInconsistent:
    return SourceInconsistent(f"it does not have block {height} {block_hash} in its chain", url=source.url)
