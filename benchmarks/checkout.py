"""Benchmark of the checkout page: ``make bench-checkout``. Some seconds, on loopback, with the real daemon.

The daemon is a process of its own on a SQLite database as it opens it; this process is one payer after
another on one connection, and shares the machine with it.

* size: what a browser downloads for a page that it sees for the first time, bytes over the wire, by file.
* page: milliseconds until the whole page is there, from a warm process, p50 and p99: the same page again and
  again, and a thousand pages once each, whose codes must be drawn.
* json: the same for what the page shows, as JSON.
"""

import argparse
import asyncio
import json
import re
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import aiohttp

from benchmarks.api import Client, prepare, serving
from benchmarks.notifier import sqlite

PAGES = 1000
WARM_UP = 50


def percentiles(seconds: Iterable[float]) -> dict[str, float]:
    """Return the median and the 99th percentile, milliseconds."""
    ordered = sorted(1000 * one for one in seconds)
    return {"p50": round(ordered[len(ordered) // 2], 1), "p99": round(ordered[len(ordered) * 99 // 100], 1)}


async def make(session: aiohttp.ClientSession, key: str, count: int) -> list[str]:
    """Create intents; return the paths of their checkouts."""
    intent = {"amount": 50_000, "description": "Two tins of tea", "fiat": "49.90 EUR"}
    async with session.post(
        "/v1/payment_intents/bulk",
        json={"intents": [intent] * count},
        headers={"authorization": f"Bearer {key}"},
    ) as answer:
        assert answer.status == 201, await answer.text()
        return [row["checkout_url"] for row in (await answer.json())["data"]]


async def get(session: aiohttp.ClientSession, url: str) -> tuple[int, str, float]:
    """Return the bytes of an answer's body as they were sent, its text, and how long it took."""
    began = time.perf_counter()
    async with session.get(url) as answer:
        body = await answer.read()
        took = time.perf_counter() - began
        assert answer.status == 200, body
        return int(answer.headers.get("content-length", len(body))), body.decode(), took


async def measure(url: str, key: str) -> dict[str, Any]:
    """Return the figures."""
    # What is packed is counted as it was sent.
    async with aiohttp.ClientSession(url, headers={"accept-encoding": "gzip"}) as session:
        await Client(session).started()
        paths = [path for _ in range(PAGES // 500) for path in await make(session, key, 500)]
        size, page, _ = await get(session, paths[0])
        sizes = {"page": size}
        for file in re.findall(r'(?:href|src)="assets/([^"]+)"', page):
            sizes[file], _, _ = await get(session, f"/pay/assets/{file}")
        for _ in range(WARM_UP):
            await get(session, paths[0])
        return {
            "bytes": {**sizes, "in all": sum(sizes.values())},
            "milliseconds": {
                "the same page": percentiles([(await get(session, paths[0]))[2] for _ in paths]),
                "another page each": percentiles([(await get(session, path))[2] for path in paths]),
                "json": percentiles(
                    [(await get(session, path.replace("/pay/", "/v1/checkout/")))[2] for path in paths]
                ),
            },
        }


def main() -> None:
    """Run the benchmark, and print its figures as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, sqlite(Path(folder)) as database:
        key = prepare(database)
        with serving(database, Path(folder)) as url:
            figures = asyncio.run(measure(url, key))
    json.dump(figures, sys.stdout, indent=2)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
