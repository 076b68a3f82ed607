"""Retention never deletes what the loop needs; headers lost in other ways are read again."""

from collections.abc import AsyncIterator

import pytest
from sqlalchemy import delete, select

from chain.testing import ScriptedApi, txs
from tests import harness
from tests.integration.watcher.ledger_fixture import LedgerFixture
from tests.integration.watcher.reindex.reindex_fixture import Reading
from tests.integration.watcher.reindex.test_accept_reorg import cursor, fork_deep, pay
from watcher.config.settings import Settings
from watcher.daemon import periodic
from watcher.errors import Refused
from watcher.indexer.loop import PollResult
from watcher.store.schema import block


@pytest.fixture
async def reading(fixture: LedgerFixture) -> AsyncIterator[Reading]:
    async with ScriptedApi(fixture.chain, ping_interval=None) as api:
        yield Reading(fixture, [api])


async def turns(reading: Reading, n: int = 4) -> list[PollResult]:
    """Restart the loop and let it poll some times."""
    fixture = reading.fixture
    following, pool = harness.make_indexer(fixture.ledger, [api.url for api in reading.apis], fixture.clock)
    seen = []
    for _ in range(n):
        fixture.clock.now += 61
        seen.append(await following.poll())
    await pool.aclose()
    return seen


def thin(fixture: LedgerFixture) -> int:
    return periodic.thin_headers(Settings(database_url=fixture.settings.database_url), fixture.database)


def lose_headers(fixture: LedgerFixture, *, above: int = 0) -> None:
    with fixture.database.begin() as connection:
        connection.execute(delete(block).where(block.c.height > above))


def lower_branch(fixture: LedgerFixture) -> None:
    """Fork the chain to a branch on which Bitcoin is far behind ours."""
    branch = fixture.chain.fork(101, keep="follow")
    branch.mine(n=40, seconds=3)
    branch.promote()


async def test_a_branch_with_lower_bitcoin_heights_keeps_its_headers(
    fixture: LedgerFixture, reading: Reading
) -> None:
    """An orphaned branch was 30 Bitcoin blocks ahead: its heights say nothing about the cursor's chain."""
    fixture.mine(n=31, burn=True)
    lower_branch(fixture)
    await reading.accept(101)
    thin(fixture)
    assert len(fixture.ledger.window(10)) == 42
    fixture.chain.mine(n=2)
    assert (await turns(reading))[:2] == [PollResult.MOVED, PollResult.IDLE]
    assert cursor(fixture).clock.hash == fixture.chain.tip.hash


async def test_headers_of_an_orphaned_branch_go_with_the_others(
    fixture: LedgerFixture, reading: Reading
) -> None:
    fixture.mine(n=31, burn=True)
    lower_branch(fixture)
    await reading.accept(101)
    fixture.mine(n=80, burn=True)
    thin(fixture)
    rows = reading.rows(block)
    assert len(rows) == 15
    assert all(row.canonical for row in rows)


async def test_lost_headers_are_read_again_at_the_start(fixture: LedgerFixture, reading: Reading) -> None:
    """The window is filled below the cursor's hash and the loop continues; a short fork is followed."""
    made = fixture.create(level="anchored")
    fixture.mine(n=30, burn=True)
    before = fixture.ledger.window(10)
    lose_headers(fixture)
    fixture.chain.mine([pay(fixture, made)])
    assert (await turns(reading))[:2] == [PollResult.MOVED, PollResult.IDLE]
    assert fixture.ledger.window(11)[: len(before)] == before
    fixture.chain.reorg(3, [[pay(fixture, made)], [], [], []], burn=True)
    assert PollResult.HALTED not in await turns(reading)
    assert cursor(fixture).clock.hash == fixture.chain.tip.hash
    assert fixture.status(made) == "succeeded"


async def test_a_window_that_ends_below_the_cursor_is_no_window(
    fixture: LedgerFixture, reading: Reading
) -> None:
    fixture.mine(n=30, burn=True)
    lose_headers(fixture, above=125)
    assert fixture.ledger.window(10) == ()
    assert (await turns(reading))[0] is PollResult.IDLE
    assert fixture.ledger.window(10)[-1].hash == cursor(fixture).clock.hash


async def test_headers_of_another_chain_give_way_to_those_below_the_cursor(
    fixture: LedgerFixture, reading: Reading
) -> None:
    """Rows at the same heights that do not lead to the cursor are orphaned and do no harm."""
    fixture.mine(n=30, burn=True)
    with fixture.database.begin() as connection:
        rows = connection.execute(select(block).where(block.c.height.between(123, 129))).mappings().all()
        connection.execute(delete(block).where(block.c.height > 122))
        for row in rows:
            other = "0x" + "ee" * 31 + f"{row['height'] - 100:02x}"
            connection.execute(block.insert().values(**(dict(row) | {"hash": other})))
    assert (await turns(reading))[0] is PollResult.IDLE
    window = fixture.ledger.window(10)
    assert (window[-1].hash, len(window)) == (cursor(fixture).clock.hash, 11)


async def test_a_source_that_lags_behind_the_cursor_is_waited_for(
    fixture: LedgerFixture, reading: Reading
) -> None:
    """It cannot fill the window, and proves nothing about our chain."""
    fixture.mine(n=30, burn=True)
    lose_headers(fixture)
    reading.api.lag(5)
    assert set(await turns(reading)) == {PollResult.WAITING}
    assert cursor(fixture).halted is None
    reading.api.lag(0)
    assert (await turns(reading))[0] is PollResult.IDLE


async def test_without_headers_another_chain_halts_until_an_operator_accepts_it(
    fixture: LedgerFixture, reading: Reading
) -> None:
    """The fork point cannot be known: no crash, and the hinted command works."""
    made = fixture.create()
    fixture.mine(n=20, burn=True)
    fixture.mine(pay(fixture, made))
    fork_deep(fixture, 110, [pay(fixture, made)])
    lose_headers(fixture)
    assert (await turns(reading))[-1] is PollResult.HALTED
    assert cursor(fixture).halted["code"] == "reorg_too_deep"
    with pytest.raises(Refused, match="below height 121"):
        await reading.accept(121)
    accepted = await reading.accept(110)
    assert accepted.tip is not None
    assert (await turns(reading))[-1] is PollResult.IDLE
    assert cursor(fixture).clock.hash == fixture.chain.tip.hash
    assert fixture.sent_events(made) == ["created", "succeeded"]


async def test_without_headers_a_source_that_shows_our_chain_again_ends_the_halt(
    fixture: LedgerFixture, reading: Reading
) -> None:
    fixture.mine(n=20, burn=True)
    ours = fixture.chain.tip.hash
    fork_deep(fixture, 110, [])
    lose_headers(fixture)
    following, pool = harness.make_indexer(fixture.ledger, [reading.api.url], fixture.clock)
    for _ in range(4):
        fixture.clock.now += 61
        turn = await following.poll()
    assert turn is PollResult.HALTED
    back = fixture.chain.fork(ours, keep="follow")
    back.mine(n=2)
    back.promote()
    for _ in range(3):
        fixture.clock.now += 61
        await following.poll()
    assert cursor(fixture).clock.hash == fixture.chain.tip.hash
    assert cursor(fixture).halted is None
    assert len(fixture.ledger.window(10)) > 8
    await pool.aclose()


async def test_nothing_to_accept_without_headers_on_our_own_chain(
    fixture: LedgerFixture, reading: Reading
) -> None:
    fixture.mine(txs.sbtc_transfer("SP000000000000000000002Q6VF78", "SP000000000000000000002Q6VF78", 1), n=5)
    lose_headers(fixture)
    assert (await reading.accept(100)).fork is None
