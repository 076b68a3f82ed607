"""The widget on a shop's own page, which is of another origin, in a real browser."""

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import FrameLocator, Locator, Page, expect

from chain.testing import principal, txs
from tests import harness
from tests.browser.conftest import AXE, Visitor, check_page
from tests.browser.shop_page import ShopPage
from tests.deployment import Deployment
from tests.integration.watcher.api.api_fixture import ApiFixture
from tests.integration.watcher.ledger_fixture import PAYER, SHOP, LedgerFixture
from watcher.schemas import ChangeMerchant
from watcher.services import merchants

LOGO = "image/svg+xml"


class Widget:
    """The widget as a person finds it on a page."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.dialog: Locator = page.get_by_role("dialog", name="Payment")
        self.frame: FrameLocator = self.dialog.frame_locator("iframe")
        self.status = self.frame.get_by_role("status").first

    async def told(self) -> list[list[Any]]:
        """Return what the shop's page was told so far: names, states, intents."""
        found: list[list[Any]] = await self.page.evaluate("told")
        return found

    async def names(self) -> list[str]:
        """Return what the shop's page was told so far, in words."""
        return [f"{name} {state}" for name, state, _ in await self.told()]

    async def focused(self) -> str:
        """Return which element has the focus, through the roots that the widget has."""
        found: str = await self.page.evaluate(
            "() => { let one = document.activeElement;"
            " while (one.shadowRoot && one.shadowRoot.activeElement) one = one.shadowRoot.activeElement;"
            " return one.localName; }"
        )
        return found


class Site:
    """A server, a shop's page, and intents to pay."""

    def __init__(self, api: ApiFixture, shop: ShopPage) -> None:
        self.api = api
        self.shop = shop

    async def visit(self, visitor: Visitor, body: str, head: str = "", **options: Any) -> Widget:
        """Open a page of the shop, see :func:`visit_shop`."""
        return await visit_shop(visitor, self.shop, body, head, **options)


async def visit_shop(visitor: Visitor, shop: ShopPage, body: str, head: str = "", **options: Any) -> Widget:
    """Open a page of the shop that has the widget's script, ``head`` and ``body``."""
    shop.head = f'<script src="{shop.pay}/widget.js" async></script>{head}'
    shop.body = body
    visitor.allowed.add(shop.pay)
    page = await visitor.visit(shop.url, **options)
    await page.wait_for_function("() => window.SbtcPay")
    return Widget(page)


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    """A shop whose page may show the checkouts of its merchant."""
    fixture = LedgerFixture(tmp_path)
    async with ApiFixture(fixture) as api, ShopPage(api.url) as shop:
        api.allow(shop.url)
        yield Site(api, shop)
    fixture.database.close()


async def test_a_payment_begins_and_ends_on_the_shops_page(deployment: Deployment, visitor: Visitor) -> None:
    """From the keyboard: the button opens the window, the payment is followed there, the page is told of each
    step and once of the success, and closing leads back to the button.
    """
    async with ShopPage() as shop:
        made = await deployment.shop()
        await deployment.cli("merchants", "update", made["merchant"], "--allowed-origins", shop.url)
        await deployment.start()
        shop.pay = await deployment.url()
        intent = await deployment.json(
            *("intents", "create", "--merchant", made["merchant"], "--amount", "50000", "--level", "included")
        )
        widget = await visit_shop(
            visitor, shop, f'<sbtc-pay checkout-url="{intent["checkout_url"]}">Wait</sbtc-pay>'
        )
        page = widget.page
        await page.get_by_role("button", name="Pay now").focus()
        await page.keyboard.press("Enter")
        await expect(widget.status).to_contain_text("Waiting for your payment")
        await expect(widget.dialog.get_by_text("is being loaded")).to_be_hidden()
        assert await widget.focused() == "iframe"
        await _check_both(widget)
        memo = intent["pay"]["memo"].encode()
        payment = txs.sbtc_transfer(principal("payer"), harness.SHOP, 50_000, memo=memo, label="payment")
        deployment.chain.add_pending(payment)
        await expect(widget.status).to_contain_text("Payment seen")
        assert await widget.names() == ["Status waiting", "Status seen"]
        deployment.chain.mine([payment])
        await expect(widget.status).to_contain_text("Paid")
        await page.wait_for_function("() => told.some(([name]) => name === 'Success')")
        await _check_both(widget)
        await widget.dialog.get_by_role("button", name="Close").click()
        await expect(widget.dialog).to_have_count(0)
        assert await widget.focused() == "button"
        names = await widget.names()
        assert names[-3:] == ["Status paid", "Success paid", "Close paid"]
        assert names.count("Success paid") == 1
        assert {one for _, _, one in await widget.told()} == {intent["id"]}
        # The webhook is what counts, and it came.
        (arrival, *_) = await deployment.receiver.wait_for(1, path="/hook")
        assert arrival.document["type"] == "payment.succeeded"


async def test_the_keyboard_stays_in_the_window_and_escape_closes_it(site: Site, visitor: Visitor) -> None:
    """From within the frame and from around it; the focus never reaches the page behind."""
    intent = await site.api.create()
    widget = await site.visit(
        visitor, f'<a href="/">Home</a> <sbtc-pay checkout-url="{intent["checkout_url"]}"></sbtc-pay>'
    )
    page = widget.page
    button = page.get_by_role("button", name="Pay now")
    await button.click()
    await expect(widget.status).to_contain_text("Waiting")
    for _ in range(25):
        await page.keyboard.press("Tab")
        assert await widget.focused() in {"iframe", "button", "body"}
        assert not await page.evaluate("document.activeElement.matches('a, sbtc-pay')")
    await widget.frame.get_by_role("button", name=re.compile("Copy Amount")).focus()
    await page.keyboard.press("Escape")
    await expect(widget.dialog).to_have_count(0)
    assert await widget.focused() == "button"
    await page.keyboard.press("Enter")
    await expect(widget.status).to_contain_text("Waiting")
    await widget.dialog.get_by_role("button", name="Close").focus()
    await page.keyboard.press("Escape")
    await expect(widget.dialog).to_have_count(0)
    await page.wait_for_function("() => told.length === 4")
    assert await widget.names() == ["Status waiting", "Close waiting"] * 2


async def test_one_window_at_a_time_whatever_opens_it(site: Site, visitor: Visitor) -> None:
    """A double click opens one, another payment takes its place, a script that comes twice changes nothing.

    An element that leaves the page takes its window with it, and one that is moved does not.
    """
    first, second = await site.api.create(), await site.api.create()
    widget = await site.visit(
        visitor,
        f'<sbtc-pay id="a" text="Pay one" checkout-url="{first["checkout_url"]}"></sbtc-pay>'
        f'<sbtc-pay id="b" text="Pay two" checkout-url="{site.api.url}{second["checkout_url"]}"></sbtc-pay>',
        head=f'<script src="{site.api.url}/widget.js"></script>'
        f'<script type="module" src="{site.api.url}/widget.mjs"></script>',
    )
    page = widget.page
    await page.get_by_role("button", name="Pay one").dblclick()
    await expect(widget.status).to_contain_text("Waiting")
    assert await page.locator("sbtc-pay-window").count() == 1
    await page.evaluate("document.querySelector('main').append(document.querySelector('#a'))")
    await expect(widget.dialog).to_have_count(1)
    await page.evaluate("document.querySelector('#b').open()")
    await expect(widget.status).to_contain_text("Waiting")
    await page.wait_for_function("() => told.length === 3")
    assert await page.locator("sbtc-pay-window").count() == 1
    await page.evaluate("document.querySelector('#b').remove()")
    await expect(widget.dialog).to_have_count(0)
    assert [(name, one) for name, _, one in await widget.told()] == [
        ("Status", first["id"]),
        ("Close", first["id"]),
        ("Status", second["id"]),
        ("Close", second["id"]),
    ]


async def test_a_page_that_makes_itself_anew_ends_the_window(site: Site, visitor: Visitor) -> None:
    """A single-page shop that replaces its body leaves no window and no listener, and can open another."""
    intent = await site.api.create()
    widget = await site.visit(visitor, "")
    page = widget.page
    open_it = "url => { SbtcPay.open({ checkoutUrl: url, ...callbacks }); }"
    await page.evaluate(open_it, intent["checkout_url"])
    await expect(widget.status).to_contain_text("Waiting")
    await page.wait_for_function("() => told.length")
    await page.evaluate("history.pushState({}, '', '/other'); document.body.replaceChildren()")
    assert await widget.names() == ["Status waiting", "Close waiting"]
    await page.evaluate(open_it, intent["checkout_url"])
    await expect(widget.status).to_contain_text("Waiting")
    await page.goto(f"{site.shop.url}/third")
    await page.go_back()
    await page.wait_for_function("() => window.SbtcPay")
    await page.evaluate(open_it, intent["checkout_url"])
    await expect(widget.status).to_contain_text("Waiting")


async def test_it_looks_and_speaks_as_the_shop_asks(site: Site, visitor: Visitor) -> None:
    """Language of the page, theme, color, radius, text and logo, in the button and within the frame.

    What is no color is left out, and a wrong address is refused with words.
    """
    intent = await site.api.create()
    site.shop.language = "de-CH"
    site.shop.files["/logo.svg"] = ('<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>', LOGO)
    widget = await site.visit(
        visitor,
        f'<sbtc-pay checkout-url="{intent["checkout_url"]}" theme="dark" color="#F7931A" radius="24">'
        "</sbtc-pay>"
        '<sbtc-pay link="tea" text="Tee kaufen" logo="/logo.svg" color="orange;}" radius="2em"></sbtc-pay>'
        '<sbtc-pay link="tea" logo="http://[" disabled><a href="/">x</a></sbtc-pay>'
        '<sbtc-pay link="tea" logo="javascript:alert(1)" hidden></sbtc-pay>',
    )
    page = widget.page
    first, second, third = await page.get_by_role("button").all()
    await expect(first).to_have_text("Jetzt bezahlen")
    await expect(first).to_have_css("background-color", "rgb(247, 147, 26)")
    await expect(first).to_have_css("color", "rgb(0, 0, 0)")
    await expect(first).to_have_css("border-radius", "24px")
    await expect(second).to_have_text("Tee kaufen")
    await expect(second).to_have_css("background-color", "rgb(36, 80, 200)")
    await expect(second).to_have_css("border-radius", "32px")
    await expect(second.locator("img")).to_have_js_property("naturalWidth", 9)
    await expect(third).to_be_disabled()
    await expect(page.locator("sbtc-pay img")).to_have_count(1)
    await first.click()
    dialog = page.get_by_role("dialog", name="Zahlung")
    frame = dialog.frame_locator("iframe")
    await expect(frame.get_by_role("status").first).to_contain_text("Wir warten")
    await expect(frame.locator("body")).to_have_css("background-color", "rgb(15, 17, 21)")
    await expect(frame.locator("html")).to_have_css("--brand", "#f7931a")
    await dialog.get_by_role("button", name="Schließen").click()
    refused = await page.evaluate(
        "() => { try { SbtcPay.open({ checkoutUrl: 'https://evil.example/pay/x' }) }"
        " catch (error) { return String(error) } }"
    )
    assert refused.startswith("TypeError: sbtc-pay: https://evil.example/pay/x is not below ")


async def test_a_payment_link_is_opened_chosen_and_paid_in_the_window(site: Site, visitor: Visitor) -> None:
    """The link's page and the checkout that it starts are one way in the frame; who closes it between goes on
    at the payment that was started, and starts no second one.
    """
    answer = await site.api.client.post(
        "/v1/payment_links", json={"prices": {"sbtc": "50000", "stx": "25000000"}, "description": "Tea"}
    )
    link = answer.json()
    code = link["url"].rpartition("/")[2]
    widget = await site.visit(visitor, f'<sbtc-pay link="{code}" theme="dark"></sbtc-pay>')
    page = widget.page
    await page.get_by_role("button", name="Pay now").click()
    choice = widget.frame.get_by_role("radio", name=re.compile("sBTC"))
    await expect(choice).to_be_visible()
    await expect(widget.frame.locator("body")).to_have_css("background-color", "rgb(15, 17, 21)")
    await expect(widget.dialog.get_by_text("is being loaded")).to_be_hidden()
    assert await widget.names() == []
    await _check_both(widget)
    await choice.check()
    await widget.frame.get_by_role("button").first.click()
    await expect(widget.status).to_contain_text("Waiting")
    await expect(widget.frame.locator("body")).to_have_css("background-color", "rgb(15, 17, 21)")
    await page.wait_for_function("() => told.length === 1")
    ((_, _, intent),) = await widget.told()
    await widget.dialog.get_by_role("button", name="Close").click()
    await page.get_by_role("button", name="Pay now").click()
    await expect(widget.status).to_contain_text("Waiting")
    await page.wait_for_function("() => told.length === 3")
    assert {one for _, _, one in await widget.told()} == {intent}
    found = (await site.api.client.get(f"/v1/payment_intents/{intent}")).json()
    site.api.fixture.mine(txs.sbtc_transfer(PAYER, SHOP, 50_000, found["reference"].encode()))
    site.api.fixture.mine(burn=True, n=3)
    await page.wait_for_function("() => told.some(([name]) => name === 'Success')")
    await expect(widget.status).to_contain_text("Paid")
    listed = (await site.api.client.get("/v1/payment_intents")).json()["data"]
    assert [one["id"] for one in listed] == [intent]


async def test_links_in_the_window_lead_where_they_belong(site: Site, visitor: Visitor) -> None:
    """A wallet pays on a page of its own, help opens beside the shop, the way back leads the shop's page."""
    with site.api.fixture.database.begin() as connection:
        request = ChangeMerchant(support_url=f"{site.shop.url}/help")
        merchants.change(
            connection, site.api.fixture.settings, site.api.merchant, request, now=site.api.fixture.clock()
        )
    intent = await site.api.create(cancel_url=f"{site.shop.url}/cart")
    widget = await site.visit(visitor, f'<sbtc-pay checkout-url="{intent["checkout_url"]}"></sbtc-pay>')
    page = widget.page
    await page.get_by_role("button", name="Pay now").click()
    for name, address in (
        ("Pay with a wallet, on a page of its own", site.api.url + intent["checkout_url"]),
        ("Help from Shop", f"{site.shop.url}/help"),
    ):
        async with page.context.expect_page() as opened:
            await widget.frame.get_by_role("link", name=name).click()
        beside = await opened.value
        await beside.wait_for_load_state()
        assert beside.url.partition("?")[0] == address
        assert await beside.evaluate("window.opener === null && window.top === window")
    await expect(widget.status).to_contain_text("Waiting")
    assert await widget.names() == ["Status waiting"]
    await widget.frame.get_by_role("link", name="Do not pay").click()
    await expect(page).to_have_url(f"{site.shop.url}/cart")
    await expect(page.get_by_role("dialog")).to_have_count(0)


async def test_a_window_may_open_another_and_says_when_its_page_is_gone(site: Site, visitor: Visitor) -> None:
    """A function of the shop's that throws, or opens the next window, disturbs nothing.

    What is loaded later and cannot be shown is said, too.
    """
    visitor.expected |= {"of the shop", "frame-ancestors", "Framing", "404"}
    first, second = await site.api.create(), await site.api.create()
    widget = await site.visit(visitor, "")
    page = widget.page
    await page.evaluate(
        "([first, second]) => { SbtcPay.open({"
        " checkoutUrl: first, onStatus: () => { throw Error('of the shop') },"
        " onClose: () => SbtcPay.open({ checkoutUrl: second, ...callbacks }) }) }",
        [first["checkout_url"], second["checkout_url"]],
    )
    await expect(widget.status).to_contain_text("Waiting")
    await page.keyboard.press("Escape")
    await page.wait_for_function("() => told.length")
    assert [(name, one) for name, _, one in await widget.told()] == [("Status", second["id"])]
    assert await page.locator("sbtc-pay-window").count() == 1
    await page.frames[-1].evaluate("() => { location.href = '/pay/aaaaaaaaaaaaaaaaaaaaaa' }")
    await expect(widget.dialog.get_by_role("alert")).to_be_visible()
    await widget.dialog.get_by_role("button", name="Try again").click()
    await expect(widget.status).to_contain_text("Waiting")
    await expect(widget.dialog.get_by_role("alert")).to_be_hidden()
    # A copy of the page, as some libraries keep one, has no window.
    await page.evaluate("document.body.append(document.querySelector('sbtc-pay-window').cloneNode(true))")
    assert await page.locator("sbtc-pay-window").count() == 1


async def test_a_page_of_an_origin_that_is_not_allowed_shows_nothing(site: Site, visitor: Visitor) -> None:
    """The browser refuses the frame; the window says so in words, and leads to the page itself."""
    visitor.expected |= {"frame-ancestors", "Framing"}
    intent = await site.api.create()
    async with ShopPage(site.api.url) as other:
        site.shop = other
        widget = await site.visit(visitor, "")
        page = widget.page
        await page.evaluate(
            "url => { SbtcPay.open({ checkoutUrl: url, ...callbacks }); }", intent["checkout_url"]
        )
        await expect(widget.dialog.get_by_role("alert")).to_contain_text("does not answer")
        await check_page(page)
        link = widget.dialog.get_by_role("link", name="Open it in a new page")
        await expect(link).to_have_attribute("href", site.api.url + intent["checkout_url"])
        assert await widget.names() == []
        await page.keyboard.press("Escape")
        await page.wait_for_function("() => told.length")
        assert await widget.names() == ["Close None"]


async def test_what_others_post_is_not_believed(site: Site, visitor: Visitor) -> None:
    """The shop's own page cannot say paid, nor can a message that the server's page would never send."""
    intent = await site.api.create()
    widget = await site.visit(visitor, "")
    page = widget.page
    await page.evaluate(
        "url => { SbtcPay.open({ checkoutUrl: url, ...callbacks }); }", intent["checkout_url"]
    )
    await expect(widget.status).to_contain_text("Waiting")
    frame = page.frames[-1]
    forged = {
        "v": 1,
        "type": "sbtc-pay.status",
        "state": "paid",
        "paymentIntent": intent["id"],
        "checkoutUrl": f"{site.api.url}/pay/x",
    }
    await page.evaluate("message => window.postMessage(message, '*')", forged)
    await page.evaluate(
        "message => dispatchEvent(new MessageEvent('message', { data: message, source: window }))", forged
    )
    # What the server's own page could never send.
    wrong: list[Any] = [
        *(None, 5, "paid", []),
        *(forged | {"v": 2}, forged | {"v": "1"}, forged | {"state": "sold"}),
        *(forged | {"paymentIntent": "<b>"}, forged | {"checkoutUrl": "javascript:alert(1)"}),
        *({"v": 1, "type": "sbtc-pay.height", "height": height} for height in (-1, 1e9, "9px")),
    ]
    for message in wrong:
        await frame.evaluate(
            "([message, origin]) => parent.postMessage(message, origin)", [message, site.shop.url]
        )
    # The shop's page posts into the frame: nothing there reads it.
    await page.evaluate(
        "message => document.querySelector('sbtc-pay-window').shadowRoot.querySelector('iframe')"
        ".contentWindow.postMessage(message, '*')",
        forged,
    )
    await frame.evaluate(
        "([message, origin]) => parent.postMessage(message, origin)",
        [forged | {"state": "seen"}, site.shop.url],
    )
    await page.wait_for_function("() => told.length > 1")
    assert await widget.names() == ["Status waiting", "Status seen"]
    await expect(widget.status).to_contain_text("Waiting")


async def test_a_server_that_is_down_is_said_and_tried_again(site: Site, visitor: Visitor) -> None:
    """Nothing answers: words and a button; when the server is back, the button shows the payment."""
    intent = await site.api.create()
    body = f'<sbtc-pay checkout-url="{intent["checkout_url"]}"></sbtc-pay>'
    widget = await site.visit(visitor, body)
    site.api.stop.set()
    await site.api.serving
    visitor.expected |= {"ERR_CONNECTION_REFUSED", "ERR_FAILED"}
    await widget.page.get_by_role("button", name="Pay now").click()
    await expect(widget.dialog.get_by_role("alert")).to_contain_text("Nothing is lost")
    await check_page(widget.page)
    async with ApiFixture(site.api.fixture, http_bind=site.api.url.removeprefix("http://")):
        await widget.dialog.get_by_role("button", name="Try again").click()
        await expect(widget.status).to_contain_text("Waiting")
        await expect(widget.dialog.get_by_role("alert")).to_be_hidden()


async def _check_both(widget: Widget) -> None:
    """Check the shop's page and the page in the frame, on a phone and on a desk."""
    for width in (390, 1280):
        await widget.page.set_viewport_size({"width": width, "height": 844})
        await check_page(widget.page)
        frame = widget.page.frames[-1]
        assert await frame.evaluate("document.documentElement.scrollWidth <= innerWidth")
        if AXE.exists():
            await frame.evaluate(AXE.read_text())
            assert [one["id"] for one in (await frame.evaluate("axe.run()"))["violations"]] == []
