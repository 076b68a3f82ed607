"""The HTTP server inside the daemon: uvicorn on a socket of ours, without signal handlers of its own."""

import asyncio
import errno
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

import uvicorn

from watcher.api.app import make_app
from watcher.api.connection import Connection
from watcher.api.health import Health
from watcher.api.middleware import RequestMiddleware
from watcher.api.transactions import TransactionRunner
from watcher.config.settings import Settings
from watcher.errors import ConfigError
from watcher.log import get_logger
from watcher.monitoring.liveness import Liveness
from watcher.monitoring.metrics import Metrics
from watcher.services.status_reasons import Reason, not_writable
from watcher.store.database import Database

#: How long answers under way may go on after the stop, seconds.
STOP_GRACE_SECONDS = 5

#: How long a thread that computes keeps the others waiting, seconds. A change asks the database some thirty
#: times while it holds the ledger's lock, and after each time may have to wait so long for its turn: Python's
#: own 5 ms made 150 of that.
SWITCH_INTERVAL_SECONDS = 0.0005

log = get_logger(__name__)


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the daemon."""
        yield


class AddressInUse(ConfigError):
    """Another process listens there."""


def bind(address: tuple[str, int], setting: str = "http_bind") -> socket.socket:
    """Return a listening socket. Raises :class:`ConfigError` when the address cannot be had.

    ``setting`` has the address.
    """
    host, port = address
    shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        reason = str(error.strerror).lower() if isinstance(error, OSError) else "that is no host name"
        raise ConfigError(
            f"{setting}: cannot listen on {shown}: {reason}",
            hint="write an address of this machine, e.g. 127.0.0.1:8420, or nothing for no such server",
        ) from None
    # A name with addresses of both kinds, as localhost, is its IPv4 one.
    family, _, _, _, resolved = min(found, key=lambda entry: entry[0] != socket.AF_INET)
    try:
        listener = socket.create_server(resolved, family=family, backlog=128)
    except OSError as error:
        # create_server says the address once more.
        reason = os.strerror(error.errno).lower() if error.errno else str(error)
        message = f"{setting}: cannot listen on {shown}: {reason}"
        if error.errno == errno.EADDRINUSE:
            raise AddressInUse(
                message,
                hint="a second process on this machine needs a port of its own: SBTC_WATCHER_HTTP_BIND="
                f"{shown.rpartition(':')[0]}:0 for any free one; set it to nothing for no HTTP server"
                if setting == "http_bind"
                else "one process of a machine takes the node's posts",
            ) from None
        raise ConfigError(
            message, hint=f"choose another address, or set {setting} to nothing for no such server"
        ) from None
    # Inherited by what it accepts. asyncio sets it only where the protocol is named, which create_server does
    # not do; without it an answer's body waits for the acknowledgement of its head, which comes 40 ms later.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


class HttpServer:
    """What the daemon serves: a context manager that binds ``http_bind`` and reports that to ``liveness``.

    Entering it raises :class:`ConfigError` when the address cannot be had. With an empty ``http_bind`` it
    serves nothing; nor, without the API, where another process listens there already. ``api``: with the
    merchant API, not only the routes for supervisors; ``wake`` is called when it changed something.
    """

    def __init__(
        self,
        settings: Settings,
        database: Database,
        liveness: Liveness,
        metrics: Metrics,
        *,
        api: bool = False,
        wake: Callable[[], None] = lambda: None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._liveness = liveness
        self._health = Health(database, liveness, metrics, max_lag=settings.ready_max_lag)
        #: The merchant API, None where it is not served.
        self.api: TransactionRunner | None = None
        if api and settings.http_address:
            self.api = TransactionRunner(
                settings, database, wake=wake, known_reasons=self._known_reasons, now=now
            )
        self._listener: socket.socket | None = None

    def _known_reasons(self) -> list[Reason]:
        why = self._liveness.unwritable
        return [not_writable(why)] if why is not None else []

    def __enter__(self) -> Self:
        address = self._settings.http_address
        if address is not None:
            try:
                self._listener = bind(address)
            except AddressInUse as problem:
                if self.api is not None:
                    raise
                # Chain and webhooks matter more than this process's health routes.
                log.warning("http.left_out", reason=str(problem), hint=problem.hint)
            else:
                host, port = self._listener.getsockname()[:2]
                log.info("http.bound", host=host, port=port)
        self._liveness.on_http_bound()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._health.close()
        if self.api is not None:
            self.api.close()
        if self._listener is not None:
            self._listener.close()

    @property
    def port(self) -> int | None:
        """The port that is listened on; None when nothing is served."""
        return None if self._listener is None else int(self._listener.getsockname()[1])

    async def serve(self, stop: asyncio.Event) -> None:
        """Serve until ``stop`` is set, then finish the answers under way, within :data:`STOP_GRACE_SECONDS`
        seconds.
        """
        if self._listener is None:
            return
        config = uvicorn.Config(
            RequestMiddleware(make_app(self._health, self.api)),
            http=Connection,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=STOP_GRACE_SECONDS,
        )
        if self.api is not None:
            sys.setswitchinterval(SWITCH_INTERVAL_SECONDS)
        server = _Server(config)
        async with asyncio.TaskGroup() as tasks:
            serving = tasks.create_task(server.serve(sockets=[self._listener]))
            stopped = tasks.create_task(stop.wait())
            if self.api is not None:
                tasks.create_task(self.api.run(stop))
            await asyncio.wait({serving, stopped}, return_when=asyncio.FIRST_COMPLETED)
            stopped.cancel()
            server.should_exit = True
