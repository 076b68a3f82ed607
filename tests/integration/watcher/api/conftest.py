"""The merchant API on a real socket, before a real database: SQLite and PostgreSQL."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.integration.watcher.api.api_fixture import ApiFixture
from tests.integration.watcher.api.dashboard_fixture import Browser
from tests.integration.watcher.ledger_fixture import LedgerFixture


@pytest.fixture
async def api(tmp_path: Path, backend: str) -> AsyncIterator[ApiFixture]:
    """Two merchants with keys, and the API that serves them."""
    fixture = LedgerFixture(tmp_path)
    async with ApiFixture(fixture) as made:
        yield made
    fixture.database.close()


@pytest.fixture
async def sqlite_api(tmp_path: Path) -> AsyncIterator[ApiFixture]:
    """The same on SQLite only: for what no database has a part in."""
    fixture = LedgerFixture(tmp_path)
    async with ApiFixture(fixture) as made:
        yield made
    fixture.database.close()


@pytest.fixture
async def browser(sqlite_api: ApiFixture) -> AsyncIterator[Browser]:
    """The merchant at the dashboard, signed in with a key that may all."""
    made = Browser(sqlite_api)
    await made.sign_in(sqlite_api.key)
    yield made
    await made.close()
