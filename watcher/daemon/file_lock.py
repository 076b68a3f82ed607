"""File lock: one follower per SQLite file. The operating system releases it when the process dies."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from watcher.errors import ConfigError, LeaseHeld


@contextmanager
def hold(path: Path) -> Iterator[None]:
    """Hold the lock file at ``path`` while the block runs.

    Raises :class:`LeaseHeld` at once if another process holds it, :class:`ConfigError` if it cannot be
    opened.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigError(
            f"database_url: cannot open the lock {path}: {error.strerror}",
            hint="run as the user that owns the database, or remove a lock that another user left",
        ) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 32).decode("ascii", errors="replace").strip() or "unknown"
            raise LeaseHeld(
                f"another process (pid {holder}) follows the chain on this database",
                hint="stop it first, or start this one with --role notifier and a port of its own"
                " (SBTC_WATCHER_HTTP_BIND=127.0.0.1:0)",
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)
