"""The part of the daemon that takes an own node's posts; it holds ``node_observer_bind``."""

import asyncio
import socket
from collections.abc import Callable, Coroutine
from functools import partial
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from chain.node.observer import HostAddresses, Observer
from chain.node.receiver import Receiver
from watcher import unforeseen
from watcher.api.server import AddressInUse, bind
from watcher.concurrency import run_until_stopped
from watcher.config.settings import Settings
from watcher.indexer.node_inbox import NodeInbox
from watcher.log import get_logger
from watcher.store.database import Database

#: Wait for an address that another process of this machine holds, seconds.
RETRY_SECONDS = 2.0

log = get_logger(__name__)


class NodePosts:
    """Takes posts while the daemon runs, also while another process follows: the node waits for an answer.

    A context manager that binds the address. While another process of this machine holds it, that one stores
    the posts in the same database; this one takes over when it is gone. Entering raises
    :class:`watcher.errors.ConfigError` for an address that cannot be had at all. ``wake`` is called for what
    moves the chain.
    """

    def __init__(self, settings: Settings, database: Database, wake: Callable[[], None]) -> None:
        address, url = settings.node_observer_address, settings.node_url
        assert address is not None, "without an address there are no posts"
        assert url is not None, "the settings demand both"
        self._address = address
        self._peers = HostAddresses(urlsplit(url).hostname or "")
        self._receiver = Receiver(
            NodeInbox(database), wake=wake, on_unforeseen=partial(unforeseen.report, "node_observer")
        )
        self._listener: socket.socket | None = None

    def __enter__(self) -> Self:
        self._bind(log.warning)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._listener is not None:
            self._listener.close()

    @property
    def port(self) -> int | None:
        """The port that is listened on; None while another process holds the address."""
        return None if self._listener is None else int(self._listener.getsockname()[1])

    async def run(self, stop: asyncio.Event) -> None:
        """Take posts until ``stop`` is set."""
        while self._listener is None and not stop.is_set():
            await run_until_stopped(stop, asyncio.sleep(RETRY_SECONDS))
            self._bind(log.debug)
        if self._listener is not None:
            await Observer(self._listener, self._receiver.take, peers=self._peers).run(stop)

    async def beside(
        self, follow: Callable[[asyncio.Event], Coroutine[Any, Any, None]], stop: asyncio.Event
    ) -> None:
        """Take posts while ``follow`` runs."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.run(stop))
            await follow(stop)

    def _bind(self, say: Callable[..., None]) -> None:
        try:
            self._listener = bind(self._address, "node_observer_bind")
        except AddressInUse as problem:
            say("node.observer_waits", reason=str(problem))
        else:
            log.info("node.observer_bound", host=self._address[0], port=self.port)
