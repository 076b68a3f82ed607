"""An own stacks-node as a source: the blocks that it posted, with the gaps filled over its RPC.

It answers the same questions as an API server, with the same rows and events, so that the follower and the
reader of blocks check both alike. The node's RPC says which block is its tip; a post alone moves it only by
extending that tip. A block that was not posted is replayed, which needs the node's token.
"""

import asyncio
import hashlib
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

from chain.api.dates import ServerDates
from chain.api.parse import ApiStatus, TxDetail, TxPage, TxSummary
from chain.api.parse_fields import Malformed
from chain.api.parse_mempool import PendingPage, PendingTx
from chain.api.transport import Limiter
from chain.errors import SourceMalformed, SourceUnavailable
from chain.model import BlockHeader, parent_of_first
from chain.node import payloads
from chain.node.block import NodeBlock
from chain.node.blocks import NodeBlocks
from chain.node.branches import Branches, Link
from chain.node.inbox import Inbox
from chain.node.rpc import NodeRpc
from chain.node.watch import NodeWatch

#: The oldest node that has the routes that are read.
MINIMUM_VERSION = (3, 2, 0)

#: Blocks by which a node that says it is not synced may be behind its best peer all the same.
TOLERATED_LAG_BLOCKS = 3

#: Seconds for which a new tip is not replayed, because its post may be on its way: it wakes the loop.
PATIENCE_SECONDS = 5.0

#: For how long a look at the tip counts, in seconds; a new poll looks in any case.
RECENT_SECONDS = 1.0

#: Blocks below the tip that are replayed where an API serves the past.
MAX_GAP_BLOCKS = 2_000

#: Numbers of stored blocks that are read again: on PostgreSQL a smaller one may be committed later.
_OVERLAP = 100


class NodeSource:
    """An own node. ``holds_past``: blocks of any age are replayed, because no API serves them.

    For ``patience`` seconds the post of a new tip is waited for. ``clock`` is monotonic, ``now`` this
    machine's; both are for tests.
    """

    minimum_version = MINIMUM_VERSION
    is_metered = False
    #: It is read in one way.
    capabilities = None

    def __init__(
        self,
        rpc: NodeRpc,
        inbox: Inbox,
        *,
        holds_past: bool = False,
        patience: float = PATIENCE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._rpc = rpc
        self._inbox = inbox
        self.holds_past = holds_past
        self._patience = patience
        #: When the tip was first one that was not posted, since it was last one that was.
        self._awaits_since: float | None = None
        self._clock = clock
        self._watch = NodeWatch(rpc.url, clock=clock, now=now)
        self._branches = Branches()
        #: The newest stored block that was seen; None before the first look.
        self._number: int | None = None
        self._tip: tuple[int, str] | None = None
        self._looked_at = float("-inf")
        self._looking = asyncio.Lock()
        self._blocks = NodeBlocks(rpc, inbox, self._branches)
        self._pending: dict[str, PendingTx] = {}

    def __repr__(self) -> str:
        return f"NodeSource({self.url!r})"

    @property
    def url(self) -> str:
        """Base URL of the RPC."""
        return self._rpc.url

    @property
    def limiter(self) -> Limiter | None:
        """Counts the requests."""
        return self._rpc.limiter

    @limiter.setter
    def limiter(self, limiter: Limiter | None) -> None:
        self._rpc.limiter = limiter

    @property
    def dates(self) -> ServerDates:
        """Clocks of the pool's servers."""
        return self._rpc.dates

    @dates.setter
    def dates(self, dates: ServerDates) -> None:
        self._rpc.dates = dates

    @property
    def note(self) -> str | None:
        """What a person should know about the node now."""
        return self._watch.note

    def forget_absences(self) -> None:
        """Nothing was found absent: it is read in one way."""

    async def aclose(self) -> None:
        """Close the connections."""
        await self._rpc.aclose()

    async def status(self) -> ApiStatus:
        """Version of the node, and its newest block."""
        info = await self._rpc.info()
        return ApiStatus(
            server_version=info.server_version.partition(" (")[0],
            version=info.version,
            tip_height=info.tip_height,
            tip_hash=None,
            tip_burn_height=info.burn_height,
        )

    async def network_id(self) -> int | None:
        """Network id of the node."""
        return (await self._rpc.info()).network_id

    # Headers

    async def header(self, ref: int | str) -> BlockHeader | None:
        """The canonical block of a height or an index hash; None when the node has none."""
        if ref == 0:
            first = await self.header(1)
            return None if first is None else parent_of_first(first)
        height, _ = await self._recent_tip()
        if isinstance(ref, int):
            return await self._blocks.header_at(ref) if ref <= height else None
        found = await self._blocks.header(ref)
        if found is None or found.height > height:
            return None
        if self._branches.is_canonical(ref):
            return found
        canonical = await self._blocks.header_at(found.height)
        return found if canonical is not None and canonical.hash == ref else None

    async def headers(
        self, *, limit: int = 30, cursor: str | None = None, offset: int = 0, height: int | None = None
    ) -> tuple[BlockHeader, ...] | None:
        """Canonical headers, newest first; None when block ``cursor`` is not canonical."""
        if cursor is None:
            tip, _ = await self._look()
            newest = tip - offset
        else:
            known = await self.header(cursor)
            if known is None:
                return None
            (tip, _), newest = await self._recent_tip(), known.height - offset
        oldest = max(newest - limit + 1, 1)
        found: list[BlockHeader] = []
        # Blocks above the cursor are about to be read: a replay gives their headers too.
        replay = offset < 0 and self._rpc.can_replay and not self._is_past(oldest)
        wanted = await self._blocks.header_at(min(newest, tip), replay=replay)
        while wanted is not None and wanted.height >= oldest:
            self._branches.confirm(wanted.height, wanted.hash)
            found.append(wanted)
            if wanted.height == oldest:
                break
            wanted = await self._blocks.header(wanted.parent_hash, replay=replay)
            if wanted is not None and wanted.height != found[-1].height - 1:
                raise SourceMalformed(f"block {wanted.hash} is not below its child", url=self.url)
        return tuple(found)

    # Transactions

    async def transactions(
        self, *, cursor: str | None = None, etag: str | None = None, limit: int = 50
    ) -> TxPage | None:
        """The newest block's transactions, newest first; None when ``etag`` still holds.

        Of older blocks nothing is listed here, only by block.
        """
        if cursor is not None:
            return TxPage(results=(), total=0, next_cursor=None)
        height, tip = await self._look()
        tag = f'"{tip}"'
        if etag == tag:
            return None
        block = await self._block(tip, height)
        rows = block.rows[::-1][:limit]
        return TxPage(results=rows, total=len(block.rows), next_cursor=None, etag=tag)

    async def block_transactions(
        self, index_hash: str, *, cursor: str | None = None, limit: int = 50
    ) -> TxPage | None:
        """A canonical block's transactions, last one first; None without such a canonical block."""
        header = await self.header(index_hash)
        if header is None:
            return None
        block = await self._block(index_hash, header.height)
        last = len(block.rows) if cursor is None else int(cursor.rpartition(":")[2]) + 1
        first = max(0, last - limit)
        older = f"{header.height}:0:{first - 1}" if first else None
        return TxPage(results=block.rows[first:last][::-1], total=len(block.rows), next_cursor=older)

    async def details_of(
        self, rows: Sequence[TxSummary], *, args_of: Collection[str] = ()
    ) -> dict[str, TxDetail]:
        """Status, events and, for ``args_of``, arguments of listed transactions."""
        found = {}
        for row in rows:
            block = await self._block(row.block_index_hash, row.block_height)
            try:
                detail = block.detail(row.tx_id, with_args=row.tx_id in args_of)
            except Malformed as error:
                raise SourceMalformed(f"transaction {row.tx_id}: {error}", url=self.url) from error
            # Of another branch by now?
            canonical = self._branches.at(row.block_height) in (None, row.block_index_hash)
            found[row.tx_id] = replace(detail, canonical=canonical)
        return found

    async def details(self, tx_ids: Sequence[str], *, with_args: bool = False) -> dict[str, TxDetail]:
        """Pending transactions; a node finds no mined ones by id."""
        return {
            tx_id: TxDetail(tx_id=tx_id, found=False)
            if (pending := self._pending.get(tx_id)) is None
            else TxDetail(tx_id=tx_id, found=True, raw_status="pending", call=pending.call)
            for tx_id in tx_ids
        }

    async def mempool(
        self, *, cursor: str | None = None, etag: str | None = None, limit: int = 50
    ) -> PendingPage | None:
        """Pending transactions on one page, newest first; None when ``etag`` still holds."""
        listed = await self._blocks.stored(self._inbox.pending())
        tag = hashlib.sha256("".join(tx_id for tx_id, _ in listed).encode()).hexdigest()
        if etag == tag:
            return None
        found: dict[str, PendingTx] = {}
        for tx_id, raw in listed:
            try:
                found[tx_id] = self._pending.get(tx_id) or payloads.pending(tx_id, raw)
            except Malformed:
                continue
        self._pending = found
        return PendingPage(results=tuple(found.values()), next_cursor=None, etag=tag)

    async def _block(self, block_hash: str, height: int) -> NodeBlock:
        return await self._blocks.block(block_hash, height, is_past=self._is_past(height))

    def _is_past(self, height: int) -> bool:
        """Whether a block is so old that another source is to be asked."""
        return not self.holds_past and self._tip is not None and height < self._tip[0] - MAX_GAP_BLOCKS

    # The tip

    async def _recent_tip(self) -> tuple[int, str]:
        if self._tip is None or self._clock() - self._looked_at >= RECENT_SECONDS:
            return await self._look()
        return self._tip

    async def _look(self) -> tuple[int, str]:
        """Read what was posted since the last look, and ask for the tip; return its height and hash."""
        async with self._looking:
            await self._read_posts()
            told = await self._ask_tip()
            if not self._is_awaited(*told):
                self._tip = await self._extended(*told)
            assert self._tip is not None, "only what follows a tip is awaited"
            await self._link_posted(self._tip[1])
            self._branches.set_tip(*self._tip)
            self._looked_at = self._clock()
            return self._tip

    def _is_awaited(self, height: int, block_hash: str) -> bool:
        """Whether the post of a new tip may be on its way: a replay would only cost the node time."""
        if self._watch.has_posted(block_hash):
            self._awaits_since = None
            return False
        if self._awaits_since is None:
            self._awaits_since = self._clock()
        is_next = self._tip is not None and height > self._tip[0]
        return is_next and self._clock() - self._awaits_since < self._patience

    async def _extended(self, height: int, block_hash: str) -> tuple[int, str]:
        """Return the newest block that was posted lately on top of the RPC's tip, which is some seconds old.

        Only a block that the node has processed: something else may post to the observer.
        """
        while (child := await self._child(height, block_hash)) is not None:
            height, block_hash = height + 1, child
        return height, block_hash

    async def _child(self, height: int, block_hash: str) -> str | None:
        for child in self._branches.told_above(height, block_hash, now=self._clock()):
            if await self._blocks.link(child) == (height + 1, block_hash):
                return child
            self._watch.unknown(height + 1, child)
        return None

    async def _link_posted(self, block_hash: str) -> None:
        """Link a tip and what was posted below it lately, so that less has to be asked by height."""
        while self._branches.find(block_hash) is None and self._branches.is_told(
            block_hash, now=self._clock()
        ):
            link = await self._blocks.link(block_hash)
            if link is None:
                return
            block_hash = link.parent_hash

    async def _read_posts(self) -> None:
        told_at = float("-inf") if self._number is None else self._clock()
        after = max(0, (self._number or 0) - _OVERLAP)
        number = self._number or 0
        for stored in await self._blocks.stored(self._inbox.blocks_after(after)):
            number = max(number, stored.number)
            self._branches.tell(stored.hash, Link(stored.height, stored.parent_hash), at=told_at)
            self._watch.posted(stored.height, stored.hash)
        self._number = number
        self._watch.put_aside(await self._blocks.stored(self._inbox.put_aside()))

    async def _ask_tip(self) -> tuple[int, str]:
        info = await self._rpc.info()
        if info.is_synced is False:
            behind = await self._rpc.blocks_behind()
            if behind > TOLERATED_LAG_BLOCKS:
                raise SourceUnavailable(
                    f"the node is still syncing: its best peer is {behind} blocks ahead", url=self.url
                )
        height, block_hash = await self._rpc.tip()
        before = self._watch.tip(height, block_hash)
        if before is not None:
            self._watch.went_back(is_known=await self._rpc.block(before) is not None)
        return height, block_hash
