"""The real ``reindex``, in a process of its own, beside the real daemon."""

import asyncio
import signal
import sys
import time
from typing import Any

import pytest
from sqlalchemy import delete

from chain.testing import principal, txs
from chain.testing.tx import Tx
from tests import harness
from tests.deployment import Deployment
from watcher.config.settings import Settings
from watcher.services import status as status_service
from watcher.store.schema import attempt, stray, transfer

PAYER = principal("payer")

pytestmark = pytest.mark.usefixtures("backend")


def pay(intent: dict[str, Any], label: str = "") -> Tx:
    memo = intent["pay"]["memo"].encode()
    return txs.sbtc_transfer(PAYER, intent["recipient"], int(intent["amount"]), memo, label=label)


def lose_rows(deployment: Deployment) -> None:
    """Delete the rows that come from the chain, while the daemon runs."""
    database = harness.Database(deployment.environment["SBTC_WATCHER_DATABASE_URL"])
    with database.begin() as connection:
        for table in (stray, transfer, attempt):
            connection.execute(delete(table))
    database.close()


async def create(deployment: Deployment, merchant: str, *more: str) -> dict[str, Any]:
    made: dict[str, Any] = await deployment.json(
        "intents", "create", "--merchant", merchant, "--amount", "50000", *more
    )
    return made


async def status_until(deployment: Deployment, wanted: str) -> dict[str, Any]:
    """Return the status document once its state is ``wanted``."""
    database = harness.Database(deployment.environment["SBTC_WATCHER_DATABASE_URL"])
    try:
        async with asyncio.timeout(30):
            while True:
                document = status_service.status(database, Settings(), now=time.time())
                if document["state"] == wanted:
                    return document
                await asyncio.sleep(0.05)
    finally:
        database.close()


async def test_lost_payments_are_found_beside_a_running_daemon_and_sent_once(deployment: Deployment) -> None:
    """While it reads, the daemon continues to apply blocks and delivers the reindex's events."""
    shop = await deployment.shop()
    await deployment.start()
    await deployment.caught_up()
    lost = await create(deployment, shop["merchant"], "--level", "anchored")
    fresh = await create(deployment, shop["merchant"])
    begin = deployment.chain.tip.height + 1
    deployment.chain.mine([pay(lost)], burn=True)
    deployment.chain.mine(n=120)
    await deployment.caught_up()
    lose_rows(deployment)
    deployment.chain.mine(n=2, burn=True)
    await deployment.caught_up()
    assert (await deployment.json("intents", "show", lost["id"]))["status"] == "pending"
    assert deployment.receiver.arrivals == []

    tried = await deployment.json("reindex", "--from", str(begin), "--dry-run")
    assert [change["after"]["status"] for change in tried["changes"]["intents"]] == ["succeeded"]
    running = asyncio.ensure_future(deployment.json("reindex", "--from", str(begin)))
    deployment.chain.mine([pay(fresh)])
    while not running.done():
        deployment.chain.mine()
        await asyncio.wait({running}, timeout=0.1)
    report = await running
    assert (report["from"], report["found"], report["events"]) == (begin, 1, 1)
    await deployment.receiver.wait_for(2)
    again = await deployment.json("reindex", "--from", str(begin))
    assert (again["found"], again["events"], again["resumed"]) == (0, 0, False)
    await deployment.caught_up()
    notified = [arrival.document["data"]["payment_intent"]["id"] for arrival in deployment.receiver.arrivals]
    assert sorted(notified) == sorted([lost["id"], fresh["id"]])
    assert {arrival.document["type"] for arrival in deployment.receiver.arrivals} == {"payment.succeeded"}
    assert (await deployment.status())["reindex"] is None


async def test_a_run_that_was_killed_goes_on_and_loses_and_doubles_nothing(deployment: Deployment) -> None:
    """SIGKILL inside the second transaction: the first chunk is stored, and the next call does the rest."""
    shop = await deployment.shop()
    await deployment.cli("run", "--once")
    intents = [await create(deployment, shop["merchant"]) for _ in range(2)]
    begin = deployment.chain.tip.height + 1
    for intent in intents:
        deployment.chain.mine([pay(intent)])
        deployment.chain.mine(n=49)
    await deployment.cli("run", "--once")
    assert len(deployment.receiver.arrivals) == 2
    lose_rows(deployment)
    arguments = ("reindex", "--from", str(begin), "--json")
    process = await deployment.start(sys.executable, "-m", "tests.acceptance.dying_reindex", "2", *arguments)
    assert await asyncio.wait_for(process.wait(), 30) == -signal.SIGKILL
    status = await deployment.status()
    assert (status["reindex"]["position"], status["reindex"]["found"]) == (begin + 49, 1)
    report = await deployment.json("reindex", "--from", str(begin))
    assert (report["resumed"], report["blocks"], report["found"], report["events"]) == (True, 100, 2, 0)
    shown = (await deployment.json("intents", "list"))["data"]
    assert [(one["status"], one["amount_received"]) for one in shown] == [("succeeded", "50000")] * 2
    assert len((await deployment.json("deliveries", "list"))["data"]) == 2


async def test_a_deep_reorg_halts_the_daemon_until_an_operator_accepts_it(deployment: Deployment) -> None:
    """The operator runs the command that ``status`` hints at; the daemon continues without a restart."""
    shop = await deployment.shop(events="payment.succeeded,payment.attention")
    daemon = await deployment.start()
    await deployment.caught_up()
    fork = deployment.chain.tip.height
    intent = await create(deployment, shop["merchant"])
    deployment.chain.mine([pay(intent)], n=10, burn=True)
    await deployment.receiver.wait_for(1)
    branch = deployment.chain.fork(fork)
    branch.mine(n=12, burn=True)
    branch.promote()
    halted = (await status_until(deployment, "halted"))["halted"]
    assert halted["code"] == "reorg_too_deep"
    assert f"reindex --from {fork} --accept-reorg --reason" in halted["hint"]
    await deployment.cli("reindex", "--from", str(fork), code=3)
    accepted = await deployment.json(
        "reindex", "--from", str(fork), "--accept-reorg", "--reason", "explorers agree"
    )
    assert (accepted["accepted"], accepted["fork"]["height"]) == (True, fork)
    deployment.chain.mine(n=2)
    await deployment.caught_up()
    assert (await status_until(deployment, "ok"))["halted"] is None
    _, attention = await deployment.receiver.wait_for(2)
    assert (attention.document["type"], attention.document["data"]["reason"]) == (
        "payment.attention",
        "reorged",
    )
    assert daemon.returncode is None
