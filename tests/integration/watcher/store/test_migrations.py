"""The schema's history: it makes exactly the declared tables, once, and never goes back."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text
from sqlalchemy.exc import IntegrityError

from notifier.schema import metadata as notifier_metadata
from tests import harness
from watcher.errors import ConfigError, Unreachable
from watcher.store import revisions
from watcher.store.database import Database, alembic_config
from watcher.store.node_schema import metadata as node_metadata
from watcher.store.schema import metadata as watcher_metadata

INDEXES = {
    "sqlite": "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL AND type = 'index'",
    "postgresql": "SELECT indexname AS name, indexdef AS sql FROM pg_indexes WHERE schemaname = 'public'"
    " AND tablename <> 'alembic_version'",
}


@pytest.fixture
def empty(
    tmp_path: Path, backend: str, request: pytest.FixtureRequest
) -> Iterator[Callable[[str], Database]]:
    """Return a function that opens an empty database by name."""
    opened: list[Database] = []

    def open_by_name(name: str) -> Database:
        if backend == "sqlite":
            url = harness.sqlite_url(tmp_path / name)
        else:
            url = request.getfixturevalue("on_postgresql").create(name)
        opened.append(Database(url))
        return opened[-1]

    yield open_by_name
    for database in opened:
        database.close()


@pytest.fixture
def database(empty: Callable[[str], Database]) -> Database:
    """An empty database."""
    return empty("empty")


def indexes(connection: Connection) -> dict[str, Any]:
    return {row.name: row.sql for row in connection.execute(text(INDEXES[connection.dialect.name]))}


def test_an_empty_database_gets_exactly_the_tables(empty: Callable[[str], Database]) -> None:
    database, by_hand = empty("upgraded"), empty("by_hand")
    assert database.revision() is None
    database.upgrade()
    assert database.revision() == database.head()
    with database.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, [watcher_metadata, node_metadata, notifier_metadata]) == []
        found = indexes(connection)
    with by_hand.begin() as connection:
        watcher_metadata.create_all(connection)
        node_metadata.create_all(connection)
        notifier_metadata.create_all(connection)
        expected = indexes(connection)
    # compare_metadata does not look at the conditions of partial indexes.
    assert found == expected
    assert len(found) > 30


def test_a_second_upgrade_changes_nothing(database: Database) -> None:
    database.upgrade()
    with database.begin() as connection:
        connection.execute(text("INSERT INTO status_count VALUES ('mer_X', 'pending', 7)"))
    database.upgrade()
    with database.read() as connection:
        assert connection.execute(text("SELECT count FROM status_count")).scalar_one() == 7


def test_a_database_from_the_future_is_refused_and_left_alone(database: Database) -> None:
    database.upgrade()
    with database.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(ConfigError, match="revision 9999") as caught:
        database.upgrade()
    assert caught.value.hint
    assert database.revision() == "9999"


def test_going_back_to_nothing_leaves_nothing(database: Database) -> None:
    database.upgrade()
    with database.begin() as connection:
        config = alembic_config()
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
    with database.read() as connection:
        assert inspect(connection).get_table_names() == ["alembic_version"]
    database.upgrade()
    assert database.revision() == database.head()


def test_an_upgrade_that_fails_half_way_leaves_nothing(database: Database) -> None:
    with database.begin() as connection:
        connection.execute(text("CREATE TABLE transition (mine INTEGER)"))
    with pytest.raises((Unreachable, ConfigError), match="already exists"):
        database.upgrade()
    with database.read() as connection:
        assert inspect(connection).get_table_names() == ["transition"]


def test_processes_that_start_together_upgrade_once(database: Database) -> None:
    program = (
        "import sys; from watcher.store.database import Database, alembic_config\n"
        "database = Database(sys.argv[1]); sys.stdin.readline(); database.upgrade()\n"
        "print(database.revision())"
    )
    started = [
        subprocess.Popen(
            [sys.executable, "-c", program, database.url.render_as_string(hide_password=False)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[4],
        )
        for _ in range(3)
    ]
    for process in started:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = [process.communicate(timeout=60)[0].strip() for process in started]
    assert [process.returncode for process in started] == [0, 0, 0]
    assert answers == [database.head()] * 3


def test_rows_are_kept_when_refuted_ones_get_a_place_beside_them(database: Database) -> None:
    """Data is kept: a transfer, its labels, an attempt; then the same place in a block may be used twice."""
    with database.begin() as connection:
        config = alembic_config()
        config.attributes["connection"] = connection
        command.upgrade(config, "0005")
        connection.execute(
            text(
                "INSERT INTO transfer (id, block_hash, height, time, burn_height, tx_id, tx_index, rank,"
                " asset, recipient, amount, route, canonical, assigned, seen_at)"
                " VALUES ('tr_1', '0x1', 1, 2, 3, '0xa', 0, 0, 'STX', 'SP1', 7, 'transfer', true, false, 4)"
            )
        )
        connection.execute(text("INSERT INTO stray VALUES ('r:LATER', 'tr_1')"))
    database.upgrade()
    with database.begin() as connection:
        assert connection.execute(text("SELECT id, refuted FROM transfer")).all() == [("tr_1", None)]
        assert connection.execute(text("SELECT key, transfer_id FROM stray")).all() == [("r:LATER", "tr_1")]
        connection.execute(text("UPDATE transfer SET canonical = false, refuted = 'why'"))
        columns = (
            "block_hash, height, time, burn_height, tx_id, tx_index, rank, asset, recipient, amount, route"
        )
        again = f"INSERT INTO transfer (id, {columns}, canonical, assigned, seen_at)"
        again += f" SELECT 'tr_2', {columns}, true, false, 4 FROM transfer"
        connection.execute(text(again))
    with pytest.raises(IntegrityError), database.begin() as connection:
        connection.execute(text("DELETE FROM transfer WHERE id = 'tr_1'"))
    with database.begin() as connection:
        config = alembic_config()
        config.attributes["connection"] = connection
        connection.execute(text("UPDATE stray SET transfer_id = 'tr_2'"))
        command.downgrade(config, "0005")
        assert connection.execute(text("SELECT id FROM transfer")).scalars().all() == ["tr_2"]
        assert connection.execute(text("SELECT transfer_id FROM stray")).scalars().all() == ["tr_2"]


def test_the_revisions_by_their_files_are_those_of_alembic() -> None:
    """The names of the files tell the same history as what stands in them."""
    scripts = ScriptDirectory.from_config(alembic_config())
    assert list(revisions.known()) == [one.revision for one in scripts.walk_revisions()][::-1]
    assert Database.head() == scripts.get_current_head()


def test_a_command_on_a_current_database_does_without_alembic(tmp_path: Path) -> None:
    """Alembic takes as long to load as all the rest; it is loaded to upgrade."""
    url = harness.sqlite_url(tmp_path)
    harness.open_database(tmp_path).close()
    code = (
        "import sys; from watcher.store.database import Database\n"
        f"database = Database({url!r}); database.upgrade(); database.close()\n"
        "sys.exit('alembic' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0
