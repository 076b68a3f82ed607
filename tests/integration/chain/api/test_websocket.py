"""The WebSocket against the scripted API and the recorded oddities of the real one, on a fake clock."""

import asyncio
import json
from pathlib import Path
from typing import Any

from websockets.asyncio.server import ServerConnection

from chain.testing import ScriptedApi, ScriptedChain
from tests.integration.chain.api.websocket_fixture import answer, block, subscription, talking, waking

DATA = Path(__file__).parents[3] / "data" / "stacks-api"


def recorded(name: str) -> list[Any]:
    return [json.loads(line) for line in (DATA / f"{name}.jsonl").read_text().splitlines()]


def scripted() -> ScriptedApi:
    return ScriptedApi(ScriptedChain(height=1), ping_interval=None)


async def test_an_opened_socket_makes_one_poll_and_then_one_for_each_block() -> None:
    """The first poll catches up with blocks that were not announced."""
    async with scripted() as api, waking(api.url) as alarm:
        await alarm.called(1)
        assert alarm.websocket.state(api.url) == "open"
        api.chain.mine()
        await alarm.called(2)
        api.chain.mine(n=3)
        await alarm.called(5)


async def test_it_subscribes_to_blocks_only_and_once_so_that_heartbeats_leave_it_alone() -> None:
    """Of several subscriptions of a kind on one socket only the first survives (ws-multi-subscription)."""
    socket_a = [
        line for line in recorded("ws-multi-subscription") if line.get("socket", "").startswith("A(3")
    ]
    before, after = (
        [
            line["address"]
            for line in socket_a
            if line.get("method") and (line["at_ms"] < 1795199447933) is early
        ]
        for early in (True, False)
    )
    assert (len(before), len(after)) == (3, 1), "the recording shows the oddity"
    async with scripted() as api, waking(api.url) as alarm:
        await alarm.open()
        for _ in range(4):
            await api.heartbeat()
            await alarm.until(lambda: all(api.hub._subscriptions["block"].alive.values()))
        assert api.hub.subscribers("block") == 1
        assert api.hub.sockets == 1
        assert sum(api.hub.subscribers(event) for event in ("mempool", "microblock", "tx_update")) == 0


async def test_everything_a_real_server_says_wakes_it_once_for_each_block_only() -> None:
    said = [
        line["msg"]
        for line in recorded("ws-messages")
        if line.get("dir") == "server->client" and "msg" in line
    ]
    blocks = [message for message in said if message.get("method") == "block"]
    assert len(blocks) > 10
    done = asyncio.Event()

    async def talk(socket: ServerConnection) -> None:
        await answer(socket, await subscription(socket))
        for message in said:
            await socket.send(json.dumps(message))
        done.set()
        await socket.wait_closed()

    async with talking(talk) as url, waking(url) as alarm:
        await done.wait()
        await alarm.called(1 + len(blocks))
        assert alarm.state == "open"


async def test_a_subscription_that_a_missed_pong_took_is_cured_by_a_new_socket() -> None:
    """ws-missed-pong: blocks stop, the socket stays open."""
    lines = [line for line in recorded("ws-missed-pong") if line.get("socket") == "never answers pings"]
    story = [
        line.get("method") or line.get("frame") or ("close" if "close" in line else "reply") for line in lines
    ]
    assert story == ["reply", "block", "ping", "reply", "block", "ping", "close"]
    missed = 21
    assert missed not in [line.get("height") for line in lines]
    sockets = 0

    async def talk(socket: ServerConnection) -> None:
        nonlocal sockets
        sockets += 1
        await answer(socket, await subscription(socket))
        await block(socket, 20 if sockets == 1 else 23)
        await socket.wait_closed()

    async with talking(talk) as url, waking(url) as alarm:
        alarm.websocket.note_tip(19)
        await alarm.called(2)
        alarm.websocket.note_tip(20)
        alarm.websocket.note_tip(missed)
        assert alarm.state == "open"
        alarm.websocket.note_tip(22)
        await alarm.lost("it stayed silent while the chain moved")
        await alarm.time.advance(1)
        await alarm.called(4)
        assert sockets == 2


async def test_the_scripted_servers_missed_pong_is_cured_too() -> None:
    """Also on a slow chain: the next block does not arrive."""
    async with scripted() as api, waking(api.url) as alarm:
        await alarm.called(1)
        alarm.websocket.note_tip(api.chain.tip.height)
        await asyncio.gather(api.heartbeat(), api.heartbeat())
        assert api.hub.subscribers("block") == 0
        alarm.websocket.note_tip(api.chain.mine().height)
        await alarm.time.advance(60)
        await alarm.lost("it stayed silent while the chain moved")
        await alarm.time.advance(1)
        await alarm.called(2)
        await alarm.until(lambda: (api.hub.subscribers("block"), api.hub.sockets) == (1, 1))
        api.chain.mine()
        await alarm.called(3)


async def test_a_server_that_restarted_without_a_word_is_left_at_the_second_block_that_a_poll_finds() -> None:
    """ws-server-restart: no close frame, no data on the old socket."""
    lines = recorded("ws-server-restart")
    assert [("msg" in line, "close" in line) for line in lines] == [(False, False), (True, False)]
    async with scripted() as api, waking(api.url) as alarm:
        await alarm.called(1)
        alarm.websocket.note_tip(api.chain.tip.height)
        api.restart_silently()
        alarm.websocket.note_tip(api.chain.mine().height)
        assert alarm.state == "open"
        alarm.websocket.note_tip(api.chain.mine().height)
        await alarm.lost("it stayed silent while the chain moved")
        await alarm.time.advance(1)
        await alarm.called(2)
        assert alarm.websocket.is_open
        api.chain.mine()
        await alarm.called(3)


async def test_a_socket_that_answers_but_never_tells_is_not_opened_again_and_again() -> None:
    async def talk(socket: ServerConnection) -> None:
        while True:
            await answer(socket, await subscription(socket))

    async with talking(talk) as url, waking(url) as alarm:
        height = 4
        for opened in range(1, 6):
            await alarm.called(opened)
            for _ in range(3):
                height += 1
                alarm.websocket.note_tip(height)
            await alarm.time.advance(await alarm.lost("it stayed silent while the chain moved"))
        assert alarm.pauses == [1, 2, 4, 8, 16]


async def test_a_quiet_chain_keeps_its_socket_until_the_hour_and_then_gets_a_fresh_one() -> None:
    async with scripted() as api, waking(api.url) as alarm:
        await alarm.called(1)
        alarm.websocket.note_tip(api.chain.tip.height)
        await alarm.time.advance(3590)
        assert (api.counts["ws"], alarm.calls) == (1, 1)
        await alarm.time.advance(10)
        await alarm.called(2)
        assert api.counts["ws"] == 2
        assert alarm.state == "open"
        api.chain.mine()
        await alarm.called(3)
        await alarm.until(lambda: api.hub.sockets == 1)


async def test_a_server_that_is_away_is_tried_again_ever_more_slowly_up_to_five_minutes() -> None:
    async with scripted() as api:
        api.faults.fail(502, route="ws", times=None)
        async with waking(api.url) as alarm:
            for _ in range(11):
                await alarm.time.advance(await alarm.lost("HTTP 502 instead of a socket"))
            assert alarm.pauses[:11] == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]
            pause = await alarm.lost("HTTP 502 instead of a socket")
            assert alarm.calls == 0
            api.faults.clear()
            await alarm.time.advance(pause)
            await alarm.called(1)


async def test_a_good_socket_that_is_closed_is_opened_again_soon() -> None:
    async with scripted() as api, waking(api.url) as alarm:
        for round_number in range(1, 4):
            await alarm.called(round_number)
            await alarm.time.advance(60)
            await api.hub.close()
            assert await alarm.lost() == 1
            await alarm.time.advance(1)


async def test_a_server_that_confirms_and_closes_at_once_is_not_hammered() -> None:
    async def talk(socket: ServerConnection) -> None:
        await answer(socket, await subscription(socket))

    async with talking(talk) as url, waking(url) as alarm:
        for _ in range(5):
            await alarm.time.advance(await alarm.lost())
        assert alarm.pauses[:5] == [1, 2, 4, 8, 16]


async def test_after_a_failure_the_next_source_is_tried() -> None:
    async with scripted() as broken, scripted() as good:
        broken.faults.fail(503, route="ws", times=None)
        async with waking(broken.url, good.url) as alarm:
            await alarm.lost("HTTP 503")
            await alarm.time.advance(1)
            await alarm.called(1)
            assert alarm.websocket.state(good.url) == "open"
            assert alarm.websocket.state(broken.url) is None


async def test_the_key_of_a_source_is_sent_with_the_handshake_and_to_no_other_source() -> None:
    async with scripted() as broken, scripted() as good:
        broken.faults.fail(503, route="ws", times=None)
        keys = {broken.url: "secret", good.url: None}
        async with waking(broken.url, good.url, api_key=keys.get) as alarm:
            await alarm.lost("HTTP 503")
            await alarm.time.advance(1)
            await alarm.called(1)
        assert [request.headers.get("x-api-key") for request in broken.requests] == ["secret"]
        assert [request.headers.get("x-api-key") for request in good.requests] == [None]


async def test_the_key_is_sent_with_the_handshake() -> None:
    async with scripted() as api, waking(api.url, api_key=lambda _: "secret", user_agent="test/1") as alarm:
        await alarm.open()
        [request] = [request for request in api.requests if request.route == "ws"]
        assert request.headers["x-api-key"] == "secret"
        assert request.headers["user-agent"] == "test/1"
        assert "sec-websocket-extensions" not in request.headers
