"""Recognize what is wrong with an own node: put back to a snapshot, forked, silent, posts set aside."""

from collections.abc import Callable

import structlog

from chain.node.inbox import SetAside

#: Seconds without a post of the node's tip after which a person is told.
SILENT_SECONDS = 60.0
#: For how long a post that was set aside is told of, in seconds.
TELL_ASIDE_SECONDS = 86_400.0
#: Posted blocks that are remembered.
MAX_POSTED = 10_000

_log = structlog.stdlib.get_logger(__name__)


def tell_contradicted(height: int, block_hash: str) -> None:
    """Log that what was posted of a block is no longer believed."""
    _log.error(
        "node.block_contradicted",
        action="node.block_contradicted",
        height=height,
        hash=block_hash,
        hint="two posts, or a post and the node's RPC, say different things of one block; does something "
        "else post to node_observer_bind?",
    )


class NodeWatch:
    """The state of one node as a person should know it. ``clock`` is monotonic, ``now`` this machine's."""

    def __init__(self, url: str, *, clock: Callable[[], float], now: Callable[[], float]) -> None:
        self._url = url
        self._clock = clock
        self._now = now
        #: The node's last tip; before the first look, the last block that it posted.
        self._had: tuple[int, str] | None = None
        self._is_looked_at = False
        #: The tip before one that is lower.
        self._before = (0, "")
        #: A tip that the node no longer knows, while it has not reached that height again.
        self._lost: tuple[int, str] | None = None
        self._posted: dict[str, None] = {}
        #: When the tip was last one that was posted.
        self._posted_at = clock()
        #: Height of the tip since it was too long ago.
        self._silent: int | None = None
        self._aside: SetAside | None = None
        #: The last posted block that the node does not know.
        self._unknown = ""

    @property
    def note(self) -> str | None:
        """What a person should know, None when nothing is wrong."""
        notes = []
        if self._lost is not None:
            notes.append(
                f"restored from an older state: it no longer has block {self._lost[0]}, which was its tip"
            )
        if self._silent is not None:
            notes.append(
                f"does not post: block {self._silent} did not come to node_observer_bind; see "
                "[[events_observer]] in its configuration"
            )
        if self._aside is not None and self._now() - self._aside.at < TELL_ASIDE_SECONDS:
            notes.append(f"posts set aside: {self._aside.count}, the last {self._aside.reason}")
        return "; ".join(notes) or None

    def posted(self, height: int, block_hash: str) -> None:
        """Note a stored block."""
        if block_hash not in self._posted:
            self._posted[block_hash] = None
            if len(self._posted) > MAX_POSTED:
                del self._posted[next(iter(self._posted))]
        if not self._is_looked_at:
            self._had = height, block_hash

    def has_posted(self, block_hash: str) -> bool:
        """Whether this block is among the last that were posted."""
        return block_hash in self._posted

    def unknown(self, height: int, block_hash: str) -> None:
        """Note a posted block that the node does not know: something else posts to the observer."""
        if block_hash != self._unknown:
            self._unknown = block_hash
            _log.error(
                "node.post_unknown",
                action="node.post_unknown",
                source=self._url,
                height=height,
                hash=block_hash,
                hint="the node has no such block; does something else post to node_observer_bind?",
            )

    def put_aside(self, aside: SetAside | None) -> None:
        """Note the posts that are not used."""
        self._aside = aside

    def tip(self, height: int, block_hash: str) -> str | None:
        """Note the node's tip; return the hash of the one before when it was higher: ask for that block."""
        self._is_looked_at = True
        now = self._clock()
        if block_hash in self._posted:
            self._posted_at, self._silent = now, None
        elif now - self._posted_at >= SILENT_SECONDS:
            if self._silent is None:
                _log.warning("node.silent", action="node.silent", source=self._url, height=height)
            self._silent = height
        if self._lost is not None and height >= self._lost[0]:
            _log.info("node.caught_up", action="node.caught_up", source=self._url, height=height)
            self._lost = None
        had = self._had
        self._had = height, block_hash
        if had is None or height >= had[0]:
            return None
        self._before = had
        return had[1]

    def went_back(self, *, is_known: bool) -> None:
        """Note whether the node still has the tip that ``tip`` returned: it forked; else it was restored."""
        height, block_hash = self._before
        if is_known:
            _log.warning(
                "node.forked", action="node.forked", source=self._url, height=height, hash=block_hash
            )
            return
        self._lost = self._before
        _log.error(
            "node.restored",
            action="node.restored",
            source=self._url,
            height=height,
            hash=block_hash,
            hint="the node was restored from an older state; other sources serve until it has caught up",
        )
