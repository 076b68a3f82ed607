"""Heartbeats: every process records the roles that it runs, so that the others notice when one is gone.

A row is good until a time that the process keeps extending; a process that was killed, froze or cannot write
lets it pass. Times are the database server's on PostgreSQL, and this machine's on SQLite, which only one
machine has.
"""

import os
import secrets
import socket
import time
from collections.abc import Callable, Collection
from typing import Final

from sqlalchemy import Connection, delete, select

from notifier.clock import database_time
from notifier.statements import upsert
from watcher.store.database import Database
from watcher.store.process_schema import heartbeat

#: The roles that every deployment needs.
FOLLOWER: Final = "follower"
NOTIFIER: Final = "notifier"

#: A process without a heartbeat for so many polls, and at least so many seconds, counts as gone.
SILENT_POLLS = 3
MIN_SILENCE_SECONDS = 10.0

#: Heartbeats within that time, and the longest wait between two of them, seconds.
HEARTBEATS_PER_LIMIT = 4
MAX_INTERVAL_SECONDS = 10.0

#: Rows of processes that ended without notice are deleted after so many seconds.
EXPIRED_ROWS_KEPT_SECONDS = 86_400.0


def silence_limit(poll_interval: float) -> float:
    """Return after how many seconds without a heartbeat a process counts as gone."""
    return max(MIN_SILENCE_SECONDS, SILENT_POLLS * poll_interval)


class Heartbeat:
    """One process's heartbeat. ``limit``: seconds for which each is good; ``now``: this machine's clock."""

    def __init__(self, database: Database, *, limit: float, now: Callable[[], float] = time.time) -> None:
        self.limit = limit
        self.interval = min(limit / HEARTBEATS_PER_LIMIT, MAX_INTERVAL_SECONDS)
        self.process = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self._database = database
        self._now = now

    def write(self, roles: Collection[str], *, good_for: float = 0.0) -> None:
        """Record that this process runs ``roles`` and no others, for ``good_for`` seconds (0: the limit)."""
        self._database.transact(lambda connection: self._write(connection, roles, good_for or self.limit))

    def _write(self, connection: Connection, roles: Collection[str], good_for: float) -> None:
        now = database_time(connection, machine=self._now())
        gone = heartbeat.c.process == self.process
        connection.execute(
            delete(heartbeat).where(
                (gone & heartbeat.c.role.not_in(roles))
                | (heartbeat.c.until < now - EXPIRED_ROWS_KEPT_SECONDS)
            )
        )
        for role in sorted(roles):
            values = {"seen": now, "until": now + good_for}
            statement = upsert(connection, heartbeat).values(process=self.process, role=role, **values)
            statement = statement.on_conflict_do_update(
                index_elements=[heartbeat.c.process, heartbeat.c.role], set_=values
            )
            connection.execute(statement)


def processes(connection: Connection, *, now: float, limit: int) -> list[tuple[str, str, float, bool]]:
    """Return process, role, time of the last heartbeat and whether it lives: the newest rows first."""
    clock = database_time(connection, machine=now)
    query = select(heartbeat).order_by(heartbeat.c.seen.desc(), heartbeat.c.role).limit(limit)
    return [
        (row.process, row.role, row.seen, row.until > clock and row.seen <= clock + MIN_SILENCE_SECONDS)
        for row in connection.execute(query)
    ]


def live_roles(connection: Connection, *, now: float) -> frozenset[str]:
    """Return the roles that some live process runs. ``now``: this machine's clock, for SQLite."""
    clock = database_time(connection, machine=now)
    # One from the future was written before the clock was set back, by a process that has not written since.
    good = (heartbeat.c.until > clock) & (heartbeat.c.seen <= clock + MIN_SILENCE_SECONDS)
    return frozenset(connection.execute(select(heartbeat.c.role).where(good).distinct()).scalars())
