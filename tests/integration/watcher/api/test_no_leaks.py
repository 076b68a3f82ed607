"""Every route of /openapi.json is tried with another merchant's key: nothing of the first merchant's is seen
or changed.

A route that is added must find its place here, or the first test fails.
"""

from typing import Any

import httpx

from tests.integration.watcher.api.all_routes import URL, make_everything
from tests.integration.watcher.api.api_fixture import OTHER, ApiFixture, problem, wrong_fields
from tests.integration.watcher.ledger_fixture import SHOP

#: Bodies that are right, for the routes with an id in their path that need one; a text that names an id
#: stands for it.
BODIES: dict[str, dict[str, Any]] = {
    "mark_payment_intent": {"status": "failed", "reason": "not theirs"},
    "dismiss_payment_intent": {"reason": "not theirs"},
    "assign_transfer": {"intent": "intent_id", "reason": "not theirs"},
    "change_webhook_endpoint": {"status": "disabled"},
    "change_payment_link": {"active": False},
    "replay_webhook_endpoint": {"since": 0},
}

#: Routes that list things, which must be empty for a merchant who has none.
LISTS = {
    "list_payment_intents",
    "list_payment_links",
    "list_transfers",
    "list_webhook_endpoints",
    "list_webhook_deliveries",
    "list_events",
}

#: Routes without an id in their path that show other things than lists, or make things: they are tried one by
#: one below.
OWN = {
    *("create_payment_intent", "create_payment_intents", "create_payment_link", "create_webhook_endpoint"),
    *("get_status", "get_queue"),
}

#: Routes for whoever has an address that cannot be guessed: what they leave out is tested with them.
OPEN = {"get_checkout", "get_wallet_call", "stream_checkout"}

#: Filters that take ids, by the names that paths have for them.
FILTERS = {
    "intent": "intent_id",
    "endpoint": "endpoint_id",
    "event": "event_id",
    "cursor": "event_id",
    "after": "event_id",
    "merchant": "merchant_id",
    "payment_link": "link_id",
}

#: Filters that take no ids.
PLAIN = {
    "status",
    "flag",
    "reference",
    "asset",
    "search",
    "created_from",
    "created_to",
    "metadata",
    "limit",
    "unmatched",
    "attention",
    "type",
    "test",
    "wait",
    "seen",
}


def operations(description: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    """Return every route as method, path and description; those that remove things last."""
    found = [
        (method, path, operation)
        for path, methods in description["paths"].items()
        for method, operation in methods.items()
    ]
    return sorted(found, key=lambda one: one[0] == "delete")


async def send(
    client: httpx.AsyncClient, method: str, path: str, ids: dict[str, str], operation: dict[str, Any]
) -> httpx.Response:
    body = BODIES.get(operation["operationId"])
    needs = operation.get("requestBody", {}).get("required", False)
    assert (body is not None) == needs, f"BODIES: {operation['operationId']}"
    if body is not None:
        body = {field: ids.get(value, value) for field, value in body.items()}
    return await client.request(method, path.format(**ids), json=body)


def names(operation: dict[str, Any]) -> set[str]:
    return {one["name"] for one in operation.get("parameters", []) if one["in"] == "query"}


async def test_no_route_shows_or_changes_what_is_another_merchants(api: ApiFixture) -> None:
    ids = make_everything(api)
    description = (await api.stranger.get("/openapi.json")).json()
    assert len(operations(description)) > 30
    seen = set()
    async with api.as_key(api.other_key) as other:
        for method, path, operation in operations(description):
            name = operation["operationId"]
            seen.add(name)
            if path.startswith("/v1/admin/"):
                for client in (api.client, other):
                    answer = await client.request(method, path.format(**ids))
                    assert problem(answer) == (401, "unauthorized"), name
            elif name in OPEN:
                assert operation["security"] == [], name
            elif "{" in path:
                answer = await send(other, method, path, ids, operation)
                assert problem(answer) == (404, "not_found"), name
                # It is not only the id that is wrong.
                assert (await send(api.client, method, path, ids, operation)).status_code != 404, name
            elif name in LISTS:
                await check_list(api, other, path, ids, operation)
            else:
                assert name in OWN, f"{name} has no place in this test"
    assert seen >= LISTS | OWN | OPEN | set(BODIES)


async def check_list(
    api: ApiFixture, other: httpx.AsyncClient, path: str, ids: dict[str, str], operation: dict[str, Any]
) -> None:
    nothing = {"data": [], "next_cursor": None}
    assert (await other.get(path)).json() == nothing
    assert (await api.client.get(path)).json()["data"], path
    for name in names(operation) - PLAIN:
        answer = await other.get(path, params={name: ids[FILTERS[name]]})
        if name == "merchant":
            assert wrong_fields(answer) == ["merchant"]
        elif answer.status_code == 200:
            assert answer.json() == nothing, (path, name)
        else:
            assert answer.status_code in (404, 422), (path, name)
        assert not secrets_in(answer, {**ids, FILTERS[name]: ""}, api), (path, name)


def secrets_in(answer: httpx.Response, ids: dict[str, str], api: ApiFixture) -> list[str]:
    """Return what an answer tells of the first merchant."""
    secrets = [*ids.values(), api.merchant, SHOP, URL, "Shop", "inv-1"]
    return [secret for secret in secrets if secret and secret in answer.text]


async def test_what_a_merchant_makes_is_its_own_and_says_nothing_of_others(api: ApiFixture) -> None:
    ids = make_everything(api)
    async with api.as_key(api.other_key) as other:
        made = await other.post("/v1/payment_intents", json={"amount": 1})
        many = await other.post("/v1/payment_intents/bulk", json={"intents": [{"amount": 1}] * 2})
        endpoint = await other.post("/v1/webhook_endpoints", json={"url": "https://1.1.1.1/hooks"})
        status = await other.get("/v1/status")
        queue = await other.get("/v1/queue")
        wrong = await other.get(f"/v1/queue?merchant={api.merchant}")
    assert wrong_fields(wrong) == ["merchant"]
    assert [row["endpoint"] for row in queue.json()["endpoints"]] == [endpoint.json()["endpoint"]["id"]]
    assert queue.json()["due"] == 0
    for answer in (made, many, endpoint, status, queue):
        assert answer.status_code in (200, 201), answer.text
        assert secrets_in(answer, ids, api) == []
    merchants = {made.json()["merchant"], endpoint.json()["endpoint"]["merchant"]}
    assert merchants | {row["merchant"] for row in many.json()["data"]} == {api.other_merchant}
    assert {row["recipient"] for row in (made.json(), *many.json()["data"])} == {OTHER}


async def test_nobody_makes_something_in_anothers_name(api: ApiFixture) -> None:
    whose = {"merchant": api.merchant}
    async with api.as_key(api.other_key) as other:
        bodies = {
            "/v1/payment_intents": {"amount": 1, **whose},
            "/v1/payment_intents/bulk": {"intents": [{"amount": 1}], **whose},
            "/v1/webhook_endpoints": {"url": "https://1.1.1.1/hooks", **whose},
            "/v1/payment_links": {"amount": 1, **whose},
        }
        for path, body in bodies.items():
            assert wrong_fields(await other.post(path, json=body)) == ["merchant"], path
        inside = await other.post("/v1/payment_intents/bulk", json={"intents": [{"amount": 1, **whose}]})
    assert wrong_fields(inside) == ["intents.0.merchant"]


async def test_ids_in_a_body_must_be_the_merchants_own(api: ApiFixture) -> None:
    ids = make_everything(api)
    fixture = api.fixture
    async with api.as_key(api.other_key) as other:
        theirs = await other.post("/v1/payment_intents", json={"amount": 1, "recipient": SHOP})
        assert problem(theirs) == (409, "recipient_in_use")
        assert secrets_in(theirs, {**ids, "merchant_id": ""}, api) == [SHOP]  # which the caller wrote
        endpoint = (await other.post("/v1/webhook_endpoints", json={"url": "https://1.1.1.1/hooks"})).json()
        tested = (await other.post(f"/v1/webhook_endpoints/{endpoint['endpoint']['id']}/test")).json()
        path = f"/v1/events/{tested['event']}/redeliver"
        answer = await other.post(path, json={"endpoint": ids["endpoint_id"]})
        assert problem(answer) == (404, "not_found")
        intent = fixture.create(api.other_merchant)
        mine = await api.client.post(
            f"/v1/transfers/{ids['transfer_id']}/assign", json={"intent": intent, "reason": "x"}
        )
    assert problem(mine) == (404, "not_found")


async def test_signed_bodies_are_for_the_merchant_alone(api: ApiFixture) -> None:
    ids = make_everything(api)
    async with api.as_key(api.other_key) as other:
        pulled = await other.get("/v1/events", params={"after": ""})
        assert pulled.json() == {"data": [], "next_cursor": None}
        for params in (
            {"after": ids["event_id"]},
            {"after": "", "endpoint": ids["endpoint_id"]},
        ):
            assert problem(await other.get("/v1/events", params=params)) == (404, "not_found")
