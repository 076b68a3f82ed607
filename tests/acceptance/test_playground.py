"""The scripted chain of docs/playground.md, driven by hand: run the daemon on it, break it, repair it."""

import asyncio
import json
import os
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.deployment import ROOT, Deployment


class Player:
    """Writes commands and reads the answers."""

    def __init__(self, process: asyncio.subprocess.Process, url: str, shop: str) -> None:
        self.process, self.url, self.shop = process, url, shop

    async def order(self, line: str) -> str:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n".encode())
        return await self.read()

    async def read(self) -> str:
        assert self.process.stdout is not None
        async with asyncio.timeout(20):
            return (await self.process.stdout.readline()).decode().strip()


@asynccontextmanager
async def playing(*arguments: str) -> AsyncIterator[Player]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "chain.testing", "--port", "0", "--every", "0", *arguments),
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        player = Player(process, "", "")
        found = re.search(r"(http://\S+); .* address: (SP\w+)", await player.read())
        assert found is not None
        player.url, player.shop = found.groups()
        await player.read()
        yield player
        player.process.stdin.write(b"quit\n")  # type: ignore[union-attr]
        assert await asyncio.wait_for(process.wait(), 20) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def run(folder: Path, url: str, *arguments: str, code: int | None = 0) -> str:
    """Run a command against the playground, with nothing but what docs/playground.md says."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("SBTC_WATCHER_")} | {
        "SBTC_WATCHER_DATABASE_URL": f"sqlite:///{folder}/play.db",
        "SBTC_WATCHER_API_URLS": url,
        "SBTC_WATCHER_HTTP_BIND": "",
        "SBTC_WATCHER_POLL_INTERVAL": "200ms",
    }
    deployment = Deployment(folder, None, None, None, environment)  # type: ignore[arg-type]
    return await deployment.cli(*arguments, code=code)


async def test_a_payment_is_made_taken_away_and_made_again_by_orders(tmp_path: Path) -> None:
    async with playing() as player:

        async def shown(*arguments: str) -> Any:
            return json.loads(await run(tmp_path, player.url, *arguments, "--json"))

        await run(tmp_path, player.url, "run", "--once")
        merchant = (await shown("merchants", "add", "Shop", "--recipient", player.shop))["merchant"]["id"]
        intent = await shown("intents", "create", "--merchant", merchant, "--amount", "50000")
        paid = await player.order(f"pay {player.shop} 50000 {intent['reference']}")
        assert re.fullmatch(r"0x[0-9a-f]{64} in block \d+, Bitcoin \d+", paid)
        await run(tmp_path, player.url, "run", "--once")
        assert (await shown("intents", "show", intent["id"]))["status"] == "succeeded"
        assert (await player.order("reorg 1")).startswith("1 block orphaned")
        await run(tmp_path, player.url, "run", "--once")
        assert (await shown("intents", "show", intent["id"]))["status"] == "processing"
        await player.order("again")
        await run(tmp_path, player.url, "run", "--once")
        assert (await shown("intents", "show", intent["id"]))["status"] == "succeeded"
        assert await player.order("fail 503") == "the API answers 503"
        assert "503" in await run(tmp_path, player.url, "check", code=3)
        assert await player.order("heal") == "the API answers correctly"
        await run(tmp_path, player.url, "check")


async def test_payments_are_seen_before_and_after_the_sunset_of_the_deprecated_routes(tmp_path: Path) -> None:
    """Processes that come and go, an API that is upgraded and then loses its batches: nothing is missed."""
    async with playing() as player:

        async def shown(*arguments: str) -> Any:
            return json.loads(await run(tmp_path, player.url, *arguments, "--json"))

        await run(tmp_path, player.url, "run", "--once")
        merchant = (await shown("merchants", "add", "Shop", "--recipient", player.shop))["merchant"]["id"]
        for version in ("9.7", "sunset"):
            assert await player.order(f"become {version}") == f"speaks as {version}"
            intent = await shown("intents", "create", "--merchant", merchant, "--amount", "50000")
            await player.order("mine 3")
            await player.order(f"pay {player.shop} 50000 {intent['reference']}")
            await run(tmp_path, player.url, "run", "--once")
            assert (await shown("intents", "show", intent["id"]))["status"] == "succeeded"
        status = json.loads(await run(tmp_path, player.url, "status", "--json", code=None))
        [source] = status["sources"]
        assert (source["state"], source["reading"], source["errors"]) == ("ok", "single", 0)
        assert source["gone_routes"] == ["tx/multiple", "v2/blocks"]
        assert "deprecated_routes" in [reason["code"] for reason in status["reasons"]]
        assert "read one transaction at a time" in await run(tmp_path, player.url, "check")


async def test_every_order_answers_in_a_line_and_a_wrong_one_says_what_is_wrong() -> None:
    async with playing() as player:
        assert await player.order("dance") == "unknown order 'dance'; help lists them"
        for line in (
            *("pay", "pay SP1 x", f"pay {player.shop} -1", "pay SPBAD 1", f"pay {player.shop} 1 {'x' * 99}"),
            *("mine 0", "mine x", "mine 99999", "reorg", "reorg 999", "lag x", "fail 200", "again", "pay 'x"),
        ):
            assert (await player.order(line)).startswith("not done: "), line
        assert re.fullmatch(r"block \d+, Bitcoin \d+", await player.order("tip"))
        assert (await player.order(f"send {player.shop} 5 memo")).endswith("waits for the next block")
        assert (await player.order("x" * 5000)).startswith("not done: ")
        assert " Bitcoin " in await player.order("again")  # waiting transactions are mined, once
        assert (await player.order("again")).startswith("not done: ")
        assert (await player.order(f"send {player.shop} 6")).endswith("waits for the next block")
        for line in ("mine", "mine 3", "bitcoin 2", f"stx {player.shop} 7", f"abort {player.shop} 7 memo"):
            assert " Bitcoin " in await player.order(line), line
        assert await player.order("lag 2") == "the API is 2 blocks behind"
        assert await player.order("lag 1") == "the API is 1 block behind"
        assert await player.order(f"pay {player.shop} abc") == (
            "not done: the amount is a whole number of base units, not 'abc'"
        )
        assert "quotation" in await player.order("pay 'x")
        assert await player.order("hang") == "the API closes every connection"


async def test_a_port_in_use_is_one_line() -> None:
    async with playing() as player:
        port = player.url.rpartition(":")[2]
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "chain.testing", "--port", port),
            cwd=ROOT,
            stdin=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        _, error = await asyncio.wait_for(process.communicate(), 20)
        assert process.returncode == 2
        assert error.decode().count("\n") == 1
        assert f"port {port}: " in error.decode()


async def test_orders_that_cannot_be_waited_for_are_refused_in_a_line() -> None:
    """A file as input ends at once, and so would the chain."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "chain.testing", "--port", "0"),
        cwd=ROOT,
        stdin=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    _, error = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 2
    assert error.decode() == "orders come from a terminal or a pipe: cat FILE | python -m chain.testing\n"
