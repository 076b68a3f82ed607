"""Fixtures: the real program in processes of its own."""

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
