"""Money that belongs to no intent: listed with the reason, and given to an intent by its merchant."""

import pytest

from chain.testing import txs
from tests.integration.watcher.api.api_fixture import ADMIN, OTHER, ApiFixture, problem, wrong_fields
from tests.integration.watcher.ledger_fixture import PAYER, SHOP
from watcher import schemas


async def test_unmatched_money_is_listed_with_its_reason_and_assigned(api: ApiFixture) -> None:
    made = await api.create(level="included")
    api.fixture.mine(
        txs.sbtc_transfer(PAYER, SHOP, 50_000, b"MISTYPED"), txs.sbtc_transfer(PAYER, OTHER, 7, b"THEIRS")
    )
    page = (await api.client.get("/v1/transfers?unmatched=true")).json()
    assert schemas.TransferPage.model_validate(page).model_dump(mode="json") == page
    [money] = page["data"]
    assert (money["unmatched"], money["amount"], money["memo"]["text"]) == ("no_intent", "50000", "MISTYPED")
    url = f"/v1/transfers/{money['id']}"
    assert (await api.client.get(url)).json() == money
    answer = await api.client.post(f"{url}/assign", json={"intent": made["id"], "reason": "typo"})
    assert (answer.status_code, answer.json()["intent"], answer.json()["assigned"]) == (200, made["id"], True)
    assert (await api.client.get("/v1/transfers?unmatched=true")).json()["data"] == []
    assert len((await api.client.get("/v1/transfers?unmatched=false")).json()["data"]) == 1
    intent = await api.client.get(f"/v1/payment_intents/{made['id']}")
    assert intent.json()["status"] == "succeeded"
    again = await api.client.post(f"{url}/assign", json={"intent": made["id"], "reason": "typo"})
    assert problem(again) == (409, "already_matched")
    assert api.woken == 2


async def test_another_merchants_money_and_intents_do_not_exist(api: ApiFixture) -> None:
    made = await api.create()
    api.fixture.mine(txs.sbtc_transfer(PAYER, SHOP, 50_000, b"X"), txs.sbtc_transfer(PAYER, OTHER, 7, b"Y"))
    [mine] = (await api.client.get("/v1/transfers")).json()["data"]
    async with api.as_key(api.other_key) as other:
        [theirs] = (await other.get("/v1/transfers")).json()["data"]
        assert theirs["amount"] == "7"
        own = (await other.post("/v1/payment_intents", json={"amount": 7})).json()["id"]
        assert problem(await other.get(f"/v1/transfers/{mine['id']}")) == (404, "not_found")
        for transfer, intent in ((mine["id"], own), (theirs["id"], made["id"]), (mine["id"], made["id"])):
            answer = await other.post(
                f"/v1/transfers/{transfer}/assign", json={"intent": intent, "reason": "mine"}
            )
            assert problem(answer) == (404, "not_found")
    async with api.as_key(ADMIN) as operator:
        assert len((await operator.get("/v1/transfers")).json()["data"]) == 2


async def test_money_of_another_asset_is_not_assigned(api: ApiFixture) -> None:
    made = await api.create(asset="stx")
    api.fixture.mine(txs.sbtc_transfer(PAYER, SHOP, 50_000, b"X"))
    [money] = (await api.client.get("/v1/transfers")).json()["data"]
    answer = await api.client.post(
        f"/v1/transfers/{money['id']}/assign", json={"intent": made["id"], "reason": "theirs"}
    )
    assert problem(answer) == (409, "wrong_asset")


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        (None, ["intent", "reason"]),
        ({"intent": "pi_X"}, ["reason"]),
        ({"intent": 5, "reason": "x"}, ["intent"]),
        ({"intent": "pi_X", "reason": ""}, ["reason"]),
        ({"intent": "pi_X", "reason": "x", "why": 1}, ["why"]),
    ],
)
async def test_a_wrong_assignment_is_named(sqlite_api: ApiFixture, body: object, fields: list[str]) -> None:
    answer = await sqlite_api.client.post("/v1/transfers/tr_X/assign", json=body)
    assert sorted(wrong_fields(answer)) == fields


@pytest.mark.parametrize(("query", "field"), [("unmatched=yes", "unmatched"), ("status=x", "status")])
async def test_a_wrong_parameter_is_named(sqlite_api: ApiFixture, query: str, field: str) -> None:
    assert wrong_fields(await sqlite_api.client.get(f"/v1/transfers?{query}")) == [field]
