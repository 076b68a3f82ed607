"""Pending payments are shown, over real HTTP, and decide nothing."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import event as sqlalchemy_event
from sqlalchemy import select, update
from sqlalchemy.exc import OperationalError

from chain.api.client import StacksApi
from chain.mempool import MempoolReader
from chain.source_pool import SourcePool
from chain.testing import ScriptedApi, Tx, principal, txs
from notifier.schema import event
from tests import harness
from tests.integration.watcher.ledger_fixture import PAYER, SHOP, STRANGER, LedgerFixture
from tests.timeline import Timeline
from watcher.indexer.mempool import STALE_AFTER_INTERVALS, MempoolFlags
from watcher.store.schema import intent

INTERVAL = 15.0


class MempoolFixture:
    """The part that keeps the flags, beside a world."""

    def __init__(self, fixture: LedgerFixture, server: ScriptedApi, **budget: Any) -> None:
        self.fixture, self.server, self.chain = fixture, server, fixture.chain
        self.time = Timeline()
        self.pool = SourcePool([StacksApi(server.url)], clock=self.time, sleep=self.time.sleep, **budget)
        reader = MempoolReader(harness.WATCHED.watched_contracts)
        self.part = self.make(reader)

    def make(self, reader: MempoolReader | None) -> MempoolFlags:
        return MempoolFlags(
            self.fixture.database,
            self.pool,
            harness.RULES,
            reader,
            interval=INTERVAL,
            clock=self.time,
            sleep=self.time.sleep,
        )

    def pay(self, name: str, amount: int = 50_000, **extra: Any) -> Tx:
        tx = txs.sbtc_transfer(PAYER, SHOP, amount, self.fixture.memo(name), **extra)
        self.chain.add_pending(tx)
        return tx

    def shows(self, name: str) -> bool:
        return bool(self.fixture.show(name)["in_flight"])

    async def poll(self) -> None:
        self.time.now += INTERVAL
        await self.part.poll()


@pytest.fixture
async def rig(fixture: LedgerFixture) -> AsyncIterator[MempoolFixture]:
    async with ScriptedApi(fixture.chain, ping_interval=None) as server:
        rig = MempoolFixture(fixture, server)
        yield rig
        await rig.pool.aclose()


def terms(fixture: LedgerFixture, name: str) -> dict[str, Any]:
    """The terms that the payment contract is called with for an intent."""
    with fixture.database.read() as connection:
        row = connection.execute(select(intent).where(intent.c.id == name)).mappings().one()
    return {"expires_at": row["expires_at"], "salt": bytes(row["salt"])}


async def test_a_pending_payment_is_shown_until_it_is_mined(rig: MempoolFixture) -> None:
    name = rig.fixture.create()
    await rig.poll()
    assert not rig.shows(name)
    payment = rig.pay(name)
    await rig.poll()
    assert rig.shows(name)
    assert rig.fixture.status(name) == "pending"
    rig.fixture.mine(payment)
    assert (rig.fixture.status(name), rig.shows(name)) == ("succeeded", False)
    await rig.poll()
    with rig.fixture.database.read() as connection:
        assert connection.execute(select(intent.c.id).where(intent.c.in_flight)).all() == []


async def test_every_way_to_pay_is_recognized(rig: MempoolFixture) -> None:
    fixture = rig.fixture
    by_memo, by_stx = fixture.create(), fixture.create(asset="stx")
    by_contract = fixture.create()
    dedicated = fixture.create(match="recipient", recipient=principal("till"))
    rig.pay(by_memo)
    for tx in (
        txs.stx_transfer(PAYER, SHOP, 50_000, fixture.memo(by_stx)),
        txs.contract_payment(harness.PAYMENT_CONTRACT, PAYER, SHOP, 50_000, **terms(fixture, by_contract)),
        txs.sbtc_transfer(PAYER, principal("till"), 50_000, b"whatever"),
    ):
        rig.chain.add_pending(tx)
    other = fixture.create()
    await rig.poll()
    assert [rig.shows(name) for name in (by_memo, by_stx, by_contract, dedicated, other)] == [True] * 4 + [
        False
    ]


async def test_what_would_not_count_is_not_shown(rig: MempoolFixture) -> None:
    """Another token, another recipient, another payer, another contract's call of the same name."""
    fixture = rig.fixture
    name, picky = fixture.create(), fixture.create(payer=STRANGER)
    memo = fixture.memo(name)
    for tx in (
        txs.fake_token(PAYER, SHOP, 50_000, memo),
        txs.sbtc_transfer(PAYER, STRANGER, 50_000, memo),
        txs.stx_transfer(PAYER, SHOP, 50_000, memo),
        txs.sbtc_transfer(PAYER, SHOP, 50_000, fixture.memo(picky)),
        txs.contract_payment(f"{PAYER}.sbtc-payments", PAYER, SHOP, 50_000, **terms(fixture, name)),
    ):
        rig.chain.add_pending(tx)
    await rig.poll()
    assert not rig.shows(name)
    assert not rig.shows(picky)


async def test_a_dropped_payment_is_no_longer_shown(rig: MempoolFixture) -> None:
    name = rig.fixture.create()
    payment = rig.pay(name)
    await rig.poll()
    rig.chain.drop_pending(payment.tx_id, "too_expensive")
    await rig.poll()
    assert not rig.shows(name)


async def test_a_replacement_is_shown_in_its_stead(rig: MempoolFixture) -> None:
    name = rig.fixture.create()
    rig.pay(name, nonce=1, fee=1)
    await rig.poll()
    rig.pay(name, nonce=1, fee=2)
    await rig.poll()
    assert rig.shows(name)


async def test_a_payment_that_a_reorg_took_is_shown_when_it_waits_again(rig: MempoolFixture) -> None:
    name = rig.fixture.create(level="anchored")
    payment = rig.pay(name)
    rig.fixture.mine(payment)
    assert rig.fixture.status(name) == "processing"
    rig.fixture.fork(1)
    assert rig.fixture.status(name) == "pending"
    await rig.poll()
    assert rig.shows(name)


async def test_what_we_know_as_mined_is_not_shown_though_an_api_still_lists_it(rig: MempoolFixture) -> None:
    name = rig.fixture.create(amount=90_000)
    payment = rig.pay(name, 50_000)
    rig.server.freeze()
    await rig.poll()
    assert rig.shows(name)
    rig.fixture.mine(payment)
    assert rig.fixture.status(name) == "pending", "underpaid"
    await rig.poll()
    assert not rig.shows(name)


async def test_a_failed_attempt_is_not_shown_though_an_api_still_lists_it(rig: MempoolFixture) -> None:
    name = rig.fixture.create()
    payment = rig.pay(name)
    rig.server.freeze()
    rig.fixture.mine(payment.failed())
    await rig.poll()
    assert not rig.shows(name)


async def test_it_moves_no_status_and_sends_no_event(rig: MempoolFixture) -> None:
    name = rig.fixture.create()
    before = rig.fixture.show(name)
    rig.pay(name)
    await rig.poll()
    assert rig.fixture.show(name) == before | {"in_flight": True}
    with rig.fixture.database.read() as connection:
        sent = connection.execute(select(event.c.type)).scalars().all()
    assert set(sent) <= {"payment.created"}


async def test_without_a_pending_intent_the_mempool_is_not_read(rig: MempoolFixture) -> None:
    name = rig.fixture.create()
    rig.fixture.cancel(name)
    rig.pay(name)
    await rig.poll()
    assert rig.server.requests == []


async def test_an_intent_that_no_longer_waits_is_cleared(rig: MempoolFixture) -> None:
    name = rig.fixture.create()
    rig.pay(name)
    await rig.poll()
    rig.fixture.cancel(name)
    assert not rig.shows(name)
    await rig.poll()
    with rig.fixture.database.read() as connection:
        assert connection.execute(select(intent.c.in_flight)).scalars().all() == [False]


async def test_a_short_budget_leaves_the_mempool_out(fixture: LedgerFixture) -> None:
    async with ScriptedApi(fixture.chain, ping_interval=None) as server:
        rig = MempoolFixture(fixture, server, requests_per_minute=50)
        name = fixture.create()
        rig.pay(name)
        await rig.poll()
        assert rig.shows(name)
        limiter = rig.pool.pick().limiter
        assert limiter is not None
        for _ in range(5):
            await limiter.acquire()
        server.clear()
        await rig.part.poll()
        assert server.requests == []
        assert rig.shows(name), "what was read a moment ago still holds"
        await rig.poll()
        assert [request.status for request in server.requests] == [304]
        await rig.pool.aclose()


async def test_a_failing_source_is_no_news_until_it_has_failed_for_long(rig: MempoolFixture) -> None:
    name = rig.fixture.create()
    rig.pay(name)
    await rig.poll()
    rig.server.faults.fail(500, times=None)
    for _ in range(STALE_AFTER_INTERVALS - 1):
        await rig.poll()
        assert rig.shows(name)
    await rig.poll()
    assert not rig.shows(name), "nobody knows any more"
    rig.server.faults.clear()
    await rig.poll()
    assert rig.shows(name)


async def test_it_runs_at_its_interval_until_it_is_stopped(rig: MempoolFixture) -> None:
    name = rig.fixture.create()
    stop = asyncio.Event()
    task = asyncio.create_task(rig.part.run(stop))
    await rig.time.asleep()
    rig.pay(name)
    await rig.time.advance(INTERVAL - 1)
    assert not rig.shows(name)
    await rig.time.advance(1)
    await rig.time.asleep()
    assert rig.shows(name)
    stop.set()
    async with asyncio.timeout(5):
        await task


@pytest.mark.parametrize("reading", [True, False])
async def test_flags_that_a_process_left_behind_are_put_right(rig: MempoolFixture, reading: bool) -> None:
    """Also when the settings want nothing shown any more."""
    name = rig.fixture.create()
    with rig.fixture.database.begin() as connection:
        connection.execute(update(intent).values(in_flight=True))
    assert rig.shows(name)
    part = rig.make(MempoolReader(frozenset()) if reading else None)
    await part.poll()
    assert not rig.shows(name)


async def test_a_database_that_does_not_answer_changes_nothing(rig: MempoolFixture) -> None:
    def refuse(*_: object) -> None:
        raise OperationalError("select", {}, Exception("the database is away"))

    name = rig.fixture.create()
    rig.pay(name)
    engine = rig.fixture.database.engine
    sqlalchemy_event.listen(engine, "before_cursor_execute", refuse)
    await rig.poll()
    sqlalchemy_event.remove(engine, "before_cursor_execute", refuse)
    assert not rig.shows(name)
    await rig.poll()
    assert rig.shows(name)


async def test_a_reading_that_the_budget_breaks_off_changes_nothing(fixture: LedgerFixture) -> None:
    """The burst is ten: a first reading of five pages is one too many."""
    async with ScriptedApi(fixture.chain, ping_interval=None) as server:
        rig = MempoolFixture(fixture, server, requests_per_minute=50)
        name = fixture.create()
        rig.pay(name)
        for number in range(220):
            rig.chain.add_pending(txs.stx_transfer(PAYER, STRANGER, 1, b"", label=str(number)))
        await rig.poll()
        assert 1 < len(server.requests) < 5
        assert not rig.shows(name)
        await rig.pool.aclose()
