"""Paying with a wallet from the checkout: it signs for real, and the scripted chain mines what it signed."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from playwright.async_api import Locator, Page, Route, expect

from chain.testing import Tx, principal
from chain.testing.txs import contract_payment
from contracts.calls import read_payment_call
from tests import harness
from tests.browser.conftest import Payer, check_widths
from tests.browser.shop_page import ShopPage
from tests.deployment import Deployment
from tests.integration.watcher.api.api_fixture import ApiFixture
from tests.integration.watcher.ledger_fixture import LedgerFixture
from watcher.indexer.ledger import Ledger

#: A token with more decimals than a number in a wallet can hold, and than a post-condition can.
GOLD = f"{principal('mint')}.gold::gold"
ASSETS = {"gold": {"identifier": GOLD, "decimals": 18}}


@pytest.fixture
async def payer(payer: Payer) -> Payer:
    """A person who has Leather, and gold in it."""
    payer.wallet.assets |= {GOLD.partition("::")[0]: GOLD}
    return payer


class Site:
    """A server whose chain is moved by hand, and checkouts that one block confirms."""

    def __init__(self, api: ApiFixture) -> None:
        self.api = api

    async def create(self, **fields: Any) -> str:
        """Create an intent; return the address of its checkout."""
        made = await self.api.create(level="included", **fields)
        return f"{self.api.url}{made['checkout_url']}"

    def mine(self, *payments: Tx) -> None:
        self.api.fixture.mine(*payments)


@asynccontextmanager
async def serving(folder: Path, **settings: Any) -> AsyncIterator[Site]:
    fixture = LedgerFixture(folder)
    rules = replace(harness.RULES, assets=harness.RULES.assets | {GOLD})
    fixture.ledger = Ledger(fixture.database, rules, harness.SETTLER, now=fixture.clock)
    async with ApiFixture(fixture, **settings) as api:
        yield Site(api)
    fixture.database.close()


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    """A server with the payment contract."""
    async with serving(tmp_path) as site:
        yield site


@pytest.fixture
async def plain_site(tmp_path: Path) -> AsyncIterator[Site]:
    """A server without a payment contract, whose merchant also takes gold."""
    async with serving(tmp_path, payment_contract=None, assets=ASSETS) as site:
        yield site


def state(page: Page) -> Locator:
    return page.get_by_role("status")


def said(page: Page) -> Locator:
    return page.locator("#wallet .said")


def button(page: Page, name: str) -> Locator:
    return page.get_by_role("button", name=name)


async def test_sbtc_is_paid_through_the_contract(deployment: Deployment, payer: Payer) -> None:
    """One click in the page, one in the wallet: seen, paid, and the merchant is told by a webhook."""
    shop = await deployment.shop()
    await deployment.start()
    url, wallet = await deployment.url(), payer.wallet
    intent = await deployment.json(
        *("intents", "create", "--merchant", shop["merchant"], "--amount", "50000", "--level", "included")
    )
    page = await payer.open(url + intent["checkout_url"], width=390)
    await expect(button(page, "Pay with Leather")).to_be_visible()
    await check_widths(page)
    await button(page, "Pay with Leather").dblclick()
    await expect(said(page)).to_contain_text("Leather says that the payment is sent")
    assert wallet.payments() == [("Leather", "stx_callContract")]
    [payment] = wallet.sent
    assert payment.status == "success"
    await expect(page.locator("#wallet code")).to_have_text(payment.tx_id.removeprefix("0x"))
    await expect(state(page)).to_contain_text("Waiting for your payment")
    await check_widths(page)

    deployment.chain.add_pending(payment)
    await expect(state(page)).to_contain_text("Payment seen")
    await expect(page.locator("#wallet")).to_have_count(0)
    deployment.chain.mine([payment])
    await expect(state(page)).to_contain_text("Paid")
    [told] = await deployment.receiver.wait_for(1)
    assert told.document["type"] == "payment.succeeded"
    called = read_payment_call(payment.function or "", payment.args)
    assert called is not None
    assert f"0x{called.terms_hash.hex()}" == intent["terms_hash"]
    assert payment.contract_id == harness.PAYMENT_CONTRACT


async def test_every_asset_is_paid_by_a_plain_transfer(plain_site: Site, payer: Payer) -> None:
    """Without a payment contract: STX, sBTC and a token of 18 decimals, by wallets of every kind."""
    wallet = payer.wallet
    wallet.kinds = ("Leather", "Xverse", "Asigna", "OKX Wallet")
    for kind, asset, amount in (
        ("Leather", "stx", 25_000_000),
        ("Leather", "sbtc", 50_000),
        ("Xverse", "gold", 25 * 10**18 + 1),
        ("Xverse", "stx", 2),
        ("Asigna", "gold", 5 * 10**18 + 1),
        ("OKX Wallet", "sbtc", 50_001),
        ("OKX Wallet", "stx", 1),
    ):
        page = await payer.open(await plain_site.create(asset=asset, amount=str(amount)))
        await button(page, f"Pay with {kind}").click()
        await expect(said(page)).to_contain_text(f"{kind} says that the payment is sent")
        payment = wallet.sent[-1]
        assert (payment.sender, payment.status) == (wallet.address, "success")
        plain_site.mine(payment)
        await expect(state(page)).to_contain_text("Paid")
        await page.context.close()


async def test_the_chain_counts_whatever_a_wallet_sends(plain_site: Site, payer: Payer) -> None:
    """Too little is underpaid, and the rest is asked for; twice is too much; both are told as they are."""
    wallet = payer.wallet
    page = await payer.open(await plain_site.create(asset="stx", amount="25000000"), width=390)
    wallet.behaviour = "short"
    await button(page, "Pay with Leather").click()
    await expect(said(page)).to_contain_text("says that the payment is sent")
    plain_site.mine(wallet.sent[-1])
    await expect(state(page)).to_contain_text("Part of it has arrived")
    await expect(said(page)).to_be_hidden()

    wallet.behaviour = "twice"
    await button(page, "Pay with Leather").click()
    await expect(said(page)).to_contain_text("says that the payment is sent")
    _, *rest = wallet.sent
    assert [payment.transfer and payment.transfer[1] for payment in rest] == [1, 1]
    plain_site.mine(*rest)
    await expect(state(page)).to_contain_text("Paid")
    await expect(state(page)).to_contain_text("0.000001 STX too much arrived")


async def test_a_wallet_that_does_not_pay_changes_nothing(site: Site, payer: Payer) -> None:
    """It refuses, cannot, is elsewhere, silent or lies: the page says so, offers it again, and watches."""
    wallet = payer.wallet
    wallet.kinds = ("Leather", "Xverse")
    page = await payer.open(await site.create(), clock=True)
    for kind in wallet.kinds:
        for behaviour, words in (
            ("refuses", f"{kind} answers that you declined"),
            ("cannot", f"{kind} cannot make this payment"),
        ):
            wallet.behaviour = behaviour
            await button(page, f"Pay with {kind}").click()
            await expect(said(page)).to_contain_text(words)
    await check_widths(page)

    asked = len(wallet.payments())
    wallet.network = "testnet"
    await button(page, "Pay with Xverse").click()
    await expect(said(page)).to_contain_text("has no account on the network of this payment, mainnet")
    assert len(wallet.payments()) == asked

    wallet.network, wallet.behaviour = "mainnet", "silent"
    await button(page, "Pay with Leather").click()
    await expect(said(page)).to_contain_text("Look at Leather")
    await expect(button(page, "Pay with Xverse")).to_have_attribute("aria-disabled", "true")
    await button(page, "Pay with Xverse").click(force=True)
    await page.clock.fast_forward(25_000)
    await expect(said(page)).to_contain_text("Leather has not answered yet")
    assert len(wallet.payments()) == asked + 1

    await button(page, "Pay with Xverse").click()
    await expect(said(page)).to_contain_text("Look at Xverse")
    await page.reload()
    await expect(said(page)).to_contain_text("Xverse has not answered yet")

    wallet.behaviour = "lies"
    await button(page, "Pay with Xverse").click()
    await expect(said(page)).to_contain_text("Xverse says that the payment is sent")
    await expect(page.locator("#said")).to_contain_text("Do not pay twice")
    await page.reload()
    await expect(said(page)).to_contain_text("Xverse says that the payment is sent")
    await expect(button(page, "Ask Xverse once more")).to_be_visible()
    await expect(state(page)).to_contain_text("Waiting for your payment")
    assert wallet.sent == []

    wallet.behaviour = "pays"
    await button(page, "Ask Leather once more").click()
    await expect(said(page)).to_contain_text("Leather says that the payment is sent")
    site.mine(wallet.sent[-1])
    await expect(state(page)).to_contain_text("Paid")


async def test_without_a_call_of_the_server_no_wallet_is_asked_for_money(site: Site, payer: Payer) -> None:
    """Another payer's money would not count; a server that does not answer, or says no, ends the attempt."""
    payer.visitor.expected |= {"409", "ERR_FAILED"}
    other = principal("payer")
    page = await payer.open(await site.create(payer=other))
    await button(page, "Pay with Leather").click()
    await expect(said(page)).to_contain_text(f"Only a payment from {other} counts")

    async def refuse(route: Route) -> None:
        await route.abort()

    await page.route("**/call?*", refuse)
    await button(page, "Pay with Leather").click()
    await expect(said(page)).to_contain_text("did not answer")

    made = await site.api.create()
    page = await payer.open(f"{site.api.url}{made['checkout_url']}")
    await page.route("**/pay/*", refuse)  # the page does not see that it is canceled
    await site.api.client.post(f"/v1/payment_intents/{made['id']}/cancel")
    await button(page, "Pay with Leather").click()
    await expect(said(page)).to_contain_text("cannot be asked for this payment now")
    assert payer.wallet.payments() == []


async def test_without_a_wallet_there_are_other_ways(site: Site, payer: Payer) -> None:
    """On a phone links into the wallets' apps, on a desk a hint, and in a frame a page of its own."""
    payer.wallet.kinds = ()
    url = await site.create()
    page = await payer.open(url, width=390, has_touch=True)
    link = f"https://connect.xverse.app/browser?url={quote(url, safe='')}"
    await expect(page.get_by_role("link", name="Open in Xverse")).to_have_attribute("href", link)
    await check_widths(page)
    desk = await payer.open(url)
    await expect(desk.get_by_text("With a wallet in this browser")).to_be_visible()
    await expect(desk.get_by_role("link", name="Open in Xverse")).to_be_hidden()

    payer.wallet.kinds = ("Leather",)
    async with ShopPage(site.api.url) as shop:
        site.api.allow(shop.url)
        shop.body = f"<iframe title='Payment' width='390' height='800' src='{url}'></iframe>"
        around = await payer.open(shop.url)
        frame = around.frame_locator("iframe")
        await expect(frame.get_by_role("status")).to_contain_text("Waiting for your payment")
        await expect(frame.locator("#wallet")).to_be_hidden()
        async with around.context.expect_page() as opened:
            await frame.get_by_role("link", name="Pay with a wallet").click()
        own = await opened.value
        await expect(button(own, "Pay with Leather")).to_be_visible()
        assert own.url == url


async def test_a_merchants_wallet_gives_money_back(site: Site, payer: Payer) -> None:
    """From the dashboard by the same button, with the account that was paid; the refund is recognized."""
    api, wallet = site.api, payer.wallet
    customer = principal("customer")
    key = api.add_key(api.fixture.add_merchant("Wallet", wallet.address))
    async with api.as_key(key) as client:
        answer = await client.post("/v1/payment_intents", json={"amount": "50000", "level": "included"})
    made = answer.json()
    terms = {one["name"]: one["value"] for one in made["pay"]["contract"]["arguments"]}
    site.mine(
        contract_payment(
            harness.PAYMENT_CONTRACT,
            customer,
            wallet.address,
            50_000,
            expires_at=int(terms["expires-at"]),
            salt=bytes.fromhex(terms["salt"][2:]),
        )
    )
    page = await payer.open(f"{api.url}/dashboard/sign-in", width=390)
    await page.get_by_label("API key").fill(key)
    await button(page, "Sign in").click()
    await page.goto(f"{api.url}/dashboard/payments/{made['id']}/refund")
    wallet.payer = customer
    await page.get_by_role("button", name="Leather").click()
    await expect(said(page)).to_contain_text("Leather")
    await expect(page.locator("#wallet code")).to_be_visible()
    await check_widths(page)
    [refund] = wallet.sent
    assert (refund.function, refund.status) == ("refund-token", "success")
    site.mine(refund)
    shown = api.fixture.show(made["id"])
    assert (shown["amount_refunded"], shown["flags"]) == ("50000", ["refunded"])
