"""The daemon and the command line use the same database and rules, or the command names the difference."""

import asyncio
import json
import re
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests import harness
from tests.deployment import PROGRAM, ROOT, Deployment

ADD = ("merchants", "add", "Shop", "--recipient", harness.SHOP)


@pytest.fixture
def unit(deployment: Deployment) -> Deployment:
    """A machine with a settings file for all, where the daemon alone gets a state directory."""
    config = deployment.folder / "config.toml"
    config.write_text(f'api_urls = ["{deployment.api.url}"]\npoll_interval = "100ms"\nhttp_bind = ""\n')
    for name in [*deployment.environment]:
        if name.startswith("SBTC_WATCHER_"):
            del deployment.environment[name]
    deployment.environment |= {
        "SBTC_WATCHER_CONFIG": str(config),
        "HOME": str(deployment.folder / "home"),
        "XDG_RUNTIME_DIR": str(deployment.folder / "run"),
    }
    return deployment


async def start(unit: Deployment, **more: str) -> asyncio.subprocess.Process:
    """Start the daemon as a unit does, with variables that commands do not get, and wait for its start."""
    (unit.folder / "state").mkdir(exist_ok=True)
    mine = unit.environment
    unit.environment = mine | {"STATE_DIRECTORY": str(unit.folder / "state")} | more
    daemon = await unit.start()
    unit.environment = mine
    log = unit.folder / "daemon.log"
    async with asyncio.timeout(30):
        while b"service.started" not in (written := await asyncio.to_thread(log.read_bytes)):
            assert daemon.returncode is None, written
            await asyncio.sleep(0.05)
    return daemon


async def refused(unit: Deployment, *command: str) -> Sequence[str]:
    """Run a command that must be refused with exit 2; return its lines."""
    process = await asyncio.create_subprocess_exec(
        *PROGRAM,
        *command,
        env=unit.environment,
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        out, err = await process.communicate()
    assert (process.returncode, out) == (2, b""), err
    return err.decode().splitlines()


async def test_a_command_that_would_use_another_database_than_the_daemon_is_refused(unit: Deployment) -> None:
    """The message names both databases and how to use the same one. No database is created."""
    daemon = await start(unit)
    theirs = f"sqlite:///{unit.folder}/state/sbtc-watcher.db"
    for command in (ADD, ("status",), ("run", "--once"), ("db", "upgrade")):
        lines = await refused(unit, *command)
        assert lines[0] == (
            f"error: database_url: the running daemon (pid {daemon.pid}) has {theirs}, this command would use"
            f" sqlite:///{unit.folder}/home/.local/state/sbtc-watcher/sbtc-watcher.db"
        )
        assert lines[1].startswith(f"hint: write database_url in {unit.folder}/config.toml")
        assert not (unit.folder / "home").exists()
    unit.environment["SBTC_WATCHER_DATABASE_URL"] = theirs
    merchant = (await unit.json(*ADD))["merchant"]["id"]
    del unit.environment["SBTC_WATCHER_DATABASE_URL"]
    with (unit.folder / "config.toml").open("a") as config:
        config.write(f'database_url = "{theirs}"\n')
    assert [row["id"] for row in (await unit.json("merchants", "list"))["data"]] == [merchant]
    daemon.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(daemon.wait(), 10) == 0
    assert list((unit.folder / "run").rglob("*.json")) == []


async def test_a_database_that_is_named_on_purpose_is_used(unit: Deployment, tmp_path: Path) -> None:
    """Settings from the environment are deliberate: a copy to inspect, a playground beside the daemon."""
    await start(unit)
    unit.environment["SBTC_WATCHER_DATABASE_URL"] = f"sqlite:///{tmp_path}/other.db"
    await unit.json(*ADD)


async def test_a_daemon_that_was_killed_refuses_nothing(unit: Deployment) -> None:
    """Its runtime file stays behind and is ignored."""
    daemon = await start(unit)
    daemon.kill()
    await daemon.wait()
    assert len(list((unit.folder / "run").rglob("*.json"))) == 1
    await unit.json(*ADD)


@pytest.mark.parametrize(
    ("setting", "value"),
    [("payment_contract", harness.PAYMENT_CONTRACT), ("default_ttl", "20m"), ("late_policy", "accept")],
)
async def test_what_is_stored_follows_the_daemons_rules(unit: Deployment, setting: str, value: str) -> None:
    """With a rule that only the daemon has, commands that write are refused; those that read work."""
    with (unit.folder / "config.toml").open("a") as config:
        config.write(f'database_url = "sqlite:///{unit.folder}/state/sbtc-watcher.db"\n')
    await start(unit, **{f"SBTC_WATCHER_{setting.upper()}": value})
    lines = await refused(unit, *ADD)
    assert re.match(
        rf"error: {setting}: the running daemon \(pid \d+\) has .*, this command would use ", lines[0]
    )
    assert await unit.json("merchants", "list") == {"data": [], "next_cursor": None}
    checks: dict[str, Any] = json.loads(await unit.cli("check", "--json", code=2))
    assert any(f"{setting}: the running daemon" in check["text"] for check in checks["checks"])
    unit.environment[f"SBTC_WATCHER_{setting.upper()}"] = value
    await unit.json(*ADD)


async def test_endpoints_get_no_plain_secret_beside_a_daemon_with_a_key(unit: Deployment) -> None:
    """Also for the first endpoint, and also while the daemon does not run: the database stores it."""
    key = unit.folder / "webhook.key"
    key.write_text("11" * 32)
    with (unit.folder / "config.toml").open("a") as config:
        config.write(f'database_url = "sqlite:///{unit.folder}/state/sbtc-watcher.db"\n')
    daemon = await start(unit, SBTC_WATCHER_SECRET_KEY_FILE=str(key))
    merchant = (await unit.json(*ADD))["merchant"]["id"]
    add = ("endpoints", "add", "https://93.184.215.14/hook", "--merchant", merchant)
    lines = await refused(unit, *add)
    assert re.match(
        r"error: secret_key_file: not set, but this database's secrets are encrypted \(key [0-9a-f]{8}\)",
        lines[0],
    )
    assert "--server" in lines[1]
    daemon.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(daemon.wait(), 10) == 0
    assert await refused(unit, *add) == lines
    assert "secret_key_file: not set" in "\n".join(await refused(unit, "run", "--role", "api"))
    unit.environment["SBTC_WATCHER_SECRET_KEY_FILE"] = str(key)
    await unit.json(*add)
