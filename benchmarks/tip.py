"""Benchmark of the tip: ``make bench-tip``. Under a minute, on loopback, with the real daemon.

From the moment a block with a payment is there to the first byte of its webhook at the merchant: a scripted
API that announces blocks by its WebSocket, and a simulated own node that posts them to the daemon. The
daemon is a process of its own on a database as it opens it (SQLite: WAL, ``synchronous=FULL``; PostgreSQL: a
server of the benchmark's own, with durable writes); this process is the source and the merchant. Each
payment pays an intent of level ``included``; ``poll_interval`` is 5 s.
"""

import argparse
import asyncio
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from benchmarks.notifier import postgresql, sqlite
from chain.testing import ScriptedApi, ScriptedChain, principal, txs
from chain.testing.node import SimulatedNode
from notifier import endpoints
from notifier.secrets import SecretStore
from notifier.ssrf import CheckedUrl
from notifier.testing import Receiver
from watcher.config.settings import Settings
from watcher.daemon.wiring import make_ledger
from watcher.indexer.settler import Settler
from watcher.schemas import NewMerchant, NewPaymentIntent
from watcher.services import intent_requests, merchants
from watcher.store.database import Database

SHOP, PAYER = principal("shop"), principal("payer")
AMOUNT = 50_000
PATIENCE = 30.0
SOURCES = ("api", "node")


def prepare(url: str, chain: ScriptedChain, receiver: Receiver, blocks: int) -> list[str]:
    """Create the schema, a merchant with an endpoint, and an intent per block; return their references."""
    settings = Settings(database_url=url)
    database = Database(url)
    database.upgrade()
    make_ledger(settings, database).begin([block.header for block in chain.blocks], chain.tip)
    now = time.time()
    with database.begin() as connection:
        row, _ = merchants.add(connection, settings, NewMerchant(name="Bench", recipient=SHOP), now=now)
    with database.begin() as connection:
        endpoints.create(
            connection,
            merchant=row["id"],
            url=CheckedUrl(receiver.url("/hook")),
            events=("payment.succeeded",),
            legacy_v0=False,
            secret_store=SecretStore(),
            now=now,
        )
        references = []
        for _ in range(blocks):
            request = NewPaymentIntent.of(
                {"amount": str(AMOUNT), "level": "included", "reference": secrets.token_hex(8).upper()}
            )
            intent_requests.create(
                connection,
                request,
                merchant_id=row["id"],
                settings=settings,
                settler=Settler.of(settings),
                now=now,
            )
            references.append(str(request.reference))
    database.close()
    return references


@asynccontextmanager
async def source_settings(name: str, chain: ScriptedChain) -> AsyncIterator[dict[str, str]]:
    """Run a source of a chain; yield the settings that name it."""
    async with AsyncExitStack() as stack:
        if name == "api":
            api = await stack.enter_async_context(ScriptedApi(chain))
            yield {"SBTC_WATCHER_API_URLS": api.url}
            return
        with socket.create_server(("127.0.0.1", 0)) as free:
            observer = f"127.0.0.1:{free.getsockname()[1]}"
        node = await stack.enter_async_context(SimulatedNode(chain, observer=observer, token="bench"))  # noqa: S106
        yield {
            "SBTC_WATCHER_API_URLS": "[]",
            "SBTC_WATCHER_NODE_URL": node.url,
            "SBTC_WATCHER_NODE_OBSERVER_BIND": observer,
            "SBTC_WATCHER_NODE_AUTH_TOKEN": "bench",
        }


async def measure(name: str, url: str, folder: Path, blocks: int, every: float) -> dict[str, Any]:
    """Mine blocks that pay one intent each, and time their webhooks."""
    chain = ScriptedChain(time=int(time.time()) - 60)
    async with Receiver() as receiver, source_settings(name, chain) as named:
        references = prepare(url, chain, receiver, blocks)
        kept = {key: value for key, value in os.environ.items() if not key.startswith("SBTC_WATCHER_")}
        environment = kept | named
        environment |= {
            "SBTC_WATCHER_DATABASE_URL": url,
            "SBTC_WATCHER_HTTP_BIND": "",
            "SBTC_WATCHER_WEBHOOK_ALLOW_HTTP": "true",
            "SBTC_WATCHER_WEBHOOK_ALLOW_PRIVATE": "true",
        }
        with (folder / f"{name}.log").open("w") as log:
            process = subprocess.Popen(  # noqa: ASYNC220 (our own; it starts at once)
                [sys.executable, "-m", "watcher", "run"], env=environment, stdout=log, stderr=log
            )
            try:
                waits = [
                    await _time_payment(chain, receiver, reference, number, every)
                    for number, reference in enumerate(references)
                ]
            finally:
                process.send_signal(signal.SIGTERM)
                process.wait(20)
    # The first wait includes the daemon's start.
    waits = sorted(waits[1:])
    return {
        "blocks": len(waits),
        "median_ms": round(1000 * median(waits), 1),
        "p90_ms": round(1000 * quantiles(waits, n=10, method="inclusive")[-1], 1),
        "max_ms": round(1000 * waits[-1], 1),
    }


async def _time_payment(
    chain: ScriptedChain, receiver: Receiver, reference: str, number: int, every: float
) -> float:
    payment = txs.sbtc_transfer(PAYER, SHOP, AMOUNT, reference.encode())
    began = time.monotonic()
    chain.mine([payment])
    arrivals = await receiver.wait_for(number + 1, within=PATIENCE)
    waited = arrivals[number].at - began
    await asyncio.sleep(max(0.0, every - waited))
    return waited


def main() -> None:
    """Measure and print one JSON document."""
    parser = argparse.ArgumentParser(description="How soon a webhook follows a block.")
    parser.add_argument("--blocks", type=int, default=12)
    parser.add_argument("--every", type=float, default=1.5, help="seconds between two blocks")
    parser.add_argument("--databases", default="sqlite,postgresql")
    parser.add_argument("--sources", default=",".join(SOURCES))
    arguments = parser.parse_args()
    figures: dict[str, dict[str, Any]] = {}
    for database in arguments.databases.split(","):
        for source in arguments.sources.split(","):
            with (
                tempfile.TemporaryDirectory() as folder,
                {"sqlite": sqlite, "postgresql": postgresql}[database](Path(folder)) as url,
            ):
                figures.setdefault(database, {})[source] = asyncio.run(
                    measure(source, url, Path(folder), arguments.blocks, arguments.every)
                )
    json.dump(figures, sys.stdout, indent=2)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
