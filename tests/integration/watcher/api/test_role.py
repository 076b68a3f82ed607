"""The real program with the role ``api`` alone: it serves merchants, and a SIGTERM ends it with nobody left
waiting.
"""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from tests import harness
from tests.integration.watcher.api.api_fixture import problem
from watcher.config.settings import Settings
from watcher.schemas import NewMerchant
from watcher.services import api_keys, merchants

ROOT = Path(__file__).parents[4]


def environment(folder: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SBTC_WATCHER_")}
    return kept | {
        "SBTC_WATCHER_DATABASE_URL": harness.database_url(folder),
        "SBTC_WATCHER_HTTP_BIND": "127.0.0.1:0",
        "SBTC_WATCHER_LOG_FORMAT": "json",
    }


def a_key(folder: Path) -> str:
    """Make the database, and a merchant in it; return its key."""
    database = harness.open_database(folder)
    settings = Settings(database_url=harness.database_url(folder))
    with database.begin() as connection:
        row, key = merchants.add(
            connection, settings, NewMerchant(name="Shop", recipient=harness.SHOP), now=1.0
        )
        assert api_keys.find_owner(connection, key, now=2.0) is not None
        assert row["status"] == "active"
    database.close()
    return key


@asynccontextmanager
async def running(folder: Path, role: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """Run the program in one role; the block gets the process and its address."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "watcher", "run", "--role", role),
        env=environment(folder),
        cwd=ROOT,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    drained: asyncio.Task[bytes] | None = None
    try:
        async with asyncio.timeout(30):
            while True:
                line = json.loads(await process.stderr.readline())
                if line["event"] == "http.bound":
                    break
        drained = asyncio.create_task(process.stderr.read())
        yield process, f"http://127.0.0.1:{line['port']}"
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        if drained is not None:
            await drained


async def test_the_role_api_serves_and_a_sigterm_answers_those_who_wait(tmp_path: Path, backend: str) -> None:
    key = a_key(tmp_path)
    async with (
        running(tmp_path, "api") as (process, url),
        httpx.AsyncClient(base_url=url, headers={"authorization": f"Bearer {key}"}, timeout=30) as client,
    ):
        made = await client.post("/v1/payment_intents", json={"amount": "50000"})
        assert made.status_code == 201
        assert (await client.get("/openapi.json")).status_code == 200
        intent = f"/v1/payment_intents/{made.json()['id']}"
        waits = asyncio.create_task(client.get(f"{intent}?wait=60s"))
        # Answered by the same process after the waiting request was read: it waits by now, or is about to.
        assert (await client.get(intent)).status_code == 200
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(10):
            answer = await waits
            assert await process.wait() == 0
    assert (answer.status_code, answer.json()["status"]) == (200, "pending")


async def test_other_roles_serve_health_only(tmp_path: Path) -> None:
    key = a_key(tmp_path)
    async with (
        running(tmp_path, "notifier") as (process, url),
        httpx.AsyncClient(base_url=url, headers={"authorization": f"Bearer {key}"}, timeout=30) as client,
    ):
        assert (await client.get("/healthz")).status_code == 200
        for path in ("/v1/payment_intents", "/openapi.json", "/docs"):
            assert problem(await client.get(path)) == (404, "not_found")
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(10):
            assert await process.wait() == 0
