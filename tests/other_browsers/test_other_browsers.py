"""Checkout and widget in Firefox and in WebKitGTK: `make browsers`. Skipped where one is missing."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from chain.testing import txs
from tests.browser.shop_page import ShopPage
from tests.integration.watcher.api.api_fixture import ApiFixture
from tests.integration.watcher.ledger_fixture import PAYER, SHOP, LedgerFixture
from tests.other_browsers import firefox as firefox_driver
from tests.other_browsers import webkit as webkit_driver
from tests.other_browsers.firefox import Firefox, firefox
from tests.other_browsers.webkit import WebKit, webkit

Browser = Firefox | WebKit

BROWSERS = {"firefox": (firefox, firefox_driver.MISSING), "webkit": (webkit, webkit_driver.MISSING)}

TAB, ENTER, ESCAPE = "\ue004", "\ue007", "\ue00c"


@pytest.fixture(params=BROWSERS)
async def browser(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Browser]:
    """A window of each browser; pages log no error there."""
    make, missing = BROWSERS[request.param]
    if missing is not None:
        if os.environ.get("REQUIRE_BROWSERS"):
            pytest.fail(missing)
        pytest.skip(missing)
    folder = tmp_path / request.param
    folder.mkdir()
    async with make(folder) as browser:
        yield browser
    assert browser.errors == []


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[ApiFixture]:
    """A server with one merchant's checkouts."""
    fixture = LedgerFixture(tmp_path)
    async with ApiFixture(fixture) as api:
        yield api
    fixture.database.close()


async def becomes(
    ask: Callable[[], Awaitable[Any]], wanted: Callable[[Any], bool], within: float = 30
) -> Any:
    """Ask until what a browser says is what is wanted, and return it."""
    found = None
    try:
        async with asyncio.timeout(within):
            while True:
                found = await ask()
                if wanted(found):
                    return found
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise AssertionError(f"it stayed {found!r}") from None


STATUS = "document.querySelector('[role=status]')?.textContent ?? ''"
TOLD = "told.map(([name, state]) => `${name} ${state}`)"
FITS = "document.documentElement.scrollWidth <= innerWidth"
#: Which element has the focus, through the roots that the widget has.
FOCUSED = (
    "(() => { let one = document.activeElement; while (one?.shadowRoot?.activeElement)"
    " one = one.shadowRoot.activeElement; return one?.localName })()"
)


def pay(api: ApiFixture, intent: dict[str, Any]) -> None:
    api.fixture.mine(txs.sbtc_transfer(PAYER, SHOP, 50_000, intent["reference"].encode()))


async def test_the_checkout_follows_a_payment(api: ApiFixture, browser: Browser) -> None:
    """It waits, and says paid by itself when the chain has the payment."""
    intent = await api.create(description="Two tins of tea")
    await browser.open(api.url + intent["checkout_url"])
    await becomes(lambda: browser.run(STATUS), lambda text: "Waiting for your payment" in text)
    assert await browser.run(FITS)
    pay(api, intent)
    await becomes(lambda: browser.run(STATUS), lambda text: "Paid" in text)
    assert await browser.run(
        "[...document.querySelectorAll('h2')].some((it) => it.textContent === 'Receipt')"
    )
    assert await browser.run(FITS)


async def test_a_link_leads_to_its_checkout_within_the_window(api: ApiFixture, browser: Browser) -> None:
    """What the frame was told of the shop's page outlasts a form and a redirect."""
    made = await api.client.post("/v1/payment_links", json={"amount": "50000", "description": "Tea"})
    async with ShopPage(api.url) as shop:
        api.allow(shop.url)
        shop.head = f'<script src="{api.url}/widget.js" async></script>'
        await browser.open(shop.url)
        await becomes(lambda: browser.run("!!window.SbtcPay"), bool)
        code = made.json()["url"].rpartition("/")[2]
        await browser.run(f"void SbtcPay.open({{ link: '{code}', ...callbacks }})")
        button = "document.querySelector('form button')"
        await becomes(lambda: browser.run(f"!!{button}", frame=True), bool)
        # After the script for frames, which the page asks for last.
        await becomes(lambda: browser.run("document.documentElement.className", frame=True), bool)
        await browser.run(f"void setTimeout(() => {button}.click())", frame=True)
        await becomes(lambda: browser.run(TOLD), lambda told: told == ["Status waiting"])


async def test_the_widget_leads_through_a_payment(api: ApiFixture, browser: Browser) -> None:
    """Opened and closed from the keyboard, also from within the frame; the focus comes back to the button.

    The shop's page is told once that it is paid.
    """
    async with ShopPage(api.url) as shop:
        api.allow(shop.url)
        intent = await api.create()
        shop.head = f'<script src="{api.url}/widget.js" async></script>'
        shop.body = f'<sbtc-pay checkout-url="{intent["checkout_url"]}" theme="dark"></sbtc-pay>'
        await browser.open(shop.url)
        await becomes(lambda: browser.run("!!document.querySelector('sbtc-pay').shadowRoot"), bool)
        await browser.run("document.querySelector('sbtc-pay').focus()")
        assert await browser.run(FOCUSED) == "button"
        await browser.press(ENTER)

        async def status() -> Any:
            return await browser.run(STATUS, frame=True)

        await becomes(status, lambda text: "Waiting for your payment" in (text or ""))
        await becomes(lambda: browser.run(TOLD), lambda told: told == ["Status waiting"])
        assert await browser.run(FITS, frame=True)
        color = "getComputedStyle(document.body).backgroundColor"
        assert await browser.run(color, frame=True) == "rgb(15, 17, 21)"
        assert await browser.run(FOCUSED) == "iframe"
        await browser.press(ESCAPE, frame=True)
        await becomes(lambda: browser.run(TOLD), lambda told: told[1:] == ["Close waiting"])
        assert await browser.run(FOCUSED) == "button"
        await browser.press(ENTER)
        await becomes(status, lambda text: "Waiting for your payment" in (text or ""))
        pay(api, intent)
        await becomes(status, lambda text: "Paid" in (text or ""))
        await becomes(lambda: browser.run(TOLD), lambda told: told[-1] == "Success paid")
        await browser.run(
            "document.querySelector('sbtc-pay-window').shadowRoot.querySelector('[aria-label=Close]').focus()"
        )
        await browser.press(ESCAPE)
        told = await becomes(lambda: browser.run(TOLD), lambda told: told[-1] == "Close paid")
        assert told.count("Success paid") == 1
        assert await browser.run(FOCUSED) == "button"
