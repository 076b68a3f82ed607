"""Follows the canonical chain of a pool of sources, one look at a time, and says how the cursor must move.

Hashes decide. A source that shows less than we know (a lower tip, no block of our hash, no block of a height) lags, and
nothing is undone; a fork needs another block at one of our heights, and then some (see ``chain.evidence``).
History, catch-up and tip are one code path.
"""

import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing

import structlog

from chain.api import StacksApi
from chain.errors import SourceError, SourceInconsistent, SourceUnavailable
from chain.evidence import ForkEvidence
from chain.feed import HEADER_ROWS, BlockFeed, Run, headers_after
from chain.model import Block, BlockHeader, Extend, ReadRules, Reorg, Step
from chain.pool import SourcePool
from chain.window import HeaderWindow, Verdict, links
from chain.wire import TxPage

#: Bitcoin blocks of headers kept below finality, so that a fork that is too deep can still be named.
MARGIN_BURN_BLOCKS = 4
#: Every so many poll intervals another source is asked whether ours is behind …
COMPARE_POLLS = 6
#: … by more than this many blocks (or by any, when ours has shown nothing all that time).
TOLERATED_LAG = 3

_log = structlog.stdlib.get_logger(__name__)


class Follower:
    """Turns what the pool's sources serve into steps from the window's tip on.

    One task uses it at a time. ``window`` is as stored, or empty for ``bootstrap`` to fill. ``poll_interval`` is the
    time in seconds that two looks at a fork must be apart. Batches hold up to ``batch`` blocks; ``ahead`` of them are
    read at once.
    """

    def __init__(
        self,
        pool: SourcePool,
        window: HeaderWindow,
        rules: ReadRules,
        *,
        poll_interval: float,
        finality_burn_blocks: int,
        batch: int = 50,
        ahead: int = 4,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pool = pool
        self._window = window
        self._poll_interval = poll_interval
        self._keep = finality_burn_blocks + MARGIN_BURN_BLOCKS
        self._batch = batch
        self._clock = clock
        self._feed = BlockFeed(rules, batch=batch, ahead=ahead)
        self._evidence = ForkEvidence(
            pool, window, poll_interval=poll_interval, finality_burn_blocks=finality_burn_blocks, clock=clock
        )
        self._tip: BlockHeader | None = window.tip if len(window) else None
        self._agrees = False
        #: Per source: the tip's hash that it showed last, with the validator of that answer.
        self._etags: dict[str, tuple[str, str | None]] = {}
        self._news_at = self._compared_at = clock()
        #: Headers that an interrupted bootstrap has already, newest first.
        self._filled: list[BlockHeader] = []

    @property
    def window(self) -> HeaderWindow:
        """The headers up to the cursor, as far as the consumer has committed."""
        return self._window

    @property
    def tip(self) -> BlockHeader | None:
        """The newest header that any source is known to have; None before a fresh database is filled."""
        return self._tip

    @property
    def agrees(self) -> bool:
        """Whether the last look found the window's tip in a source's canonical chain."""
        return self._agrees

    async def bootstrap(self, start_height: int | None) -> tuple[BlockHeader, ...]:
        """Fill the window for a fresh database and return it, oldest first; the last header is the cursor to store.

        Reading then starts at ``start_height`` (the cursor is the block before it, at least block 1), or with None
        right after the present tip. Raises ``SourceError``; another call goes on where this one stopped.
        """
        source = self._pool.pick()
        try:
            headers = await self._headers_below(source, await self._first_cursor(source, start_height))
        except SourceError as error:
            self._pool.failed(source, error)
            raise
        self._pool.succeeded(source)
        self._window.replace(headers)
        self._window.trim(self._keep)
        self._filled = []
        self._evidence.clear()
        self._see(self._window.tip)
        return self._window.headers

    async def turn(self) -> AsyncGenerator[Step, None]:
        """Look once, and yield the steps to the tip that this look found, in order; often there are none.

        Commit each step before asking for the next one: the window advances when the generator is resumed. Use
        ``contextlib.aclosing``: closing early leaves the window at the last step after which the generator was
        resumed, and cancels what is being read ahead. Raises ``SourceError`` (look again later), ``ReorgTooDeep`` or
        ``SourcesDisagree`` (halt; each further turn looks again, and goes on once the sources have healed), and
        ``LookupError`` when the window is empty.
        """
        run = await self._look()
        if run is None:
            return
        try:
            async with aclosing(self._steps(run)) as steps:
                async for step in steps:
                    self._pool.succeeded(run.source, tip_height=run.tip.height)
                    yield step
                    self._advance(step)
        except SourceError as error:
            self._feed.slow_down()
            self._pool.failed(run.source, error)
            raise

    async def _steps(self, run: Run) -> AsyncGenerator[Step, None]:
        ours = self._window.tip
        async with aclosing(self._feed.batches(run)) as batches:
            if run.base != ours:
                branch: list[Block] = []
                # Undo and redo are one step. What goes far beyond our old tip comes in ordinary steps after it.
                enough = min(run.top, ours.height + self._batch)
                async for blocks in batches:
                    branch += blocks
                    if branch[-1].header.height >= enough:
                        break
                yield Reorg(ancestor=run.base, blocks=tuple(branch), tip=run.tip)
            async for blocks in batches:
                yield Extend(blocks=blocks, tip=run.tip)

    def _advance(self, step: Step) -> None:
        """The consumer has committed ``step``."""
        self._window.apply(step)
        self._window.trim(self._keep)
        self._news_at = self._clock()
        if isinstance(step, Reorg):
            self._evidence.clear()
            self._tip = step.tip

    def _see(self, header: BlockHeader) -> None:
        if self._tip is None or header.height >= self._tip.height:
            self._tip = header

    # Looking

    async def _look(self) -> Run | None:
        """Ask the preferred source, and the next ones while they lag, for something to read."""
        asked: set[str] = set()
        while (source := self._pool.pick()).url not in asked:
            asked.add(source.url)
            try:
                verdict, run = await self._ask(source)
            except SourceError as error:
                self._pool.failed(source, error)
                raise
            shown = run.top if run is not None else self._window.tip.height
            if verdict in (Verdict.SAME, Verdict.AHEAD) and await self._is_behind(source, shown):
                verdict = self._lags(source, shown)
            if run is not None:
                return run
            if verdict is not Verdict.LAGGING:
                self._pool.succeeded(source)
                return None
        return None

    def _lags(self, source: StacksApi, height: int | None) -> Verdict:
        _log.info("source.lags", action="source.lags", source=source.url, tip_height=height)
        self._pool.succeeded(source)
        self._pool.lagging(source, height)
        return Verdict.LAGGING

    async def _ask(self, source: StacksApi) -> tuple[Verdict, Run | None]:
        ours = self._window.tip
        self._agrees = False
        seen, etag = self._etags.get(source.url, (None, None))
        page = await source.transactions(etag=etag if seen == ours.hash else None)
        if page is None:
            self._agree()
            return Verdict.SAME, None
        if not page.results:
            return self._lags(source, None), None
        newest = page.results[0]
        self._etags[source.url] = (newest.block_index_hash, page.etag)
        height, block_hash = newest.block_height, newest.block_index_hash
        verdict = self._window.judge(height, block_hash)
        if verdict is Verdict.SAME:
            self._agree()
            return verdict, None
        if verdict is Verdict.LAGGING:
            return self._lags(source, height), None
        if verdict is Verdict.AHEAD:
            first = await headers_after(source, ours, height)
            if first is not None:
                self._agree()
                return verdict, await self._run(source, ours, first, page)
            # It has a higher block, but says nothing of ours: what does it have at our height?
            theirs = await source.header(ours.height)
            if theirs is None or theirs.hash == ours.hash:
                return self._lags(source, None), None
            verdict, height, block_hash = Verdict.CONFLICT, theirs.height, theirs.hash
        ancestor = await self._evidence.weigh(source, height, block_hash)
        if ancestor is None:
            return verdict, None
        first = await headers_after(source, ancestor, newest.block_height)
        if first is None or first[0] == self._window.at(ancestor.height + 1):
            raise SourceInconsistent("it changed its chain while the fork was looked for", url=source.url)
        return verdict, await self._run(source, ancestor, first, page)

    def _agree(self) -> None:
        """A source showed our own block at our height: nothing is in doubt."""
        self._agrees = True
        self._evidence.clear()

    async def _run(
        self, source: StacksApi, base: BlockHeader, first: tuple[BlockHeader, ...], page: TxPage
    ) -> Run:
        newest = page.results[0]
        tip: BlockHeader | None = first[-1]
        if first[-1].height < newest.block_height:
            tip = await source.header(newest.block_index_hash)
        if tip is None:
            raise SourceInconsistent(f"its tip {newest.block_index_hash} is gone again", url=source.url)
        self._see(tip)
        return Run(source=source, base=base, first=first, top=newest.block_height, tip=tip, page=page)

    async def _is_behind(self, source: StacksApi, shown: int) -> bool:
        """Now and then, tell whether another source has what this one, whose tip is at ``shown``, does not show."""
        now, pause = self._clock(), COMPARE_POLLS * self._poll_interval
        if now - self._compared_at < pause:
            return False
        self._compared_at = now
        tolerated = 0 if now - self._news_at >= pause else TOLERATED_LAG
        for other in self._pool.others(source):
            try:
                newest = await other.headers(limit=1)
            except SourceError as error:
                self._pool.failed(other, error)
                continue
            if newest:
                self._pool.succeeded(other, tip_height=newest[0].height)
                self._see(newest[0])
                if newest[0].height > shown + tolerated:
                    return True
        return False

    # A fresh database

    async def _first_cursor(self, source: StacksApi, start_height: int | None) -> BlockHeader:
        if self._filled and start_height in (None, self._filled[0].height + 1):
            # An interrupted attempt goes on, if its blocks still count.
            known = await source.header(self._filled[0].hash)
            if known is not None:
                return known
        self._filled = []
        if start_height is None:
            newest = await source.headers(limit=1)
            if not newest:
                raise SourceUnavailable("it has no blocks yet", url=source.url)
            return newest[0]
        height = max(start_height - 1, 1)
        found = await source.header(height)
        if found is None:
            raise SourceUnavailable(f"it has no block {height} yet, after which to start", url=source.url)
        return found

    async def _headers_below(self, source: StacksApi, cursor: BlockHeader) -> Sequence[BlockHeader]:
        """Read from ``cursor`` down as far as the window reaches; oldest first."""
        self._filled = self._filled or [cursor]
        while cursor.burn_height - self._filled[-1].burn_height <= self._keep:
            oldest = self._filled[-1]
            older = await source.headers(limit=HEADER_ROWS, cursor=oldest.hash, offset=1)
            if not older:
                if await source.header(oldest.hash) is None:
                    raise SourceInconsistent(
                        f"block {oldest.height} {oldest.hash} is gone again", url=source.url
                    )
                # The chain begins here.
                break
            if not links(older[-1], [*older[-2::-1], oldest]):
                raise SourceInconsistent(
                    f"the blocks it lists below {oldest.height} do not link", url=source.url
                )
            self._filled += older
        return self._filled[::-1]
