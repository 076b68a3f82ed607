"""The dashboard in a real browser: signing in, keys, brand, status, merchants and sign-ins."""

import os
import re
from pathlib import Path

from playwright.async_api import Page, expect

from tests.browser.conftest import Visitor, check_widths
from tests.deployment import Deployment

ADMIN = "the-operators-own-token"

#: Where the picture of docs/dashboard.md is put, made anew: PICTURES=docs/images pytest tests/browser/…
PICTURES = os.environ.get("PICTURES")

#: Those that an operator looks at here, for one merchant.
SECTIONS = ("keys", "brand", "status", "merchants", "sessions")


async def sign_in(page: Page, secret: str) -> None:
    await page.get_by_label("API key").fill(secret)
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_role("button", name="Sign out")).to_be_visible()


async def test_a_merchant_looks_after_keys_brand_and_sessions(
    deployment: Deployment, visitor: Visitor
) -> None:
    """On a phone: signs in, makes a key that only reads, revokes it, shows a brand, and signs out."""
    shop = await deployment.shop()
    await deployment.start()
    url = await deployment.url()
    visitor.expected |= {"status of 401", "status of 422"}
    page = await visitor.visit(f"{url}/dashboard/keys", width=390)
    await expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    await check_widths(page)
    await page.get_by_label("API key").fill("sk_live_" + "x" * 32)
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("alert")).to_contain_text("not a valid key")
    await check_widths(page)
    await page.goto(f"{url}/dashboard/keys")
    await sign_in(page, shop["key"])
    await expect(page.get_by_role("heading", name="Keys", exact=True)).to_be_visible()

    await page.get_by_label("Name").fill("till 2")
    await page.get_by_role("button", name="Add the key").click()
    made = page.locator("[data-copy^=sk_]")
    key = await made.get_attribute("data-copy")
    assert key is not None
    await check_widths(page)
    await page.goto(f"{url}/dashboard/keys")
    await expect(made).to_have_count(0)

    reader = await visitor.visit(f"{url}/dashboard/keys")
    await sign_in(reader, key)
    await expect(reader.get_by_text("read only")).to_be_visible()
    await expect(reader.get_by_role("button", name="Add the key")).to_have_count(0)

    row = page.get_by_role("row").filter(has_text="till 2")
    await row.get_by_text("Revoke", exact=False).first.click()
    await check_widths(page)
    await row.get_by_role("button", name="Revoke it now").click()
    await expect(page.get_by_role("status")).to_contain_text("“till 2” does not work any more")
    await reader.reload()
    await expect(reader.get_by_role("heading", name="Sign in")).to_be_visible()

    await page.get_by_text("Menu").click()
    await page.get_by_role("link", name="Brand").click()
    await page.get_by_label("Color of buttons").fill("tomato")
    await page.get_by_role("button", name="Save").click()
    await expect(page.get_by_label("Color of buttons")).to_have_attribute("aria-invalid", "true")
    await check_widths(page)
    await page.get_by_label("Color of buttons").fill("#1f6f54")
    await page.get_by_label("Name for payers").fill("Tea & Co.")
    await page.get_by_role("button", name="Save").click()
    await expect(page.get_by_role("status")).to_contain_text("Saved")
    await expect(page.locator(".preview")).to_contain_text("Tea & Co.")
    await check_widths(page)

    await page.goto(f"{url}/dashboard/sessions")
    await expect(page.get_by_role("table").first).to_contain_text("Chrome on Linux")
    await check_widths(page)
    await page.get_by_role("button", name="Sign out").click()
    await expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    await page.go_back()
    await expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


async def test_an_operator_sees_all_and_lets_a_merchant_in(deployment: Deployment, visitor: Visitor) -> None:
    """Watches the chain without reloading, adds a merchant, and sends them a link; in the dark."""
    deployment.environment["SBTC_WATCHER_ADMIN_TOKEN"] = ADMIN
    shop = await deployment.shop()
    await deployment.start()
    url = await deployment.url()
    page = await visitor.visit(f"{url}/dashboard/status", scheme="dark")
    await sign_in(page, ADMIN)
    await expect(page.get_by_role("heading", name="All is well")).to_be_visible()
    await check_widths(page)
    deployment.chain.mine(n=2, burn=True)
    height = page.locator(".number").first
    await expect(height).to_have_text(f"{deployment.chain.tip.height:,}")
    if PICTURES is not None:
        await page.set_viewport_size({"width": 1000, "height": 640})
        await page.screenshot(path=Path(PICTURES) / "dashboard-status.png")

    await page.goto(f"{url}/dashboard/merchants")
    await page.get_by_role("button", name="Look at Shop").click()
    await expect(page.get_by_role("banner")).to_contain_text("Shop")
    for section in SECTIONS:
        answer = await page.goto(f"{url}/dashboard/{section}")
        assert answer is not None
        assert answer.status == 200, section
        await check_widths(page)
    await page.goto(f"{url}/dashboard/merchants/{shop['merchant']}")
    await check_widths(page)
    await page.get_by_role("button", name="Make a link").click()
    link = await page.locator("[data-copy*=sign-in]").get_attribute("data-copy")
    assert link is not None

    merchant = await visitor.visit(link, width=390)
    await check_widths(merchant)
    await merchant.get_by_role("button", name=re.compile("Sign in as")).click()
    await expect(merchant.get_by_role("banner")).to_contain_text("Shop")
    visitor.expected.add("status of 410")
    again = await visitor.visit(link)
    await expect(again.get_by_role("alert")).to_contain_text("used before")


async def test_a_page_of_one_merchant_turns_to_another_as_a_whole(
    deployment: Deployment, visitor: Visitor
) -> None:
    """An operator turns to another merchant in a second tab: the first never mixes the two."""
    deployment.environment["SBTC_WATCHER_ADMIN_TOKEN"] = ADMIN
    await deployment.shop()
    await deployment.start()
    url = await deployment.url()
    first = await visitor.visit(f"{url}/dashboard/merchants")
    await sign_in(first, ADMIN)
    await first.get_by_role("button", name="Look at Shop").click()
    await expect(first.get_by_role("banner")).to_contain_text("Shop")
    await first.goto(f"{url}/dashboard/webhooks/deliveries")

    second = await first.context.new_page()
    await second.goto(f"{url}/dashboard/merchants")
    await second.get_by_role("button", name="Look at all of them").click()
    await expect(second.get_by_role("banner")).to_contain_text("All merchants")
    await expect(first.get_by_role("banner")).to_contain_text("All merchants")


async def test_the_dashboard_is_whole_without_scripts(deployment: Deployment, visitor: Visitor) -> None:
    """Signing in, the menu, an act that is asked about first, and its result."""
    shop = await deployment.shop()
    await deployment.start()
    url = await deployment.url()
    page = await visitor.visit(f"{url}/dashboard", width=390, java_script_enabled=False)
    await sign_in(page, shop["key"])
    await page.get_by_text("Menu").click()
    await page.get_by_role("link", name="Keys").click()
    await page.get_by_label("Name").fill("by hand")
    await page.get_by_role("button", name="Add the key").click()
    await expect(page.locator("code").filter(has_text="sk_live_")).to_be_visible()
    await page.goto(f"{url}/dashboard/keys")
    row = page.get_by_role("row").filter(has_text="by hand")
    await row.locator("summary").click()
    await row.get_by_role("button", name="Revoke it now").click()
    await expect(page.get_by_role("status")).to_contain_text("does not work any more")
