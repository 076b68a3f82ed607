"""Follower under random forks and faults: its steps lead to the canonical chain once servers recover."""

import asyncio
from dataclasses import dataclass

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chain.errors import ChainError
from chain.model import FetchRules, Reorg, Step
from chain.testing import VERSIONS, ScriptedChain, principal, txs
from chain.testing.scripted import Keep
from chain.testing.tx import Tx
from chain.testing.txs import SBTC_CONTRACT
from tests.integration.chain.follower_fixture import POLL, FollowerFixture, following

PAYER, MERCHANT = principal("payer"), principal("merchant")
WATCHING = FetchRules(watched_contracts=frozenset({SBTC_CONTRACT}))


class ConsumerFailed(Exception):
    """Failure of the consumer to commit a step."""


@dataclass(frozen=True)
class Mine:
    blocks: int
    payments: int


@dataclass(frozen=True)
class Fork:
    depth: int
    blocks: int
    keep: Keep
    #: Mine the orphaned payments again, with another outcome.
    again: bool


@dataclass(frozen=True)
class Lag:
    source: int
    blocks: int


@dataclass(frozen=True)
class Freeze:
    source: int
    on: bool


@dataclass(frozen=True)
class Fail:
    source: int
    how: str
    route: str
    times: int


#: Lowest height of a fork: one block lower, and the first orphan would be six Bitcoin blocks deep, which is
#: final. Several forks in a row reach deeper than each of them.
LOWEST = 115


@dataclass(frozen=True)
class Become:
    """The server is upgraded, or its operator switches the deprecated routes off."""

    source: int
    version: str


@dataclass(frozen=True)
class BecomeAt:
    """The same right before a request is answered."""

    source: int
    route: str
    nth: int
    version: str


@dataclass(frozen=True)
class ForkAt:
    """Fork right before a request is answered."""

    source: int
    route: str
    nth: int
    fork: Fork


@dataclass(frozen=True)
class Turn:
    passed: float
    #: Steps after which the consumer fails to commit; None: never.
    breaks_after: int | None


routes = st.sampled_from(
    [
        *("transactions", "blocks", "block", "block_transactions", "tx_multiple"),
        *("blocks_v3", "block_v3", "transaction", "transaction_events"),
    ]
)
versions = st.sampled_from(sorted(VERSIONS))
source = st.integers(0, 1)
forks = st.builds(
    Fork,
    depth=st.integers(0, 40),
    blocks=st.integers(0, 45),
    keep=st.sampled_from(["stale", "follow", "instant"]),
    again=st.booleans(),
)
turns = st.builds(
    Turn,
    passed=st.sampled_from([0.0, POLL, POLL, 40.0, 600.0]),
    breaks_after=st.sampled_from([None, None, None, 0, 1]),
)
actions = st.one_of(
    st.builds(Mine, blocks=st.integers(1, 60), payments=st.integers(0, 4)),
    turns,
    turns,
    forks,
    st.builds(Lag, source=source, blocks=st.integers(0, 12)),
    st.builds(Freeze, source=source, on=st.booleans()),
    st.builds(
        Fail,
        source=source,
        how=st.sampled_from(["fail", "html", "truncate", "cut", "disconnect"]),
        route=routes,
        times=st.integers(1, 3),
    ),
    st.builds(ForkAt, source=source, route=routes, nth=st.integers(1, 4), fork=forks),
    st.builds(Become, source=source, version=versions),
    st.builds(BecomeAt, source=source, route=routes, nth=st.integers(1, 4), version=versions),
)


class Story:
    """Plays actions on a chain that two servers show to one follower."""

    def __init__(self, chain: ScriptedChain, rig: FollowerFixture) -> None:
        self.chain = chain
        self.rig = rig
        self.paid = 0
        self.forked = False
        self.ended = False

    def payments(self, count: int) -> list[Tx]:
        self.paid += count
        return [
            txs.sbtc_transfer(PAYER, MERCHANT, amount, memo=b"INV")
            for amount in range(self.paid - count + 1, self.paid + 1)
        ]

    def fork(self, fork: Fork) -> None:
        self.forked = True
        tip = self.chain.tip.height
        ancestor = max(LOWEST, tip - fork.depth)
        orphans = [
            tx.failed()
            for block in self.chain.blocks
            if block.header.height > ancestor
            for tx in block.txs
            if not tx.is_system
        ]
        branch = self.chain.fork(ancestor, keep=fork.keep)
        if fork.blocks:
            branch.mine(orphans if fork.again else ())
        if fork.blocks > 1:
            branch.mine(n=fork.blocks - 1)
        if fork.keep == "follow":
            branch.promote()

    async def play(self, action: object) -> None:
        apis = self.rig.apis
        match action:
            case Mine(blocks=blocks, payments=payments):
                for _ in range(blocks):
                    self.chain.mine(self.payments(payments))
            case Fork():
                self.fork(action)
            case Lag(source=source, blocks=blocks):
                apis[source].lag(blocks)
            case Freeze(source=source, on=True):
                apis[source].freeze()
            case Freeze(source=source):
                apis[source].thaw()
            case Fail(source=source, how=how, route=route, times=times):
                getattr(apis[source].faults, how)(route=route, times=times)
            case ForkAt(source=source, route=route, nth=nth, fork=fork):
                apis[source].before(route, lambda _: None if self.ended else self.fork(fork), nth=nth)
            case Become(source=source, version=version):
                apis[source].become(version)
            case BecomeAt(source=source, route=route, nth=nth, version=version):
                apis[source].before(route, lambda _: apis[source].become(version), nth=nth)
            case Turn(passed=passed, breaks_after=breaks_after):
                await self.turn(passed, breaks_after)

    async def turn(self, passed: float, breaks_after: int | None) -> None:
        left = breaks_after

        def commit(_: Step) -> None:
            nonlocal left
            if left is not None:
                if left == 0:
                    raise ConsumerFailed
                left -= 1

        self.rig.before_commit = commit
        try:
            await self.rig.poll_once(passed=passed)
        except (ChainError, ConsumerFailed):
            self.rig.check()
        finally:
            self.rig.before_commit = None


async def tell(history: list[object], batch: int, version: str) -> None:
    chain = ScriptedChain()
    chain.mine(n=20, burn=True)
    chain.mine(n=50)
    async with following(chain, sources=2, rules=WATCHING, batch=batch, version=version) as rig:
        story = Story(chain, rig)
        for action in history:
            await story.play(action)
            assert story.forked or not any(isinstance(step, Reorg) for step in rig.steps)
        story.ended = True
        for api in rig.apis:
            api.lag(0)
            api.thaw()
            api.faults.clear()
        chain.mine(story.payments(1))
        await rig.settle(polls=40)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(history=st.lists(actions, max_size=14), batch=st.sampled_from([1, 7, 50]), version=versions)
def test_the_steps_always_lead_to_the_canonical_chain(
    history: list[object], batch: int, version: str
) -> None:
    asyncio.run(tell(history, batch, version))
