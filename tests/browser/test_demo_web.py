"""The demo in the browser, as a stranger plays with it."""

import re

from playwright.async_api import expect

from tests.acceptance.conftest import demo_environment
from tests.acceptance.test_demo_web import running
from tests.browser.conftest import Visitor, check_widths

__all__ = ["demo_environment"]


async def test_a_stranger_buys_pays_and_sees_it_paid(
    demo_environment: dict[str, str],
    visitor: Visitor,
) -> None:
    """Shop, window, the chain's button, the paid page, the shop's own books: by clicking alone."""
    async with running(demo_environment) as demo:
        visitor.allowed.add(demo.addresses["API"].removesuffix("/docs"))
        chain = await visitor.visit(demo.addresses["Chain"])
        shop = await visitor.visit(demo.addresses["Shop"])
        await check_widths(shop)
        await shop.get_by_role("listitem").filter(has_text="Earl Grey").get_by_role("button").click()
        window = shop.get_by_role("dialog").frame_locator("iframe")
        await expect(window.get_by_role("status").first).to_contain_text("Waiting")
        cards = chain.get_by_role("listitem").filter(has_text="Earl Grey")
        await expect(cards).to_have_count(2)
        await cards.first.get_by_role("button", name="Pay", exact=True).click()
        await check_widths(chain)
        await expect(window.get_by_role("status").first).to_contain_text("Paid", timeout=30_000)
        await expect(shop.locator("#said")).to_contain_text("The window says that it is paid")
        await window.get_by_role("link", name="Back to Tea & Co").click()
        await expect(shop).to_have_url(re.compile(r"/\?payment_intent=pi_\w+&status=succeeded$"))
        await expect(shop.locator("#orders")).to_contain_text("payment.succeeded")
