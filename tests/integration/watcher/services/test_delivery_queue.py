"""How webhooks go, as people are shown it: the queue, and each request as it was sent."""

import json
import time
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import update

from chain.testing import principal
from notifier import endpoints
from notifier.delivery_limits import DeliveryLimits
from notifier.schema import event
from notifier.secrets import PLAIN
from notifier.ssrf import CheckedUrl
from notifier.testing import Answer, Receiver
from notifier.worker import Worker
from tests.integration.watcher.ledger_fixture import LedgerFixture
from tests.integration.watcher.services.test_services import sitting
from watcher import USER_AGENT, schemas
from watcher.errors import Refused
from watcher.schemas import QueueFilters, RotateSecret, SendTest


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver(check_age=False) as server:
        yield server


def add(fixture: LedgerFixture, receiver: Receiver, merchant: str, *, legacy_v0: bool = False) -> str:
    with fixture.database.begin() as connection:
        made, _ = endpoints.create(
            connection,
            merchant=merchant,
            url=CheckedUrl(receiver.url("/")),
            legacy_v0=legacy_v0,
            secret_store=PLAIN,
            now=time.time(),
        )
    return made.id


async def deliver(fixture: LedgerFixture) -> None:
    limits = DeliveryLimits(allow_http=True, allow_private=True, timeout=5.0)
    worker = Worker(fixture.database.engine, limits=limits, user_agent=USER_AGENT, clock=fixture.clock)
    await worker.drain(time.monotonic() + 20)


async def test_a_request_is_shown_as_it_was_sent(fixture: LedgerFixture, receiver: Receiver) -> None:
    """Byte for byte, with every signature of its newest attempt."""
    fixture.clock.now = time.time()
    endpoint = add(fixture, receiver, fixture.merchant, legacy_v0=True)
    receiver.always(Answer(status=500))
    with sitting(fixture, fixture.merchant) as services:
        id_ = services.test_endpoint(endpoint, SendTest(type="payment.succeeded"))["delivery"]
        before = services.sent_request(services.delivery(id_))
    await deliver(fixture)
    [arrival] = receiver.arrivals
    with sitting(fixture, fixture.merchant) as services:
        sent = services.sent_request(services.delivery(id_))
    assert (sent["method"], sent["url"]) == ("POST", receiver.url("/"))
    assert sent["body"].encode() == arrival.body
    assert "v0=" in sent["headers"]["X-Webhook-Signature"]
    arrived = {name.lower(): value for name, value in arrival.headers.items()}
    assert {name.lower(): value for name, value in sent["headers"].items()}.items() <= arrived.items()
    assert before["body"] == sent["body"]
    assert set(before["headers"]) == set(sent["headers"]), "before the first attempt too"


async def test_what_cannot_be_signed_any_more_is_shown_without_signatures(
    fixture: LedgerFixture, receiver: Receiver
) -> None:
    """Its body is pruned, or its endpoint is removed and its secrets with it."""
    fixture.clock.now = time.time()
    endpoint = add(fixture, receiver, fixture.merchant)
    with sitting(fixture, fixture.merchant) as services:
        id_ = services.test_endpoint(endpoint, SendTest())["delivery"]
        services.rotate_endpoint_secret(endpoint, RotateSecret(overlap="0"))
        assert "webhook-signature" in services.sent_request(services.delivery(id_))["headers"]
        services.remove_endpoint(endpoint)
        removed = services.sent_request(services.delivery(id_))
    assert removed["url"] is None
    assert json.loads(removed["body"])["test"] is True
    assert set(removed["headers"]) == {"content-type", "user-agent", "webhook-id"}
    with fixture.database.begin() as connection:
        connection.execute(update(event).values(body=None))
    with sitting(fixture, fixture.merchant) as services:
        assert services.sent_request(services.delivery(id_))["body"] is None


async def test_the_queue_shows_what_is_open_and_how_endpoints_answer(
    fixture: LedgerFixture, receiver: Receiver
) -> None:
    """To a merchant their own, to an operator one merchant's or all."""
    fixture.clock.now = time.time()
    other = fixture.add_merchant("Other", principal("other"))
    mine, theirs = (add(fixture, receiver, merchant) for merchant in (fixture.merchant, other))
    receiver.plan(Answer(status=200), Answer(status=502))
    for _ in range(2):
        with sitting(fixture, fixture.merchant) as services:
            services.test_endpoint(mine, SendTest())
        await deliver(fixture)
    with sitting(fixture, other) as services:
        services.test_endpoint(theirs, SendTest())
        found = services.queue(QueueFilters())
    assert schemas.Queue.of(found).model_dump(mode="json") == found
    assert (found["due"], found["waiting"], found["attempts"]) == (1, 0, 0)
    assert [row["endpoint"] for row in found["endpoints"]] == [theirs]
    with sitting(fixture, fixture.merchant) as services:
        found = services.queue(QueueFilters())
        one = services.endpoint_performance([mine])[mine]
        with pytest.raises(Refused):
            services.queue(QueueFilters(merchant=other))
    assert (found["due"], found["waiting"], found["held"], found["in_flight"]) == (0, 1, 0, 0)
    assert (found["delivered_24h"], found["dead_24h"], found["attempts"]) == (1, 0, 2)
    assert (found["success_rate"], found["last_error"]["message"]) == (0.5, "answered 502 Bad Gateway")
    assert found["endpoints"][0].items() >= one.items()
    with sitting(fixture, None) as services:
        whole, part = services.queue(QueueFilters()), services.queue(QueueFilters(merchant=other))
    assert (whole["due"], whole["waiting"], part["due"], part["waiting"]) == (1, 1, 1, 0)
    assert {row["endpoint"] for row in whole["endpoints"]} == {mine, theirs}
