"""The overview leads to pages that are there, and that show what it counts."""

from chain.testing import txs
from tests.integration.watcher.api.api_fixture import ADMIN
from tests.integration.watcher.api.dashboard_fixture import Browser
from tests.integration.watcher.ledger_fixture import PAYER, SHOP
from watcher.services.statistics import ATTENTION
from watcher.web.dashboard import overview


async def test_every_place_that_it_leads_to_is_there(browser: Browser) -> None:
    """Whatever needs somebody, and whatever is to be done first."""
    paths = [overview.place_of(code) for code in ATTENTION] + ["keys", "links/new", "status"]
    for path in paths:
        answer = await browser.get(f"/dashboard/{path}")
        assert answer.status_code == 200, path


async def test_what_it_counts_is_what_the_places_show(browser: Browser) -> None:
    """A late payment and a transfer that belongs to nothing, each where its line leads to."""
    fixture = browser.api.fixture
    late, other = fixture.create(), fixture.create()
    fixture.cancel(late)
    fixture.mine(
        txs.sbtc_transfer(PAYER, SHOP, 50_000, fixture.memo(late)), txs.sbtc_transfer(PAYER, SHOP, 7, b"?")
    )
    page = (await browser.get("/dashboard")).text
    assert "1 payment came after it had ended" in page
    assert "1 transfer belongs to no payment" in page
    listed = (await browser.get(f"/dashboard/{overview.place_of('late_payments')}")).text
    assert late in listed
    assert other not in listed
    [transfer] = [row for row in fixture.transfers() if row["intent_id"] is None]
    strays = (await browser.get(f"/dashboard/{overview.place_of('transfers_to_assign')}")).text
    assert transfer["tx_id"] in strays or transfer["id"] in strays


async def test_a_merchant_sees_nothing_of_others_and_an_operator_all(browser: Browser) -> None:
    """Neither sums nor what needs somebody."""
    fixture = browser.api.fixture
    other = fixture.create(browser.api.other_merchant, amount=12_345)
    recipient = fixture.show(other)["recipient"]
    fixture.mine(txs.sbtc_transfer(PAYER, recipient, 12_345, fixture.memo(other)))
    assert fixture.status(other) == "succeeded"
    assert "0.00012345" not in (await browser.get("/dashboard")).text
    operator = Browser(browser.api)
    await operator.sign_in(ADMIN)
    assert "0.00012345" in (await operator.get("/dashboard")).text
    await operator.close()
