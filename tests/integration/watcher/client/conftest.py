"""A real server, a merchant's key, and both kinds of client."""

import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests import harness
from tests.integration.watcher.client.calls import KINDS, Caller, calling
from tests.served import serving
from watcher.config.settings import Settings
from watcher.schemas import NewMerchant
from watcher.services import merchants


@dataclass(frozen=True, kw_only=True)
class Server:
    """Where it is, and what opens it."""

    url: str
    key: str
    merchant: str


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One process for all tests of a module."""
    folder: Path = tmp_path_factory.mktemp("server")
    url = harness.sqlite_url(folder)
    database = harness.Database(url)
    database.upgrade()
    settings = Settings(database_url=url)
    with database.begin() as connection:
        row, key = merchants.add(
            connection, settings, NewMerchant(name="Shop", recipient=harness.SHOP), now=time.time()
        )
    database.close()
    with serving(url) as address:
        yield Server(url=address, key=key, merchant=row["id"])


@pytest.fixture(params=KINDS, ids=lambda kind: kind.__name__)
def kind(request: pytest.FixtureRequest) -> Any:
    """Each kind of client."""
    return request.param


@pytest.fixture
async def shop(kind: Any, server: Server) -> AsyncIterator[Caller]:
    """A client with the merchant's key."""
    async with calling(kind, server.url, server.key) as caller:
        yield caller
