"""An own stacks-node as a source: the blocks that it posted, with the gaps filled over its RPC.

It answers the same questions as an API server, with the same rows and events, so that the follower and the
reader of blocks check both alike. The node's RPC says which block is its tip; a post alone moves it only by
extending that tip. A block that was not posted is replayed, which needs the node's token.
"""

import asyncio
import hashlib
import json
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import replace
from typing import NamedTuple, TypeVar

from chain.api.dates import ServerDates
from chain.api.headers import refuse_future
from chain.api.parse import ApiStatus, TxDetail, TxPage, TxSummary
from chain.api.parse_fields import Malformed
from chain.api.parse_mempool import PendingPage, PendingTx
from chain.api.transport import Limiter
from chain.errors import NotHeld, SourceInconsistent, SourceMalformed, SourceUnavailable
from chain.model import BlockHeader, parent_of_first
from chain.node import payloads
from chain.node.block import NodeBlock, block_header, new_block
from chain.node.branches import Branches, Link
from chain.node.inbox import Inbox
from chain.node.rpc import NodeRpc
from chain.node.watch import NodeWatch

#: The oldest node that has the routes that are read.
MINIMUM_VERSION = (3, 2, 0)

#: Blocks by which a node that says it is not synced may be behind its best peer all the same.
TOLERATED_LAG_BLOCKS = 3

#: For how long a look at the tip counts, in seconds; a new poll looks in any case.
RECENT_SECONDS = 1.0

#: Blocks below the tip that are replayed where an API serves the past.
MAX_GAP_BLOCKS = 2_000

#: Blocks kept in memory, and their bytes as posted or replayed; headers kept.
BLOCKS_KEPT, BYTES_KEPT, HEADERS_KEPT = 300, 64 * 2**20, 10_000

#: Numbers of stored blocks that are read again: on PostgreSQL a smaller one may be committed later.
_OVERLAP = 100

_T = TypeVar("_T")


class _Kept(NamedTuple):
    block: NodeBlock
    size: int


class NodeSource:
    """An own node. ``holds_past``: blocks of any age are replayed, because no API serves them.

    ``clock`` is monotonic, ``now`` this machine's; both are for tests.
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
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._rpc = rpc
        self._inbox = inbox
        self.holds_past = holds_past
        self._clock = clock
        self._watch = NodeWatch(rpc.url, clock=clock, now=now)
        self._branches = Branches()
        #: The newest stored block that was seen; None before the first look.
        self._number: int | None = None
        self._tip: tuple[int, str] | None = None
        self._looked_at = float("-inf")
        self._looking = asyncio.Lock()
        self._headers: OrderedDict[str, BlockHeader] = OrderedDict()
        self._blocks: OrderedDict[str, _Kept] = OrderedDict()
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
            return await self._header_at(ref) if ref <= height else None
        found = await self._header(ref)
        if found is None or found.height > height:
            return None
        if self._branches.is_canonical(ref):
            return found
        canonical = await self._header_at(found.height)
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
        replay = offset < 0 and self._may_replay(oldest)
        wanted = await self._header_at(min(newest, tip), replay=replay)
        while wanted is not None and wanted.height >= oldest:
            self._branches.confirm(wanted.height, wanted.hash)
            found.append(wanted)
            if wanted.height == oldest:
                break
            wanted = await self._header(wanted.parent_hash, replay=replay)
            if wanted is not None and wanted.height != found[-1].height - 1:
                raise SourceMalformed(f"block {wanted.hash} is not below its child", url=self.url)
        return tuple(found)

    async def _header_at(self, height: int, *, replay: bool = False) -> BlockHeader | None:
        """Return the canonical block of a height that is not above the tip."""
        block_hash = self._branches.at(height)
        if block_hash is not None:
            return await self._header(block_hash, replay=replay)
        raw = await self._rpc.block_at(height)
        if raw is None:
            return None
        header = await self._raw_header(raw, None)
        self._branches.confirm(height, header.hash)
        return header

    async def _header(self, block_hash: str, *, replay: bool = False) -> BlockHeader | None:
        """Return the header of a block of any branch."""
        known = self._headers.get(block_hash)
        if known is not None:
            return known
        if self._branches.find(block_hash) is not None:
            block = await self._posted(block_hash)
            if block is not None:
                return block.header
        if replay:
            replayed = await self._replay(block_hash)
            return None if replayed is None else replayed.header
        raw = await self._rpc.block(block_hash)
        return None if raw is None else await self._raw_header(raw, block_hash)

    async def _raw_header(self, raw: bytes, block_hash: str | None) -> BlockHeader:
        """Complete the header of a serialized block with what the lists of its tenure say."""
        told = self._rpc.header(raw)
        listed = (await self._rpc.tenure_blocks(told.consensus_hash)).blocks
        place = (told.height, told.parent_hash)
        row = next((row for row in listed if (row.height, row.parent_hash) == place), None)
        if row is None or block_hash not in (None, row.hash):
            raise SourceInconsistent(f"its tenure does not list block {told.height}", url=self.url)
        tenure = await self._rpc.tenure(told.consensus_hash)
        try:
            header = block_header(
                height=told.height,
                hash=row.hash,
                block_hash=row.block_hash,
                parent_hash=told.parent_hash,
                time=told.time,
                tenure=tenure,
                tx_count=told.tx_count,
            )
        except Malformed as error:
            raise SourceMalformed(str(error), url=self.url) from error
        return self._keep_header(header)

    def _keep_header(self, header: BlockHeader) -> BlockHeader:
        refuse_future([header], self.dates, self.url)
        self._headers[header.hash] = header
        self._branches.link(header.hash, Link(header.height, header.parent_hash))
        if len(self._headers) > HEADERS_KEPT:
            self._headers.popitem(last=False)
        return header

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
        listed = await self._stored(self._inbox.pending())
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

    # Blocks

    async def _block(self, block_hash: str, height: int) -> NodeBlock:
        """Return a block that was posted, else replay it."""
        kept = self._blocks.get(block_hash)
        if kept is not None:
            return kept.block
        block = await self._posted(block_hash)
        if block is None:
            if not self._rpc.can_replay:
                text = f"block {height} {block_hash} was not posted; with node_auth_token it can be replayed"
                raise NotHeld(text, url=self.url)
            if not self._may_replay(height):
                text = f"block {height} is far below its tip: the past is read from an API"
                raise NotHeld(text, url=self.url)
            block = await self._replay(block_hash)
        if block is None:
            raise SourceInconsistent(f"it does not have block {height} {block_hash}", url=self.url)
        return block

    async def _posted(self, block_hash: str) -> NodeBlock | None:
        body = await self._stored(self._inbox.body(block_hash))
        if body is None:
            return None
        try:
            block = await asyncio.to_thread(lambda: new_block(json.loads(body)))
        except (ValueError, RecursionError):
            # Read with success when it was stored; an older or newer version did.
            return None
        return self._keep(block, len(body))

    def _may_replay(self, height: int) -> bool:
        is_past = self._tip is not None and height < self._tip[0] - MAX_GAP_BLOCKS
        return self._rpc.can_replay and (self.holds_past or not is_past)

    async def _replay(self, block_hash: str) -> NodeBlock | None:
        block = await self._rpc.replay(block_hash)
        return None if block is None else self._keep(block, 1000 * len(block.rows))

    def _keep(self, block: NodeBlock, size: int) -> NodeBlock:
        header = self._keep_header(block.header)
        self._blocks[header.hash] = _Kept(block, size)
        while len(self._blocks) > BLOCKS_KEPT or (
            len(self._blocks) > 1 and sum(kept.size for kept in self._blocks.values()) > BYTES_KEPT
        ):
            self._blocks.popitem(last=False)
        return block

    # The tip

    async def _recent_tip(self) -> tuple[int, str]:
        if self._tip is None or self._clock() - self._looked_at >= RECENT_SECONDS:
            return await self._look()
        return self._tip

    async def _look(self) -> tuple[int, str]:
        """Read what was posted since the last look, and ask for the tip; return its height and hash."""
        async with self._looking:
            await self._read_posts()
            try:
                base = await self._ask_tip()
            except SourceUnavailable:
                # A node that executes a block may not answer while it posts the next one.
                if self._tip is None or self._branches.newest(*self._tip, now=self._clock()) == self._tip:
                    raise
                base = self._tip
            self._tip = self._branches.newest(*base, now=self._clock())
            self._branches.set_tip(*self._tip)
            self._looked_at = self._clock()
            return self._tip

    async def _read_posts(self) -> None:
        first = self._number is None
        after = max(0, (self._number or 0) - _OVERLAP)
        told_at = float("-inf") if first else self._clock()
        number = self._number or 0
        for stored in await self._stored(self._inbox.blocks_after(after)):
            number = max(number, stored.number)
            self._branches.link(stored.hash, Link(stored.height, stored.parent_hash), told_at=told_at)
            self._watch.posted(stored.height, stored.hash)
        self._number = number
        self._watch.put_aside(await self._stored(self._inbox.put_aside()))

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

    async def _stored(self, reading: Awaitable[_T]) -> _T:
        try:
            return await reading
        except Exception as error:
            text = f"what it posted cannot be read from the database: {type(error).__name__}"
            raise SourceUnavailable(text, url=self.url) from error
