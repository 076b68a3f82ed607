"""Benchmark of the tip: ``make bench-tip``. Under a minute, on loopback, with the real daemon.

From the moment a block with a payment is there to the first byte of its webhook at the merchant: a scripted
API that announces blocks by its WebSocket, and a simulated own node that posts them to the daemon. The
daemon is a process of its own on a database as it opens it (SQLite: WAL, ``synchronous=FULL``; PostgreSQL: a
server of the benchmark's own, with durable writes); this process is the source and the merchant. Each
payment pays an intent of level ``included``; ``poll_interval`` is 5 s.

``--streams N`` lets N payers watch the checkouts of these intents meanwhile. Memory and CPU are the daemon's,
without its start.
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
from collections.abc import AsyncIterator, Sequence
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
from watcher.services import intent_requests, merchants, queries
from watcher.store.database import Database

SHOP, PAYER = principal("shop"), principal("payer")
AMOUNT = 50_000
PATIENCE = 30.0
SOURCES = ("api", "node")


def prepare(url: str, chain: ScriptedChain, receiver: Receiver, blocks: int) -> list[dict[str, Any]]:
    """Create the schema, a merchant with an endpoint, and an intent per block; return the intents."""
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
        made = []
        for _ in range(blocks):
            request = NewPaymentIntent.of(
                {"amount": str(AMOUNT), "level": "included", "reference": secrets.token_hex(8).upper()}
            )
            intent_id = intent_requests.create(
                connection,
                request,
                merchant_id=row["id"],
                settings=settings,
                settler=Settler.of(settings),
                now=now,
            )
            made.append(queries.intent(connection, intent_id, server_info=settings.server_info))
    database.close()
    return made


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


async def measure(
    name: str, url: str, folder: Path, blocks: int, every: float, streams: int
) -> dict[str, Any]:
    """Mine blocks that pay one intent each, and time their webhooks."""
    chain = ScriptedChain(time=int(time.time()) - 60)
    async with Receiver() as receiver, source_settings(name, chain) as named:
        intents = prepare(url, chain, receiver, blocks)
        kept = {key: value for key, value in os.environ.items() if not key.startswith("SBTC_WATCHER_")}
        environment = kept | named
        environment |= {
            "SBTC_WATCHER_DATABASE_URL": url,
            "SBTC_WATCHER_HTTP_BIND": "127.0.0.1:0",
            "SBTC_WATCHER_LOG_FORMAT": "json",
            "SBTC_WATCHER_WEBHOOK_ALLOW_HTTP": "true",
            "SBTC_WATCHER_WEBHOOK_ALLOW_PRIVATE": "true",
        }
        with (folder / f"{name}.log").open("w") as log:
            process = subprocess.Popen(  # noqa: ASYNC220 (our own; it starts at once)
                [sys.executable, "-m", "watcher", "run"], env=environment, stdout=log, stderr=log
            )
            try:
                async with _watched(folder / f"{name}.log", streams, intents):
                    waits, cost = await _time_payments(process.pid, chain, receiver, intents, every)
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
        **cost,
    }


@asynccontextmanager
async def _watched(log: Path, streams: int, intents: Sequence[dict[str, Any]]) -> AsyncIterator[None]:
    """Let payers watch the checkouts while the block runs."""
    if not streams:
        yield
        return
    tokens = [intent["checkout_url"].rpartition("/")[2] for intent in intents]
    address = f"http://127.0.0.1:{await _port(log)}"
    payers = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.streams", address, str(streams), *tokens),
        stdout=asyncio.subprocess.PIPE,
    )
    assert payers.stdout is not None
    try:
        async with asyncio.timeout(PATIENCE * 4):
            assert await payers.stdout.readline() == b"open\n", "the streams were not opened"
        yield
    finally:
        payers.kill()
        await payers.wait()


async def _port(log: Path) -> int:
    async with asyncio.timeout(PATIENCE):
        while True:
            for line in (await asyncio.to_thread(log.read_text)).splitlines():
                if '"http.bound"' in line:
                    return int(json.loads(line)["port"])
            await asyncio.sleep(0.1)


async def _time_payments(
    pid: int, chain: ScriptedChain, receiver: Receiver, intents: Sequence[dict[str, Any]], every: float
) -> tuple[list[float], dict[str, Any]]:
    """Return how long each webhook took, seconds, and what the daemon used after the first one."""
    waits = [await _time_payment(chain, receiver, intents[0]["reference"], 0, every)]
    used, began = _cpu_seconds(pid), time.monotonic()
    for number, intent in enumerate(intents[1:], 1):
        waits.append(await _time_payment(chain, receiver, intent["reference"], number, every))
    share = (_cpu_seconds(pid) - used) / (time.monotonic() - began)
    return waits, {"cpu_percent": round(100 * share, 1), "memory_mib": _memory(pid)}


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _memory(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") // 2**20


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
    parser.add_argument("--streams", type=int, default=0, help="payers who watch meanwhile")
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
                    measure(
                        *(source, url, Path(folder)), arguments.blocks, arguments.every, arguments.streams
                    )
                )
    json.dump(figures, sys.stdout, indent=2)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
