"""The checkout in a real browser."""

from playwright.async_api import expect

from chain.testing import principal, txs
from tests import harness
from tests.browser.conftest import Visitor, check_widths
from tests.deployment import Deployment


async def test_a_payer_sees_the_payment_arrive(deployment: Deployment, visitor: Visitor) -> None:
    """The page follows a payment from the mempool into its block and says paid, and no sooner."""
    shop = await deployment.shop()
    await deployment.start()
    url = await deployment.url()
    intent = await deployment.json(
        "intents", "create", "--merchant", shop["merchant"], "--amount", "50000", "--level", "included"
    )
    page = await visitor.visit(url + intent["checkout_url"], width=390)
    status = page.get_by_role("status")
    await expect(status).to_contain_text("Waiting for your payment")
    await check_widths(page)

    payment = txs.sbtc_transfer(
        principal("payer"), harness.SHOP, 50_000, memo=intent["pay"]["memo"].encode(), label="payment"
    )
    deployment.chain.add_pending(payment)
    await expect(status).to_contain_text("Payment seen")
    deployment.chain.mine([payment])
    await expect(status).to_contain_text("Paid")
    await check_widths(page)
