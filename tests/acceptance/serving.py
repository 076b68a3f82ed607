"""HTTP helpers for daemons in tests: wait for a status, parse metrics."""

import asyncio

import httpx
from prometheus_client.parser import text_string_to_metric_families


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
