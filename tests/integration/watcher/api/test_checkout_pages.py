"""The checkout page of real intents in every state, in every language, and what stands in for it."""

import json
import re
from typing import Any

import httpx
import pytest
from structlog.testing import capture_logs

from tests import checkout_states
from tests.integration.watcher.api.api_fixture import ApiFixture, problem
from tests.integration.watcher.ledger_fixture import SHOP
from tests.served import ROOT
from watcher.api import middleware
from watcher.web import texts

#: What each page says, and what it must not.
SAYS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "waiting": (("Waiting for your payment", "≈ 49.90 EUR", "1 sBTC = 99,800.00 EUR", "hours left"), ()),
    "urgent": (("Waiting for your payment", "minutes left"), ()),
    "dedicated": (("Waiting for your payment",), ("memo",)),
    "payer": (("Only a payment from this address counts", "25 STX"), ("sats",)),
    "attempted": (("An attempt to pay failed",), ()),
    "waiting-reorged": (("took the payment out of its block", "not in the chain any more"), ()),
    "seen": (("Payment seen", "do not pay twice"), ("Do not pay, and go back",)),
    "underpaid-seen": (("Payment seen", "What arrived", "0.0002 sBTC"), ()),
    "underpaid": (("0.0003 sBTC is still missing", "≈ 29.94 EUR"), ()),
    "closing": (("The time to pay is over", "it is still looked for", "Back to Tea"), ()),
    "confirming": (("being confirmed", "of 6 Bitcoin blocks", "every ten minutes"), ("Back to",)),
    "confirming-stacks": (("of 40 Stacks blocks",), ("Bitcoin block",)),
    "confirming-reorged": (("The chain was reorganised", "do not pay again"), ("full amount is in",)),
    "unverified": (("second, independent source",), ()),
    "paid": (("Paid", "Thank you", "Receipt", "49.90 EUR", "Back to Tea"), ("Still", "99,800")),
    "overpaid": (("Paid", "0.0001 sBTC too much arrived"), ()),
    "surplus": (("0.00000007 sBTC too much", "is to be returned"), ()),
    "refunded": (("Paid", "0.0005 sBTC went back to you"), ()),
    "partly-refunded": (("0.0002 sBTC went back to you",), ()),
    "late-accepted": (("Paid", "has accepted it"), ("decides whether",)),
    "marked": (("Paid", "Receipt"), ("Block",)),
    "expired": (("Expired", "ask Tea & Leaves for a new link", "Back to Tea"), ("Only 0",)),
    "expired-part": (("Only 0.0002 sBTC arrived in time", "name the reference", "is to be returned"), ()),
    "late": (("Expired", "It is not lost"), ()),
    "late-more": (
        ("0.0007 sBTC arrived in all", "It is not lost", "0.0002 sBTC too much", "is to be returned"),
        ("Only",),
    ),
    "failed": (("Payment failed", "did not come through", "Back to Tea"), ()),
    "failed-reorged": (("Payment failed", "no longer in it"), ()),
    "canceled": (("has canceled this payment", "Back to Tea"), ("Do not pay, and",)),
    "canceled-late": (("has canceled", "It is not lost", "too much", "is to be returned"), ()),
}

PAYABLE = {
    *("waiting", "urgent", "dedicated", "payer", "attempted", "waiting-reorged"),
    *("seen", "underpaid-seen", "underpaid"),
}
PAID = {"paid", "overpaid", "surplus", "refunded", "partly-refunded", "late-accepted", "marked"}


def heard(html: str) -> str:
    """Return what a page says, without its tags, its codes, and what a script may show."""
    text = re.sub(r"<(svg|script|style|template|nav|noscript)\b.*?</\1>", " ", html, flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]+>", " ", text).replace("&amp;", "&").replace("&#39;", "'").split())


@pytest.fixture
async def states(sqlite_api: ApiFixture) -> dict[str, str]:
    """The path of a checkout in each state, by its name."""
    checkout_states.dress(sqlite_api.fixture)
    made = checkout_states.make_states(sqlite_api.fixture)
    return checkout_states.paths(sqlite_api.fixture, made)


async def get(api: ApiFixture, path: str, **more: Any) -> httpx.Response:
    answer = await api.stranger.get(path, **more)
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    return answer


async def test_every_state_says_what_is_true_and_what_to_do(
    sqlite_api: ApiFixture, states: dict[str, str]
) -> None:
    """Each page has its own words, is payable only where it is to be paid, and leads on where it is not."""
    assert states.keys() == SAYS.keys()
    for name, path in states.items():
        html = (await get(sqlite_api, path)).text
        said = heard(html)
        there, absent = SAYS[name]
        assert [text for text in there if text not in said] == [], (name, said)
        assert [text for text in absent if text in said] == [], (name, said)
        assert ("How to pay" in said, "<svg" in html) == ((name in PAYABLE,) * 2), name
        assert (SHOP in said) is (name in PAYABLE - {"dedicated"}), name
        assert ("✓" in said or "Thank you" in said) is (name in PAID), name
        assert "Help from Tea & Leaves" in said, name
        assert len(re.findall(r"<h1\b", html)) == len(re.findall('role="status"', html)) == 1, name


async def test_a_chain_that_stands_still_is_said_to(sqlite_api: ApiFixture, states: dict[str, str]) -> None:
    """Where the newest block is old the page says so in place of a time, which does not pass."""
    sqlite_api.fixture.clock.now += 86_400
    said = heard((await get(sqlite_api, states["waiting"])).text)
    assert "Its clock stands still" in said
    assert "left ·" not in said


@pytest.mark.parametrize("language", [*texts.LANGUAGES])
async def test_every_state_is_told_in_every_language(
    sqlite_api: ApiFixture, states: dict[str, str], language: str
) -> None:
    """The language of the browser is spoken, and named; nothing is left unfilled."""
    for name, path in states.items():
        answer = await get(sqlite_api, path, headers={"accept-language": f"{language}-XX, xx;q=0.9"})
        assert (answer.headers["content-language"], answer.headers["vary"]) == (language, "accept-language")
        assert f'<html lang="{language}">' in answer.text
        said = heard(answer.text)
        assert texts.say(language, "reference") in said, name
        assert not re.search(r"[{}]", said), (name, said)


async def test_the_language_can_be_chosen(sqlite_api: ApiFixture, states: dict[str, str]) -> None:
    """A parameter goes before the browser's wish; each language is one link away, and numbers follow it."""
    german = {"accept-language": "de"}
    answer = await get(sqlite_api, states["waiting"] + "?lang=fr", headers=german)
    assert answer.headers["content-language"] == "fr"
    assert "0,0005" in heard(answer.text)
    assert 'data-copy="0.0005"' in answer.text
    links = re.findall(r'<a href="\?lang=(\w+)" lang="\1" hreflang="\1"( aria-current="true")?>', answer.text)
    assert [tag for tag, _ in links] == [*texts.LANGUAGES]
    assert [tag for tag, current in links if current] == ["fr"]
    assert "≈ 49,90 EUR" in heard((await get(sqlite_api, states["waiting"], headers=german)).text)


async def test_what_strangers_and_merchants_write_is_text(sqlite_api: ApiFixture) -> None:
    """Names, descriptions and references are shown as they stand; none becomes markup or breaks out."""
    evil = "<script>alert(1)</script>\"'&{{7*7}}{name}\u202e" + "x" * 400
    checkout_states.dress(sqlite_api.fixture, display_name=evil[:200])
    made = await sqlite_api.create(
        description=evil, reference="<b>\"'&{{1}}", metadata={"k": evil}, fiat="1 XSS", match="reference"
    )
    for language in texts.LANGUAGES:
        html = (await get(sqlite_api, f"{made['checkout_url']}?lang={language}")).text
        assert "<script>alert" not in html
        assert "&lt;script&gt;alert(1)&lt;/script&gt;&#34;&#39;&amp;{{7*7}}{name}\u202e" in html
        assert 'data-copy="&lt;b&gt;&#34;&#39;&amp;{{1}}"' in html
        # What a name does to the direction of writing ends with it.
        shown = html.partition("<header>")[2]
        assert shown.count("&lt;script") == shown.count("<bdi>&lt;script") >= 3
        assert not re.search(r"\sstyle=|<style|\son[a-z]+=|javascript:", html)
        assert html.count("<script") == len(re.findall(r'<script src="assets/', html))


async def test_whoever_is_refused_a_page_gets_a_page(
    sqlite_api: ApiFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wrong addresses and our own mistakes are told in words, in the payer's language, and no more."""
    german = {"accept-language": "de"}
    lost = await get(sqlite_api, "/pay/" + "a" * 22, headers=german)
    assert (lost.status_code, lost.headers["content-language"]) == (404, "de")
    assert "Diese Zahlung gibt es nicht" in lost.text
    assert "http-equiv" not in lost.text
    deep = await get(sqlite_api, "/pay/" + "a" * 22 + "/more")
    assert deep.status_code == 404
    assert 'href="../assets/' in deep.text
    wrong = await sqlite_api.stranger.delete("/pay/" + "a" * 22)
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "GET, HEAD, POST")
    assert "No such payment" in wrong.text
    made = await sqlite_api.create()
    with monkeypatch.context() as patch, capture_logs():
        patch.setattr(api_of_server(sqlite_api), "checkout", broken)
        mistake = await get(sqlite_api, made["checkout_url"])
    assert mistake.status_code == 500
    assert "Something went wrong" in mistake.text
    assert "boom" not in mistake.text
    with monkeypatch.context() as patch:
        patch.setattr(middleware, "MAX_REQUESTS", 0)
        full = await get(sqlite_api, made["checkout_url"])
    assert (full.status_code, full.headers["retry-after"]) == (503, "5")
    assert "Not available right now" in full.text
    assert '<meta http-equiv="refresh" content="5">' in full.text
    for answer in (lost, deep, wrong, mistake, full):
        assert "script-src 'self'" in answer.headers["content-security-policy"]
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"
    for path in ("/pay/assets/none.css", "/pay", "/v1/checkout/x", "/payx/y"):
        assert problem(await sqlite_api.stranger.get(path)) == (404, "not_found")
    head = await sqlite_api.stranger.head("/pay/" + "a" * 22)
    assert (head.status_code, head.text) == (404, "")


async def test_a_page_that_is_refused_for_a_while_tries_again_by_itself(sqlite_api: ApiFixture) -> None:
    """The header says when, and the page does it, without scripts too."""
    async with ApiFixture(sqlite_api.fixture, http_rate_limit=1) as api:
        made = await api.create()
        assert (await get(api, made["checkout_url"])).status_code == 200
        busy = await get(api, made["checkout_url"], headers={"accept-language": "fr"})
    wait = busy.headers["retry-after"]
    assert (busy.status_code, wait.isdigit()) == (429, True)
    assert f'<meta http-equiv="refresh" content="{wait}">' in busy.text
    assert "Trop de demandes" in busy.text
    assert texts.say("fr", "problem.soon", n=int(wait)) in heard(busy.text)


async def test_a_payer_downloads_little(sqlite_api: ApiFixture, states: dict[str, str]) -> None:
    """Page, styles and script together stay far below 60 KB over the wire; files are packed and kept."""
    for name, path in states.items():
        page = await get(sqlite_api, path)
        assert "content-encoding" not in page.headers, "it is kept apart from what an attacker may reflect"
        total = len(page.content)
        for file in re.findall(r'(?:href|src)="(assets/[^"]+)"', page.text):
            asset = await sqlite_api.stranger.get(f"/pay/{file}", headers={"accept-encoding": "gzip"})
            assert "immutable" in asset.headers["cache-control"]
            assert asset.headers["vary"] == "accept-encoding"
            total += int(asset.headers["content-length"])
        assert total < 40_000, (name, total)


async def test_files_come_unpacked_to_whoever_asks_so(sqlite_api: ApiFixture, states: dict[str, str]) -> None:
    """Both forms are the same file, and a browser that takes no gzip gets none."""
    page = await get(sqlite_api, states["waiting"])
    for file in re.findall(r'(?:href|src)="(assets/[^"]+)"', page.text):
        plain = await sqlite_api.stranger.get(f"/pay/{file}", headers={"accept-encoding": "identity"})
        packed = await sqlite_api.stranger.get(f"/pay/{file}", headers={"accept-encoding": "br, gzip"})
        assert "content-encoding" not in plain.headers
        if "brand" not in file:
            assert packed.headers["content-encoding"] == "gzip"
        assert plain.content == packed.content


async def test_the_documented_request_makes_the_page_that_is_shown(sqlite_api: ApiFixture) -> None:
    """What docs/checkout.md says to send is taken, and its words are on the page; its pictures are there."""
    text = (ROOT / "docs/checkout.md").read_text()
    [body] = re.findall(r"-d '(\{.*\})'", text)
    made = (await sqlite_api.client.post("/v1/payment_intents", json=json.loads(body))).json()
    said = heard((await get(sqlite_api, made["checkout_url"])).text)
    assert [words for words in ("Two tins of tea", "≈ 49.90 EUR", "Do not pay") if words not in said] == []
    for picture in re.findall(r"!\[[^]]+\]\((images/[^)]+)\)", text):
        assert (ROOT / "docs" / picture).stat().st_size < 80_000


def api_of_server(api: ApiFixture) -> Any:
    assert api.server.api is not None
    return api.server.api


async def broken(*_: object) -> Any:
    raise RuntimeError("boom")
