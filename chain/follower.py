"""Follow the canonical chain of a pool of sources, one poll at a time, and yield the steps of the cursor.

Hashes decide. A source that shows less than we know (a lower tip, no block of our hash, no block of a height)
only lags, and nothing is undone; a fork takes another block at one of our heights, and then confirmation (see
``chain.fork_choice``). History, catch-up and tip share one code path.
"""

import re
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import replace
from typing import NamedTuple

import structlog

from chain.api.parse import TxPage
from chain.block_fetcher import HEADER_ROWS, BlockFetcher, BlockRange, headers_after
from chain.block_reader import refuse_repeats
from chain.bootstrap import HeaderLoader, Loaded
from chain.directed import DirectedReading, Interests
from chain.errors import ChainError, SourceError, SourceInconsistent, SourceMalformed
from chain.fork_choice import ForkChoice
from chain.header_window import HeaderWindow, Verdict
from chain.model import Block, BlockHeader, Extend, FetchRules, Reorg, Step
from chain.source import ChainSource
from chain.source_pool import SourcePool

#: Bitcoin blocks of headers kept below the finality depth, so that a fork that is too deep can still be
#: located.
MARGIN_BURN_BLOCKS = 4
#: Poll intervals between two comparisons with the other sources: whether ours is behind …
COMPARE_POLLS = 6
#: … by more than this many blocks (or by any, when ours has shown nothing new since the last comparison), and
#: whether they have the same blocks. A source this far below our tip only lags.
TOLERATED_LAG_BLOCKS = 3

#: Index hash of the newest block in the ETag of lists over the whole chain.
HASH_IN_ETAG = re.compile(r"0x[0-9a-f]{64}")

_log = structlog.stdlib.get_logger(__name__)


class _Newest(NamedTuple):
    """The newest block of a source."""

    height: int
    #: Index block hash.
    hash: str


class Follower:
    """Turns the blocks that the pool's sources serve into steps from the window's tip on.

    For one task at a time. ``window`` is as stored, or empty for ``bootstrap`` to fill. Polls that confirm a
    fork must be at least ``poll_interval`` seconds apart. Batches hold up to ``batch`` blocks; ``prefetch``
    of them are read at once.
    """

    def __init__(
        self,
        pool: SourcePool,
        window: HeaderWindow,
        rules: FetchRules,
        *,
        poll_interval: float,
        finality_burn_blocks: int,
        batch: int = 50,
        prefetch: int = 4,
        interests: Interests | None = None,
        clock: Callable[[], float] = time.monotonic,
        on_unforeseen: Callable[[Exception], None] = lambda error: _log.error("unforeseen", exc_info=error),
    ) -> None:
        self._pool = pool
        self._on_unforeseen = on_unforeseen
        self._window = window
        self._poll_interval = poll_interval
        self._keep = finality_burn_blocks + MARGIN_BURN_BLOCKS
        self._batch = batch
        self._clock = clock
        #: None: every transaction is read.
        self._directed = None if interests is None else DirectedReading(interests, clock=clock)
        self._fetcher = BlockFetcher(rules, batch=batch, prefetch=prefetch, directed=self._directed)
        self._fork_choice = ForkChoice(
            pool, window, poll_interval=poll_interval, finality_burn_blocks=finality_burn_blocks, clock=clock
        )
        self._tip: BlockHeader | None = window.tip if len(window) else None
        self._agrees = False
        #: The source whose steps the current poll yields.
        self._serving: ChainSource | None = None
        #: Per URL: the tip hash of the last answer, with that answer's ETag.
        self._etags: dict[str, tuple[str, str | None]] = {}
        #: URL of the source in use with the tip height it showed last, and since when.
        self._shown: tuple[str, int] | None = None
        self._shown_at = self._compared_at = clock()
        self._loader = HeaderLoader(pool, self._keep)

    @property
    def window(self) -> HeaderWindow:
        """The headers up to the cursor, as far as committed by the consumer."""
        return self._window

    @property
    def tip(self) -> BlockHeader | None:
        """The newest header that any source is known to have; None until ``bootstrap`` has run."""
        return self._tip

    @property
    def agrees(self) -> bool:
        """Whether the last poll found the window's tip in a source's canonical chain."""
        return self._agrees

    async def bootstrap(
        self, start_height: int | None, since: int | None = None, *, now: float | None = None
    ) -> tuple[BlockHeader, ...]:
        """Fill and return the window for a fresh database, oldest first; see ``HeaderLoader.bootstrap``."""
        self._hold(await self._loader.bootstrap(start_height, since, now=now))
        if self._directed is not None:
            self._directed.begin(self._window.tip)
        return self._window.headers

    async def refill(self, cursor: BlockHeader) -> tuple[BlockHeader, ...]:
        """Fill and return the window below a cursor whose stored headers were lost, oldest first.

        Only hash, heights and time of ``cursor`` are used. Where a source has another block at its height,
        the cursor becomes the whole window, and nothing is returned: the next poll judges that fork, whose
        beginning cannot be found. Raises ``SourceError``; another call continues where this one stopped.
        """
        loaded = await self._loader.refill(cursor)
        if loaded is None:
            self._window.replace([cursor])
            return ()
        self._hold(loaded)
        return self._window.headers

    def _hold(self, loaded: Loaded) -> None:
        self._window.replace(loaded.headers)
        self._window.trim(self._keep)
        self._note_tip(loaded.newest)
        self._fork_choice.clear()

    async def poll(self) -> AsyncGenerator[Step, None]:
        """Poll once, and yield the steps to the tip that was found, in order; often there are none.

        When a source fails, the next one continues from there within the same poll.

        Commit each step before asking for the next one: the window advances when the generator is resumed.
        Use ``contextlib.aclosing``: closing early leaves the window at the last step after which the
        generator was resumed, and cancels the prefetch. Throw ``refusal`` into the generator for a step that
        cannot be stored.

        Raises ``SourceError`` (poll again later), ``ReorgTooDeep`` or ``SourcesDisagree`` (halt; each further
        poll checks again, and continues once the sources agree), and ``LookupError`` when the window is
        empty.
        """
        _ = self._window.tip  # raises LookupError: an empty window is no source's fault
        if self._directed is not None:
            self._directed.resume(self._window.headers)
        failure: SourceError | None = None
        for source in self._pool.attempts():
            run = None
            try:
                verdict, run = await self._poll_source(source)
                if run is not None:
                    self._serving = source
                    async with aclosing(self._steps(run)) as steps:
                        async for step in steps:
                            yield step
                            self._advance(step)
                            # Only after the commit: a step that cannot be stored is the source's failure, see
                            # ``refusal``.
                            self._pool.succeeded(source, tip_height=run.tip.height)
                    return
            except SourceError as error:
                self._pool.failed(source, error)
                failure = error
                if run is not None:
                    self._fetcher.slow_down()
                continue
            except ChainError:
                raise
            except Exception as error:
                # An answer that nothing here expects; another source may serve a usable one.
                self._on_unforeseen(error)
                failure = SourceMalformed(
                    f"it cannot be read: unforeseen {type(error).__name__}", url=source.url
                )
                self._pool.failed(source, failure)
                continue
            if verdict is not Verdict.LAGGING:
                self._pool.succeeded(source)
                return
        if failure is not None:
            raise self._pool.exhausted(failure)

    def refusal(self, reason: str) -> SourceError:
        """Return the error to throw into ``poll`` when no database could store the last step.

        It counts as a failure of its source: the poll continues with the next source.
        """
        assert self._serving is not None, "steps have a source"
        return SourceInconsistent(reason, url=self._serving.url)

    async def _steps(self, run: BlockRange) -> AsyncGenerator[Step, None]:
        ours = self._window.tip
        async with aclosing(self._fetcher.batches(run)) as batches:
            if run.base != ours:
                branch: list[Block] = []
                # Undo and redo are one step; blocks far beyond our old tip follow in ordinary steps.
                enough = min(run.top, ours.height + self._batch)
                async for blocks in batches:
                    branch += blocks
                    if branch[-1].header.height >= enough:
                        break
                if run.through not in (None, *(block.header.hash for block in branch)):
                    raise SourceInconsistent(
                        "it changed its chain while blocks were read again", url=run.source.url
                    )
                refuse_repeats(run.source, branch)
                yield Reorg(ancestor=run.base, blocks=tuple(branch), tip=run.tip)
            async for blocks in batches:
                yield Extend(blocks=blocks, tip=run.tip)

    def _advance(self, step: Step) -> None:
        """The consumer has committed ``step``."""
        if self._directed is not None:
            base = step.ancestor.height if isinstance(step, Reorg) else self._window.tip.height
            self._directed.settled(base, (block.header for block in step.blocks))
        if isinstance(step, Reorg):
            self._fork_choice.on_reorg(step.ancestor)
            self._tip = step.tip
        self._window.apply(step)
        self._window.trim(self._keep)

    def _note_tip(self, header: BlockHeader) -> None:
        if self._tip is None or header.height >= self._tip.height:
            self._tip = header

    # Polling one source

    async def _poll_source(self, source: ChainSource) -> tuple[Verdict, BlockRange | None]:
        """Poll one source; return the verdict and the blocks to fetch, if any."""
        verdict, run = await self._ask_source(source)
        self._pool.answered(source)
        shown = run.top if run is not None else self._window.tip.height
        if verdict in (Verdict.SAME, Verdict.AHEAD) and await self._compare_sources(source, shown):
            verdict = self._mark_lagging(source, shown)
        return verdict, run

    def _mark_lagging(self, source: ChainSource, height: int | None) -> Verdict:
        _log.info("source.lags", action="source.lags", source=source.url, tip_height=height)
        self._pool.succeeded(source)
        self._pool.lagging(source, height)
        return Verdict.LAGGING

    async def _ask_source(self, source: ChainSource) -> tuple[Verdict, BlockRange | None]:
        ours = self._window.tip
        self._agrees = False
        seen, etag = self._etags.get(source.url, (None, None))
        doubted = self._doubted_base()
        page = await source.transactions(etag=etag if seen == ours.hash and doubted is None else None)
        if page is None:
            self._agree()
            return Verdict.SAME, None
        newest = await self._newest(source, page)
        if newest is None:
            return self._mark_lagging(source, None), None
        self._etags[source.url] = (newest.hash, page.etag)
        height, block_hash = newest.height, newest.hash
        verdict = self._window.judge(height, block_hash)
        if verdict is Verdict.SAME:
            self._agree()
            return verdict, None if doubted is None else await self._again(source, doubted, newest, page)
        if verdict is Verdict.LAGGING:
            return self._mark_lagging(source, height), None
        if verdict is Verdict.AHEAD:
            first = await headers_after(source, ours, height)
            if first is not None:
                self._agree()
                if doubted is not None:
                    return verdict, await self._again(source, doubted, newest, page)
                return verdict, await self._range(source, ours, first, newest, page)
            # It has a higher block, but ours is not in its chain: which block does it have at our height?
            theirs = await source.header(ours.height)
            if theirs is None:
                return self._mark_lagging(source, None), None
            if theirs.hash == ours.hash:
                self._agree()
                return self._mark_lagging(source, None), None
            verdict, height, block_hash = Verdict.CONFLICT, theirs.height, theirs.hash
        self._pool.answered(source)
        ancestor = await self._fork_choice.confirm(source, height, block_hash)
        if ancestor is None:
            return verdict, None
        if newest.height <= ancestor.height:
            raise SourceInconsistent(
                f"it shares block {ancestor.height} with us, but its tip is {newest.height}", url=source.url
            )
        first = await headers_after(source, ancestor, newest.height)
        if first is None or first[0] == self._window.at(ancestor.height + 1):
            raise SourceInconsistent("it changed its chain while the fork was looked for", url=source.url)
        return verdict, await self._range(source, ancestor, first, newest, page)

    def _doubted_base(self) -> BlockHeader | None:
        """The block above which applied blocks must be read again, because something in them was missed."""
        height = None if self._directed is None else self._directed.doubted
        if height is None or self._directed is None:
            return None
        if height > self._window.tip.height:
            # It was read ahead and not applied: it is read again anyway.
            self._directed.settled(self._window.tip.height)
            return None
        base = self._window.at(height - 1)
        if base is None:
            _log.error(
                "directed.missed_below_window",
                action="directed.missed_below_window",
                height=height,
                hint=f"sbtc-watcher reindex --from {height}",
            )
            self._directed.settled(height - 1)
        return base

    async def _again(
        self, source: ChainSource, base: BlockHeader, newest: _Newest, page: TxPage
    ) -> BlockRange:
        """Read the blocks above ``base`` again, at least to our tip: they are applied anew, in one step."""
        first = await headers_after(source, base, newest.height)
        if first is None:
            raise SourceInconsistent("it changed its chain while blocks were read again", url=source.url)
        again = await self._range(source, base, first, newest, page)
        # Another branch is a fork, which one look does not prove.
        return replace(again, through=self._window.tip.hash)

    async def _newest(self, source: ChainSource, page: TxPage) -> _Newest | None:
        """Return the source's newest block, even one without transactions, which ``page`` does not show."""
        row = page.results[0] if page.results else None
        listed = None if row is None else _Newest(row.block_height, row.block_index_hash)
        # The list's ETag names the newest block.
        named = HASH_IN_ETAG.search(page.etag or "")
        if named is not None:
            if listed is not None and named[0] == listed.hash:
                return listed
            tip = await source.header(named[0])
        elif listed is None or self._window.judge(listed.height, listed.hash) is Verdict.SAME:
            tip = next(iter(await source.headers(limit=1) or ()), None)
        else:
            # Blocks above it are found once this one is applied.
            return listed
        if tip is None or tip.tx_count or (listed is not None and tip.height <= listed.height):
            # The two answers are of different moments: the next poll finds it in the list.
            return listed
        return _Newest(tip.height, tip.hash)

    def _agree(self) -> None:
        """Note that a source has our tip in its chain: there is no fork."""
        self._agrees = True
        self._fork_choice.clear()

    async def _range(
        self,
        source: ChainSource,
        base: BlockHeader,
        first: tuple[BlockHeader, ...],
        newest: _Newest,
        page: TxPage,
    ) -> BlockRange:
        tip: BlockHeader | None = first[-1]
        if first[-1].height < newest.height:
            tip = await source.header(newest.hash)
        if tip is None:
            raise SourceInconsistent(f"its tip {newest.hash} is gone again", url=source.url)
        self._note_tip(tip)
        return BlockRange(source=source, base=base, first=first, top=newest.height, tip=tip, page=page)

    async def _compare_sources(self, source: ChainSource, shown: int) -> bool:
        """Now and then compare the sources; return whether another one is ahead of ``source`` at ``shown``.

        Raises ``SourcesDisagree`` when another source had other blocks than ours at several comparisons.
        """
        now, pause = self._clock(), COMPARE_POLLS * self._poll_interval
        if self._shown not in (None, (source.url, shown)):
            self._shown_at = now
        self._shown = source.url, shown
        if now - self._compared_at < pause and not self._fork_choice.disputed:
            return False
        self._compared_at = now
        silent = now - self._shown_at >= pause
        for other in self._pool.others(source, within=self._fork_choice.recent_seconds):
            try:
                behind = await self._compare(source, other, shown, silent)
            except SourceError as error:
                self._pool.failed(other, error)
                continue
            if behind:
                return True
        self._fork_choice.raise_if_disputed()
        return False

    async def _compare(self, source: ChainSource, other: ChainSource, shown: int, silent: bool) -> bool:
        """Return whether ``other`` is ahead of ``source``; report to the fork choice if its blocks differ."""
        ours = self._window.tip.height
        newest = await other.headers(limit=HEADER_ROWS)
        if not newest or newest[0].height < ours - TOLERATED_LAG_BLOCKS:
            self._fork_choice.clear_dispute(other)
            self._mark_lagging(other, newest[0].height if newest else None)
            return False
        height = newest[0].height
        self._pool.succeeded(other, tip_height=height)
        known = [header for header in newest if self._window.at(header.height) is not None]
        theirs = known[0] if known else await other.header(ours)
        differs = theirs is not None and self._window.judge(theirs.height, theirs.hash) is Verdict.CONFLICT
        # However many blocks it has, and however long ours has shown nothing new: a different chain is no
        # reason to switch.
        if not differs and height > shown + (0 if silent else TOLERATED_LAG_BLOCKS):
            self._note_tip(newest[0])
            return True
        if theirs is not None and differs:
            self._fork_choice.dispute(source, other, theirs)
        elif theirs is not None:
            self._note_tip(newest[0])
            self._fork_choice.clear_dispute(other)
        return False
