"""What a reindex and the acceptance of a reorg work with."""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from chain.block_fetcher import BlockFetcher
from chain.model import FetchRules
from contracts.model import PaymentRules
from watcher.indexer.settler import Settler
from watcher.reindex.retrying_source import Sources
from watcher.store.database import Database

#: Blocks per transaction, and batches that are fetched ahead.
BATCH_BLOCKS = 50
PREFETCH_BATCHES = 4

_Message = TypeVar("_Message")


@dataclass(eq=False)
class BlockJob(ABC, Generic[_Message]):
    """Work on blocks that are read again. ``now`` is this machine's clock, ``show`` gets its progress."""

    database: Database
    rules: PaymentRules
    settler: Settler
    sources: Sources
    fetch_rules: FetchRules
    now: Callable[[], float] = field(default=time.time, kw_only=True)
    show: Callable[[_Message], None] = field(default=lambda _: None, kw_only=True)

    def __post_init__(self) -> None:
        self.fetcher = BlockFetcher(self.fetch_rules, batch=BATCH_BLOCKS, prefetch=PREFETCH_BATCHES)
        self.sources.on_wait = self.report_wait

    @abstractmethod
    async def report_wait(self, reason: str) -> None:
        """Show why the job waits for a source."""
