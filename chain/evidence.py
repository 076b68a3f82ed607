"""Weighs a foreign block at one of our heights: is it a fork to follow, to wait for, or one that a person must judge?

It is believed when a second look, at least one poll interval later, finds the same block, and when another healthy
source that has a block of that height has the same one. The state lives between looks; a look that finds our own
chain again clears it.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from chain.api import StacksApi
from chain.errors import ReorgTooDeep, SourceError, SourceInconsistent, SourcesDisagree
from chain.model import BlockHeader
from chain.pool import SourcePool
from chain.window import HeaderWindow

#: So many reads, each a poll interval apart, may a second source contradict a fork before the two disagree for good.
PATIENT_READS = 3

_log = structlog.stdlib.get_logger(__name__)


@dataclass(slots=True, kw_only=True)
class _Candidate:
    """A block that a source has at one of our heights instead of ours."""

    height: int
    hash: str
    #: Our block there; the candidate means nothing once that one is gone.
    ours: str
    #: When it was first seen (clock).
    since: float
    #: Reads at which another healthy source did not have it, and the time of the last one.
    denials: int = 0
    denied_at: float = float("-inf")
    #: Fork height and depth in Bitcoin blocks, once found to be too deep: the hash fixes both.
    too_deep: tuple[int, int] | None = None


class ForkEvidence:
    """What speaks for a fork so far. Uses ``window`` as it stands at each call."""

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
        self._candidate: _Candidate | None = None

    def clear(self) -> None:
        """Forget it all: a source has our tip in its chain, or the fork was followed."""
        self._candidate = None

    async def weigh(self, source: StacksApi, height: int, block_hash: str) -> BlockHeader | None:
        """Take up that ``source`` has ``block_hash`` at ``height`` instead of ours; the newest shared header once the
        fork is believed, None while it is not.

        Raises ``ReorgTooDeep``, ``SourcesDisagree``, and ``SourceError`` when ``source`` cannot serve.
        """
        candidate = await self._seen_again(source, height, block_hash)
        if candidate is None or not await self._seconded(source, candidate):
            return None
        if candidate.too_deep is None:
            ancestor = await self._ancestor(source, candidate.height)
            depth = self._window.burn_depth(ancestor or self._window.oldest)
            if ancestor is not None and depth <= self._finality:
                return ancestor
            shared = ancestor.height if ancestor is not None else self._window.oldest.height - 1
            candidate.too_deep = (shared, depth)
        shared, depth = candidate.too_deep
        raise ReorgTooDeep(fork_height=shared, burn_depth=depth)

    async def _seen_again(self, source: StacksApi, height: int, block_hash: str) -> _Candidate | None:
        now = self._clock()
        known = self._candidate
        if known is not None and self._hash(known.height) == known.ours:
            if now - known.since < self._poll_interval:
                return None
            again: str | None = block_hash
            if height != known.height:
                theirs = await source.header(known.height)
                again = theirs.hash if theirs is not None else None
            if again == known.hash:
                return known
        ours = self._hash(height)
        assert ours is not None
        self._candidate = _Candidate(height=height, hash=block_hash, ours=ours, since=now)
        _log.warning(
            "fork.seen", action="fork.seen", height=height, hash=block_hash, ours=ours, source=source.url
        )
        return None

    async def _seconded(self, source: StacksApi, candidate: _Candidate) -> bool:
        """Ask another healthy source. One that has no block of that height has no opinion; without any, it stands."""
        now = self._clock()
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
                    f"{other.url} has {theirs.hash}, and the cursor's chain has {candidate.ours}"
                )
            return False
        return True

    async def _ancestor(self, source: StacksApi, height: int) -> BlockHeader | None:
        """The newest header that ``source`` shares with us; None when it is below the window."""
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

    def _hash(self, height: int) -> str | None:
        header = self._window.at(height)
        return header.hash if header is not None else None
