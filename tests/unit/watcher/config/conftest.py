"""No settings of this machine."""

import os
from pathlib import Path

import pytest

from watcher.config import load


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep this machine's settings out of the tests."""
    for name in list(os.environ):
        if name.startswith("SBTC_WATCHER_") or name in {"CREDENTIALS_DIRECTORY", "STATE_DIRECTORY"}:
            monkeypatch.delenv(name)
    monkeypatch.setattr(load, "DEFAULT_CONFIG", tmp_path / "absent.toml")
