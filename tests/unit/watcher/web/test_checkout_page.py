"""The checkout page: what it says in each state, to whom it gives what, and what it never runs."""

import re
from importlib.resources import files
from typing import Any

import pytest

from watcher.domain.checkout import CheckoutState
from watcher.domain.payment_links import LinkStatus
from watcher.web import assets, payment_link, texts
from watcher.web.checkout import checkout_page
from watcher.web.page import Page
from watcher.web.problem import problem_page

RECIPIENT = "SP2J6ZY48GV1EZ5V2V5RB9MP66SW86PYKKNRV9EJ7"
URL = "https://pay.example/pay/3q2-7wWk1mXb9fYc0aTzRg"
HOSTILE = "<script>alert(1)</script>\"'&{{7*7}}"

WAITING: dict[str, Any] = {
    "object": "checkout",
    "payment_intent": "pi_1",
    "state": "waiting",
    "status": "pending",
    "flags": [],
    "in_flight": False,
    "merchant": {"name": "Tea & Co.", "logo_url": None, "brand_color": None, "support_url": None},
    "description": "Two tins",
    "amount": "50000",
    "fiat": None,
    "asset": "sbtc",
    "asset_identifier": "SM3V.sbtc-token::sbtc-token",
    "decimals": 8,
    "amount_received": "0",
    "amount_missing": "50000",
    "amount_over": "0",
    "amount_refunded": "0",
    "recipient": RECIPIENT,
    "payer": None,
    "reference": "K7Q2M8ZR4T9C",
    "network": "mainnet",
    "livemode": True,
    "confirmations": {"required": {"stacks": 1, "bitcoin": 2}, "reached": None},
    "created_at": "2026-11-20T12:00:00.000Z",
    "expires_at": "2026-11-20T13:00:00.000Z",
    "deadline": "2026-11-20T13:10:00.000Z",
    "succeeded_at": None,
    "as_of": {"height": 5, "time": "2026-11-20T12:03:00.000Z"},
    "seconds_left": 3420,
    "chain_stalled": False,
    "transfers": [],
    "attempts_total": 0,
    "needs_memo": True,
    "pay": {"memo": "K7Q2M8ZR4T9C", "transfer": None, "contract": None},
    "success_url": None,
    "cancel_url": None,
    "alternatives": [],
    "payment_link": None,
    "version": "0011",
}
TRANSFER = {
    "tx_id": "0x" + "ab" * 32,
    "status": "canonical",
    "amount": "50000",
    "block_height": 7,
    "block_hash": "0x" + "cd" * 32,
    "block_time": "2026-11-20T12:01:00.000Z",
    "confirmations": {"stacks": 1, "bitcoin": 1},
    "explorer_url": "https://explorer.hiro.so/txid/0xab?chain=mainnet",
}


def page(**changes: Any) -> Page:
    return checkout_page(WAITING | changes, url=URL)


def heard(shown: Page) -> str:
    """Return what the page says, without its tags."""
    text = re.sub(r"<(svg|script|style)\b.*?</\1>", " ", shown.html, flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]+>", " ", text).split())


def test_the_page_tells_how_to_pay_by_hand() -> None:
    """Amount, address and memo stand there to be copied, with the warning and the time that is left."""
    shown = page()
    for text in ("0.0005", "50000", RECIPIENT, "K7Q2M8ZR4T9C"):
        assert text in shown.html.replace("50,000", "50000")
    said = heard(shown)
    assert "Without the memo the payment cannot be recognised" in said
    assert "57 minutes left · Pay until 2026-11-20 13:00 UTC" in said
    assert shown.html.count("<svg") == 2


def test_without_a_known_address_of_its_own_only_the_recipient_has_a_code() -> None:
    """A page that does not know where it is shows no code for a phone."""
    assert checkout_page(WAITING, url=None).html.count("<svg") == 1


def test_a_dedicated_address_asks_for_no_memo() -> None:
    """The memo and its warning are left out where they would only confuse."""
    assert "memo" in heard(page())
    assert "memo" not in heard(page(needs_memo=False))


@pytest.mark.parametrize("state", [state for state in CheckoutState if state is not CheckoutState.PAID])
def test_nothing_is_called_paid_before_it_is(state: CheckoutState) -> None:
    """Only the success says so, and thanks."""
    changes: dict[str, Any] = {"state": state}
    if state not in ("waiting", "seen", "underpaid"):
        changes |= {"pay": None}
    said = heard(page(**changes))
    title = re.search("<h1[^>]*>(.*?)</h1>", page(**changes).html)
    assert title is not None
    assert title[1] != "Paid"
    assert "Thank you" not in said


def test_what_has_ended_shows_nowhere_to_pay() -> None:
    """Neither address nor code is left for someone who comes too late."""
    for state in ("closing", "confirming", "paid", "expired", "failed", "canceled"):
        shown = page(state=state, pay=None)
        assert RECIPIENT not in shown.html
        assert "<svg" not in shown.html


@pytest.mark.parametrize("state", ["waiting", "underpaid"])
def test_what_cannot_be_paid_now_sends_the_payer_to_the_shop(state: str) -> None:
    """Where the server itself does not know how it is paid, nobody waits before an empty page."""
    text = "This cannot be paid at the moment. Ask Tea &amp; Co."
    assert text in heard(page(state=state, pay=None))
    assert text not in heard(page(state=state))
    assert text not in heard(page(state="confirming", pay=None))


def test_an_underpaid_page_asks_for_exactly_the_rest() -> None:
    """What arrived and what is missing are named, and the amount to copy is the rest."""
    shown = page(state="underpaid", amount_received="20000", amount_missing="30000")
    assert "0.0002 sBTC arrived, 0.0003 sBTC is still missing" in heard(shown)
    assert "Still to pay, of 0.0005 sBTC 0.0003 sBTC" in heard(shown)
    assert 'data-copy="0.0003"' in shown.html
    assert 'data-copy="0.0005"' not in shown.html


def test_a_confirming_page_counts_bitcoin_blocks() -> None:
    """n of m, never more than m, and what a Bitcoin block is."""
    depth = {"required": {"stacks": 1, "bitcoin": 2}, "reached": {"stacks": 9, "bitcoin": 1}}
    shown = page(state="confirming", pay=None, confirmations=depth, transfers=[TRANSFER])
    assert "1 of 2 Bitcoin blocks" in heard(shown)
    assert '<progress max="2" value="1"' in shown.html
    again = page(state="confirming", pay=None, confirmations=depth, flags=["reorged", "unverified"])
    assert "took the payment out of its block" in heard(again)
    assert "second, independent source" in heard(again)
    plain = {"required": {"stacks": 3, "bitcoin": 0}, "reached": {"stacks": 9, "bitcoin": 0}}
    assert "3 of 3 Stacks blocks" in heard(page(state="confirming", pay=None, confirmations=plain))


def test_several_things_can_be_true_at_once() -> None:
    """Late and too much and partly returned: each is told."""
    said = heard(
        page(
            state="canceled",
            pay=None,
            flags=["late", "refund_due"],
            amount_over="5",
            amount_received="50005",
            amount_refunded="7",
        )
    )
    for text in (
        "It is not lost",
        "0.00000005 sBTC too much",
        "is to be returned",
        "0.00000007 sBTC went back",
    ):
        assert text in said
    assert "Tea &amp; Co. has canceled" in said


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"state": "expired", "amount_received": "1"}, "Only 0.00000001 sBTC arrived in time"),
        ({"state": "failed", "flags": ["reorged"]}, "no longer in it"),
        ({"state": "failed"}, "did not come through"),
        ({"chain_stalled": True}, "no time is lost"),
        ({"attempts_total": 1}, "An attempt to pay failed"),
        ({"seconds_left": 59}, "Less than a minute left"),
        ({"seconds_left": 3 * 86400}, "3 days left"),
        ({"seconds_left": 3 * 3600}, "3 hours left"),
        ({"payer": "SP1"}, "Only a payment from this address counts"),
        ({"livemode": False, "network": "testnet"}, "Test payment on testnet"),
    ],
)
def test_each_case_says_what_happens_now(changes: dict[str, Any], text: str) -> None:
    """Partly paid, reorganised, refused, near the end, of play money: in words."""
    if changes.get("state") in ("expired", "failed"):
        changes = changes | {"pay": None}
    assert text in heard(page(**changes))


def test_the_receipt_names_the_transaction_and_leads_back() -> None:
    """After the success: amount, block, time, link to the explorer, and the shop's page."""
    shown = page(
        state="paid",
        pay=None,
        succeeded_at="2026-11-20T12:03:00.000Z",
        transfers=[TRANSFER],
        success_url="https://shop.example/thanks?payment_intent=pi_1&status=succeeded",
    )
    said = heard(shown)
    for text in ("Receipt", "0.0005 sBTC", "2026-11-20 12:03", "Block 7", TRANSFER["tx_id"], "Back to Tea"):
        assert str(text) in said
    assert 'href="https://shop.example/thanks?payment_intent=pi_1&amp;status=succeeded"' in shown.html
    assert "http-equiv" not in shown.html


@pytest.mark.parametrize("place", ["description", "name", "payer", "reference"])
def test_what_merchants_write_is_text(place: str) -> None:
    """Markup and template code are shown as they stand, and never run."""
    if place == "name":
        shown = page(merchant=WAITING["merchant"] | {"name": HOSTILE})
    else:
        shown = page(**{place: HOSTILE})
    assert "<script>alert" not in shown.html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;&#34;&#39;&amp;{{7*7}}" in shown.html


def test_the_policy_lets_nothing_in() -> None:
    """No inline script or style, no other host but the logo's, and no frame but the merchant's own pages."""
    plain = page()
    assert plain.headers["content-security-policy"] == (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    assert plain.headers["x-frame-options"] == "DENY"
    merchant = WAITING["merchant"] | {"logo_url": "https://cdn.example/l.png", "brand_color": "#1f6f54"}
    framed = checkout_page(WAITING | {"merchant": merchant}, url=URL, origins=["https://shop.example"])
    assert "img-src 'self' data: https://cdn.example;" in framed.headers["content-security-policy"]
    assert framed.headers["content-security-policy"].endswith("frame-ancestors https://shop.example")
    assert "x-frame-options" not in framed.headers
    problem = problem_page(503, seconds=5, assets_at="assets/", language="en")
    for shown in (plain, framed, problem):
        assert not re.search(r"\sstyle=|<style|\son[a-z]+=|javascript:", shown.html)
        assert all("src=" in tag for tag in re.findall("<script[^>]*>", shown.html))


def test_without_scripts_the_page_looks_again() -> None:
    """While something can change it is loaded anew by itself; a link does it at any time."""
    assert '<noscript><meta http-equiv="refresh" content="15"></noscript>' in page().html
    assert "Look again" in heard(page(state="paid", pay=None))


def test_the_page_and_its_files_are_small() -> None:
    """The script, which speaks to wallets too, stays below 12 KiB, all of it far below 60 KB."""
    script, style = (assets.find(assets.name_of(name)) for name in ("checkout.js", "checkout.css"))
    assert script is not None
    assert style is not None
    assert len(script.content) <= 12_288
    assert len(script.content) + len(style.content) + len(page().html.encode()) < 60_000


def test_a_brand_has_text_that_can_be_read_on_it() -> None:
    """White on dark colors, black on light ones; a name that is no color has no style."""
    for color, text in (("#1f6f54", "#ffffff"), ("#ffe066", "#000000"), ("#000000", "#ffffff")):
        style = assets.find(assets.brand_name(color))
        assert style is not None
        assert style.content.decode() == f":root{{--brand:{color};--on-brand:{text}}}\n"
    for name in ("brand-red.css", "brand-1F6F54.css", "brand-1f6f54;.css", "checkout.css", "../pages.py"):
        assert assets.find(name) is None


def test_every_text_is_used_and_every_used_text_is_there() -> None:
    """The words of a language are those that the templates and the page ask for, no more and no fewer."""
    web = files("watcher.web")
    sources = [web.joinpath(f"{name}.py") for name in ("checkout", "payment_link", "problem")]
    sources += [file for file in web.joinpath("templates").iterdir() if file.is_file()]
    sources += web.joinpath("scripts", "widget").iterdir()
    code = "\n".join(source.read_text() for source in sources)
    asked = set(re.findall(r"""["']([a-z_]+(?:\.[a-z_]+)*)["']""", code))
    asked |= {f"{kind}.{state}" for kind in ("state", "say") for state in CheckoutState}
    asked |= {f"left.{unit}" for unit in ("days", "hours", "minutes")}
    asked |= {f"step.{step}" for step in ("sent", "confirmed", "paid")}
    asked |= {f"confirming.{chain}" for chain in ("bitcoin", "stacks")}
    asked |= {f"problem.{kind}{more}" for kind in ("lost", "busy", "down", "broken") for more in ("", "_say")}
    asked |= {f"link.error.{error}" for error in payment_link.ERRORS}
    ends = [status for status in LinkStatus if status is not LinkStatus.ACTIVE]
    asked |= {f"link.gone.{status}{more}" for status in ends for more in ("", "_say")}
    assert sorted(texts.words("en").keys() - asked) == []


LINK = {"url": "https://pay.example/l/K7Q2M8ZR4T9C", "can_restart": False, "continued_url": None}


def test_another_asset_is_offered_by_a_form_that_needs_no_script() -> None:
    """Each with its price; without any there is no form."""
    other = {"asset": "stx", "asset_identifier": "STX", "amount": "25500000", "decimals": 6}
    shown = page(payment_link=LINK, alternatives=[other])
    assert "Pay 25.5\u00a0STX instead" in shown.html
    assert 'method="post"' in shown.html
    assert 'name="asset" value="stx"' in shown.html
    assert "form-action 'self'" in shown.headers["content-security-policy"]
    assert "<form" not in page(payment_link=LINK).html


def test_what_ended_unpaid_can_be_started_anew_in_place() -> None:
    """Where that was done, the page leads on instead; where the shop must help, it offers neither."""
    over = {"state": "expired", "status": "expired", "pay": None}
    again = heard(page(**over, payment_link=LINK | {"can_restart": True}))
    assert "Start again" in again
    assert "for a new link" not in again
    assert "for a new link" in heard(page(**over, payment_link=LINK))
    on = LINK | {"can_restart": True, "continued_url": "https://pay.example/pay/next"}
    shown = page(**over, payment_link=on)
    assert 'href="https://pay.example/pay/next"' in shown.html
    assert "Start again" not in heard(shown)
    assert "Start again" not in heard(page(**over, payment_link=LINK))
    late = heard(page(**over, payment_link=on, amount_received="50000", flags=["late", "refund_due"]))
    assert "do not pay it any more" in heard(shown)
    assert "do not pay it any more" not in late, "their money comes first"


def test_who_chose_another_asset_is_not_told_that_the_shop_canceled() -> None:
    """It was them; the page leads to the payment that they chose."""
    over = {"state": "canceled", "status": "canceled", "pay": None}
    on = LINK | {"continued_url": "https://pay.example/pay/next"}
    assert "You chose to pay with something else" in heard(page(**over, payment_link=on))
    assert "has canceled" in heard(page(**over, payment_link=LINK))
