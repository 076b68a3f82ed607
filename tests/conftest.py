"""What tests of every kind share: the databases that they run on."""

import signal
from collections.abc import Iterator

import pytest

from tests import harness, postgresql


def pytest_configure() -> None:
    """Let children be interrupted: a shell starts background jobs with SIGINT ignored, which children inherit."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[postgresql.Server]:
    """A server for the session, or for the worker among several; started when the first test asks for it."""
    server = postgresql.Server()
    yield server
    server.stop()


@pytest.fixture
def on_postgresql(
    postgresql_server: postgresql.Server, monkeypatch: pytest.MonkeyPatch
) -> Iterator[postgresql.Server]:
    """Let ``harness.open_database`` make its databases on PostgreSQL; they are dropped when the test ends."""
    monkeypatch.setattr(harness, "database_url", postgresql_server.database_url)
    with postgresql_server.cleaning():
        yield postgresql_server


@pytest.fixture(params=["sqlite", "postgresql"])
def backend(request: pytest.FixtureRequest) -> str:
    """Run the test twice: on SQLite, and on PostgreSQL."""
    if request.param == "postgresql":
        request.getfixturevalue("on_postgresql")
    return str(request.param)
