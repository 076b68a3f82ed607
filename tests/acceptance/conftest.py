"""Fixtures: the real program in processes of its own."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.deployment import Deployment, deployed


@pytest.fixture
async def deployment(tmp_path: Path) -> AsyncIterator[Deployment]:
    """A chain that starts now, its API, a receiver, and settings for a daemon on a fresh database."""
    async with deployed(tmp_path) as deployment:
        yield deployment


@pytest.fixture
def served(deployment: Deployment) -> Deployment:
    """The town, with HTTP on a free port."""
    deployment.environment["SBTC_WATCHER_HTTP_BIND"] = "127.0.0.1:0"
    return deployment


@pytest.fixture
def demo_environment(tmp_path: Path) -> dict[str, str]:
    """An environment with its own temporary folder and home, and with invalid settings, which are ignored."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("SBTC_WATCHER_")}
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        kept.pop(name, None)
    folders = {name: tmp_path / name.lower() for name in ("TMPDIR", "HOME", "STATE_DIRECTORY")}
    for folder in folders.values():
        folder.mkdir()
    return kept | {name: str(folder) for name, folder in folders.items()} | {
        "PYTHONUTF8": "1",
        "TERM": "xterm-256color",
        "HTTP_PROXY": "http://127.0.0.1:9",
        "SBTC_WATCHER_NETWORK": "nonsense",
        "SBTC_WATCHER_CONFIG": str(tmp_path / "there-is-none.toml"),
    }  # fmt: skip
