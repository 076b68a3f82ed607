"""What docs/widget.md tells a shop to copy, copied; and its picture."""

import os
import re
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, expect

from tests.browser.conftest import Visitor
from tests.browser.shop_page import SCRIPT
from tests.browser.test_widget import Site, Widget, site
from tests.deployment import ROOT
from watcher.schemas import ChangeMerchant
from watcher.services import merchants

__all__ = ["site"]

DOCS = ROOT / "docs/widget.md"
SERVER = "https://pay.shop.example"

#: Where the picture of docs/widget.md is put, made anew: PICTURES=docs/images pytest tests/browser/…
PICTURES = os.environ.get("PICTURES")


def snippets(kind: str) -> list[str]:
    """Return the blocks of a kind, in order."""
    return re.findall(rf"^```{kind}\n(.*?)^```$", DOCS.read_text(), re.MULTILINE | re.DOTALL)


async def copied(site: Site, text: str, intent: dict[str, Any]) -> str:
    """Return a snippet as a shop would change it: its own server, its own payment, its own link."""
    made = await site.api.client.post("/v1/payment_links", json={"amount": "50000", "description": "Tea"})
    code = made.json()["url"].rpartition("/")[2]
    text = text.replace(f"{SERVER}/pay/3q2-7wWk1mXb9fYc0aTzRg", site.api.url + intent["checkout_url"])
    return text.replace("K7Q2M8ZR4T9C", code).replace(SERVER, site.api.url)


async def opened(page: Page) -> None:
    """Wait until the window shows the payment, and close it."""
    widget = Widget(page)
    await expect(widget.frame.get_by_role("main")).to_contain_text("50,000 sats")
    await expect(widget.dialog.get_by_text("is being loaded")).to_be_hidden()
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("dialog")).to_have_count(0)


async def test_the_buttons_of_the_docs_open_a_payment(
    site: Site,
    visitor: Visitor,
) -> None:
    """Every HTML snippet, on a page with the policy that the docs name."""
    (policy,) = snippets("text")
    assert site.shop.policy.startswith(policy.strip().replace(SERVER, site.api.url))
    intent = await site.api.create()
    for snippet in (blocks := snippets("html")):
        page = (await site.visit(visitor, await copied(site, snippet, intent))).page
        await page.locator("sbtc-pay").get_by_role("button").click()
        await opened(page)
    assert len(blocks) == 3


@pytest.mark.parametrize("number", [0, 1])
async def test_the_calls_of_the_docs_open_a_payment(
    site: Site,
    visitor: Visitor,
    number: int,
) -> None:
    """Every script, as a file of the shop's."""
    intent = await site.api.create()
    script = await copied(site, snippets("js")[number], intent)
    site.shop.files["/orders"] = (f'{{"checkout_url": "{intent["checkout_url"]}"}}', "application/json")
    site.shop.files["/copied.js"] = (script, "text/javascript")
    kind = "module" if "import" in script else "text/javascript"
    body = f'<button id="buy">Buy</button><script type="{kind}" src="/copied.js"></script>'
    page = (await site.visit(visitor, body)).page
    if kind != "module":
        await page.get_by_role("button", name="Buy").click()
    await opened(page)
    assert len(snippets("js")) == 2


async def test_the_picture_of_the_docs_is_there(
    site: Site,
    visitor: Visitor,
) -> None:
    """It is small enough for a page, and can be made anew."""
    if PICTURES is not None:
        with site.api.fixture.database.begin() as connection:
            request = ChangeMerchant(display_name="Tea & Co", brand_color="#0b6b3a")
            merchants.change(
                connection,
                site.api.fixture.settings,
                site.api.merchant,
                request,
                now=site.api.fixture.clock(),
            )
        intent = await site.api.create(description="Two tins of Earl Grey")
        body = f'<sbtc-pay checkout-url="{intent["checkout_url"]}" color="#0b6b3a"></sbtc-pay>'
        site.shop.script = SCRIPT
        widget = await site.visit(visitor, body, width=1000)
        await widget.page.get_by_role("button").click()
        await expect(widget.status).to_contain_text("Waiting")
        await expect(widget.dialog.locator("iframe")).not_to_have_css("height", "640px")
        await widget.page.screenshot(path=Path(PICTURES) / "widget.png", scale="css")
    assert 0 < (ROOT / "docs/images/widget.png").stat().st_size < 80_000
