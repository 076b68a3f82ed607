"""Sample events over HTTP: sent as real ones are, marked, and never among what happened."""

import pytest

from chain.testing import txs
from notifier.events import SUBSCRIBABLE
from tests.integration.watcher.api.all_routes import add_endpoint
from tests.integration.watcher.api.api_fixture import ApiFixture, problem, wrong_fields
from tests.integration.watcher.ledger_fixture import PAYER, SHOP
from watcher import schemas

EVENTS = "/v1/events"


def path_of(endpoint: str) -> str:
    return f"/v1/webhook_endpoints/{endpoint}/test"


async def test_a_sample_of_each_type_goes_to_one_endpoint_marked_as_a_test(api: ApiFixture) -> None:
    endpoint, other = (add_endpoint(api, api.merchant) for _ in range(2))
    for number, kind in enumerate(("webhook.test", *SUBSCRIBABLE), start=1):
        queued = await api.client.post(path_of(endpoint), json={"type": kind})
        assert queued.status_code == 200, queued.text
        event = (await api.client.get(f"{EVENTS}/{queued.json()['event']}")).json()
        assert schemas.Event.of(event).type == kind
        told = (event["type"], event["livemode"], event["test"], event["sequence"])
        assert told == (kind, False, True, number)
        found = (await api.client.get(f"/v1/webhook_deliveries/{queued.json()['delivery']}")).json()
        assert (found["event_type"], found["endpoint"], found["status"]) == (kind, endpoint, "pending")
    assert (await api.client.get(f"/v1/webhook_deliveries?endpoint={other}")).json()["data"] == []


async def test_samples_are_never_among_what_happened(api: ApiFixture) -> None:
    """Not in the lists, not for those who pull, not for the intent that they show."""
    endpoint = add_endpoint(api, api.merchant)
    intent = api.fixture.create()
    for body in ({"type": "payment.succeeded"}, {"type": "payment.created", "intent": intent}):
        assert (await api.client.post(path_of(endpoint), json=body)).status_code == 200
    tests = (await api.client.get(f"{EVENTS}?test=true")).json()["data"]
    assert {event["type"] for event in tests} == {"payment.created", "payment.succeeded"}
    for query in ("", "?type=payment.created", "?test=false", f"?intent={intent}"):
        [only] = (await api.client.get(EVENTS + query)).json()["data"]
        assert (only["type"], only["test"], only["livemode"]) == ("payment.created", False, True), query
    assert (await api.client.get(f"{EVENTS}?type=payment.succeeded")).json()["data"] == []
    [pulled] = (await api.client.get(f"{EVENTS}?after=")).json()["data"]
    assert pulled["id"] == only["id"]
    api.fixture.mine(txs.sbtc_transfer(PAYER, SHOP, 50_000, api.fixture.memo(intent)))
    real = (await api.client.get(f"{EVENTS}?intent={intent}")).json()["data"]
    assert {(event["type"], event["sequence"]) for event in real} == {
        ("payment.succeeded", 2),
        ("payment.created", 1),
    }
    assert wrong_fields(await api.client.get(f"{EVENTS}?after=&test=true")) == ["test"]


async def test_a_sample_of_an_intent_says_what_its_own_newest_event_of_that_type_said(
    api: ApiFixture,
) -> None:
    """So it never says that somebody paid who did not."""
    endpoint = add_endpoint(api, api.merchant)
    intent = api.fixture.create()
    body = {"type": "payment.succeeded", "intent": intent}
    refused = await api.client.post(path_of(endpoint), json=body)
    assert problem(refused) == (409, "not_possible")
    assert f"{intent} is pending and has no payment.succeeded" in refused.json()["detail"]
    api.fixture.mine(txs.sbtc_transfer(PAYER, SHOP, 50_000, api.fixture.memo(intent)))
    queued = await api.client.post(path_of(endpoint), json=body)
    sample = (await api.client.get(f"{EVENTS}/{queued.json()['event']}")).json()
    [real] = (await api.client.get(f"{EVENTS}?intent={intent}&type=payment.succeeded")).json()["data"]
    assert sample["data"] == real["data"]
    assert (sample["test"], sample["livemode"], real["test"], real["livemode"]) == (True, False, False, True)
    assert sample["id"] != real["id"]


async def test_a_merchants_sample_shows_no_other_merchants_intent(api: ApiFixture) -> None:
    intent = api.fixture.create()
    theirs = add_endpoint(api, api.other_merchant)
    body = {"type": "payment.created", "intent": intent}
    async with api.as_key(api.other_key) as other:
        assert problem(await other.post(path_of(theirs), json=body)) == (404, "not_found")
    async with api.as_key("the-operators-own-token") as operator:
        assert problem(await operator.post(path_of(theirs), json=body)) == (404, "not_found")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"type": "payment.done"}, "type"),
        ({"type": None}, "type"),
        ({"type": "*"}, "type"),
        ({"intent": "pi_X"}, "intent"),
        ({"type": "webhook.test", "intent": "pi_X"}, "intent"),
        ({"type": "payment.failed", "intent": "pi X"}, "intent"),
    ],
)
async def test_a_wrong_test_is_refused_by_its_field(
    sqlite_api: ApiFixture, body: dict[str, object], field: str
) -> None:
    endpoint = add_endpoint(sqlite_api, sqlite_api.merchant)
    assert wrong_fields(await sqlite_api.client.post(path_of(endpoint), json=body)) == [field]
    assert (await sqlite_api.client.get("/v1/webhook_deliveries")).json()["data"] == []
