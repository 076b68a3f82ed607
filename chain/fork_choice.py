"""Fork choice: follow another block at one of our heights, wait, or leave it to an operator.

A fork is confirmed when a second poll, at least one interval later, finds the same block, and no other source
contradicts it. Every source counts that is healthy or answered within the last minute, however often it fails
in between and however far it lags: its block at that height, or where the fork begins, must be the fork's
block; a source that does not answer now is waited for. Returning to a branch that we orphaned takes more
polls. The state is kept between polls; a poll that finds our own chain again clears it.

Conversely, a source with other blocks than the source we follow is in dispute with it: see
``ForkChoice.dispute``.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from chain.errors import ReorgTooDeep, SourceError, SourceInconsistent, SourcesDisagree
from chain.header_window import HeaderWindow
from chain.model import BlockHeader
from chain.source import ChainSource
from chain.source_pool import SourcePool

#: Reads, each a poll interval apart, at which another source may contradict a fork before ``SourcesDisagree``
#: is raised.
MAX_CONTRADICTED_READS = 3
#: Such reads to wait for a source that counts but does not answer.
MAX_UNANSWERED_READS = 12
#: A source counts that answered within these seconds, or within these poll intervals if that is longer.
RECENT_SECONDS, RECENT_POLLS = 60.0, 12
#: Reads, each a poll interval apart, that must find the same foreign block …
REQUIRED_READS = 2
#: … and reads when it leads back to a branch that we left, which must also have grown as high as ours since:
#: a replica behind the same address may have stopped on it.
REQUIRED_READS_BACK = 6

_log = structlog.stdlib.get_logger(__name__)


@dataclass(slots=True, kw_only=True)
class _Candidate:
    """A block that a source has at one of our heights instead of ours."""

    height: int
    hash: str
    #: Our block there; the candidate is void once that is gone.
    ours: str
    #: Clock time of the last read that counted.
    read_at: float
    reads: int = 1
    #: Whether the fork returns to a branch that we left.
    is_orphaned_branch: bool
    #: By URL: the height and hash that other sources have instead; until they agree.
    contradictions: dict[str, tuple[int, str]] = field(default_factory=dict)
    #: Reads with a contradiction, or with a source that did not answer; and the clock time of the last such
    #: read.
    contradicted_reads: int = 0
    unanswered_reads: int = 0
    last_hold_at: float = float("-inf")
    #: Fork height and depth in Bitcoin blocks, once found to be too deep: the hash determines both.
    too_deep: tuple[int, int] | None = None


@dataclass(slots=True)
class _Dispute:
    """A source whose chain differs from ours although it is about as long; ``comparisons`` that found so."""

    text: str
    comparisons: int = 0


class ForkChoice:
    """The evidence for a fork so far. Reads ``window`` at each call."""

    def __init__(
        self,
        pool: SourcePool,
        window: HeaderWindow,
        *,
        poll_interval: float,
        finality_burn_blocks: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pool = pool
        self._window = window
        self._poll_interval = poll_interval
        self._finality = finality_burn_blocks
        self._clock = clock
        #: Seconds for which a source counts after an answer.
        self.recent_seconds = max(RECENT_SECONDS, RECENT_POLLS * poll_interval)
        self._candidate: _Candidate | None = None
        #: By URL.
        self._disputes: dict[str, _Dispute] = {}
        #: Heights of the blocks that we orphaned, by hash.
        self._orphaned: dict[str, int] = {}

    def clear(self) -> None:
        """Forget the candidate: a source has our tip in its chain."""
        self._candidate = None

    def on_reorg(self, ancestor: BlockHeader) -> None:
        """Note that the fork was followed. Call it while the window still has blocks above ``ancestor``."""
        headers = self._window.headers
        self._orphaned = {
            known: height for known, height in self._orphaned.items() if height >= headers[0].height
        }
        self._orphaned |= {
            header.hash: header.height for header in headers if header.height > ancestor.height
        }
        self._disputes.clear()
        self.clear()

    @property
    def disputed(self) -> bool:
        """Whether another source has had other blocks than ours for so long that an operator must decide."""
        return any(dispute.comparisons >= MAX_CONTRADICTED_READS for dispute in self._disputes.values())

    def dispute(self, source: ChainSource, other: ChainSource, theirs: BlockHeader) -> None:
        """Note that ``other`` has ``theirs`` at a height where ``source`` continues from our block.

        No fork is followed because of it, but a dispute that lasts for ``MAX_CONTRADICTED_READS`` comparisons
        makes ``raise_if_disputed`` raise. It does not end when ``other`` stops answering.
        """
        dispute = self._disputes.setdefault(other.url, _Dispute(""))
        dispute.comparisons += 1
        dispute.text = (
            f"at height {theirs.height} {other.url} has block {theirs.hash}, "
            f"but {source.url} goes on from {self._hash(theirs.height)}, which the cursor's chain has"
        )
        if dispute.comparisons == 1:
            _log.warning("fork.disputed", action="fork.disputed", reason=dispute.text)

    def clear_dispute(self, other: ChainSource) -> None:
        """End the dispute: ``other`` has our block, or is too far behind to contradict it."""
        self._disputes.pop(other.url, None)

    def raise_if_disputed(self) -> None:
        """Raise ``SourcesDisagree`` when ``disputed``."""
        for dispute in self._disputes.values():
            if dispute.comparisons >= MAX_CONTRADICTED_READS:
                raise SourcesDisagree(dispute.text)

    async def confirm(self, source: ChainSource, height: int, block_hash: str) -> BlockHeader | None:
        """Note that ``source`` has ``block_hash`` at ``height`` instead of our block.

        Returns the newest shared header once the fork is confirmed, None until then.

        Raises ``ReorgTooDeep``, ``SourcesDisagree``, and ``SourceError`` when ``source`` cannot serve.
        """
        candidate = await self._reread(source, height, block_hash)
        if candidate is None:
            return None
        behind = await self._corroborate(source, candidate)
        if behind is None:
            return None
        if candidate.too_deep is None:
            ancestor, first = await self._fork(source, candidate)
            lost = self._window.at(ancestor.height + 1) if ancestor is not None else None
            if ancestor is not None and lost is not None and self._window.burn_depth(lost) < self._finality:
                candidate.is_orphaned_branch |= first in self._orphaned
                if candidate.reads < _required_reads(candidate):
                    return None
                # A source without a block as high as the candidate may still have ours where the fork begins.
                if await self._ask_others(source, candidate, behind, (lost.height, first)) is None:
                    return None
                return ancestor
            shared = ancestor or self._window.oldest
            fork_height = shared.height if ancestor is not None else shared.height - 1
            candidate.too_deep = (fork_height, self._window.burn_depth(shared))
        fork_height, depth = candidate.too_deep
        raise ReorgTooDeep(fork_height=fork_height, burn_depth=depth)

    async def _reread(self, source: ChainSource, height: int, block_hash: str) -> _Candidate | None:
        """Return the candidate once it was read often enough."""
        now = self._clock()
        known = self._candidate
        if known is not None and self._hash(known.height) == known.ours:
            # A height below our tip's means that the source's tip is lower than ours.
            grown = height == self._window.tip.height or not known.is_orphaned_branch
            counts = grown and now - known.read_at >= self._poll_interval
            if not counts and known.reads < _required_reads(known):
                return None
            again: str | None = block_hash
            if height != known.height:
                theirs = await source.header(known.height)
                again = theirs.hash if theirs is not None else None
            if again == known.hash:
                if counts:
                    known.reads += 1
                    known.read_at = now
                return known if known.reads >= _required_reads(known) else None
        ours = self._hash(height)
        assert ours is not None
        self._candidate = _Candidate(
            height=height,
            hash=block_hash,
            ours=ours,
            read_at=now,
            is_orphaned_branch=block_hash in self._orphaned,
        )
        _log.warning(
            "fork.seen", action="fork.seen", height=height, hash=block_hash, ours=ours, source=source.url
        )
        return None

    async def _corroborate(self, source: ChainSource, candidate: _Candidate) -> list[ChainSource] | None:
        """Ask all other sources that count; return those without a block that high, None while unconfirmed.

        Without any other opinion the fork is confirmed, unless it was contradicted before: then that source
        must agree first.
        """
        others = self._pool.others(source, within=self.recent_seconds)
        behind = await self._ask_others(source, candidate, others, (candidate.height, candidate.hash))
        if behind is not None and len(behind) == len(others):
            self.raise_if_disputed()
        return behind

    async def _ask_others(
        self, source: ChainSource, candidate: _Candidate, others: list[ChainSource], block: tuple[int, str]
    ) -> list[ChainSource] | None:
        """Ask ``others`` for a block of the fork, by height and hash; return those without a block that high.

        None while a source contradicts it, or counts but does not answer. Raises ``SourcesDisagree`` when
        that lasts.
        """
        height, wanted = block
        behind: list[ChainSource] = []
        silent: list[str] = []
        for other in others:
            try:
                theirs = await other.header(height)
            except SourceError as error:
                self._pool.failed(other, error)
                if self._pool.answered_within(other, within=self.recent_seconds):
                    silent.append(other.url)
                else:
                    behind.append(other)
                continue
            self._pool.answered(other)
            if theirs is None:
                self._pool.lagging(other)
                behind.append(other)
            elif theirs.hash == wanted:
                candidate.contradictions.pop(other.url, None)
            else:
                candidate.contradictions[other.url] = (height, theirs.hash)
        if not candidate.contradictions and not silent:
            return behind
        now = self._clock()
        if now - candidate.last_hold_at >= self._poll_interval:
            candidate.last_hold_at = now
            candidate.contradicted_reads += bool(candidate.contradictions)
            candidate.unanswered_reads += not candidate.contradictions
        if candidate.contradicted_reads >= MAX_CONTRADICTED_READS and candidate.contradictions:
            url, (at, instead) = next(iter(candidate.contradictions.items()))
            raise SourcesDisagree(
                f"at height {candidate.height} {source.url} has block {candidate.hash}, and the cursor's "
                f"chain has {candidate.ours}; at height {at} {url} has {instead}, "
                "which is not of that fork"
            )
        if candidate.unanswered_reads >= MAX_UNANSWERED_READS:
            raise SourcesDisagree(
                f"at height {candidate.height} {source.url} has block {candidate.hash}, and the cursor's "
                f"chain has {candidate.ours}; {', '.join(silent)} answered lately, "
                "but does not say what it has there"
            )
        return None

    async def _fork(self, source: ChainSource, candidate: _Candidate) -> tuple[BlockHeader | None, str]:
        """Return the newest header shared with ``source`` (None: below the window) and its next hash."""
        found, probed = await search_fork(source, self._window, candidate.height)
        seen = {candidate.height: candidate.hash} | probed
        # The search ends between two heights that were probed.
        return found, seen[found.height + 1] if found is not None else ""

    def _hash(self, height: int) -> str | None:
        header = self._window.at(height)
        return header.hash if header is not None else None


async def search_fork(
    source: ChainSource, window: HeaderWindow, conflict: int
) -> tuple[BlockHeader | None, dict[int, str]]:
    """Search the fork point below ``conflict``, a height in the window at which the source has another block.

    Return the newest header shared with ``source``, None when it is below the window, and the source's hashes
    by height, as far as they were read.
    """
    hashes: dict[int, str] = {}
    search = window.search_fork(conflict)
    try:
        probe = next(search)
        while True:
            theirs = await source.header(probe)
            if theirs is None:
                raise SourceInconsistent(
                    f"it has blocks above height {probe}, but none there", url=source.url
                )
            hashes[probe] = theirs.hash
            probe = search.send(theirs.hash)
    except StopIteration as stop:
        found: BlockHeader | None = stop.value
    return found, hashes


def _required_reads(candidate: _Candidate) -> int:
    """Return the number of reads that confirm a fork."""
    return REQUIRED_READS_BACK if candidate.is_orphaned_branch else REQUIRED_READS
