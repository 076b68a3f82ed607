"""Runtime files: each daemon of this machine publishes its database and settings, and commands compare.

A command that reads the same settings file may still get another database or other rules, because the service
manager gives the daemon directories, credentials and variables that a shell does not have. Then the command
refuses.
"""

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import make_url

from watcher.config.settings import PREFIX, Settings
from watcher.errors import ConfigError
from watcher.log import get_logger

#: Folder of the systemd unit's runtime file (``RuntimeDirectory=``), readable by every user.
SYSTEM_FOLDER = Path("/run/sbtc-watcher")

#: Settings that decide what a writing command stores, so that the daemon's must be the same.
COMPARED_SETTINGS = (
    "network",
    "sbtc_contract",
    "assets",
    "payment_contract",
    "ignored_senders",
    "confirmation_tiers",
    "finality_burn_blocks",
    "default_ttl",
    "inclusion_grace",
    "monitoring",
    "reorg_grace",
    "late_policy",
    "verify_amount_over",
    "public_url",
    "webhook_allow_http",
    "webhook_allow_private",
)

_MAX_NOTE_BYTES = 1024 * 1024

log = get_logger(__name__)

Note = dict[str, Any]


@contextmanager
def announce(settings: Settings, config: Path | None) -> Iterator[None]:
    """Publish this daemon's runtime file while the block runs, if a folder for it is found.

    ``config`` is its settings file.
    """
    folder = _folder(config)
    path = None
    if folder is not None:
        path = folder / f"{os.getpid()}.json"
        try:
            folder.mkdir(mode=0o755, parents=True, exist_ok=True)
            path.unlink(missing_ok=True)  # of a dead process with our pid
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except OSError as error:
            log.warning("service.runtime_file_failed", file=str(path), reason=error.strerror)
            path = None
    if path is None:
        yield
        return
    with open(descriptor, "w", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # held as long as we live: see _read
        json.dump(_note(settings, config), file)
        file.flush()
        os.fchmod(descriptor, 0o644)  # complete, so others may read it, whatever the umask
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def check(settings: Settings, config: Path | None, *, write: bool = False) -> None:
    """Raise :class:`ConfigError` if a daemon with the same settings file uses another database.

    With ``write`` also if one of :data:`COMPARED_SETTINGS` differs. Settings from the caller's environment
    are deliberate and not compared.
    """
    notes = [note for note in _read_all() if note.get("config") == _text(config)]
    if not notes:
        return
    ours = json.loads(json.dumps(_note(settings, config)))
    if not _named("database_url") and all(note.get("database") != ours["database"] for note in notes):
        raise _differs(notes[0], "database_url", notes[0].get("database"), ours["database"], config)
    compared = [name for name in COMPARED_SETTINGS if write and not _named(name)]
    for note in notes:
        theirs = note.get("settings")
        if note.get("database") != ours["database"] or not isinstance(theirs, dict):
            continue
        for name in compared:
            if name in theirs and theirs[name] != ours["settings"][name]:
                raise _differs(note, name, theirs[name], ours["settings"][name], config)


def _differs(
    note: Mapping[str, Any], name: str, theirs: object, ours: object, config: Path | None
) -> ConfigError:
    where = f"in {config}" if config is not None else "in a settings file that both read (--config)"
    theirs, ours = (
        json.dumps(v, ensure_ascii=False) if isinstance(v, dict | list) else v for v in (theirs, ours)
    )
    return ConfigError(
        f"{name}: the running daemon (pid {note.get('pid')}) has {theirs}, this command would use {ours}",
        hint=f"write {name} {where} and restart the daemon, or set {PREFIX}{name.upper()} for this command",
    )


def _note(settings: Settings, config: Path | None) -> Note:
    shown = settings.show()
    return {
        "pid": os.getpid(),
        "config": _text(config),
        "database": _identity(settings.database_url),
        "settings": {name: shown[name] for name in COMPARED_SETTINGS},
    }


def _identity(database_url: str) -> str:
    """Return a database URL's normal form, without users, passwords and options."""
    url = make_url(database_url)
    if url.get_backend_name() == "sqlite":
        return f"sqlite:///{os.path.realpath(str(url.database))}"
    host = url.host or url.query.get("host") or "localhost"
    return f"postgresql://{host}:{url.port or 5432}/{url.database}"


def _text(config: Path | None) -> str | None:
    return None if config is None else os.path.realpath(config)


def _named(name: str) -> bool:
    return PREFIX + name.upper() in os.environ


def _folder(config: Path | None) -> Path | None:
    if runtime := os.environ.get("RUNTIME_DIRECTORY", "").split(":")[0]:
        return Path(runtime)
    if user := os.environ.get("XDG_RUNTIME_DIR"):
        return Path(user) / SYSTEM_FOLDER.name
    return SYSTEM_FOLDER if config is not None and os.geteuid() == 0 else None


def _read_all() -> Iterator[Note]:
    user = os.environ.get("XDG_RUNTIME_DIR")
    # The units of the template have a folder each, beside the plain unit's.
    instances = sorted(SYSTEM_FOLDER.parent.glob(f"{SYSTEM_FOLDER.name}-*"))
    own = [Path(user) / SYSTEM_FOLDER.name] if user else []
    for folder in dict.fromkeys([SYSTEM_FOLDER, *instances, *own]):
        for path in sorted(folder.glob("*.json")):
            if (note := _read(path)) is not None:
                yield note


def _read(path: Path) -> Note | None:
    """Return the content of a runtime file; None if its daemon is dead or it is malformed."""
    try:
        with path.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                note = json.loads(file.read(_MAX_NOTE_BYTES))
                return note if isinstance(note, dict) else None
    except (OSError, ValueError):
        pass
    return None
