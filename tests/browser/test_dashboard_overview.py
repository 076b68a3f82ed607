"""The overview of the dashboard in a real browser: empty at first, then with a month of trade."""

import os
from pathlib import Path
from typing import Any

from playwright.async_api import Page, expect
from sqlalchemy import insert, update

from chain.testing import txs
from notifier import attempt_hours
from notifier.schema import endpoint
from tests.browser.conftest import Visitor, check_widths
from tests.deployment import ROOT
from tests.integration.watcher.api.api_fixture import ADMIN, ApiFixture
from tests.integration.watcher.ledger_fixture import PAYER, SHOP, LedgerFixture
from watcher.store.schema import cursor

DAY = 86_400

#: Where the pictures of the documentation are put, made anew: PICTURES=docs/images pytest tests/browser/…
PICTURES = os.environ.get("PICTURES")


def trade(fixture: LedgerFixture, days: int) -> None:
    """Let the shop have payments for some days: many are paid, some in STX, some never."""
    for day in range(days):
        fixture.clock.now = float(fixture.tip.time)
        sbtc = [fixture.create(amount=20_000 + 7_000 * (day * n % 5)) for n in range(day % 4 + 1)]
        stx = [fixture.create(asset="stx", amount=2_500_000 * (1 + day % 3))]
        fixture.create()
        paid = [
            txs.sbtc_transfer(PAYER, SHOP, int(fixture.show(key)["amount"]), fixture.memo(key))
            for key in sbtc
        ]
        paid += [
            txs.stx_transfer(PAYER, SHOP, int(fixture.show(key)["amount"]), fixture.memo(key)) for key in stx
        ]
        fixture.mine(*paid, seconds=60)
        if day < days - 1:
            fixture.pass_time(DAY - 60)
    fixture.clock.now = float(fixture.tip.time)


def trouble(fixture: LedgerFixture) -> None:
    """Let there be something of each kind that needs a person."""
    late = fixture.create()
    fixture.cancel(late)
    fixture.mine(
        txs.sbtc_transfer(PAYER, SHOP, 50_000, fixture.memo(late)), txs.sbtc_transfer(PAYER, SHOP, 7, b"?")
    )


def deliver(fixture: LedgerFixture, **more: Any) -> None:
    """Let there be an endpoint, with attempts of the last day."""
    values: dict[str, Any] = {
        "id": "we_1",
        "merchant": fixture.merchant,
        "url": "https://shop.example/hooks",
        "events": ["*"],
        "status": "enabled",
        "legacy_v0": False,
        "secrets": [],
        "created_at": 0,
    }
    with fixture.services() as services:
        services.connection.execute(insert(endpoint).values(**values | more))
        attempts = [
            attempt_hours.Attempt(
                endpoint="we_1",
                at=services.shared_now - hour * 3600,
                ok=n > 0 or hour % 5 > 0,
                duration_ms=80 + 9 * n,
            )
            for hour in range(24)
            for n in range(hour * 7 % 11)
        ]
        attempt_hours.record(services.connection, attempts)
        services.connection.execute(update(cursor).values(looked_at=int(services.now)))


async def sign_in(visitor: Visitor, api: ApiFixture, key: str, **options: Any) -> Page:
    """Open the dashboard as somebody who has a key."""
    page = await visitor.visit(f"{api.url}/dashboard", **options)
    await page.get_by_label("Key").fill(key)
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_role("heading", name="Overview")).to_be_visible()
    return page


async def picture(page: Page, name: str) -> None:
    """Take a picture for the documentation, if they are wanted."""
    if PICTURES is not None:
        await page.screenshot(path=str(Path(PICTURES) / f"{name}.png"), scale="css")
    assert 0 < (ROOT / f"docs/images/{name}.png").stat().st_size < 80_000


async def test_a_new_shop_is_told_what_to_do_first(visitor: Visitor, api: ApiFixture) -> None:
    """Each step leads to its page; the ones that are done are marked."""
    page = await sign_in(visitor, api, api.key)
    steps = page.get_by_role("region", name="What to do first")
    await expect(steps.get_by_role("link", name="Add a webhook endpoint")).to_be_visible()
    await check_widths(page)
    deliver(api.fixture)
    await page.reload()
    await expect(steps.get_by_text("done")).to_have_count(1)


async def test_a_month_of_trade_is_seen_at_once(visitor: Visitor, api: ApiFixture) -> None:
    """Sums, rates, plots with their tables, and what needs somebody, with the way there."""
    trade(api.fixture, 30)
    deliver(api.fixture)
    trouble(api.fixture)
    page = await sign_in(visitor, api, api.key)
    attention = page.get_by_role("region", name="Needs attention")
    await expect(attention.get_by_role("link", name="1 transfer belongs to no payment")).to_have_attribute(
        "href", "dashboard/transfers"
    )
    await expect(attention.get_by_role("link", name="1 payment came after it had ended")).to_be_visible()
    await expect(page.get_by_role("region", name="Success rate")).to_contain_text("%")
    plot = page.get_by_role("figure", name="Paid in sBTC by day")
    await plot.get_by_text("As a table").click()
    await expect(plot.get_by_role("row")).to_have_count(31)
    await check_widths(page)
    await plot.get_by_text("As a table").click()
    await page.set_viewport_size({"width": 960, "height": 620})
    await page.evaluate("scrollTo(0, 0)")
    await picture(page, "dashboard")


async def test_an_operator_sees_all_merchants_and_who_lags(visitor: Visitor, api: ApiFixture) -> None:
    """In the dark, and on a phone."""
    trade(api.fixture, 3)
    source = {
        "url": "http://a",
        "state": "down",
        "version": "9",
        "tip_height": 100,
        "latency_ms": 1,
        "errors": 0,
    }
    api.fixture.ledger.record_poll(tip=None, sources=[source | {"note": "it does not answer"}])
    page = await sign_in(visitor, api, ADMIN, width=390, scheme="dark")
    await expect(page.get_by_role("region", name="Who lags")).to_contain_text("it does not answer")
    await expect(page.get_by_role("region", name="What to do first")).to_have_count(0)
    await check_widths(page)
