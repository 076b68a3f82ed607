"""Payment links in the dashboard: forms become links, and links become forms again."""

import html as entities
import re
from typing import Any

import httpx
import pytest

from chain.testing import principal
from tests.integration.watcher.api.api_fixture import ADMIN, ApiFixture
from tests.integration.watcher.api.dashboard_fixture import Browser
from watcher.schemas import NewPaymentLink, OwnedPage

HOSTILE = '<script>alert("x")</script>\u202e 👩‍🚀'


async def create(browser: Browser, **fields: Any) -> httpx.Response:
    """Send the form of a new link."""
    return await browser.send("/dashboard/links/new", "links/new", **{"asset": "sbtc"} | fields)


def links(browser: Browser) -> list[dict[str, Any]]:
    """Return all links, newest first."""
    with browser.api.fixture.services() as services:
        found: list[dict[str, Any]] = services.links(OwnedPage(limit=100))["data"]
        return found


async def test_a_form_makes_a_link_of_what_it_says(browser: Browser) -> None:
    """Amounts are typed in the asset's own unit, and kept in base units."""
    answer = await create(
        browser,
        description="Coffee",
        pricing="fixed",
        asset="sbtc",
        amount="0.00007",
        max_uses="3",
        expires_at="2030-01-31T12:00",
        password=" secret ",
        metadata="product=coffee\n\nsize = large",
        level="anchored",
        success_url="https://shop.example/thanks",
    )
    assert answer.status_code == 303, answer.text
    [link] = links(browser)
    assert answer.headers["location"].startswith(f"../../dashboard/links/{link['id']}?said=")
    expected = {
        "amount": "7000",
        "asset": "sbtc",
        "prices": None,
        "max_uses": 3,
        "expires_at": "2030-01-31T12:00:00.000Z",
        "has_password": True,
        "metadata": {"product": "coffee", "size": "large"},
        "level": "anchored",
        "success_url": "https://shop.example/thanks",
    }
    assert {name: link[name] for name in expected} == expected
    page = await browser.get(f"/dashboard/links/{link['id']}")
    assert "0.00007 sBTC" in page.text
    assert "payers need one" in page.text
    listed = await browser.get("/dashboard/links")
    assert "Coffee" in listed.text
    assert "0 of 3" in listed.text


async def test_only_what_the_choice_of_the_price_shows_counts(browser: Browser) -> None:
    """Fields of another choice may be filled in, and are hidden."""
    left = {"amount": "1", "min_amount": "0.1", "max_amount": "0.2", "asset": "stx"}
    left |= {"price-sbtc": "0.0005", "price-stx": "25"}
    for pricing in ("fixed", "open", "several"):
        assert (await create(browser, pricing=pricing, **left)).status_code == 303
    several, opened, fixed = links(browser)
    assert (fixed["amount"], fixed["min_amount"], fixed["prices"]) == ("1000000", None, None)
    assert (opened["amount"], opened["min_amount"], opened["max_amount"]) == (None, "100000", "200000")
    assert (several["amount"], several["asset"]) == (None, None)
    assert several["prices"] == {"sbtc": "50000", "stx": "25000000"}


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"pricing": "fixed"}, "give one, or let payers say how much"),
        ({"pricing": "fixed", "amount": "1,500"}, "write a number of sBTC with a point"),
        ({"pricing": "fixed", "amount": "0.000000001"}, "sBTC has 8 decimals at most"),
        ({"pricing": "fixed", "amount": "-1"}, "write a number of sBTC"),
        ({"pricing": "several"}, "the price in at least one asset"),
        ({"pricing": "open", "min_amount": "2", "max_amount": "1"}, "is below min_amount"),
        ({"pricing": "fixed", "amount": "1", "success_url": "javascript:alert(1)"}, "https"),
        ({"pricing": "fixed", "amount": "1", "metadata": "nothing"}, "product=coffee"),
        ({"pricing": "fixed", "amount": "1", "expires_at": "1999-01-01T00:00"}, "not ahead"),
        ({"pricing": "fixed", "amount": "1", "asset": "gold"}, "not an asset"),
    ],
)
async def test_what_is_wrong_is_said_and_nothing_typed_is_lost(
    browser: Browser, fields: dict[str, str], said: str
) -> None:
    """The form comes again as it was sent, but for the password."""
    answer = await create(browser, description=HOSTILE, password="secret", **fields)
    assert answer.status_code == 422
    assert said in answer.text
    assert "Nothing was changed." in answer.text
    assert "<script>alert" not in answer.text
    assert "👩‍🚀" in answer.text
    assert "secret" not in answer.text
    assert links(browser) == []


async def test_a_form_without_changes_changes_nothing(browser: Browser) -> None:
    """What a link is comes back from its form as it went there; the password stays."""
    body: dict[str, Any] = {
        "description": HOSTILE,
        "metadata": {"a": "b=c", "d": ""},
        "max_uses": 7,
        "password": "secret",
        "expires_at": "2030-01-31T12:00:00Z",
        "recipient": principal("till"),
        "cancel_url": "https://shop.example/?a=b&c=d",
    }
    kinds: list[dict[str, Any]] = [
        {"amount": 12_345, "level": "stacks=3,bitcoin=1"},
        {"min_amount": 5, "asset": "stx"},
        {"prices": {"stx": 1, "sbtc": 2**128 - 1}},
    ]
    for kind in kinds:
        with browser.api.fixture.services(browser.api.merchant) as services:
            link = services.create_link(NewPaymentLink.of(body | kind), password_hash="scrypt$1$1$1$a$a")
        path = f"links/{link['id']}/edit"
        form = (await browser.get(f"/dashboard/{path}")).text
        answer = await browser.post(f"/dashboard/{path}", fields_of(form))
        assert answer.status_code == 303, answer.text
        after = links(browser)[0]
        assert {**after, "updated_at": None} == {**link, "updated_at": None}


def fields_of(html: str) -> dict[str, str]:
    """Return what a browser sends of a form that nobody touched."""
    form = html[html.index('class="card pricing"') :]
    fields = {}
    for tag in re.findall(r"<input[^>]*>", form):
        name, value = re.search(r'name="([^"]*)"', tag), re.search(r'value="([^"]*)"', tag)
        kind = re.search(r'type="([^"]*)"', tag)
        ticked = kind is None or kind[1] not in ("radio", "checkbox") or " checked" in tag
        if name and value and ticked:
            fields[name[1]] = entities.unescape(value[1])
    for name, text in re.findall(r'<textarea[^>]* name="([^"]*)"[^>]*>(.*?)</textarea>', form, re.DOTALL):
        fields[name] = entities.unescape(text)
    for name, options in re.findall(r'<select[^>]* name="([^"]*)"[^>]*>(.*?)</select>', form, re.DOTALL):
        chosen = re.search(r'value="([^"]*)" selected', options) or re.search(r'value="([^"]*)"', options)
        assert chosen is not None
        fields[name] = chosen[1]
    return fields


async def test_a_link_is_disabled_and_enabled_again(browser: Browser) -> None:
    """A password can be taken away; its code is there as a file, of the whole address."""
    await create(browser, pricing="fixed", amount="1", password="secret")
    [link] = links(browser)
    page = f"/dashboard/links/{link['id']}"
    assert (await browser.send(page, f"links/{link['id']}/disable")).status_code == 303
    assert links(browser)[0]["status"] == "disabled"
    assert "who opens it can start nothing" in (await browser.get(page)).text
    assert (await browser.send(page, f"links/{link['id']}/enable")).status_code == 303
    answer = await browser.send(f"{page}/edit", f"links/{link['id']}/edit", asset="sbtc", no_password="1")
    assert answer.status_code == 303
    assert (links(browser)[0]["status"], links(browser)[0]["has_password"]) == ("active", False)
    for form, begin in (("svg", b"<?xml"), ("png", b"\x89PNG")):
        code = await browser.get(f"{page}/code.{form}")
        assert code.content.startswith(begin)
        assert f"{link['id']}.{form}" in code.headers["content-disposition"]
    assert (await browser.get(f"{page}/code.gif")).status_code == 404
    assert f"{browser.api.url}/l/" in (await browser.get(page)).text


async def test_links_of_others_are_not_there(browser: Browser) -> None:
    """Neither seen nor changed; an operator sees them."""
    with browser.api.fixture.services(browser.api.other_merchant) as services:
        other = services.create_link(NewPaymentLink(amount=1, description="Theirs"))
    token = await browser.token()
    for path in ("", "/edit", "/code.svg"):
        assert (await browser.get(f"/dashboard/links/{other['id']}{path}")).status_code == 404
    for path in ("/edit", "/disable", "/enable"):
        answer = await browser.post(f"/dashboard/links/{other['id']}{path}", {"token": token, "amount": "1"})
        assert answer.status_code == 404, path
    operator = Browser(browser.api)
    await operator.sign_in(ADMIN)
    assert "Theirs" in (await operator.get("/dashboard/links")).text
    assert "Choose a merchant" in (await operator.get("/dashboard/links/new")).text
    await operator.close()


async def test_who_may_only_look_gets_no_forms(sqlite_api: ApiFixture) -> None:
    """The pages say so, and what is sent all the same is refused."""
    reader = Browser(sqlite_api)
    await reader.sign_in(sqlite_api.add_key(sqlite_api.merchant, scopes=["read"]))
    assert "<form" not in (await reader.get("/dashboard/links/new")).text.partition("<main")[2]
    answer = await reader.post("/dashboard/links/new", {"token": await reader.token(), "amount": "1"})
    assert answer.status_code == 403
    await reader.close()
