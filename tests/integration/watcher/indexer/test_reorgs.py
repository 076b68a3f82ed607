"""Reorgs of depth 1, 10 and 300, before and after success, under both behaviours of the API."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest
from sqlalchemy import select

from chain.testing import ScriptedApi, ScriptedChain, principal, txs
from chain.testing.tx import Tx
from notifier.schema import event as event_table
from tests import harness
from watcher.domain.model import Intent, Status
from watcher.indexer.loop import IndexerLoop, PollResult
from watcher.store.database import Database
from watcher.store.schema import intent as intent_table

START = 1_800_000_000
PAYER = principal("payer")

Keep = Literal["stale", "follow"]


@dataclass
class Stage:
    """A chain with one paid intent below its tip, and a daemon that follows it."""

    chain: ScriptedChain
    api: ScriptedApi
    clock: harness.Clock
    database: Database
    following: IndexerLoop
    intent: Intent

    async def catch_up(self) -> None:
        """Look until the daemon is where the chain is."""
        for _ in range(20):
            self.clock.now += 6
            turn = await self.following.poll()
            cursor = self.following._ledger.cursor()
            if turn is PollResult.IDLE and cursor is not None and cursor.clock.hash == self.chain.tip.hash:
                return
        raise AssertionError("the daemon did not catch up")

    async def pay(self, depth: int) -> tuple[int, Tx]:
        """Pay the intent, to this depth, and catch up; return the height below, and the payment."""
        at = self.chain.tip.height
        payment = pay(self.intent)
        self.chain.mine([payment], burn=True)
        if depth > 1:
            self.chain.mine(n=depth - 1)
        await self.catch_up()
        return at, payment

    def status(self) -> Status:
        with self.database.read() as connection:
            row = connection.execute(
                select(intent_table.c.status).where(intent_table.c.id == self.intent.id)
            ).one()
        return Status(row.status)

    def halted(self) -> dict[str, Any]:
        cursor = self.following._ledger.cursor()
        assert cursor is not None
        assert cursor.halted is not None
        return cursor.halted

    def sent_events(self) -> list[tuple[str, str | None]]:
        """Return (type, reason) of every event, in order, without the opt-in ones that only accompany."""
        query = select(event_table.c.type, event_table.c.reason).order_by(event_table.c.sequence)
        with self.database.read() as connection:
            return [(row.type.removeprefix("payment."), row.reason) for row in connection.execute(query)]


@asynccontextmanager
async def stage(folder: Path, keep: Keep, *, level: str) -> AsyncIterator[Stage]:
    chain = ScriptedChain(keep=keep, time=START)
    clock = harness.Clock(START)
    database = harness.open_database(folder)
    async with ScriptedApi(chain, ping_interval=None) as api:
        following, pool = harness.make_indexer(harness.make_ledger(database, clock), [api.url], clock)
        try:
            chain.mine(n=3)
            await following.poll()
            harness.add_merchant(database)
            intent = harness.intent_record("order", created_at=START, level=level, expires_at=START + 40_000)
            harness.add_intents(database, [intent])
            yield Stage(chain, api, clock, database, following, intent)
        finally:
            await pool.aclose()
            database.close()


def pay(intent: Intent) -> Tx:
    return txs.sbtc_transfer(PAYER, intent.recipient, intent.amount, intent.reference.encode())


def replace(chain: ScriptedChain, at: int, first: list[Tx], *, depth: int, keep: Keep) -> None:
    """Put another branch on height ``at``: longer by one (``stale``), shorter by up to two (``follow``)."""
    branch = chain.fork(at)
    branch.mine(first, burn=True, seconds=3)
    blocks = depth + 1 if keep == "stale" else max(1, depth - 2)
    if blocks > 1:
        branch.mine(n=blocks - 1, seconds=3)
    branch.promote()


pytestmark = pytest.mark.usefixtures("backend")

CASES = pytest.mark.parametrize("depth", [1, 10, 300])
KEEPS = pytest.mark.parametrize("keep", ["stale", "follow"])


@CASES
@KEEPS
async def test_a_payment_undone_before_success_is_as_if_never_seen(
    tmp_path: Path, depth: int, keep: Keep
) -> None:
    """Rows 3 and 7: processing goes back to pending, and no verdict is sent."""
    async with stage(tmp_path, keep, level="anchored") as s:
        at, _ = await s.pay(depth)
        assert s.status() is Status.PROCESSING
        replace(s.chain, at, [], depth=depth, keep=keep)
        await s.catch_up()
        assert s.status() is Status.PENDING
        assert s.sent_events() == [("created", None), ("processing", None)]


@CASES
@KEEPS
async def test_a_payment_mined_again_after_success_sends_nothing(
    tmp_path: Path, depth: int, keep: Keep
) -> None:
    """Rows 6 and 6a in one step: the success stays, nothing is sent twice."""
    async with stage(tmp_path, keep, level="included") as s:
        at, payment = await s.pay(depth)
        assert s.status() is Status.SUCCEEDED
        before = s.sent_events()
        replace(s.chain, at, [payment], depth=depth, keep=keep)
        await s.catch_up()
        assert s.status() is Status.SUCCEEDED
        assert s.sent_events() == before == [("created", None), ("succeeded", None)]


@CASES
@KEEPS
async def test_a_success_that_is_dropped_for_good_fails_after_the_grace(
    tmp_path: Path, depth: int, keep: Keep
) -> None:
    """Rows 6 and 6b: processing and attention at once, ``payment.failed`` {reorged} after ``reorg_grace``."""
    async with stage(tmp_path, keep, level="included") as s:
        at, _ = await s.pay(depth)
        replace(s.chain, at, [], depth=depth, keep=keep)
        await s.catch_up()
        assert s.status() is Status.PROCESSING
        s.chain.mine(seconds=s.intent.reorg_grace - 600)
        await s.catch_up()
        assert s.status() is Status.PROCESSING
        s.chain.mine(seconds=3000)
        await s.catch_up()
        assert s.status() is Status.FAILED
        assert s.sent_events() == [
            ("created", None),
            ("succeeded", None),
            ("attention", "reorged"),
            ("failed", "reorged"),
        ]


@CASES
@KEEPS
async def test_a_payment_mined_again_later_in_the_grace_sends_nothing_more(
    tmp_path: Path, depth: int, keep: Keep
) -> None:
    """Row 6a: mined again in a later block, after the attention that it was gone."""
    async with stage(tmp_path, keep, level="included") as s:
        at, payment = await s.pay(depth)
        replace(s.chain, at, [], depth=depth, keep=keep)
        await s.catch_up()
        s.chain.mine([payment], seconds=600)
        await s.catch_up()
        assert s.status() is Status.SUCCEEDED
        assert s.sent_events() == [("created", None), ("succeeded", None), ("attention", "reorged")]


@KEEPS
async def test_a_transaction_that_fails_on_the_new_branch_takes_its_success_back(
    tmp_path: Path, keep: Keep
) -> None:
    """Row 6b: the same transaction aborts on the other branch, at the required depth."""
    async with stage(tmp_path, keep, level="included") as s:
        at = s.chain.tip.height
        payment = pay(s.intent)
        s.chain.mine([payment], burn=True)
        await s.catch_up()
        replace(s.chain, at, [payment.failed()], depth=1, keep=keep)
        await s.catch_up()
        assert s.status() is Status.FAILED
        assert s.sent_events() == [("created", None), ("succeeded", None), ("failed", "reorged")]


async def test_a_source_that_lags_undoes_nothing(tmp_path: Path) -> None:
    """A lower tip and unknown blocks are not evidence."""
    async with stage(tmp_path, "stale", level="included") as s:
        s.chain.mine([pay(s.intent)], n=5)
        await s.catch_up()
        before = s.sent_events()
        s.api.lag(4)
        for _ in range(5):
            s.clock.now += 6
            await s.following.poll()
        assert s.status() is Status.SUCCEEDED
        assert s.sent_events() == before
        s.api.lag(0)
        s.chain.mine()
        await s.catch_up()


async def test_a_fork_below_finality_halts_until_the_chain_is_back(tmp_path: Path) -> None:
    """Promise 4: nothing moves, the reason is kept for operators, and it heals by itself."""
    async with stage(tmp_path, "follow", level="included") as s:
        at = s.chain.tip.height
        s.chain.mine([pay(s.intent)], n=10, burn=True)
        await s.catch_up()
        ours = s.chain.tip
        branch = s.chain.fork(at)
        branch.mine(n=12, burn=True)
        branch.promote()
        turns = set()
        for _ in range(4):
            s.clock.now += 6
            turns.add(await s.following.poll())
        assert PollResult.HALTED in turns
        cursor = s.following._ledger.cursor()
        assert cursor is not None
        assert cursor.halted is not None
        assert cursor.halted["code"] == "reorg_too_deep"
        assert cursor.clock.hash == ours.hash
        assert s.status() is Status.SUCCEEDED
        back = s.chain.fork(ours.hash, keep="follow")
        back.mine(n=1, burn=True)
        back.promote()
        await s.catch_up()
        cursor = s.following._ledger.cursor()
        assert cursor is not None
        assert cursor.halted is None


async def test_money_taken_after_the_chain_s_time_went_back_is_still_missed(tmp_path: Path) -> None:
    """A shorter branch may be older than the success; what it takes afterwards is taken back all the same."""
    async with stage(tmp_path, "follow", level="included") as s:
        below = s.chain.tip.height
        paid = s.chain.mine([pay(s.intent)])
        s.chain.mine(seconds=1000)
        await s.catch_up()
        assert s.status() is Status.SUCCEEDED
        earlier = s.chain.fork(paid.height)
        earlier.mine(seconds=10)
        earlier.promote()
        await s.catch_up()
        assert s.status() is Status.SUCCEEDED
        without = s.chain.fork(below)
        without.mine(n=2, seconds=10)
        without.promote()
        await s.catch_up()
        assert s.status() is Status.PROCESSING
        assert s.sent_events()[-1] == ("attention", "reorged")


async def test_a_halt_is_kept_through_a_hiccup_and_a_restart(tmp_path: Path) -> None:
    """Promise 4: a halt is not forgotten because a source is silent or the daemon is new."""
    async with stage(tmp_path, "follow", level="included") as s:
        at = s.chain.tip.height
        s.chain.mine(n=10, burn=True)
        await s.catch_up()
        branch = s.chain.fork(at)
        branch.mine(n=12, burn=True)
        branch.promote()
        turns = []
        for _ in range(4):
            s.clock.now += 6
            turns.append(await s.following.poll())
        assert turns[-1] is PollResult.HALTED
        since = s.halted()["since"]
        s.api.faults.fail(503)
        s.clock.now += 6
        assert await s.following.poll() is PollResult.WAITING
        assert s.halted()["since"] == since
        restarted, pool = harness.make_indexer(harness.make_ledger(s.database, s.clock), [s.api.url], s.clock)
        s.clock.now += 600
        await restarted.poll()
        assert s.halted()["since"] == since
        await pool.aclose()
