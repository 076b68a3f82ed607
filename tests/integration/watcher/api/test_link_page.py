"""The page of a payment link over HTTP: what payers see, and what their forms start."""

import re
from html import unescape
from typing import Any

import httpx
import pytest

from tests.deployment import ROOT
from tests.integration.watcher.api.api_fixture import ApiFixture
from watcher.api.link_payments import STARTS_OF_ADDRESS
from watcher.schemas import ChangePaymentLink, NewPaymentLink, OwnedPage
from watcher.services.passwords import hash_password
from watcher.web import texts

HOSTILE = '<script>alert("x")</script>\u202e 👩‍🚀 &amp; {name} {0}'


def add(api: ApiFixture, **fields: Any) -> str:
    """Add a link of the merchant and return the path of its page."""
    with api.fixture.services(api.merchant) as services:
        request = NewPaymentLink.of(fields)
        made = None if request.password is None else hash_password(request.password)
        link = services.create_link(request, password_hash=made)
    return "/l/" + str(link["url"]).rpartition("/")[2]


def change(api: ApiFixture, **fields: Any) -> None:
    """Change the newest link."""
    with api.fixture.services(api.merchant) as services:
        newest = services.links(OwnedPage(limit=1))["data"][0]["id"]
        services.change_link(newest, ChangePaymentLink.of(fields))


def fields_of(page: httpx.Response) -> dict[str, str]:
    """Return the hidden fields of a page's form."""
    found = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', page.text)
    return {name: unescape(value) for name, value in found}


async def send(api: ApiFixture, path: str, **fields: str) -> httpx.Response:
    """Open the page, fill in its form, and send it."""
    page = await api.stranger.get(path)
    return await api.stranger.post(path, data=fields_of(page) | fields)


async def started(api: ApiFixture, answer: httpx.Response) -> dict[str, Any]:
    """Return the intent whose checkout a form has led to."""
    assert answer.status_code == 303, answer.text
    token = answer.headers["location"].removeprefix("../pay/").partition("?")[0]
    checkout = (await api.stranger.get(f"/v1/checkout/{token}")).json()
    intent: dict[str, Any] = (
        await api.client.get(f"/v1/payment_intents/{checkout['payment_intent']}")
    ).json()
    return intent


async def test_looking_starts_nothing_and_a_click_starts_one_payment(sqlite_api: ApiFixture) -> None:
    """A form that is sent twice leads to the same checkout."""
    api = sqlite_api
    path = add(api, amount=7_000, description="Coffee")
    page = await api.stranger.get(path)
    assert page.status_code == 200
    assert "0.00007" in page.text
    assert "Coffee" in page.text
    assert (await api.client.get("/v1/payment_intents")).json()["data"] == []
    form = fields_of(page)
    first, second = [await api.stranger.post(path, data=form) for _ in range(2)]
    assert first.headers["location"] == second.headers["location"]
    intent = await started(api, first)
    assert (intent["amount"], intent["asset"], intent["description"]) == ("7000", "sbtc", "Coffee")
    assert len((await api.client.get("/v1/payment_intents")).json()["data"]) == 1
    follow = await api.stranger.get(f"{path}/../{first.headers['location']}")
    assert follow.status_code == 200


@pytest.mark.parametrize(
    ("typed", "language", "amount"),
    [("1.5", "en", "1500000"), ("1,5", "de", "1500000"), ("0,005", "en", "5000"), ("0.005", "de", "5000")],
)
async def test_an_open_amount_is_typed_in_the_assets_own_unit(
    sqlite_api: ApiFixture, typed: str, language: str, amount: str
) -> None:
    """With a point or a comma."""
    path = add(sqlite_api, asset="stx", min_amount=5_000)
    answer = await send(sqlite_api, f"{path}?lang={language}", amount=typed)
    assert answer.headers["location"].endswith(f"?lang={language}")
    assert (await started(sqlite_api, answer))["amount"] == amount


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("", "Say how much you pay."),
        ("much", "Write a number"),
        ("-5", "Write a number"),
        ("1e3", "Write a number"),
        ("1,500", "in two ways"),
        ("0.0000001", "Write at most 6 digits after the point."),
        ("0", "From 1 STX to 10 STX"),
        ("0.5", "From 1 STX to 10 STX"),
        ("11", "From 1 STX to 10 STX"),
        ("9" * 40, "From 1 STX to 10 STX"),
        ("<b>5</b>", "Write a number"),
    ],
)
async def test_an_amount_that_does_not_go_is_told_and_shown_again(
    sqlite_api: ApiFixture, typed: str, said: str
) -> None:
    """Nothing is started."""
    path = add(sqlite_api, asset="stx", min_amount=1_000_000, max_amount=10_000_000)
    answer = await send(sqlite_api, path, amount=typed)
    assert answer.status_code == 422
    assert said in answer.text.replace("\u00a0", " ")
    assert "<b>5" not in answer.text
    assert (await sqlite_api.client.get("/v1/payment_intents")).json()["data"] == []


async def test_the_payer_chooses_among_several_assets(sqlite_api: ApiFixture) -> None:
    """Without a choice they are asked; an asset of another link is none."""
    path = add(sqlite_api, prices={"sbtc": 50_000, "stx": 25_000_000})
    for fields in ({}, {"asset": "usdcx"}, {"asset": "x" * 500}):
        answer = await send(sqlite_api, path, **fields)
        assert answer.status_code == 422
        assert "Choose what you pay with." in answer.text
    intent = await started(sqlite_api, await send(sqlite_api, path, asset="stx"))
    assert (intent["asset"], intent["amount"]) == ("stx", "25000000")


async def test_a_password_is_asked_for_before_anything_is_shown(sqlite_api: ApiFixture) -> None:
    """The right one opens the form, which then needs it no more; it stands nowhere on the page."""
    path = add(sqlite_api, amount=7_000, description="Secret sale", password=" open sesame ")
    page = await sqlite_api.stranger.get(path)
    assert page.status_code == 200
    assert "Secret sale" not in page.text
    assert "0.00007" not in page.text
    for wrong in ("", "open sesame", "x" * 5_000):
        answer = await send(sqlite_api, path, password=wrong)
        assert answer.status_code == 403
        assert "This is not the password." in answer.text
        assert "Secret sale" not in answer.text
    opened = await send(sqlite_api, path, password=" open sesame ")
    assert opened.status_code == 200
    assert "Secret sale" in opened.text
    assert "sesame" not in opened.text
    answer = await sqlite_api.stranger.post(path, data=fields_of(opened))
    assert (await started(sqlite_api, answer))["amount"] == "7000"


async def test_a_program_may_send_everything_at_once(sqlite_api: ApiFixture) -> None:
    """Without the fields that only the page has."""
    path = add(sqlite_api, asset="sbtc", password="secret")
    answer = await sqlite_api.stranger.post(path, data={"password": "secret", "amount": "0.0001"})
    assert (await started(sqlite_api, answer))["amount"] == "10000"
    refused = await sqlite_api.stranger.post(path, data={"amount": "0.0001"})
    assert refused.status_code == 403


async def test_a_link_that_cannot_be_used_says_why(sqlite_api: ApiFixture) -> None:
    """Also when it ended while its page was open."""
    api = sqlite_api
    path = add(api, amount=1, max_uses=1)
    page = await api.stranger.get(path)
    assert (await send(api, path)).status_code == 303
    for answer in (await api.stranger.get(path), await api.stranger.post(path, data={})):
        assert answer.status_code == 410
        assert "Nothing is left" in answer.text
        assert "<form" not in answer.text
    again = await api.stranger.post(path, data=fields_of(page))
    assert again.status_code == 410
    change(api, active=False)
    assert "This link is not used any more" in (await api.stranger.get(path)).text
    expiring = add(api, amount=1, expires_at=api.fixture.tip.time + 60)
    assert (await api.stranger.get(expiring)).status_code == 200
    api.fixture.pass_time(61)
    gone = await api.stranger.get(expiring)
    assert (gone.status_code, "The time of this link is over" in gone.text) == (410, True)


async def test_there_is_no_such_link(sqlite_api: ApiFixture) -> None:
    """A page says so, in the reader's language, to whoever looks or sends a form."""
    for answer in (await sqlite_api.stranger.get("/l/K7Q2M8ZR4T9C"), await sqlite_api.stranger.post("/l/x")):
        assert answer.status_code == 404
        assert answer.headers["content-type"].startswith("text/html")


@pytest.mark.parametrize("language", texts.LANGUAGES)
async def test_every_state_is_told_in_every_language(sqlite_api: ApiFixture, language: str) -> None:
    """Hostile texts are texts."""
    path = add(sqlite_api, asset="stx", min_amount=2, max_amount=3, description=HOSTILE, password="p")
    locked = await sqlite_api.stranger.get(f"{path}?lang={language}")
    opened = await sqlite_api.stranger.post(
        f"{path}?lang={language}", data=fields_of(locked) | {"password": "p"}
    )
    refused = await sqlite_api.stranger.post(
        f"{path}?lang={language}", data=fields_of(opened) | {"amount": "1"}
    )
    change(sqlite_api, active=False)
    gone = await sqlite_api.stranger.get(f"{path}?lang={language}")
    assert [page.status_code for page in (locked, opened, refused, gone)] == [200, 200, 422, 410]
    for page in (locked, opened, refused, gone):
        assert f'<html lang="{language}"' in page.text
        assert page.headers["content-language"] == language
        assert "<script>alert" not in page.text
    assert "👩‍🚀" in opened.text


async def test_headers_keep_the_page_to_itself(sqlite_api: ApiFixture) -> None:
    """Forms go to this server only, frames are those of the merchant's origins, and no cookie is set."""
    path = add(sqlite_api, amount=1)
    page = await sqlite_api.stranger.get(path)
    policy = page.headers["content-security-policy"]
    assert "form-action 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert "set-cookie" not in page.headers
    assert page.headers["cache-control"] == "private, no-cache"
    assert "style=" not in page.text
    sqlite_api.allow("https://shop.example")
    framed = await sqlite_api.stranger.get(path)
    assert "frame-ancestors https://shop.example" in framed.headers["content-security-policy"]


async def test_one_address_starts_only_so_many(sqlite_api: ApiFixture) -> None:
    """Then it is told to wait, on a page."""
    path = add(sqlite_api, amount=1)
    answers = [await send(sqlite_api, path) for _ in range(STARTS_OF_ADDRESS + 1)]
    assert [answer.status_code for answer in answers] == [303] * STARTS_OF_ADDRESS + [429]
    assert answers[-1].headers["retry-after"]
    assert answers[-1].headers["content-type"].startswith("text/html")


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"{}", "application/json", 415),
        (b"a=%ff", "application/x-www-form-urlencoded", 400),
        (b"a=" + b"x" * 70_000, "application/x-www-form-urlencoded", 413),
        (b"visit=short&step=unlock", "application/x-www-form-urlencoded", 403),
    ],
)
async def test_forms_that_no_page_sends(
    sqlite_api: ApiFixture, content: bytes, kind: str, status: int
) -> None:
    """Each gets an answer that a person can read, and starts nothing."""
    path = add(sqlite_api, amount=1)
    answer = await sqlite_api.stranger.post(path, content=content, headers={"content-type": kind})
    assert answer.status_code == status
    assert answer.headers["content-type"].startswith("text/html")
    assert (await sqlite_api.client.get("/v1/payment_intents")).json()["data"] == []


async def test_what_the_docs_say_to_send_starts_a_payment(sqlite_api: ApiFixture) -> None:
    """The command of docs/payment-links.md, to a link that takes what it sends."""
    text = (ROOT / "docs/payment-links.md").read_text()
    [command] = re.findall(r"^curl -si https://pay\.shop\.example/l/\w+ (.*)$", text, re.MULTILINE)
    fields = dict(part.split("=") for part in re.findall(r"-d (\S+)", command))
    path = add(sqlite_api, password=fields["password"])
    answer = await sqlite_api.stranger.post(path, data=fields)
    assert (await started(sqlite_api, answer))["amount"] == "50000"
