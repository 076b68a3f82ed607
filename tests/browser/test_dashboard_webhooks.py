"""The dashboard's webhooks in a real browser, with the daemon's notifier and a receiver of the merchant's."""

import os
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from playwright.async_api import Page, expect

from notifier.testing import Answer
from tests import harness
from tests.browser.conftest import Visitor, check_widths
from tests.deployment import Deployment

#: Where pictures go, if they are wanted: PICTURES=docs/images makes that of docs/dashboard.md anew.
PICTURES = os.environ.get("PICTURES")

#: What an endpoint answers that would like to be more than a text.
HOSTILE = b"<script>alert(1)</script><img src=x onerror=alert(2)>\x07\xe2\x80\xae\xff" + b"x" * 1200


async def picture(page: Page, name: str) -> None:
    """Take a picture, if they are wanted: of the whole page to look at, of its upper part for a document."""
    if PICTURES == "docs/images" and name == "webhook-delivery":
        before = page.viewport_size
        await page.set_viewport_size({"width": 800, "height": 860})
        await page.screenshot(path=f"{PICTURES}/{name}.png")
        assert before is not None
        await page.set_viewport_size(before)
    elif PICTURES not in (None, "docs/images"):
        await page.screenshot(path=str(Path(PICTURES) / f"{name}.png"), full_page=True)


async def sign_in(visitor: Visitor, deployment: Deployment, **options: Any) -> tuple[Page, str]:
    """Start the daemon, add a merchant, and open their webhooks; return the page and their key."""
    made = await deployment.json("merchants", "add", "Tea & Co.", "--recipient", harness.SHOP)
    await deployment.start()
    url = await deployment.url()
    await deployment.caught_up()
    page = await visitor.visit(f"{url}/dashboard/webhooks", **options)
    await page.get_by_label("Key").fill(made["api_key"])
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_role("heading", name="Webhooks")).to_be_visible()
    return page, made["merchant"]["id"]


async def add_endpoint(page: Page, deployment: Deployment, *, scripts: bool = True) -> None:
    """Add an endpoint for all events at the receiver, which then trusts its secret."""
    await page.get_by_role("link", name="Add the first one").click()
    await page.get_by_label("URL").fill(deployment.receiver.url("/hook"))
    await page.get_by_label("All of them").check()
    if scripts:
        await check_widths(page)
        await picture(page, "webhook-new")
    await page.get_by_role("button", name="Add the endpoint").click()
    secret = await page.get_by_text(re.compile("^whsec_")).text_content()
    assert secret is not None
    deployment.receiver.trust(secret, "/hook")
    if scripts:
        await check_widths(page)
    await page.get_by_role("link", name="Go on").click()


async def test_an_endpoint_is_added_tested_mended_and_sent_to_again(
    visitor: Visitor, deployment: Deployment
) -> None:
    """From nothing to a delivered webhook, without a terminal."""
    page, merchant = await sign_in(visitor, deployment)
    await expect(page.get_by_text("No endpoint yet")).to_be_visible()
    await check_widths(page)
    await picture(page, "webhooks-empty")
    await add_endpoint(page, deployment)
    endpoint = page.url

    # A sample, and the answer at once.
    await page.get_by_label("Type", exact=True).select_option("payment.succeeded")
    await page.get_by_role("button", name="Send and see the answer").click()
    await expect(page.get_by_text("answered 200")).to_be_visible()
    [arrival] = await deployment.receiver.wait_for(1)
    assert arrival.refused is None
    header = page.get_by_role("row", name="webhook-signature").first
    await expect(header).to_contain_text(arrival.headers["webhook-signature"])
    await expect(page.get_by_text('"payment.succeeded"')).to_be_visible()
    await check_widths(page)
    await picture(page, "webhook-delivery")

    # An endpoint that answers nonsense, until what is sent is given up.
    deployment.receiver.always(Answer(status=500, body=HOSTILE), path="/hook")
    await page.goto(endpoint)
    await page.get_by_role("button", name="Send and see the answer").click()
    await expect(page.get_by_text("It was given up after 5 attempts")).to_be_visible(timeout=20_000)
    await expect(page.get_by_text("answered 500")).to_have_count(5)
    await expect(page.locator("pre.answer").first).to_contain_text(
        r"<script>alert(1)</script><img src=x onerror=alert(2)>\u0007\u202e�"
    )
    await check_widths(page)
    await picture(page, "webhook-dead")

    # Mended, it is sent again by hand.
    deployment.receiver.always(Answer(), path="/hook")
    await page.get_by_role("button", name="Send it again now").click()
    await expect(page.get_by_text("answered 200")).to_be_visible()

    # What happened meanwhile is replayed.
    intent = (await deployment.json("intents", "create", "--merchant", merchant, "--amount", "50000"))["id"]
    await deployment.receiver.wait_for(8)
    await page.goto(endpoint)
    await expect(page.get_by_role("link", name="payment.created")).to_be_visible()
    await page.get_by_text("Send everything since a time").click()
    since = datetime.now(UTC) - timedelta(hours=1)
    await page.get_by_label("Since, in UTC").fill(since.strftime("%Y-%m-%dT%H:%M"))
    await check_widths(page)
    await picture(page, "webhook")
    await page.get_by_role("button", name="Send it all again").click()
    await expect(page.get_by_text("1 webhook is sent again.")).to_be_visible()
    arrivals = await deployment.receiver.wait_for(9)
    assert arrivals[-1].id == arrivals[-2].id
    assert arrivals[-1].document["data"]["payment_intent"]["id"] == intent


async def test_what_was_sent_is_found_and_read(visitor: Visitor, deployment: Deployment) -> None:
    """The log with its filters, events with their JSON, on a phone in the dark; and code to copy."""
    page, merchant = await sign_in(visitor, deployment, width=390, scheme="dark")
    await add_endpoint(page, deployment)
    await deployment.json("intents", "create", "--merchant", merchant, "--amount", "50000")
    await deployment.receiver.wait_for(1)
    await page.get_by_role("link", name="Webhooks").last.click()
    await expect(page.get_by_text("100\u00a0%").first).to_be_visible()
    await check_widths(page)
    await picture(page, "webhooks-phone")
    tabs = page.get_by_role("navigation", name="Webhooks")
    await tabs.get_by_role("link", name="Deliveries").click()
    await page.get_by_label("State").select_option("dead")
    await page.get_by_role("button", name="Filter").click()
    await expect(page.get_by_text("No such deliveries.")).to_be_visible()
    await page.get_by_role("link", name="Show all").click()
    await check_widths(page)
    await picture(page, "webhook-deliveries-phone")
    await page.get_by_role("link", name="payment.created").click()
    await page.get_by_role("link", name=re.compile("^evt_")).click()
    await expect(page.get_by_text('"payment.created"')).to_be_visible()
    await page.get_by_text("payment_intent").first.wait_for()
    await check_widths(page)
    await picture(page, "webhook-event-phone")
    await page.get_by_role("link", name="Events").first.click()
    await expect(page.get_by_role("link", name="payment.created")).to_be_visible()
    await check_widths(page)
    await tabs.get_by_role("link", name="Verify").click()
    await expect(page.get_by_text("OpenSSL.secure_compare")).to_be_visible()
    await check_widths(page)
    await picture(page, "webhook-verify-phone")


async def test_the_answer_is_seen_without_scripts_too(visitor: Visitor, deployment: Deployment) -> None:
    """The page of a delivery loads itself again until it was tried."""
    page, _ = await sign_in(visitor, deployment, java_script_enabled=False)
    await add_endpoint(page, deployment, scripts=False)
    await page.get_by_role("button", name="Send and see the answer").click()
    await expect(page.get_by_text("answered 200")).to_be_visible()
