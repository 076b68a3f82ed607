"""Webhook endpoints over HTTP: added, changed, tested, removed; their secrets shown once."""

from datetime import datetime

import pytest
from sqlalchemy import update

from notifier import endpoints
from notifier.schema import delivery
from tests.integration.watcher.api.all_routes import add_endpoint, make_everything
from tests.integration.watcher.api.api_fixture import ADMIN, ApiFixture, problem, wrong_fields
from watcher import schemas

LIST = "/v1/webhook_endpoints"
URL = "https://1.1.1.1/hooks"


async def test_an_endpoint_is_added_listed_changed_and_removed(api: ApiFixture) -> None:
    answer = await api.client.post(LIST, json={"url": URL, "legacy_v0": True})
    assert answer.status_code == 201
    made = answer.json()
    assert schemas.EndpointWithSecret.model_validate(made).model_dump(mode="json") == made
    assert made["secret"].startswith("whsec_")
    endpoint = made["endpoint"]
    assert endpoint["merchant"] == api.merchant
    assert endpoint["events"] == [
        "payment.succeeded",
        "payment.failed",
        "payment.expired",
        "payment.attention",
    ]
    one = f"{LIST}/{endpoint['id']}"
    assert (await api.client.get(one)).json() == endpoint
    assert (await api.client.get(LIST)).json() == {"data": [endpoint], "next_cursor": None}
    changed = await api.client.patch(one, json={"events": ["*"], "status": "disabled"})
    assert changed.status_code == 200
    expected = endpoint | {"events": ["*"], "status": "disabled", "disabled_reason": "operator"}
    assert changed.json() == expected
    assert (await api.client.get(one)).json() == expected
    moved = await api.client.patch(one, json={"url": f"{URL}/2", "status": "enabled"})
    assert (moved.json()["url"], moved.json()["status"]) == (f"{URL}/2", "enabled")
    removed = await api.client.delete(one)
    assert (removed.status_code, removed.json()) == (200, {"id": endpoint["id"], "removed": True})
    assert problem(await api.client.get(one)) == (404, "not_found")
    assert problem(await api.client.delete(one)) == (404, "not_found")
    assert (await api.client.get(LIST)).json()["data"] == []


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "url"),
        ({"url": None}, "url"),
        ({"url": 5}, "url"),
        ({"url": "http://1.1.1.1/"}, "url"),
        ({"url": "https://127.0.0.1/"}, "url"),
        ({"url": "https://localhost/"}, "url"),
        ({"url": "https://169.254.169.254/latest"}, "url"),
        ({"url": "ftp://1.1.1.1/"}, "url"),
        ({"url": URL, "events": []}, "events"),
        ({"url": URL, "events": ["payment.done"]}, "events"),
        ({"url": URL, "events": "payment.failed"}, "events"),
        ({"url": URL, "legacy_v0": "yes"}, "legacy_v0"),
        ({"url": URL, "colour": "red"}, "colour"),
        ({"url": URL, "status": "disabled"}, "status"),
    ],
)
async def test_a_wrong_endpoint_is_refused_by_its_field(
    sqlite_api: ApiFixture, body: dict[str, object], field: str
) -> None:
    assert wrong_fields(await sqlite_api.client.post(LIST, json=body)) == [field]
    assert (await sqlite_api.client.get(LIST)).json()["data"] == []


@pytest.mark.parametrize(
    "body", [{"url": "https://[::1]/"}, {"url": 1}, {"status": "removed"}, {"events": []}]
)
async def test_a_wrong_change_is_refused_and_changes_nothing(
    sqlite_api: ApiFixture, body: dict[str, object]
) -> None:
    one = f"{LIST}/{add_endpoint(sqlite_api, sqlite_api.merchant)}"
    before = (await sqlite_api.client.get(one)).json()
    assert wrong_fields(await sqlite_api.client.patch(one, json=body)) == [next(iter(body))]
    assert (await sqlite_api.client.get(one)).json() == before


async def test_a_secret_is_rotated_with_an_overlap(api: ApiFixture) -> None:
    made = (await api.client.post(LIST, json={"url": URL})).json()
    one = f"{LIST}/{made['endpoint']['id']}"
    rotated = await api.client.post(f"{one}/rotate_secret", json={"overlap": "1h"})
    assert rotated.status_code == 200
    assert rotated.json()["endpoint"] == made["endpoint"]
    assert rotated.json()["secret"] not in ("", made["secret"])
    assert made["previous_secret_expires_at"] is None
    until = datetime.fromisoformat(rotated.json()["previous_secret_expires_at"]).timestamp()
    assert until == pytest.approx(api.fixture.clock() + 3600, abs=1)
    leaked = await api.client.post(f"{one}/rotate_secret", json={"overlap": 0})
    assert leaked.json()["previous_secret_expires_at"] is None
    for overlap in ("8d", -1, "soon"):
        answer = await api.client.post(f"{one}/rotate_secret", json={"overlap": overlap})
        assert wrong_fields(answer) == ["overlap"]
    assert (await api.client.post(f"{one}/rotate_secret")).status_code == 200


async def test_one_endpoint_too_many_is_refused_with_what_to_do(
    sqlite_api: ApiFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A merchant's endpoints are bounded."""
    monkeypatch.setattr(endpoints, "MAX_ENDPOINTS", 1)
    assert (await sqlite_api.client.post(LIST, json={"url": URL})).status_code == 201
    refused = await sqlite_api.client.post(LIST, json={"url": URL})
    assert problem(refused) == (409, "not_possible")
    assert "remove one" in refused.json()["detail"]


async def test_a_secret_is_the_same_when_its_answer_is_replayed(api: ApiFixture) -> None:
    headers = {"idempotency-key": "e1"}
    first = await api.client.post(LIST, json={"url": URL}, headers=headers)
    again = await api.client.post(LIST, json={"url": URL}, headers=headers)
    assert again.content == first.content
    assert again.headers["idempotent-replayed"] == "true"
    assert len((await api.client.get(LIST)).json()["data"]) == 1


async def test_a_test_event_goes_the_way_of_all_unless_the_endpoint_is_disabled(api: ApiFixture) -> None:
    endpoint = add_endpoint(api, api.merchant)
    tested = await api.client.post(f"{LIST}/{endpoint}/test")
    assert tested.status_code == 200
    found = (await api.client.get(f"/v1/webhook_deliveries/{tested.json()['delivery']}")).json()
    assert (found["event"], found["event_type"], found["status"]) == (
        tested.json()["event"],
        "webhook.test",
        "pending",
    )
    await api.client.patch(f"{LIST}/{endpoint}", json={"status": "disabled"})
    for act in ("test", "recover"):
        assert problem(await api.client.post(f"{LIST}/{endpoint}/{act}")) == (409, "not_possible")
    assert wrong_fields(await api.client.post(f"{LIST}/{endpoint}/test", json={"x": 1})) == ["x"]


async def test_dead_deliveries_are_recovered_and_events_replayed(api: ApiFixture) -> None:
    ids = make_everything(api)
    with api.fixture.database.begin() as connection:
        connection.execute(update(delivery).values(status="dead", next_attempt_at=None))
    number = len((await api.client.get("/v1/webhook_deliveries?status=dead")).json()["data"])
    one = f"{LIST}/{ids['endpoint_id']}"
    recovered = await api.client.post(f"{one}/recover")
    assert recovered.json() == {"endpoint": ids["endpoint_id"], "recovered": number, "complete": True}
    assert number > 1
    since = {"since": "2027-01-01T00:00:00Z"}
    queued = await api.client.post(f"{one}/replay", json=since)
    assert queued.json() == {"endpoint": ids["endpoint_id"], "replayed": 0, "complete": True}
    with api.fixture.database.begin() as connection:
        connection.execute(update(delivery).values(status="delivered", next_attempt_at=None))
    replayed = await api.client.post(f"{one}/replay", json=since)
    assert replayed.json() == {"endpoint": ids["endpoint_id"], "replayed": number, "complete": True}
    assert (await api.client.post(f"{one}/replay", json={"since": 4_000_000_000})).json()["replayed"] == 0
    assert wrong_fields(await api.client.post(f"{one}/replay", json={})) == ["since"]
    assert wrong_fields(await api.client.post(f"{one}/replay", json={"since": "today"})) == ["since"]


async def test_pages_stay_right_while_endpoints_are_added(api: ApiFixture) -> None:
    made = [add_endpoint(api, api.merchant) for _ in range(5)]
    first = (await api.client.get(f"{LIST}?limit=2")).json()
    add_endpoint(api, api.merchant)
    second = (await api.client.get(f"{LIST}?limit=2&cursor={first['next_cursor']}")).json()
    third = (await api.client.get(f"{LIST}?limit=2&cursor={second['next_cursor']}")).json()
    seen = [row["id"] for page in (first, second, third) for row in page["data"]]
    assert seen == made[::-1]
    assert third["next_cursor"] is None


async def test_an_operator_adds_an_endpoint_for_a_merchant_and_sees_all(api: ApiFixture) -> None:
    mine = add_endpoint(api, api.merchant)
    async with api.as_key(ADMIN) as operator:
        made = await operator.post(LIST, json={"url": URL, "merchant": api.other_merchant})
        assert made.json()["endpoint"]["merchant"] == api.other_merchant
        assert wrong_fields(await operator.post(LIST, json={"url": URL})) == ["merchant"]
        missing = await operator.post(LIST, json={"url": URL, "merchant": "mer_X"})
        assert problem(missing) == (404, "not_found")
        assert len((await operator.get(LIST)).json()["data"]) == 2
        theirs = (await operator.get(LIST, params={"merchant": api.merchant})).json()["data"]
    assert [row["id"] for row in theirs] == [mine]
