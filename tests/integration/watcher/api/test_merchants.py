"""Merchants and their keys over HTTP: for operators, by the admin token."""

from pathlib import Path
from typing import Any

import pytest

from tests.integration.watcher.api.api_fixture import ADMIN, ApiFixture, problem, wrong_fields
from tests.integration.watcher.ledger_fixture import SHOP, LedgerFixture
from watcher import schemas

LIST = "/v1/admin/merchants"


async def works(api: ApiFixture, key: str) -> bool:
    async with api.as_key(key) as client:
        return (await client.get("/v1/payment_intents")).status_code == 200


async def test_a_merchant_is_added_listed_and_changed(api: ApiFixture) -> None:
    async with api.as_key(ADMIN) as operator:
        answer = await operator.post(LIST, json={"name": "Tea", "recipient": SHOP, "level": "settled"})
        assert answer.status_code == 201
        made = answer.json()
        assert schemas.MerchantWithKey.model_validate(made).model_dump(mode="json") == made
        assert await works(api, made["api_key"])
        one = f"{LIST}/{made['merchant']['id']}"
        assert (await operator.get(one)).json() == made["merchant"]
        page = (await operator.get(f"{LIST}?limit=1")).json()
        assert page["data"] == [made["merchant"]]
        rest = (await operator.get(f"{LIST}?cursor={page['next_cursor']}")).json()
        assert [row["id"] for row in rest["data"]] == [api.other_merchant, api.merchant]
        changed = (
            await operator.patch(one, json={"name": "Tea shop", "level": None, "tolerance": "5"})
        ).json()
        assert (changed["name"], changed["level"], changed["tolerance"]) == ("Tea shop", None, "5")
        tag = (await operator.get(one)).headers["etag"]
        assert (await operator.get(one, headers={"if-none-match": tag})).status_code == 304


async def test_a_disabled_merchant_keeps_nothing_but_its_open_intents(api: ApiFixture) -> None:
    made = await api.create()
    async with api.as_key(ADMIN) as operator:
        one = f"{LIST}/{api.merchant}"
        disabled = await operator.patch(one, json={"status": "disabled"})
        assert disabled.json()["status"] == "disabled"
        assert not await works(api, api.key)
        for path in ("rotate_key", "keys"):
            assert problem(await operator.post(f"{one}/{path}")) == (409, "merchant_disabled")
        body = {"amount": 1, "merchant": api.merchant}
        assert problem(await operator.post("/v1/payment_intents", json=body)) == (409, "merchant_disabled")
        many = {"intents": [{"amount": 1}], "merchant": api.merchant}
        answer = await operator.post("/v1/payment_intents/bulk", json=many)
        assert problem(answer) == (409, "merchant_disabled")
        shown = await operator.get(f"/v1/payment_intents/{made['id']}")
    assert shown.json()["status"] == "pending"


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, ["name", "recipient"]),
        ({"name": "", "recipient": SHOP}, ["name"]),
        ({"name": "x" * 501, "recipient": SHOP}, ["name"]),
        ({"name": "x", "recipient": "SP1"}, ["recipient"]),
        ({"name": "x", "recipient": 5}, ["recipient"]),
        ({"name": "x", "recipient": SHOP, "level": "deep", "ttl": "0s"}, ["level", "ttl"]),
        ({"name": "x", "recipient": SHOP, "late_policy": 1, "tolerance": -1}, ["tolerance", "late_policy"]),
        ({"name": "x", "recipient": SHOP, "status": "active"}, ["status"]),
    ],
)
async def test_a_wrong_merchant_is_refused_by_its_fields(
    sqlite_api: ApiFixture, body: dict[str, Any], fields: list[str]
) -> None:
    async with sqlite_api.as_key(ADMIN) as operator:
        assert wrong_fields(await operator.post(LIST, json=body)) == fields
        assert len((await operator.get(LIST)).json()["data"]) == 2


async def test_a_key_is_rotated_at_once_or_with_an_overlap(api: ApiFixture) -> None:
    async with api.as_key(ADMIN) as operator:
        url = f"{LIST}/{api.merchant}/rotate_key"
        second = (await operator.post(url, json={"overlap": "1h"})).json()["api_key"]
        assert [await works(api, key) for key in (api.key, second)] == [True, True]
        third = (await operator.post(url)).json()["api_key"]
        assert [await works(api, key) for key in (api.key, second, third)] == [False, False, True]
        for overlap in ("31d", -1, "soon", 1e300):
            answer = await operator.post(url, json={"overlap": overlap})
            assert wrong_fields(answer) == ["overlap"], overlap
    assert await works(api, third)


async def test_keys_have_names_and_scopes_and_end_one_by_one(api: ApiFixture) -> None:
    async with api.as_key(ADMIN) as operator:
        url = f"{LIST}/{api.merchant}/keys"
        answer = await operator.post(url, json={"name": "till", "scopes": ["read"]})
        assert answer.status_code == 201
        made = answer.json()
        assert schemas.NewApiKey.model_validate(made).model_dump(mode="json") == made
        assert (made["key"]["name"], made["key"]["scopes"]) == ("till", ["read"])
        listed = (await operator.get(url)).json()
        assert schemas.ApiKeyPage.model_validate(listed).model_dump(mode="json") == listed
        assert listed["data"][0] == made["key"]
        assert made["api_key"] not in (await operator.get(url)).text
        assert await works(api, made["api_key"])
        revoked = await operator.post(f"{url}/{made['key']['id']}/revoke")
        assert (revoked.status_code, revoked.json()["status"]) == (200, "revoked")
        assert [await works(api, key) for key in (made["api_key"], api.key)] == [False, True]
        for body, field in (({"scopes": ["all"]}, "scopes"), ({"name": ""}, "name"), ({"x": 1}, "x")):
            assert wrong_fields(await operator.post(url, json=body)) == [field]
        elsewhere = f"{LIST}/{api.other_merchant}/keys/{made['key']['id']}/revoke"
        assert problem(await operator.post(elsewhere)) == (404, "not_found")
        assert problem(await operator.get(f"{LIST}/mer_X/keys")) == (404, "not_found")


async def test_an_operators_request_is_done_once_too(api: ApiFixture) -> None:
    async with api.as_key(ADMIN) as operator:
        body = {"name": "Once", "recipient": SHOP}
        first = await operator.post(LIST, json=body, headers={"idempotency-key": "m1"})
        again = await operator.post(LIST, json=body, headers={"idempotency-key": "m1"})
        assert again.content == first.content
        assert len((await operator.get(LIST)).json()["data"]) == 3


async def test_without_an_admin_token_there_are_no_such_routes(tmp_path: Path) -> None:
    fixture = LedgerFixture(tmp_path)
    async with ApiFixture(fixture, admin_token=None) as api:
        for key in (api.key, ADMIN, None):
            async with api.as_key(key) as client:
                assert problem(await client.get(LIST)) == (404, "not_found")
    fixture.database.close()
