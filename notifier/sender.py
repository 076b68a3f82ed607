"""HTTP client for webhooks: POST the signed bytes once, bounded in time, answer size and target address."""

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

#: Bytes of an answer's body that are read before the connection is dropped.
MAX_ANSWER_BYTES = 16 * 1024
#: Bytes of it that are stored.
KEPT_ANSWER_BYTES = 1024
#: Raw bytes of an answer, head included, kept for answers that the library rejects.
MAX_RAW_BYTES = 32 * 1024
#: Reused connections that may turn out closed within one attempt.
MAX_STALE_CONNECTIONS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class SendResult:
    """Outcome of one attempt."""

    #: None if no status arrived in time.
    status_code: int | None
    #: Human-readable reason why no status arrived; None if one did.
    error: str | None
    seconds: float
    #: First KiB of the answer's body.
    response: bytes = b""
    #: The raw header.
    retry_after: str | None = None

    @property
    def ok(self) -> bool:
        """Whether the endpoint accepted the event: any 2xx."""
        return self.status_code is not None and 200 <= self.status_code < 300


class Sender:
    """HTTP client for webhooks; an async context manager that owns its connections.

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
        # There is no public way to see an answer that the library's parser rejects.
        protocol: type[ResponseHandler] = _Protocol
        connector._factory = partial(protocol, loop=asyncio.get_running_loop())
        self._session = aiohttp.ClientSession(
            connector=connector,
            # Cookies are never stored, so none is sent to another endpoint.
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"user-agent": self._user_agent, "accept": "*/*", "accept-encoding": "identity"},
            timeout=aiohttp.ClientTimeout(total=None),
            trust_env=False,
            auto_decompress=False,
            read_bufsize=MAX_ANSWER_BYTES,
            # Some Set-Cookie headers exceed the library's 8 KiB; beyond this limit the status still counts.
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
        """POST ``body`` once and return the outcome; nothing that the endpoint does raises."""
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
            # Rejected by the library, or incomplete at the timeout: a status line may still have arrived.
            answer.take_raw()
        return SendResult(
            status_code=answer.status,
            # Once a status has arrived it counts, whatever happens to the body.
            error=error if answer.status is None else None,
            seconds=self._stopwatch() - started,
            response=bytes(answer.body[:KEPT_ANSWER_BYTES]),
            retry_after=answer.retry_after,
        )

    async def _post(self, url: URL, body: bytes, headers: dict[str, str], answer: "_Answer") -> None:
        for _ in range(MAX_STALE_CONNECTIONS):
            connection = answer.connection = _Connection()
            # aiohttp opens sockets in this task or in its child tasks, which see the same object.
            _CONNECTION.set(connection)
            try:
                await self._post_once(url, body, headers, answer)
                return
            except aiohttp.ClientConnectorError:
                # No connection was made: the name does not resolve, the port is closed, or TLS failed.
                raise
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError, aiohttp.ClientResponseError):
                # The server closed an idle connection while the request was under way, as it may, or sent the
                # rest of its previous answer: no failure of the endpoint. Sending an id twice is harmless.
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
    """TLS settings: the certificate must be of a trusted authority, match the URL's host and not be expired.

    Trusted are the system's authorities, or those in the file ``$SSL_CERT_FILE``. This cannot be switched
    off.
    """
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context


class _Answer:
    """Answer as far as it has arrived."""

    def __init__(self) -> None:
        self.status: int | None = None
        self.retry_after: str | None = None
        self.body = bytearray()
        self.connection = _Connection()

    def take_raw(self) -> None:
        """Read status and body from the raw bytes, whether or not they are valid HTTP."""
        head = read_head(bytes(self.connection.raw))
        if head is not None:
            self.status, self.retry_after = head.status, head.retry_after
            self.body += head.body


class _Connection:
    """Connection of the current request: counts as reused unless a socket is opened for it."""

    def __init__(self) -> None:
        self.reused = True
        #: First raw bytes of the answer.
        self.raw = bytearray()


_CONNECTION: ContextVar[_Connection] = ContextVar("connection")


class _Protocol(ResponseHandler):
    """aiohttp's connection, which also keeps the first raw bytes of each answer."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self._raw = bytearray()

    def set_response_params(self, **options: Any) -> None:
        """Expect the answer to the current request."""
        # Called by the requesting task.
        self._raw = _CONNECTION.get().raw
        super().set_response_params(**options)

    def data_received(self, data: bytes) -> None:
        """Receive bytes."""
        if len(self._raw) < MAX_RAW_BYTES:
            self._raw += data[: MAX_RAW_BYTES - len(self._raw)]
        super().data_received(data)

    def is_connected(self) -> bool:
        """Return whether the connection may be reused: not if more bytes arrived than the answer has."""
        return super().is_connected() and not self.should_close


def _explain(failure: Exception) -> str:
    """Return one human-readable line: the kind of failure and the library's message.

    A refused address is reported as such, however deep it is in the chain of causes.
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
        # Error numbers of look-ups are negative and not in ``errno``.
        known = inner.errno is not None and inner.errno > 0
        text = os.strerror(inner.errno or 0) if known else inner.strerror or str(inner)
    elif isinstance(failure, aiohttp.ClientResponseError):
        kind, text = "no HTTP", failure.message
    elif isinstance(failure, aiohttp.ServerDisconnectedError):
        # In the middle of an answer the exception's text is only the repr of a library object.
        kind, text = "connection failed", "the server closed it before a whole answer came"
    else:
        kind = "connection failed"
    # May contain bytes that the endpoint sent; databases reject some characters.
    line = "".join(letter if letter.isprintable() else "?" for letter in " ".join(text.split()))
    return f"{kind}: {line}"[:500]
