"""The checkout in a real browser: every state, live, without a connection, by keyboard, and on paper."""

import os
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, Route, expect

from chain.testing import principal, txs
from tests import checkout_states, harness
from tests.browser.conftest import Visitor, check_page, check_widths
from tests.deployment import ROOT, Deployment
from tests.integration.watcher.api.api_fixture import ApiFixture
from tests.integration.watcher.ledger_fixture import PAYER, SHOP, LedgerFixture
from watcher.api import long_poll

#: Where the pictures of docs/checkout.md are put, made anew: PICTURES=docs/images pytest tests/browser/…
PICTURES = os.environ.get("PICTURES")

#: A page is hidden, as far as its scripts can see, while ``window.away`` is true.
HIDING = """
window.away = false;
Object.defineProperty(document, "hidden", {get: () => window.away});
window.hide = (is) => { window.away = is; document.dispatchEvent(new Event("visibilitychange")); };
"""


@pytest.fixture
async def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ApiFixture]:
    """A server in this process, before a ledger that the test moves by hand."""
    monkeypatch.setattr(long_poll, "POLL_SECONDS", 0.05)
    fixture = LedgerFixture(tmp_path)
    checkout_states.dress(fixture)
    async with ApiFixture(fixture) as made:
        yield made
    fixture.database.close()


def pay(api: ApiFixture, intent: dict[str, Any], amount: int = 50_000) -> None:
    api.fixture.mine(txs.sbtc_transfer(PAYER, SHOP, amount, intent["reference"].encode()))


def server(api: ApiFixture) -> Any:
    assert api.server.api is not None
    return api.server.api


async def says(page: Page, text: str) -> None:
    await expect(page.get_by_role("status")).to_contain_text(text)


async def test_a_payer_sees_the_payment_arrive(deployment: Deployment, visitor: Visitor) -> None:
    """From the mempool into a block, deep enough, and out again: said as it is, and paid no sooner."""
    shop = await deployment.shop()
    await deployment.start()
    url = await deployment.url()
    create = ("intents", "create", "--merchant", shop["merchant"], "--amount", "50000")
    whole = await deployment.json(*create, "--level", "stacks=1,bitcoin=1")
    parts = await deployment.json(*create, "--level", "included")
    never = await deployment.json(*create, "--expires-in", "20s")
    page, partial, late = [
        await visitor.visit(url + intent["checkout_url"], width=390) for intent in (whole, parts, never)
    ]

    def payment(intent: Any, amount: int, label: str) -> txs.Tx:
        memo = intent["pay"]["memo"].encode()
        return txs.sbtc_transfer(principal("payer"), harness.SHOP, amount, memo=memo, label=label)

    for shown in (page, partial, late):
        await says(shown, "Waiting for your payment")
    paid = payment(whole, 50_000, "whole")
    deployment.chain.add_pending(paid)
    await says(page, "Payment seen")
    await expect(page.get_by_role("heading", level=1)).to_be_focused()
    await expect(page.locator("details")).not_to_have_attribute("open", "")
    deployment.chain.mine([paid, payment(parts, 20_000, "part")])
    await says(page, "Payment arrived, being confirmed")
    await expect(page.get_by_text("0 of 1 Bitcoin block.")).to_be_visible()
    await says(partial, "0.0003 sBTC is still missing")
    await expect(partial.locator('[data-copy="0.0003"]')).to_have_count(1)
    deployment.chain.mine([payment(parts, 30_000, "rest")], burn=True)
    await says(page, "Paid")
    await expect(page.get_by_role("heading", name="Receipt")).to_be_visible()
    await says(partial, "Paid")
    deployment.chain.mine(seconds=400)
    await says(late, "The time to pay is over")
    await expect(late.get_by_text(harness.SHOP)).to_have_count(0)
    deployment.chain.mine(seconds=700)
    await says(late, "Expired")
    deployment.chain.reorg(4, [[], [], []], burn=True)
    deployment.chain.mine(n=3, seconds=700)
    await says(page, "The chain was reorganised")
    await expect(page.get_by_role("heading", name="Receipt")).to_have_count(0)


async def test_every_state_is_sound_on_a_phone_and_on_a_desk(api: ApiFixture, visitor: Visitor) -> None:
    """No page scrolls sideways or has a finding of axe, in light, in dark, and in the system's own colors."""
    visitor.allowed.add(api.url)
    made = checkout_states.paths(api.fixture, checkout_states.make_states(api.fixture))
    page = await (await visitor.context(width=390)).new_page()
    for path in made.values():
        await page.goto(api.url + path)
        await check_widths(page)
    for name in ("waiting", "underpaid", "unverified", "paid", "late-more"):
        await page.emulate_media(color_scheme="dark")
        await page.goto(api.url + made[name])
        await check_page(page)
        await page.emulate_media(forced_colors="active")
        await check_page(page)
        await page.emulate_media(forced_colors="none", color_scheme="light")


async def test_hostile_words_break_no_page(api: ApiFixture, visitor: Visitor) -> None:
    """Long words without a space, both directions of writing, markup and pictures of letters: all is text."""
    evil = "<script>alert(1)</script>" + "\u202eاختبار" + "🫖" * 20 + "W" * 300
    checkout_states.dress(
        api.fixture, display_name=evil[:200], support_url="https://help.example/" + "x" * 900
    )
    made = await api.create(
        description=evil[:500], reference="W" * 34, cancel_url="https://a.example/" + "b" * 900
    )
    page = await visitor.visit(api.url + made["checkout_url"], width=390)
    await says(page, "Waiting for your payment")
    await check_widths(page)
    await page.goto(f"{api.url}{made['checkout_url']}?lang=ja")
    await check_widths(page)


async def test_without_a_stream_the_page_waits_for_changes(
    api: ApiFixture, visitor: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a stream is refused one request waits for each change; nothing is asked for over and over."""
    visitor.expected.add("429")
    monkeypatch.setattr(server(api).streams, "of_caller", 0)
    made = await api.create(level="included")
    asked: list[str] = []
    page = await visitor.visit(api.url + made["checkout_url"])
    page.on("request", lambda request: asked.append(request.url))
    await harness.until(lambda: server(api).payer_waits.count == 1, within=10)
    pay(api, made, 20_000)
    await says(page, "Part of it has arrived")
    await harness.until(lambda: server(api).payer_waits.count == 1, within=10)
    pay(api, made, 30_000)
    await says(page, "Paid")
    assert sum("?wait=" in url for url in asked) <= 3
    assert sum(url.endswith(made["checkout_url"]) for url in asked) <= 6


async def test_a_lost_connection_is_said_and_found_again(api: ApiFixture, visitor: Visitor) -> None:
    """The page says quietly that it is alone, and tells the truth as soon as it is not."""
    visitor.expected |= {"ERR_INTERNET_DISCONNECTED", "503"}
    made = await api.create(level="included")
    page = await visitor.visit(api.url + made["checkout_url"])
    await harness.until(lambda: server(api).streams.count == 1, within=10)
    said = page.locator("#offline")
    await expect(said).to_be_empty()
    await page.context.set_offline(True)
    await page.evaluate("dispatchEvent(new Event('focus'))")
    await expect(said).to_have_text("No connection. Trying again …")
    await check_page(page)
    pay(api, made, 20_000)
    await page.context.set_offline(False)
    await expect(said).to_be_empty()
    await says(page, "Part of it has arrived")

    refusals = 0

    async def refuse(route: Route) -> None:
        nonlocal refusals
        refusals += 1
        if refusals > 1:
            await route.fallback()
        else:
            await route.fulfill(status=503, headers={"retry-after": "1"}, body="")

    await page.route(f"**{made['checkout_url']}", refuse)
    pay(api, made, 30_000)
    await says(page, "Paid")
    assert refusals == 2
    await expect(said).to_be_empty()


async def test_a_page_of_an_earlier_release_is_loaded_anew(api: ApiFixture, visitor: Visitor) -> None:
    """The server was upgraded while a page was open: old scripts do not go on with its new pages."""
    made = await api.create(level="included")
    page = await visitor.visit(api.url + made["checkout_url"])
    await harness.until(lambda: server(api).streams.count == 1, within=10)
    # Wallets put scripts of their own into pages: they are no other release.
    visitor.expected |= {"data:text/javascript,0", "stops data"}
    await page.evaluate(
        "document.head.append(Object.assign(document.createElement('script'), {id: 'wallets'}))"
    )
    await page.evaluate("window.old = document.getElementById('wallets').src = 'data:text/javascript,0'")
    pay(api, made, 10_000)
    await says(page, "Part of it has arrived")
    assert await page.evaluate("window.old")
    # As if the page had come from another release.
    await page.evaluate("document.querySelector('script[src]').setAttribute('src', 'assets/checkout-0.js')")
    pay(api, made, 40_000)
    await says(page, "Paid")
    await page.wait_for_function("window.old === undefined")


async def test_a_page_that_nobody_sees_holds_no_connection(api: ApiFixture, visitor: Visitor) -> None:
    """A phone that sleeps gives its place back, and knows how it stands when somebody looks."""
    made = await api.create(level="included")
    page = await visitor.visit(api.url + made["checkout_url"], script=HIDING)
    await harness.until(lambda: server(api).streams.count == 1, within=10)
    await page.evaluate("hide(true)")
    await harness.until(lambda: server(api).streams.count == 0, within=10)
    pay(api, made)
    await page.evaluate("hide(false)")
    await says(page, "Paid")
    await harness.until(lambda: server(api).streams.count == 1, within=10)


async def test_reload_back_and_many_tabs_show_the_same(api: ApiFixture, visitor: Visitor) -> None:
    """Seven tabs follow one payment over the six connections that a browser has, and none is left behind."""
    made = await api.create(level="included")
    url = api.url + made["checkout_url"]
    page = await visitor.visit(url)
    tabs = [page]
    for _ in range(6):
        tabs.append(await page.context.new_page())
        await tabs[-1].goto(url)
    await harness.until(lambda: server(api).streams.count == 4, within=20)
    pay(api, made, 20_000)
    for tab in tabs:
        await says(tab, "Part of it has arrived")
    for tab in tabs[1:]:
        await tab.close()
    await page.goto(f"{url}?lang=de")
    pay(api, made, 30_000)
    await says(page, "Bezahlt")
    await page.go_back()
    await says(page, "Paid")
    await page.reload()
    await says(page, "Paid")


async def test_a_payer_needs_no_mouse(api: ApiFixture, visitor: Visitor) -> None:
    """Every control is reached by the keyboard, does what it says, and says that it did."""
    made = await api.create(cancel_url="https://shop.example/cart")
    page = await visitor.visit(
        api.url + made["checkout_url"], permissions=["clipboard-read", "clipboard-write"]
    )
    button = page.get_by_role("button", name="Copy With this memo")
    await expect(button).to_be_visible()
    for _ in range(12):
        await page.keyboard.press("Tab")
        if await button.evaluate("one => one === document.activeElement"):
            break
    await page.keyboard.press("Enter")
    await expect(page.get_by_text("Copied", exact=True).first).to_be_attached()
    assert await page.evaluate("navigator.clipboard.readText()") == made["reference"]
    api.fixture.mine(seconds=120)
    await expect(page.locator("#checkout")).to_have_attribute("data-left", re.compile("^34|^33"))
    await expect(button).to_be_focused()
    await page.get_by_role("link", name="Deutsch").focus()
    await page.keyboard.press("Enter")
    await says(page, "Wir warten auf Ihre Zahlung")


async def test_without_scripts_everything_to_pay_is_there(api: ApiFixture, visitor: Visitor) -> None:
    """Address, amount, memo and codes stand there, times name their zone, and no dead button is shown."""
    made = await api.create()
    page = await visitor.visit(api.url + made["checkout_url"], java_script_enabled=False)
    for text in (SHOP, made["reference"], "0.0005", "UTC"):
        await expect(page.get_by_text(text).first).to_be_visible()
    await expect(page.locator("svg")).to_have_count(2)
    await expect(page.get_by_role("button")).to_have_count(0)


async def test_times_are_the_payers_own_and_seconds_count_near_the_end(
    api: ApiFixture, visitor: Visitor
) -> None:
    """A moment is written in the payer's zone and language; near the end seconds are counted, unsaid."""
    made = await api.create(expires_in="200s")
    context = await visitor.context(timezone_id="Asia/Tokyo")
    visitor.allowed.add(api.url)
    page = await context.new_page()
    await page.clock.install()
    await page.goto(f"{api.url}{made['checkout_url']}?lang=de")
    until = page.locator("time").last
    hour = (int(made["expires_at"][11:13]) + 9) % 24
    await expect(until).to_contain_text(f"{hour:02d}:{made['expires_at'][14:16]}")
    left = page.get_by_role("timer")
    await expect(left).to_have_text(re.compile(r"^3:[012]\d$"))
    before = await left.text_content()
    await page.clock.run_for(5_000)
    await expect(left).not_to_have_text(str(before))
    await expect(left).to_have_text(re.compile(r"^3:[012]\d$"))
    assert await left.get_attribute("aria-live") == "off"
    assert await page.get_by_role("status").get_by_role("timer").count() == 0
    api.fixture.mine(seconds=150)
    await page.clock.run_for(25_000)
    await expect(left).to_have_text(re.compile(r"^0:[2345]\d$"))


async def test_the_receipt_can_be_printed(api: ApiFixture, visitor: Visitor) -> None:
    """On paper there is the receipt, on one page, and nothing to click."""
    made = await api.create(level="included", success_url="https://shop.example/thanks", description="Tea")
    pay(api, made)
    page = await visitor.visit(
        api.url + made["checkout_url"], script="window.print = () => (window.printed = 1)"
    )
    await page.get_by_role("button", name="Print or save").click()
    assert await page.evaluate("window.printed") == 1
    paper = await page.pdf(format="A4")
    assert paper.count(b"/Type /Page\n") == 1
    await page.emulate_media(media="print")
    for text in ("Receipt", "Tea & Leaves", made["reference"], "0.0005 sBTC"):
        await expect(page.locator(".receipt").get_by_text(text).first).to_be_visible()
    for text in ("Back to Tea", "Print or save", "Deutsch", "Amounts are counted"):
        await expect(page.get_by_text(text).first).to_be_hidden()


async def test_pictures_for_the_documentation(api: ApiFixture, visitor: Visitor, tmp_path: Path) -> None:
    """The page on a phone, before the payment and after it, as docs/checkout.md shows it."""
    pictures = Path(PICTURES or tmp_path)
    words = {"description": checkout_states.DESCRIPTION, "fiat": "49.90 EUR", "level": "included"}
    made = await api.create(
        **words, cancel_url="https://tea.example/cart", success_url="https://tea.example/"
    )
    page = await visitor.visit(api.url + made["checkout_url"], width=390)
    await says(page, "Waiting for your payment")
    await page.screenshot(path=str(pictures / "checkout.png"))
    pay(api, made)
    await says(page, "Paid")
    await page.screenshot(path=str(pictures / "checkout-receipt.png"))
    shown = (ROOT / "docs/checkout.md").read_text()
    for name in ("checkout.png", "checkout-receipt.png"):
        assert f"images/{name}" in shown
        assert 0 < (ROOT / "docs/images" / name).stat().st_size < 80_000
