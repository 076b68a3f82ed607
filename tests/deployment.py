"""The real program in processes of its own, with a scripted API and a merchant's receiver around it."""

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chain.testing import ScriptedApi, ScriptedChain
from notifier.testing import Receiver
from tests import harness

PROGRAM = (sys.executable, "-m", "watcher")
ROOT = Path(__file__).parents[1]


@dataclass
class Deployment:
    """The daemon and everything around it."""

    folder: Path
    chain: ScriptedChain
    api: ScriptedApi
    receiver: Receiver
    environment: dict[str, str]
    processes: list[asyncio.subprocess.Process] = field(default_factory=list)

    async def cli(self, *arguments: str, code: int | None = 0) -> str:
        """Run a command to its end and return its standard output; ``code`` None accepts any exit code."""
        process = await asyncio.create_subprocess_exec(
            *PROGRAM,
            *arguments,
            env=self.environment,
            cwd=ROOT,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(60):
            out, err = await process.communicate()
        assert code in (process.returncode, None), (
            f"{arguments}: exit {process.returncode}\n{out.decode()}{err.decode()}"
        )
        return out.decode()

    async def json(self, *arguments: str) -> Any:
        """Run a command with --json and return its document."""
        return json.loads(await self.cli(*arguments, "--json"))

    async def status(self) -> Any:
        """Return the status document, whatever its state."""
        return json.loads(await self.cli("status", "--json", code=None))

    async def start(self, *command: str) -> asyncio.subprocess.Process:
        """Start the daemon (or another command line) in the background; its log goes to a file."""
        with (self.folder / "daemon.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *(command or (*PROGRAM, "run")),
                env=self.environment,
                cwd=ROOT,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self.processes.append(process)
        return process

    async def url(self, *, daemon: int = 0) -> str:
        """Return the address that a daemon logs that it serves on."""
        log = self.folder / "daemon.log"
        async with asyncio.timeout(20):
            while True:
                written = await asyncio.to_thread(log.read_text)
                lines = [line for line in written.splitlines() if '"http.bound"' in line]
                if len(lines) > daemon:
                    return f"http://127.0.0.1:{json.loads(lines[daemon])['port']}"
                await asyncio.sleep(0.05)

    async def caught_up(self, *, within: float = 30.0) -> None:
        """Wait until the daemon's cursor is the chain's tip."""
        database = harness.Database(self.environment["SBTC_WATCHER_DATABASE_URL"])
        ledger = harness.make_ledger(database, harness.Clock())
        try:
            async with asyncio.timeout(within):
                while True:
                    cursor = await asyncio.to_thread(ledger.cursor) if database.revision() else None
                    if cursor is not None and cursor.clock.hash == self.chain.tip.hash:
                        return
                    await asyncio.sleep(0.05)
        finally:
            database.close()

    async def shop(
        self, *, events: str = "payment.succeeded,payment.failed,payment.expired"
    ) -> dict[str, Any]:
        """Add a merchant with an endpoint at the receiver; return both, and their secrets."""
        made = await self.json("merchants", "add", "Shop", "--recipient", harness.SHOP)
        merchant = made["merchant"]["id"]
        added = await self.json(
            "endpoints", "add", self.receiver.url("/hook"), "--merchant", merchant, "--events", events
        )
        self.receiver.trust(added["secret"], "/hook")
        secrets = {"secret": added["secret"], "key": made["api_key"]}
        return {"merchant": merchant, "endpoint": added["endpoint"]["id"], **secrets}

    async def stop(self) -> None:
        """Kill the processes that still run."""
        for process in self.processes:
            if process.returncode is None:
                process.send_signal(signal.SIGKILL)
            await process.wait()


@asynccontextmanager
async def deployed(folder: Path) -> AsyncIterator[Deployment]:
    """Yield a chain that starts now, its API, a receiver, and settings for a daemon on a fresh database."""
    chain = ScriptedChain(time=int(time.time()) - 100)
    chain.mine(n=3, burn=True)
    async with ScriptedApi(chain) as api, Receiver() as receiver:
        environment = {key: value for key, value in os.environ.items() if not key.startswith("SBTC_WATCHER_")}
        environment |= {
            "SBTC_WATCHER_DATABASE_URL": harness.database_url(folder),
            "SBTC_WATCHER_API_URLS": api.url,
            "SBTC_WATCHER_POLL_INTERVAL": "100ms",
            "SBTC_WATCHER_HTTP_BIND": "",
            "SBTC_WATCHER_PAYMENT_CONTRACT": harness.PAYMENT_CONTRACT,
            "SBTC_WATCHER_WEBHOOK_ALLOW_HTTP": "true",
            "SBTC_WATCHER_WEBHOOK_ALLOW_PRIVATE": "true",
            "SBTC_WATCHER_WEBHOOK_RETRY_SCHEDULE": "0s,200ms,200ms,200ms,500ms",
            "SBTC_WATCHER_WEBHOOK_TIMEOUT": "2s",
        }
        deployment = Deployment(folder, chain, api, receiver, environment)
        try:
            yield deployment
        finally:
            await deployment.stop()
