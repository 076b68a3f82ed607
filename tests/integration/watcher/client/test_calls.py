"""Both clients against the real server in a process of its own: every call, typed, and what it refuses."""

import asyncio
import re
import subprocess
import sys
from datetime import UTC, datetime
from typing import Any, get_args

import pytest

from notifier.schema import DeliveryStatus
from tests.integration.watcher.client.calls import Caller, calling
from tests.integration.watcher.client.conftest import Server
from tests.served import ADMIN, ROOT
from watcher import schemas
from watcher.client import AsyncClient, Client, NotFound, Refused, Unauthorized
from watcher.client.methods import Method, PaginatedMethod, WorkflowMethod
from watcher.schemas import webhooks

HOOK = "https://192.9.200.1/hook"


async def test_an_intents_life(shop: Caller, server: Server) -> None:
    made = await shop.create_intent(50_000, expires_in="30m", metadata={"order_id": "7"})
    assert isinstance(made, schemas.PaymentIntent)
    assert (made.amount, made.merchant, made.status) == (50_000, server.merchant, "pending")
    assert made.expires_at > datetime.now(UTC)
    assert made.pay.memo == made.reference
    assert made.raw["amount"] == "50000"
    assert made.pay.raw["contract"] is None
    assert made.pay.transfer is not None
    assert made.pay.transfer.raw["contract_id"] == made.asset_identifier.partition("::")[0]
    assert await shop.intent(made.id) == made
    page = await shop.intents(metadata={"order_id": "7"}, reference=made.reference, status="pending")
    assert page.data == [made]
    marked = await shop.mark_intent(made.id, status="succeeded", reason="cash")
    assert (marked.status, marked.flags) == ("succeeded", ["manual"])
    other = await shop.create_intent("60000")
    assert (await shop.cancel_intent(other.id)).status == "canceled"
    with pytest.raises(Refused, match="no refund is due"):
        await shop.dismiss_intent(other.id, reason="sent back by hand")
    assert (await shop.intents(attention=True, flag="refund_due")).data == []


async def test_a_checkout_is_read_and_waited_for(shop: Caller, server: Server) -> None:
    made = await shop.create_intent(50_000, description="Tea", fiat="49.90 EUR")
    token = made.checkout_url.rpartition("/")[2]
    checkout = await shop.checkout(token)
    assert isinstance(checkout, schemas.Checkout)
    assert (checkout.state, checkout.description, checkout.amount) == ("waiting", "Tea", 50_000)
    assert checkout.fiat is not None
    assert checkout.fiat.currency == "EUR"
    async with asyncio.TaskGroup() as tasks, AsyncClient(server.url, server.key) as other:
        waiting = tasks.create_task(shop.checkout(token, wait=30, after=checkout.version))
        await other.cancel_intent(made.id)
        assert (await waiting).state == "canceled"
    with pytest.raises(NotFound, match="no such checkout"):
        await shop.checkout("a-_" * 8)


async def test_many_intents_are_made_at_once_and_iterated_over_page_by_page(shop: Caller) -> None:
    made = (await shop.create_intents([{"amount": n, "metadata": {"lot": "x"}} for n in range(1, 8)])).data
    assert [intent.amount for intent in made] == list(range(1, 8))
    filters = {"metadata": {"lot": "x"}, "limit": 3, "created_from": made[0].created_at}
    page = await shop.intents(**filters)
    assert (len(page.data), page.next_cursor is None) == (3, False)
    found = await shop.each_intent(**filters)
    assert {intent.id for intent in found} >= {intent.id for intent in made}
    assert len({intent.id for intent in found}) == len(found)
    with pytest.raises(Refused) as refused:
        await shop.create_intents([{"amount": 1}, {"amount": "x"}])
    assert [wrong.field for wrong in refused.value.errors] == ["intents.1.amount"]


async def test_a_payment_links_life(shop: Caller, server: Server) -> None:
    """Made, listed, changed and counted, with the types that the models have."""
    ends = datetime(2031, 1, 2, tzinfo=UTC)
    made = await shop.create_link(
        prices={"sbtc": 50_000, "stx": "25000000"}, expires_at=ends, password="x", metadata={"sku": "c1"}
    )
    assert isinstance(made, schemas.PaymentLink)
    assert (made.prices, made.merchant) == ({"sbtc": 50_000, "stx": 25_000_000}, server.merchant)
    assert (made.expires_at, made.has_password, made.status) == (ends, True, "active")
    assert await shop.link(made.id) == made
    assert (await shop.links(limit=1)).data == [made]
    assert made.id in {row.id for row in await shop.each_link()}
    later = ends.replace(year=2032)
    changed = await shop.change_link(made.id, {"password": None, "amount": 7, "expires_at": later})
    assert (changed.has_password, changed.amount, changed.prices) == (False, 7, None)
    assert changed.expires_at == later
    assert (await shop.change_link(made.id, {"active": False})).status == "disabled"
    statistics = await shop.link_statistics(made.id, days=2)
    assert (statistics.started, len(statistics.days), statistics.amounts) == (0, 2, {})


async def test_endpoints_events_and_deliveries(shop: Caller) -> None:
    added = await shop.add_endpoint(HOOK, events=("payment.created",))
    endpoint = added.endpoint.id
    assert added.secret.startswith("whsec_")
    assert await shop.endpoint(endpoint) == added.endpoint
    assert endpoint in {row.id for row in await shop.each_endpoint()}
    assert (await shop.change_endpoint(endpoint, status="disabled")).status == "disabled"
    assert (await shop.change_endpoint(endpoint, status="enabled")).status == "enabled"
    assert (await shop.rotate_endpoint_secret(endpoint, overlap="1h")).secret != added.secret
    intent = await shop.create_intent(5)
    [event] = (await shop.events(intent=intent.id, type="payment.created")).data
    assert (await shop.event(event.id)).raw["data"]["payment_intent"]["id"] == intent.id
    assert event.id in {row.id for row in await shop.each_event()}
    [delivery] = (await shop.deliveries(event=event.id, endpoint=endpoint, status="pending")).data
    assert (await shop.delivery(delivery.id)).log == []
    assert (await shop.retry_delivery(delivery.id)).id == delivery.id
    assert delivery.id in {row.id for row in await shop.each_delivery(endpoint=endpoint)}
    assert len((await shop.redeliver_event(event.id, endpoint=endpoint)).deliveries) == 1
    assert (await shop.replay_endpoint(endpoint, since=intent.created_at)).complete
    [alone] = (await shop.deliveries(event=event.id, endpoint=endpoint)).data
    assert alone.id == delivery.id, "it is on its way already"
    assert (await shop.test_endpoint(endpoint)).event.startswith("evt_")
    sample = await shop.test_endpoint(endpoint, type="payment.succeeded")
    assert (await shop.event(sample.event)).test
    assert sample.event in {row.id for row in (await shop.events(test=True)).data}
    filters = {"type": "payment.succeeded", "endpoint": endpoint, "created_from": intent.created_at}
    [queued] = (await shop.deliveries(**filters)).data
    assert queued.id == sample.delivery
    queue = await shop.queue()
    assert endpoint in {row.endpoint for row in queue.endpoints}
    assert queue.due + queue.waiting + queue.in_flight > 0
    assert (await shop.recover_endpoint(endpoint)).recovered == 0
    assert (await shop.remove_endpoint(endpoint)).removed
    assert await shop.each_transfer(unmatched=True) == (await shop.transfers()).data == []


async def test_events_are_pulled_in_order_and_from_where_one_stopped(shop: Caller) -> None:
    before = await shop.each_pulled()
    last = before[-1].id if before else None
    made = [(await shop.create_intent(5)).id for _ in range(3)]
    fresh = await shop.each_pulled(after=last, limit=2)
    assert [event.type for event in fresh] == ["payment.created"] * 3
    assert [intent for intent in made if any(intent in (event.body or "") for event in fresh)] == made
    assert (await shop.pull(fresh[-1].id)).data == []
    assert (await shop.pull(fresh[-1].id)).next_cursor == fresh[-1].id


async def test_waiting_ends_with_the_verdict_or_with_the_time(shop: Caller, server: Server) -> None:
    intent = await shop.create_intent(5)
    assert (await shop.wait_for(intent, timeout=0.5)).status == "pending"
    assert (await shop.wait_for(intent.id, timeout=1)).status == "pending"
    async with asyncio.TaskGroup() as tasks, AsyncClient(server.url, server.key) as other:
        waiting = tasks.create_task(shop.wait_for(intent, timeout=30))
        await other.mark_intent(intent.id, status="failed", reason="no")
        async with asyncio.timeout(20):
            assert (await waiting).status == "failed"


async def test_a_request_with_the_callers_key_is_done_once(shop: Caller, kind: Any) -> None:
    key = f"order-7-{kind.__name__}"
    once = await shop.create_intent(5, idempotency_key=key)
    assert (await shop.create_intent(5, idempotency_key=key)).id == once.id
    assert (await shop.create_intent(5)).id != once.id
    with pytest.raises(Refused) as refused:
        await shop.create_intent(6, idempotency_key=key)
    assert (refused.value.status, refused.value.code) == (409, "idempotency_mismatch")


async def test_refusals_have_their_kind_and_fields(shop: Caller, kind: Any, server: Server) -> None:
    with pytest.raises(Refused) as refused:
        await shop.create_intent("1.5", payer="nobody")
    assert (refused.value.status, refused.value.code) == (422, "validation")
    assert [wrong.field for wrong in refused.value.errors] == ["amount", "payer"]
    assert (refused.value.request_id or "").startswith("req_")
    with pytest.raises(NotFound, match="no intent pi_x"):
        await shop.intent("pi_x")
    with pytest.raises(Unauthorized):
        await shop.merchants()
    async with calling(kind, server.url, "sk_live_nobodys") as stranger:
        with pytest.raises(Unauthorized) as unauthorized:
            await stranger.status()
    assert "nobodys" not in f"{unauthorized.value!r} {unauthorized.value} {vars(unauthorized.value)}"


async def test_operators_manage_merchants_and_their_keys(kind: Any, server: Server) -> None:
    async with calling(kind, server.url, ADMIN) as operator:
        added = await operator.add_merchant("Tea", recipient="SP000000000000000000002Q6VF78", level="settled")
        merchant = added.merchant.id
        assert (await operator.merchant(merchant)).name == "Tea"
        assert merchant in {row.id for row in await operator.each_merchant(limit=1)}
        assert (await operator.change_merchant(merchant, {"level": None})).level is None
        assert (await operator.rotate_merchant_key(merchant, overlap="1h")).api_key != added.api_key
        key = await operator.add_merchant_key(merchant, name="till", scopes=["read"])
        assert (await operator.revoke_merchant_key(merchant, key.key.id)).status == "revoked"
        assert len((await operator.merchant_keys(merchant)).data) == 3
        assert (await operator.add_login_link(merchant, scopes=["read"])).path.startswith("/dashboard/")
        made = await operator.create_intent(5, merchant=merchant)
        assert made.merchant == merchant
        assert (await operator.intents(merchant=merchant)).data == [made]
        assert (await operator.status()).database.url is not None


async def test_the_documented_example_runs_as_it_is(server: Server) -> None:
    text = (ROOT / "docs/client.md").read_text()
    [code] = re.findall(r"```python\n(from watcher\.client .*?)```", text, re.DOTALL)
    code = code.replace("https://pay.example", server.url).replace("sk_live_…", server.key)
    shown: list[Any] = []
    handled: list[Any] = []
    shipped: list[str] = []

    def show_to_customer(memo: str, *how: Any) -> None:
        shown.append(memo)
        with Client(server.url, server.key) as cashier:
            [intent] = cashier.intents(reference=memo).data
            cashier.mark_intent(intent.id, status="succeeded", reason="cash")

    names = {
        "show_to_customer": show_to_customer,
        "ship": shipped.append,
        "handle": lambda *event: handled.append(event),
        "last_seen_event": None,
    }
    await asyncio.to_thread(exec, compile(code, "docs/client.md", "exec"), names)
    assert (shown, shipped) == (["ORDER-7"], ["7"])
    assert "payment.succeeded" in handled[-1][1]


def test_every_method_is_documented_and_the_classes_show_them() -> None:
    kinds = (Method, PaginatedMethod, WorkflowMethod)
    names = [name for name in dir(Client) if isinstance(getattr(Client, name), kinds)]
    assert len(names) > 40
    with Client("https://a", "k") as client:
        for name in names:
            assert (getattr(client, name).__doc__ or "").strip().split("\n")[0].endswith((".", ":")), name
            assert getattr(Client, name).__doc__ == getattr(AsyncClient, name).__doc__ != ""


def test_the_client_loads_neither_a_database_nor_the_server() -> None:
    heavy = (
        "sqlalchemy",
        "alembic",
        "fastapi",
        "uvicorn",
        "aiohttp",
        "structlog",
        "typer",
        "watcher.config.settings",
    )
    script = f"import sys, watcher.client; print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"


def test_the_statuses_of_deliveries_that_are_written_twice_to_keep_the_client_light_agree() -> None:
    assert set(get_args(webhooks.DeliveryStatus)) == {status.value for status in DeliveryStatus}
