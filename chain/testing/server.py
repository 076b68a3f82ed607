"""HTTP and WebSocket server that serves a scripted chain like the Stacks Blockchain API, 9.0 or newer."""

import asyncio
import json
import re
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from email.utils import formatdate
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from chain.testing import routes, txs
from chain.testing.faults import Fault, Faults
from chain.testing.routes import ROUTES as ROUTES_V9_0
from chain.testing.routes import Answer, Route, Server
from chain.testing.routes_v3 import ROUTES_V3
from chain.testing.schema import ValidationFailed
from chain.testing.scripted import Announcement, ScriptedChain
from chain.testing.versions import VERSIONS, Features, Shape, gone, warning
from chain.testing.view import View
from chain.testing.websocket import Hub

__all__ = ["ROUTES", "Request", "ScriptedApi"]

#: Route name -> path and function, of all versions.
ROUTES: dict[str, tuple[str, Route]] = {**ROUTES_V9_0, **ROUTES_V3}

#: Node.js's limit for a request's head, in bytes; beyond it: 431.
_MAX_HEAD_BYTES = 16 * 1024
#: Announcements queued for slow sockets; later ones are dropped, as by the real server.
_MAX_ANNOUNCEMENTS = 10_000
#: Methods of the routes that are not for reading.
_METHODS = {"call_read": ("POST",)}
_PUBLIC = "public, no-cache, must-revalidate"
_REASONS = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    429: "Too Many Requests",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
}

#: Called with a request before it is answered; may change the chain.
Hook = Callable[["Request"], Awaitable[None] | None]


@dataclass(slots=True, kw_only=True)
class Request:
    """A received request. ``status`` is None until answered, and after a broken connection."""

    #: A name of ``ROUTES``, ``ws``, or "" for an unknown path.
    route: str
    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    status: int | None = None


class ScriptedApi:
    """Serves one :class:`ScriptedChain` at ``url``.

    Several servers may serve one chain, each with its own faults. Use ``async with``, or :meth:`start` and
    :meth:`stop`; a stopped server starts again on the same port. With ``ping_interval`` None nothing is
    pinged until :meth:`heartbeat` is called.
    """

    def __init__(
        self,
        chain: ScriptedChain,
        *,
        version: str = "9.0.2",
        network_id: int | None = None,
        api_key: str | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        ping_interval: float | None = 5.0,
    ) -> None:
        self.chain = chain
        self.faults = Faults()
        #: Version number as in ``9.0.2``; whole text as served: ``v9.0.2 (main:759c4a586)``.
        self.version = version
        #: False: deprecated routes answer 410.
        self.deprecated_routes = True
        self.become(version)
        #: What is not known of the block routes of 9.7.
        self.shape = Shape()
        #: What ``/v2/info`` says (1 mainnet, 2147483648 testnet); None: no node behind the API, as recorded.
        self.network_id = network_id
        #: Symbol and decimals of the token contracts that exist, by contract id.
        self.tokens: dict[str, tuple[str, int]] = {txs.SBTC_CONTRACT: ("sBTC", 8)}
        #: When set, required as ``x-api-key``; else 401.
        self.api_key = api_key
        #: Headers of every answer, for example ``ratelimit-remaining``.
        self.extra_headers: dict[str, str] = {}
        #: All requests, oldest first.
        self.requests: list[Request] = []
        self.hub = Hub()
        self._host, self._port = host, port
        self._ping_interval = ping_interval
        self._behind = 0
        self._frozen: ScriptedChain | None = None
        self._hooks: list[tuple[str, int, Hook]] = []
        self._runner: web.AppRunner | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._announcements: asyncio.Queue[Announcement] = asyncio.Queue(_MAX_ANNOUNCEMENTS)
        self._answered = asyncio.Condition()

    # Running.

    @property
    def url(self) -> str:
        """Base URL, without a slash at the end."""
        return f"http://{self._host}:{self._port}"

    @property
    def ws_url(self) -> str:
        """URL of the WebSocket."""
        return f"ws://{self._host}:{self._port}/extended/v1/ws"

    async def start(self) -> None:
        """Listen on the port, a free one the first time if it was 0."""
        app = web.Application(handler_args={"max_line_size": 1 << 20, "max_field_size": 1 << 20})
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._host, self._port, reuse_address=True)
        await site.start()
        self._port = self._runner.addresses[0][1]
        loop = asyncio.get_running_loop()
        # Announcements may come from a thread that changes the chain beside this loop.
        stop = self.chain.listen(lambda said: _call(loop, self._take, said))
        self._tasks = [asyncio.create_task(self._announce(stop))]
        if self._ping_interval is not None:
            self._tasks.append(asyncio.create_task(self._beat(self._ping_interval)))

    async def stop(self) -> None:
        """Close the port and every connection."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        await self.hub.close()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    def become(self, version: str) -> None:
        """Serve as another version from now on: a version number, or a name of ``VERSIONS``."""
        self.version = VERSIONS.get(version, version)
        self.deprecated_routes = version != "sunset"

    # Misbehaving, beside ``faults``.

    def lag(self, blocks: int) -> None:
        """Serve the chain without its newest ``blocks`` (0: all). A lagging server announces nothing."""
        self._behind = blocks

    def freeze(self) -> None:
        """Keep serving the chain as it is now, even its orphans, until :meth:`thaw`."""
        self._frozen = self.chain.clone()

    def thaw(self) -> None:
        """Serve the current chain again."""
        self._frozen = None

    def before(self, route: str, hook: Hook, *, nth: int = 1) -> None:
        """Call ``hook`` once, before the ``nth`` next request of ``route`` is answered."""
        self._hooks.append((route, nth, hook))

    def restart_silently(self) -> None:
        """Forget every open socket without a close frame, as the real server does when it restarts."""
        self.hub.abandon()

    async def heartbeat(self) -> None:
        """Ping the sockets now."""
        await self.hub.heartbeat()

    # Watching.

    @property
    def counts(self) -> Counter[str]:
        """Number of requests by route."""
        return Counter(request.route for request in self.requests)

    def clear(self) -> None:
        """Forget the requests so far."""
        self.requests.clear()

    async def wait_for(self, route: str, *, count: int = 1, within: float = 10.0) -> None:
        """Wait until ``count`` requests of ``route`` in the log have been answered.

        TimeoutError after ``within`` seconds.
        """

        def enough() -> bool:
            return sum(1 for r in self.requests if r.route == route and r.status is not None) >= count

        async with asyncio.timeout(within), self._answered:
            await self._answered.wait_for(enough)

    async def announced(self) -> None:
        """Wait until all changes of the chain so far have been sent to the open sockets."""
        await asyncio.sleep(0)
        await self._announcements.join()

    # Answering.

    def _view(self) -> View:
        return View(self._frozen or self.chain, self._behind)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        name, path = _match(request.path)
        seen = Request(
            route=name,
            method=request.method,
            path=request.path_qs,
            # A repeated parameter is a list, like one with commas.
            query={key: ",".join(request.query.getall(key)) for key in request.query},
            headers={key.lower(): value for key, value in request.headers.items()},
        )
        self.requests.append(seen)
        await self._run_hooks(seen)
        fault = self.faults.take(name)
        if fault is not None and fault.delay:
            await asyncio.sleep(fault.delay)
        if fault is not None and fault.disconnect:
            _abort(request)
            return web.Response()
        if name == "ws" and (fault is None or fault.status is None):
            seen.status = 101
            await self._notify()
            return await self.hub.serve(request)
        response = self._respond(request, seen, path, fault)
        response.headers.update(self.extra_headers)
        seen.status = response.status
        await self._notify()
        if fault is not None and fault.cut == "connection":
            return await _break_off(request, response)
        return response

    def _respond(
        self, request: web.Request, seen: Request, path: Mapping[str, str], fault: Fault | None
    ) -> web.Response:
        if fault is not None and fault.status is not None:
            return _failure(fault)
        if self.api_key is not None and seen.headers.get("x-api-key") != self.api_key:
            return _json(401, _reason(401, "Invalid API key"))
        if len(seen.path) + sum(len(k) + len(v) + 4 for k, v in seen.headers.items()) > _MAX_HEAD_BYTES:
            return _json(431, _reason(431, "Exceeded maximum allowed HTTP header size"))
        features = Features(self.version)
        deprecated = {"warning": warning(seen.route)} if features.deprecates(seen.route) else {}
        if deprecated and not self.deprecated_routes:
            return _json(410, gone(seen.route), deprecated)
        version = f"v{self.version} (main:759c4a586)"
        if features.has_iso_times and (target := _prefixed(seen.path)) != seen.path:
            return web.Response(status=302, headers={"location": target, "x-api-version": version})
        if (
            seen.route in ROUTES
            and features.offers(seen.route)
            and request.method in _METHODS.get(seen.route, ("GET", "HEAD"))
        ):
            server = Server(
                version=version,
                network_id=self.network_id,
                features=features,
                shape=self.shape,
                tokens=self.tokens,
            )
            try:
                answer = ROUTES[seen.route][1](self._view(), path, seen.query, server)
            except ValidationFailed as failed:
                return _json(400, failed.body)
        else:
            answer = routes.not_found(request.method, request.path)
        # No clock is behind the tip's time.
        date = formatdate(max(time.time(), self.chain.tip.time), usegmt=True)
        headers = {"x-api-version": version, "date": date, **deprecated}
        headers["cache-control"] = _PUBLIC if answer.etag is not None else "no-store"
        if answer.etag is not None:
            etag = f'"{answer.etag}"'
            if etag in [part.strip() for part in seen.headers.get("if-none-match", "").split(",")]:
                return web.Response(status=304, headers=headers)
            shown = self.shape.tx_etag(etag) if seen.route in ("transaction", "transaction_events") else etag
            if shown is not None:
                headers["etag"] = shown
        return self._json_answer(seen.route, answer, headers, cut=fault is not None and fault.cut == "body")

    def _json_answer(self, route: str, answer: Answer, headers: dict[str, str], *, cut: bool) -> web.Response:
        body = answer.body if self.faults.tamper is None else self.faults.tamper(route, answer.body)
        response = _json(answer.status, body, headers)
        if cut:
            assert isinstance(response.body, bytes)
            response.body = response.body[: len(response.body) // 2]
        return response

    async def _run_hooks(self, seen: Request) -> None:
        for entry in tuple(self._hooks):
            route, left, hook = entry
            if route != seen.route:
                continue
            place = self._hooks.index(entry)
            if left > 1:
                self._hooks[place] = (route, left - 1, hook)
                continue
            del self._hooks[place]
            waiting = hook(seen)
            if waiting is not None:
                await waiting

    async def _notify(self) -> None:
        async with self._answered:
            self._answered.notify_all()

    def _take(self, announcement: Announcement) -> None:
        if self.hub.sockets and not self._announcements.full():
            self._announcements.put_nowait(announcement)

    async def _announce(self, stop: Callable[[], None]) -> None:
        try:
            while True:
                announcement = await self._announcements.get()
                try:
                    if self._frozen is None and not self._behind:
                        await self.hub.announce(announcement, self._view())
                finally:
                    self._announcements.task_done()
        finally:
            stop()

    async def _beat(self, interval: float) -> None:
        while True:
            await asyncio.sleep(interval)
            await self.heartbeat()


def _prefixed(path: str) -> str:
    """Return a path with 0x before each id that lacks it."""
    return re.sub(r"(?<=[/,=])(?=[0-9a-fA-F]{64}(?:[/,?&]|$))", "0x", path)


def _match(path: str) -> tuple[str, Mapping[str, str]]:
    """Return route name and path parameters; literal paths take precedence over those with parameters."""
    if path == "/extended/v1/ws":
        return "ws", {}
    parts = path.split("/")
    best: tuple[str, Mapping[str, str]] = ("", {})
    for name, (pattern, _) in ROUTES.items():
        wanted = pattern.split("/")
        if len(wanted) != len(parts):
            continue
        found = dict(zip(wanted, parts, strict=True))
        if all(key == value or key.startswith("{") for key, value in found.items()):
            params = {key[1:-1]: value for key, value in found.items() if key.startswith("{")}
            if not params:
                return name, {}
            best = name, params
    return best


def _json(status: int, body: Any, headers: Mapping[str, str] | None = None) -> web.Response:
    text = json.dumps(body, separators=(",", ":"))
    return web.Response(
        status=status,
        body=text.encode(),
        headers={"content-type": "application/json; charset=utf-8", **(headers or {})},
    )


def _reason(status: int, message: str) -> dict[str, Any]:
    return {"statusCode": status, "error": _REASONS.get(status, "Error"), "message": message}


def _failure(fault: Fault) -> web.Response:
    assert fault.status is not None
    if fault.body is None:
        return _json(fault.status, _reason(fault.status, _REASONS.get(fault.status, "Error")), fault.headers)
    return web.Response(status=fault.status, body=fault.body, headers=fault.headers)


def _abort(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()


async def _break_off(request: web.Request, response: web.Response) -> web.StreamResponse:
    """Send the head and half of the body, then close the connection."""
    assert isinstance(response.body, bytes)
    half = response.body[: len(response.body) // 2]
    stream = web.StreamResponse(status=response.status, headers=response.headers)
    stream.content_length = len(response.body)
    await stream.prepare(request)
    with suppress(ConnectionError):
        await stream.write(half)
    if request.transport is not None:
        request.transport.close()
    return stream


def _call(
    loop: asyncio.AbstractEventLoop, function: Callable[[Announcement], None], said: Announcement
) -> None:
    """Run ``function`` in the loop, from whatever thread; a loop that is gone needs nothing."""
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(function, said)
