"""The periodic jobs on a real scheduler: they run, end with the daemon, and keep what must be kept."""

import asyncio
import threading

import pytest
from sqlalchemy import func, insert, select

from notifier.schema import event
from tests.integration.watcher.ledger_fixture import START, LedgerFixture
from watcher.config.settings import Settings
from watcher.daemon import periodic
from watcher.schemas import NewPaymentLink
from watcher.store import link_views
from watcher.store.link_schema import visitor, visitor_key
from watcher.store.schema import block

OLD, YOUNG = 1_000, 4_000_000_000


def tell(fixture: LedgerFixture, count: int, created_at: int) -> None:
    rows = [
        {
            "id": f"evt_{created_at}_{n}",
            "intent": f"pi_{created_at}_{n}",
            "merchant": fixture.merchant,
            "type": "payment.succeeded",
            "n": 0,
            "sequence": 1,
            "subject": "",
            "as_of": START,
            "body": b"{}",
            "created_at": created_at,
        }
        for n in range(count)
    ]
    with fixture.database.begin() as connection:
        connection.execute(insert(event), rows)


def bodies(fixture: LedgerFixture) -> int:
    with fixture.database.read() as connection:
        query = select(func.count()).select_from(event).where(event.c.body.is_not(None))
        return int(connection.execute(query).scalar_one())


def headers(fixture: LedgerFixture) -> int:
    with fixture.database.read() as connection:
        return int(connection.execute(select(func.count()).select_from(block)).scalar_one())


def test_a_machine_clock_that_is_years_ahead_empties_nothing_young(
    fixture: LedgerFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bodies are kept for the retention by the chain's clock too."""
    tell(fixture, 3, OLD)
    tell(fixture, 2, START)
    monkeypatch.setattr("watcher.daemon.periodic.time.time", lambda: START + 80 * 365 * 86_400.0)
    assert periodic.prune_outbox(fixture.settings, fixture.database) == 3
    assert bodies(fixture) == 2


async def test_every_job_runs_again_and_again_until_the_end(fixture: LedgerFixture) -> None:
    tell(fixture, 3, OLD)
    tell(fixture, 2, YOUNG)
    called: asyncio.Queue[str] = asyncio.Queue()
    settings = Settings(database_url=fixture.settings.database_url)
    async with periodic.running(settings, fixture.database, lambda: called.put_nowait("audit"), every=0.05):
        async with asyncio.timeout(20):
            for _ in range(3):
                assert await called.get() == "audit"
            while bodies(fixture) > 2:
                await called.get()
    assert bodies(fixture) == 2
    assert "APScheduler" not in {thread.name for thread in threading.enumerate()}


def test_headers_are_thinned_to_what_a_reorg_can_reach(fixture: LedgerFixture) -> None:
    for _ in range(60):
        fixture.mine(burn=True)
    before = headers(fixture)
    settings = Settings(database_url=fixture.settings.database_url)
    gone = periodic.thin_headers(settings, fixture.database)
    assert 0 < gone == before - headers(fixture)
    assert periodic.thin_headers(settings, fixture.database) == 0


def test_pruning_ends_between_two_batches_when_the_daemon_stops(fixture: LedgerFixture) -> None:
    tell(fixture, 3, OLD)
    settings = Settings(database_url=fixture.settings.database_url)
    assert periodic.prune_outbox(settings, fixture.database, lambda: True) == 0
    assert bodies(fixture) == 3
    assert periodic.prune_outbox(settings, fixture.database) == 3


async def test_a_job_that_waits_for_the_database_does_not_hold_up_the_event_loop_at_the_end(
    fixture: LedgerFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other parts stop in time while a job waits for a database lock."""
    began, freed = threading.Event(), threading.Event()

    def waits(*_: object) -> None:
        began.set()
        assert freed.wait(5)

    monkeypatch.setattr(periodic, "thin_headers", waits)
    settings = Settings(database_url=fixture.settings.database_url)
    async with asyncio.timeout(30):
        async with periodic.running(settings, fixture.database, lambda: None, every=0.05):
            await asyncio.to_thread(began.wait)
            asyncio.get_running_loop().call_later(0.01, freed.set)  # runs only if the loop does
    assert freed.is_set()


def test_visitors_of_earlier_days_are_forgotten_with_their_key(
    fixture: LedgerFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of today are kept, so that they are counted once; nobody can tell who the others were."""
    today = START // 86_400
    with fixture.services(fixture.merchant) as services:
        link = services.create_link(NewPaymentLink(amount=5))["id"]
    with fixture.database.begin() as connection:
        for day in (today - 1, today):
            link_views.key_of(connection, day)
            link_views.record(connection, day, {(link, bytes([number]) * 16) for number in range(3)})
    monkeypatch.setattr("watcher.daemon.periodic.time.time", lambda: float(START))
    assert periodic.prune_visitors(fixture.database) == 3
    with fixture.database.read() as connection:
        assert set(connection.execute(select(visitor.c.day)).scalars()) == {today}
        assert set(connection.execute(select(visitor_key.c.day)).scalars()) == {today}
        assert link_views.days(connection, link) == {today - 1: 3, today: 3}
