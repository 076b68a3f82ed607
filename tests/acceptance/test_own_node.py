"""The real daemon on a simulated node: posts, kills between store and answer, poison, silence, recordings."""

import asyncio
import json
import signal
import socket
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest

from chain.testing import node_payloads, principal, txs
from chain.testing.node import SimulatedNode
from chain.testing.tx import Tx
from tests import harness
from tests.acceptance.dying_daemon import POST_POINTS
from tests.deployment import PROGRAM, ROOT, Deployment

PAYER = principal("payer")
TOKEN = "a-token-of-the-node"
SIMNET = ROOT / "tests" / "data" / "simnet" / "new_block"


def free_port() -> int:
    """Return a port that is free now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@pytest.fixture
async def node(backend: str, deployment: Deployment) -> AsyncIterator[SimulatedNode]:
    """A node of the deployment's chain, which is its only source, on both databases."""
    observer = f"127.0.0.1:{free_port()}"
    async with SimulatedNode(deployment.chain, observer=observer, token=TOKEN) as made:
        deployment.environment |= {
            "SBTC_WATCHER_NODE_URL": made.url,
            "SBTC_WATCHER_NODE_OBSERVER_BIND": observer,
            "SBTC_WATCHER_NODE_AUTH_TOKEN": TOKEN,
            "SBTC_WATCHER_API_URLS": "[]",
        }
        yield made


def pay(intent: dict[str, Any]) -> Tx:
    return txs.sbtc_transfer(
        PAYER, harness.SHOP, int(intent["amount"]), intent["reference"].encode(), label=intent["id"]
    )


async def order(deployment: Deployment, merchant: str) -> dict[str, Any]:
    return dict(await deployment.json("intents", "create", "--merchant", merchant, "--amount", "50000"))


async def following(deployment: Deployment, *command: str) -> asyncio.subprocess.Process:
    """Start a daemon, and wait until it follows the chain."""
    process = await deployment.start(*command)
    await deployment.caught_up()
    return process


async def test_a_payment_over_an_own_node_reaches_the_merchant(
    node: SimulatedNode, deployment: Deployment
) -> None:
    """No API is asked, no block replayed, and nothing is sent twice."""
    shop = await deployment.shop()
    await following(deployment)
    intent = await order(deployment, shop["merchant"])
    node.requests.clear()
    deployment.chain.mine([pay(intent)])
    [arrived] = await deployment.receiver.wait_for(1)
    assert arrived.document["type"] == "payment.succeeded"
    deployment.chain.mine(n=3)
    await deployment.caught_up()
    assert not [path for path in node.requests if "/replay/" in path]
    assert not deployment.api.requests
    [row] = (await deployment.status())["sources"]
    assert (row["url"], row["state"], row["version"]) == (node.url, "ok", "stacks-node 4.0.2.0.0")


@pytest.mark.parametrize(
    ("backend", "point"),
    [*(("sqlite", point) for point in POST_POINTS), ("postgresql", "before the post is answered")],
    indirect=["backend"],
)
async def test_a_daemon_killed_between_store_and_answer_loses_no_post(
    node: SimulatedNode, deployment: Deployment, point: str
) -> None:
    """The node repeats what was not answered; the payment is told of once."""
    shop = await deployment.shop()
    armed = deployment.folder / "armed"
    dying = (sys.executable, "-m", "tests.acceptance.dying_daemon", point, str(armed))
    daemon = await following(deployment, *dying)
    intent = await order(deployment, shop["merchant"])
    armed.touch()
    paid = deployment.chain.mine([pay(intent)])
    assert await asyncio.wait_for(daemon.wait(), 20) == -signal.SIGKILL
    armed.unlink()
    node.requests.clear()
    await following(deployment, *dying)
    [arrived] = await deployment.receiver.wait_for(1)
    assert arrived.document["data"]["payment_intent"]["transfers"][0]["block_hash"] == paid.hash
    await node.posted(within=20)
    deployment.chain.mine()
    await deployment.caught_up()
    types = Counter(arrival.document["type"] for arrival in deployment.receiver.arrivals)
    assert types == {"payment.succeeded": 1}
    answers = [status for path, status in node.answers if path == "/new_block"]
    assert 0 in answers
    assert answers[-1] == 200


async def test_a_poison_block_stops_neither_the_node_nor_the_payment_in_it(
    node: SimulatedNode, deployment: Deployment
) -> None:
    """It is answered, kept and told of; the block is replayed."""
    shop = await deployment.shop()
    await following(deployment)
    intent = await order(deployment, shop["merchant"])
    for poison in (b"", b"{", b'{"transactions": 7}', b"[" * 50_000, b"\xff" * 1000):
        node.post("/new_block", poison)
    await node.posted()
    node.posts_blocks = False
    deployment.chain.mine([pay(intent)])
    [arrived] = await deployment.receiver.wait_for(1)
    assert arrived.document["type"] == "payment.succeeded"
    [row] = (await deployment.status())["sources"]
    assert row["note"].startswith("posts set aside: 5, the last /new_block: ")
    checked = await deployment.cli("check", code=1)
    assert "posts set aside: 5, the last " in checked


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
async def test_an_api_serves_while_the_node_is_away(node: SimulatedNode, deployment: Deployment) -> None:
    """Failover within one poll, as between two APIs; check names the node's trouble."""
    deployment.environment["SBTC_WATCHER_API_URLS"] = deployment.api.url
    shop = await deployment.shop()
    await following(deployment)
    intent = await order(deployment, shop["merchant"])
    node.failure = 503
    node.observer, node_observer = None, node.observer
    deployment.chain.mine([pay(intent)])
    [arrived] = await deployment.receiver.wait_for(1)
    assert arrived.document["type"] == "payment.succeeded"
    assert f"{node.url}: GET /v2/info: 503" in await deployment.cli("check", code=1)
    node.failure, node.observer = None, node_observer
    checked = await deployment.cli("check", code=None)
    assert f"{node.url}, stacks-node 4.0.2.0.0, tip {deployment.chain.tip.height}" in checked
    assert f"replays blocks, as tried with {deployment.chain.tip.height}" in checked


async def test_two_daemons_of_one_machine_take_turns_at_the_nodes_posts(
    on_postgresql: object, deployment: Deployment
) -> None:
    """The standby takes the address over when the first process is gone: the node waits for an answer."""
    observer = f"127.0.0.1:{free_port()}"
    async with SimulatedNode(deployment.chain, observer=observer) as node:
        deployment.environment |= {
            "SBTC_WATCHER_NODE_URL": node.url,
            "SBTC_WATCHER_NODE_OBSERVER_BIND": observer,
            "SBTC_WATCHER_API_URLS": "[]",
        }
        armed = str(deployment.folder / "armed")
        dying = (sys.executable, "-m", "tests.acceptance.dying_daemon", "before the post is answered", armed)
        first = await following(deployment, *dying)
        await deployment.start(*dying)
        deployment.chain.mine()
        await node.posted()
        first.kill()
        await first.wait()
        deployment.chain.mine()
        await node.posted(within=30)
        await deployment.caught_up()


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
async def test_above_the_limit_a_forged_post_of_a_real_block_is_no_success(
    node: SimulatedNode, deployment: Deployment
) -> None:
    """The node's word is its posts; an API of another host must say the same, and does of what is true."""
    deployment.environment |= {
        "SBTC_WATCHER_API_URLS": deployment.api.url.replace("127.0.0.1", "localhost"),
        "SBTC_WATCHER_VERIFY_AMOUNT_OVER": '{"sbtc": 10}',
    }
    shop = await deployment.shop()
    await following(deployment)
    forged, honest = [await order(deployment, shop["merchant"]) for _ in range(2)]
    node.posts_blocks = False
    deployment.chain.mine([txs.sbtc_transfer(PAYER, harness.SHOP, 1234, forged["reference"].encode())])
    body = json.dumps(node_payloads.new_block(deployment.chain.blocks[-1]))
    assert '"amount": "1234"' in body
    node.post("/new_block", body.replace('"amount": "1234"', '"amount": "50000"').encode())
    await deployment.caught_up()
    node.posts_blocks = True
    deployment.chain.mine([pay(honest)])
    async with asyncio.timeout(60):
        while (await deployment.json("intents", "show", honest["id"]))["status"] != "succeeded":
            pass
    shown = await deployment.json("intents", "show", forged["id"])
    assert (shown["status"], shown["amount_received"]) == ("processing", "50000")
    succeeded = [
        arrival.document["data"]["payment_intent"]["id"]
        for arrival in deployment.receiver.arrivals
        if arrival.document["type"] == "payment.succeeded"
    ]
    assert set(succeeded) <= {honest["id"]}


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
async def test_check_says_what_becomes_of_a_block_that_was_not_posted(
    node: SimulatedNode, deployment: Deployment
) -> None:
    """It is replayed, read from an API, or stops the cursor."""
    assert "replays blocks, as tried with" in await deployment.cli("check", code=1)
    del deployment.environment["SBTC_WATCHER_NODE_AUTH_TOKEN"]
    checked = await deployment.cli("check", code=1)
    assert "no node_auth_token and no API: a block that was not posted stops the cursor" in checked
    deployment.environment["SBTC_WATCHER_API_URLS"] = deployment.api.url
    checked = await deployment.cli("check", code=1)
    assert "no node_auth_token: blocks that were not posted come from an API" in checked


async def test_the_script_of_recorded_blocks_runs_the_daemon(deployment: Deployment) -> None:
    """As docs/own-node.md says: two commands, no network, no node."""
    observer, port = f"127.0.0.1:{free_port()}", free_port()
    deployment.environment |= {
        "SBTC_WATCHER_NETWORK": "testnet",
        "SBTC_WATCHER_NODE_URL": f"http://127.0.0.1:{port}",
        "SBTC_WATCHER_NODE_OBSERVER_BIND": observer,
        "SBTC_WATCHER_NODE_AUTH_TOKEN": TOKEN,
        "SBTC_WATCHER_API_URLS": "[]",
        "SBTC_WATCHER_PAYMENT_CONTRACT": "",
    }
    files = [str(path) for path in sorted(SIMNET.glob("*.json"))]
    script = (sys.executable, "-m", "chain.testing.recorded_node", *files)
    options = ("--port", str(port), "--observer", observer, "--token", TOKEN, "--every", "0.05")
    await deployment.start(*script, *options)
    await deployment.start(*PROGRAM, "run")
    async with asyncio.timeout(30):
        while True:
            with suppress(KeyError, TypeError, ValueError):  # no database, no cursor yet
                status = await deployment.status()
                if status["cursor"]["height"] == 33:
                    break
    [row] = status["sources"]
    assert (row["state"], row["note"]) == ("ok", None)
