"""The file of a SQLite database: its owner, its mode, and how it is copied.

It holds secrets, and SQLite keeps files beside it (``-wal``, ``-shm``) with its mode and the user who made
them. So it belongs to one user, and every process that opens it runs as that user.
"""

import contextlib
import errno
import os
import pwd
import shlex
import sqlite3
import stat
import sys
import tempfile
from pathlib import Path

from watcher.errors import ConfigError, NotFound, Unreachable, UsageError
from watcher.log import get_logger

#: For the owner only.
FILE_MODE = 0o600

#: Suffixes of the file and those beside it: SQLite's own, and the lock of the indexer.
_SUFFIXES = ("", "-wal", "-shm", ".lock")

log = get_logger(__name__)


def prepare(path: Path, *, create: bool) -> None:
    """Make sure that the database file exists, that it is this user's, and that others cannot read it.

    With ``create`` a missing one is made, with its folder; else :class:`NotFound` is raised. Raises
    :class:`ConfigError` when the file is another user's, or cannot be made.
    """
    path = Path(os.path.realpath(path))
    try:
        owner = path.stat().st_uid
    except (FileNotFoundError, NotADirectoryError):
        if not create:
            raise NotFound(
                f"no database at {path}",
                hint="`sbtc-watcher run` makes it; "
                "`sbtc-watcher check --show` shows the database_url that holds here",
            ) from None
        _make(path)
        return
    except PermissionError:
        _refuse_others(*_nearest(path.parent))
        raise ConfigError(f"database_url: cannot read {path}: permission denied") from None
    _refuse_others(path, owner)
    _keep_private(path)


def backup(source: Path, target: Path) -> int:
    """Copy the database as it is at one moment, while others write to it; return the copy's size in bytes.

    The copy appears whole or not at all, readable for this user only. Raises :class:`UsageError` when
    ``target`` exists or cannot be made, :class:`Unreachable` when the copy fails.
    """
    try:
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
        descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)  # mode 0600
    except OSError as error:
        raise _no_place(target, error) from None
    partial = Path(name)
    try:
        with (
            contextlib.closing(sqlite3.connect(source)) as original,
            contextlib.closing(sqlite3.connect(partial)) as copy,
        ):
            original.backup(copy)
            copy.execute("PRAGMA journal_mode=DELETE")  # one file, complete in itself
        os.fsync(descriptor)
        _publish(partial, target)
    except sqlite3.Error as error:
        raise Unreachable(
            f"the copy to {target} failed: {error}", hint="check that its disk has room"
        ) from None
    except OSError as error:
        raise _no_place(target, error) from None
    finally:
        os.close(descriptor)
        for suffix in ("", "-journal", "-wal", "-shm"):
            Path(f"{partial}{suffix}").unlink(missing_ok=True)
    return target.stat().st_size


def _publish(partial: Path, target: Path) -> None:
    try:
        # Unlike a rename, a link never replaces what another process has put there meanwhile.
        os.link(partial, target)
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        os.rename(partial, target)


def _make(path: Path) -> None:
    if os.geteuid() == 0:
        # Any other user's attempt in a folder that is not theirs fails by itself.
        _refuse_others(*_nearest(path.parent))
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"database_url: cannot create {path.parent}: {error.strerror}",
            hint="choose a folder that this user may write to",
        ) from error
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE))
    except FileExistsError:
        pass  # another process was quicker
    except OSError as error:
        raise ConfigError(
            f"database_url: {path.parent} is not writable", hint="choose a folder that this user may write to"
        ) from error


def _refuse_others(path: Path, owner: int) -> None:
    """Raise :class:`ConfigError` when another user owns a path."""
    if owner == os.geteuid():
        return
    name, ours = _name(owner), _name(os.geteuid())
    program = sys.argv[0] if Path(sys.argv[0]).name == "sbtc-watcher" else "sbtc-watcher"
    command = shlex.join([program, *sys.argv[1:]])
    switch = f"runuser -u {name} --" if os.geteuid() == 0 else f"sudo -u {name}"
    raise ConfigError(
        f"database_url: {path} belongs to {name}, and this is {ours}: "
        "the files that one makes there stop the other",
        hint=f"{switch} {command}; or, if the daemon runs as {ours}: chown it, with all that is beside it",
    )


def _keep_private(path: Path) -> None:
    """Take all rights to the file, and to those beside it, from other users."""
    for file in (Path(f"{path}{suffix}") for suffix in _SUFFIXES):
        try:
            mode = stat.S_IMODE(file.stat().st_mode)
            if not mode & 0o077 or not file.is_file():
                continue
            file.chmod(mode & 0o700)
        except FileNotFoundError:
            continue
        except OSError as error:
            log.warning("database.readable_by_others", file=str(file), reason=error.strerror)
        else:
            log.warning(
                "database.made_private", file=str(file), mode=f"{mode:04o}", now=f"{mode & 0o700:04o}"
            )


def _nearest(path: Path) -> tuple[Path, int]:
    """Return the path, or its first parent that can be examined, with its owner."""
    for place in (path, *path.parents):
        with contextlib.suppress(OSError):
            return place, place.stat().st_uid
    return path, os.geteuid()


def _no_place(target: Path, error: OSError) -> UsageError:
    hint = "choose another name: a backup is never overwritten" if isinstance(error, FileExistsError) else ""
    return UsageError(f"cannot write {target}: {(error.strerror or str(error)).lower()}", hint=hint)


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"'#{uid}'"  # as sudo takes it
