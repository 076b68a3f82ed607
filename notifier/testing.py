"""Scriptable webhook receiver for tests and the demo; verifies each webhook with the public library."""

import asyncio
import base64
import hmac
import json
import time
from collections import defaultdict, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

from aiohttp import web
from standardwebhooks import Webhook


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Answer to one request."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    #: Wait for this event before answering; for a hanging endpoint it is never set.
    gate: asyncio.Event | None = None
    #: Close the connection instead of answering.
    drop: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """Received request."""

    path: str
    #: Header names are in lower case.
    headers: dict[str, str]
    body: bytes
    #: Why the signature was rejected; None if the library accepted it, or if no secret is known for the path.
    refused: str | None
    #: Time of arrival by the monotonic clock (:func:`time.monotonic`).
    at: float = 0.0

    @property
    def id(self) -> str:
        """The event's id, from the header."""
        return self.headers.get("webhook-id", "")

    @property
    def document(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


class Receiver:
    """HTTP server on 127.0.0.1 and a free port; an async context manager.

    Every path is an endpoint of its own: :meth:`url` returns its URL, :meth:`trust` sets the secret to verify
    with, and :meth:`plan` queues the answers to its next requests. Without a plan it answers 200. With
    ``check_age`` False old timestamps pass, for tests with a clock of their own.
    """

    def __init__(self, *, check_age: bool = True) -> None:
        self.arrivals: list[Arrival] = []
        self.base = ""
        self._check_age = check_age
        self._secrets: dict[str, str] = {}
        self._plans: defaultdict[str, deque[Answer]] = defaultdict(deque)
        self._always: dict[str, Answer] = {}
        self._arrived = asyncio.Condition()
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        # Hanging requests are dropped at once when the receiver closes.
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.01, handler_cancellation=True)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        _, port = self._runner.addresses[0][:2]
        self.base = f"http://127.0.0.1:{port}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    def url(self, path: str = "/") -> str:
        """Return the URL of a path that begins with ``/``."""
        return self.base + path

    def trust(self, secret: str, path: str = "/") -> None:
        """Verify requests to a path with this secret from now on."""
        self._secrets[path] = secret

    def plan(self, *answers: Answer, path: str = "/") -> None:
        """Queue answers to the next requests to a path, after those planned already."""
        self._plans[path].extend(answers)

    def always(self, answer: Answer, path: str = "/") -> None:
        """Set the answer to requests to a path once its plan is used up."""
        self._always[path] = answer

    def at(self, path: str) -> list[Arrival]:
        """Return the requests to a path."""
        return [arrival for arrival in self.arrivals if arrival.path == path]

    async def wait_for(self, count: int, *, path: str | None = None, within: float = 10.0) -> list[Arrival]:
        """Wait for ``count`` requests (to a path, or in all) and return them, or raise TimeoutError."""

        def arrived() -> list[Arrival]:
            return self.arrivals if path is None else self.at(path)

        async with asyncio.timeout(within), self._arrived:
            await self._arrived.wait_for(lambda: len(arrived()) >= count)
        return list(arrived())

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        headers = {name.lower(): value for name, value in request.headers.items()}
        refused = self._verify(request.path, headers, body)
        async with self._arrived:
            self.arrivals.append(
                Arrival(path=request.path, headers=headers, body=body, refused=refused, at=time.monotonic())
            )
            self._arrived.notify_all()
        plan = self._plans[request.path]
        answer = plan.popleft() if plan else self._always.get(request.path, Answer())
        if answer.gate is not None:
            await answer.gate.wait()
        if answer.drop:
            assert request.transport is not None
            request.transport.abort()
        if refused is not None:
            return web.Response(status=401, text=refused)
        return web.Response(status=answer.status, headers=answer.headers, body=answer.body)

    def _verify(self, path: str, headers: dict[str, str], body: bytes) -> str | None:
        secret = self._secrets.get(path)
        if secret is None:
            return None
        try:
            if self._check_age:
                Webhook(secret).verify(body, headers)
            elif not _signed(secret, headers, body):
                return "No matching signature found"
        except Exception as error:
            # The library raises several kinds of errors; any of them rejects the webhook.
            return f"{type(error).__name__}: {error}"
        return None


def _signed(secret: str, headers: dict[str, str], body: bytes) -> bool:
    """Return whether the library would make one of the signatures, ignoring the timestamp's age."""
    moment = datetime.fromtimestamp(int(headers["webhook-timestamp"]), UTC)
    expected = Webhook(secret).sign(msg_id=headers["webhook-id"], timestamp=moment, data=body.decode())
    return any(
        hmac.compare_digest(_digest(expected), _digest(one))
        for one in headers["webhook-signature"].split(" ")
    )


def _digest(signature: str) -> bytes:
    _, value = signature.split(",")
    return base64.b64decode(value, validate=True)


def plan_of(statuses: Iterable[int]) -> list[Answer]:
    """Return answers with these statuses, for :meth:`Receiver.plan`."""
    return [Answer(status=status) for status in statuses]
