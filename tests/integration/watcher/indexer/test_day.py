"""A day at the tip costs what docs/operations.md says, counted on a scripted part of a day and scaled."""

import re
from pathlib import Path

import pytest

from tests.integration.watcher.indexer.day import DAY, Sample, sample

OPERATIONS = (Path(__file__).parents[4] / "docs/operations.md").read_text()

#: A month of the plans is 31 days, to be safe.
MONTH_DAYS = 31


def stated(plan: str) -> tuple[int, int]:
    """The documented requests a day: when nobody waits, and while a payment is awaited."""
    [row] = re.findall(rf"^\| {plan}[^|]*\|[^|]*\| ([\d,]+) \| ([\d,]+) \|", OPERATIONS, re.MULTILINE)
    quiet, awaited = (int(number.replace(",", "")) for number in row)
    return quiet, awaited


def setting(plan: str, name: str) -> int:
    """A number among the settings that docs/operations.md gives for a plan."""
    [row] = re.findall(rf"^\| {plan}.*$", OPERATIONS, re.MULTILINE)
    [value] = re.findall(rf'`{name} = "?(\d+)s?"?`', row)
    return int(value)


async def measured(folder: Path, plan: str, *, mempool: bool, own: bool = False) -> Sample:
    budget = {
        name: setting(plan, f"api_{name}")
        for name in ("requests_per_minute", "requests_per_month")
        if not own
    }
    hours_to_settle = 2 if plan.startswith("free") else 0
    return await sample(
        folder,
        7200.0 if hours_to_settle else 1200.0,
        poll=setting(plan, "poll_interval"),
        socket=True,
        mempool=mempool,
        warm_up=3600.0 * hours_to_settle,
        **budget,
    )


@pytest.mark.parametrize("awaited", [False, True], ids=["quiet", "awaited"])
async def test_the_free_hosted_plan_is_kept_to_and_used_up(tmp_path: Path, awaited: bool) -> None:
    found = await measured(tmp_path, "free hosted plan", mempool=awaited)
    assert found.a_day == pytest.approx(stated("free hosted plan")[awaited], rel=0.05)
    assert found.a_day * MONTH_DAYS <= setting("free hosted plan", "api_requests_per_month")
    assert found.requests["mempool"] == 0, "the mempool is cut first"
    assert 25 < found.delay < 40
    assert max(found.delays) <= 61


@pytest.mark.parametrize("awaited", [False, True], ids=["quiet", "awaited"])
async def test_a_paid_plan_has_room_for_the_socket_and_the_mempool(tmp_path: Path, awaited: bool) -> None:
    found = await measured(tmp_path, "paid plan", mempool=awaited)
    assert found.a_day == pytest.approx(stated("paid plan")[awaited], rel=0.05)
    assert found.a_day * MONTH_DAYS < setting("paid plan", "api_requests_per_month") / 5
    assert found.delay < 1


@pytest.mark.parametrize("awaited", [False, True], ids=["quiet", "awaited"])
async def test_an_own_api_is_asked_at_every_block_and_every_five_seconds(
    tmp_path: Path, awaited: bool
) -> None:
    found = await measured(tmp_path, "your own", mempool=awaited, own=True)
    assert found.a_day == pytest.approx(stated("your own")[awaited], rel=0.05)
    assert found.delay < 1
    assert found.requests["transactions"] >= found.seconds / 5


@pytest.mark.parametrize(
    ("row", "version", "directed"),
    [
        ("9.0 to 9.6", "9.1", True),
        ("from 9.7", "9.7", True),
        ('without `tx/multiple`, `read_mode = "all"`', "sunset", False),
        ('without `tx/multiple`, `read_mode = "auto"`', "sunset", True),
    ],
)
async def test_each_way_to_read_an_api_costs_what_the_table_says(
    tmp_path: Path, row: str, version: str, directed: bool
) -> None:
    """1,000 payments among 12,000 blocks, and nothing but polls."""
    [number] = re.findall(rf"^\| {re.escape(row)} .*\| ([\d,]+) \|$", OPERATIONS, re.MULTILINE)
    found = await sample(
        tmp_path,
        1200.0,
        poll=30.0,
        socket=False,
        mempool=False,
        version=version,
        directed=directed,
        payments_a_day=1_000,
    )
    assert found.a_day == pytest.approx(int(number.replace(",", "")), rel=0.05)


async def test_a_host_without_a_key_and_without_batches_is_kept_to(tmp_path: Path) -> None:
    """50 requests a minute are enough for 12,000 blocks and 1,000 payments a day."""
    [number] = re.findall(r"takes ([\d,]+) a day and reads a\s+block\s+after\s+12\s+s", OPERATIONS)
    found = await sample(
        tmp_path,
        1200.0,
        poll=10.0,
        socket=True,
        mempool=True,
        warm_up=1200.0,
        version="sunset",
        payments_a_day=1_000,
        requests_per_minute=50,
    )
    assert found.a_day == pytest.approx(int(number.replace(",", "")), rel=0.08)
    assert found.a_day <= 50 * 1440
    assert found.delay < 20


async def test_a_poll_interval_that_the_budget_cannot_pay_for_exceeds_no_budget(tmp_path: Path) -> None:
    """The default poll interval on the free plan: slow, but within its limits."""
    found = await sample(
        tmp_path,
        7200.0,
        poll=5.0,
        socket=True,
        mempool=True,
        warm_up=7200.0,
        requests_per_minute=25,
        requests_per_month=150_000,
    )
    assert found.requests.total() <= 150_000 * found.seconds / (MONTH_DAYS * DAY) + 1
    assert max(found.delays) < 120
