"""Payment links over HTTP: made, changed and disabled by their merchant, and refused with a reason."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from chain.testing import principal
from tests.integration.watcher.api.api_fixture import ADMIN, OTHER, ApiFixture, problem, wrong_fields
from tests.integration.watcher.ledger_fixture import SHOP, START
from watcher import schemas
from watcher.services import passwords
from watcher.store.link_schema import payment_link

ROOT = Path(__file__).parents[4]

LINKS = "/v1/payment_links"
MOST = str(2**128 - 1)


async def make(api: ApiFixture, **fields: Any) -> dict[str, Any]:
    """Create a link and return its document."""
    answer = await api.client.post(LINKS, json=fields)
    assert answer.status_code == 201, answer.text
    document: dict[str, Any] = answer.json()
    assert schemas.PaymentLink.model_validate(document).model_dump(mode="json") == document
    return document


async def test_a_link_is_made_listed_changed_and_disabled(api: ApiFixture) -> None:
    """What was given is shown; the address is short, and of an alphabet that can be read out."""
    made = await make(api, amount="7000", description="Coffee", metadata={"sku": "c1"}, level="included")
    assert (made["amount"], made["asset"], made["prices"]) == ("7000", "sbtc", None)
    assert (made["status"], made["active"], made["uses"], made["has_password"]) == ("active", True, 0, False)
    code = made["url"].removeprefix("/l/")
    assert len(code) == 12
    assert set(code) <= set("0123456789ABCDEFGHJKMNPQRSTVWXYZ")
    other = await make(api, prices={"stx": "25000000", "sbtc": "50000"})
    assert list(other["prices"]) == ["stx", "sbtc"]
    one = f"{LINKS}/{made['id']}"
    assert (await api.client.get(one)).json() == made
    first = (await api.client.get(LINKS, params={"limit": 1})).json()
    assert first["data"] == [other]
    second = (await api.client.get(LINKS, params={"cursor": first["next_cursor"]})).json()
    assert second == {"data": [made], "next_cursor": None}
    changed = await api.client.patch(one, json={"description": None, "max_uses": 5, "active": False})
    assert changed.status_code == 200
    expected = made | {"description": None, "max_uses": 5, "active": False, "status": "disabled"}
    assert changed.json() == expected | {"updated_at": changed.json()["updated_at"]}
    assert (await api.client.patch(one, json={"active": True})).json()["status"] == "active"


async def test_the_address_is_whole_with_a_public_url(api: ApiFixture) -> None:
    """Without one it is a path, as that of a checkout is."""
    async with ApiFixture(api.fixture, public_url="https://pay.example/x/") as public:
        assert (await make(public, amount=1))["url"].startswith("https://pay.example/x/l/")


async def test_an_amount_replaces_prices_and_the_other_way_round(api: ApiFixture) -> None:
    """A change of one need not name the other; limits are of an open amount only."""
    made = await make(api, min_amount="5", max_amount=MOST, asset="stx")
    one = f"{LINKS}/{made['id']}"

    async def change(**fields: Any) -> tuple[Any, ...]:
        answer = (await api.client.patch(one, json=fields)).json()
        return tuple(answer[name] for name in ("amount", "min_amount", "max_amount", "asset", "prices"))

    assert await change(min_amount="6") == (None, "6", MOST, "stx", None)
    assert await change(amount="9") == ("9", None, None, "stx", None)
    assert await change(prices={"sbtc": 1}) == (None, None, None, None, {"sbtc": "1"})
    assert await change(min_amount="2") == (None, "2", None, "sbtc", None)
    assert await change(prices={"sbtc": 1}) == (None, None, None, None, {"sbtc": "1"})
    assert await change(prices=None) == (None, None, None, "sbtc", None)


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"amount": "0"}, ["amount"]),
        ({"amount": "1.5"}, ["amount"]),
        ({"amount": "5", "min_amount": "1", "max_amount": "9"}, ["min_amount", "max_amount"]),
        ({"min_amount": "9", "max_amount": "5"}, ["max_amount"]),
        ({"amount": "5", "prices": {"sbtc": "5"}}, ["prices"]),
        ({"asset": "sbtc", "prices": {"sbtc": "5"}}, ["prices"]),
        ({"prices": {}}, ["prices"]),
        ({"prices": {"sbtc": "0"}}, ["prices"]),
        ({"prices": {"nothing": "5"}}, ["prices"]),
        ({"prices": {f"a{n}": "5" for n in range(11)}}, ["prices"]),
        ({"prices": ["sbtc"]}, ["prices"]),
        ({"asset": "nothing"}, ["asset"]),
        ({"amount": "5", "max_uses": 0}, ["max_uses"]),
        ({"amount": "5", "max_uses": True}, ["max_uses"]),
        ({"amount": "5", "max_uses": 10**10}, ["max_uses"]),
        ({"amount": "5", "password": ""}, ["password"]),
        ({"amount": "5", "password": "x" * 201}, ["password"]),
        ({"amount": "5", "password": 7}, ["password"]),
        ({"amount": "5", "expires_at": START - 60}, ["expires_at"]),
        ({"amount": "5", "level": "certain"}, ["level"]),
        ({"amount": "5", "level": {"stacks": 1, "bitcoin": 99}}, ["level"]),
        ({"amount": "5", "recipient": "nobody"}, ["recipient"]),
        ({"amount": "5", "recipient": "ST000000000000000000002AMW42H"}, ["recipient"]),
        ({"amount": "5", "success_url": "javascript:alert(1)"}, ["success_url"]),
        ({"amount": "5", "cancel_url": "https://a:b@shop.example/"}, ["cancel_url"]),
        ({"amount": "5", "description": "x" * 501}, ["description"]),
        ({"amount": "5", "metadata": {"a": 1}}, ["metadata"]),
        ({"amount": "5", "active": True}, ["active"]),
        ({"amount": "5", "merchant": "mer_X"}, ["merchant"]),
    ],
)
async def test_what_is_wrong_is_named(
    sqlite_api: ApiFixture, fields: dict[str, Any], wrong: list[str]
) -> None:
    """Nothing is stored, and the answer says which field and why."""
    assert wrong_fields(await sqlite_api.client.post(LINKS, json=fields)) == wrong
    assert (await sqlite_api.client.get(LINKS)).json()["data"] == []


async def test_a_recipient_of_others_is_refused(api: ApiFixture) -> None:
    """Money to it would belong to them: another merchant's, or one that an intent has for itself."""
    refused = await api.client.post(LINKS, json={"amount": 5, "recipient": OTHER})
    assert problem(refused) == (409, "recipient_in_use")
    api.fixture.create(match="recipient", recipient=principal("own"))
    refused = await api.client.post(LINKS, json={"amount": 5, "recipient": principal("own")})
    assert problem(refused) == (409, "recipient_in_use")
    assert (await make(api, amount=5, recipient=SHOP))["recipient"] == SHOP
    assert (await make(api, amount=5, recipient=principal("new")))["recipient"] == principal("new")


async def test_a_password_is_stored_as_a_salted_hash_and_never_shown(api: ApiFixture) -> None:
    """The same password twice gives two hashes; a change without it keeps it, null takes it away."""
    links = [await make(api, amount=5, password="open sesame") for _ in range(2)]
    with api.fixture.database.read() as connection:
        stored = list(connection.execute(payment_link.select()).mappings())
    hashes = [row["password_hash"] for row in stored]
    assert len(set(hashes)) == 2
    assert all(passwords.is_password("open sesame", each) for each in hashes)
    assert all("sesame" not in str(dict(row)) for row in stored)
    assert [link["has_password"] for link in links] == [True, True]
    one = f"{LINKS}/{links[0]['id']}"
    assert (await api.client.patch(one, json={"max_uses": 1})).json()["has_password"] is True
    assert (await api.client.patch(one, json={"password": None})).json()["has_password"] is False


async def test_the_same_request_twice_makes_one_link(api: ApiFixture) -> None:
    """With an idempotency key, also with a password, whose hash would differ."""
    headers = {"idempotency-key": "k1"}
    body = {"amount": 5, "password": "x"}
    first, second = [await api.client.post(LINKS, json=body, headers=headers) for _ in range(2)]
    assert (first.json(), second.headers["idempotent-replayed"]) == (second.json(), "true")
    assert len((await api.client.get(LINKS)).json()["data"]) == 1


async def test_a_link_expires_by_the_chains_clock(api: ApiFixture) -> None:
    """The machine's clock alone ends nothing: the chain may stand still."""
    made = await make(api, amount=5, expires_at=START + 3600)
    api.fixture.clock.now += 7200
    one = f"{LINKS}/{made['id']}"
    assert (await api.client.get(one)).json()["status"] == "active"
    api.fixture.pass_time(3700)
    assert (await api.client.get(one)).json()["status"] == "expired"
    assert (await api.client.patch(one, json={"expires_at": None})).json()["status"] == "active"


async def test_a_disabled_merchant_makes_no_links(api: ApiFixture) -> None:
    """An operator is told why."""
    async with api.as_key(ADMIN) as operator:
        await operator.patch(f"/v1/admin/merchants/{api.merchant}", json={"status": "disabled"})
        answer = await operator.post(LINKS, json={"amount": 5, "merchant": api.merchant})
    assert problem(answer) == (409, "merchant_disabled")


async def test_a_new_link_has_statistics_of_nothing(api: ApiFixture) -> None:
    """Every day is there, the oldest first, today last; the number of days is bounded."""
    made = await make(api, amount=5)
    answer = await api.client.get(f"{LINKS}/{made['id']}/statistics", params={"days": 3})
    document = answer.json()
    assert schemas.PaymentLinkStatistics.model_validate(document).model_dump(mode="json") == document
    assert [day["date"] for day in document["days"]] == ["2027-01-13", "2027-01-14", "2027-01-15"]
    assert {day["views"] + day["started"] + day["paid"] for day in document["days"]} == {0}
    assert (document["started"], document["amounts"]) == (0, {})
    for days in (0, 367, "x"):
        wrong = await api.client.get(f"{LINKS}/{made['id']}/statistics", params={"days": days})
        assert wrong_fields(wrong) == ["days"]


async def test_a_link_has_a_code_to_be_printed(api: ApiFixture) -> None:
    """SVG or PNG of the whole address; without a public URL there is none."""
    made = await make(api, amount=5)
    path = f"{LINKS}/{made['id']}/qr"
    assert problem(await api.client.get(path)) == (409, "no_public_url")
    async with ApiFixture(api.fixture, public_url="https://pay.example") as public:
        vector = await public.client.get(path)
        pixels = await public.client.get(path, params={"format": "png"})
        wrong = await public.client.get(path, params={"format": "gif"})
        async with public.as_key(api.other_key) as other:
            assert problem(await other.get(path)) == (404, "not_found")
    assert vector.headers["content-type"] == "image/svg+xml"
    assert b"<svg" in vector.content
    assert pixels.headers["content-type"] == "image/png"
    assert pixels.content.startswith(b"\x89PNG")
    assert wrong_fields(wrong) == ["format"]


async def test_the_documented_request_makes_a_link(sqlite_api: ApiFixture) -> None:
    """What docs/payment-links.md says to send is taken, and each field that it names exists."""
    text = (ROOT / "docs/payment-links.md").read_text()
    [body] = re.findall(r"-d '(\{.*\})'", text)
    made = await make(sqlite_api, **json.loads(body))
    assert (made["prices"], made["max_uses"]) == ({"sbtc": "50000", "stx": "25000000"}, 100)
    table = text.partition("| field |")[2].partition("\n\n")[0]
    named = {name for row in table.splitlines() for name in re.findall(r"`(\w+)`", row.split("|")[1])}
    assert named | {"merchant"} == set(schemas.NewPaymentLink.model_fields)
    figures = text.partition("| figure |")[2].partition("\n\n")[0]
    shown = {name for row in figures.splitlines() for name in re.findall(r"`(\w+)`", row.split("|")[1])}
    assert shown <= set(schemas.PaymentLinkStatistics.model_fields)
