"""Payments, transfers and refunds of the dashboard in a real browser."""

from pathlib import Path

from playwright.async_api import Page, expect

from chain.testing import principal, txs
from tests import harness
from tests.browser.conftest import Visitor, check_page, check_widths
from tests.deployment import Deployment
from tests.integration.watcher.api.api_fixture import ApiFixture
from tests.integration.watcher.ledger_fixture import LedgerFixture

PAYER = principal("payer")


async def sign_in(page: Page, url: str, key: str, to: str = "") -> None:
    """Sign in with a key, and open a page of the dashboard."""
    await page.goto(f"{url}/dashboard/sign-in")
    await page.get_by_label("Key").fill(key)
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="Overview")).to_be_visible()
    if to:
        await page.goto(f"{url}/dashboard/{to}")


async def create(page: Page, amount: str, **fields: str) -> None:
    """Make a payment by hand, from the list."""
    await page.get_by_role("link", name="New payment").click()
    await page.get_by_label("Amount").fill(amount)
    for label, text in fields.items():
        await page.get_by_label(label.replace("_", " ")).fill(text)
    await page.get_by_label("Confirmed when").select_option("included")
    await check_page(page)
    await page.get_by_role("button", name="Create the payment").click()
    await expect(page.get_by_text("Give its link to the payer")).to_be_visible()


async def test_a_shop_owner_takes_payments_by_hand(deployment: Deployment, visitor: Visitor) -> None:
    """Made, paid and seen without a reload; another canceled; stray money assigned; a third marked."""
    shop = await deployment.shop()
    await deployment.start()
    url = await deployment.url()
    page = await visitor.visit(f"{url}/dashboard/sign-in")
    await sign_in(page, url, shop["key"], "payments")
    await expect(page.get_by_text("No payments yet.")).to_be_visible()
    await check_widths(page)

    await create(page, "0.0005", What_it_is_for="Two tins of tea", Reference="INV-7", Order_number="4711")
    await expect(page.get_by_text("Waiting for the payment.")).to_be_visible()
    await check_widths(page)
    deployment.chain.mine([txs.sbtc_transfer(PAYER, harness.SHOP, 50_000, b"INV-7")])
    await expect(page.get_by_text("Paid and confirmed.")).to_be_visible()
    await expect(page.get_by_role("table", name="Transfers to this payment")).to_contain_text("0.0005")
    await expect(page.get_by_role("table", name="Webhooks of this payment")).to_contain_text("delivered")
    await check_widths(page)

    await page.get_by_role("link", name="Payments", exact=True).first.click()
    await create(page, "1.5", Reference="INV-8")
    await page.get_by_text("Cancel", exact=True).click()
    await page.get_by_label("Why").first.fill("sold out")
    await check_widths(page)
    await page.get_by_role("button", name="Cancel the payment").click()
    await expect(page.get_by_text("The payment is canceled.")).to_be_visible()
    await expect(page.get_by_text("sold out")).to_be_visible()

    await page.get_by_role("link", name="Payments", exact=True).first.click()
    await create(page, "0.002", Reference="INV-9")
    deployment.chain.mine([txs.sbtc_transfer(PAYER, harness.SHOP, 200_000, b"INV 9!")])
    await deployment.caught_up()
    await page.get_by_role("link", name="Transfers").first.click()
    await expect(page.get_by_text("It has no reference that we know.")).to_be_visible()
    await check_widths(page)
    await page.get_by_role("link", name="Assign").click()
    await page.get_by_label("Find the payment").fill("inv-9")
    await page.keyboard.press("Enter")
    await page.get_by_label("Why it belongs there").fill("the memo was mistyped")
    await check_widths(page)
    await page.get_by_role("button", name="Assign the money").click()
    await expect(page.get_by_text("The money is assigned to this payment.")).to_be_visible()
    await expect(page.get_by_text("Paid and confirmed.")).to_be_visible()

    await page.get_by_text("Mark", exact=True).click()
    await page.get_by_label("failed: do not ship").check()
    await page.get_by_label("Why").last.fill("sent back to the payer")
    await page.get_by_role("button", name="Mark it").click()
    await expect(page.get_by_text("This payment failed.")).to_be_visible()
    await page.get_by_role("link", name="Payments", exact=True).first.click()
    await page.get_by_label("Search").fill("4711")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("table").get_by_role("link")).to_have_text("INV-7")
    await check_widths(page)
    async with page.expect_download() as downloading:
        await page.get_by_role("link", name="This list as CSV").click()
    download = await downloading.value
    assert download.suggested_filename == "payments.csv"


async def test_what_went_back_by_hand_is_noted(tmp_path: Path, visitor: Visitor) -> None:
    """From the list of refunds due: to whom, with what a wallet or a person needs, then that it is done."""
    fixture = LedgerFixture(tmp_path)
    async with ApiFixture(fixture) as api:
        intent = fixture.create()
        for payer, amount in ((PAYER, 20_000), (principal("stranger"), 7)):
            fixture.mine(txs.sbtc_transfer(payer, harness.SHOP, amount, fixture.memo(intent)))
        fixture.cancel(intent)
        page = await visitor.visit(f"{api.url}/dashboard/sign-in", width=390)
        await sign_in(page, api.url, api.key, "refunds")
        await check_widths(page)
        await page.get_by_role("link", name="Give it back").click()
        await page.get_by_role("link", name="Give this back").last.click()
        await expect(page.get_by_text("This is a plain transfer")).to_be_visible()
        await page.get_by_text("By hand, and for programs").click()
        await expect(page.get_by_text('"post_condition_mode": "deny"')).to_be_visible()
        await check_widths(page)
        await page.get_by_text("Note that nothing is due").click()
        await page.get_by_label("Why").fill("sent back by hand")
        await page.get_by_role("button", name="Nothing is due any more").click()
        await expect(page.get_by_text("Noted: nothing is due of this payment any more.")).to_be_visible()
        await page.goto(f"{api.url}/dashboard/refunds")
        await expect(page.get_by_text("Nothing is due.")).to_be_visible()
    fixture.database.close()
