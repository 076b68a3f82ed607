"""Follows the canonical chain of a pool of sources, one look at a time, and says how the cursor must move.

Hashes decide. A source that shows less than we know (a lower tip, no block of our hash, no block of a height) lags, and
nothing is undone. A fork needs another block at one of our heights; it is believed when a second look, at least one
poll interval later, finds the same block, and a second healthy source, if there is one, has it too.
History, catch-up and tip are one code path: blocks are read in batches, a few batches ahead, handed over in order.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass

import structlog

from chain.api import StacksApi
from chain.errors import ReorgTooDeep, SourceError, SourceInconsistent, SourcesDisagree, SourceUnavailable
from chain.model import Block, BlockHeader, Extend, ReadRules, Reorg, Step
from chain.pool import SourcePool
from chain.reader import read_blocks
from chain.window import HeaderWindow, Verdict, links
from chain.wire import TxPage, TxSummary

#: Headers that one request brings.
HEADER_ROWS = 30
#: So many reads, each a poll interval apart, may a second source contradict a fork before the two disagree for good.
PATIENT_READS = 3
#: After so many poll intervals without news another source is asked whether ours stands still.
QUIET_POLLS = 6
#: Bitcoin blocks of headers kept below finality, so that a fork that is too deep can still be named.
MARGIN_BURN_BLOCKS = 4

_log = structlog.stdlib.get_logger(__name__)


@dataclass(slots=True, kw_only=True)
class _Candidate:
    """A block that a source has at one of our heights instead of ours: a fork, or a source that is wrong."""

    height: int
    hash: str
    #: The block of ours that it denies; it means nothing any more once that one is gone.
    ours: str
    #: When it was first seen (clock).
    since: float
    #: Reads at which another healthy source did not have it, and the time of the last one.
    denials: int = 0
    denied_at: float = float("-inf")
    #: Fork height and depth in Bitcoin blocks, once found to be too deep: the hash fixes both.
    too_deep: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """Blocks to read from one source: from ``base`` (exclusive, one of our headers) up to height ``top``."""

    source: StacksApi
    base: BlockHeader
    #: The headers right after ``base`` that were read to judge, oldest first; never empty.
    first: tuple[BlockHeader, ...]
    top: int
    tip: BlockHeader
    #: The newest transactions, read before.
    page: TxPage


class Follower:
    """Turns what the pool's sources serve into steps from the window's tip on.

    One task uses it at a time. ``window`` starts as stored, or empty for ``bootstrap`` to fill.
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
        if batch < 1 or ahead < 1:
            raise ValueError("batch and ahead must be at least 1")
        self._pool = pool
        self._window = window
        self._rules = rules
        self._poll_interval = poll_interval
        self._finality = finality_burn_blocks
        self._keep = finality_burn_blocks + MARGIN_BURN_BLOCKS
        self._batch = batch
        self._ahead = ahead
        self._clock = clock
        self._tip: BlockHeader | None = window.tip if len(window) else None
        self._candidate: _Candidate | None = None
        #: Per source: the tip's hash it showed last, with the validator of that answer.
        self._etags: dict[str, tuple[str, str | None]] = {}
        #: Blocks to read at once: shrinks on errors, so that one bad block holds up no good one and a small request
        #: budget still finishes something.
        self._pace = batch
        self._news_at = clock()
        #: Headers that an interrupted bootstrap has already, newest first.
        self._filled: list[BlockHeader] = []

    @property
    def window(self) -> HeaderWindow:
        """The headers up to the cursor, as far as the consumer has committed."""
        return self._window

    @property
    def tip(self) -> BlockHeader | None:
        """The newest header that any source is known to have; None before the first look of a fresh database."""
        return self._tip

    async def bootstrap(self, start_height: int | None) -> tuple[BlockHeader, ...]:
        """Fill the window for a fresh database, oldest first; the last header is the cursor to store.

        Reading starts at ``start_height`` (the cursor is the block before it, or the chain's first block), or with
        None after the present tip. Raises ``SourceError``; another call goes on where this one stopped.
        """
        source = self._pool.pick()
        try:
            headers = await self._headers_down(source, await self._cursor_header(source, start_height))
        except SourceError as error:
            self._pool.failed(source, error)
            raise
        self._pool.succeeded(source)
        self._window.replace(headers)
        self._window.trim(self._keep)
        self._filled, self._candidate, self._news_at = [], None, self._clock()
        self._see(self._window.tip)
        return self._window.headers

    async def turn(self) -> AsyncGenerator[Step, None]:
        """Look once, and yield the steps to the tip that this look found, in order; often there are none.

        Commit each step before asking for the next one: the window advances when the generator is resumed. Use
        ``contextlib.aclosing``: closing early leaves the window at the last step that was resumed, and cancels what is
        being read ahead. Raises ``SourceError`` (look again later), ``ReorgTooDeep`` or ``SourcesDisagree`` (each
        further turn looks again, so that it goes on when the sources heal).
        """
        work = await self._look()
        if work is None:
            return
        try:
            async with aclosing(self._steps(work)) as steps:
                async for step in steps:
                    self._pool.succeeded(work.source, tip_height=work.tip.height)
                    yield step
                    self._advance(step)
        except SourceError as error:
            self._pace = max(1, self._pace // 4)
            self._pool.failed(work.source, error)
            raise

    # Looking

    async def _look(self) -> _Work | None:
        """Ask the pinned source, and the next ones while they lag, for something to do."""
        asked: set[str] = set()
        while (source := self._pool.pick()).url not in asked:
            asked.add(source.url)
            try:
                verdict, work = await self._ask(source)
            except SourceError as error:
                self._pool.failed(source, error)
                raise
            if work is not None or verdict is Verdict.CONFLICT:
                return work
            if verdict is Verdict.SAME and not await self._stands_still(source):
                self._pool.succeeded(source, tip_height=self._window.tip.height)
                return None
        return None

    async def _ask(self, source: StacksApi) -> tuple[Verdict, _Work | None]:
        ours = self._window.tip
        seen, etag = self._etags.get(source.url, (None, None))
        page = await source.transactions(etag=etag if seen == ours.hash else None)
        if page is None:
            self._candidate = None
            return Verdict.SAME, None
        if not page.results:
            return self._lags(source, None)
        newest = page.results[0]
        self._etags[source.url] = (newest.block_index_hash, page.etag)
        verdict = self._window.judge(newest.block_height, newest.block_index_hash)
        if verdict is Verdict.SAME:
            self._candidate = None
            return verdict, None
        if verdict is Verdict.LAGGING:
            return self._lags(source, newest.block_height)
        if verdict is Verdict.CONFLICT:
            return verdict, await self._fork(source, newest.block_height, newest.block_index_hash, page)
        first = await self._headers_after(source, ours, newest.block_height)
        if first is not None:
            self._candidate = None
            return verdict, await self._work(source, ours, first, page)
        # The source has a higher block, but says nothing of ours: what does it have at our height?
        theirs = await source.header(ours.height)
        if theirs is None or theirs.hash == ours.hash:
            return self._lags(source, None)
        return Verdict.CONFLICT, await self._fork(source, theirs.height, theirs.hash, page)

    def _lags(self, source: StacksApi, height: int | None) -> tuple[Verdict, None]:
        _log.info(
            "source.lags", action="source.lags", source=source.url, tip=height, ours=self._window.tip.height
        )
        self._pool.lagging(source, height)
        return Verdict.LAGGING, None

    async def _stands_still(self, source: StacksApi) -> bool:
        """After a long quiet, tell whether another source is ahead of this one; it is then marked as lagging."""
        now = self._clock()
        if now - self._news_at < QUIET_POLLS * self._poll_interval:
            return False
        self._news_at = now
        for other in self._pool.others(source):
            try:
                newest = await other.headers(limit=1)
            except SourceError as error:
                self._pool.failed(other, error)
                continue
            if newest and newest[0].height > self._window.tip.height:
                self._see(newest[0])
                self._lags(source, self._window.tip.height)
                return True
        return False

    async def _work(
        self, source: StacksApi, base: BlockHeader, first: tuple[BlockHeader, ...], page: TxPage
    ) -> _Work:
        newest = page.results[0]
        tip: BlockHeader | None = first[-1]
        if first[-1].height < newest.block_height:
            tip = await source.header(newest.block_index_hash)
            if tip is None:
                raise SourceInconsistent(f"its tip {newest.block_index_hash} is gone again", url=source.url)
        assert tip is not None
        self._see(tip)
        return _Work(source=source, base=base, first=first, top=newest.block_height, tip=tip, page=page)

    # Forks

    async def _fork(self, source: StacksApi, height: int, block_hash: str, page: TxPage) -> _Work | None:
        """Weigh a foreign block at one of our heights; the new branch to read, once it is believed."""
        candidate = await self._believed(source, height, block_hash)
        if candidate is None:
            return None
        if candidate.too_deep is None:
            ancestor = await self._ancestor(source, candidate.height)
            depth = self._window.burn_depth(ancestor or self._window.oldest)
            if ancestor is not None and depth <= self._finality:
                return await self._branch(source, ancestor, page)
            shared = ancestor.height if ancestor is not None else self._window.oldest.height - 1
            candidate.too_deep = (shared, depth)
        shared, depth = candidate.too_deep
        raise ReorgTooDeep(fork_height=shared, burn_depth=depth)

    async def _believed(self, source: StacksApi, height: int, block_hash: str) -> _Candidate | None:
        now = self._clock()
        known = self._candidate
        if known is not None and known.height != height:
            again = await source.header(known.height)
            stays = again is not None and again.hash == known.hash
        else:
            stays = known is not None and known.hash == block_hash
        ours = self._window.at(known.height if known is not None else height)
        if known is None or not stays or ours is None or ours.hash != known.ours:
            mine = self._window.at(height)
            assert mine is not None
            self._candidate = _Candidate(height=height, hash=block_hash, ours=mine.hash, since=now)
            _log.warning("fork.seen", action="fork.seen", height=height, hash=block_hash, source=source.url)
            return None
        if now - known.since < self._poll_interval:
            return None
        return known if await self._seconded(source, known, now) else None

    async def _seconded(self, source: StacksApi, candidate: _Candidate, now: float) -> bool:
        """Ask another healthy source; one that has no block of that height has no opinion."""
        for other in self._pool.others(source):
            try:
                theirs = await other.header(candidate.height)
            except SourceError as error:
                self._pool.failed(other, error)
                continue
            if theirs is None:
                self._pool.lagging(other)
                continue
            if theirs.hash == candidate.hash:
                return True
            if now - candidate.denied_at >= self._poll_interval:
                candidate.denials += 1
                candidate.denied_at = now
            if candidate.denials >= PATIENT_READS:
                raise SourcesDisagree(
                    f"at height {candidate.height} {source.url} has block {candidate.hash}, "
                    f"{other.url} has {theirs.hash}, the cursor's chain has {candidate.ours}"
                )
            return False
        return True

    async def _ancestor(self, source: StacksApi, height: int) -> BlockHeader | None:
        search = self._window.search_fork(height)
        try:
            probe = next(search)
            while True:
                theirs = await source.header(probe)
                if theirs is None:
                    raise SourceInconsistent(
                        f"it has blocks above height {probe}, but none there", url=source.url
                    )
                probe = search.send(theirs.hash)
        except StopIteration as stop:
            found: BlockHeader | None = stop.value
            return found

    async def _branch(self, source: StacksApi, ancestor: BlockHeader, page: TxPage) -> _Work:
        first = await self._headers_after(source, ancestor, page.results[0].block_height)
        ours = self._window.at(ancestor.height + 1)
        if not first or (ours is not None and first[0].hash == ours.hash):
            raise SourceInconsistent("it changed its chain while the fork was looked for", url=source.url)
        return await self._work(source, ancestor, first, page)

    # Reading

    async def _steps(self, work: _Work) -> AsyncGenerator[Step, None]:
        ours = self._window.tip
        async with aclosing(self._chunks(work)) as chunks:
            if work.base != ours:
                branch: list[Block] = []
                # Undo and redo are one step. A branch that is far longer than ours ends in ordinary steps.
                enough = min(work.top, ours.height + self._batch)
                async for chunk in chunks:
                    branch += chunk
                    if branch[-1].header.height >= enough:
                        break
                yield Reorg(ancestor=work.base, blocks=tuple(branch), tip=work.tip)
            async for chunk in chunks:
                yield Extend(blocks=chunk, tip=work.tip)

    async def _chunks(self, work: _Work) -> AsyncGenerator[tuple[Block, ...], None]:
        """Read batch after batch, a few at once, and hand them over in order."""
        reads: deque[asyncio.Task[tuple[Block, ...]]] = deque()
        ready = work.first
        last = work.base
        stopped: SourceError | None = None
        try:
            while True:
                ahead = self._ahead if self._pace == self._batch else 1
                while stopped is None and last.height < work.top and len(reads) < ahead:
                    try:
                        ready = await self._more_headers(work, last, ready)
                    except SourceError as error:
                        # What is being read already is still good.
                        stopped = error
                        break
                    headers, ready = ready[: self._pace], ready[self._pace :]
                    last = headers[-1]
                    read = read_blocks(work.source, headers, self._rules, page=work.page)
                    reads.append(asyncio.create_task(read))
                if not reads:
                    break
                chunk = await reads[0]
                reads.popleft()
                yield chunk
                self._pace = min(self._batch, self._pace * 2)
            if stopped is not None:
                raise stopped
        finally:
            for read_task in reads:
                read_task.cancel()
            await asyncio.gather(*reads, return_exceptions=True)

    async def _more_headers(
        self, work: _Work, last: BlockHeader, ready: tuple[BlockHeader, ...]
    ) -> tuple[BlockHeader, ...]:
        """Headers after ``last``, one batch of them or up to the top; ``ready`` are those known already."""
        while len(ready) < self._pace and last.height + len(ready) < work.top:
            after = ready[-1] if ready else last
            more = await self._headers_after(work.source, after, work.top)
            if not more:
                raise SourceInconsistent(
                    f"block {after.height} {after.hash} is gone again", url=work.source.url
                )
            ready += more
        return ready

    async def _headers_after(
        self, source: StacksApi, after: BlockHeader, top: int
    ) -> tuple[BlockHeader, ...] | None:
        """Up to 30 linked headers right after ``after``, oldest first; None when the source does not have it."""
        # Asking beyond the tip gives nothing, so ask for exactly what is there.
        count = min(HEADER_ROWS, top - after.height)
        found = await source.headers(limit=count, cursor=after.hash, offset=-count)
        if not found:
            return None
        headers = found[::-1]
        if not links(after, headers):
            raise SourceInconsistent(
                f"the blocks it lists after {after.height} {after.hash} do not link", url=source.url
            )
        return headers

    def _advance(self, step: Step) -> None:
        """The consumer has committed ``step``."""
        self._window.apply(step)
        self._window.trim(self._keep)
        self._news_at = self._clock()
        if isinstance(step, Reorg):
            self._candidate = None
            self._tip = step.tip

    def _see(self, header: BlockHeader) -> None:
        if self._tip is None or header.height >= self._tip.height:
            self._tip = header

    # A fresh database

    async def _cursor_header(self, source: StacksApi, start_height: int | None) -> BlockHeader:
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
        found = await source.header(max(start_height - 1, 1))
        if found is None:
            raise SourceUnavailable(
                f"it has no block {start_height - 1} yet, after which to start", url=source.url
            )
        return found

    async def _headers_down(self, source: StacksApi, cursor: BlockHeader) -> Sequence[BlockHeader]:
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
