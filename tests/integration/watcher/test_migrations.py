"""The schema's history: it makes exactly what the tables say, once, whoever starts first, and never goes back in time."""

import subprocess
import sys
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect, text

from notifier.tables import metadata as notifier_metadata
from watcher.database import Database
from watcher.errors import ConfigError, Unreachable
from watcher.tables import metadata as watcher_metadata


def database_in(folder: Path) -> Database:
    return Database(f"sqlite:///{folder}/watcher.db")


def test_an_empty_database_gets_exactly_the_tables(tmp_path: Path) -> None:
    database = database_in(tmp_path)
    assert database.revision() is None
    database.upgrade()
    assert database.revision() == database.head() == "0001"
    with database.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, [watcher_metadata, notifier_metadata]) == []
        sql = connection.execute(text("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL")).all()
    by_hand = Database(f"sqlite:///{tmp_path}/by_hand.db")
    with by_hand.begin() as connection:
        watcher_metadata.create_all(connection)
        notifier_metadata.create_all(connection)
        expected = connection.execute(text("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL")).all()
    # compare_metadata does not look at the conditions of partial indexes.
    indexes = {row.name: row.sql for row in sql if row.sql.startswith(("CREATE INDEX", "CREATE UNIQUE"))}
    assert indexes == {
        row.name: row.sql for row in expected if row.sql.startswith(("CREATE INDEX", "CREATE UNIQUE"))
    }
    database.close()
    by_hand.close()


def test_a_second_upgrade_changes_nothing(tmp_path: Path) -> None:
    database = database_in(tmp_path)
    database.upgrade()
    with database.begin() as connection:
        connection.execute(text("INSERT INTO status_count VALUES ('pending', 7)"))
    database.upgrade()
    with database.read() as connection:
        assert connection.execute(text("SELECT count FROM status_count")).scalar_one() == 7
    database.close()


def test_a_database_from_the_future_is_refused_and_left_alone(tmp_path: Path) -> None:
    database = database_in(tmp_path)
    database.upgrade()
    with database.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(ConfigError, match="revision 9999") as caught:
        database.upgrade()
    assert caught.value.hint
    assert database.revision() == "9999"
    database.close()


def test_going_back_to_nothing_leaves_nothing(tmp_path: Path) -> None:
    database = database_in(tmp_path)
    database.upgrade()
    with database.begin() as connection:
        config = database._config()
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
    with database.read() as connection:
        assert inspect(connection).get_table_names() == ["alembic_version"]
    database.upgrade()
    assert database.revision() == database.head()
    database.close()


def test_an_upgrade_that_fails_half_way_leaves_nothing(tmp_path: Path) -> None:
    database = database_in(tmp_path)
    with database.begin() as connection:
        connection.execute(text("CREATE TABLE transition (mine INTEGER)"))
    with pytest.raises(Unreachable):
        database.upgrade()
    with database.read() as connection:
        assert inspect(connection).get_table_names() == ["transition"]
    database.close()


def test_processes_that_start_together_upgrade_once(tmp_path: Path) -> None:
    program = (
        "import sys; from watcher.database import Database\n"
        "database = Database(sys.argv[1]); sys.stdin.readline(); database.upgrade()\n"
        "print(database.revision())"
    )
    url = f"sqlite:///{tmp_path}/watcher.db"
    started = [
        subprocess.Popen(
            [sys.executable, "-c", program, url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[3],
        )
        for _ in range(3)
    ]
    for process in started:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = [process.communicate(timeout=60)[0].strip() for process in started]
    assert [process.returncode for process in started] == [0, 0, 0]
    assert answers == ["0001"] * 3
