"""Payments, transfers and refunds on the dashboard: every act, what strangers see, hostile texts."""

import csv
import io
import re
from collections.abc import AsyncIterator
from html.parser import HTMLParser

import httpx
import pytest

from chain.testing import txs
from tests.integration.watcher.api.api_fixture import ADMIN, ApiFixture
from tests.integration.watcher.api.dashboard_fixture import Browser
from tests.integration.watcher.indexer.refunds import pay
from tests.integration.watcher.ledger_fixture import PAYER, SHOP, STRANGER, LedgerFixture
from watcher.schemas import AddApiKey
from watcher.services.export import INTENT_COLUMNS

HOSTILE = "<script>alert(1)</script>\"'&{{7*7919}}\u202e🎉"


#: Attributes that our pages have.
ATTRIBUTES = {
    *("lang", "charset", "name", "content", "rel", "href", "src", "defer", "class", "id", "tabindex"),
    *("method", "action", "type", "value", "role", "for", "autocomplete", "placeholder", "required"),
    *("checked", "disabled", "scope", "datetime", "hidden", "target", "download", "selected", "inputmode"),
    *("xmlns", "viewbox", "transform", "d", "stroke", "width", "height", "fill", "data-label", "data-live"),
    *(
        "data-viewed",
        "data-copy",
        "data-done",
        "data-network",
        "data-call",
        "data-say",
        "aria-live",
        "aria-label",
    ),
    *("data-viewed", "aria-current", "aria-describedby", "aria-invalid", "aria-labelledby", "open"),
}


@pytest.fixture
async def shop(api: ApiFixture) -> AsyncIterator[Browser]:
    """The merchant, signed in with a key that may write."""
    browser = Browser(api)
    await browser.sign_in(api.key)
    yield browser
    await browser.close()


@pytest.fixture
def ledger(api: ApiFixture) -> LedgerFixture:
    """The chain and the database behind the pages."""
    return api.fixture


async def as_viewer(api: ApiFixture, key: str) -> Browser:
    browser = Browser(api)
    await browser.sign_in(key)
    return browser


def transfer_of(ledger: LedgerFixture, amount: int) -> str:
    """Return the id of the stored transfer of an amount."""
    return next(str(row["id"]) for row in ledger.transfers() if row["amount"] == amount)


def links(html: str) -> set[str]:
    """Return the ids of the payments that a page leads to."""
    return set(re.findall(r'href="[^"]*dashboard/payments/(pi_\w+)"', html))


async def test_an_empty_list_says_what_to_do_first(shop: Browser) -> None:
    for page, said in (
        ("payments", "Make the first payment"),
        ("transfers", "all money belongs to a payment"),
        ("transfers?all=yes", "Nothing came yet"),
        ("refunds", "Nothing is due"),
        ("payments?search=x", "No payment fits"),
    ):
        answer = await shop.get(f"/dashboard/{page}")
        assert answer.status_code == 200
        assert said in answer.text


async def test_a_payment_is_made_by_hand_and_leads_to_its_link(shop: Browser, ledger: LedgerFixture) -> None:
    """The amount is in the asset's own unit; the page then has the checkout's link and its code."""
    answer = await shop.send(
        *("/dashboard/payments/new", "payments/new"),
        amount=" 0.0005 ",
        asset="sbtc",
        description="Two tins",
        reference="INV-7",
        order_id="4711",
        expires_in="15m",
        level="settled",
    )
    assert answer.status_code == 303, answer.text
    page = await shop.get("/dashboard/" + answer.headers["location"].partition("dashboard/")[2])
    [intent] = re.findall(r"pi_\w+", str(page.url))
    made = ledger.show(intent)
    assert (made["amount"], made["reference"], made["description"]) == ("50000", "INV-7", "Two tins")
    assert (made["metadata"], made["confirmations"]["level"]) == ({"order_id": "4711"}, "settled")
    assert "The payment is created." in page.text
    assert f"{shop.api.url}{made['checkout_url']}" in page.text
    assert "<svg" in page.text
    assert (await shop.get(made["checkout_url"])).status_code == 200


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"amount": "0,5"}, "write a number of sBTC with a point"),
        ({"amount": "0"}, "must be more than 0"),
        ({"amount": "0.000000001"}, "sBTC has 8 decimals at most"),
        ({"amount": "1", "asset": "doge"}, "doge"),
        ({"amount": "1", "reference": "ü" * 9}, "does not fit a memo"),
        ({"amount": "1", "level": "soon"}, "level"),
        ({"amount": "1", "description": HOSTILE * 50}, "must be a text of 1 to 500 characters"),
    ],
)
async def test_a_wrong_form_is_shown_again(shop: Browser, fields: dict[str, str], said: str) -> None:
    """With what was typed, and what is wrong with it; nothing is stored."""
    answer = await shop.send("/dashboard/payments/new", "payments/new", **fields)
    assert answer.status_code == 422
    assert said in answer.text
    assert "Nothing was changed" in answer.text
    assert "<script>alert" not in answer.text
    assert links((await shop.get("/dashboard/payments")).text) == set()


async def test_lists_are_searched_and_filtered(shop: Browser, ledger: LedgerFixture) -> None:
    one = ledger.create(metadata={"order_id": "4711"})
    two = ledger.create(asset="stx", reference="INV-8")
    ledger.cancel(two)
    for query, expected in (
        ("", {one, two}),
        ("?search=4711", {one}),
        ("?search=inv-8", {two}),
        (f"?search={one}", {one}),
        ("?status=canceled", {two}),
        ("?asset=stx&status=&flag=", {two}),
        ("?flag=late", set()),
        ("?attention=true", set()),
        ("?payment_link=pl_1", set()),
        ("?created_from=2020-01-01&created_to=2099-12-31", {one, two}),
        ("?created_to=2020-01-01", set()),
        ("?created_from=2027-01-15&created_to=2027-01-15", {one, two}),
    ):
        answer = await shop.get(f"/dashboard/payments{query}")
        assert (answer.status_code, links(answer.text)) == (200, expected), query


@pytest.mark.parametrize(
    "query",
    ["status=paid", "flag=x", "created_from=x", "search=" + "x" * 501, "asset=" + "x" * 65, "cursor=pi_X"],
)
async def test_a_wrong_filter_is_told(shop: Browser, query: str) -> None:
    answer = await shop.get(f"/dashboard/payments?{query}")
    assert answer.status_code == 422
    assert "Nothing was changed" in answer.text


async def test_pages_of_the_list_lead_on(shop: Browser, ledger: LedgerFixture) -> None:
    made = [ledger.create() for _ in range(27)]
    first = await shop.get("/dashboard/payments?status=pending")
    [older] = re.findall(r'href="(\?[^"]+)" rel="next"', first.text)
    assert "status=pending" in older
    second = await shop.get("/dashboard/payments" + older.replace("&amp;", "&"))
    assert links(first.text) == set(made[2:])
    assert links(second.text) == set(made[:2])


async def test_the_list_is_exported_as_csv(shop: Browser, ledger: LedgerFixture) -> None:
    """All pages of what the filters leave, a row each, and no cell that a spreadsheet would run."""
    paid = ledger.create(description="=1+1", metadata={"note": "a,b"})
    for _ in range(101):
        ledger.create()
    canceled = ledger.create(reference="+7")
    ledger.cancel(canceled)
    payment = txs.sbtc_transfer(PAYER, SHOP, 50_001, ledger.memo(paid))
    ledger.mine(payment)
    answer = await shop.get("/dashboard/payments.csv")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert 'filename="payments.csv"' in answer.headers["content-disposition"]
    rows = list(csv.DictReader(io.StringIO(answer.text, newline="")))
    assert tuple(rows[0]) == INTENT_COLUMNS
    assert len(rows) == 103
    assert (rows[0]["id"], rows[0]["reference"], rows[0]["transfers"]) == (canceled, "'+7", "0")
    last = rows[-1]
    assert (last["id"], last["description"], last["metadata"]) == (paid, "'=1+1", '{"note": "a,b"}')
    assert (last["amount"], last["amount_received"], last["amount_over"]) == ("50000", "50001", "1")
    assert (last["tx_id"], last["sender"], last["transfers"]) == (payment.tx_id, PAYER, "1")
    few = await shop.get("/dashboard/payments.csv?status=canceled")
    assert [row["id"] for row in csv.DictReader(io.StringIO(few.text, newline=""))] == [canceled]
    wrong = await shop.get("/dashboard/payments.csv?status=paid")
    assert wrong.status_code == 422


async def test_a_payment_is_canceled_after_asking(shop: Browser, ledger: LedgerFixture) -> None:
    """Only while it is pending; a second form of the same page does nothing."""
    intent = ledger.create()
    page = f"/dashboard/payments/{intent}"
    answer = await shop.send(page, f"payments/{intent}/cancel", reason="sold out")
    assert answer.status_code == 303
    assert ledger.status(intent) == "canceled"
    shown = (await shop.get(page)).text
    assert "sold out" in shown
    assert f'action="../../dashboard/payments/{intent}/cancel"' not in shown
    again = await shop.post(f"{page}/cancel", {"token": await shop.token()})
    assert again.status_code == 422
    assert "only a pending intent can be canceled" in again.text


async def test_a_payment_is_marked_with_a_reason(shop: Browser, ledger: LedgerFixture) -> None:
    intent = ledger.create()
    page = f"/dashboard/payments/{intent}"
    refused = await shop.send(page, f"payments/{intent}/mark", status="succeeded", reason=" ")
    assert refused.status_code == 422
    assert ledger.status(intent) == "pending"
    answer = await shop.send(page, f"payments/{intent}/mark", status="succeeded", reason="paid in cash")
    assert answer.status_code == 303
    assert ledger.status(intent) == "succeeded"
    shown = (await shop.get(page)).text
    assert "paid in cash" in shown
    assert "A person decided on this" in shown


async def test_money_without_a_payment_is_assigned(shop: Browser, ledger: LedgerFixture) -> None:
    """The list says why it belongs to none; the memo or the sender is the first guess, else a search."""
    intent = ledger.create(reference="INV-7")
    ledger.mine(txs.sbtc_transfer(PAYER, SHOP, 50_000, b"INV-77"))
    transfer = transfer_of(ledger, 50_000)
    listed = await shop.get("/dashboard/transfers")
    assert "It has no reference that we know." in listed.text
    page = f"/dashboard/transfers/{transfer}"
    assert "Search for it" in (await shop.get(page)).text
    assert "No payment has exactly that" in (await shop.get(f"{page}?search=INV-777")).text
    refused = await shop.send(
        f"{page}?search=inv-7", f"transfers/{transfer}/assign", intent=intent, reason=""
    )
    assert refused.status_code == 422
    answer = await shop.send(
        f"{page}?search=inv-7", f"transfers/{transfer}/assign", intent=intent, reason="mistyped"
    )
    assert answer.status_code == 303, answer.text
    assert ledger.status(intent) == "succeeded"
    shown = (await shop.get(f"/dashboard/payments/{intent}")).text
    assert "assigned by a person" in shown
    assert "belongs to no payment" in (await shop.get("/dashboard/transfers")).text
    again = await shop.post(
        f"{page}/assign", {"token": await shop.token(page), "intent": intent, "reason": "x"}
    )
    assert again.status_code == 422
    assert "belongs to intent" in again.text


async def test_a_guess_in_another_asset_is_not_taken(shop: Browser, ledger: LedgerFixture) -> None:
    intent = ledger.create(reference="INV-7", asset="stx")
    ledger.mine(txs.sbtc_transfer(PAYER, SHOP, 50_000, b"INV-7"))
    shown = (await shop.get(f"/dashboard/transfers/{transfer_of(ledger, 50_000)}")).text
    assert "to be made in another asset" in shown
    assert re.search(rf'value="{intent}" required disabled', shown)


async def test_a_refund_is_shown_asked_of_the_wallet_and_noted(shop: Browser, ledger: LedgerFixture) -> None:
    """From the list of what is due to the wallet's call; then it is dismissed with a reason."""
    intent = ledger.create()
    ledger.mine(txs.sbtc_transfer(PAYER, SHOP, 7, ledger.memo(intent)))
    ledger.cancel(intent)
    assert PAYER in (await shop.get("/dashboard/refunds")).text
    page = f"/dashboard/payments/{intent}/refund"
    shown = (await shop.get(page)).text
    assert "plain transfer" in shown
    [call] = re.findall(r'data-call="[./]*([^"]+)"', shown)
    assert call == f"dashboard/payments/{intent}/refund/7/{PAYER}/call"
    asked = (await shop.get(f"/{call}?sender={STRANGER}")).json()
    assert (asked["method"], asked["params"]["address"]) == ("stx_callContract", STRANGER)
    for query, said in (("amount=1", "is more than the 7"), ("amount=x", "write a number"), ("to=x", "to")):
        wrong = await shop.get(f"{page}?{query}")
        assert wrong.status_code == 422
        assert said in wrong.text
    assert (await shop.get(f"{page}?amount=0.00000005&to={STRANGER}")).status_code == 200
    answer = await shop.send(page, f"payments/{intent}/dismiss", reason="sent back by hand")
    assert answer.status_code == 303
    assert "Nothing is due." in (await shop.get("/dashboard/refunds")).text
    again = await shop.post(
        f"/dashboard/payments/{intent}/dismiss", {"token": await shop.token(), "reason": "x"}
    )
    assert again.status_code == 422


async def test_the_contracts_refund_is_for_the_merchants_own_account(
    shop: Browser, ledger: LedgerFixture
) -> None:
    intent = ledger.create()
    ledger.mine(pay(ledger, intent))
    shown = (await shop.get(f"/dashboard/payments/{intent}/refund")).text
    assert "The payment contract gives it back" in shown
    call = f"/dashboard/payments/{intent}/refund/50000/{PAYER}/call"
    asked = (await shop.get(f"{call}?sender={SHOP}")).json()
    assert asked["params"]["functionName"] == "refund-token"
    refused = await shop.get(f"{call}?sender={PAYER}")
    assert (refused.status_code, refused.json()["code"]) == (409, "wrong_sender")
    assert (await shop.get(f"{call}?sender=x")).json()["code"] == "validation"


async def test_others_things_are_not_there(api: ApiFixture, ledger: LedgerFixture) -> None:
    """Another merchant gets 404 for pages and forms, and finds nothing by any text; nothing changes."""
    intent = ledger.create(reference="INV-7", metadata={"order_id": "4711"})
    ledger.mine(txs.sbtc_transfer(PAYER, SHOP, 9, b"stray"))
    transfer = transfer_of(ledger, 9)
    other = await as_viewer(api, api.other_key)
    try:
        for path in (f"payments/{intent}", f"payments/{intent}/refund", f"transfers/{transfer}"):
            assert (await other.get(f"/dashboard/{path}")).status_code == 404
        call = f"/dashboard/payments/{intent}/refund/1/{PAYER}/call?sender={SHOP}"
        assert (await other.get(call)).status_code == 404
        for path, fields in (
            (f"payments/{intent}/cancel", {}),
            (f"payments/{intent}/mark", {"status": "succeeded", "reason": "x"}),
            (f"payments/{intent}/dismiss", {"reason": "x"}),
            (f"transfers/{transfer}/assign", {"intent": intent, "reason": "x"}),
        ):
            answer = await other.post(f"/dashboard/{path}", fields | {"token": await other.token()})
            assert answer.status_code == 404, path
        for text in ("inv-7", "4711", intent):
            assert links((await other.get(f"/dashboard/payments?search={text}")).text) == set()
        assert (await other.get("/dashboard/payments.csv")).text.count("\n") == 1
        assert transfer not in (await other.get("/dashboard/transfers")).text
    finally:
        await other.close()
    assert ledger.status(intent) == "pending"


async def test_who_only_looks_changes_nothing(api: ApiFixture, ledger: LedgerFixture) -> None:
    intent = ledger.create()
    with ledger.services() as services:
        asked = AddApiKey.of({"name": "eyes", "scopes": ["read"]})
        key = services.add_merchant_key(api.merchant, asked)["api_key"]
    looker = await as_viewer(api, key)
    try:
        page = (await looker.get(f"/dashboard/payments/{intent}")).text
        assert "Decide by hand" not in page
        assert "New payment" not in (await looker.get("/dashboard/payments")).text
        answer = await looker.post(
            f"/dashboard/payments/{intent}/cancel", {"token": await looker.token("/dashboard/sessions")}
        )
        assert answer.status_code == 403
    finally:
        await looker.close()
    assert ledger.status(intent) == "pending"


async def test_an_operator_sees_all_and_makes_none(api: ApiFixture, ledger: LedgerFixture) -> None:
    """Before they choose a merchant there is nobody to make a payment for."""
    one, two = ledger.create(), ledger.create(api.other_merchant)
    operator = await as_viewer(api, ADMIN)
    try:
        listed = await operator.get("/dashboard/payments")
        assert links(listed.text) == {one, two}
        assert api.other_merchant in listed.text
        assert (await operator.get("/dashboard/payments/new")).status_code == 409
        assert (await operator.get(f"/dashboard/payments/{two}")).status_code == 200
    finally:
        await operator.close()


async def test_hostile_texts_are_texts(shop: Browser, ledger: LedgerFixture) -> None:
    """Of merchants, payers and chains, on every page that shows them."""
    long = (HOSTILE * 20)[:500]
    intent = ledger.create(
        reference="<b>'\"&{{7*7919}}",
        description=long,
        metadata={"<i>k</i>": long, "k": "javascript:alert(1)"},
    )
    ledger.mine(
        txs.sbtc_transfer(PAYER, SHOP, 7, ledger.memo(intent)),
        txs.sbtc_transfer(PAYER, SHOP, 8, b"<i>{{7*7919}}"),
    )
    ledger.cancel(intent, reason=HOSTILE)
    stray = transfer_of(ledger, 8)
    for path in (
        "payments",
        f"payments?search={httpx.QueryParams({'x': HOSTILE})['x']}",
        f"payments/{intent}",
        f"payments/{intent}/refund",
        "refunds",
        "transfers",
        f"transfers/{stray}",
        f"transfers/{stray}?search=<script>",
    ):
        answer = await shop.get(f"/dashboard/{path}")
        assert answer.status_code == 200, path
        assert not re.search(r"<script>|<i>|<b>'", answer.text), path
        assert "55433" not in page_text(answer.text), path
        assert 'href="javascript' not in answer.text
        assert attributes(answer.text) <= ATTRIBUTES, path
        assert " style=" not in answer.text


class _Attributes(HTMLParser):
    """The names of a page's attributes: a text that leaves its attribute makes others."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found |= {name for name, _ in attrs}


def attributes(html: str) -> set[str]:
    """Return the names of the attributes that a page has."""
    parser = _Attributes()
    parser.feed(html)
    return parser.found


def page_text(html: str) -> str:
    """Return a page without what changes by itself: its token and the hashes of ids and transactions."""
    return re.sub(r'value="[^"]+"|[0-9a-zA-Z_]{11,}|\d{4}-\d\d-\d\d\S*( \S+)?', "", html)


async def test_a_payment_with_very_many_transfers_is_shown(shop: Browser, ledger: LedgerFixture) -> None:
    """Its page and the list stay small, and say how many there are."""
    intent = ledger.create(amount=10**9)
    for start in range(0, 300, 100):
        ledger.mine(
            *[txs.sbtc_transfer(STRANGER, SHOP, start + n + 1, ledger.memo(intent)) for n in range(100)]
        )
    shown = await shop.get(f"/dashboard/payments/{intent}")
    assert "of 300 transfers" in shown.text
    assert len(shown.content) < 200_000


async def test_answers_are_fresh_and_framed_by_nobody(shop: Browser, ledger: LedgerFixture) -> None:
    intent = ledger.create()
    for path in ("payments", f"payments/{intent}", "payments/new", "transfers", "refunds"):
        answer = await shop.get(f"/dashboard/{path}")
        policy = answer.headers["content-security-policy"]
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
