"""Load the header window of a fresh database, or of one whose stored headers were lost, from the sources."""

from collections.abc import Sequence
from typing import NamedTuple

import structlog

from chain.block_fetcher import HEADER_ROWS, headers_below
from chain.errors import SourceInconsistent, SourceUnavailable
from chain.model import BlockHeader, parent_of_first
from chain.source import ChainSource
from chain.source_pool import SourcePool

#: Headers to walk down in search of a block before some time: the window, and hours before it.
MAX_HEADERS_SEARCHED = 3_000

_log = structlog.stdlib.get_logger(__name__)


class Loaded(NamedTuple):
    """Linked headers of one source."""

    #: The newest header that was read; above the cursor when that lies further back because of ``since``.
    newest: BlockHeader
    #: The headers for the window, oldest first; the last one is the cursor.
    headers: Sequence[BlockHeader]


class HeaderLoader:
    """Walks down a source's headers until more than ``burn_blocks`` Bitcoin blocks lie below the cursor.

    The headers that a failed attempt has read are kept for the next one.
    """

    def __init__(self, pool: SourcePool, burn_blocks: int) -> None:
        self._pool = pool
        self._burn_blocks = burn_blocks
        #: Headers read by an interrupted attempt, newest first.
        self._filled: list[BlockHeader] = []

    async def bootstrap(
        self, start_height: int | None, since: int | None = None, *, now: float | None = None
    ) -> Loaded:
        """Load the headers for a fresh database; the last one is the cursor to store.

        Reading then starts at ``start_height`` (the cursor is the block before it, for block 1 a made-up
        block 0), or, if None, right after the current tip; but no later than at the first block at or after
        ``since`` (unix seconds) among the newest :data:`MAX_HEADERS_SEARCHED`. ``now`` is the clock that
        ``since`` was read from: ``since`` is moved back by as much as that clock is ahead of the current tip,
        so that a fast clock skips no block. Raises ``SourceError``; another call continues where this one
        stopped.
        """

        async def load(source: ChainSource) -> Loaded:
            cursor = await self._first_cursor(source, start_height)
            below = since
            if since is not None and now is not None:
                tip = (await source.headers(limit=1) or [cursor])[0]
                below = since - max(0, int(now) - tip.time)
            return await self._headers_below(source, cursor, below)

        return await self._pool.use(load)

    async def refill(self, cursor: BlockHeader) -> Loaded | None:
        """Load the headers down from ``cursor``, by its hash; None if a source has another block there.

        Only hash, heights and time of ``cursor`` are used. Raises ``SourceError``; another call continues
        where this one stopped.
        """

        async def load(source: ChainSource) -> Loaded | None:
            known = await source.header(cursor.hash if cursor.height else 0)
            if known is not None and known.hash == cursor.hash:
                if self._filled and self._filled[0] != known:
                    self._filled = []
                return await self._headers_below(source, known, None)
            theirs = await source.header(cursor.height)
            if theirs is None or theirs.hash == cursor.hash:
                raise SourceUnavailable(f"it has no block {cursor.height} {cursor.hash} yet", url=source.url)
            return None

        return await self._pool.use(load)

    async def _first_cursor(self, source: ChainSource, start_height: int | None) -> BlockHeader:
        if self._filled and start_height in (None, self._filled[0].height + 1):
            # Continue an interrupted attempt if its blocks are still canonical.
            known = await source.header(self._filled[0].hash)
            if known is not None:
                return known
        self._filled = []
        if start_height is None:
            newest = await source.headers(limit=1)
            if not newest:
                raise SourceUnavailable("it has no blocks yet", url=source.url)
            return newest[0]
        height = max(start_height - 1, 0)
        found = await source.header(height)
        if found is None:
            raise SourceUnavailable(
                f"it has no block {max(height, 1)} yet, {'after' if height else 'with'} which to start",
                url=source.url,
            )
        return found

    async def _headers_below(self, source: ChainSource, cursor: BlockHeader, since: int | None) -> Loaded:
        """Load the window below ``cursor``, or below the newest block before ``since`` (unix seconds)."""
        self._filled = self._filled or [cursor]
        while not self._is_filled(since):
            oldest = self._filled[-1]
            if oldest.height == 0:
                break
            older = await headers_below(source, oldest, HEADER_ROWS)
            if not older:
                if await source.header(oldest.hash) is None:
                    raise SourceInconsistent(
                        f"block {oldest.height} {oldest.hash} is gone again", url=source.url
                    )
                # The chain begins here.
                if oldest.height == 1:
                    self._filled.append(parent_of_first(oldest))
                break
            self._filled += older
        begin = self._begin(since)
        if begin is None:
            # The chain begins here, or the search limit is reached.
            begin = len(self._filled) - 1
            _log.warning(
                "bootstrap.bounded",
                action="bootstrap.bounded",
                height=self._filled[begin].height,
                since=since,
            )
        loaded = Loaded(self._filled[0], self._filled[begin:][::-1])
        self._filled = []
        return loaded

    def _begin(self, since: int | None) -> int | None:
        """Return the index of the newest loaded header older than ``since``; None while there is none."""
        return next(
            (n for n, header in enumerate(self._filled) if since is None or header.time < since), None
        )

    def _is_filled(self, since: int | None) -> bool:
        begin = self._begin(since)
        if begin is None:
            return len(self._filled) >= MAX_HEADERS_SEARCHED
        return self._filled[begin].burn_height - self._filled[-1].burn_height > self._burn_blocks
