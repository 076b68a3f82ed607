"""The real ``reindex``, in a process of its own, beside the real daemon."""

import asyncio
import signal
import sys
import time
from typing import Any

import pytest
from sqlalchemy import delete

from chain.testing import principal, txs
from tests import harness
from tests.acceptance.conftest import Town
from watcher.config.settings import Settings
from watcher.services import queries
from watcher.store.schema import attempt, stray, transfer

PAYER = principal("payer")

pytestmark = pytest.mark.usefixtures("backend")


def pay(intent: dict[str, Any], label: str = "") -> txs.Tx:
    memo = intent["pay"]["memo"].encode()
    return txs.sbtc_transfer(PAYER, intent["recipient"], int(intent["amount"]), memo, label=label)


def lose_rows(town: Town) -> None:
    """Empty the tables of what the chain said, behind the daemon's back."""
    database = harness.Database(town.environment["SBTC_WATCHER_DATABASE_URL"])
    with database.begin() as connection:
        for table in (stray, transfer, attempt):
            connection.execute(delete(table))
    database.close()


async def create(town: Town, merchant: str, *more: str) -> dict[str, Any]:
    made: dict[str, Any] = await town.json(
        "intents", "create", "--merchant", merchant, "--amount", "50000", *more
    )
    return made


async def status_until(town: Town, wanted: str) -> dict[str, Any]:
    """Return the status document once its state is ``wanted``."""
    database = harness.Database(town.environment["SBTC_WATCHER_DATABASE_URL"])
    try:
        async with asyncio.timeout(30):
            while True:
                document = queries.status(database, Settings(), now=time.time())
                if document["state"] == wanted:
                    return document
                await asyncio.sleep(0.05)
    finally:
        database.close()


async def test_lost_payments_are_found_beside_a_running_daemon_and_told_once(town: Town) -> None:
    """While it reads, the daemon goes on applying blocks and delivers what the reindex found."""
    shop = await town.shop()
    await town.start()
    await town.caught_up()
    lost = await create(town, shop["merchant"], "--level", "anchored")
    fresh = await create(town, shop["merchant"])
    begin = town.chain.tip.height + 1
    town.chain.mine([pay(lost)], burn=True)
    town.chain.mine(n=120)
    await town.caught_up()
    lose_rows(town)
    town.chain.mine(n=2, burn=True)
    await town.caught_up()
    assert (await town.json("intents", "show", lost["id"]))["status"] == "pending"
    assert town.receiver.arrivals == []

    rehearsed = await town.json("reindex", "--from", str(begin), "--dry-run")
    assert [change["after"]["status"] for change in rehearsed["changes"]["intents"]] == ["succeeded"]
    running = asyncio.ensure_future(town.json("reindex", "--from", str(begin)))
    town.chain.mine([pay(fresh)])
    while not running.done():
        town.chain.mine()
        await asyncio.wait({running}, timeout=0.1)
    report = await running
    assert (report["from"], report["found"], report["events"]) == (begin, 1, 1)
    await town.receiver.wait_for(2)
    again = await town.json("reindex", "--from", str(begin))
    assert (again["found"], again["events"], again["resumed"]) == (0, 0, False)
    await town.caught_up()
    told = [arrival.document["data"]["payment_intent"]["id"] for arrival in town.receiver.arrivals]
    assert sorted(told) == sorted([lost["id"], fresh["id"]])
    assert {arrival.document["type"] for arrival in town.receiver.arrivals} == {"payment.succeeded"}
    assert (await town.status())["reindex"] is None


async def test_a_run_that_was_killed_goes_on_and_loses_and_doubles_nothing(town: Town) -> None:
    """SIGKILL inside the second transaction: one chunk is there, the second is not, the next call does the rest."""
    shop = await town.shop()
    await town.cli("run", "--once")
    intents = [await create(town, shop["merchant"]) for _ in range(2)]
    begin = town.chain.tip.height + 1
    for intent in intents:
        town.chain.mine([pay(intent)])
        town.chain.mine(n=49)
    await town.cli("run", "--once")
    assert len(town.receiver.arrivals) == 2
    lose_rows(town)
    arguments = ("reindex", "--from", str(begin), "--json")
    process = await town.start(sys.executable, "-m", "tests.acceptance.dying_reindex", "2", *arguments)
    assert await asyncio.wait_for(process.wait(), 30) == -signal.SIGKILL
    status = await town.status()
    assert (status["reindex"]["position"], status["reindex"]["found"]) == (begin + 49, 1)
    report = await town.json("reindex", "--from", str(begin))
    assert (report["resumed"], report["blocks"], report["found"], report["events"]) == (True, 100, 2, 0)
    shown = (await town.json("intents", "list"))["data"]
    assert [(one["status"], one["amount_received"]) for one in shown] == [("succeeded", "50000")] * 2
    assert len((await town.json("deliveries", "list"))["data"]) == 2


async def test_a_deep_reorg_halts_the_daemon_until_a_person_accepts_it(town: Town) -> None:
    """The hint in ``status`` is the command that a person gives; the daemon goes on without a restart."""
    shop = await town.shop(events="payment.succeeded,payment.attention")
    daemon = await town.start()
    await town.caught_up()
    fork = town.chain.tip.height
    intent = await create(town, shop["merchant"])
    town.chain.mine([pay(intent)], n=10, burn=True)
    await town.receiver.wait_for(1)
    branch = town.chain.fork(fork)
    branch.mine(n=12, burn=True)
    branch.promote()
    halted = (await status_until(town, "halted"))["halted"]
    assert halted["code"] == "reorg_too_deep"
    assert f"reindex --from {fork} --accept-reorg --reason" in halted["hint"]
    await town.cli("reindex", "--from", str(fork), code=3)
    accepted = await town.json(
        "reindex", "--from", str(fork), "--accept-reorg", "--reason", "explorers agree"
    )
    assert (accepted["accepted"], accepted["fork"]["height"]) == (True, fork)
    town.chain.mine(n=2)
    await town.caught_up()
    assert (await status_until(town, "ok"))["halted"] is None
    _, attention = await town.receiver.wait_for(2)
    assert (attention.document["type"], attention.document["data"]["reason"]) == (
        "payment.attention",
        "reorged",
    )
    assert daemon.returncode is None
