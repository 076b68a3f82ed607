"""HTTP helpers for daemons in tests: find the address, wait for a status, parse metrics."""

import asyncio
import json

import httpx
from prometheus_client.parser import text_string_to_metric_families

from tests.acceptance.conftest import Deployment


async def base_url(deployment: Deployment, *, daemon: int = 0) -> str:
    """Return the address that a daemon logs that it serves on."""
    log = deployment.folder / "daemon.log"
    async with asyncio.timeout(20):
        while True:
            written = await asyncio.to_thread(log.read_text)
            lines = [line for line in written.splitlines() if '"http.bound"' in line]
            if len(lines) > daemon:
                return f"http://127.0.0.1:{json.loads(lines[daemon])['port']}"
            await asyncio.sleep(0.05)


async def until(client: httpx.AsyncClient, path: str, code: int, *, within: float = 20.0) -> httpx.Response:
    """Repeat a request until the answer has this status."""
    async with asyncio.timeout(within):
        while True:
            answer = await client.get(path)
            if answer.status_code == code:
                return answer
            await asyncio.sleep(0.05)


def samples(text: str) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    """Return every sample's value by name (without the prefix) and labels."""
    found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            name = sample.name.removeprefix("sbtc_watcher_")
            found.setdefault(name, {})[tuple(sorted(sample.labels.items()))] = sample.value
    return found


def only(values: dict[tuple[tuple[str, str], ...], float], **labels: str) -> float:
    return values[tuple(sorted(labels.items()))]
