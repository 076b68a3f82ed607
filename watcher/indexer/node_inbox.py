"""The daemon's inbox for what an own node posts: one short transaction for each post."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from sqlalchemy import Connection

from chain.model import BlockHeader
from chain.node.inbox import Added, SetAside, StoredBlock
from watcher.concurrency import run_in_thread, run_transaction
from watcher.store import node_posts
from watcher.store.database import Database

_T = TypeVar("_T")


class NodeInbox:
    """Implements :class:`chain.node.inbox.Inbox` on the database. ``now``: this machine's clock."""

    def __init__(self, database: Database, *, now: Callable[[], float] = time.time) -> None:
        self._database = database
        self._now = now

    async def add_block(self, header: BlockHeader, tx_ids: Sequence[str], body: bytes) -> Added:
        """Store the body of a ``/new_block``; its transactions are pending no more."""
        add = partial(node_posts.add_block, header=header, tx_ids=tx_ids, body=body)
        return await self._write(partial(add, now=self._seconds()))

    async def contradict(self, block_hash: str) -> None:
        """Note that what was posted of a block is not believed."""
        await self._write(partial(node_posts.contradict, block_hash=block_hash))

    async def add_burn_block(self, block_hash: str, height: int) -> bool:
        """Store a Bitcoin block; return whether another one of its height is stored."""
        add = partial(node_posts.add_burn_block, block_hash=block_hash, height=height)
        return await self._write(partial(add, now=self._seconds()))

    async def add_pending(self, transactions: Sequence[tuple[str, bytes]]) -> None:
        """Store pending transactions."""
        await self._write(partial(node_posts.add_pending, transactions=transactions, now=self._seconds()))

    async def drop_pending(self, tx_ids: Sequence[str]) -> None:
        """Forget pending transactions."""
        await self._write(partial(node_posts.drop_pending, tx_ids=tx_ids))

    async def set_aside(self, path: str, body: bytes, reason: str) -> None:
        """Store a post that cannot be read."""
        store = partial(node_posts.set_aside, path=path, body=body, reason=reason)
        await self._write(partial(store, now=self._seconds()))

    async def blocks_after(self, number: int) -> Sequence[StoredBlock]:
        """Return the blocks with a larger number, oldest first."""
        return await self._read(partial(node_posts.blocks_after, number=number))

    async def body(self, block_hash: str) -> bytes | None:
        """Return a block's body; None when it is not stored, or was contradicted."""
        return await self._read(partial(node_posts.body, block_hash=block_hash))

    async def pending(self) -> Sequence[tuple[str, bytes]]:
        """Return the pending transactions, newest first."""
        return await self._read(node_posts.pending)

    async def put_aside(self) -> SetAside | None:
        """Return what is to be said of the posts that were set aside."""
        return await self._read(node_posts.put_aside)

    def _seconds(self) -> int:
        return int(self._now())

    async def _write(self, work: Callable[[Connection], _T]) -> _T:
        return await run_transaction(self._database.transact, work)

    async def _read(self, work: Callable[[Connection], _T]) -> _T:
        def read() -> _T:
            with self._database.read() as connection:
                return work(connection)

        return await run_in_thread(read)
