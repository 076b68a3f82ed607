"""A PostgreSQL database that cannot hold every text is refused in one line, before anything is stored."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import text

from tests.postgresql import Server
from watcher.errors import ConfigError
from watcher.store.database import Database

ROOT = Path(__file__).parents[4]


@pytest.mark.parametrize(
    "command", [("db", "upgrade"), ("db", "current"), ("run", "--once"), ("merchants", "list"), ("check",)]
)
@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_a_database_that_is_not_utf8_is_one_line(
    on_postgresql: Server, encoding: str, command: tuple[str, ...]
) -> None:
    """It names the encoding and how to make the right database; exit code 2, and nothing is stored."""
    name = f"enc_{encoding.lower()}_{'_'.join(command).replace('-', '')}"
    url = on_postgresql.create(name, encoding=encoding)
    environment = {key: value for key, value in os.environ.items() if not key.startswith("SBTC_WATCHER_")}
    environment |= {
        "SBTC_WATCHER_DATABASE_URL": url,
        "SBTC_WATCHER_API_URLS": "http://127.0.0.1:9",
        "SBTC_WATCHER_HTTP_BIND": "",
    }
    done = subprocess.run(
        [sys.executable, "-m", "watcher", *command],
        env=environment,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    said = f"database_url: the database {name} has the encoding {encoding}, and UTF8 is needed"
    right = f"createdb --encoding=UTF8 --template=template0 {name}_utf8"
    if command == ("check",):
        assert done.returncode == 3  # no source answers either
        assert any(said in line and right in line for line in done.stdout.splitlines())
    else:
        assert done.returncode == 2
        assert done.stderr.splitlines()[0] == f"error: {said}"
        assert right in done.stderr.splitlines()[1]
        assert len(done.stderr.splitlines()) == 2
    assert "Traceback" not in done.stdout + done.stderr


def test_the_session_uses_utf8_whatever_the_environment_says(
    on_postgresql: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PGCLIENTENCODING and the role's own setting do not hold; a URL that insists is refused."""
    url = on_postgresql.create("spoken")
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    database = Database(url)
    with database.begin() as connection:
        connection.execute(text("ALTER DATABASE spoken SET client_encoding TO 'LATIN1'"))
        assert connection.execute(text("SELECT CAST(:text AS text)"), {"text": "☕🎉"}).scalar_one() == "☕🎉"
    database.close()
    with database.read() as connection:
        assert connection.execute(text("SELECT CAST(:text AS text)"), {"text": "☕🎉"}).scalar_one() == "☕🎉"
    database.close()
    insisting = Database(f"{url}&client_encoding=latin1")
    with pytest.raises(ConfigError, match="client_encoding is LATIN1"), insisting.read():
        pass
    insisting.close()
