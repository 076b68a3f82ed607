"""The interface of the store of what a node posts; the daemon's is ``watcher.indexer.node_inbox``."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from chain.model import BlockHeader


class Added(StrEnum):
    """The outcome of adding a block."""

    NEW = "new"
    #: The same block was stored before.
    KNOWN = "known"
    #: Another body is stored for this block, in which only the order may differ.
    DIFFERENT = "different"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredBlock:
    """The place of a stored block in the tree of blocks."""

    #: Grows with each block stored, nearly in the order of arrival.
    number: int
    hash: str
    parent_hash: str
    height: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SetAside:
    """The posts that are not used: how many are kept, and the newest one's reason and time (unix s)."""

    count: int
    reason: str
    at: int


class Inbox(Protocol):
    """Stores what a node posts; each method returns when it is committed.

    Adding twice changes nothing. What is oldest is deleted when a kind has too many rows or bytes. Errors of
    the store are raised as they are.
    """

    async def add_block(self, header: BlockHeader, tx_ids: Sequence[str], body: bytes) -> Added:
        """Store the body of a ``/new_block``; its transactions are pending no more."""

    async def contradict(self, block_hash: str) -> None:
        """Note that the bodies posted of a block are not believed any more: two of them say different things,
        or the node's RPC says another thing."""

    async def add_burn_block(self, block_hash: str, height: int) -> bool:
        """Store a Bitcoin block; return whether another one of its height is stored: Bitcoin forked."""

    async def add_pending(self, transactions: Sequence[tuple[str, bytes]]) -> None:
        """Store pending transactions: ids and signed bytes."""

    async def drop_pending(self, tx_ids: Sequence[str]) -> None:
        """Forget pending transactions."""

    async def set_aside(self, path: str, body: bytes, reason: str) -> None:
        """Store a post that cannot be read, so that a person can look at it."""

    async def blocks_after(self, number: int) -> Sequence[StoredBlock]:
        """Return the blocks with a larger number, oldest first."""

    async def body(self, block_hash: str) -> bytes | None:
        """Return a block's body; None when it is not stored (any more), or was contradicted."""

    async def pending(self) -> Sequence[tuple[str, bytes]]:
        """Return the pending transactions, newest first."""

    async def put_aside(self) -> SetAside | None:
        """Return what is to be said of the posts that are not used; None without any."""
