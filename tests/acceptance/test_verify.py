"""``verify`` in a process of its own, as a receiver runs it: a stored body, and nothing of the daemon's."""

import asyncio
import os
from pathlib import Path

from chain.testing import ScriptedApi, principal, txs
from tests.deployment import PROGRAM, Deployment


async def verify(body: bytes, *arguments: str, folder: Path) -> tuple[int | None, str, str]:
    """Run the command in an empty folder, without settings; return exit code, output and errors."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SBTC_WATCHER_")}
    process = await asyncio.create_subprocess_exec(
        *(*PROGRAM, "verify", *arguments),
        env=kept | {"SBTC_WATCHER_CONFIG": "/nowhere.toml", "HOME": str(folder), "COLUMNS": "80"},
        cwd=folder,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        out, err = await process.communicate(body)
    return process.returncode, out.decode(), err.decode()


async def test_a_receiver_verifies_what_it_was_sent(deployment: Deployment, tmp_path: Path) -> None:
    """A webhook's bytes from standard input and from a file; an API on another branch; garbage."""
    shop = await deployment.shop()
    await deployment.start()
    await deployment.caught_up()
    intent = await deployment.json(
        "intents", "create", "--merchant", shop["merchant"], "--amount", "50000", "--level", "included"
    )
    memo = intent["pay"]["memo"].encode()
    paid = deployment.chain.mine([txs.sbtc_transfer(principal("payer"), intent["recipient"], 50_000, memo)])
    [arrival] = await deployment.receiver.wait_for(1)
    assert arrival.document["type"] == "payment.succeeded"
    empty = tmp_path / "empty"
    empty.mkdir()
    code, out, err = await verify(arrival.body, "-", "--api", deployment.api.url, folder=empty)
    where = deployment.api.url.removeprefix("http://")
    assert (code, err) == (0, "")
    assert out.startswith(
        f"confirmed by {where}: 50,000 sats to {intent['recipient']} in block {paid.height} ("
    )
    (empty / "event.json").write_bytes(arrival.body)
    fork = deployment.chain.clone()
    fork.reorg(1, [[], []])
    async with ScriptedApi(fork, ping_interval=None) as other:
        apis = ("--api", deployment.api.url, "--api", other.url)
        code, out, err = await verify(b"", "event.json", *apis, folder=empty)
    assert (code, err) == (1, "")
    assert [line.partition(" by ")[0] for line in out.splitlines()] == ["confirmed", "contradicted"]
    code, out, err = await verify(b"\x1b[2Jnonsense", "-", folder=empty)
    assert (code, out) == (2, "")
    assert err == "error: standard input is not JSON: Expecting value at line 1, column 1\n"
    assert sorted(path.name for path in empty.iterdir()) == ["event.json"]
