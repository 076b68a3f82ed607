"""Payment links in a real browser: made in the dashboard, opened and paid by somebody with a phone."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import expect

from tests.browser.conftest import Visitor, check_widths
from tests.browser.test_dashboard_overview import picture, sign_in
from tests.integration.watcher.api.api_fixture import ApiFixture
from tests.integration.watcher.ledger_fixture import LedgerFixture


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[ApiFixture]:
    """The server with its pages, and a chain that stands until a test moves it."""
    fixture = LedgerFixture(tmp_path)
    async with ApiFixture(fixture) as made:
        yield made
    fixture.database.close()


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
    await picture(page, "link-form")
    await page.get_by_role("button", name="Create the link").click()
    await expect(page.get_by_role("alert")).to_contain_text("Nothing was changed.")
    await check_widths(page)
    await picture(page, "link-refused")
    await page.get_by_label("Price in STX").fill("12.5")
    await page.get_by_role("button", name="Create the link").click()
    await expect(page.get_by_role("status")).to_contain_text("The link is there.")
    await expect(page.get_by_text("12.5 STX")).to_be_visible()
    await check_widths(page)
    await picture(page, "link")
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
    await picture(page, "links")
