"""The tree of commands: help of each, --json of each, and nothing heavy imported before one runs."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from notifier.schema import DeliveryStatus
from watcher.cli.app import app, call
from watcher.cli.commands.deliveries import StatusName
from watcher.cli.commands.run import ROLES
from watcher.cli.options import MAX_LIMIT
from watcher.schemas import fields

ROOT = Path(__file__).parents[4]

#: Commands that print no data.
SILENT = {"run", "demo"}

EXPECTED = """
    demo run status check listen verify
    merchants.add merchants.list merchants.show merchants.update merchants.disable merchants.rotate-key
    merchants.keys.add merchants.keys.list merchants.keys.revoke
    intents.create intents.list intents.show intents.cancel intents.mark intents.dismiss intents.import
    transfers.list transfers.assign
    endpoints.add endpoints.list endpoints.remove endpoints.enable endpoints.disable endpoints.rotate-secret
    endpoints.test
    events.list events.show events.redeliver events.replay
    deliveries.list deliveries.show deliveries.retry deliveries.dismiss deliveries.recover
    db.upgrade db.current db.prune db.backup
"""


def walk(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield every command and group below a command, with its path."""
    for name, below in getattr(command, "commands", {}).items():
        yield (*path, name), below
        yield from walk(below, (*path, name))


TREE = dict(walk(get_command(app)))
COMMANDS = {path: command for path, command in TREE.items() if not hasattr(command, "commands")}


def test_there_are_exactly_the_promised_commands() -> None:
    assert {".".join(path) for path in COMMANDS} >= set(EXPECTED.split())


@pytest.mark.parametrize("path", TREE, ids=" ".join)
def test_every_command_argument_and_option_has_help(path: tuple[str, ...]) -> None:
    command = TREE[path]
    assert (command.help or "").strip().split("\n")[0].endswith(".")
    for param in command.params:
        assert (param.help or "").strip(), f"{' '.join(path)} {param.name}"


def test_help_shows_ids_as_they_are_made(capsys: pytest.CaptureFixture[str]) -> None:
    """In examples and arguments, so that a copied form is right."""
    sources = [path.read_text() for part in ("watcher", "notifier") for path in (ROOT / part).rglob("*.py")]
    made = {prefix for text in sources for prefix in re.findall(r'new_id\("([a-z]+_)"', text)} | {"evt_"}
    shown = set()
    for path in [(), *TREE]:
        assert call([*path, "--help"]) == 0
        shown |= set(re.findall(r"\b([a-z]+_)…", capsys.readouterr().out))
    assert {"pi_", "tr_"} <= shown <= made | {"whsec_"}


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_that_prints_data_has_json(path: tuple[str, ...]) -> None:
    options = {name for param in COMMANDS[path].params for name in param.opts}
    assert ("--json" in options) == (path[0] not in SILENT)


@pytest.mark.parametrize("width", [80, 120])
def test_help_fits_the_terminal_and_nothing_is_cut(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    for path in [(), *TREE]:
        assert call([*path, "--help"]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert max(map(len, lines)) <= width, path
        # Rich cuts a word that does not fit its column with an ellipsis before the panel's border.
        assert not [line for line in lines if line.endswith("│") and line.rstrip(" │").endswith("…")], path


def test_a_group_alone_shows_its_commands_and_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["intents"]) == 2
    out, err = capsys.readouterr()
    assert "create" in out
    assert err == ""


def test_help_does_not_load_the_database_or_the_network() -> None:
    """Measured by the modules imported, not by time: these make a start slow."""
    heavy = ("sqlalchemy", "alembic", "httpx", "aiohttp", "apscheduler", "pydantic_settings", "structlog")
    script = f"import sys, watcher.cli; print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=30
    )
    assert done.stdout.strip() == "[]"


def test_names_that_are_written_twice_to_keep_starts_quick_agree() -> None:
    from watcher.daemon import main as daemon_main

    assert set(StatusName.__args__) == {status.value for status in DeliveryStatus}  # type: ignore[attr-defined]
    assert MAX_LIMIT == fields.MAX_LIMIT
    assert set(ROLES) == daemon_main.ROLES
