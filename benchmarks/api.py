"""Benchmark of the merchant API: ``make bench-api``. About a minute, on loopback, with the real daemon.

The daemon is a process of its own (``sbtc-watcher run --role api``) on a database as it opens it (SQLite:
WAL, ``synchronous=FULL``; PostgreSQL: a server of the benchmark's own, with durable writes). This process is
the client. Both, and the database, share the machine. Every answer's status is checked.

* create: several connections, each of which creates one intent after another; intents per second.
* bulk: 500 intents in one request; seconds.
* mixed: 200 requests a second, sent when they are due whether or not the earlier ones are answered, and timed
  from when they were due: 25 % create an intent, 60 % read one, 10 % list 20, 5 % read the status; p50 and
  p99 in milliseconds.
"""

import argparse
import asyncio
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp

from benchmarks.notifier import postgresql, sqlite
from chain.testing import ScriptedChain, principal
from watcher.config.settings import Settings
from watcher.daemon.wiring import make_ledger
from watcher.schemas import NewMerchant
from watcher.services import merchants
from watcher.store.database import Database

RATE = 200
MAX_CONNECTIONS = 12
#: In percent; see above.
MIX = {"create": 25, "read": 60, "list": 10, "status": 5}
PATIENCE = 30.0


def prepare(url: str) -> str:
    """Create the schema, a chain with a tip and a merchant; return its API key."""
    settings = Settings(database_url=url)
    database = Database(url)
    database.upgrade()
    chain = ScriptedChain(time=int(time.time()))
    make_ledger(settings, database).begin([block.header for block in chain.blocks], chain.tip)
    with database.begin() as connection:
        request = NewMerchant(name="Bench", recipient=principal("shop"))
        _, key = merchants.add(connection, settings, request, now=time.time())
    database.close()
    return key


@contextmanager
def serving(url: str, folder: Path) -> Iterator[str]:
    """Run the daemon; yield its base URL."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SBTC_WATCHER_")}
    environment |= {
        "SBTC_WATCHER_DATABASE_URL": url,
        "SBTC_WATCHER_HTTP_BIND": address,
        "SBTC_WATCHER_HTTP_RATE_LIMIT": "none",
    }
    command = [sys.executable, "-m", "watcher", "run", "--role", "api"]
    with (folder / "daemon.log").open("w") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)  # noqa: S603 (our own)
        try:
            yield f"http://{address}"
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(20)


class Client:
    """Client of one merchant."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session
        self._random = random.Random(1)  # noqa: S311 (always the same mix)
        self.ids: list[str] = []

    async def started(self) -> None:
        """Wait until the daemon answers."""
        async with asyncio.timeout(PATIENCE):
            while True:
                try:
                    async with self._session.get("/healthz") as answer:
                        if answer.status == 200:
                            return
                except aiohttp.ClientError:
                    pass
                await asyncio.sleep(0.1)

    async def create(self) -> None:
        """Create an intent."""
        body = {"amount": "50000", "metadata": {"order": str(len(self.ids))}}
        self.ids.append((await self._ask("POST", "/v1/payment_intents", 201, json=body))["id"])

    async def bulk(self) -> None:
        """Create as many intents as one request may."""
        body = {"intents": [{"amount": "50000", "metadata": {"order": str(n)}} for n in range(500)]}
        await self._ask("POST", "/v1/payment_intents/bulk", 201, json=body)

    async def read(self) -> None:
        """Read an intent."""
        await self._ask("GET", f"/v1/payment_intents/{self._random.choice(self.ids)}", 200)

    async def list(self) -> None:
        """List the newest intents."""
        await self._ask("GET", "/v1/payment_intents?limit=20", 200)

    async def status(self) -> None:
        """Read the status."""
        await self._ask("GET", "/v1/status", 200)

    def mixed(self) -> str:
        """Return the next request, at random."""
        return self._random.choices(list(MIX), list(MIX.values()))[0]

    async def _ask(self, method: str, path: str, expected: int, **more: Any) -> Any:
        async with self._session.request(method, path, **more) as answer:
            document = await answer.json(content_type=None)
            assert answer.status == expected, document
            return document


async def creating(client: Client, seconds: float) -> dict[str, Any]:
    """Measure the rate at which all connections together create intents."""
    before, began = len(client.ids), time.monotonic()

    async def one() -> None:
        while time.monotonic() < began + seconds:
            await client.create()

    await asyncio.gather(*(one() for _ in range(MAX_CONNECTIONS)))
    return {
        "connections": MAX_CONNECTIONS,
        "per_second": round((len(client.ids) - before) / (time.monotonic() - began)),
    }


async def mixing(client: Client, seconds: float) -> dict[str, Any]:
    """Measure the latency of requests at a steady rate."""
    waits: dict[str, list[float]] = {kind: [] for kind in MIX}
    began = time.monotonic() + 0.1

    async def one(kind: str, work: Callable[[], Awaitable[None]], due: float) -> None:
        await work()
        waits[kind].append(1000 * (time.monotonic() - due))

    async with asyncio.TaskGroup() as tasks:
        for number in range(int(RATE * seconds)):
            due = began + number / RATE
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            kind = client.mixed()
            tasks.create_task(one(kind, getattr(client, kind), due))
    took = time.monotonic() - began
    every = sorted(wait for of_kind in waits.values() for wait in of_kind)
    return {
        "asked_per_second": RATE,
        "answered_per_second": round(len(every) / took),
        "mix_percent": MIX,
        "requests": Counter({kind: len(of_kind) for kind, of_kind in waits.items()}),
        **_quantiles(every),
        **{kind: _quantiles(sorted(of_kind)) for kind, of_kind in waits.items()},
    }


def _quantiles(waits: list[float]) -> dict[str, float]:
    return {
        "p50_ms": round(waits[len(waits) // 2], 1),
        "p99_ms": round(waits[int(len(waits) * 0.99)], 1),
        "max_ms": round(waits[-1], 1),
    }


async def measure(base: str, key: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Run all measurements on one database."""
    headers = {"authorization": f"Bearer {key}"}
    timeout = aiohttp.ClientTimeout(total=PATIENCE)
    async with aiohttp.ClientSession(base, headers=headers, timeout=timeout) as session:
        client = Client(session)
        await client.started()
        await creating(client, 1.0)  # warms up
        figures = {"create": await creating(client, arguments.seconds)}
        began = time.monotonic()
        await client.bulk()
        figures["bulk"] = {"intents": 500, "seconds": round(time.monotonic() - began, 2)}
        figures["mixed"] = await mixing(client, 2 * arguments.seconds)
        return figures


def main() -> None:
    """Measure and print one JSON document."""
    parser = argparse.ArgumentParser(description="How fast the merchant API answers.")
    parser.add_argument(
        "--seconds", type=float, default=6.0, help="how long intents are created; the mix takes twice that"
    )
    parser.add_argument("--databases", default="sqlite,postgresql")
    arguments = parser.parse_args()
    figures = {}
    for name in arguments.databases.split(","):
        with (
            tempfile.TemporaryDirectory() as folder,
            {"sqlite": sqlite, "postgresql": postgresql}[name](Path(folder)) as url,
        ):
            key = prepare(url)
            with serving(url, Path(folder)) as base:
                figures[name] = asyncio.run(measure(base, key, arguments))
    json.dump(figures, sys.stdout, indent=2)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
