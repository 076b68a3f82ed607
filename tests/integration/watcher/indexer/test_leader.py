"""The leader's lease: one holder at a time, taken over when it expires; without it nothing is committed."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from sqlalchemy import text, update
from sqlalchemy.exc import OperationalError

from chain.testing import txs
from tests import harness
from tests.integration.watcher.ledger_fixture import PAYER, SHOP, LedgerFixture
from tests.postgresql import Server
from watcher.errors import LeaseHeld, LeaseLost
from watcher.indexer import leader
from watcher.indexer.leader import Lease, current_holder, lead
from watcher.indexer.ledger import Ledger
from watcher.store.database import Database
from watcher.store.process_schema import lease as lease_table


@pytest.fixture
def shared(tmp_path: Path, on_postgresql: Server) -> Iterator[LedgerFixture]:
    """A world on PostgreSQL."""
    fixture = LedgerFixture(tmp_path)
    yield fixture
    fixture.database.close()


@pytest.fixture
def make_lease(shared: LedgerFixture) -> Callable[[str], Lease]:
    """Return a function that makes the lease of a process by name."""

    def make(holder: str) -> Lease:
        lease = Lease(shared.database)
        lease.holder = holder
        return lease

    return make


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a lease last for a moment only."""
    monkeypatch.setattr(leader, "LEASE_SECONDS", 1.5)


def run_out(fixture: LedgerFixture) -> None:
    """Let time pass, for the lease."""
    with fixture.database.begin() as connection:
        connection.execute(update(lease_table).values(until=lease_table.c.until - 60))


def ledger_of(fixture: LedgerFixture, lease: Lease) -> Ledger:
    return Ledger(fixture.database, harness.RULES, fixture.settler, now=fixture.clock, lease=lease)


def test_a_holder_is_a_host_and_a_process(shared: LedgerFixture) -> None:
    assert Lease(shared.database).holder.endswith(f":{os.getpid()}")


def test_one_holds_it_until_it_runs_out_and_each_change_has_an_epoch(
    shared: LedgerFixture, make_lease: Callable[[str], Lease]
) -> None:
    first, second = make_lease("first"), make_lease("second")
    with shared.database.read() as connection:
        assert current_holder(connection) is None
    assert first.acquire()
    assert not second.acquire()
    assert not first.acquire(), "a holder that forgot itself waits like anybody"
    assert first.acquire() is False
    run_out(shared)
    assert second.acquire()
    with shared.database.read() as connection:
        found = current_holder(connection)
    assert found is not None
    assert (found.holder, found.epoch) == ("second", 2)
    assert 10 < found.remaining <= leader.LEASE_SECONDS


def test_a_renewal_keeps_a_lease_that_expired_but_was_not_taken(
    shared: LedgerFixture, make_lease: Callable[[str], Lease]
) -> None:
    first, second = make_lease("first"), make_lease("second")
    assert first.acquire()
    run_out(shared)
    first.renew()
    assert not second.acquire()
    run_out(shared)
    assert second.acquire()
    with pytest.raises(LeaseLost, match="took over following the chain from first"):
        first.renew()


def test_what_is_given_back_is_free_at_once_and_only_the_holder_can(
    shared: LedgerFixture, make_lease: Callable[[str], Lease]
) -> None:
    first, second, third = make_lease("first"), make_lease("second"), make_lease("third")
    assert first.acquire()
    first.release()
    assert second.acquire()
    first.release()
    assert not third.acquire()


def test_of_many_that_try_at_once_one_gets_it(
    shared: LedgerFixture, make_lease: Callable[[str], Lease]
) -> None:
    with ThreadPoolExecutor(8) as threads:
        taken = list(threads.map(lambda n: make_lease(f"p{n}").acquire(), range(8)))
    assert sum(taken) == 1


def test_without_the_lease_nothing_is_written(
    shared: LedgerFixture, make_lease: Callable[[str], Lease]
) -> None:
    """A process that was frozen still believes that it leads when it wakes up; the database does not."""
    first, second = make_lease("first"), make_lease("second")
    stale, fresh = ledger_of(shared, first), ledger_of(shared, second)
    with pytest.raises(LeaseLost):
        stale.record_poll(tip=None, sources=[])
    assert first.acquire()
    intent = shared.create()
    shared.ledger = stale
    shared.mine()
    run_out(shared)
    shared.mine()  # it ran out, but nobody else has it
    assert second.acquire()
    height = shared.chain.tip.height
    shared.chain.mine([txs.sbtc_transfer(PAYER, SHOP, 50_000, shared.memo(intent))])
    for act in (
        lambda: stale.apply(shared.extend(height)),
        lambda: stale.record_poll(tip=None, sources=[{"url": "stale"}]),
        lambda: stale.begin([], shared.tip),
    ):
        with pytest.raises(LeaseLost):
            act()
    assert shared.status(intent) == "pending"
    cursor = stale.cursor()
    assert cursor is not None
    assert (cursor.clock.height, cursor.sources) == (height, None)
    fresh.apply(shared.extend(height))
    assert shared.sent_events(intent) == ["created", "succeeded"]


def test_a_name_that_comes_back_is_not_the_process_that_had_it(
    shared: LedgerFixture, make_lease: Callable[[str], Lease]
) -> None:
    """In containers every process may be number 1 of the same host; the epoch tells them apart."""
    before, after = make_lease("host:1"), make_lease("host:1")
    assert before.acquire()
    run_out(shared)
    assert after.acquire()
    with pytest.raises(LeaseLost):
        before.renew()
    with pytest.raises(LeaseLost), shared.database.begin() as connection:
        before.check(connection)
    with shared.database.begin() as connection:
        after.check(connection)


def test_no_process_takes_it_in_the_middle_of_a_step(
    shared: LedgerFixture, make_lease: Callable[[str], Lease]
) -> None:
    first, second = make_lease("first"), make_lease("second")
    assert first.acquire()
    run_out(shared)
    with ThreadPoolExecutor(1) as threads:
        with shared.database.begin() as connection:
            first.check(connection)
            taking = threads.submit(second.acquire)
            waiting = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
            while not connection.execute(waiting).scalar_one():
                connection.execute(text("SELECT pg_stat_clear_snapshot()"))
                assert not taking.done(), "it did not wait for the step"
        assert taking.result(20)


@asynccontextmanager
async def leading(lease: Lease, log: list[str]) -> AsyncIterator[asyncio.Event]:
    """Run a process that leads when it can; ``log`` says what it does."""
    stop = asyncio.Event()

    async def follow(stop: asyncio.Event) -> None:
        log.append(f"{lease.holder} leads")
        try:
            await stop.wait()
        finally:
            log.append(f"{lease.holder} ends")

    async def stand_by(stop: asyncio.Event) -> None:
        log.append(f"{lease.holder} waits")
        await stop.wait()

    task = asyncio.create_task(lead(lease, follow, stand_by, stop))
    try:
        yield stop
    finally:
        stop.set()
        async with asyncio.timeout(20):
            await task


async def seen(log: list[str], line: str, *, times: int = 1) -> None:
    await harness.until(lambda: log.count(line) >= times)


async def test_a_standby_leads_as_soon_as_the_leader_stops(
    shared: LedgerFixture, make_lease: Callable[[str], Lease], quick: None
) -> None:
    log: list[str] = []
    async with leading(make_lease("first"), log) as stop_first:
        await seen(log, "first leads")
        async with leading(make_lease("second"), log):
            await seen(log, "second waits")
            began = time.monotonic()
            await harness.until(lambda: time.monotonic() - began > 1.5 * leader.LEASE_SECONDS)
            assert "second leads" not in log, "the leader renews its lease"
            stop_first.set()
            await seen(log, "second leads")
            assert log.index("first ends") < log.index("second leads")


async def test_a_leader_that_lost_its_lease_ends_its_work_and_stands_by(
    shared: LedgerFixture, make_lease: Callable[[str], Lease], quick: None
) -> None:
    log: list[str] = []
    first, second = make_lease("first"), make_lease("second")
    async with leading(first, log):
        await seen(log, "first leads")
        with shared.database.begin() as connection:
            connection.execute(update(lease_table).values(until=0.0))
            statement = update(lease_table).values(holder="second", epoch=2, until=2e10)
            connection.execute(statement)
        await seen(log, "first ends")
        assert first.epoch is None
        second.epoch = 2
        second.release()
        await seen(log, "first leads", times=2)


async def test_a_database_that_is_away_for_a_while_does_not_end_a_leader(
    shared: LedgerFixture, make_lease: Callable[[str], Lease], quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    log: list[str] = []
    first = make_lease("first")
    failures = 0
    renew = first.renew

    def fail() -> None:
        nonlocal failures
        failures += 1
        if failures <= 3:
            raise OperationalError("renew", {}, Exception("the server closed the connection"))
        renew()

    monkeypatch.setattr(first, "renew", fail)
    async with leading(first, log):
        await harness.until(lambda: failures >= 6)
        assert "first ends" not in log


async def test_a_single_run_takes_over_from_a_dead_holder_but_not_from_a_living_one(
    shared: LedgerFixture, make_lease: Callable[[str], Lease], quick: None
) -> None:
    dead, living = make_lease("dead"), make_lease("living")
    assert dead.acquire()
    run_out(shared)
    async with asyncio.timeout(20):
        await living.acquire_or_fail(asyncio.Event())
        async with living.keep_renewed():
            with pytest.raises(LeaseHeld, match=r"another process \(living\) follows") as caught:
                await make_lease("third").acquire_or_fail(asyncio.Event())
    assert caught.value.exit_code == 3
    third = Database(harness.database_url(shared.folder))
    assert Lease(third).acquire(), "it was given back"
    third.close()


async def test_what_the_work_raises_comes_out(
    shared: LedgerFixture, make_lease: Callable[[str], Lease]
) -> None:
    lease = make_lease("first")
    assert lease.acquire()
    with pytest.raises(ExceptionGroup) as caught:
        async with lease.keep_renewed():
            raise RuntimeError("a bug")
    assert [str(error) for error in caught.value.exceptions] == ["a bug"]
