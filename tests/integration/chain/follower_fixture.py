"""A consumer that applies steps like the ledger, and a scripted chain's true blocks to compare it with."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from typing import Any

from chain.api.client import StacksApi
from chain.directed import Interests
from chain.follower import Follower
from chain.header_window import HeaderWindow
from chain.model import (
    STX,
    Block,
    BlockHeader,
    ContractCall,
    Event,
    Extend,
    FetchRules,
    MintEvent,
    PrintEvent,
    Step,
    Transaction,
    TransferEvent,
    TxStatus,
    UnknownWord,
)
from chain.source import ChainSource
from chain.source_pool import SourcePool
from chain.testing import ScriptedApi, ScriptedBlock, ScriptedChain, Shape
from chain.testing.tx import Tx

POLL = 5.0
FINALITY = 6


class Clock:
    """A monotonic clock that a test, or a sleep on it, moves forward."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


def true_events(tx: Tx) -> tuple[Event, ...]:
    """Return a transaction's events, straight from the script."""
    events: list[Event] = []
    for rank, event in enumerate(tx.events):
        match event.kind, event.action:
            case (("ft_asset" | "stx_asset"), "transfer"):
                assert event.sender is not None
                assert event.recipient is not None
                events.append(
                    TransferEvent(
                        rank=rank,
                        asset=event.asset if event.kind == "ft_asset" else STX,
                        sender=event.sender,
                        recipient=event.recipient,
                        amount=event.amount,
                        memo=event.memo if event.kind == "stx_asset" else None,
                    )
                )
            case "ft_asset", "mint":
                assert event.recipient is not None
                events.append(
                    MintEvent(rank=rank, asset=event.asset, recipient=event.recipient, amount=event.amount)
                )
            case "contract_log", _:
                events.append(PrintEvent(rank=rank, contract_id=event.contract_id, value=event.value))
    return tuple(events)


def true_block(block: ScriptedBlock, rules: FetchRules) -> Block:
    """Return the block that a reader must make of a scripted one."""
    found = []
    for index, tx in enumerate(block.txs):
        watched = tx.contract_id in rules.watched_contracts and tx.kind == "contract_call"
        status = TxStatus(tx.status) if tx.status in set(TxStatus) else TxStatus.UNKNOWN
        may_move = status in (TxStatus.SUCCESS, TxStatus.UNKNOWN) and not tx.is_system
        if not may_move and not watched:
            continue
        call = None
        if tx.kind == "contract_call":
            assert tx.contract_id is not None
            assert tx.function is not None
            call = ContractCall(
                contract_id=tx.contract_id, function=tx.function, args=tx.args if watched else None
            )
        found.append(
            Transaction(
                tx_id=tx.tx_id,
                tx_index=index,
                sender=tx.sender,
                status=status,
                call=call,
                events=true_events(tx),
            )
        )
    unknown = {UnknownWord("status", tx.status) for tx in block.txs if tx.status not in set(TxStatus)}
    return Block(header=block.header, transactions=tuple(found), unknown=frozenset(unknown))


class FollowerFixture:
    """A follower over real sockets, with a consumer that keeps blocks in a list; ``options`` of the pool."""

    def __init__(
        self,
        chain: ScriptedChain,
        apis: Sequence[ScriptedApi],
        *,
        rules: FetchRules | None = None,
        batch: int = 50,
        ahead: int = 4,
        poll: float = POLL,
        sources: Sequence[ChainSource] | None = None,
        clock: Clock | None = None,
        **options: Any,
    ) -> None:
        self.chain = chain
        self.apis = apis
        self.rules = rules or FetchRules()
        self.clock = clock or Clock()
        #: By default the servers of ``apis``.
        self.sources = sources or [StacksApi(api.url) for api in apis]
        self.pool = SourcePool(
            self.sources, clock=self.clock, sleep=self.clock.sleep, rng=lambda: 0.5, **options
        )
        self.batch, self.ahead, self.poll = batch, ahead, poll
        self.follower = self.make_follower(HeaderWindow())
        #: The contents of a database: the headers of bootstrap, and the blocks above the first cursor, oldest
        #: first.
        self.stored: tuple[BlockHeader, ...] = ()
        self.cursor: BlockHeader | None = None
        self.blocks: list[Block] = []
        self.steps: list[Step] = []
        #: Called before a step is committed; may raise.
        self.before_commit: Callable[[Step], None] | None = None

    def make_follower(self, window: HeaderWindow, *, interests: Interests | None = None) -> Follower:
        return Follower(
            self.pool,
            window,
            self.rules,
            poll_interval=self.poll,
            finality_burn_blocks=FINALITY,
            batch=self.batch,
            prefetch=self.ahead,
            interests=interests,
            clock=self.clock,
        )

    async def start(self, height: int | None = None) -> None:
        self.stored = await self.follower.bootstrap(height)
        self.cursor = self.stored[-1]

    def apply(self, step: Step) -> None:
        """Apply a step like the ledger, and refuse what the ledger would refuse."""
        assert self.cursor is not None
        if self.before_commit is not None:
            self.before_commit(step)
        if not isinstance(step, Extend):
            assert step.ancestor in [*self.stored, *(block.header for block in self.blocks)]
            self.blocks = [block for block in self.blocks if block.header.height <= step.ancestor.height]
            if step.ancestor.height < self.cursor.height:
                # A fork below the first cursor, among the headers that bootstrap stored.
                self.cursor = step.ancestor
        last = self.blocks[-1].header if self.blocks else self.cursor
        for block in step.blocks:
            assert (block.header.parent_hash, block.header.height) == (last.hash, last.height + 1)
            last = block.header
        assert step.tip.height >= last.height
        self.blocks += step.blocks
        self.steps.append(step)

    async def poll_once(self, *, passed: float | None = None) -> list[Step]:
        """Let time pass (default: a poll interval), poll once and commit the steps."""
        self.clock.now += self.poll if passed is None else passed
        taken = len(self.steps)
        async with aclosing(self.follower.poll()) as steps:
            async for step in steps:
                self.apply(step)
        self.check()
        return self.steps[taken:]

    async def settle(self, *, polls: int = 12) -> None:
        """Poll, with long pauses, until the consumer holds the canonical chain."""
        for _ in range(polls):
            await self.poll_once(passed=600)
            if self.is_current():
                return
        raise AssertionError(f"still at {self.follower.window.tip}, not at {self.chain.tip}")

    def check(self) -> None:
        """Check that the window ends at the consumer's newest block."""
        last = self.blocks[-1].header if self.blocks else self.cursor
        assert self.follower.window.tip == last

    def is_current(self) -> bool:
        assert self.cursor is not None
        return self.blocks == self.truth()

    def truth(self) -> list[Block]:
        assert self.cursor is not None
        return [
            true_block(block, self.rules)
            for block in self.chain.blocks
            if block.header.height > self.cursor.height
        ]

    def forget_requests(self) -> None:
        for api in self.apis:
            api.clear()


@asynccontextmanager
async def following(
    chain: ScriptedChain,
    *,
    sources: int = 1,
    start: int | None = None,
    rules: FetchRules | None = None,
    batch: int = 50,
    ahead: int = 4,
    version: str = "9.0",
    shape: Shape | None = None,
    **options: Any,
) -> AsyncIterator[FollowerFixture]:
    """A fixture with ``sources`` servers of ``chain``, begun at ``start`` or the tip; its ``options``."""
    async with AsyncExitStack() as stack:
        apis = [
            await stack.enter_async_context(ScriptedApi(chain, version=version, ping_interval=None))
            for _ in range(sources)
        ]
        for api in apis:
            api.shape = shape or api.shape
        rig = FollowerFixture(chain, apis, rules=rules, batch=batch, ahead=ahead, **options)
        stack.push_async_callback(rig.pool.aclose)
        await rig.start(start)
        rig.forget_requests()
        yield rig
