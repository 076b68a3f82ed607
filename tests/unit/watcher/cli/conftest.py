"""The command line on a database of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.watcher.cli.runner import CliRunner, calling


@pytest.fixture
def cli(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[CliRunner]:
    with calling(tmp_path, monkeypatch, capsys) as made:
        yield made
