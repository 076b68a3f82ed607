"""A scripted part of a day at the tip: real HTTP and a real database, on its own timeline."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from chain.api.client import StacksApi
from chain.follower import MARGIN_BURN_BLOCKS, Follower
from chain.header_window import HeaderWindow
from chain.mempool import MempoolReader
from chain.source_pool import SourcePool
from chain.testing import ScriptedApi, ScriptedChain, Tx, principal, txs
from tests import harness
from tests.timeline import Timeline
from watcher.indexer.interests import StoredInterests
from watcher.indexer.loop import IndexerLoop
from watcher.indexer.mempool import MempoolFlags

#: A day on mainnet, roughly.
BLOCKS_A_DAY = 12_000
TXS_A_BLOCK = 3
#: Waiting at any time, and how many of them come and go with each block.
MEMPOOL, MEMPOOL_CHANGES = 60, 3

DAY = 86_400
#: Mean seconds between two blocks, and how the real gaps vary around it: bursts, and half a minute without a
#: block.
GAP = DAY / BLOCKS_A_DAY
GAPS = [factor * GAP for factor in (0.2, 0.2, 0.3, 0.5, 0.6, 0.8, 1.0, 1.2, 1.6, 3.6)]

PAYER = principal("payer")


class Resting:
    """A sleep that knows whether somebody sleeps in it."""

    def __init__(self, time: Timeline) -> None:
        self._time = time
        self.sleepers = 0

    async def __call__(self, seconds: float) -> None:
        self.sleepers += 1
        try:
            await self._time.sleep(seconds)
        finally:
            self.sleepers -= 1


class Sample:
    """What some time at the tip cost."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        #: Requests by route.
        self.requests: Counter[str] = Counter()
        #: Seconds between a block and its being read.
        self.delays: list[float] = []

    @property
    def a_day(self) -> int:
        """Requests in a day at this rate."""
        return round(self.requests.total() * DAY / self.seconds)

    @property
    def delay(self) -> float:
        """Mean seconds until a block is read."""
        return sum(self.delays) / len(self.delays)


class PacedChain:
    """A chain at its usual pace, and the parts of the daemon that ask its API."""

    def __init__(
        self,
        folder: Path,
        api: ScriptedApi,
        *,
        poll: float,
        mempool: bool,
        directed: bool,
        payments_a_day: int,
        budget: dict[str, Any],
    ) -> None:
        self.api, self.chain = api, api.chain
        self.time = Timeline()
        self.stop = asyncio.Event()
        self.database = harness.open_database(folder)
        self.ledger = harness.make_ledger(self.database, harness.Clock())
        self._follows, self._shows, self._paces = (Resting(self.time) for _ in range(3))
        self.pool = SourcePool([StacksApi(api.url)], clock=self.time, sleep=self._paces, **budget)
        self.follower = Follower(
            self.pool,
            HeaderWindow(),
            harness.WATCHED,
            poll_interval=poll,
            finality_burn_blocks=6,
            interests=StoredInterests(self.database, harness.RULES) if directed else None,
            clock=self.time,
        )
        self.following = IndexerLoop(
            self.ledger,
            self.follower,
            self.pool,
            network="mainnet",
            start_height=None,
            window_burn_blocks=6 + MARGIN_BURN_BLOCKS,
            poll_interval=poll,
            on_step=lambda step, *_: self._applied.extend(block.header.height for block in step.blocks),
            clock=self.time,
            sleep=self._follows,
        )
        self._parts: list[Callable[[asyncio.Event], Awaitable[None]]] = [self.following.run]
        if mempool:
            reader = MempoolReader(harness.WATCHED.watched_contracts)
            shows = MempoolFlags(
                self.database,
                self.pool,
                harness.RULES,
                reader,
                interval=15.0,
                clock=self.time,
                sleep=self._shows,
            )
            self._parts.append(shows.run)
        self._mempool = mempool
        self._applied: list[int] = []
        self._mined: dict[int, float] = {}
        self._number = 0
        #: One in so many transactions pays the merchant; 0: none.
        self._paying = BLOCKS_A_DAY * TXS_A_BLOCK // payments_a_day if payments_a_day else 0
        self._waiting: list[Tx] = []

    async def start(self) -> list[asyncio.Task[None]]:
        """Begin at the tip, with an intent that waits and a mempool."""
        harness.add_merchant(self.database)
        created = self.chain.tip.time
        harness.add_intents(
            self.database, [harness.intent_record("open", created_at=created, expires_at=created + DAY)]
        )
        for _ in range(MEMPOOL):
            self._waiting.append(self._some_tx())
            self.chain.add_pending(self._waiting[-1])
        tasks = [asyncio.ensure_future(part(self.stop)) for part in self._parts]
        await self.at_rest()
        return tasks

    async def live(self, seconds: float, *, socket: bool) -> Sample:
        """Let blocks come for so long; ``socket``: each one is announced."""
        sample = Sample(seconds)
        self.api.clear()
        begin = self.time.now
        next_block, blocks = begin + GAPS[0], 1
        while True:
            due = min([next_block, begin + seconds, *self.time.due])
            await self.time.advance(due - self.time.now)
            if self.time.now >= begin + seconds:
                break
            if self.time.now >= next_block:
                self._mine()
                next_block = self.time.now + GAPS[blocks % len(GAPS)]
                blocks += 1
                if socket:
                    self.following.wake()
            await self.at_rest()
            for height in self._applied:
                if height in self._mined:
                    sample.delays.append(self.time.now - self._mined.pop(height))
            self._applied.clear()
        sample.requests.update(self.api.counts)
        return sample

    async def at_rest(self) -> None:
        """Wait until every part sleeps."""
        async with asyncio.timeout(30):
            while True:
                for _ in range(20):
                    await asyncio.sleep(0)
                paced = self._paces.sleepers > 0
                if (self._follows.sleepers or paced) and (self._shows.sleepers or paced or not self._mempool):
                    return
                await asyncio.sleep(0.001)

    def _mine(self) -> None:
        chosen, self._waiting = self._waiting[:TXS_A_BLOCK], self._waiting[TXS_A_BLOCK:]
        burn = self._number % (84 * TXS_A_BLOCK) == 0
        header = self.chain.mine(chosen, burn=burn, time=self.chain.tip.time + round(GAP))
        self._mined[header.height] = self.time.now
        for _ in range(MEMPOOL_CHANGES):
            self._waiting.append(self._some_tx())
            self.chain.add_pending(self._waiting[-1])

    def _some_tx(self) -> Tx:
        """A third each: a transfer of STX, a transfer of sBTC, a call of some contract."""
        self._number += 1
        label, other = str(self._number), principal("somebody")
        if self._paying and self._number % self._paying == 0:
            return txs.sbtc_transfer(PAYER, harness.SHOP, 5, b"memo", label=label)
        match self._number % 3:
            case 0:
                return txs.stx_transfer(PAYER, other, 5, b"", label=label)
            case 1:
                return txs.sbtc_transfer(PAYER, other, 5, b"memo", label=label)
            case _:
                return txs.call(f"{other}.dex", "swap", PAYER, label=label)


async def sample(
    folder: Path,
    seconds: float,
    *,
    poll: float,
    socket: bool,
    mempool: bool,
    warm_up: float = 0.0,
    version: str = "9.0",
    directed: bool = True,
    payments_a_day: int = 0,
    **budget: Any,
) -> Sample:
    """Run the daemon's parts at the scripted pace for so long, after ``warm_up`` uncounted seconds."""
    async with ScriptedApi(ScriptedChain(), version=version, ping_interval=None) as api:
        paced = PacedChain(
            folder,
            api,
            poll=poll,
            mempool=mempool,
            directed=directed,
            payments_a_day=payments_a_day,
            budget=budget,
        )
        tasks = await paced.start()
        await paced.live(warm_up, socket=socket)
        found = await paced.live(seconds, socket=socket)
        paced.stop.set()
        await asyncio.gather(*tasks)
        await paced.pool.aclose()
        paced.database.close()
        return found


__all__ = ["BLOCKS_A_DAY", "DAY", "TXS_A_BLOCK", "Sample", "sample"]
