"""Conformity of the scripted API's WebSocket with the real server (v9.0.2), silences included."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from chain.testing import ScriptedApi, ScriptedChain, Tx, principal, principals, txs

DATA = Path(__file__).parents[2] / "data" / "stacks-api"

MERCHANT = "SP631QCCSY4ZBC8PM6YN160YPSB2QBTSSW2RYEW0"
#: What we send to learn that everything before it has been said.
SENTINEL = {"jsonrpc": "2.0", "id": "done", "method": "frobnicate"}


class Client:
    """One socket that answers pings only on request."""

    def __init__(
        self, socket: aiohttp.ClientWebSocketResponse, api: ScriptedApi, *, answers: bool = True
    ) -> None:
        self.socket, self.api, self.answers = socket, api, answers
        self.pings = 0

    async def say(self, message: Any) -> None:
        await self.socket.send_str(message if isinstance(message, str) else json.dumps(message))

    async def subscribe(self, event: str, **params: str) -> Any:
        await self.say(
            {"jsonrpc": "2.0", "id": 1, "method": "subscribe", "params": {"event": event, **params}}
        )
        return await self.hear()

    async def hear(self) -> Any:
        """The next text."""
        async with asyncio.timeout(5):
            while True:
                message = await self.socket.receive()
                if message.type is aiohttp.WSMsgType.TEXT:
                    return json.loads(message.data)
                assert message.type is aiohttp.WSMsgType.PING, message
                self.pings += 1
                if self.answers:
                    await self.socket.pong(message.data)

    async def heard(self) -> list[Any]:
        """All texts so far."""
        await self.api.announced()
        await self.say(SENTINEL)
        texts = []
        while (text := await self.hear()).get("id") != "done":
            texts.append(text)
        return texts

    async def beat(self) -> None:
        """One heartbeat, heard and answered."""
        await self.api.heartbeat()
        assert await self.heard() == []


@asynccontextmanager
async def connected(api: ScriptedApi, count: int = 1) -> AsyncIterator[list[Client]]:
    async with aiohttp.ClientSession() as session:
        sockets = [await session.ws_connect(api.ws_url, autoping=False) for _ in range(count)]
        yield [Client(socket, api) for socket in sockets]
        for socket in sockets:
            await socket.close()


@pytest.fixture
async def api() -> AsyncIterator[ScriptedApi]:
    chain = ScriptedChain(height=1, burn_height=870_001)
    async with ScriptedApi(chain, ping_interval=None) as server:
        yield server


def recorded(name: str) -> list[Any]:
    return [json.loads(line) for line in (DATA / f"{name}.jsonl").read_text().splitlines()]


async def test_replies_and_errors_are_the_recorded_ones(api: ScriptedApi) -> None:
    lines = recorded("ws-messages")[:18]
    async with connected(api) as [client]:
        for line in lines:
            if line["dir"] == "client->server":
                await client.say(line.get("msg", line.get("raw")))
        replies = [line["msg"] for line in lines if line["dir"] == "server->client"]
        assert [await client.hear() for _ in replies] == replies


async def test_the_recorded_story_is_told_in_the_same_order_and_shape(api: ScriptedApi) -> None:
    """Also what is missing: orphans, blocks below a winning tip, later topics."""
    chain = api.chain
    payers = principals(9)

    def sbtc(payer: int, memo: bytes, **extra: Any) -> Tx:
        return txs.sbtc_transfer(payers[payer], MERCHANT, 7, memo=memo, **extra)

    def stx(payer: int, memo: bytes) -> Tx:
        return txs.stx_transfer(payers[payer], MERCHANT, 7, memo)

    paid, other, routed, fake = sbtc(0, b"1"), stx(1, b"2"), sbtc(2, b"3"), sbtc(1, b"1")
    failing = [sbtc(n, b"x", status="abort_by_response") for n in (3, 4, 5)]
    stale, expensive = sbtc(2, b"7"), stx(2, b"8")
    cheap, dearer = sbtc(3, b"9", nonce=1, fee=1), sbtc(3, b"9", nonce=1, fee=2)
    orphaned, otherwise, unseen = sbtc(4, b"10"), sbtc(5, b"11"), sbtc(5, b"12")
    after, last = stx(1, b"13"), [stx(0, b"%d" % n) for n in range(3)]
    ids = {
        "0xbf140805": paid,
        "0x6ba3576c": other,
        "0x6961a27a": routed,
        "0xebb32b02": fake,
        "0x2d4bf632": stale,
        "0xbb3a5704": expensive,
        "0x080dfdfb": cheap,
        "0xc01e14b2": dearer,
        "0xc50d943b": orphaned,
        "0x2843f361": otherwise,
        "0x10342b64": unseen,
        "0xffc90303": after,
        "0x46eaa263": last[0],
        "0x1d9f392e": last[1],
        "0xa59c14f9": last[2],
    }
    heard: list[Any] = []
    async with connected(api) as [client]:

        async def watch(tx: Tx) -> None:
            heard.extend(await client.heard())
            await client.subscribe("tx_update", tx_id=tx.tx_id)

        async def beat() -> None:
            heard.extend(await client.heard())
            await client.beat()

        for event in ("block", "mempool", "microblock"):
            await client.subscribe(event)
        await client.subscribe("address_tx_update", address=MERCHANT)
        chain.mine(n=2)
        chain.add_pending(paid)
        chain.add_pending(other)
        await watch(paid)
        await beat()
        # Block 4: the fake token's transfer is announced to the merchant, aborted calls only to their
        # senders.
        chain.mine([paid, other, routed, *failing, fake], burn=True)
        await beat()
        for tx in (stale, expensive, cheap):
            chain.add_pending(tx)
        await watch(stale)
        await watch(cheap)
        chain.add_pending(dearer)
        await beat()
        chain.drop_pending(stale.tx_id)
        chain.drop_pending(expensive.tx_id, "too_expensive")
        chain.add_pending(orphaned)
        await watch(orphaned)
        chain.mine([orphaned, otherwise, dearer])
        await watch(otherwise)
        branch = chain.fork(4)
        branch.mine([otherwise.failed()])
        await beat()
        branch.mine([after])
        chain.mine([unseen])
        chain.fork(6).mine(n=2)
        await beat()
        chain.mine([orphaned, unseen], burn=True)
        for tx in last:
            chain.mine([tx])
        chain.fork(9).mine(n=4)
        heard.extend(await client.heard())

    theirs = [line["msg"] for line in recorded("ws-messages") if "method" in line.get("msg", {})]
    theirs = [m for m in theirs if m["method"] in ("block", "mempool", "tx_update", "address_tx_update")]
    labels = {tx.tx_id: label for label, tx in ids.items()}
    assert [previous_events(m, labels) for m in heard] == [previous_events(m, {}) for m in theirs]
    for mine, original in zip(heard, theirs, strict=True):
        assert_same_shape(mine, original)


def previous_events(message: Any, labels: dict[str, str]) -> tuple[Any, ...]:
    params = message["params"]
    if message["method"] == "block":
        return "block", params["height"], params["canonical"]
    tx_id = params["tx_id"]
    return message["method"], labels.get(tx_id, tx_id[:10]), params["tx_status"]


def assert_same_shape(ours: Any, theirs: Any) -> None:
    if ours is None or theirs is None:
        return
    assert type(ours) is type(theirs)
    if isinstance(ours, dict) and ours.get("function_name", "transfer") == "transfer":
        assert ours.keys() == theirs.keys()
        for key in ours:
            assert_same_shape(ours[key], theirs[key])
    if isinstance(ours, list) and ours and theirs:
        assert_same_shape(ours[0], theirs[0])


async def test_a_client_that_misses_a_pong_is_unsubscribed_while_its_socket_stays_open(
    api: ScriptedApi,
) -> None:
    async with connected(api, 2) as [good, silent]:
        silent.answers = False
        await good.subscribe("block")
        await silent.subscribe("block")
        api.chain.mine()
        assert len(await silent.heard()) == len(await good.heard()) == 1
        await good.beat()
        await good.beat()
        api.chain.mine()
        assert len(await good.heard()) == 1
        assert await silent.heard() == []
        assert silent.pings == 1
        assert not silent.socket.closed
        assert await silent.subscribe("block") == {"jsonrpc": "2.0", "id": 1, "result": {}}
        api.chain.mine()
        assert len(await silent.heard()) == 1


async def test_of_several_addresses_on_one_socket_only_the_first_survives_a_heartbeat(
    api: ScriptedApi,
) -> None:
    addresses = principals(3)
    payer = principal("payer")
    async with connected(api, 2) as [many, one]:
        for address in addresses:
            await many.subscribe("address_tx_update", address=address)
        await one.subscribe("address_tx_update", address=addresses[2])

        async def pay(label: str) -> list[list[str]]:
            api.chain.mine([txs.sbtc_transfer(payer, address, 1, label=label) for address in addresses])
            return [sorted(m["params"]["address"] for m in await client.heard()) for client in (many, one)]

        assert await pay("before") == [sorted(addresses), [addresses[2]]]
        await api.heartbeat()
        assert await many.heard() == await one.heard() == []
        assert await pay("after") == [[addresses[0]], [addresses[2]]]


async def test_a_restarting_server_says_nothing_and_leaves_the_socket_open(api: ScriptedApi) -> None:
    async with connected(api) as [client]:
        await client.subscribe("block")
        api.restart_silently()
        api.chain.mine()
        await client.say(SENTINEL)
        await api.announced()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await client.socket.receive()
        async with connected(api) as [fresh]:
            assert await fresh.subscribe("block") == {"jsonrpc": "2.0", "id": 1, "result": {}}


async def test_unsubscribing_ends_the_messages_and_echoes_the_topic(api: ScriptedApi) -> None:
    async with connected(api) as [client]:
        await client.subscribe("address_tx_update", address=MERCHANT)
        params = {"event": "address_tx_update", "address": MERCHANT}
        await client.say({"jsonrpc": "2.0", "id": 5, "method": "unsubscribe", "params": params})
        assert await client.hear() == {"jsonrpc": "2.0", "id": 5, "result": {"address": MERCHANT}}
        api.chain.mine([txs.stx_transfer(principal("payer"), MERCHANT, 1)])
        assert await client.heard() == []
        assert api.hub.subscribers("address_tx_update", MERCHANT) == 0


async def test_batches_are_answered_one_by_one_and_messages_without_id_not_at_all(api: ScriptedApi) -> None:
    async with connected(api) as [client]:
        request = {"jsonrpc": "2.0", "method": "subscribe", "params": {"event": "block"}}
        await client.say([{**request, "id": 1}, request, {**request, "id": 2}, 7])
        await client.say({**request, "id": 3, "params": {"event": "tx_update", "tx_id": "abc"}})
        replies = await client.heard()
        assert [reply["id"] for reply in replies] == [1, 2, None, 3]
        assert [reply.get("error", {}).get("code") for reply in replies] == [None, None, -32600, -32602]


async def test_a_lagging_or_frozen_server_announces_nothing(api: ScriptedApi) -> None:
    async with connected(api) as [client]:
        await client.subscribe("block")
        api.lag(1)
        api.chain.mine()
        assert await client.heard() == []
        api.lag(0)
        api.freeze()
        api.chain.mine()
        assert await client.heard() == []
        api.thaw()
        api.chain.mine()
        assert [m["params"]["height"] for m in await client.heard()] == [4]


async def test_pings_come_by_themselves_at_the_interval() -> None:
    async with ScriptedApi(ScriptedChain(), ping_interval=0.01) as api, connected(api) as [client]:
        await client.subscribe("block")
        async with asyncio.timeout(5):
            assert (await client.socket.receive()).type is aiohttp.WSMsgType.PING


async def test_stopping_closes_the_sockets(api: ScriptedApi) -> None:
    async with connected(api) as [client]:
        await client.subscribe("block")
        await api.stop()
        async with asyncio.timeout(5):
            message = await client.socket.receive()
        assert message.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.CLOSING)
        assert api.hub.sockets == 0
