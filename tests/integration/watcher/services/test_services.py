"""The services on a real database: what callers may see and change, bulk creation, pulled events."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from standardwebhooks import Webhook

from chain.testing import principal as principal_of
from chain.testing import txs
from notifier.errors import InvalidEndpoint
from notifier.errors import NotFound as NotFoundThere
from notifier.ssrf import CheckedUrl
from tests.integration.watcher.ledger_fixture import PAYER, SHOP, LedgerFixture
from watcher.errors import NotFound, Refused
from watcher.schemas import (
    Assign,
    Cancel,
    ChangeEndpoint,
    ChangeMerchant,
    DeliveryFilters,
    EventFilters,
    Mark,
    NewEndpoint,
    NewMerchant,
    NewPaymentIntent,
    NewPaymentIntents,
    OwnedPage,
    Page,
    PaymentIntentFilters,
    Redeliver,
    Replay,
    RotateSecret,
    SendTest,
    TransferFilters,
)
from watcher.services import Services
from watcher.services.webhooks import endpoint_url

URL = CheckedUrl("https://shop.example/webhooks")


@contextmanager
def sitting(fixture: LedgerFixture, merchant: str | None) -> Iterator[Services]:
    with fixture.database.begin() as connection:
        yield Services(
            connection,
            fixture.settings,
            actor="test",
            now=fixture.clock(),
            merchant=merchant,
            settler_of=lambda _: fixture.settler,
        )
    fixture.clock.now += 0.002


def batch(documents: object) -> NewPaymentIntents:
    return NewPaymentIntents.of({"intents": documents})


def pull(fixture: LedgerFixture, after: str | None, **how: Any) -> dict[str, Any]:
    with sitting(fixture, fixture.merchant) as services:
        return services.events(EventFilters(after=after or "", **how))


def pay(fixture: LedgerFixture, intent: str) -> None:
    fixture.mine(txs.sbtc_transfer(PAYER, SHOP, 50_000, fixture.memo(intent)))


def test_pulled_events_are_all_that_was_sent_each_once_in_order(fixture: LedgerFixture) -> None:
    sent: list[str] = []
    after: str | None = None
    for _ in range(3):
        pay(fixture, fixture.create())
        page = pull(fixture, after)
        sent += [row["id"] for row in page["data"]]
        after = page["next_cursor"]
    whole = pull(fixture, None)
    assert [row["id"] for row in whole["data"]] == sent
    assert len(set(sent)) == len(sent) == 3 * 2  # created and succeeded, of each
    assert pull(fixture, after) == {"data": [], "next_cursor": after}


def test_a_page_of_pulled_events_goes_on_where_the_one_before_ended(fixture: LedgerFixture) -> None:
    for _ in range(3):
        pay(fixture, fixture.create())
    whole = [row["id"] for row in pull(fixture, None)["data"]]
    after, seen = None, []
    while (page := pull(fixture, after, limit=2))["data"]:
        assert len(page["data"]) <= 2
        seen += [row["id"] for row in page["data"]]
        after = page["next_cursor"]
    assert seen == whole


def test_pulled_bodies_are_signed_as_they_are_sent(fixture: LedgerFixture) -> None:
    with sitting(fixture, fixture.merchant) as services:
        made = services.add_endpoint(NewEndpoint(url=URL), url=URL)
        services.test_endpoint(
            made["endpoint"]["id"], SendTest()
        )  # a test tells nothing, so it is not pulled
    pay(fixture, fixture.create())
    fixture.clock.now = time.time()
    rows = pull(fixture, None, endpoint=made["endpoint"]["id"])["data"]
    assert [row["type"] for row in rows][-1] == "payment.succeeded"
    for row in rows:
        body = Webhook(made["secret"]).verify(row["body"], row["headers"])
        assert (body["id"], body["type"]) == (row["id"], row["type"])


def test_an_event_that_was_not_sent_to_the_merchant_is_no_place_to_pull_from(fixture: LedgerFixture) -> None:
    other = fixture.add_merchant("Other", principal_of("other"))
    pay(fixture, fixture.create())
    mine = pull(fixture, None)["data"][0]["id"]
    with pytest.raises(NotFoundThere), sitting(fixture, other) as services:
        services.events(EventFilters(after=mine))
    with pytest.raises(NotFoundThere):
        pull(fixture, "evt_none")
    with pytest.raises(Refused), sitting(fixture, None) as services:
        services.events(EventFilters(after=""))


def test_many_intents_are_created_in_their_order(fixture: LedgerFixture) -> None:
    with sitting(fixture, fixture.merchant) as services:
        made = services.create_intents(
            batch([{"amount": n, "reference": f"ORDER-{n}"} for n in range(1, 21)])
        )
    assert [intent["reference"] for intent in made["data"]] == [f"ORDER-{n}" for n in range(1, 21)]


def test_of_many_intents_with_a_wrong_one_none_is_created(fixture: LedgerFixture) -> None:
    good = {"amount": 1, "reference": "A"}
    for documents, wrong in (
        ([good, {"amount": 1.5}, 7, {"amout": 1}], ["1.amount", "2", "3.amount", "3.amout"]),
        ([good, {"amount": 1, "asset": "doge"}, good], ["1.asset", "2.reference"]),
        ([good, {"amount": 1, "merchant": fixture.merchant}], ["1.merchant"]),
    ):
        with pytest.raises(Refused) as refused, sitting(fixture, fixture.merchant) as services:
            services.create_intents(batch(documents))
        assert [error["field"] for error in refused.value.errors] == [f"intents.{field}" for field in wrong]
    with sitting(fixture, fixture.merchant) as services:
        assert services.intents(PaymentIntentFilters())["data"] == []


@pytest.mark.parametrize("documents", [None, {}, "pi", [], [{"amount": 1}] * 501])
def test_what_is_no_list_of_1_to_500_intents_is_refused(documents: object) -> None:
    with pytest.raises(Refused) as refused:
        batch(documents)
    assert refused.value.errors[0]["field"] == "intents"


def test_nothing_of_a_merchant_is_there_for_another_one(fixture: LedgerFixture) -> None:
    other = fixture.add_merchant("Other", principal_of("other"))
    with sitting(fixture, fixture.merchant) as services:
        endpoint = services.add_endpoint(NewEndpoint(url=URL), url=URL)["endpoint"]["id"]
        delivery = services.test_endpoint(endpoint, SendTest())["delivery"]
    intent = fixture.create()
    pay(fixture, intent)
    fixture.mine(txs.sbtc_transfer(PAYER, SHOP, 7, b"nobody's"))
    event = pull(fixture, None)["data"][0]["id"]
    with sitting(fixture, fixture.merchant) as services:
        transfer = services.transfers(TransferFilters(unmatched=True))["data"][0]["id"]
        assert services.transfer(transfer)["unmatched"] == "no_intent"
    calls: list[tuple[str, tuple[Any, ...]]] = [
        ("intent", (intent,)),
        ("cancel_intent", (intent, Cancel())),
        ("mark_intent", (intent, Mark(status="failed", reason="x"))),
        ("transfer", (transfer,)),
        ("assign_transfer", (transfer, Assign(intent=intent, reason="x"))),
        ("endpoint", (endpoint,)),
        ("change_endpoint", (endpoint, ChangeEndpoint(status="disabled"))),
        ("remove_endpoint", (endpoint,)),
        ("rotate_endpoint_secret", (endpoint, RotateSecret())),
        ("test_endpoint", (endpoint, SendTest())),
        ("recover_endpoint", (endpoint,)),
        ("replay_endpoint", (endpoint, Replay(since=0))),
        ("delivery", (delivery,)),
        ("retry_delivery", (delivery,)),
        ("event", (event,)),
        ("redeliver_event", (event, Redeliver())),
    ]
    for name, arguments in calls:
        with pytest.raises((NotFound, NotFoundThere)), sitting(fixture, other) as services:
            getattr(services, name)(*arguments)
    with sitting(fixture, other) as services:
        for page in (
            services.intents(PaymentIntentFilters()),
            services.transfers(TransferFilters()),
            services.endpoints(OwnedPage()),
            services.deliveries(DeliveryFilters()),
            services.events(EventFilters()),
        ):
            assert page == {"data": [], "next_cursor": None}
        # Not even by asking for it by name.
        with pytest.raises(Refused):
            services.intents(PaymentIntentFilters(merchant=fixture.merchant))


def test_an_endpoint_changes_only_in_what_is_given(fixture: LedgerFixture) -> None:
    with sitting(fixture, fixture.merchant) as services:
        made = services.add_endpoint(NewEndpoint(url=URL, events=["payment.succeeded"]), url=URL)["endpoint"]
        held = services.change_endpoint(made["id"], ChangeEndpoint(status="disabled"))
        assert held == made | {"status": "disabled", "disabled_reason": "operator"}
        assert services.change_endpoint(made["id"], ChangeEndpoint(status="enabled")) == made
        assert services.change_endpoint(made["id"], ChangeEndpoint(events=["*"]))["events"] == ["*"]
        assert services.change_endpoint(made["id"], ChangeEndpoint())["url"] == URL


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ({"url": "https://a.example", "events": "payment.succeeded"}, "events"),
        ({"url": "https://a.example", "events": [1]}, "events"),
        ({"url": "https://a.example", "legacy_v0": "yes"}, "legacy_v0"),
        ({"url": "https://a.example", "link": 1}, "link"),
        ({"url": 7}, "url"),
        ({}, "url"),
    ],
)
def test_a_wrong_field_of_an_endpoint_is_named(document: object, field: str) -> None:
    with pytest.raises(Refused) as refused:
        NewEndpoint.of(document)
    assert [error["field"] for error in refused.value.errors] == [field]


def test_a_url_is_checked_before_the_transaction(fixture: LedgerFixture) -> None:
    assert endpoint_url(fixture.settings, None) is None
    with pytest.raises(InvalidEndpoint):
        endpoint_url(fixture.settings, "https://127.0.0.1/hook")


def test_an_operator_names_the_merchant_of_what_they_make(fixture: LedgerFixture) -> None:
    with sitting(fixture, None) as services:
        request = NewPaymentIntent(amount=1, merchant=fixture.merchant)
        assert services.create_intent(request)["merchant"] == fixture.merchant
        added = services.add_endpoint(NewEndpoint(url=URL, merchant=fixture.merchant), url=URL)
        assert added["endpoint"]["url"] == URL
    with pytest.raises(Refused), sitting(fixture, None) as services:
        services.create_intent(NewPaymentIntent(amount=1))


def test_a_merchant_is_added_changed_and_disabled(fixture: LedgerFixture) -> None:
    with sitting(fixture, None) as services:
        made = services.add_merchant(
            NewMerchant.of({"name": "New", "recipient": principal_of("new"), "level": "settled"})
        )
        assert made["api_key"].startswith("sk_live_")
        merchant = made["merchant"]["id"]
        assert services.change_merchant(merchant, ChangeMerchant(level=None))["level"] is None
        assert services.change_merchant(merchant, ChangeMerchant(status="disabled"))["status"] == "disabled"
        assert services.merchant_of(merchant)["name"] == "New"
        assert services.merchants(Page())["data"][0]["id"] == merchant
    for changes in ({"name": None}, {"recipient": None}, {"status": "active"}):
        with pytest.raises(Refused):
            ChangeMerchant.of(changes)
