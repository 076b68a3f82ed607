"""Audits find what an API hid in a new block, leave correct rows alone, and yield to request budgets."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from structlog.testing import capture_logs

from chain.api.client import StacksApi
from chain.source_pool import SourcePool
from chain.testing import ScriptedApi, principal, txs
from tests import harness
from tests.integration.watcher.ledger_fixture import PAYER, SHOP, LedgerFixture
from tests.integration.watcher.reindex import false_blocks
from tests.integration.watcher.reindex.reindex_fixture import Reading
from watcher.reindex import audit as audit_module
from watcher.reindex.audit import Audit
from watcher.reindex.report import Report

FINALITY = 6


@pytest.fixture
async def reading(fixture: LedgerFixture) -> AsyncIterator[Reading]:
    async with ScriptedApi(fixture.chain, ping_interval=None) as api:
        yield Reading(fixture, [api])


@asynccontextmanager
async def auditing(reading: Reading, **more: Any) -> AsyncIterator[tuple[Audit, SourcePool]]:
    """An audit that draws the lowest number, on a pool that has been used."""
    clock = reading.fixture.clock
    budget = {key: more.pop(key) for key in ("requests_per_minute",) if key in more}
    pool = SourcePool(
        [StacksApi(reading.api.url, user_agent="test")],
        clock=clock,
        sleep=clock.sleep,
        rng=lambda: 0.5,
        **budget,
    )
    await pool.check("mainnet")
    pool.pick()
    made = Audit(
        reading.fixture.database,
        pool,
        harness.RULES,
        reading.fixture.settler,
        harness.WATCHED,
        network="mainnet",
        finality_burn_blocks=FINALITY,
        now=clock,
        sleep=clock.sleep,
        **({"draw": lambda _: 0} | more),
    )
    try:
        yield made, pool
    finally:
        await pool.aclose()


def count_missed(reading: Reading) -> str:
    """Return an intent paid in a block, final by now, whose events the API hid."""
    fixture = reading.fixture
    intent = fixture.create()
    payment = txs.sbtc_transfer(PAYER, SHOP, 50_000, fixture.memo(intent))
    reading.miss(lambda: fixture.mine(payment))
    assert fixture.status(intent) == "pending"
    for _ in range(FINALITY):
        fixture.mine(burn=True)
    return intent


def misread(reading: Reading) -> str:
    """Return an intent whose payment was stored without its label; one of two readings shows the payment."""
    fixture = reading.fixture
    intent = fixture.create()
    false_blocks.mine(
        fixture, false_blocks.without_labels, txs.sbtc_transfer(PAYER, SHOP, 50_000, fixture.memo(intent))
    )
    fixture.mine(n=2 * audit_module.AUDIT_BLOCKS)
    for _ in range(FINALITY):
        fixture.mine(burn=True)
    honest = itertools.cycle([True, False])

    def hide(route: str, body: Any) -> Any:
        if route == "tx_multiple" and not next(honest):
            for entry in body.values():
                entry["result"] |= {"events": [], "event_count": 0}
        return body

    reading.api.faults.tamper = hide
    return intent


async def test_a_payment_that_the_api_hid_is_found_and_reported(reading: Reading) -> None:
    intent = count_missed(reading)
    seen: list[Report] = []
    async with auditing(reading, on_audit=seen.append) as (audit, _):
        report = await audit.once()
    assert report is not None
    assert (report.counts.found, report.counts.changes) == (1, 1)
    assert [audit_module.has_errors(one) for one in seen] == [True]
    assert reading.fixture.status(intent) == "succeeded"
    assert reading.fixture.sent_events(intent)[-1] == "succeeded"


async def test_an_audit_of_what_is_right_changes_nothing(reading: Reading) -> None:
    fixture = reading.fixture
    intent = fixture.create()
    fixture.mine(txs.sbtc_transfer(PAYER, SHOP, 50_000, fixture.memo(intent)))
    for _ in range(FINALITY):
        fixture.mine(burn=True)
    before = reading.snapshot()
    async with auditing(reading) as (audit, _):
        report = await audit.once()
    assert report is not None
    assert not audit_module.has_errors(report)
    assert report.counts.blocks > 0
    assert reading.snapshot() == before


async def test_only_final_blocks_that_were_read_are_audited(reading: Reading) -> None:
    fixture = reading.fixture
    drawn: list[int] = []

    def draw(below: int) -> int:
        drawn.append(below)
        return below - 1

    async with auditing(reading, draw=draw) as (audit, _):
        assert await audit.once() is None  # nothing is final yet
        for _ in range(3):
            fixture.mine(n=40)
            fixture.mine(burn=True)
        for _ in range(FINALITY):
            fixture.mine(burn=True)
        report = await audit.once()
    assert report is not None
    start = fixture.chain.blocks[0].header.height
    final = [
        block.header.height
        for block in fixture.chain.blocks
        if fixture.tip.burn_height - block.header.burn_height >= FINALITY and block.header.height > start
    ]
    assert drawn == [len(final) - audit_module.AUDIT_BLOCKS + 1]
    assert (report.bottom, report.top) == (final[-audit_module.AUDIT_BLOCKS], final[-1])


async def test_an_audit_is_left_out_when_the_budget_is_short(reading: Reading) -> None:
    count_missed(reading)
    async with auditing(reading, requests_per_minute=1) as (audit, _):
        before = len(reading.api.requests)
        assert await audit.once() is None
        assert len(reading.api.requests) == before


async def test_a_source_that_fails_ends_the_audit_not_the_daemon(reading: Reading) -> None:
    count_missed(reading)
    async with auditing(reading) as (audit, _):
        reading.api.faults.fail(500, times=None)
        assert await audit.once() is None


async def test_money_of_an_address_that_became_ours_later_is_no_gap(reading: Reading) -> None:
    """Payments to an address before it was the merchant's were not hidden: stored without an alarm."""
    fixture, seen = reading.fixture, list[Report]()
    fixture.mine(txs.sbtc_transfer(PAYER, principal("new shop"), 5, b"salary"))
    fixture.add_merchant("New shop", principal("new shop"))
    for _ in range(FINALITY):
        fixture.mine(burn=True)
    async with auditing(reading, on_audit=seen.append) as (audit, _):
        report = await audit.once()
    assert report is not None
    assert report.counts.found == 1
    assert [audit_module.has_errors(one) for one in seen] == [False]
    assert fixture.unmatched() == [("no_intent", 5)]


async def test_an_attempt_that_is_older_than_its_order_is_none_at_it(reading: Reading) -> None:
    """A payer's failure of days before, under the same reference, must not fail a newer intent."""
    fixture = reading.fixture
    fixture.mine(txs.sbtc_transfer(PAYER, SHOP, 50_000, b"ORDER-77").failed())
    fixture.mine(n=3, burn=True)
    fixture.clock.now += 100_000
    fixture.mine(seconds=100_000)
    intent = fixture.create(reference="ORDER-77", payer=PAYER, expires_in="3h")
    for _ in range(FINALITY):
        fixture.mine(burn=True)
    async with auditing(reading) as (audit, _):
        report = await audit.once()
    assert report is not None
    assert report.counts.attempts == 0
    assert not audit_module.has_errors(report)
    assert (fixture.status(intent), fixture.sent_events(intent)) == ("pending", ["created"])


async def test_what_an_audit_could_not_put_right_the_next_one_does(reading: Reading) -> None:
    intent = count_missed(reading)
    fixture, faults = reading.fixture, reading.api.faults
    fixture.mine(n=2 * audit_module.AUDIT_BLOCKS)
    for _ in range(FINALITY):
        fixture.mine(burn=True)
    draws = iter([0])
    failing = iter([True])

    def seen(_: Report) -> None:
        if next(failing, False):
            faults.fail(500, times=None)

    async with auditing(reading, on_audit=seen, draw=lambda below: next(draws, below - 1)) as (audit, pool):
        assert await audit.once() is None
        assert fixture.status(intent) == "pending"
        faults.clear()
        fixture.clock.now += 3600
        await pool.check("mainnet")
        report = await audit.once()
    assert report is not None
    assert report.counts.found == 1
    assert fixture.status(intent) == "succeeded"


async def test_an_audit_runs_once_for_each_call_and_ends_at_the_stop(reading: Reading) -> None:
    count_missed(reading)
    seen: asyncio.Queue[Report] = asyncio.Queue()
    stop = asyncio.Event()
    async with auditing(reading, on_audit=seen.put_nowait) as (audit, _):
        task = asyncio.create_task(audit.run(stop))
        async with asyncio.timeout(20):
            audit.call()
            assert audit_module.has_errors(await seen.get())
            audit.call()
            while audit_module.has_errors(await seen.get()):
                audit.call()
            stop.set()
            await task


async def test_what_nobody_confirms_is_audited_again_and_then_left_to_a_person(
    fixture: LedgerFixture, reading: Reading, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The waits grow, other blocks are drawn in between, and the last alarm names the blocks."""
    monkeypatch.setattr(audit_module, "AUDITS_UNTIL_RETRY", (1, 2))
    intent = misread(reading)
    draws = iter([0])
    logs = []
    async with auditing(reading, draw=lambda below: next(draws, below - 1)) as (audit, _):
        for _ in range(5):
            with capture_logs() as some:
                assert await audit.once() is not None
            logs.append([entry for entry in some if entry["event"].startswith("audit.")])
    logged = [[entry["event"].removeprefix("audit.") for entry in some] for some in logs]
    assert logged == [
        ["gap", "unconfirmed"],
        ["gap", "unconfirmed"],
        ["clean"],
        ["gap", "given_up"],
        ["clean"],
    ]
    alarm = logs[3][-1]
    assert alarm["log_level"] == "error"
    assert "says otherwise" in alarm["reason"]
    assert f"reindex --from {alarm['start']} --to {alarm['to']}" in alarm["hint"]
    assert reading.fixture.status(intent) == "pending"


async def test_what_somebody_confirms_later_is_put_right_by_a_later_audit(reading: Reading) -> None:
    intent = misread(reading)
    draws = iter([0])
    async with auditing(reading, draw=lambda below: next(draws, below - 1)) as (audit, _):
        assert await audit.once() is not None
        assert reading.fixture.status(intent) == "pending"
        reading.api.faults.clear()
        report = await audit.once()
        assert report is not None
        assert (report.counts.corrections, report.counts.differences) == (1, 0)
        with capture_logs() as logs:
            await audit.once()
    assert reading.fixture.status(intent) == "succeeded"
    assert "audit.clean" in [entry["event"] for entry in logs]


async def test_audits_remember_a_bounded_number_of_ranges(
    reading: Reading, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ranges beyond those are left to an operator at once."""
    monkeypatch.setattr(audit_module, "MAX_OPEN_RANGES", 0)
    misread(reading)
    async with auditing(reading) as (audit, _):
        with capture_logs() as logs:
            await audit.once()
    assert [entry["event"] for entry in logs if entry["event"].startswith("audit.")] == [
        "audit.gap",
        "audit.given_up",
    ]
