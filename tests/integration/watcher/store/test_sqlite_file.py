"""The file of a SQLite database: for its owner alone, of one user, and copied while others write."""

import os
import sqlite3
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import insert, select
from structlog.testing import capture_logs

from tests import harness
from watcher.daemon.file_lock import hold
from watcher.errors import ConfigError, NotFound, Unreachable, UsageError
from watcher.store import sqlite_file
from watcher.store.database import Database
from watcher.store.schema import merchant

#: Anybody but the user who runs the tests.
STRANGER = 65534


@pytest.fixture(autouse=True)
def _open_umask() -> Iterator[None]:
    """The usual umask, under which files are readable by all."""
    before = os.umask(0o022)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@contextmanager
def opened(path: Path, *, create: bool = True) -> Iterator[Database]:
    database = Database(f"sqlite:///{path}", create=create)
    yield database
    database.close()


def test_a_new_database_is_for_its_owner_alone_with_all_files_beside_it(tmp_path: Path) -> None:
    """In a folder that others may enter too: the file, its log and index, and the indexer's lock."""
    path = tmp_path / "watcher.db"
    tmp_path.chmod(0o755)
    with opened(path) as database, hold(tmp_path / "watcher.db.lock"):
        database.upgrade()
        harness.add_merchant(database)
        files = sorted(tmp_path.iterdir())
        assert [file.name for file in files] == [
            "watcher.db",
            "watcher.db-shm",
            "watcher.db-wal",
            "watcher.db.lock",
        ]
        assert {mode(file) for file in files} == {0o600}
    assert mode(tmp_path) == 0o755, "a folder that was there before is not ours to change"


def test_a_database_that_others_may_read_is_made_private(tmp_path: Path) -> None:
    """One from an earlier version, under a usual umask: its mode is corrected and logged on opening."""
    path = tmp_path / "watcher.db"
    with opened(path) as database:
        database.upgrade()
        for file in tmp_path.iterdir():
            file.chmod(0o644)
        with capture_logs() as said, opened(path, create=False):
            assert {mode(file) for file in tmp_path.iterdir()} == {0o600}
    assert {line["file"] for line in said if line["event"] == "database.made_private"} == {
        str(path),
        f"{path}-wal",
        f"{path}-shm",
    }


def test_a_link_to_nothing_makes_its_target_private(tmp_path: Path) -> None:
    """The file that is made is the one that SQLite opens."""
    (tmp_path / "link.db").symlink_to(tmp_path / "target.db")
    with opened(tmp_path / "link.db") as database:
        database.upgrade()
    assert mode(tmp_path / "target.db") == 0o600


def test_reading_makes_no_file_and_no_folder(tmp_path: Path) -> None:
    """Also where the folder is missing, or a file stands in its place."""
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "a.db", tmp_path / "no" / "a.db", tmp_path / "file" / "a.db"):
        with pytest.raises(NotFound, match="no database at "), opened(path, create=False):
            pass
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


def strangers_file(tmp_path: Path) -> Path:
    """Return a file of another user: made one's by root; else one of root's own."""
    if os.geteuid() != 0:
        return Path("/etc/passwd")
    path = tmp_path / "watcher.db"
    with opened(path) as database:
        database.upgrade()
    os.chown(path, STRANGER, STRANGER)
    return path


@pytest.mark.parametrize("create", [True, False])
def test_another_users_database_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, create: bool
) -> None:
    """Files of a second user beside it would stop its owner; the hint is the command to run instead."""
    path = strangers_file(tmp_path)
    before = sorted(os.listdir(path.parent))
    monkeypatch.setattr("sys.argv", ["/opt/bin/sbtc-watcher", "merchants", "add", "My shop"])
    with pytest.raises(ConfigError) as refused, opened(path, create=create):
        pass
    assert str(refused.value).startswith(f"database_url: {path} belongs to ")
    assert "/opt/bin/sbtc-watcher merchants add 'My shop'" in refused.value.hint
    assert ("runuser -u" if os.geteuid() == 0 else "sudo -u") in refused.value.hint
    assert sorted(os.listdir(path.parent)) == before


def test_root_makes_no_database_in_another_users_folder(tmp_path: Path) -> None:
    """The daemon's user could not write to it. Anybody else cannot make one there at all."""
    folder = tmp_path / "state"
    folder.mkdir()
    if os.geteuid() == 0:
        os.chown(folder, STRANGER, STRANGER)
    else:
        folder.chmod(0o500)
    with pytest.raises(ConfigError, match=r"belongs to|not writable"), opened(folder / "watcher.db"):
        pass
    assert list(folder.iterdir()) == []


def test_a_backup_is_whole_while_others_write(tmp_path: Path) -> None:
    """Rows that are written together are in the copy together, and it is for its owner alone."""
    path, copy = tmp_path / "watcher.db", tmp_path / "copy.db"
    stop = threading.Event()
    with opened(path) as database:
        database.upgrade()

        def write() -> None:
            number = 0
            while not stop.is_set():
                with database.begin() as connection:
                    for half in "ab":
                        row = {
                            "id": f"mer_{number}{half}",
                            "name": "x" * 500,
                            "recipient": "SP",
                            "status": "active",
                        }
                        connection.execute(insert(merchant).values(**row, created_at=0, updated_at=0))
                number += 1

        writer = threading.Thread(target=write)
        writer.start()
        try:
            sizes = [sqlite_file.backup(path, tmp_path / f"copy{number}.db") for number in range(10)]
        finally:
            stop.set()
            writer.join()
    assert len(list(tmp_path.glob(".*"))) == 0, "nothing half done stays"
    for number, size in enumerate(sizes):
        copy = tmp_path / f"copy{number}.db"
        assert (mode(copy), copy.stat().st_size) == (0o600, size)
        with opened(copy, create=False) as database:
            assert database.revision() == database.head()
            with database.read() as connection:
                ids = connection.execute(select(merchant.c.id)).scalars().all()
                assert connection.exec_driver_sql("PRAGMA integrity_check").scalar_one() == "ok"
        halves = {suffix: {id_[:-1] for id_ in ids if id_.endswith(suffix)} for suffix in "ab"}
        assert halves["a"] == halves["b"]


def test_a_backup_overwrites_nothing(tmp_path: Path) -> None:
    """Not another file, not a link that leads nowhere, not the database itself."""
    path = tmp_path / "watcher.db"
    with opened(path) as database:
        database.upgrade()
    (tmp_path / "kept").write_text("kept")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for target in (tmp_path / "kept", tmp_path / "link", path):
        with pytest.raises(UsageError, match="exists"):
            sqlite_file.backup(path, target)
    with pytest.raises(UsageError, match="no such file or directory"):
        sqlite_file.backup(path, tmp_path / "no" / "copy.db")
    assert (tmp_path / "kept").read_text() == "kept"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["kept", "link", "watcher.db"]


def test_a_backup_of_what_is_no_database_leaves_nothing(tmp_path: Path) -> None:
    """A damaged file is one error, and no half copy stays."""
    path = tmp_path / "watcher.db"
    path.write_bytes(b"this is no database" * 100)
    with pytest.raises(Unreachable, match=r"the copy to .* failed: file is not a database"):
        sqlite_file.backup(path, tmp_path / "copy.db")
    assert [file.name for file in tmp_path.iterdir()] == ["watcher.db"]


def test_a_backup_restores_by_being_put_in_the_databases_place(tmp_path: Path) -> None:
    """The copy is one file, complete in itself."""
    path = tmp_path / "watcher.db"
    with opened(path) as database:
        database.upgrade()
        harness.add_merchant(database)
        sqlite_file.backup(path, tmp_path / "copy.db")
    assert sqlite3.connect(tmp_path / "copy.db").execute("PRAGMA journal_mode").fetchone() == ("delete",)
    os.replace(tmp_path / "copy.db", path)
    with opened(path, create=False) as database, database.read() as connection:
        assert connection.execute(select(merchant.c.id)).scalars().all() == [harness.MERCHANT]
