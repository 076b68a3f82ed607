"""The checkout: what a payer sees without a key, live, and nothing that is not theirs to see."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import httpx
import pytest
from structlog.testing import capture_logs

from chain.testing import principal, txs
from tests import harness
from tests.integration.watcher.api.api_fixture import ADMIN, ApiFixture, problem
from tests.integration.watcher.ledger_fixture import PAYER, SHOP
from watcher.api import checkout_stream, long_poll, middleware, slots
from watcher.schemas.checkout import Checkout


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(long_poll, "POLL_SECONDS", 0.02)


def token_of(intent: dict[str, Any]) -> str:
    """Return the token of an intent's checkout."""
    return str(intent["checkout_url"]).removeprefix("/pay/")


async def shown(api: ApiFixture, intent: dict[str, Any]) -> dict[str, Any]:
    """Return the checkout of an intent as a payer gets it."""
    answer = await api.stranger.get(f"/v1/checkout/{token_of(intent)}")
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.json()
    Checkout.model_validate(document)
    return document


def pay(api: ApiFixture, intent: dict[str, Any], amount: int = 50_000) -> None:
    api.fixture.mine(txs.sbtc_transfer(PAYER, SHOP, amount, intent["reference"].encode()))


class Events:
    """A stream of server-sent events, read one by one."""

    def __init__(self, answer: httpx.Response) -> None:
        self.answer = answer
        self._chunks = answer.aiter_text()
        self._text = ""

    async def block(self) -> str:
        """Return the next block of lines."""
        async with asyncio.timeout(10):
            while "\n\n" not in self._text:
                self._text += await anext(self._chunks)
        block, _, self._text = self._text.partition("\n\n")
        return block

    async def next(self) -> tuple[str, dict[str, Any]]:
        """Return the id and the document of the next event, past comments."""
        while True:
            lines = dict(line.partition(": ")[::2] for line in (await self.block()).splitlines())
            if "data" in lines:
                return lines["id"], json.loads(lines["data"])

    async def end(self) -> None:
        """Read to the end of the stream."""
        async with asyncio.timeout(10):
            async for _ in self._chunks:
                pass


@asynccontextmanager
async def listening(api: ApiFixture, intent: dict[str, Any], **more: Any) -> AsyncIterator[Events]:
    url = f"/v1/checkout/{token_of(intent)}/events"
    async with api.stranger.stream("GET", url, **more) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield Events(answer)


async def listeners(api: ApiFixture, count: int) -> None:
    assert api.server.api is not None
    streams = api.server.api.streams
    await harness.until(lambda: streams.count == count, within=10)


async def test_a_payer_sees_what_to_pay_and_nothing_private(api: ApiFixture) -> None:
    """Amount, recipient and memo are there without a key; metadata, ids and policies of the merchant not."""
    made = await api.create(
        metadata={"order_id": "secret-order"},
        description="Two tins of tea",
        success_url="https://shop.example/thanks?x=1",
        cancel_url="https://shop.example/cart",
        late_policy="accept",
    )
    document = await shown(api, made)
    assert (document["state"], document["amount"], document["recipient"]) == ("waiting", "50000", SHOP)
    assert (document["description"], document["decimals"]) == ("Two tins of tea", 8)
    assert document["pay"]["memo"] == made["reference"]
    assert document["pay"]["transfer"] == made["pay"]["transfer"]
    assert (document["success_url"], document["cancel_url"]) == (None, "https://shop.example/cart")
    assert document["seconds_left"] > 0
    text = json.dumps(document)
    for private in ("secret-order", "metadata", api.merchant, "late_policy", "tolerance", "timeline"):
        assert private not in text


async def test_every_intent_has_an_address_of_its_own(api: ApiFixture) -> None:
    """128 random bits: two intents share nothing; with a public URL the address is whole."""
    tokens = {token_of(await api.create()) for _ in range(3)}
    assert len(tokens) == 3
    assert all(len(token) == 22 for token in tokens)
    async with ApiFixture(api.fixture, public_url="https://pay.example/x/") as public:
        made = await public.create()
        assert made["checkout_url"].startswith("https://pay.example/x/pay/")


@pytest.mark.parametrize("token", ["x", "a" * 22, "a" * 200, "%00", "pi_01JD4N9Z7C3QK4V0T2S8X6R5WM"])
async def test_a_wrong_token_leads_nowhere(sqlite_api: ApiFixture, token: str) -> None:
    """A guess is answered alike by the page, the JSON and the stream: there is no such checkout."""
    await sqlite_api.create()
    for path in (f"/v1/checkout/{token}", f"/v1/checkout/{token}/events"):
        assert problem(await sqlite_api.stranger.get(path)) == (404, "not_found")
    page = await sqlite_api.stranger.get(f"/pay/{token}")
    assert page.status_code == 404


async def test_the_states_follow_the_money(api: ApiFixture) -> None:
    """Waiting, underpaid with the exact rest, confirming, paid with the way back: never paid before it is."""
    made = await api.create(level="settled", success_url="https://shop.example/t?x=1#z")
    pay(api, made, 20_000)
    part = await shown(api, made)
    assert (part["state"], part["amount_received"], part["amount_missing"]) == ("underpaid", "20000", "30000")
    assert part["pay"]["contract"] is None
    assert part["pay"]["transfer"]["arguments"][0]["value"] == "30000"
    pay(api, made, 30_000)
    deep = await shown(api, made)
    assert (deep["state"], deep["pay"], deep["success_url"]) == ("confirming", None, None)
    assert deep["confirmations"]["required"] == {"stacks": 1, "bitcoin": 6}
    for _ in range(6):
        api.fixture.mine(burn=True)
    paid = await shown(api, made)
    assert (paid["state"], paid["cancel_url"]) == ("paid", None)
    told = f"payment_intent={made['id']}&status=succeeded"
    assert paid["success_url"] == f"https://shop.example/t?x=1&{told}#z"
    assert [one["amount"] for one in paid["transfers"]] == ["20000", "30000"]
    assert paid["transfers"][0]["explorer_url"].endswith("?chain=mainnet")


async def test_a_canceled_checkout_asks_for_no_money(api: ApiFixture) -> None:
    """Where to pay is gone with the cancellation, and late money is told as such."""
    made = await api.create()
    await api.client.post(f"/v1/payment_intents/{made['id']}/cancel")
    canceled = await shown(api, made)
    assert (canceled["state"], canceled["pay"], canceled["flags"]) == ("canceled", None, [])
    pay(api, made)
    late = await shown(api, made)
    assert (late["state"], late["amount_received"]) == ("canceled", "50000")
    assert "late" in late["flags"]


async def test_a_payer_sees_the_brand(api: ApiFixture) -> None:
    """The display name stands in for the name, with logo, color and help."""
    made = await api.create()
    assert (await shown(api, made))["merchant"] == {
        "name": "Shop",
        "logo_url": None,
        "brand_color": None,
        "support_url": None,
    }
    brand = {"display_name": "Tea & Co.", "brand_color": "#1f6f54", "support_url": "mailto:a@b.example"}
    async with api.as_key(ADMIN) as operator:
        changed = await operator.patch(f"/v1/admin/merchants/{api.merchant}", json=brand)
    assert changed.status_code == 200
    seen = (await shown(api, made))["merchant"]
    assert seen == {
        "name": "Tea & Co.",
        "logo_url": None,
        "brand_color": "#1f6f54",
        "support_url": "mailto:a@b.example",
    }


async def test_the_stream_tells_each_change(api: ApiFixture) -> None:
    """The first event is how it stands, each further one comes when something changes."""
    made = await api.create(level="included")
    async with listening(api, made) as events:
        first, document = await events.next()
        assert (document["state"], document["version"]) == ("waiting", first)
        pay(api, made, 20_000)
        second, document = await events.next()
        assert (document["state"], first != second) == ("underpaid", True)
        pay(api, made, 30_000)
        _, document = await events.next()
        assert document["state"] == "paid"
        assert document == await shown(api, made)
    await listeners(api, 0)


async def test_the_stream_tells_that_the_chain_stands_still(sqlite_api: ApiFixture) -> None:
    """A payer who looks at the page when blocks stop coming is told so without loading it anew."""
    made = await sqlite_api.create()
    async with listening(sqlite_api, made) as events:
        assert (await events.next())[1]["chain_stalled"] is False
        sqlite_api.fixture.clock.now += 86_400
        assert (await events.next())[1]["chain_stalled"] is True


@pytest.mark.parametrize("how", ["header", "parameter"])
async def test_a_stream_goes_on_where_it_ended(api: ApiFixture, how: str) -> None:
    """Who names the version that they have is told nothing again, and what happened meanwhile at once."""
    made = await api.create(level="included")
    known = (await shown(api, made))["version"]
    more: dict[str, Any] = (
        {"headers": {"last-event-id": known}} if how == "header" else {"params": {"after": known}}
    )
    async with listening(api, made, **more) as events:
        assert "data:" not in await events.block()
        pay(api, made)
        _, document = await events.next()
        assert document["state"] == "paid"
    async with listening(api, made, **more) as events:
        _, document = await events.next()
        assert document["state"] == "paid"


async def test_a_quiet_stream_is_kept_open_by_comments(
    sqlite_api: ApiFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a change a comment comes, which browsers ignore and proxies take as life."""
    monkeypatch.setattr(checkout_stream, "KEEP_ALIVE_SECONDS", 0.01)
    made = await sqlite_api.create()
    async with listening(sqlite_api, made) as events:
        await events.next()
        assert await events.block() == ": ping"
        assert await events.block() == ": ping"


async def test_a_stream_ends_after_its_time(sqlite_api: ApiFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """The browser connects again; nobody holds a place for ever."""
    monkeypatch.setattr(checkout_stream, "KEEP_ALIVE_SECONDS", 0.01)
    monkeypatch.setattr(checkout_stream, "MAX_STREAM_SECONDS", 0.1)
    made = await sqlite_api.create()
    async with listening(sqlite_api, made) as events:
        await events.next()
        with suppress(StopAsyncIteration):
            while True:
                assert await events.block() == ": ping"
    api = sqlite_api.server.api
    assert api is not None
    await harness.until(lambda: api.streams.count == 0)


async def test_a_payer_that_takes_nothing_is_cut_off(
    sqlite_api: ApiFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A write that never ends holds its place no longer than the others."""
    monkeypatch.setattr(checkout_stream, "MAX_STREAM_SECONDS", 0.05)
    monkeypatch.setattr(checkout_stream, "CUT_AFTER_SECONDS", 0.05)
    made = await sqlite_api.create()
    api = sqlite_api.server.api
    assert api is not None
    document, _ = await api.checkout(token_of(made))
    stream = checkout_stream.CheckoutStream(api, token_of(made), document, address="203.0.113.9", after=None)

    async def never(*_: object) -> Any:
        await asyncio.Event().wait()

    async with asyncio.timeout(10):
        await stream({"type": "http"}, never, never)
    assert api.streams.count == 0


async def test_streams_end_with_the_server(sqlite_api: ApiFixture) -> None:
    """A stop ends every stream at once, without waiting for the payers."""
    made = await sqlite_api.create()
    async with listening(sqlite_api, made) as events:
        await events.next()
        sqlite_api.stop.set()
        await events.end()


async def test_streams_are_bounded(sqlite_api: ApiFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """One address has so many, behind a proxy each payer's own; a stream that ends makes room."""
    made = await sqlite_api.create()
    assert sqlite_api.server.api is not None
    monkeypatch.setattr(sqlite_api.server.api.streams, "of_caller", 1)
    url = f"/v1/checkout/{token_of(made)}/events"
    async with listening(sqlite_api, made):
        assert problem(await sqlite_api.stranger.get(url)) == (429, "too_many_waits")
        async with listening(sqlite_api, made, headers={"x-forwarded-for": "8.8.8.8, 203.0.113.9"}):
            again = await sqlite_api.stranger.get(url, headers={"x-forwarded-for": "1.1.1.1,203.0.113.9"})
            assert problem(again) == (429, "too_many_waits")
    await listeners(sqlite_api, 0)
    monkeypatch.setattr(sqlite_api.server.api.streams, "altogether", 0)
    assert problem(await sqlite_api.stranger.get(url)) == (503, "too_many_waits")
    assert slots.MAX_STREAMS >= 1000


async def test_the_head_of_a_stream_is_no_stream(sqlite_api: ApiFixture) -> None:
    """HEAD is answered at once and counts nobody."""
    made = await sqlite_api.create()
    async with asyncio.timeout(10):
        answer = await sqlite_api.stranger.head(f"/v1/checkout/{token_of(made)}/events")
    assert answer.status_code == 200
    await listeners(sqlite_api, 0)


async def test_payers_have_a_limit_of_their_own(sqlite_api: ApiFixture) -> None:
    """An address without a key is slowed down like a key is; another address is not."""
    async with ApiFixture(sqlite_api.fixture, http_rate_limit=2) as api:
        path = "/v1/checkout/" + "a" * 22
        said = [(await api.stranger.get(path)).status_code for _ in range(3)]
        assert said == [404, 404, 429]
        other = await api.stranger.get(path, headers={"x-forwarded-for": "203.0.113.9"})
        assert other.status_code == 404


async def test_no_log_has_the_token(sqlite_api: ApiFixture) -> None:
    """The address of a checkout is a secret: the access log leaves it out, of every route that has it."""
    made = await sqlite_api.create()
    token = token_of(made)
    with capture_logs() as log:
        for path in (
            f"/pay/{token}",
            f"/v1/checkout/{token}",
            f"/pay/{token}/more",
            f"/x/pay/{token}",
            f"/pay//{token}",
        ):
            await sqlite_api.stranger.get(path)
        async with listening(sqlite_api, made) as events:
            await events.next()
        await listeners(sqlite_api, 0)
    paths = [entry["path"] for entry in log if entry["event"] == "http.request"]
    assert sorted(paths) == [
        "/pay/…",
        "/pay/…",
        "/pay/…/more",
        "/v1/checkout/…",
        "/v1/checkout/…/events",
        "/x/pay/…",
    ]
    assert token not in str(log)


async def test_a_dedicated_address_needs_no_memo(api: ApiFixture) -> None:
    """Where the recipient is this payment's own, the payer is not asked for a memo."""
    made = await api.create(match="recipient", recipient=principal("own"))
    assert (await shown(api, made))["needs_memo"] is False


async def waited(api: ApiFixture, intent: dict[str, Any], **params: str) -> httpx.Response:
    return await api.stranger.get(f"/v1/checkout/{token_of(intent)}", params=params)


async def test_a_payer_can_wait_for_a_change(api: ApiFixture) -> None:
    """The answer comes with the change, at once for an older version, and at the end without one."""
    made = await api.create(level="included")
    before = await shown(api, made)
    nothing = await waited(api, made, wait="0.1s")
    assert nothing.json() == before
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(waited(api, made, wait="30s", after=before["version"]))
        assert api.server.api is not None
        waits = api.server.api.payer_waits
        await harness.until(lambda: waits.count == 1)
        pay(api, made)
    assert waiting.result().json()["state"] == "paid"
    async with asyncio.timeout(10):
        assert (await waited(api, made, wait="30s", after=before["version"])).json()["state"] == "paid"
    assert waits.count == 0


async def test_waiting_payers_are_bounded(sqlite_api: ApiFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """One address has so many waits, all together as many as leave the merchants theirs; none is for ever."""
    made = await sqlite_api.create()
    assert sqlite_api.server.api is not None
    monkeypatch.setattr(sqlite_api.server.api.payer_waits, "of_caller", 0)
    refused = await waited(sqlite_api, made, wait="1s")
    assert (problem(refused), refused.headers["retry-after"]) == ((429, "too_many_waits"), "1")
    monkeypatch.setattr(sqlite_api.server.api.payer_waits, "altogether", 0)
    monkeypatch.setattr(sqlite_api.server.api.payer_waits, "of_caller", 1)
    assert problem(await waited(sqlite_api, made, wait="1s")) == (503, "too_many_waits")
    assert problem(await waited(sqlite_api, made, wait="61s")) == (422, "validation")
    assert slots.MAX_PAYER_WAITS + long_poll.MAX_WAITERS < middleware.MAX_REQUESTS


async def test_waiting_payers_are_released_with_the_server(sqlite_api: ApiFixture) -> None:
    """A stop answers them at once, as things stand."""
    made = await sqlite_api.create()
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(waited(sqlite_api, made, wait="60s"))
        assert sqlite_api.server.api is not None
        waits = sqlite_api.server.api.payer_waits
        await harness.until(lambda: waits.count == 1)
        sqlite_api.stop.set()
    assert waiting.result().json()["state"] == "waiting"
