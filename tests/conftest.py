"""Shared fixtures: the databases that tests run on."""

import signal
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests import harness, postgresql

# A law holds however busy the machine is: no example is timed.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


def pytest_configure() -> None:
    """Restore SIGINT, which a shell ignores for background jobs; child processes inherit that."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[postgresql.Server]:
    """PostgreSQL server per test session (per xdist worker), started on first use."""
    server = postgresql.Server()
    yield server
    server.stop()


@pytest.fixture
def on_postgresql(
    postgresql_server: postgresql.Server, monkeypatch: pytest.MonkeyPatch
) -> Iterator[postgresql.Server]:
    """Make ``harness.open_database`` use PostgreSQL; its databases are dropped when the test ends."""
    monkeypatch.setattr(harness, "database_url", postgresql_server.database_url)
    with postgresql_server.cleaning():
        yield postgresql_server


@pytest.fixture(params=["sqlite", "postgresql"])
def backend(request: pytest.FixtureRequest) -> str:
    """Run the test twice: on SQLite, and on PostgreSQL."""
    if request.param == "postgresql":
        request.getfixturevalue("on_postgresql")
    return str(request.param)
