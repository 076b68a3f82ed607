"""One attempt: POST the signed bytes to an endpoint, within a time, an answer size and the guard's limits."""

import asyncio
import os
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any, Self

import aiohttp
from aiohappyeyeballs import AddrInfoType
from aiohttp.client_proto import ResponseHandler
from yarl import URL

from notifier import ssrf
from notifier.dns import Resolver
from notifier.errors import RefusedUrl
from notifier.status_line import read_head

#: So much of an answer's body is read, then the connection is dropped.
MAX_ANSWER_BYTES = 16 * 1024
#: So much of it is kept.
KEPT_ANSWER_BYTES = 1024
#: Bytes of an answer, head included, that are kept as they came, for what the library refuses.
MAX_RAW_BYTES = 32 * 1024
#: So many kept connections may turn out to be closed within one attempt.
STALE_CONNECTIONS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class SendResult:
    """What came of one attempt."""

    #: None if no status came within the time.
    status_code: int | None
    #: Why no status came, for people; None if one came.
    error: str | None
    seconds: float
    #: The first KiB of the answer's body.
    response: bytes = b""
    #: The header as it came.
    retry_after: str | None = None

    @property
    def ok(self) -> bool:
        """Say whether the endpoint took the event: any 2xx."""
        return self.status_code is not None and 200 <= self.status_code < 300


class Sender:
    """An HTTP client for webhooks; an async context manager that owns its connections.

    ``timeout`` bounds a whole attempt: name look-up, connecting, TLS, sending, the status and the body.
    """

    def __init__(
        self,
        *,
        user_agent: str,
        timeout: float = 15.0,
        allow_http: bool = False,
        allow_private: bool = False,
        stopwatch: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._user_agent = user_agent
        self._timeout = timeout
        self._allow_http = allow_http
        self._allow_private = allow_private
        self._stopwatch = stopwatch
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        open_socket = ssrf.socket_factory(allow_private=self._allow_private)

        def open_noted(info: AddrInfoType) -> socket.socket:
            _CONNECTION.get().reused = False
            return open_socket(info)

        connector = aiohttp.TCPConnector(
            # The worker bounds how many attempts run at once.
            limit=0,
            ssl=_tls(),
            resolver=Resolver(),
            socket_factory=open_noted,
            # Less than the five seconds after which common servers close an idle connection.
            keepalive_timeout=4.0,
        )
        # There is no public way to see an answer that the library's parser refuses.
        protocol: type[ResponseHandler] = _Protocol
        connector._factory = partial(protocol, loop=asyncio.get_running_loop())
        self._session = aiohttp.ClientSession(
            connector=connector,
            # No endpoint's cookies are kept, let alone sent to another.
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"user-agent": self._user_agent, "accept": "*/*", "accept-encoding": "identity"},
            timeout=aiohttp.ClientTimeout(total=None),
            trust_env=False,
            auto_decompress=False,
            read_bufsize=MAX_ANSWER_BYTES,
            # Cookies are longer than the library's 8 KiB at times. Longer lines still have a status before them.
            max_line_size=MAX_ANSWER_BYTES,
            max_field_size=MAX_ANSWER_BYTES,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._session is not None
        await self._session.close()
        self._session = None

    async def send(self, url: str, *, body: bytes, headers: Mapping[str, str]) -> SendResult:
        """POST ``body`` once and return what came of it; whatever the endpoint does is an outcome, not an exception."""
        started = self._stopwatch()
        answer = _Answer()
        error: str | None = None
        try:
            parsed = ssrf.parse_url(url, allow_http=self._allow_http)
            async with asyncio.timeout(self._timeout):
                await self._post(parsed, body, {**headers, "content-type": "application/json"}, answer)
        except TimeoutError:
            error = f"no answer within {self._timeout:g} s"
        except RefusedUrl as refused:
            error = f"refused: {refused}"
        except (aiohttp.ClientError, OSError, ValueError) as failure:
            error = _explain(failure)
        if answer.status is None:
            # Refused by the library, or not at its end when the time was: the status line may be there all the same.
            answer.take_raw()
        return SendResult(
            status_code=answer.status,
            # Once the status is there it decides, whatever happens to the body.
            error=error if answer.status is None else None,
            seconds=self._stopwatch() - started,
            response=bytes(answer.body[:KEPT_ANSWER_BYTES]),
            retry_after=answer.retry_after,
        )

    async def _post(self, url: URL, body: bytes, headers: dict[str, str], answer: "_Answer") -> None:
        for _ in range(STALE_CONNECTIONS):
            connection = answer.connection = _Connection()
            # aiohttp opens sockets in this task or in children of it, which see the same object.
            _CONNECTION.set(connection)
            try:
                await self._post_once(url, body, headers, answer)
                return
            except aiohttp.ClientConnectorError:
                # There is no connection yet: the name does not resolve, nobody listens, or TLS failed.
                raise
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError, aiohttp.ClientResponseError):
                # The server closed an idle connection while the request was under way, as it may, or sent the rest of
                # its last answer: not a failure of the endpoint. A second delivery of the same id does no harm.
                if answer.status is not None or not connection.reused or read_head(bytes(connection.raw)):
                    raise
        raise aiohttp.ServerDisconnectedError("the server closed every connection that was kept open")

    async def _post_once(self, url: URL, body: bytes, headers: dict[str, str], answer: "_Answer") -> None:
        assert self._session is not None
        async with self._session.post(url, data=body, headers=headers, allow_redirects=False) as response:
            try:
                answer.retry_after = response.headers.get("Retry-After")
                answer.status = response.status
                while len(answer.body) < MAX_ANSWER_BYTES and (chunk := await response.content.readany()):
                    answer.body += chunk
            finally:
                if not response.content.at_eof():
                    response.close()


def _tls() -> ssl.SSLContext:
    """Return what is asked of an endpoint's certificate: a known authority, the URL's host name, and not expired.

    The system's authorities count, or those in the file that ``$SSL_CERT_FILE`` names. Nothing switches this off.
    """
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context


class _Answer:
    """What has arrived so far."""

    def __init__(self) -> None:
        self.status: int | None = None
        self.retry_after: str | None = None
        self.body = bytearray()
        self.connection = _Connection()

    def take_raw(self) -> None:
        """Go by the bytes that came, whether or not they are proper HTTP."""
        head = read_head(bytes(self.connection.raw))
        if head is not None:
            self.status, self.retry_after = head.status, head.retry_after
            self.body += head.body


class _Connection:
    """What the present request goes out on: a connection that was kept, unless a socket is opened for it."""

    def __init__(self) -> None:
        self.reused = True
        #: The first bytes of the answer.
        self.raw = bytearray()


_CONNECTION: ContextVar[_Connection] = ContextVar("connection")


class _Protocol(ResponseHandler):
    """One connection, which also keeps the first bytes of each answer as they came."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self._raw = bytearray()

    def set_response_params(self, **options: Any) -> None:
        """Expect the answer to the present request."""
        # Called by the task that asks.
        self._raw = _CONNECTION.get().raw
        super().set_response_params(**options)

    def data_received(self, data: bytes) -> None:
        """Take what came."""
        if len(self._raw) < MAX_RAW_BYTES:
            self._raw += data[: MAX_RAW_BYTES - len(self._raw)]
        super().data_received(data)

    def is_connected(self) -> bool:
        """Say whether the connection may be used again: not when more came than was asked for."""
        return super().is_connected() and not self.should_close


def _explain(failure: Exception) -> str:
    """Return one line for people: what kind of failure it was, and what the library said.

    A refused address is named as such, however deep it lies.
    """
    cause: BaseException | None = failure
    while cause is not None:
        if isinstance(cause, ssrf.RefusedAddress):
            return f"refused: {cause}"
        cause = getattr(cause, "os_error", None) or cause.__cause__
    text = str(failure) or type(failure).__name__
    if isinstance(failure, (aiohttp.ClientSSLError, ssl.SSLError)):
        kind = "TLS failed"
    elif isinstance(failure, aiohttp.ClientConnectorError):
        inner = failure.os_error
        kind = (
            "name not found" if isinstance(failure, aiohttp.ClientConnectorDNSError) else "connection failed"
        )
        # Look-ups have numbers of their own, below 0.
        known = inner.errno is not None and inner.errno > 0
        text = os.strerror(inner.errno or 0) if known else inner.strerror or str(inner)
    elif isinstance(failure, aiohttp.ClientResponseError):
        kind, text = "no HTTP", failure.message
    elif isinstance(failure, aiohttp.ServerDisconnectedError):
        # In the middle of an answer its text is the library's object for it.
        kind, text = "connection failed", "the server closed it before a whole answer came"
    else:
        kind = "connection failed"
    # Part of it may be what a stranger's server sent; databases refuse some of that.
    line = "".join(letter if letter.isprintable() else "?" for letter in " ".join(text.split()))
    return f"{kind}: {line}"[:500]
