"""The session of one command: settings, database or server, actor and clock; readers of common options."""

import getpass
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import typer

from contracts.networks import NETWORKS, AssetSpec, default_assets
from watcher.cli.output import OutputFailed
from watcher.errors import ConfigError, NotFound, UsageError

if TYPE_CHECKING:
    from watcher.cli.backends.protocol import Backend
    from watcher.config.settings import Settings
    from watcher.schemas import Request
    from watcher.services import Services
    from watcher.store.database import Database

_R = TypeVar("_R", bound="Request")

#: Environment variables for --server. (``SBTC_WATCHER_API_KEY`` is a setting: the key to the Stacks API.)
SERVER_VARIABLE = "SBTC_WATCHER_SERVER"
KEY_VARIABLE = "SBTC_WATCHER_SERVER_KEY"

_MAX_KEY_BYTES = 4096

#: Hint when the response of a server could not be printed.
SERVER_DID_IT = "the server has made the change: see `list`, and rotate a key or secret that was not shown"


@dataclass(kw_only=True)
class Session:
    """The global options, and the settings, database and backend that they select, opened on demand."""

    config: Path | None = None
    verbose: bool = False
    #: The server's URL, None for this machine's database; ``key`` reads its API key.
    server: str | None = None
    key: Callable[[], str] | None = field(default=None, repr=False)
    allow_http: bool = False

    @cached_property
    def settings(self) -> "Settings":
        """The merged settings. Raises :class:`ConfigError`."""
        from watcher.config.load import load_settings

        return load_settings(self.config)

    @property
    def assets(self) -> tuple[AssetSpec, ...]:
        """Assets whose decimals are known: those of the settings; of a server, every network's defaults."""
        if self.server is None:
            return tuple(self.settings.assets.values())
        usual = (default_assets(network, network.sbtc_contract) for network in NETWORKS.values())
        return tuple(dict.fromkeys(spec for specs in usual for spec in specs))

    @property
    def actor(self) -> str:
        """The name recorded in operator actions: ``cli:alice``."""
        try:
            return f"cli:{getpass.getuser()}"
        except (KeyError, OSError):  # a container's user without a name
            return f"cli:{os.getuid()}"

    @property
    def now(self) -> float:
        """The time by this machine's clock, unix seconds."""
        return time.time()

    def log(self, *, daemon: bool = False, least: str = "warning") -> None:
        """Log to stderr: a daemon by its settings, a command from level ``least`` on, with --verbose all."""
        from watcher import log

        if daemon:
            log.configure(self.settings.log_format, "debug" if self.verbose else self.settings.log_level)
        else:
            log.configure("console", "debug" if self.verbose else least)

    @contextmanager
    def backend(self, *, create: bool = False) -> Iterator["Backend"]:
        """Open the server's backend, or that of this machine's database, with this version's schema."""
        if self.server is None:
            from watcher.cli.backends.local import LocalBackend

            with self.database(create=create) as database:
                yield LocalBackend(
                    settings=self.settings,
                    config=self.config,
                    database=database,
                    actor=self.actor,
                    clock=time.time,
                )
            return
        from watcher.cli.backends.remote import HttpBackend

        assert self.key is not None, "a server comes with a key"
        with closing(HttpBackend(self.server, self.key(), allow_http=self.allow_http)) as backend:
            yield backend

    @contextmanager
    def services(self, *, write: bool = False, create: bool = False) -> Iterator["Services"]:
        """Open the services for one transaction, read-only unless ``write``.

        Commands print their result inside the block: if that fails, the transaction is rolled back, and no
        key exists that was never shown. ``create``: create the database if there is none.
        """
        with self.backend(create=create) as backend:
            try:
                with backend.writing() if write else backend.reading() as services:
                    yield services
            except OutputFailed as error:
                if write:
                    error.hint = "nothing was changed" if self.server is None else SERVER_DID_IT
                raise

    @contextmanager
    def open(self, *, create: bool = False) -> Iterator["Database"]:
        """Open the database without checking its schema.

        Raises :class:`UsageError` with --server, and :class:`NotFound` if there is no database, unless
        ``create`` makes an empty one.
        """
        if self.server is not None:
            raise UsageError("this command needs the database itself", hint="run it on the daemon's machine")
        from watcher.config.load import config_file
        from watcher.daemon import runtime_file
        from watcher.store.database import Database

        runtime_file.check(self.settings, config_file(self.config))
        database = Database(self.settings.database_url, create=create)
        try:
            with database.answering():
                yield database
        finally:
            database.close()

    @contextmanager
    def database(self, *, create: bool = False) -> Iterator["Database"]:
        """Open the database with this version's schema.

        SQLite is upgraded automatically. Raises :class:`ConfigError` if PostgreSQL has another revision:
        other processes may be using it, so an operator decides when. Raises :class:`NotFound` if there is no
        schema, unless ``create``.
        """
        with self.open(create=create) as database:
            revision = database.revision()
            if revision is None and not create:
                raise NotFound(
                    f"no database at {database.safe_url}: there are no tables in it",
                    hint="`sbtc-watcher db upgrade` or `sbtc-watcher run` creates them",
                )
            if database.is_sqlite:
                database.upgrade()
            elif revision != database.head():
                has = "has no schema yet" if revision is None else f"has revision {revision}"
                raise ConfigError(
                    f"database {database.safe_url} {has}, this version needs {database.head()}",
                    hint="run `sbtc-watcher db upgrade`",
                )
            yield database


def get_session(context: typer.Context) -> Session:
    """Return the session of a command."""
    session = context.obj
    assert isinstance(session, Session)
    return session


def read_key(key: str | None, file: str | None) -> str:
    """Return a server's API key, read from ``file`` if given; ``-`` is stdin. Raises :class:`UsageError`."""
    if file is None:
        if not key:
            raise UsageError(
                "--server needs a key", hint=f"--api-key-file FILE, or {KEY_VARIABLE} in the environment"
            )
        return key
    try:
        if file == "-":
            line = sys.stdin.buffer.readline(_MAX_KEY_BYTES)
        else:
            with open(file, "rb") as source:
                line = source.readline(_MAX_KEY_BYTES)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UsageError(f"--api-key-file: cannot read {file}: {reason}") from None
    found = line.decode("ascii", "replace").strip()
    if not found:
        raise UsageError(f"--api-key-file: {file} holds no key in its first line")
    return found


def drop_none(**options: object) -> dict[str, object]:
    """Return the options that are not None."""
    return {name: value for name, value in options.items() if value is not None}


def request_of(model: type[_R], **options: object) -> _R:
    """Return the request that options make, without those that are None. Raises :class:`Refused`."""
    return model.of(drop_none(**options))


def read_pairs(
    pairs: list[str] | None, option: str, *, example: str = "order_id=12345"
) -> dict[str, str] | None:
    """Read ``key=value`` texts, None for none. Raises :class:`UsageError`, with an example as the hint."""
    if not pairs:
        return None
    found: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise UsageError(f"{option}: {pair!r} is not key=value", hint=f"{option} {example}")
        if key in found:
            raise UsageError(f"{option}: {key!r} is given twice")
        found[key] = value
    return found


def read_moment(text: str | None, option: str, *, now: float) -> int | None:
    """Read RFC 3339, unix seconds or an age (``2d``) as whole unix seconds. Raises :class:`UsageError`."""
    from watcher.durations import is_ago, parse_duration
    from watcher.schemas.fields import read_time

    if text is None:
        return None
    try:
        # A bare number is a time, not an age: 1763670000 is not meant as seconds ago.
        return int(now - parse_duration(text)) if is_ago(text) else read_time(text)
    except ValueError:
        raise UsageError(
            f"{option}: {text!r} is not a time",
            hint=f"{option} 2026-01-31T12:00:00Z, or {option} 2d for two days ago",
        ) from None
