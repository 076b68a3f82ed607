"""Runtime files of the instances of a systemd template."""

from pathlib import Path

import pytest

from watcher.config.settings import Settings
from watcher.daemon import runtime_file
from watcher.errors import ConfigError


def test_a_command_notices_that_its_instance_has_another_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each instance publishes its file in a folder of its own, and commands read all of them."""
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setattr(runtime_file, "SYSTEM_FOLDER", tmp_path / "sbtc-watcher")
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path / "sbtc-watcher-testnet"))
    config = tmp_path / "testnet.toml"
    theirs, ours = (Settings(database_url=f"sqlite:///{tmp_path}/{name}.db") for name in ("theirs", "ours"))
    with runtime_file.announce(theirs, config):
        runtime_file.check(theirs, config)
        runtime_file.check(ours, tmp_path / "config.toml")
        with pytest.raises(ConfigError, match="database_url: the running daemon"):
            runtime_file.check(ours, config)
    runtime_file.check(ours, config)
