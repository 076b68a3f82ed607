"""The schema's revisions, by the names of their files.

Alembic is loaded to upgrade only: it takes as long to load as all the rest of a command.
"""

import re
from functools import cache
from importlib.resources import files

from sqlalchemy import Column, Connection, MetaData, String, Table, inspect, select

_FILE = re.compile(r"(\d{4})_\w+\.py", re.ASCII)
#: Alembic's own table.
_version = Table("alembic_version", MetaData(), Column("version_num", String))


@cache
def known() -> tuple[str, ...]:
    """Return every revision that this program has, oldest first."""
    names = (_FILE.fullmatch(file.name) for file in files("watcher.store.migrations.versions").iterdir())
    return tuple(sorted(name[1] for name in names if name))


def current(connection: Connection) -> str | None:
    """Return the revision of a database, None for an empty one."""
    if not inspect(connection).has_table(_version.name):
        return None
    found: str | None = connection.execute(select(_version.c.version_num)).scalar_one_or_none()
    return found
