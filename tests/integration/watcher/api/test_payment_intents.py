"""Payment intents over HTTP: created, read, listed, canceled and marked as the interface says."""

from typing import Any

import pytest

from chain.testing import principal, txs
from tests.integration.watcher.api.api_fixture import ADMIN, ApiFixture, problem, wrong_fields
from tests.integration.watcher.ledger_fixture import PAYER, SHOP
from watcher import schemas


def check(document: dict[str, Any]) -> None:
    """See that an intent is what the model declares, no more and no less."""
    assert schemas.PaymentIntent.model_validate(document).model_dump(mode="json") == document


async def test_an_intent_is_created_and_can_be_read(api: ApiFixture) -> None:
    answer = await api.client.post(
        "/v1/payment_intents",
        json={"amount": "50000", "reference": "ORDER-1", "expires_in": "30m", "metadata": {"order": "1"}},
    )
    assert answer.status_code == 201
    made = answer.json()
    check(made)
    assert (made["merchant"], made["amount"], made["reference"]) == (api.merchant, "50000", "ORDER-1")
    assert made["status"] == "pending"
    assert made["recipient"] == SHOP
    assert made["pay"]["contract"] is not None
    read = await api.client.get(f"/v1/payment_intents/{made['id']}")
    assert (read.status_code, read.json()) == (200, made)
    assert api.woken == 1


async def test_an_amount_is_a_whole_number_or_its_digits(api: ApiFixture) -> None:
    most = 2**128 - 1
    for amount in (1, "1", most, str(most)):
        assert (await api.create(amount=amount))["amount"] == str(amount)


@pytest.mark.parametrize(
    "amount", [0, "0", -1, "-1", 1.5, 1.0, "1.5", "1e3", 1e3, True, None, [], {}, "", " 1", 2**128, "9" * 40]
)
async def test_a_wrong_amount_is_named(sqlite_api: ApiFixture, amount: object) -> None:
    answer = await sqlite_api.client.post("/v1/payment_intents", json={"amount": amount})
    assert wrong_fields(answer) == ["amount"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("amout", "5"),
        ("asset", "doge"),
        ("recipient", "SP1"),
        ("recipient", principal("x", mainnet=False)),
        ("recipient", 5),
        ("payer", "nobody"),
        ("reference", "x" * 35),
        ("reference", "Ünicode"),
        ("reference", 5),
        ("expires_in", "0s"),
        ("expires_in", "367d"),
        ("expires_in", 1.5),
        ("expires_at", "yesterday"),
        ("expires_at", "2027-01-01T00:00:00Z"),
        ("level", "deep"),
        ("level", {"stacks": 1, "bitcoin": 99}),
        ("match", "guess"),
        ("tolerance", "50000"),
        ("late_policy", "maybe"),
        ("salt", "0x12"),
        ("metadata", {str(n): "x" for n in range(51)}),
        ("metadata", {"k" * 41: "x"}),
        ("metadata", {"k": "x" * 501}),
        ("metadata", {"k": 5}),
        ("metadata", ["k"]),
        ("merchant", "mer_X"),
    ],
)
async def test_a_wrong_field_is_named_and_nothing_is_stored(
    sqlite_api: ApiFixture, field: str, value: object
) -> None:
    answer = await sqlite_api.client.post("/v1/payment_intents", json={"amount": "50000", field: value})
    assert wrong_fields(answer) == [field]
    assert answer.json()["errors"][0]["message"]
    assert (await sqlite_api.client.get("/v1/payment_intents")).json()["data"] == []


async def test_all_wrong_fields_are_named_at_once(sqlite_api: ApiFixture) -> None:
    answer = await sqlite_api.client.post("/v1/payment_intents", json={"amount": 0, "level": "deep"})
    assert sorted(wrong_fields(answer)) == ["amount", "level"]


@pytest.mark.parametrize("body", [None, [], "text", 5])
async def test_a_body_that_is_no_object_is_refused(sqlite_api: ApiFixture, body: object) -> None:
    answer = await sqlite_api.client.post("/v1/payment_intents", json=body)
    assert problem(answer) == (422, "validation")


async def test_metadata_may_be_as_large_as_the_limits(api: ApiFixture) -> None:
    metadata = {f"{n:02}" + "é" * 38: "ü" * 500 for n in range(50)}
    assert (await api.create(metadata=metadata))["metadata"] == metadata


async def test_a_reference_in_use_is_a_conflict(api: ApiFixture) -> None:
    await api.create(reference="ORDER-1")
    answer = await api.client.post("/v1/payment_intents", json={"amount": "1", "reference": " order-1 "})
    assert problem(answer) == (409, "reference_taken")
    async with api.as_key(api.other_key) as other:
        answer = await other.post("/v1/payment_intents", json={"amount": "1", "reference": "ORDER-1"})
    assert answer.status_code == 201


async def test_a_paid_intent_shows_its_money_as_declared(api: ApiFixture) -> None:
    made = await api.create(level="included")
    api.fixture.mine(txs.sbtc_transfer(PAYER, SHOP, 50_000, made["reference"].encode()))
    read = (await api.client.get(f"/v1/payment_intents/{made['id']}")).json()
    check(read)
    assert read["status"] == "succeeded"
    assert [money["amount"] for money in read["transfers"]] == ["50000"]


async def test_an_intent_is_canceled_with_and_without_a_reason(api: ApiFixture) -> None:
    first, second, third = [await api.create() for _ in range(3)]
    for made, sent in ((first, {}), (second, {"json": {}}), (third, {"json": {"reason": "no tea left"}})):
        answer = await api.client.post(f"/v1/payment_intents/{made['id']}/cancel", **sent)
        assert answer.status_code == 200
        check(answer.json())
        assert answer.json()["status"] == "canceled"
    again = await api.client.post(f"/v1/payment_intents/{first['id']}/cancel")
    assert problem(again) == (409, "not_pending")


@pytest.mark.parametrize(
    ("body", "fields"),
    [({"reason": ""}, ["reason"]), ({"reason": 5}, ["reason"]), ({"why": "x"}, ["why"])],
)
async def test_a_wrong_cancel_is_named(sqlite_api: ApiFixture, body: object, fields: list[str]) -> None:
    made = await sqlite_api.create()
    answer = await sqlite_api.client.post(f"/v1/payment_intents/{made['id']}/cancel", json=body)
    assert wrong_fields(answer) == fields


async def test_an_intent_is_marked_by_its_merchant(api: ApiFixture) -> None:
    made = await api.create()
    answer = await api.client.post(
        f"/v1/payment_intents/{made['id']}/mark", json={"status": "succeeded", "reason": "cash"}
    )
    assert answer.status_code == 200
    check(answer.json())
    assert (answer.json()["status"], answer.json()["flags"]) == ("succeeded", ["manual"])


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        (None, ["status", "reason"]),
        ({}, ["status", "reason"]),
        ({"status": "expired", "reason": "x"}, ["status"]),
        ({"status": "failed"}, ["reason"]),
        ({"status": "failed", "reason": "x" * 501}, ["reason"]),
        ({"status": ["failed"], "reason": "x"}, ["status"]),
    ],
)
async def test_a_wrong_mark_is_named(sqlite_api: ApiFixture, body: object, fields: list[str]) -> None:
    made = await sqlite_api.create()
    answer = await sqlite_api.client.post(f"/v1/payment_intents/{made['id']}/mark", json=body)
    assert sorted(wrong_fields(answer)) == sorted(fields)


@pytest.mark.parametrize("path", ["", "/cancel", "/mark"])
async def test_another_merchants_intent_does_not_exist(api: ApiFixture, path: str) -> None:
    made = await api.create()
    body = {"status": "failed", "reason": "x"} if path == "/mark" else None
    async with api.as_key(api.other_key) as other:
        for intent in (made["id"], "pi_NONE", "pi_%00", "x" * 100, "%FF", "pi_é"):
            url = f"/v1/payment_intents/{intent}{path}"
            answer = await (other.post(url, json=body) if path else other.get(url))
            assert problem(answer) == (404, "not_found"), intent
    read = await api.client.get(f"/v1/payment_intents/{made['id']}")
    assert read.json()["status"] == "pending"


async def test_a_dedicated_recipient_names_its_intent_only_to_its_merchant(sqlite_api: ApiFixture) -> None:
    body = {"amount": 5, "match": "recipient", "recipient": principal("dedicated")}
    made = (await sqlite_api.client.post("/v1/payment_intents", json=body)).json()["id"]
    again = await sqlite_api.client.post("/v1/payment_intents", json=body)
    async with sqlite_api.as_key(sqlite_api.other_key) as other:
        theirs = await other.post("/v1/payment_intents", json=body)
    assert problem(again) == problem(theirs) == (409, "recipient_in_use")
    assert made in again.text
    assert made not in theirs.text


async def test_an_operator_sees_all_and_names_the_merchant_of_a_new_intent(api: ApiFixture) -> None:
    made = await api.create()
    async with api.as_key(ADMIN) as operator:
        assert (await operator.get(f"/v1/payment_intents/{made['id']}")).status_code == 200
        theirs = await operator.post(
            "/v1/payment_intents", json={"amount": 5, "merchant": api.other_merchant}
        )
        assert (theirs.status_code, theirs.json()["merchant"]) == (201, api.other_merchant)
        nobodys = await operator.post("/v1/payment_intents", json={"amount": 5})
        assert wrong_fields(nobodys) == ["merchant"]
        strange = await operator.post("/v1/payment_intents", json={"amount": 5, "merchant": 7})
        assert "is not an id" in strange.text
        listed = (await operator.get("/v1/payment_intents")).json()["data"]
        assert {row["merchant"] for row in listed} == {api.merchant, api.other_merchant}
        of_one = await operator.get("/v1/payment_intents", params={"merchant": api.merchant})
        assert [row["id"] for row in of_one.json()["data"]] == [made["id"]]


async def test_pages_stay_whole_while_intents_are_added(api: ApiFixture) -> None:
    made = [(await api.create())["id"] for _ in range(5)]
    first = (await api.client.get("/v1/payment_intents", params={"limit": 2})).json()
    await api.create()
    seen = [row["id"] for row in first["data"]]
    cursor = first["next_cursor"]
    for _ in range(5):
        page = await api.client.get("/v1/payment_intents", params={"limit": 2, "cursor": cursor})
        seen += [row["id"] for row in page.json()["data"]]
        cursor = page.json()["next_cursor"]
        if cursor is None:
            break
    assert seen == made[::-1]


async def test_each_filter_leaves_what_it_names(api: ApiFixture) -> None:
    plain = await api.create(metadata={"order id": "1", "shop": "a+b&c"})
    paid = await api.create(
        level="included", reference="paid one", metadata={"order id": "2", "shop": "a+b&c"}
    )
    short = await api.create(level="included")
    api.fixture.mine(
        txs.sbtc_transfer(PAYER, SHOP, 50_000, b"PAID ONE"),
        txs.sbtc_transfer(PAYER, SHOP, 1, short["reference"].encode()),
    )

    async def ids(**filters: str) -> list[str]:
        answer = await api.client.get("/v1/payment_intents", params=filters)
        assert answer.status_code == 200, answer.text
        for row in answer.json()["data"]:
            check(row)
        return [row["id"] for row in answer.json()["data"]]

    assert await ids(status="succeeded") == [paid["id"]]
    assert await ids(status="pending") == [short["id"], plain["id"]]
    assert await ids(flag="underpaid") == [short["id"]]
    assert await ids(reference=" paid ONE") == [paid["id"]]
    assert await ids(**{"metadata[order id]": "2"}) == [paid["id"]]
    assert await ids(**{"metadata[shop]": "a+b&c"}) == [paid["id"], plain["id"]]
    assert await ids(**{"metadata[shop]": "a+b&c", "metadata[order id]": "1"}) == [plain["id"]]
    assert await ids(**{"metadata[shop]": "a"}) == []
    now = int(api.fixture.clock())
    assert len(await ids(created_from=str(now - 3600), created_to=str(now + 3600))) == 3
    assert await ids(created_to="2020-01-01T00:00:00Z") == []
    assert await ids(status="pending", flag="underpaid", limit="1") == [short["id"]]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=x", "limit"),
        ("limit=-1", "limit"),
        ("limit=1&limit=2", "limit"),
        ("limit=%C2%B2", "limit"),
        ("cursor=%00", "cursor"),
        ("cursor=", "cursor"),
        ("cursor=' or 1=1", "cursor"),
        ("status=paid", "status"),
        ("flag=odd", "flag"),
        ("reference=", "reference"),
        ("reference=a%00b", "reference"),
        ("created_from=today", "created_from"),
        ("created_to=1.5", "created_to"),
        ("metadata=x", "metadata"),
        ("metadata[]=x", "metadata"),
        ('metadata[a"]=x', "metadata"),
        ("metadata[a=x", "metadata[a"),
        ("metadata[a]=x&metadata[a]=y", "metadata[a]"),
        ("merchant=mer_X", "merchant"),
        ("limits=1", "limits"),
        ("wait=1s", "wait"),
        ("status[x]=pending", "status[x]"),
    ],
)
async def test_a_wrong_or_unknown_parameter_is_named(sqlite_api: ApiFixture, query: str, field: str) -> None:
    assert wrong_fields(await sqlite_api.client.get(f"/v1/payment_intents?{query}")) == [field]


async def test_how_to_filter_by_metadata_is_told(sqlite_api: ApiFixture) -> None:
    answer = await sqlite_api.client.get("/v1/payment_intents?metadata=x")
    assert answer.json()["detail"] == "metadata: is written metadata[key]=value"


async def test_a_change_takes_no_parameters(sqlite_api: ApiFixture) -> None:
    answer = await sqlite_api.client.post("/v1/payment_intents?dry_run=1", json={"amount": 1})
    assert wrong_fields(answer) == ["dry_run"]


async def test_an_etag_names_a_version_of_an_intent(api: ApiFixture) -> None:
    made = await api.create()
    url = f"/v1/payment_intents/{made['id']}"
    tag = (await api.client.get(url)).headers["etag"]
    assert tag.startswith('"')
    for sent in (tag, f'"other", {tag}', f"W/{tag}", "*"):
        same = await api.client.get(url, headers={"if-none-match": sent})
        assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", tag)
    await api.client.post(f"{url}/cancel")
    changed = await api.client.get(url, headers={"if-none-match": tag})
    assert (changed.status_code, changed.json()["status"]) == (200, "canceled")
    assert changed.headers["etag"] != tag
