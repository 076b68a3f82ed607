"""Events and deliveries over HTTP: listed, sent again, and pulled by merchants who would rather ask."""

import json
from datetime import UTC, datetime

import pytest
from sqlalchemy import delete, update
from standardwebhooks import Webhook

from notifier import bulk
from notifier.schema import delivery, event
from notifier.secrets import SecretStore
from tests.integration.watcher.api.all_routes import add_endpoint, make_everything
from tests.integration.watcher.api.api_fixture import ADMIN, ApiFixture, problem, wrong_fields
from watcher import schemas

DELIVERIES = "/v1/webhook_deliveries"
EVENTS = "/v1/events"


async def test_deliveries_are_listed_shown_and_filtered(api: ApiFixture) -> None:
    ids = make_everything(api)
    page = (await api.client.get(DELIVERIES)).json()
    assert schemas.DeliveryPage.model_validate(page).model_dump(mode="json") == page
    assert len(page["data"]) > 1
    shown = (await api.client.get(f"{DELIVERIES}/{ids['delivery_id']}")).json()
    assert schemas.Delivery.model_validate(shown).model_dump(mode="json") == shown
    assert shown == page["data"][0] | {"log": []}
    assert shown["merchant"] == api.merchant
    for query, number in {
        f"endpoint={ids['endpoint_id']}": len(page["data"]),
        "endpoint=we_X": 0,
        f"event={ids['event_id']}": 1,
        "status=pending": len(page["data"]),
        "status=delivered": 0,
        "type=payment.created": 1,
        "type=payment.expired": 0,
        "created_from=2020-01-01T00:00:00Z": len(page["data"]),
        "created_to=2020-01-01T00:00:00Z": 0,
    }.items():
        assert len((await api.client.get(f"{DELIVERIES}?{query}")).json()["data"]) == number, query
    assert wrong_fields(await api.client.get(f"{DELIVERIES}?status=lost")) == ["status"]
    assert problem(await api.client.get(f"{DELIVERIES}/dlv_X")) == (404, "not_found")


async def test_a_dead_delivery_is_tried_again_and_a_delivered_one_is_not(api: ApiFixture) -> None:
    ids = make_everything(api)
    one = f"{DELIVERIES}/{ids['delivery_id']}"

    def become(status: str) -> None:
        with api.fixture.database.begin() as connection:
            this = update(delivery).where(delivery.c.id == ids["delivery_id"])
            connection.execute(this.values(status=status, next_attempt_at=None))

    become("dead")
    woken = api.woken
    retried = await api.client.post(f"{one}/retry")
    assert (retried.status_code, retried.json()["status"]) == (200, "pending")
    assert api.woken == woken + 1
    become("delivered")
    assert problem(await api.client.post(f"{one}/retry")) == (409, "not_possible")
    assert problem(await api.client.post(f"{DELIVERIES}/dlv_X/retry")) == (404, "not_found")


async def test_a_dead_delivery_is_dismissed(api: ApiFixture) -> None:
    endpoint = add_endpoint(api, api.merchant)
    await api.create()
    [found] = (await api.client.get(DELIVERIES, params={"endpoint": endpoint})).json()["data"]
    one = f"{DELIVERIES}/{found['id']}"
    assert problem(await api.client.post(f"{one}/dismiss")) == (409, "not_possible")
    with api.fixture.database.begin() as connection:
        connection.execute(update(delivery).values(status="dead", next_attempt_at=None))
    async with api.as_key(api.other_key) as other:
        assert problem(await other.post(f"{one}/dismiss")) == (404, "not_found")
    dismissed = (await api.client.post(f"{one}/dismiss")).json()
    assert schemas.Delivery.model_validate(dismissed).model_dump(mode="json") == dismissed
    assert (dismissed["status"], dismissed["dismissed_at"] is None) == ("dead", False)
    assert (await api.client.get("/v1/status")).json()["outbox"]["dead"] == 0
    assert (await api.client.post(f"{one}/dismiss")).json() == dismissed


async def test_a_replay_of_very_many_says_that_the_rest_follows(
    api: ApiFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And status how far it is, to whom it concerns."""
    monkeypatch.setattr(bulk, "BATCH_ROWS", 2)
    endpoint = add_endpoint(api, api.merchant)
    for _ in range(5):
        await api.create()
    with api.fixture.database.begin() as connection:
        connection.execute(delete(delivery))
    since = {"since": "2020-01-01T00:00:00Z"}
    url = f"/v1/webhook_endpoints/{endpoint}/replay"
    assert (await api.client.post(url, json=since)).json() == {
        "endpoint": endpoint,
        "replayed": 2,
        "complete": False,
    }
    changes = (await api.client.get("/v1/status")).json()["outbox"]["bulk_changes"]
    assert changes == [{"endpoint": endpoint, "kind": "replay", "done": 2}]
    async with api.as_key(api.other_key) as other:
        assert (await other.get("/v1/status")).json()["outbox"]["bulk_changes"] == []


async def test_events_are_listed_shown_and_filtered(api: ApiFixture) -> None:
    ids = make_everything(api)
    page = (await api.client.get(EVENTS)).json()
    assert schemas.EventPage.model_validate(page).model_dump(mode="json") == page
    assert {row["type"] for row in page["data"]} >= {"payment.created", "payment.succeeded"}
    shown = (await api.client.get(f"{EVENTS}/{ids['event_id']}")).json()
    assert shown in page["data"]
    for query, number in {
        "type=payment.succeeded": 1,
        f"intent={ids['intent_id']}": len(page["data"]),
        "intent=pi_X": 0,
        "limit=1": 1,
    }.items():
        assert len((await api.client.get(f"{EVENTS}?{query}")).json()["data"]) == number, query
    assert wrong_fields(await api.client.get(f"{EVENTS}?type=payment.done")) == ["type"]


async def test_a_cursor_that_is_no_row_of_the_list_is_refused(api: ApiFixture) -> None:
    """An empty page would look like the end of the list; another merchant's row is no cursor either."""
    ids = make_everything(api)
    lists = {
        "/v1/payment_intents": "intent_id",
        "/v1/transfers": "transfer_id",
        "/v1/webhook_endpoints": "endpoint_id",
        "/v1/webhook_deliveries": "delivery_id",
        EVENTS: "event_id",
    }
    for path, name in lists.items():
        assert (await api.client.get(path, params={"cursor": ids[name]})).status_code == 200, path
        wrong = [ids[another] for another in lists.values() if another != name]
        for cursor in (*wrong, "pi_X", f"{ids[name][:-1]}_", "x" * 64):
            answer = await api.client.get(path, params={"cursor": cursor})
            assert wrong_fields(answer) == ["cursor"], (path, cursor)
        async with api.as_key(api.other_key) as other:
            assert wrong_fields(await other.get(path, params={"cursor": ids[name]})) == ["cursor"], path
    async with api.as_key(ADMIN) as operator:
        merchants = "/v1/admin/merchants"
        assert (await operator.get(merchants, params={"cursor": api.merchant})).status_code == 200
        assert wrong_fields(await operator.get(merchants, params={"cursor": "mer_X"})) == ["cursor"]


async def test_an_event_is_sent_again_to_one_endpoint_or_to_all(api: ApiFixture) -> None:
    ids = make_everything(api)
    fresh = add_endpoint(api, api.merchant)
    one = f"{EVENTS}/{ids['event_id']}"
    to_all = (await api.client.post(f"{one}/redeliver")).json()
    to_fresh = (await api.client.post(f"{one}/redeliver", json={"endpoint": fresh})).json()
    for answer, endpoint in ((to_all, ids["endpoint_id"]), (to_fresh, fresh)):
        assert answer["event"] == ids["event_id"]
        [made] = answer["deliveries"]
        assert (await api.client.get(f"{DELIVERIES}/{made}")).json()["endpoint"] == endpoint
    assert wrong_fields(await api.client.post(f"{one}/redeliver", json={"endpoint": 5})) == ["endpoint"]
    with api.fixture.database.begin() as connection:
        connection.execute(update(event).values(body=None))
    assert problem(await api.client.post(f"{one}/redeliver")) == (409, "not_possible")


async def test_who_pulls_gets_every_event_once_in_order_with_the_bodies_that_are_sent(
    api: ApiFixture,
) -> None:
    made = (await api.client.post("/v1/webhook_endpoints", json={"url": "https://1.1.1.1/"})).json()
    make_everything(api)
    sent = (await api.client.get(EVENTS)).json()["data"]
    endpoint = made["endpoint"]["id"]
    seen = []
    after = ""
    while True:
        asked = {"after": after, "limit": 1, "endpoint": endpoint}
        page = (await api.client.get(EVENTS, params=asked)).json()
        assert schemas.PulledEvents.model_validate(page).model_dump(mode="json") == page
        if not page["data"]:
            break
        [row] = page["data"]
        assert row["headers"]["webhook-id"] == row["id"]
        # Not ``verify``: that holds the time against this machine's clock, and the fixture has one of its
        # own.
        moment = datetime.fromtimestamp(int(row["headers"]["webhook-timestamp"]), UTC)
        expected = Webhook(made["secret"]).sign(row["id"], moment, row["body"])
        assert row["headers"]["webhook-signature"] == expected
        seen.append(json.loads(row["body"]))
        after = page["next_cursor"]
        api.fixture.create()  # sent while somebody pulls: it comes at the end
        if len(seen) > 10:
            break
    assert page["next_cursor"] == after
    assert [row["id"] for row in seen][: len(sent)] == [
        row["id"] for row in sorted(sent, key=lambda r: r["sequence"])
    ]


async def test_pulling_goes_with_nothing_but_a_limit_and_an_endpoint(api: ApiFixture) -> None:
    ids = make_everything(api)
    for query, fields in {
        "after=&type=payment.failed": ["type"],
        "after=&intent=pi_X&cursor=evt_X": ["cursor", "intent"],
        f"endpoint={ids['endpoint_id']}": ["endpoint"],
        "after=x-y": ["after"],
    }.items():
        assert sorted(wrong_fields(await api.client.get(f"{EVENTS}?{query}"))) == fields, query
    assert problem(await api.client.get(f"{EVENTS}?after=evt_X")) == (404, "not_found")
    async with api.as_key(ADMIN) as operator:
        assert wrong_fields(await operator.get(f"{EVENTS}?after=")) == ["after"]


async def test_pages_stay_right_while_events_are_sent(api: ApiFixture) -> None:
    for _ in range(5):
        api.fixture.create()
        api.fixture.clock.now += 1
    first = (await api.client.get(f"{EVENTS}?limit=2")).json()
    api.fixture.create()
    second = (await api.client.get(f"{EVENTS}?limit=10&cursor={first['next_cursor']}")).json()
    ids = [row["id"] for page in (first, second) for row in page["data"]]
    assert len(ids) == len(set(ids)) == 5
    moments = [row["timestamp"] for page in (first, second) for row in page["data"]]
    assert moments == sorted(moments, reverse=True)


@pytest.mark.parametrize("name", ["intent", "transfer", "endpoint", "delivery", "event"])
async def test_every_single_thing_has_a_tag(api: ApiFixture, name: str) -> None:
    ids = make_everything(api)
    path = {
        "intent": "payment_intents",
        "transfer": "transfers",
        "endpoint": "webhook_endpoints",
        "delivery": "webhook_deliveries",
        "event": "events",
    }[name]
    url = f"/v1/{path}/{ids[f'{name}_id']}"
    first = await api.client.get(url)
    again = await api.client.get(url, headers={"if-none-match": first.headers["etag"]})
    assert (first.status_code, again.status_code, again.content) == (200, 304, b"")


async def test_a_secret_that_does_not_open_is_the_servers_trouble_and_says_how_to_get_on(
    api: ApiFixture,
) -> None:
    make_everything(api)
    endpoint = add_endpoint(api, api.merchant, secret_store=SecretStore([bytes(32)]))
    asked = {"after": "", "endpoint": endpoint}
    assert problem(await api.client.get(EVENTS, params=asked)) == (503, "secret_sealed")
    url = f"/v1/webhook_endpoints/{endpoint}/rotate_secret"
    refused = await api.client.post(url)
    assert problem(refused) == (503, "secret_sealed")
    assert "overlap 0" in refused.json()["detail"]
    assert (await api.client.post(url, json={"overlap": 0})).status_code == 200
    assert (await api.client.get(EVENTS, params=asked)).status_code == 200
