"""Lists on a terminal of 80 columns: they fit, and ids and addresses are not broken across lines."""

from pathlib import Path
from typing import Any

import pytest

from tests.unit.watcher.cli.runner import CliRunner
from tests.unit.watcher.cli.test_output import Shop

LISTS = [
    "merchants list",
    "merchants keys list {merchant}",
    "intents list",
    "transfers list",
    "endpoints list",
    "events list",
    "deliveries list",
]
#: Fields that are copied from a list.
COPIED = ("id", "intent", "event", "endpoint", "merchant", "recipient", "url", "reference")


@pytest.mark.parametrize("command", LISTS)
def test_a_list_fits_80_columns_and_breaks_nothing_that_is_copied(
    cli: CliRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    """Values shown on a wide terminal are whole on a narrow one too."""
    shop = Shop(cli, tmp_path / "watcher.db")
    words = command.format(**shop.names).split()
    rows: list[dict[str, Any]] = cli.doc(*words)["data"]
    assert rows
    monkeypatch.setenv("COLUMNS", "1000")
    wide = cli(*words).out
    monkeypatch.setenv("COLUMNS", "80")
    narrow = cli(*words).out
    assert max(map(len, narrow.splitlines())) <= 80
    values = {str(row[name]) for row in rows for name in COPIED if row.get(name)}
    shown = {value for value in values if value in wide}
    assert {row["id"] for row in rows} <= shown
    assert {value for value in shown if value not in narrow} == set()
