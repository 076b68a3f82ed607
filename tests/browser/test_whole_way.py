"""From a shop's page to its webhook: every part of the way is the real one, but the chain."""

from playwright.async_api import expect

from tests.browser.conftest import Payer
from tests.browser.shop_page import ShopPage
from tests.browser.test_widget import visit_shop
from tests.deployment import Deployment


async def test_from_a_link_on_the_shops_page_to_its_webhook(deployment: Deployment, payer: Payer) -> None:
    """A payer opens a payment link in the widget, pays it with a wallet on a page of its own, and comes back:
    the window says paid, the shop's page is told, and the webhook, on which goods go out, has come.
    """
    async with ShopPage() as shop:
        made = await deployment.shop()
        await deployment.cli("merchants", "update", made["merchant"], "--allowed-origins", shop.url)
        link = await deployment.json(
            *("links", "create", "--merchant", made["merchant"], "--amount", "50000"),
            *("--level", "included", "--description", "A tin of tea"),
        )
        await deployment.start()
        shop.pay = await deployment.url()
        payer.visitor.allowed.add(shop.url)
        widget = await visit_shop(payer.visitor, shop, f'<sbtc-pay link="{link["url"]}">Wait</sbtc-pay>')
        shop_page = widget.page
        await payer.wallet.install(shop_page.context)

        await shop_page.get_by_role("button", name="Pay now").click()
        await expect(widget.frame.get_by_text("A tin of tea")).to_be_visible()
        await widget.frame.get_by_role("button").first.click()
        await expect(widget.status).to_contain_text("Waiting for your payment")
        async with shop_page.context.expect_page() as opened:
            await widget.frame.get_by_role("link", name="Pay with a wallet").click()
        checkout = await opened.value
        await checkout.get_by_role("button", name="Pay with Leather").click()
        await expect(checkout.locator("#wallet .said")).to_contain_text(
            "Leather says that the payment is sent"
        )
        [payment] = payer.wallet.sent
        assert payment.status == "success"

        deployment.chain.add_pending(payment)
        await expect(widget.status).to_contain_text("Payment seen")
        assert "Success paid" not in await widget.names()
        deployment.chain.mine([payment])
        await expect(checkout.get_by_role("status").first).to_contain_text("Paid")
        await expect(widget.status).to_contain_text("Paid")
        await shop_page.wait_for_function("() => told.some(([name]) => name === 'Success')")
        assert (await widget.names()).count("Success paid") == 1

        (arrival,) = await deployment.receiver.wait_for(1, path="/hook")
        told = arrival.document["data"]["payment_intent"]
        assert (arrival.document["type"], told["payment_link"]) == ("payment.succeeded", link["id"])
        assert [[name, intent] for name, _, intent in await widget.told() if name == "Success"] == [
            ["Success", told["id"]]
        ]
