"""Fork choice: follow another block at one of our heights, wait, or leave it to an operator.

It is believed when a second poll, at least one interval later, finds the same block, and when no other source
contradicts it. Every source has a say that is healthy or answered within the last minute, however often it fails in
between, and however far it lags: what it has at that height, or where the fork begins, must be the fork's block; one
that does not answer now is waited for. A way back to a branch that we orphaned takes more polls. The state lives between
polls; a poll that finds our own chain again clears it.

The other way round, a source that has other blocks than the one we follow is disputed: see ``ForkChoice.dispute``.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from chain.api.client import StacksApi
from chain.errors import ReorgTooDeep, SourceError, SourceInconsistent, SourcesDisagree
from chain.header_window import HeaderWindow
from chain.model import BlockHeader
from chain.source_pool import SourcePool

#: So many reads, each a poll interval apart, may a second source contradict a fork before the two disagree for good.
MAX_CONTRADICTED_READS = 3
#: So many such reads are waited for one that has a say and does not say what it has.
MAX_UNANSWERED_READS = 12
#: A source that answered in so many seconds has a say, or in so many poll intervals, when looks are rare.
RECENT_SECONDS, RECENT_POLLS = 60.0, 12
#: Reads, each a poll interval apart, at which the same foreign block must be found …
REQUIRED_READS = 2
#: … and when it leads back to a branch that we left, which must have grown as high as ours since: behind one address
#: there may still be a replica that stopped on it.
REQUIRED_READS_BACK = 6

_log = structlog.stdlib.get_logger(__name__)


@dataclass(slots=True, kw_only=True)
class _Candidate:
    """A block that a source has at one of our heights instead of ours."""

    height: int
    hash: str
    #: Our block there; the candidate means nothing once that one is gone.
    ours: str
    #: The last read that counted (clock).
    read_at: float
    reads: int = 1
    #: Whether the fork is a way back to a branch that we left.
    is_orphaned_branch: bool
    #: What other sources have instead, and at which height, by URL; until they take it back.
    contradictions: dict[str, tuple[int, str]] = field(default_factory=dict)
    #: Reads at which there was a denial, or a source that did not answer; and the time of the last such read.
    contradicted_reads: int = 0
    unanswered_reads: int = 0
    last_hold_at: float = float("-inf")
    #: Fork height and depth in Bitcoin blocks, once found to be too deep: the hash fixes both.
    too_deep: tuple[int, int] | None = None


@dataclass(slots=True)
class _Dispute:
    """A source whose chain is not ours although it is about as long, and how many comparisons found that."""

    text: str
    comparisons: int = 0


class ForkChoice:
    """The evidence for a fork so far. Uses ``window`` as it stands at each call."""

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
        #: Seconds for which a source that answered has a say.
        self.recent_seconds = max(RECENT_SECONDS, RECENT_POLLS * poll_interval)
        self._candidate: _Candidate | None = None
        #: By URL.
        self._disputes: dict[str, _Dispute] = {}
        #: Blocks that we orphaned ourselves, with their heights.
        self._orphaned: dict[str, int] = {}

    def clear(self) -> None:
        """Forget the candidate: a source has our tip in its chain."""
        self._candidate = None

    def on_reorg(self, ancestor: BlockHeader) -> None:
        """The fork was followed. Call it while the window still ends with what was above ``ancestor``."""
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
        """Whether another source has had other blocks than ours for so long that a person must judge."""
        return any(dispute.comparisons >= MAX_CONTRADICTED_READS for dispute in self._disputes.values())

    def dispute(self, source: StacksApi, other: StacksApi, theirs: BlockHeader) -> None:
        """``other`` has ``theirs`` at a height where ``source`` goes on from our block.

        No fork is followed because of it, but what neither takes back in ``MAX_CONTRADICTED_READS`` comparisons is a case for
        ``raise_if_disputed``. The silence of ``other`` settles nothing.
        """
        dispute = self._disputes.setdefault(other.url, _Dispute(""))
        dispute.comparisons += 1
        dispute.text = (
            f"at height {theirs.height} {other.url} has block {theirs.hash}, "
            f"but {source.url} goes on from {self._hash(theirs.height)}, which the cursor's chain has"
        )
        if dispute.comparisons == 1:
            _log.warning("fork.disputed", action="fork.disputed", reason=dispute.text)

    def clear_dispute(self, other: StacksApi) -> None:
        """``other`` has our block, or is too far behind to say anything."""
        self._disputes.pop(other.url, None)

    def raise_if_disputed(self) -> None:
        """Raise ``SourcesDisagree`` when ``disputed``."""
        for dispute in self._disputes.values():
            if dispute.comparisons >= MAX_CONTRADICTED_READS:
                raise SourcesDisagree(dispute.text)

    async def confirm(self, source: StacksApi, height: int, block_hash: str) -> BlockHeader | None:
        """Take up that ``source`` has ``block_hash`` at ``height`` instead of ours; the newest shared header once the
        fork is believed, None while it is not.

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
                # Who has no block as high as the candidate may still have ours where the fork begins.
                if await self._ask_others(source, candidate, behind, (lost.height, first)) is None:
                    return None
                return ancestor
            shared = ancestor or self._window.oldest
            fork_height = shared.height if ancestor is not None else shared.height - 1
            candidate.too_deep = (fork_height, self._window.burn_depth(shared))
        fork_height, depth = candidate.too_deep
        raise ReorgTooDeep(fork_height=fork_height, burn_depth=depth)

    async def _reread(self, source: StacksApi, height: int, block_hash: str) -> _Candidate | None:
        """The candidate, once it was read often enough."""
        now = self._clock()
        known = self._candidate
        if known is not None and self._hash(known.height) == known.ours:
            # At a lower height than our tip's, the source's own tip is lower than ours.
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

    async def _corroborate(self, source: StacksApi, candidate: _Candidate) -> list[StacksApi] | None:
        """Ask all others that have a say; those that have no block of that height, None while it is not believed.

        Without any opinion it stands, unless it was contradicted before: whoever did so has to take it back.
        """
        others = self._pool.others(source, within=self.recent_seconds)
        behind = await self._ask_others(source, candidate, others, (candidate.height, candidate.hash))
        if behind is not None and len(behind) == len(others):
            self.raise_if_disputed()
        return behind

    async def _ask_others(
        self, source: StacksApi, candidate: _Candidate, others: list[StacksApi], block: tuple[int, str]
    ) -> list[StacksApi] | None:
        """Ask ``others`` for a block of the fork, by height and hash; those that have none of that height.

        None while somebody contradicts it, or has a say and does not answer. Raises ``SourcesDisagree`` when that lasts.
        """
        height, wanted = block
        behind: list[StacksApi] = []
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
                f"at height {candidate.height} {source.url} has block {candidate.hash}, and the cursor's chain has "
                f"{candidate.ours}; at height {at} {url} has {instead}, which is not of that fork"
            )
        if candidate.unanswered_reads >= MAX_UNANSWERED_READS:
            raise SourcesDisagree(
                f"at height {candidate.height} {source.url} has block {candidate.hash}, and the cursor's chain has "
                f"{candidate.ours}; {', '.join(silent)} answered lately, but does not say what it has there"
            )
        return None

    async def _fork(self, source: StacksApi, candidate: _Candidate) -> tuple[BlockHeader | None, str]:
        """The newest header that ``source`` shares with us (None: below the window), and the hash it has after that."""
        seen = {candidate.height: candidate.hash}
        search = self._window.search_fork(candidate.height)
        try:
            probe = next(search)
            while True:
                theirs = await source.header(probe)
                if theirs is None:
                    raise SourceInconsistent(
                        f"it has blocks above height {probe}, but none there", url=source.url
                    )
                seen[probe] = theirs.hash
                probe = search.send(theirs.hash)
        except StopIteration as stop:
            found: BlockHeader | None = stop.value
        # The search ends between two heights that it asked for.
        return found, seen[found.height + 1] if found is not None else ""

    def _hash(self, height: int) -> str | None:
        header = self._window.at(height)
        return header.hash if header is not None else None


def _required_reads(candidate: _Candidate) -> int:
    """The number of reads that confirm it."""
    return REQUIRED_READS_BACK if candidate.is_orphaned_branch else REQUIRED_READS
