"""The two clients: what differs is only how they send and wait."""

import asyncio
import ipaddress
import random
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Generator, Iterator
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

import httpx

from watcher.client.merchants import MerchantMethods
from watcher.client.methods import AsyncCalls, SyncCalls, T
from watcher.client.payment_intents import PaymentIntentMethods
from watcher.client.payment_links import PaymentLinkMethods
from watcher.client.request import A, PageRequest, Request
from watcher.client.retry import (
    MAX_ANSWER_BYTES,
    NetworkError,
    Reply,
    RetryRules,
    SendRequest,
    read,
    send_with_retries,
)
from watcher.client.types import Workflow
from watcher.client.webhooks import WebhookMethods

H = TypeVar("H", httpx.Client, httpx.AsyncClient)
R = TypeVar("R")

#: Seconds for one try, and tries after the first.
TIMEOUT = 30.0
RETRIES = 4


class _Base(PaymentIntentMethods, PaymentLinkMethods, WebhookMethods, MerchantMethods, ABC, Generic[H]):
    """What both know: the address, the key, the rules. The key is in nothing that is printed."""

    def __init__(
        self,
        base_url: str,
        api_key: str,
        *,
        timeout: float = TIMEOUT,
        retries: int = RETRIES,
        allow_http: bool = False,
    ) -> None:
        self.base_url = _checked_url(base_url, allow_http=allow_http)
        # httpx masks this header wherever it shows headers.
        self._headers = httpx.Headers(
            {"authorization": f"Bearer {_checked_key(api_key)}", "accept-encoding": "identity"}
        )
        self._rules = RetryRules(
            timeout=timeout, retries=retries, random=random.random, fresh_key=lambda: uuid.uuid4().hex
        )
        # A proxy of the environment would get to read what goes by http://.
        self._http: H = self._connect(follow_redirects=False, trust_env=self.base_url.startswith("https://"))

    @abstractmethod
    def _connect(self, **options: Any) -> H:
        """Return a client of httpx."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.base_url!r})"

    def _arguments(self, attempt: SendRequest) -> dict[str, Any]:
        headers = self._headers.copy()
        headers.update(attempt.headers)
        return {
            "method": attempt.method,
            "url": self.base_url + attempt.path,
            "params": dict(attempt.query) or None,
            "headers": headers,
            "content": attempt.content,
            "timeout": attempt.timeout,
        }


class Client(_Base[httpx.Client], SyncCalls):
    """Calls the API, and waits for each answer.

    ``base_url`` is https://, or http:// to this machine (elsewhere only with ``allow_http``); ``api_key`` a
    merchant's key, or the admin token. ``timeout`` holds for one try, ``retries`` counts those after the
    first: connections that break, 429 and 503 are tried again after pauses, and what changes something is
    done once even so.

    Every method raises :class:`watcher.client.ApiError` and its kinds. ::

        with Client("https://pay.example", "sk_live_…") as client:
            intent = client.create_intent(50_000, reference="ORDER-7")
            if client.wait_for(intent, timeout=600).status == "succeeded":
                ship("ORDER-7")
    """

    def _connect(self, **options: Any) -> httpx.Client:
        return httpx.Client(**options)

    def send(self, request: Request[A]) -> A:
        """Send a request and return its answer."""
        return read(request, *self.document(request))

    def document(self, request: Request[Any]) -> tuple[dict[str, Any], Reply]:
        """Send a request; return the JSON document as it came, and the reply that held it."""
        return self._drive(send_with_retries(request, self._rules))

    def talk(self, talk: Workflow[A]) -> A:
        """Send the requests of a call that takes several."""
        return self._drive(talk)

    def each(self, request: PageRequest[A, T]) -> Iterator[T]:
        """Iterate over all pages."""
        following: PageRequest[A, T] | None = request
        while following is not None:
            page: Any = self.send(following)
            yield from page.data
            following = following.following(page)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _drive(self, steps: Generator[Any, Any, R]) -> R:
        brought: Any = None
        while True:
            try:
                step = steps.send(brought)
            except StopIteration as done:
                result: R = done.value
                return result
            if isinstance(step, SendRequest):
                brought = self._send_once(step)
            elif isinstance(step, Request):
                brought = self.send(step)
            else:
                time.sleep(step.seconds)
                brought = None

    def _send_once(self, attempt: SendRequest) -> Reply | NetworkError:
        arrival = _Arrival(attempt.timeout)
        try:
            with self._http.stream(**self._arguments(attempt)) as response:
                for piece in response.iter_raw():
                    arrival.add(piece)
                return arrival.reply(response)
        except (httpx.RequestError, _TooMuch) as error:
            return NetworkError(_why(error))


class AsyncClient(_Base[httpx.AsyncClient], AsyncCalls):
    """:class:`Client` for asyncio: methods are awaited, ``each_…`` is iterated over with ``async for``. ::

    async with AsyncClient("https://pay.example", "sk_live_…") as client:
        async for intent in client.each_intent(status="pending"):
            await client.cancel_intent(intent.id, reason="closing down")
    """

    def _connect(self, **options: Any) -> httpx.AsyncClient:
        return httpx.AsyncClient(**options)

    async def send(self, request: Request[A]) -> A:
        """Send a request and return its answer."""
        return read(request, *await self.document(request))

    async def document(self, request: Request[Any]) -> tuple[dict[str, Any], Reply]:
        """Send a request; return the JSON document as it came, and the reply that held it."""
        return await self._drive(send_with_retries(request, self._rules))

    async def talk(self, talk: Workflow[A]) -> A:
        """Send the requests of a call that takes several."""
        return await self._drive(talk)

    async def each(self, request: PageRequest[A, T]) -> AsyncIterator[T]:
        """Iterate over all pages."""
        following: PageRequest[A, T] | None = request
        while following is not None:
            page: Any = await self.send(following)
            for row in page.data:
                yield row
            following = following.following(page)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _drive(self, steps: Generator[Any, Any, R]) -> R:
        brought: Any = None
        while True:
            try:
                step = steps.send(brought)
            except StopIteration as done:
                result: R = done.value
                return result
            if isinstance(step, SendRequest):
                brought = await self._send_once(step)
            elif isinstance(step, Request):
                brought = await self.send(step)
            else:
                await asyncio.sleep(step.seconds)
                brought = None

    async def _send_once(self, attempt: SendRequest) -> Reply | NetworkError:
        arrival = _Arrival(attempt.timeout)
        try:
            async with (
                asyncio.timeout(attempt.timeout),
                self._http.stream(**self._arguments(attempt)) as response,
            ):
                async for piece in response.aiter_raw():
                    arrival.add(piece)
                return arrival.reply(response)
        except (httpx.RequestError, _TooMuch, TimeoutError) as error:
            return NetworkError(_why(error))


class _TooMuch(Exception):
    """The answer is larger, or takes longer, than any answer does."""


class _Arrival:
    """The body of an answer as it comes in."""

    def __init__(self, timeout: float) -> None:
        self._end = time.monotonic() + timeout
        self._body = bytearray()

    def add(self, piece: bytes) -> None:
        self._body += piece
        if len(self._body) > MAX_ANSWER_BYTES:
            raise _TooMuch(f"the answer has more than {MAX_ANSWER_BYTES:,} bytes")
        if time.monotonic() > self._end:
            raise _TooMuch("the answer did not end in time")

    def reply(self, response: httpx.Response) -> Reply:
        headers = {name.lower(): value for name, value in response.headers.items()}
        return Reply(status=response.status_code, headers=headers, body=bytes(self._body))


def _why(error: Exception) -> str:
    if isinstance(error, TimeoutError | httpx.TimeoutException):
        return "the server did not answer in time"
    return f"the server cannot be reached: {str(error) or type(error).__name__}"


def _checked_url(text: str, *, allow_http: bool) -> str:
    """Return the address without a slash at its end. Raises :class:`ValueError`."""
    try:
        url = httpx.URL(text)
        _ = url.host  # decodes it
        url.raw_host.decode().encode("idna")  # as a connection does: labels of 1 to 63 characters
    except (httpx.InvalidURL, TypeError, UnicodeError):
        raise ValueError("the server's address is no URL; write https://pay.example") from None
    if url.scheme not in ("http", "https") or not url.host:
        raise ValueError("the server's address is no URL of a web server; write https://pay.example")
    if url.userinfo or url.query or url.fragment:
        raise ValueError(
            "the server's address holds more than host, port and path; write https://pay.example"
        )
    if url.scheme == "http" and not allow_http and not _is_loopback(url.host):
        raise ValueError(
            f"http://{url.host} would show the key to everybody on the way; use https://, "
            "or allow http:// explicitly"
        )
    return str(url).rstrip("/")


def _checked_key(key: str) -> str:
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        raise ValueError("the API key is empty, or holds characters that no key has")
    return key


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
