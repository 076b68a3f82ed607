"""Fetch a range of blocks from one source in chain order, in batches and with prefetch."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Iterable
from dataclasses import dataclass

from chain.api.parse import TxPage
from chain.block_reader import read_blocks
from chain.directed import DirectedReading
from chain.errors import SourceError, SourceInconsistent
from chain.header_window import links
from chain.model import Block, BlockHeader, FetchRules, PrintEvent, Transaction
from chain.source import ChainSource

#: Headers per request.
HEADER_ROWS = 30

#: Bytes of blocks read ahead of the consumer; nothing more is requested while more are waiting.
MAX_PREFETCH_BYTES = 16 * 2**20

#: Memory of an event or a transaction without its texts, in bytes: roughly that of the Python objects.
_OBJECT_BYTES = 250


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockRange:
    """Blocks to fetch from one source: from ``base`` (exclusive) up to height ``top``."""

    source: ChainSource
    base: BlockHeader
    #: Headers right after ``base`` that are already known, oldest first.
    first: tuple[BlockHeader, ...]
    top: int
    #: The source's newest header.
    tip: BlockHeader
    #: The newest transactions, if already read.
    page: TxPage | None = None
    #: Index hash of a block that must be among them; None for none.
    through: str | None = None


async def headers_after(source: ChainSource, after: BlockHeader, top: int) -> tuple[BlockHeader, ...] | None:
    """Read up to 30 linked headers after ``after``, oldest first, none above ``top``, which must be higher.

    None when ``source`` does not have ``after`` in its chain. Raises ``SourceInconsistent`` if they do not
    link.
    """
    # Exactly as many as exist: a page that would begin above the tip is empty.
    count = min(HEADER_ROWS, top - after.height)
    if after.height == 0:
        # No source lists block 0: count down from a block above it.
        last = await source.header(count)
        found = None if last is None else await source.headers(limit=count, cursor=last.hash)
    else:
        found = await source.headers(limit=count, cursor=after.hash, offset=-count, height=after.height)
    if not found:
        return None
    headers = found[::-1]
    if not links(after, headers):
        raise SourceInconsistent(
            f"the blocks it lists after {after.height} {after.hash} do not link", url=source.url
        )
    return headers


async def headers_below(source: ChainSource, header: BlockHeader, limit: int) -> tuple[BlockHeader, ...]:
    """Read up to ``limit`` linked headers right below ``header``, newest first; none if it lists none.

    Raises ``SourceInconsistent`` if they do not link.
    """
    older = await source.headers(limit=limit, cursor=header.hash, offset=1, height=header.height)
    if older and not links(older[-1], [*older[-2::-1], header]):
        raise SourceInconsistent(f"the blocks it lists below {header.height} do not link", url=source.url)
    return older or ()


class BlockFetcher:
    """Fetches block ranges in batches that shrink after errors and grow with each batch read.

    An unreadable block therefore does not hold up the readable blocks before it, and a small request budget
    still makes progress. Large blocks shrink the batch too: ``prefetch`` batches together hold at most about
    ``max_prefetch_bytes``.
    """

    def __init__(
        self,
        rules: FetchRules,
        *,
        batch: int,
        prefetch: int,
        max_prefetch_bytes: int = MAX_PREFETCH_BYTES,
        directed: DirectedReading | None = None,
    ) -> None:
        if batch < 1 or prefetch < 1:
            raise ValueError("batch and prefetch must be at least 1")
        self._rules = rules
        self._directed = directed
        self._batch = batch
        self._prefetch = prefetch
        self._max_prefetch_bytes = max_prefetch_bytes
        self._pace = batch
        #: Blocks per batch, at the size of the last ones, that keep the prefetch within its limit.
        self._fitting = batch

    def slow_down(self) -> None:
        """Shrink the batch size."""
        self._pace = max(1, self._pace // 4)

    async def batches(self, run: BlockRange) -> AsyncGenerator[tuple[Block, ...], None]:
        """Yield the blocks of ``run`` in order, in tuples of at most ``batch``.

        Raises ``SourceError`` after all blocks before the error were yielded. Closing cancels requests in
        flight.
        """
        reads: deque[asyncio.Task[tuple[Block, ...]]] = deque()
        last, ready = run.base, run.first
        stopped: SourceError | None = None
        try:
            while True:
                prefetch = self._prefetch if self._pace == self._batch <= self._fitting else 1
                while stopped is None and last.height < run.top and len(reads) < prefetch:
                    try:
                        ready = await self._fill(run, last, ready)
                    except SourceError as error:
                        stopped = error
                        break
                    headers, ready = ready[: self._pace], ready[self._pace :]
                    last = headers[-1]
                    reading = read_blocks(
                        run.source,
                        headers,
                        self._rules,
                        page=run.page,
                        directed=self._directed,
                        top=run.top,
                    )
                    reads.append(asyncio.create_task(reading))
                if not reads:
                    break
                blocks = await reads[0]
                reads.popleft()
                self._fitting = self._max_prefetch_bytes * len(blocks) // (self._prefetch * size_of(blocks))
                yield blocks
                del blocks  # owned by the consumer from here on
                self._pace = min(self._batch, self._pace * 2, max(1, self._fitting))
            if stopped is not None:
                raise stopped
        finally:
            for task in reads:
                task.cancel()
            await asyncio.gather(*reads, return_exceptions=True)

    async def _fill(
        self, run: BlockRange, last: BlockHeader, ready: tuple[BlockHeader, ...]
    ) -> tuple[BlockHeader, ...]:
        """Add headers to ``ready``, which follow ``last``, until they fill a batch or reach the top."""
        while len(ready) < self._pace and last.height + len(ready) < run.top:
            after = ready[-1] if ready else last
            more = await headers_after(run.source, after, run.top)
            if more is None:
                raise SourceInconsistent(
                    f"block {after.height} {after.hash} is gone again", url=run.source.url
                )
            ready += more
        return ready


def size_of(blocks: Iterable[Block]) -> int:
    """Estimate the memory that blocks take, in bytes."""
    return sum(_OBJECT_BYTES + sum(map(_size, block.transactions)) for block in blocks)


def _size(tx: Transaction) -> int:
    size = _OBJECT_BYTES + sum(map(len, (tx.call.args or ()) if tx.call is not None else ()))
    for event in tx.events:
        size += _OBJECT_BYTES + (len(event.value) if isinstance(event, PrintEvent) else 0)
    return size
