"""Health reports when a part has died, was never started, or cannot write: real processes and signals."""

import asyncio
import json
import sqlite3
import time
from typing import Any

import httpx
from sqlalchemy import make_url

from chain.testing import principal, txs
from tests import harness
from tests.acceptance.serving import only, samples, until
from tests.deployment import PROGRAM, Deployment

PAYER = principal("payer")


async def status_until(deployment: Deployment, *codes: str, within: float = 30.0) -> dict[str, Any]:
    """Poll the status until it shows these reasons and no others."""
    async with asyncio.timeout(within):
        while True:
            found: dict[str, Any] = json.loads(await deployment.cli("status", "--json", code=None))
            if [reason["code"] for reason in found["reasons"]] == list(codes):
                return found
            await asyncio.sleep(0.2)


async def test_a_daemon_that_was_killed_is_missed(served: Deployment) -> None:
    """It wrote nothing at its end: only missing heartbeats show that it is gone."""
    daemon = await served.start()
    await served.caught_up()
    await status_until(served)
    daemon.kill()
    await daemon.wait()
    found = await status_until(served, "no_follower")
    assert found["state"] == "degraded"


async def test_a_daemon_that_was_stopped_is_missed_at_once(served: Deployment) -> None:
    daemon = await served.start()
    await served.caught_up()
    await status_until(served)
    daemon.terminate()
    assert await asyncio.wait_for(daemon.wait(), 20) == 0
    [reason] = json.loads(await served.cli("status", "--json", code=1))["reasons"]
    assert reason["code"] == "no_follower"


async def test_the_api_beside_a_follower_that_was_killed_is_not_ready(served: Deployment) -> None:
    follower = await served.start(*PROGRAM, "run", "--role", "follower")
    await served.caught_up()
    await served.start(*PROGRAM, "run", "--role", "api,notifier")
    async with httpx.AsyncClient(base_url=await served.url(daemon=1)) as client:
        await until(client, "/readyz", 200)
        follower.kill()
        await follower.wait()
        answer = await until(client, "/readyz", 503, within=30.0)
        assert [reason["code"] for reason in answer.json()["reasons"]] == ["no_follower"]
        await served.start(*PROGRAM, "run", "--role", "follower")
        await until(client, "/readyz", 200)


async def test_due_webhooks_that_no_process_delivers_are_reported(served: Deployment) -> None:
    shop = await served.shop(events="payment.succeeded")
    await served.start(*PROGRAM, "run", "--role", "follower,api")
    await served.caught_up()
    async with httpx.AsyncClient(base_url=await served.url()) as client:
        await until(client, "/readyz", 200)
        paid = await served.json("intents", "create", "--merchant", shop["merchant"], "--amount", "50000")
        served.chain.mine([txs.sbtc_transfer(PAYER, paid["recipient"], 50_000, paid["pay"]["memo"].encode())])
        answer = await until(client, "/readyz", 503, within=60.0)
        assert [reason["code"] for reason in answer.json()["reasons"]] == ["no_notifier"]
        await status_until(served, "no_notifier")
        await served.start(*PROGRAM, "run", "--role", "notifier")
        await served.receiver.wait_for(1)
        await until(client, "/readyz", 200)


async def test_a_database_that_is_locked_from_outside_is_reported_until_it_is_free(
    served: Deployment,
) -> None:
    """The gauges show the lag that the daemon knows of, not the one that it last stored."""
    await served.start()
    await served.caught_up()
    file = make_url(served.environment["SBTC_WATCHER_DATABASE_URL"]).database
    assert file is not None
    async with httpx.AsyncClient(base_url=await served.url(), timeout=30) as client:
        await until(client, "/readyz", 200)
        outside = sqlite3.connect(file, isolation_level=None)
        outside.execute("BEGIN IMMEDIATE")
        for _ in range(30):
            served.chain.mine()
        answer = await until(client, "/readyz", 503, within=30.0)
        assert "not_writable" in [reason["code"] for reason in answer.json()["reasons"]]
        found = samples((await client.get("/metrics")).text)
        assert only(found["writable"]) == 0
        async with asyncio.timeout(30):
            while True:
                if only(samples((await client.get("/metrics")).text)["lag_blocks"]) == 30:
                    break
                await asyncio.sleep(0.2)
        outside.execute("ROLLBACK")
        outside.close()
        await until(client, "/readyz", 200, within=30.0)
        assert only(samples((await client.get("/metrics")).text)["writable"]) == 1
    await served.caught_up()


async def test_a_stop_is_in_order_while_the_database_is_locked_from_outside(served: Deployment) -> None:
    """Waits for the other process's lock end soon, and so does the last heartbeat."""
    daemon = await served.start()
    await served.caught_up()
    file = make_url(served.environment["SBTC_WATCHER_DATABASE_URL"]).database
    assert file is not None
    outside = sqlite3.connect(file, isolation_level=None)
    outside.execute("BEGIN IMMEDIATE")
    served.chain.mine()
    log = served.folder / "daemon.log"
    await harness.until(lambda: "database is locked" in log.read_text())
    daemon.terminate()
    began = time.monotonic()
    assert await asyncio.wait_for(daemon.wait(), 40) == 0
    assert time.monotonic() - began < 10
    outside.close()
    assert "Traceback" not in log.read_text()
