"""Paying with a wallet from the checkout: it signs for real, and the scripted chain mines what it signed."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from playwright.async_api import Page, expect

from contracts.calls import read_payment_call
from tests import harness
from tests.browser.conftest import Visitor, check_widths
from tests.browser.wallet.stand_in import Signer, StandInWallet, signing
from tests.deployment import Deployment
from tests.integration.contracts.vm import install, missing


@pytest.fixture
async def signer() -> AsyncIterator[Signer]:
    """The process that signs with the wallets' own library."""
    lacking = missing()
    if lacking is not None:
        pytest.skip(lacking)
    install()
    async with signing() as running:
        yield running


async def create(deployment: Deployment, shop: dict[str, Any], *options: str) -> dict[str, Any]:
    command = ("intents", "create", "--merchant", shop["merchant"], "--level", "included", *options)
    made: dict[str, Any] = await deployment.json(*command)
    return made


async def open_checkout(
    visitor: Visitor, wallet: StandInWallet, url: str, intent: dict[str, Any], **options: Any
) -> Page:
    context = await visitor.context(**options)
    await wallet.install(context)
    page = await context.new_page()
    visitor.allowed.add(url)
    await page.goto(url + intent["checkout_url"])
    return page


async def test_sbtc_is_paid_through_the_contract(
    deployment: Deployment, visitor: Visitor, signer: Signer
) -> None:
    """One click in the page, one in the wallet: seen, paid, and the merchant is told by a webhook."""
    shop = await deployment.shop()
    await deployment.start()
    url = await deployment.url()
    intent = await create(deployment, shop, "--amount", "50000")
    wallet = await StandInWallet.of(signer, "Leather")
    page = await open_checkout(visitor, wallet, url, intent, width=390)
    button = page.get_by_role("button", name="Pay with Leather")
    await expect(button).to_be_visible()
    await check_widths(page)
    await button.dblclick()
    await expect(page.locator(".said")).to_contain_text("Leather says that the payment is sent")
    assert wallet.payments() == [("Leather", "stx_callContract")]
    [payment] = wallet.sent
    assert payment.status == "success"
    await expect(page.locator("#wallet code")).to_have_text(payment.tx_id.removeprefix("0x"))
    await expect(page.get_by_role("status")).to_contain_text("Waiting for your payment")
    await check_widths(page)

    deployment.chain.add_pending(payment)
    await expect(page.get_by_role("status")).to_contain_text("Payment seen")
    await expect(page.locator("#wallet")).to_have_count(0)
    deployment.chain.mine([payment])
    await expect(page.get_by_role("status")).to_contain_text("Paid")
    [told] = await deployment.receiver.wait_for(1)
    assert told.document["type"] == "payment.succeeded"
    called = read_payment_call(payment.function or "", payment.args)
    assert called is not None
    assert f"0x{called.terms_hash.hex()}" == intent["terms_hash"]
    assert payment.contract_id == harness.PAYMENT_CONTRACT
