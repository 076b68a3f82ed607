"""The real program polls when the websocket announces a block, and shows pending payments."""

import asyncio
import json

import pytest

from chain.testing import ScriptedApi, principal, txs
from tests.deployment import Deployment

pytestmark = pytest.mark.usefixtures("backend")


async def test_a_block_is_read_at_once_and_a_pending_payment_is_shown_before_it(
    deployment: Deployment,
) -> None:
    """Polls are a minute apart: without the websocket, block and webhook would come too late."""
    deployment.environment |= {
        "SBTC_WATCHER_POLL_INTERVAL": "60s",
        "SBTC_WATCHER_MEMPOOL_INTERVAL": "100ms",
        "SBTC_WATCHER_DEFAULT_TTL": "1h",
    }
    shop = await deployment.shop()
    await deployment.start()
    await deployment.caught_up()
    intent = await deployment.json(
        *("intents", "create", "--merchant", shop["merchant"], "--amount", "50000", "--level", "included")
    )
    payment = txs.sbtc_transfer(
        principal("payer"), intent["recipient"], 50_000, intent["pay"]["memo"].encode()
    )
    deployment.chain.add_pending(payment)
    async with asyncio.timeout(20):
        while not (shown := await deployment.json("intents", "show", intent["id"]))["in_flight"]:
            assert shown["status"] == "pending"
    assert (await deployment.json("status"))["sources"][0]["websocket"] == "open"
    deployment.chain.mine([payment])
    [arrival] = await deployment.receiver.wait_for(1)
    assert arrival.document["type"] == "payment.succeeded"
    assert arrival.document["data"]["payment_intent"]["in_flight"] is False


async def test_a_payment_mined_right_after_the_first_source_died_is_sent_long_before_a_second_poll(
    deployment: Deployment,
) -> None:
    """Polls are a minute apart. The websocket fails over to the next source, and so does its poll."""
    async with ScriptedApi(deployment.chain) as second:
        deployment.environment |= {
            "SBTC_WATCHER_API_URLS": f"{deployment.api.url},{second.url}",
            "SBTC_WATCHER_POLL_INTERVAL": "60s",
            "SBTC_WATCHER_DEFAULT_TTL": "1h",
            "SBTC_WATCHER_LOG_FORMAT": "json",
        }
        shop = await deployment.shop()
        await deployment.start()
        await deployment.caught_up()
        intent = await deployment.json(
            *("intents", "create", "--merchant", shop["merchant"], "--amount", "50000", "--level", "included")
        )
        await deployment.api.stop()
        memo = intent["pay"]["memo"].encode()
        deployment.chain.mine([txs.sbtc_transfer(principal("payer"), intent["recipient"], 50_000, memo)])
        [arrival] = await deployment.receiver.wait_for(1)
        assert arrival.document["type"] == "payment.succeeded"
        first, other = json.loads(await deployment.cli("status", "--json", code=1))["sources"]
        assert (first["state"], other["state"]) == ("failing", "ok")
    lines = [
        json.loads(line)
        for line in (deployment.folder / "daemon.log").read_text().splitlines()
        if line[:1] == "{"
    ]
    replaced = [line for line in lines if line["event"] == "source.replaced"]
    assert [(line["source"], line["by"]) for line in replaced] == [(deployment.api.url, second.url)]
    assert [line for line in lines if line["event"] == "source.failed"] == []
