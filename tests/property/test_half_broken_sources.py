"""Mixtures of lag, denial, failures and latency over two and three sources, one of which may lie.

Honest sources show one chain, each some blocks behind, each failing and slow in its own measure. The liar
shows a branch of its own with a payment that never happened. A large intent of either kind is paid: one on
the true chain, one on the false branch only.
"""

import asyncio
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, event, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from chain.testing import ScriptedApi, ScriptedChain, principal, txs
from chain.testing.faults import Fault, Faults
from notifier.schema import event as event_table
from tests import harness
from watcher.domain.server_info import ServerInfo
from watcher.indexer.loop import PollResult
from watcher.indexer.verifier import Verifier
from watcher.services import queries
from watcher.store import chain_state

START = 1_800_000_000
PAYER = principal("payer")
POLL = 5.0
#: Seconds within which a source must have answered to have a say, see ``chain.fork_choice``.
RECENT = 60.0
#: Polls after which mended sources must have brought the truth: back-off is at most a few minutes.
MAX_POLLS_TO_MEND = 80

conditions = st.fixed_dictionaries(
    {
        "lag": st.integers(0, 5),
        #: Requests that fail before one succeeds: at most three of four.
        "fails": st.integers(0, 3),
        "latency": st.sampled_from([0, 0, 1, 3]),
    }
)
liars = st.fixed_dictionaries(
    {
        "place": st.integers(0, 2),
        #: Our blocks that it denies.
        "depth": st.integers(0, 4),
        "blocks": st.integers(1, 6),
        "condition": conditions,
        #: Polls before it begins to lie.
        "after": st.integers(0, 3),
    }
)
acts = st.lists(st.sampled_from(["mine", "burn", "reorg", "wait"]), min_size=2, max_size=8)
situations = st.fixed_dictionaries(
    {
        "honest": st.lists(conditions, min_size=1, max_size=2),
        "liar": st.one_of(st.none(), liars, liars),
        "acts": acts,
    }
)


class Flaky(Faults):
    """A server that fails some requests before it answers one, and takes seconds of the test's clock."""

    def __init__(self, condition: dict[str, int], clock: harness.Clock) -> None:
        super().__init__()
        self.condition = condition
        self.clock = clock
        self.count = 0
        self.answered_at = clock()

    def take(self, route: str) -> Fault | None:
        self.clock.now += self.condition["latency"]
        self.count += 1
        if self.count % (self.condition["fails"] + 1):
            return Fault(status=503)
        self.answered_at = self.clock()
        return None


class Situation:
    """The daemon's loop and verifier over these sources; ``truth`` is what honest ones show."""

    def __init__(self, folder: Path, situation: dict[str, Any]) -> None:
        self.situation = situation
        self.clock = harness.Clock(START)
        self.truth = ScriptedChain(time=START)
        self.database = harness.open_database(folder)
        self.ledger = harness.make_ledger(self.database, self.clock)
        self.honest: list[ScriptedApi] = []
        self.liar: ScriptedApi | None = None
        self.halts = 0

    async def start(self, stack: AsyncExitStack) -> None:
        harness.add_merchant(self.database)
        self.honest = [
            await stack.enter_async_context(ScriptedApi(self.truth, ping_interval=None))
            for _ in self.situation["honest"]
        ]
        apis = list(self.honest)
        if (liar := self.situation["liar"]) is not None:
            self.liar = await stack.enter_async_context(ScriptedApi(self.truth, ping_interval=None))
            apis.insert(min(liar["place"], len(apis)), self.liar)
        self.following, pool = harness.make_indexer(self.ledger, [api.url for api in apis], self.clock)
        stack.push_async_callback(pool.aclose)
        self.verifier = Verifier(
            self.ledger, pool, harness.WATCHED, interval=POLL, clock=self.clock, sleep=self.clock.sleep
        )
        self.truth.mine(n=6)
        await self.poll()
        fields = {"asset": "stx", "asset_identifier": "STX", "amount": 1_000, "two_sources": True}
        records = [
            harness.intent_record(name, created_at=START, expires_at=START + 10**6, **fields)
            for name in ("true", "false")
        ]
        harness.add_intents(self.database, records)
        self.payment = txs.stx_transfer(PAYER, harness.SHOP, 1_000, b"TRUE")
        self.truth.mine([self.payment])
        for api, condition in zip(self.honest, self.situation["honest"], strict=True):
            api.faults = Flaky(condition, self.clock)
            api.lag(condition["lag"])

    def begin_to_lie(self) -> None:
        liar = self.situation["liar"]
        assert self.liar is not None
        lie = self.truth.clone()
        branch = lie.fork(lie.tip.height - liar["depth"], keep="follow")
        branch.mine([txs.stx_transfer(PAYER, harness.SHOP, 1_000, b"FALSE")], n=1)
        branch.mine(n=liar["blocks"] + liar["depth"])
        branch.promote()
        self.liar.chain = lie
        self.liar.faults = Flaky(liar["condition"], self.clock)
        self.liar.lag(liar["condition"]["lag"])

    async def act(self, act: str) -> None:
        match act:
            case "mine":
                self.truth.mine(seconds=11)
            case "burn":
                self.truth.mine(burn=True, seconds=12)
            case "reorg":
                self.truth.reorg(2, [[], [], []])
        for _ in range(3):
            await self.poll()

    async def poll(self) -> PollResult:
        self.clock.now += POLL
        known = self.chain()
        true = {block.header.hash for block in self.truth.blocks}
        had_a_say = any(
            isinstance(api.faults, Flaky) and self.clock() - api.faults.answered_at < RECENT / 2
            for api in self.honest
        )
        result = await self.following.poll()
        await self.verifier.poll()
        self.halts += result is PollResult.HALTED
        lost = {height: known[height] for height in known if self.chain().get(height) != known[height]}
        if had_a_say:
            assert not true & set(lost.values()), "rolled back against an honest source's word"
        return result

    def chain(self) -> dict[int, str]:
        """Return the hashes of our chain by height."""
        with self.database.read() as connection:
            if chain_state.load_cursor(connection) is None:
                return {}
            return chain_state.canonical_hashes(connection, 0, 10**6)

    def is_current(self) -> bool:
        cursor = self.ledger.cursor()
        return cursor is not None and cursor.clock.hash == self.truth.tip.hash

    def status(self, name: str) -> str:
        with self.database.read() as connection:
            return str(
                queries.intent(connection, f"pi_{name}", server_info=ServerInfo(network="mainnet"))["status"]
            )

    def successes(self) -> list[str]:
        with self.database.read() as connection:
            rows = connection.execute(
                select(event_table.c.intent).where(event_table.c.type == "payment.succeeded")
            )
            return list(rows.scalars())

    def mend(self) -> None:
        """Let every source show the true chain at once."""
        for api in [*self.honest, *filter(None, [self.liar])]:
            api.faults = Faults()
            api.lag(0)
            api.chain = self.truth


async def live(folder: Path, description: dict[str, Any]) -> None:
    situation = Situation(folder, description)
    try:
        async with AsyncExitStack() as stack:
            await situation.start(stack)
            liar = description["liar"]
            for number, act in enumerate(description["acts"]):
                if liar is not None and number == min(liar["after"], len(description["acts"]) - 1):
                    situation.begin_to_lie()
                await situation.act(act)
                assert "pi_false" not in situation.successes(), "a false success"
            event(f"liar: {liar is not None}, halted: {situation.halts > 0}")
            if liar is None:
                assert situation.halts == 0, "honest sources need nobody to decide"
            situation.mend()
            situation.truth.mine(n=2, burn=True)
            seconded = len(situation.honest) + (liar is not None) > 1
            paid = situation.truth.mined_in(situation.payment.tx_id) is not None and seconded
            for _ in range(MAX_POLLS_TO_MEND):
                await situation.poll()
                if situation.is_current() and (situation.status("true") == "succeeded") is paid:
                    break
            assert situation.is_current()
            assert (situation.status("true") == "succeeded") is paid
            assert situation.successes().count("pi_true") <= 1
            assert situation.status("false") == "pending"
    finally:
        situation.database.close()


CALM = {"lag": 0, "fails": 0, "latency": 0}


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(description=situations)
@example(
    description={
        "honest": [CALM | {"fails": 2}],
        "liar": {"place": 0, "depth": 3, "blocks": 4, "condition": CALM, "after": 1},
        "acts": ["mine", "mine", "wait", "burn"],
    }
)
@example(description={"honest": [CALM | {"lag": 5}, CALM], "liar": None, "acts": ["reorg", "mine", "reorg"]})
def test_no_mixture_of_sources_makes_a_false_success_or_a_false_rollback(description: dict[str, Any]) -> None:
    """Nothing false is believed, only a real contradiction halts, and mended sources bring the truth."""
    with tempfile.TemporaryDirectory(prefix="sources-") as folder:
        asyncio.run(live(Path(folder), description))
