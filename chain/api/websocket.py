"""The API's WebSocket: a hint that a new block may exist, which makes the indexer poll at once.

Each ``block`` message of ``/extended/v1/ws`` triggers a poll before its next interval. Data is only ever read
by REST, so a lost, late, duplicate or forged message costs at most time, and regular polls continue.

The server's oddities, all seen in API 9.0: a client that misses a pong is unsubscribed while its socket stays
open; a server that restarts neither closes its old sockets nor sends anything on them; no message is ever
repeated. Hence a socket that is silent while polls find new blocks is replaced; every opened socket triggers
a poll; and every socket is replaced after an hour.
"""

import asyncio
import json
import random
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Final

import structlog
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus, WebSocketException

from chain.api.parse_fields import MAX_COUNT
from chain.backoff import backoff_seconds

PATH: Final = "/extended/v1/ws"

#: Largest message accepted, in bytes: a block's message names up to some thousand transactions.
MAX_MESSAGE_BYTES: Final = 2**20

_log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSocketTimeouts:
    """Timeouts and pauses of the socket, in seconds."""

    #: To connect, handshake included; to send a message.
    open: float = 10.0
    #: Until a subscription is answered.
    answer: float = 10.0
    #: Without a message since a poll found a new block; a second such block ends the socket at once.
    silence: float = 60.0
    #: Age from which a lost socket counts as a good one: the next is opened at once.
    healthy_age: float = 60.0
    #: Age at which a socket is replaced.
    reopen: float = 3600.0
    #: First pause after a failure; doubles with each further one, up to ``max_backoff``.
    backoff: float = 1.0
    max_backoff: float = 300.0
    #: Between two checks of the clock.
    tick: float = 5.0
    #: Between two of our pings, and from a ping to its pong.
    ping: float = 20.0
    #: Messages per ``tick`` above which the server is considered faulty.
    flood: int = 500


class SocketLost(Exception):
    """The socket is unusable; the text says why."""


#: Polls that find a new tip without a message, before the socket counts as stale.
_MAX_UNANNOUNCED_BLOCKS = 2


class StaleDetector:
    """Detects a socket that is silent while the chain grows. Times are arguments."""

    def __init__(self, limit: float) -> None:
        self._limit = limit
        #: Newest height known by REST, None before the first; and the height of the last message.
        self._tip: int | None = None
        self._announced = 0
        #: When the chain was first seen to grow without a message, and how often since.
        self._since: float | None = None
        self._unannounced = 0

    def on_subscribed(self) -> None:
        """Start a subscription: heights that are already known will not be announced."""
        self._announced, self._since, self._unannounced = self._tip or 0, None, 0

    def note_tip(self, height: int, now: float) -> None:
        """Note a height that the chain is known to have."""
        if self._tip is None:
            self._announced = self._tip = height
        if height > max(self._announced, self._tip):
            self._unannounced += 1
        self._tip = height
        if height > self._announced and self._since is None:
            self._since = now

    def on_message(self, height: int, now: float) -> None:
        """Note a message about a block of this height."""
        self._announced, self._since, self._unannounced = height, None, 0
        if self._tip is not None and self._tip > height:
            # An old block, or one of a losing branch: the socket works, but has not announced the tip.
            self._since = now

    def is_stale(self, now: float) -> bool:
        """Whether the chain has grown for the whole limit, or twice, without a message."""
        return self._unannounced >= _MAX_UNANNOUNCED_BLOCKS or (
            self._since is not None and now - self._since >= self._limit
        )


class BlockWebSocket:
    """Keeps one socket open and calls ``on_block`` when a new block may exist; ``run`` owns its tasks.

    ``sources`` returns base URLs, the best one first, each time a socket is opened; after a failure the next
    one is tried. ``api_key`` returns the key of a URL. Pass the newest height to :meth:`note_tip` after each
    poll, so that a stale socket is noticed. Clock, sleep and random are parameters for tests; network
    timeouts use the event loop's clock.
    """

    def __init__(
        self,
        sources: Callable[[], Sequence[str]],
        on_block: Callable[[], None],
        *,
        api_key: Callable[[str], str | None] = lambda _: None,
        user_agent: str = "sbtc-watcher",
        timeouts: WebSocketTimeouts | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        rng: Callable[[], float] = random.random,
        on_unforeseen: Callable[[Exception], None] = lambda error: _log.error("unforeseen", exc_info=error),
    ) -> None:
        self._sources = sources
        self._on_unforeseen = on_unforeseen
        self._on_block = on_block
        self._api_key = api_key
        self._user_agent = user_agent
        self._timeouts = timeouts or WebSocketTimeouts()
        self._clock = clock
        self._sleep = sleep
        self._rng = rng
        self._staleness = StaleDetector(self._timeouts.silence)
        self._url: str | None = None
        self._open = False
        self._trouble: str | None = None
        #: Number of the last subscription, and since when it waits for its answer.
        self._number = 0
        self._asked_at: float | None = None
        #: Set when polls found blocks that the socket did not announce.
        self._stale = asyncio.Event()
        self._messages = 0

    @property
    def is_open(self) -> bool:
        """Whether a socket is open and subscribed."""
        return self._open

    def state(self, url: str) -> str | None:
        """State in ``status``: ``open``, ``closed: reason``, or None for a source whose socket is unused."""
        if url != self._url:
            return None
        return "open" if self._open else f"closed: {self._trouble or 'connecting'}"

    def note_tip(self, height: int) -> None:
        """Note the newest height known by REST."""
        now = self._clock()
        self._staleness.note_tip(height, now)
        if self._staleness.is_stale(now):
            self._stale.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Keep a socket open until ``stop`` is set. Never raises because of a server."""
        await _first(self._keep(), _wait(stop))
        self._open = False

    async def _keep(self) -> None:
        failures = 0
        while True:
            urls = self._sources()
            self._url = urls[failures % len(urls)]
            began = self._clock()
            try:
                await self._session(self._url)
                failures = 0
                continue
            except (OSError, UnicodeError, WebSocketException, SocketLost) as error:
                self._close(error)
            except Exception as error:
                self._on_unforeseen(error)
                self._close(error)
            if self._clock() - began >= self._timeouts.healthy_age:
                failures = 0
            first, longest = self._timeouts.backoff, self._timeouts.max_backoff
            pause = backoff_seconds(failures, first=first, longest=longest, rng=self._rng)
            failures += 1
            await self._sleep(pause)

    async def _session(self, url: str) -> None:
        """Open one socket and listen until it is due for replacement. Raises when it is lost earlier."""
        async with _Connect(
            socket_url(url),
            additional_headers={} if (key := self._api_key(url)) is None else {"x-api-key": key},
            user_agent_header=self._user_agent,
            # Proxies from the environment are not settings of this program; compression would gain nothing.
            proxy=None,
            compression=None,
            open_timeout=self._timeouts.open,
            close_timeout=1.0,
            create_connection=_Connection,
            ping_interval=self._timeouts.ping,
            ping_timeout=self._timeouts.ping,
            max_size=MAX_MESSAGE_BYTES,
            max_queue=16,
        ) as socket:
            try:
                await _first(self._listen(socket), self._guard(socket), self._raise_when_stale())
            finally:
                self._asked_at = None

    async def _listen(self, socket: ClientConnection) -> None:
        async for message in socket:
            self._messages += 1
            if self._messages > self._timeouts.flood:
                raise SocketLost(f"more than {self._timeouts.flood} messages in {self._timeouts.tick:g} s")
            self._handle(message)
        raise SocketLost("the server closed it")

    async def _guard(self, socket: ClientConnection) -> None:
        opened = self._clock()
        await self._subscribe(socket)
        while True:
            self._messages = 0
            await self._sleep(self._timeouts.tick)
            now = self._clock()
            if now - opened >= self._timeouts.reopen:
                return
            if self._asked_at is not None:
                if now - self._asked_at >= self._timeouts.answer:
                    raise SocketLost("the subscription was not answered")
            elif self._staleness.is_stale(now):
                self._stale.set()

    async def _raise_when_stale(self) -> None:
        self._stale.clear()
        await self._stale.wait()
        raise SocketLost("it stayed silent while the chain moved")

    async def _subscribe(self, socket: ClientConnection) -> None:
        self._number += 1
        self._asked_at = self._clock()
        self._staleness.on_subscribed()
        request = {"jsonrpc": "2.0", "id": self._number, "method": "subscribe", "params": {"event": "block"}}
        async with asyncio.timeout(self._timeouts.open):
            await socket.send(json.dumps(request))

    def _handle(self, message: str | bytes) -> None:
        """Handle the subscription's answer and block messages; ignore everything else."""
        try:
            parsed = json.loads(message)
        except (ValueError, RecursionError):
            return
        if not isinstance(parsed, dict):
            return
        if parsed.get("method") == "block":
            self._on_block_message(parsed.get("params"))
        elif self._asked_at is not None and parsed.get("id") == self._number:
            if "result" not in parsed:
                raise SocketLost("the subscription was refused")
            self._subscribed()

    def _on_block_message(self, params: object) -> None:
        height = params.get("height") if isinstance(params, dict) else None
        if isinstance(height, int) and not isinstance(height, bool) and 0 <= height <= MAX_COUNT:
            self._staleness.on_message(height, self._clock())
            self._on_block()

    def _subscribed(self) -> None:
        self._asked_at = None
        if not self._open:
            self._open, self._trouble = True, None
            _log.info("websocket.open", action="websocket.open", source=self._url)
        # Blocks that came while no socket was open are not announced again.
        self._on_block()

    def _close(self, error: Exception) -> None:
        trouble = _reason(error)
        if self._open or trouble != self._trouble:
            _log.warning("websocket.lost", action="websocket.lost", source=self._url, reason=trouble)
        self._open, self._trouble = False, trouble


def socket_url(base_url: str) -> str:
    """Return the WebSocket URL of an API: ``wss`` where the API is ``https``."""
    scheme, _, rest = base_url.partition("://")
    return f"{'wss' if scheme == 'https' else 'ws'}://{rest.rstrip('/')}{PATH}"


class _Connection(ClientConnection):
    def pause_writing(self) -> None:
        """Abort when the server stops reading: answers to its pings would pile up without limit."""
        super().pause_writing()
        self.transport.abort()


class _Connect(connect):
    def process_redirect(self, exc: Exception) -> Exception | str:
        """Follow no redirect: it would send the API key to any host the server names."""
        return exc


def _reason(error: Exception) -> str:
    if isinstance(error, InvalidStatus):
        return f"HTTP {error.response.status_code} instead of a socket"
    text = " ".join("".join(char if char.isprintable() else " " for char in str(error)[:400]).split())
    return text[:120] or type(error).__name__


async def _wait(stop: asyncio.Event) -> None:
    await stop.wait()


async def _first(*work: Coroutine[Any, Any, None]) -> None:
    """Run these until one ends, and take its outcome; the others are cancelled and awaited."""
    tasks = [asyncio.ensure_future(one) for one in work]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()
