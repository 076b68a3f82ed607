"""The real program, in processes of its own, against a scripted API and a merchant's receiver."""

import asyncio
import re
import signal
import sys
import time
from typing import Any

import pytest
import stripe
from standardwebhooks import Webhook

from chain.testing import principal, txs
from chain.testing.tx import Tx
from notifier.testing import Answer
from tests import harness
from tests.acceptance.dying_daemon import POINTS
from tests.deployment import PROGRAM, Deployment

PAYER = principal("payer")
ON_BOTH = pytest.mark.usefixtures("backend")
RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def pay(intent: dict[str, Any], amount: int | None = None) -> Tx:
    return txs.sbtc_transfer(
        PAYER, intent["recipient"], amount or int(intent["amount"]), intent["pay"]["memo"].encode()
    )


@ON_BOTH
async def test_an_intent_made_by_cli_and_paid_on_chain_is_sent_verifiably_with_every_field(
    deployment: Deployment,
) -> None:
    """The whole path: CLI, chain, depth, webhook; verified by two public libraries."""
    shop = await deployment.shop(events="payment.processing,payment.succeeded")
    daemon = await deployment.start()
    await deployment.caught_up()
    intent = await deployment.json(
        *("intents", "create", "--merchant", shop["merchant"], "--amount", "50000", "--level", "anchored"),
        *("--metadata", "order_id=12345"),
    )
    deployment.chain.mine([pay(intent)], burn=True)
    [processing] = await deployment.receiver.wait_for(1)
    assert processing.document["type"] == "payment.processing"
    deployment.chain.mine(burn=True)
    await deployment.caught_up()
    assert len(deployment.receiver.arrivals) == 1, "sent before the required depth"
    deployment.chain.mine(burn=True)
    _, succeeded = await deployment.receiver.wait_for(2)
    assert succeeded.refused is None

    document = Webhook(shop["secret"]).verify(succeeded.body, succeeded.headers)
    stripe.WebhookSignature.verify_header(
        succeeded.body.decode(), succeeded.headers["x-webhook-signature"], shop["secret"], tolerance=300
    )
    assert succeeded.headers["content-type"] == "application/json"
    assert succeeded.headers["user-agent"].startswith("sbtc-watcher/")
    assert succeeded.headers["webhook-id"] == document["id"]
    assert set(document) == {
        *("id", "type", "timestamp", "api_version", "sequence", "livemode", "test", "data")
    }
    assert document["type"] == "payment.succeeded"
    assert document["sequence"] > processing.document["sequence"]
    data = document["data"]
    assert set(data) == {"payment_intent", "previous_status", "reason", "supersedes", "chain"}
    assert (data["previous_status"], data["reason"], data["supersedes"]) == ("processing", None, None)
    assert data["chain"] == {
        "network": "mainnet",
        "tip_height": deployment.chain.tip.height,
        "tip_hash": deployment.chain.tip.hash,
        "burn_block_height": deployment.chain.tip.burn_height,
    }
    sent = data["payment_intent"]
    fields = """
        id object merchant status flags in_flight amount asset asset_identifier recipient payer reference
        terms_hash match tolerance amount_received amount_missing amount_over amount_refunded confirmations
        expires_at deadline late_policy as_of created_at updated_at succeeded_at metadata transfers
        transfers_total attempts attempts_total refunds refunds_total pay timeline timeline_total
        network livemode description checkout_url success_url cancel_url fiat payment_link
    """
    assert set(sent) == set(fields.split())
    assert sent["confirmations"] == {
        "level": "anchored",
        "required": {"stacks": 1, "bitcoin": 2},
        "reached": {"stacks": 3, "bitcoin": 2},
    }
    assert (sent["status"], sent["amount_received"], sent["amount_missing"]) == ("succeeded", "50000", "0")
    assert sent["metadata"] == {"order_id": "12345"}
    [transfer] = sent["transfers"]
    assert set(transfer) == {
        "tx_id",
        "event_index",
        "status",
        "sender",
        "amount",
        "assigned",
        "verified_by",
        "block_height",
        "block_hash",
        "block_time",
        "burn_block_height",
        "confirmations",
    }
    assert transfer["sender"] == PAYER
    assert sent["pay"]["contract"]["contract_id"] == harness.PAYMENT_CONTRACT
    assert [argument["name"] for argument in sent["pay"]["contract"]["arguments"]] == [
        *("token", "merchant", "amount", "expires-at", "salt")
    ]
    for key in ("expires_at", "deadline", "created_at", "updated_at", "succeeded_at"):
        assert RFC3339.fullmatch(sent[key]), key
    shown = await deployment.json("intents", "show", intent["id"])
    assert (shown["status"], shown["succeeded_at"]) == ("succeeded", sent["succeeded_at"])
    assert [entry["status"] for entry in shown["timeline"]] == ["pending", "processing", "succeeded"]
    status = await deployment.json("status")
    assert (status["state"], status["intents"].get("succeeded"), status["outbox"]["pending"]) == ("ok", 1, 0)

    began = time.monotonic()
    daemon.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(daemon.wait(), 10) == 0
    assert time.monotonic() - began < 10


@pytest.mark.parametrize(
    ("backend", "point"),
    [*(("sqlite", point) for point in POINTS), ("postgresql", "before the commit")],
    indirect=["backend"],
)
@ON_BOTH
async def test_a_kill_in_the_middle_of_a_step_loses_and_doubles_nothing(
    deployment: Deployment, point: str
) -> None:
    """SIGKILL inside the open transaction; the next start repeats the step, the event is sent once."""
    shop = await deployment.shop()
    armed = deployment.folder / "armed"
    daemon = await deployment.start(sys.executable, "-m", "tests.acceptance.dying_daemon", point, str(armed))
    await deployment.caught_up()
    intent = await deployment.json("intents", "create", "--merchant", shop["merchant"], "--amount", "50000")
    armed.touch()
    deployment.chain.mine([pay(intent)])
    assert await asyncio.wait_for(daemon.wait(), 20) == -signal.SIGKILL
    shown = await deployment.json("intents", "show", intent["id"])
    assert (shown["status"], shown["transfers"]) == ("pending", []), "a torn step was committed"
    await deployment.start()
    await deployment.receiver.wait_for(1)
    deployment.chain.mine()
    await deployment.caught_up()
    events = await deployment.json("events", "list")
    assert sorted(event["type"] for event in events["data"]) == ["payment.created", "payment.succeeded"]
    assert [arrival.document["type"] for arrival in deployment.receiver.arrivals] == ["payment.succeeded"]
    assert deployment.receiver.arrivals[0].refused is None


async def test_a_kill_in_the_middle_of_a_delivery_sends_the_same_event_again(deployment: Deployment) -> None:
    """The daemon dies after the request arrived and before the answer: at least once, under the same id."""
    shop = await deployment.shop()
    daemon = await deployment.start()
    await deployment.caught_up()
    intent = await deployment.json("intents", "create", "--merchant", shop["merchant"], "--amount", "50000")
    never = asyncio.Event()
    deployment.receiver.plan(Answer(gate=never), path="/hook")
    deployment.chain.mine([pay(intent)])
    await deployment.receiver.wait_for(1)
    daemon.kill()
    await daemon.wait()
    await deployment.start()
    first, second = await deployment.receiver.wait_for(2, within=40)
    assert first.id == second.id
    assert first.body == second.body
    assert first.headers["webhook-signature"] != "" != second.headers["webhook-signature"]
    deliveries = await deployment.json("deliveries", "list")
    assert len(deliveries["data"]) == 1


@ON_BOTH
async def test_run_once_catches_up_delivers_and_leaves(deployment: Deployment) -> None:
    """``run --once`` does all work of a daemon in one call; calling it again changes nothing."""
    shop = await deployment.shop()
    await deployment.cli("run", "--once")
    intent = await deployment.json("intents", "create", "--merchant", shop["merchant"], "--amount", "50000")
    deployment.chain.mine([pay(intent)], n=60)
    await deployment.cli("run", "--once")
    assert [arrival.document["type"] for arrival in deployment.receiver.arrivals] == ["payment.succeeded"]
    await deployment.cli("run", "--once")
    assert len(deployment.receiver.arrivals) == 1


async def test_a_second_follower_on_the_same_database_is_refused(deployment: Deployment) -> None:
    """Two followers would fight over one cursor: the second one exits 3 and names the first."""
    daemon = await deployment.start()
    await deployment.caught_up()
    await deployment.cli("run", "--once", code=3)
    assert daemon.returncode is None


async def test_a_source_that_does_not_answer_ends_run_once_with_3_and_moves_nothing(
    deployment: Deployment,
) -> None:
    """Without an API the exit code means unreachable, and the database is untouched."""
    await deployment.cli("run", "--once")
    before = await deployment.json("status")
    deployment.api.faults.fail(503, times=None)
    deployment.chain.mine()
    await deployment.cli("run", "--once", code=3)
    deployment.api.faults.clear()
    await deployment.cli("run", "--once")
    after = await deployment.json("status")
    assert (before["cursor"]["height"], after["cursor"]["height"]) == (
        deployment.chain.tip.height - 1,
        deployment.chain.tip.height,
    )


async def test_run_once_obeys_sigterm_while_an_endpoint_hangs(deployment: Deployment) -> None:
    """Delivering may take long; stopping must not."""
    shop = await deployment.shop(events="payment.created")
    deployment.environment["SBTC_WATCHER_WEBHOOK_TIMEOUT"] = "30s"
    deployment.receiver.always(Answer(gate=asyncio.Event()), path="/hook")
    await deployment.cli("run", "--once")
    await deployment.json("intents", "create", "--merchant", shop["merchant"], "--amount", "50000")
    process = await deployment.start(*PROGRAM, "run", "--once")
    await deployment.receiver.wait_for(1)
    process.send_signal(signal.SIGTERM)
    await asyncio.wait_for(process.wait(), 10)
