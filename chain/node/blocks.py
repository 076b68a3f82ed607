"""Headers and blocks of an own node: as posted, else over its RPC; the last ones are kept in memory."""

import asyncio
import json
from collections import OrderedDict
from collections.abc import Awaitable
from typing import NamedTuple, TypeVar

from chain.api.headers import refuse_future
from chain.api.parse_fields import Malformed
from chain.errors import NotHeld, SourceInconsistent, SourceMalformed, SourceUnavailable
from chain.model import BlockHeader
from chain.node.answers import RawHeader, TenureBlock, TenureBlocks
from chain.node.block import NodeBlock, block_header, new_block
from chain.node.branches import Branches, Link
from chain.node.inbox import Inbox
from chain.node.rpc import NodeRpc
from chain.node.watch import tell_contradicted

#: Blocks kept in memory, and their bytes as posted or replayed; headers kept.
BLOCKS_KEPT, BYTES_KEPT, HEADERS_KEPT = 300, 64 * 2**20, 10_000

_T = TypeVar("_T")


class _Kept(NamedTuple):
    block: NodeBlock
    size: int


class NodeBlocks:
    """Reads headers and blocks; what is read is linked in ``branches``. Raises ``SourceError``."""

    def __init__(self, rpc: NodeRpc, inbox: Inbox, branches: Branches) -> None:
        self._rpc = rpc
        self._inbox = inbox
        self._branches = branches
        self._headers: OrderedDict[str, BlockHeader] = OrderedDict()
        self._blocks: OrderedDict[str, _Kept] = OrderedDict()
        #: The last tenure that was listed.
        self._listed: TenureBlocks | None = None

    async def header_at(self, height: int, *, replay: bool = False) -> BlockHeader | None:
        """Return the canonical block of a height that is not above the tip."""
        block_hash = self._branches.at(height)
        if block_hash is not None:
            header = await self.header(block_hash, replay=replay)
        else:
            raw = await self._rpc.block_at(height)
            header = None if raw is None else await self._raw_header(raw, None)
        if header is not None and header.height != height:
            raise SourceMalformed(f"asked for block {height}, it gave {header.height}", url=self._rpc.url)
        if header is not None:
            self._branches.confirm(height, header.hash)
        return header

    async def header(self, block_hash: str, *, replay: bool = False) -> BlockHeader | None:
        """Return the header of a block of any branch; ``replay``: the whole block is about to be read."""
        known = self._headers.get(block_hash)
        if known is not None:
            return known
        block = await self._posted(block_hash)
        if block is not None:
            return block.header
        if replay:
            replayed = await self._replay(block_hash)
            return None if replayed is None else replayed.header
        raw = await self._rpc.block(block_hash)
        return None if raw is None else await self._raw_header(raw, block_hash)

    async def block(self, block_hash: str, height: int, *, is_past: bool) -> NodeBlock:
        """Return a block that was posted, else replay it, unless ``is_past``: that is left to an API."""
        kept = self._blocks.get(block_hash)
        if kept is not None:
            return kept.block
        block = await self._posted(block_hash)
        if block is None:
            if not self._rpc.can_replay:
                text = f"block {height} {block_hash} was not posted; with node_auth_token it can be replayed"
                raise NotHeld(text, url=self._rpc.url)
            if is_past:
                text = f"block {height} is far below its tip: the past is read from an API"
                raise NotHeld(text, url=self._rpc.url)
            block = await self._replay(block_hash)
        if block is None:
            raise SourceInconsistent(f"it does not have block {height} {block_hash}", url=self._rpc.url)
        return block

    async def link(self, block_hash: str) -> Link | None:
        """Return a block's place, on any branch, as the RPC says; None for a block that it does not have."""
        known = self._branches.find(block_hash)
        if known is not None:
            return known
        raw = await self._rpc.block(block_hash)
        if raw is None:
            return None
        told = self._rpc.header(raw)
        link = Link(told.height, told.parent_hash)
        self._branches.link(block_hash, link)
        return link

    async def stored(self, reading: Awaitable[_T]) -> _T:
        """Read from the inbox; its failure is the source's, so that another one serves."""
        try:
            return await reading
        except Exception as error:
            text = f"what it posted cannot be read from the database: {type(error).__name__}"
            raise SourceUnavailable(text, url=self._rpc.url) from error

    async def _raw_header(self, raw: bytes, block_hash: str | None) -> BlockHeader | None:
        """Complete the header of a serialized block with what the list of its tenure says.

        None for a block that its tenure does not list: of a branch that was left.
        """
        told = self._rpc.header(raw)
        row = None if self._listed is None else find_row(self._listed, told)
        if row is None:
            self._listed = await self._rpc.tenure_blocks(told.consensus_hash)
            row = find_row(self._listed, told)
        if row is None or block_hash not in (None, row.hash):
            return None
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
            raise SourceMalformed(str(error), url=self._rpc.url) from error
        return self._keep_header(header)

    async def _posted(self, block_hash: str) -> NodeBlock | None:
        body = await self.stored(self._inbox.body(block_hash))
        if body is None:
            return None
        try:
            block = await asyncio.to_thread(lambda: new_block(json.loads(body)))
        except (ValueError, RecursionError):
            # It was readable for the version that stored it.
            return None
        link = await self.link(block_hash)
        if link == (block.header.height, block.header.parent_hash):
            return self._keep(block, len(body))
        if link is not None:
            await self.stored(self._inbox.contradict(block_hash))
            tell_contradicted(link.height, block_hash)
        return None

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

    def _keep_header(self, header: BlockHeader) -> BlockHeader:
        refuse_future([header], self._rpc.dates, self._rpc.url)
        self._headers[header.hash] = header
        self._branches.link(header.hash, Link(header.height, header.parent_hash))
        if len(self._headers) > HEADERS_KEPT:
            self._headers.popitem(last=False)
        return header


def find_row(listed: TenureBlocks, told: RawHeader) -> TenureBlock | None:
    """Return the row of a serialized block in the list of a tenure."""
    if listed.consensus_hash != told.consensus_hash:
        return None
    place = (told.height, told.parent_hash)
    return next((row for row in listed.blocks if (row.height, row.parent_hash) == place), None)
