"""Many intents in one request: all or none, and quick enough that the chain is not kept waiting."""

import time
from typing import Any

import pytest

from chain.testing import principal, txs
from tests.integration.watcher.api.api_fixture import ApiFixture, problem, wrong_fields
from tests.integration.watcher.ledger_fixture import PAYER, SHOP
from watcher import schemas
from watcher.api.route import BulkRoute
from watcher.schemas.base import MAX_ERRORS

BULK = "/v1/payment_intents/bulk"
OWN = principal("an address of its own")

#: Nobody is kept waiting longer by a thousand of them, seconds; a machine that runs tests is busy.
PATIENCE = 10.0


def many(*intents: dict[str, Any]) -> dict[str, Any]:
    return {"intents": [{"amount": 1000} | fields for fields in intents]}


async def stored(api: ApiFixture) -> int:
    return int((await api.client.get("/v1/status")).json()["intents"]["pending"])


async def test_five_hundred_are_made_in_the_order_given(api: ApiFixture) -> None:
    orders = many(*({"reference": f"INV-{n}", "metadata": {"n": str(n)}} for n in range(500)))
    began = time.monotonic()
    answer = await api.client.post(BULK, json=orders, headers={"idempotency-key": "b1"})
    assert time.monotonic() - began < PATIENCE
    assert answer.status_code == 201
    made = answer.json()
    assert schemas.PaymentIntentList.model_validate(made).model_dump(mode="json") == made
    assert [row["reference"] for row in made["data"]] == [f"INV-{n}" for n in range(500)]
    assert await stored(api) == 500
    one = made["data"][250]
    assert (await api.client.get(f"/v1/payment_intents/{one['id']}")).json() == one
    again = await api.client.post(BULK, json=orders, headers={"idempotency-key": "b1"})
    assert again.content == answer.content
    assert again.headers["idempotent-replayed"] == "true"
    assert await stored(api) == 500
    sent = (await api.client.get("/v1/events", params={"intent": one["id"]})).json()["data"]
    assert [row["type"] for row in sent] == ["payment.created"]


async def test_of_a_batch_with_wrong_ones_nothing_is_stored_and_all_errors_are_told(api: ApiFixture) -> None:
    await api.create(reference="TAKEN")
    body = many({}, {"amount": 0}, {"reference": ""}, {"x": 1})
    body["intents"].append("no object")
    fields = wrong_fields(await api.client.post(BULK, json=body))
    assert fields == ["intents.1.amount", "intents.2.reference", "intents.3.x", "intents.4"]
    body = many({}, {"asset": "doge"}, {"reference": "taken"}, {"reference": "A"}, {"reference": " a "})
    fields = wrong_fields(await api.client.post(BULK, json=body))
    assert fields == ["intents.1.asset", "intents.2.reference", "intents.4.reference"]
    assert await stored(api) == 1


async def test_a_wrong_one_takes_nothing_from_those_after_it(api: ApiFixture) -> None:
    body = many({"reference": "A", "asset": "doge"}, {"reference": "A"}, {"reference": "A"})
    fields = wrong_fields(await api.client.post(BULK, json=body))
    assert fields == ["intents.0.asset", "intents.2.reference"]


async def test_two_of_a_batch_cannot_have_the_same_terms_or_the_same_own_recipient(api: ApiFixture) -> None:
    same = {"salt": "00" * 16, "expires_at": 1_900_000_000 - 80_000_000}
    assert wrong_fields(await api.client.post(BULK, json=many(same, same))) == ["intents.1.salt"]
    own = {"match": "recipient", "recipient": OWN}
    assert wrong_fields(await api.client.post(BULK, json=many(own, own))) == ["intents.1.recipient"]
    shared = many({"recipient": OWN}, own)
    assert wrong_fields(await api.client.post(BULK, json=shared)) == ["intents.1.recipient"]
    then = many(own, {"recipient": OWN})
    assert wrong_fields(await api.client.post(BULK, json=then)) == ["intents.1.recipient"]
    assert await stored(api) == 0
    each = many(*({"match": "recipient", "recipient": principal(f"own {n}")} for n in range(3)))
    assert (await api.client.post(BULK, json=each)).status_code == 201


async def test_money_that_came_before_is_found_for_each(api: ApiFixture) -> None:
    api.fixture.mine(
        txs.sbtc_transfer(PAYER, SHOP, 1000, b"ONE"),
        txs.sbtc_transfer(PAYER, SHOP, 400, b"two"),
        txs.sbtc_transfer(PAYER, SHOP, 1000, b"nobody's"),
    )
    body = many(*({"reference": name, "level": "included"} for name in ("One", "Two", "Three")))
    made = (await api.client.post(BULK, json=body)).json()["data"]
    assert [(row["status"], row["amount_received"]) for row in made] == [
        ("succeeded", "1000"),
        ("pending", "400"),
        ("pending", "0"),
    ]
    unmatched = (await api.client.get("/v1/transfers?unmatched=true")).json()["data"]
    assert [row["memo"]["text"] for row in unmatched] == ["nobody's"]


async def test_a_body_of_ever_so_many_values_is_refused_before_they_are_looked_at(
    sqlite_api: ApiFixture,
) -> None:
    """It would keep the whole process busy."""
    headers = {"content-type": "application/json"}
    content = b'{"intents": [' + b"[]," * 600_000 + b"[]]}"
    answer = await sqlite_api.client.post(BULK, content=content, headers=headers)
    assert problem(answer) == (400, "invalid_json")
    assert "100000 values" in answer.json()["detail"]
    wrong = {"intents": [{f"a{n}": 1 for n in range(90)}] * 500}
    answer = await sqlite_api.client.post(BULK, json=wrong)
    assert len(wrong_fields(answer)) == MAX_ERRORS
    assert len(answer.content) < 20_000


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "intents"),
        ({"intents": []}, "intents"),
        ({"intents": None}, "intents"),
        ({"intents": {"amount": 1}}, "intents"),
        ({"intents": "amount"}, "intents"),
        ({"intents": [{"amount": 1}] * 501}, "intents"),
        ({"intents": [{"amount": 1}], "dry_run": True}, "dry_run"),
        ([{"amount": 1}], None),
    ],
)
async def test_a_body_of_another_shape_is_refused(
    sqlite_api: ApiFixture, body: object, field: str | None
) -> None:
    answer = await sqlite_api.client.post(BULK, json=body)
    assert problem(answer) == (422, "validation")
    assert [error["field"] for error in answer.json().get("errors", [])] == ([field] if field else [])


async def test_it_has_a_larger_limit_for_bodies_and_keeps_it(sqlite_api: ApiFixture) -> None:
    rest = {"metadata": {f"k{n}": "x" * 500 for n in range(6)}}
    large = many(*(rest for _ in range(450)))
    assert (await sqlite_api.client.post(BULK, json=large)).status_code == 201
    content = b'{"intents": [{"amount": 1}]' + b" " * BulkRoute.max_body + b"}"
    headers = {"content-type": "application/json"}
    answer = await sqlite_api.client.post(BULK, content=content, headers=headers)
    assert problem(answer) == (413, "body_too_large")


async def test_the_same_key_with_another_batch_is_a_conflict(sqlite_api: ApiFixture) -> None:
    headers = {"idempotency-key": "b2"}
    assert (await sqlite_api.client.post(BULK, json=many({}), headers=headers)).status_code == 201
    other = await sqlite_api.client.post(BULK, json=many({}, {}), headers=headers)
    assert problem(other) == (409, "idempotency_mismatch")
