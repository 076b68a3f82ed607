"""Payment links in a real browser: made in the dashboard, opened and paid by somebody with a phone."""

import pytest
from playwright.async_api import expect

from chain.testing import txs
from tests.browser.conftest import Visitor, check_widths
from tests.browser.shop_page import ShopPage
from tests.browser.test_dashboard_overview import picture, sign_in
from tests.browser.test_widget import visit_shop
from tests.integration.watcher.api.api_fixture import ApiFixture
from tests.integration.watcher.ledger_fixture import PAYER, SHOP
from watcher.api import long_poll
from watcher.schemas import ChangePaymentLink, NewPaymentLink
from watcher.services.passwords import hash_password


async def test_a_shop_owner_makes_a_link_and_changes_it(visitor: Visitor, api: ApiFixture) -> None:
    """Only the fields of the chosen price are there; the page has the code, and files of it."""
    visitor.expected.add("422")
    page = await sign_in(visitor, api, api.key)
    await page.goto(f"{api.url}/dashboard/links")
    await expect(page.get_by_text("There are no links yet.")).to_be_visible()
    await check_widths(page)
    await page.get_by_role("link", name="Create a link").click()
    await page.get_by_label("What is paid for").fill("Coffee")
    await expect(page.get_by_label("At least")).to_be_hidden()
    await page.get_by_label("A price in several assets").check()
    await expect(page.get_by_role("textbox", name="Amount", exact=True)).to_be_hidden()
    await page.get_by_label("Price in sBTC").fill("0.00007")
    await page.get_by_label("Price in STX").fill("12,500")
    await check_widths(page)
    await page.get_by_role("button", name="Create the link").click()
    await expect(page.get_by_role("alert")).to_contain_text("Nothing was changed.")
    await check_widths(page)
    await page.get_by_label("Price in STX").fill("12.5")
    await page.get_by_role("button", name="Create the link").click()
    await expect(page.get_by_role("status")).to_contain_text("The link is there.")
    await expect(page.get_by_text("12.5 STX")).to_be_visible()
    await check_widths(page)
    async with page.expect_download() as started:
        await page.get_by_role("link", name="Code as PNG").click()
    assert (await started.value).suggested_filename.endswith(".png")
    await page.get_by_text("Disable", exact=True).click()
    await page.get_by_role("button", name="Disable it now").click()
    await expect(page.get_by_text("It is disabled")).to_be_visible()
    await page.get_by_role("link", name="Edit").click()
    await page.get_by_label("One amount for everybody").check()
    await page.get_by_role("textbox", name="Amount", exact=True).fill("0.0001")
    await page.get_by_role("button", name="Save").click()
    await expect(page.get_by_text("0.0001 sBTC")).to_be_visible()
    await page.goto(f"{api.url}/dashboard/links")
    await expect(page.get_by_role("row", name="Coffee")).to_contain_text("disabled")
    await check_widths(page)


async def pay(api: ApiFixture, asset: str) -> None:
    """Pay the newest intent."""
    intent = (await api.client.get("/v1/payment_intents")).json()["data"][0]
    make = txs.sbtc_transfer if asset == "sbtc" else txs.stx_transfer
    api.fixture.mine(make(PAYER, SHOP, int(intent["amount"]), intent["reference"].encode()))
    api.fixture.mine(n=3, burn=True)


async def test_somebody_chooses_an_asset_and_pays(visitor: Visitor, api: ApiFixture) -> None:
    """From the link to the checkout and the receipt; the shop owner sees what became of the link."""
    with api.fixture.services(api.merchant) as services:
        body = {
            "prices": {"sbtc": 50_000, "stx": 25_000_000},
            "description": "Two tins of tea\nSencha, 100 g",
        }
        link = services.create_link(NewPaymentLink.of(body))
    url = f"{api.url}{link['url']}"
    page = await visitor.visit(url, width=390)
    await check_widths(page)
    await picture(page, "payment-link")
    await page.get_by_label("25 STX").check()
    await page.get_by_role("button", name="Go on to pay").click()
    await expect(page.get_by_role("heading", name="Waiting for your payment")).to_be_visible()
    checkout = page.url
    assert "/pay/" in checkout
    await page.go_back()
    await page.get_by_role("button", name="Go on to pay").click()
    await expect(page.get_by_role("heading", name="Waiting for your payment")).to_be_visible()
    assert page.url == checkout, "who goes back starts no second payment"
    await pay(api, "stx")
    await page.reload()
    await expect(page.get_by_role("heading", name="Paid")).to_be_visible()
    owner = await sign_in(visitor, api, api.key)
    await owner.goto(f"{api.url}/dashboard/links/{link['id']}")
    await expect(owner.get_by_text("Received in STX")).to_be_visible()
    await check_widths(owner)


async def test_an_open_amount_without_scripts(visitor: Visitor, api: ApiFixture) -> None:
    """In the dark, in German: what is wrong is said, what is right leads on."""
    with api.fixture.services(api.merchant) as services:
        link = services.create_link(
            NewPaymentLink.of({"asset": "stx", "min_amount": 1_000_000, "description": "Spende " * 60})
        )
    visitor.expected.add("422")
    page = await visitor.visit(
        f"{api.url}{link['url']}", width=390, scheme="dark", locale="de-DE", java_script_enabled=False
    )
    await page.get_by_label("Wie viel").fill("0,5")
    await page.get_by_role("button", name="Weiter zur Zahlung").click()
    await expect(page.get_by_role("alert")).to_contain_text("Mindestens 1")
    await page.get_by_label("Wie viel").fill("2,5")
    await page.get_by_role("button", name="Weiter zur Zahlung").click()
    await expect(page.get_by_text("2,5").first).to_be_visible()
    assert "/pay/" in page.url


async def test_a_password_and_a_link_that_has_ended(visitor: Visitor, api: ApiFixture) -> None:
    """Each state of the page is whole at both widths."""
    with api.fixture.services(api.merchant) as services:
        body = {"amount": 7_000, "description": "Members only", "password": "sesame"}
        link = services.create_link(NewPaymentLink.of(body), password_hash=hash_password("sesame"))
    visitor.expected |= {"403", "410"}
    page = await visitor.visit(f"{api.url}{link['url']}", scheme="dark")
    await page.get_by_label("Password").fill("wrong")
    await page.get_by_role("button", name="Continue").click()
    await expect(page.get_by_role("alert")).to_contain_text("This is not the password.")
    await check_widths(page)
    await page.get_by_label("Password").fill("sesame")
    await page.get_by_role("button", name="Continue").click()
    await expect(page.get_by_role("heading", name="Members only")).to_be_visible()
    await check_widths(page)
    with api.fixture.services(api.merchant) as services:
        services.change_link(link["id"], ChangePaymentLink(active=False))
    await page.get_by_role("button", name="Go on to pay").click()
    await expect(page.get_by_role("heading", name="not used any more")).to_be_visible()
    await check_widths(page)


async def test_a_payer_changes_their_mind_and_comes_too_late(
    visitor: Visitor, api: ApiFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another asset in one click, the old page leads on, and what expired is started anew in place."""
    monkeypatch.setattr(long_poll, "POLL_SECONDS", 0.05)
    with api.fixture.services(api.merchant) as services:
        body = {"prices": {"sbtc": 50_000, "stx": 25_000_000}, "description": "Two tins of tea"}
        link = services.create_link(NewPaymentLink.of(body))
    page = await visitor.visit(f"{api.url}{link['url']}", width=390)
    await page.get_by_label("0.0005").check()
    await page.get_by_role("button", name="Go on to pay").click()
    await expect(page.get_by_role("heading", name="Pay with something else")).to_be_visible()
    await check_widths(page)
    first = page.url
    await page.get_by_role("button", name="Pay 25 STX instead").click()
    await expect(page.get_by_role("button", name="Pay 0.0005 sBTC instead")).to_be_visible()
    assert page.url != first
    await page.go_back()
    await page.reload()
    await expect(page.get_by_text("You chose to pay with something else.")).to_be_visible()
    await check_widths(page)
    await page.get_by_role("link", name="Go on with the new payment").click()
    await expect(page.get_by_role("heading", name="Waiting for your payment")).to_be_visible()
    api.fixture.pass_time(3600 + 600 + 60)
    await expect(page.get_by_role("heading", name="Expired")).to_be_visible()
    await expect(page.get_by_text("You can start a new payment in its place.")).to_be_visible()
    await check_widths(page)
    await page.get_by_role("button", name="Start again").click()
    await expect(page.get_by_role("heading", name="Waiting for your payment")).to_be_visible()
    await expect(page.get_by_text("Two tins of tea")).to_be_visible()


async def test_a_link_is_paid_in_a_window_on_the_shops_page(visitor: Visitor, api: ApiFixture) -> None:
    """The form leads to the checkout within the frame, which still speaks to the shop's page."""
    with api.fixture.services(api.merchant) as services:
        link = services.create_link(NewPaymentLink(amount=7_000, description="Coffee"))
    async with ShopPage(api.url) as shop:
        api.allow(shop.url)
        widget = await visit_shop(visitor, shop, f'<sbtc-pay link="{link["url"][3:]}"></sbtc-pay>')
        await widget.page.get_by_role("button", name="Pay now").click()
        await expect(widget.frame.get_by_role("heading", name="Coffee")).to_be_visible()
        await widget.frame.get_by_role("button", name="Go on to pay").click()
        await expect(widget.status).to_contain_text("Waiting for your payment")
        await widget.page.wait_for_function("() => told.some(([name]) => name === 'Status')")
        assert await widget.names() == ["Status waiting"]


async def test_hostile_words_break_no_page(visitor: Visitor, api: ApiFixture) -> None:
    """Long words without a space, both directions of writing, markup: all is text, nothing is too wide."""
    evil = "<script>alert(1)</script>" + "\u202eاختبار" + "🫖" * 20 + "W" * 300
    with api.fixture.services(api.merchant) as services:
        body = {"amount": 2**128 - 1, "asset": "stx", "description": evil, "metadata": {"W" * 40: evil}}
        link = services.create_link(NewPaymentLink.of(body))
    page = await visitor.visit(f"{api.url}{link['url']}", width=390)
    await expect(page.get_by_text("alert(1)").first).to_be_visible()
    await check_widths(page)
    owner = await sign_in(visitor, api, api.key, width=390)
    for path in ("links", f"links/{link['id']}", f"links/{link['id']}/edit"):
        await owner.goto(f"{api.url}/dashboard/{path}")
        await check_widths(owner)
