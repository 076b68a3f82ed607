"""Take what a stacks-node posts: read it, store it, and only then let it be answered.

A node repeats a post until it is answered with 200, and posts nothing else meanwhile. So whatever cannot be
read is stored as such and answered too: the block is then read over the RPC, or from another source.
"""

import asyncio
import json
from collections.abc import Callable
from typing import TypeVar

import structlog

from chain.api.parse_fields import Malformed
from chain.node import payloads
from chain.node.block import NodeBlock, new_block
from chain.node.inbox import Added, Inbox
from chain.node.watch import tell_contradicted

#: Bytes of a post that was too large to read that are kept.
KEPT_BYTES = 65_536

#: Memory that a decoded post may take, in bytes: it is many times that of its text.
MAX_DECODED_BYTES = 512 * 2**20

#: About the bytes that each of these stands for: an object, a list, half a string, and a place in a list.
_DECODED_BYTES = {b"{": 200, b"[": 72, b'"': 30, b",": 8}

_T = TypeVar("_T")

_log = structlog.stdlib.get_logger(__name__)


class Receiver:
    """Takes posts; ``wake`` is called when the chain may have moved.

    ``take`` raises only what ``inbox`` raises: the post is then not stored, and not to be answered with 200.
    """

    def __init__(
        self,
        inbox: Inbox,
        *,
        wake: Callable[[], None] = lambda: None,
        on_unforeseen: Callable[[Exception], None] = lambda error: _log.error("unforeseen", exc_info=error),
    ) -> None:
        self._inbox = inbox
        self._wake = wake
        self._on_unforeseen = on_unforeseen
        # A decoded post takes much memory.
        self._reading = asyncio.Lock()

    async def take(self, path: str, body: bytes, *, is_whole: bool = True) -> None:
        """Store a post; unless ``is_whole``, ``body`` is only the beginning of one that is too large."""
        if path not in ("/new_block", "/new_burn_block", "/new_mempool_tx", "/drop_mempool_tx"):
            # Attachments, microblocks, signers' messages: nothing for a follower.
            return
        try:
            if not is_whole:
                raise Malformed("it is too large")
            async with self._reading:
                await self._read(path, body)
        except Malformed as error:
            await self._set_aside(path, body, str(error))
        except RecursionError:
            await self._set_aside(path, body, "it is nested too deep")

    async def _read(self, path: str, body: bytes) -> None:
        told = await asyncio.to_thread(_decoded, body)
        match path:
            case "/new_block":
                await self._take_block(told, body)
            case "/new_burn_block":
                burn_block = self._parse(payloads.new_burn_block, told)
                if await self._inbox.add_burn_block(burn_block.hash, burn_block.height):
                    _log.warning(
                        "node.bitcoin_forked", action="node.bitcoin_forked", burn_height=burn_block.height
                    )
                self._wake()
            case "/new_mempool_tx":
                await self._inbox.add_pending(self._parse(payloads.new_mempool_tx, told))
            case _:
                await self._inbox.drop_pending(self._parse(payloads.drop_mempool_tx, told))

    async def _take_block(self, told: object, body: bytes) -> None:
        block = await asyncio.to_thread(self._parse, new_block, told)
        header = block.header
        added = await self._inbox.add_block(header, block.tx_ids, body)
        if added is Added.DIFFERENT and await self._contradicts(block):
            await self._inbox.contradict(header.hash)
            tell_contradicted(header.height, header.hash)
        self._wake()

    async def _contradicts(self, block: NodeBlock) -> bool:
        """Whether the stored body says something else; a node that repeats a block reorders its events."""
        stored = await self._inbox.body(block.header.hash)
        return stored is not None and await asyncio.to_thread(_block, stored) != block

    def _parse(self, parse: Callable[[object], _T], told: object) -> _T:
        try:
            return parse(told)
        except (Malformed, RecursionError):
            raise
        except Exception as error:
            self._on_unforeseen(error)
            raise Malformed(f"unforeseen {type(error).__name__}") from error

    async def _set_aside(self, path: str, body: bytes, reason: str) -> None:
        _log.error(
            "node.post_unreadable",
            action="node.post_unreadable",
            path=path,
            bytes=len(body),
            reason=reason,
            hint="the block is read over the node's RPC or from another source; update sbtc-watcher if the "
            "node is newer",
        )
        await self._inbox.set_aside(path, body[:KEPT_BYTES], reason)
        self._wake()


def _decoded(body: bytes) -> object:
    if sum(size * body.count(mark) for mark, size in _DECODED_BYTES.items()) > MAX_DECODED_BYTES:
        raise Malformed(f"decoded, it takes more than {MAX_DECODED_BYTES // 2**20} MiB of memory")
    try:
        return json.loads(body)
    except ValueError as error:
        raise Malformed(f"it is not JSON: {error}") from error


def _block(body: bytes) -> NodeBlock:
    return new_block(_decoded(body))
