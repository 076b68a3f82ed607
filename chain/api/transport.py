"""Bounded requests: a deadline for the whole answer, a cap on its decompressed size, typed errors.

The body is streamed and inflated here, piece by piece, so that neither a compression bomb nor an endless
answer can fill the memory, and a server that sends one byte a second cannot hold a request open.
"""

import asyncio
import json
import zlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from http.cookiejar import CookieJar
from typing import Any, Protocol

import httpx

from chain.errors import SourceError, SourceLimited, SourceMalformed, SourceRefused, SourceUnavailable

#: Largest answer accepted, in bytes after decompression.
MAX_BODY_BYTES = 8 * 2**20

#: Longest ETag that is sent back, in characters.
_MAX_ETAG_CHARACTERS = 256

#: How the API's message about a route that it does not know begins.
_UNKNOWN_ROUTE = "Route "

#: Longest text that is parsed as a date, in characters.
_MAX_DATE_CHARACTERS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """Timeouts in seconds: to connect, between two reads, and for the whole request with its answer."""

    connect: float = 5.0
    read: float = 15.0
    total: float = 30.0


class Limiter(Protocol):
    """Paces and counts the requests to one source; the pool sets one on each of its sources."""

    async def acquire(self) -> None:
        """Wait until a request may be sent, or raise ``SourceLimited`` when a long pause was asked for."""

    def observe(self, code: int, seconds: float, headers: Mapping[str, str]) -> None:
        """Record a request's outcome; ``code`` is 0 and ``headers`` empty when no answer began."""


class TooLarge(SourceMalformed):
    """The answer exceeds the cap; a smaller request may work."""


class RouteGone(SourceUnavailable):
    """410: the operator has switched this route off. It does not come back; another one replaces it."""


class RouteAbsent(SourceUnavailable):
    """404 of the API itself for a route that this version does not have."""


class UrlTooLong(SourceUnavailable):
    """The server, or a proxy before it, refuses URLs of this length; a smaller request may work."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Status (200, 304, or a missing thing's, usually 404), headers and decompressed body of one request."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class _NoCookies(CookieJar):
    """Stores no cookies: sessions are useless here, and a server could make them pile up."""

    def extract_cookies(self, response: Any, request: Any) -> None:
        """Ignore them."""


class Fetcher:
    """Sends requests to one base URL. ``limiter`` may be set at any time."""

    def __init__(
        self,
        base_url: str,
        *,
        user_agent: str,
        api_key: str | None,
        timeouts: Timeouts,
        client: httpx.AsyncClient | None,
        authorization: str | None = None,
        plain_errors: bool = False,
    ) -> None:
        """``authorization`` is sent as that header; with ``plain_errors`` the server's errors are no JSON."""
        url = httpx.URL(base_url)
        if url.scheme not in ("http", "https") or not url.host or url.query or url.fragment:
            raise ValueError(f"a source must be http(s)://host[:port][/path], not {base_url!r}")
        #: URL shown in messages and `status`: without user name and password.
        self.url = str(url.copy_with(username=None, password=None)).rstrip("/")
        self.limiter: Limiter | None = None
        self._base = str(url).rstrip("/")
        self._timeouts = timeouts
        self._headers = {"accept": "application/json", "accept-encoding": "gzip", "user-agent": user_agent}
        if api_key is not None:
            self._headers["x-api-key"] = api_key
        if authorization is not None:
            self._headers["authorization"] = authorization
        self._plain_errors = plain_errors
        self._owned = client is None
        self._client = client or httpx.AsyncClient(
            timeout=httpx.Timeout(timeouts.read, connect=timeouts.connect),
            limits=httpx.Limits(max_connections=8, max_keepalive_connections=4, keepalive_expiry=60),
            # Proxies and certificates from the environment are not settings of this program.
            trust_env=False,
            follow_redirects=False,
            cookies=_NoCookies(),
        )

    async def aclose(self) -> None:
        """Close the connections, unless the client was passed in."""
        if self._owned:
            await self._client.aclose()

    async def get(
        self,
        path: str,
        *,
        etag: str | None = None,
        cap: int = MAX_BODY_BYTES,
        missing: Collection[int] = (404,),
    ) -> Answer:
        """GET ``path`` with its query.

        Raises ``SourceError`` for all but 200, 304 to ``etag``, and an error of the API with a status of
        ``missing``, which is how it says that there is no such thing.
        """
        if etag is not None and not _fits_a_header(etag):
            etag = None
        more = {} if etag is None else {"if-none-match": etag}
        return await self._send("GET", path, more, cap=cap, missing=missing)

    async def post(self, path: str, document: Mapping[str, Any], *, cap: int = MAX_BODY_BYTES) -> Answer:
        """POST a JSON document to ``path``. Raises ``SourceError`` for all but 200 and 404."""
        content = json.dumps(document).encode()
        return await self._send("POST", path, {"content-type": "application/json"}, cap=cap, content=content)

    async def _send(
        self,
        method: str,
        path: str,
        more: Mapping[str, str],
        *,
        cap: int,
        content: bytes | None = None,
        missing: Collection[int] = (404,),
    ) -> Answer:
        if self.limiter is not None:
            await self.limiter.acquire()
        loop = asyncio.get_running_loop()
        started = loop.time()
        code = 0
        received: Mapping[str, str] = {}
        try:
            async with (
                asyncio.timeout(self._timeouts.total),
                self._client.stream(
                    method,
                    self._base + path,
                    headers={**self._headers, **more},
                    content=content,
                    follow_redirects=False,
                ) as response,
            ):
                code, received = response.status_code, response.headers
                body = await self._read(response, cap)
        except httpx.TimeoutException as error:
            raise self._unavailable(path, f"timed out ({type(error).__name__})") from error
        except TimeoutError as error:
            text = f"no complete answer within {self._timeouts.total:g} s"
            raise self._unavailable(path, text) from error
        except httpx.HTTPError as error:
            raise self._unavailable(path, f"{type(error).__name__}: {_line(str(error))}") from error
        finally:
            if self.limiter is not None:
                self.limiter.observe(code, loop.time() - started, received)
        if code == 200 or (code == 304 and "if-none-match" in more):
            return Answer(code, received, body)
        if code in missing and self._is_api_error(body):
            return Answer(code, received, body)
        raise self._refusal(path, code, received, body)

    def json(self, answer: Answer) -> object:
        """Decode the body. Raises ``SourceMalformed``, or ``SourceUnavailable`` for an HTML page."""
        if answer.body.lstrip()[:1] == b"<":
            raise SourceUnavailable(f"a web page came instead of JSON: {_line(answer.body)}", url=self.url)
        try:
            # Bytes that are not UTF-8 can only be in texts that are never read (repr); all else is checked
            # later.
            return json.loads(answer.body.decode("utf-8", "replace"))
        except (ValueError, RecursionError) as error:
            raise SourceMalformed(
                f"not JSON ({_line(str(error))}): {_line(answer.body)}", url=self.url
            ) from error

    async def _read(self, response: httpx.Response, cap: int) -> bytes:
        encoding = response.headers.get("content-encoding", "identity").strip().lower()
        if encoding not in ("gzip", "identity"):
            raise SourceMalformed(
                f"answer in content-encoding {encoding[:20]!r}, which was not asked for", url=self.url
            )
        inflater = zlib.decompressobj(wbits=31) if encoding == "gzip" else None
        parts: list[bytes] = []
        on_wire = size = 0
        async for piece in response.aiter_raw():
            on_wire += len(piece)
            if inflater is not None:
                try:
                    piece = inflater.decompress(piece, cap - size + 1)
                except zlib.error as error:
                    raise SourceMalformed(f"broken gzip: {error}", url=self.url) from error
            size += len(piece)
            if max(size, on_wire) > cap:
                raise TooLarge(f"the answer is larger than {cap} bytes", url=self.url)
            parts.append(piece)
        if inflater is not None and on_wire and not inflater.eof:
            raise SourceMalformed("truncated gzip", url=self.url)
        return b"".join(parts)

    def _is_api_error(self, body: bytes) -> bool:
        """Whether a 404 means "no such block"; a proxy's page or an unknown route does not."""
        if self._plain_errors:
            return body.lstrip()[:1] != b"<"
        text = _message(body)
        return text is not None and not text.startswith(_UNKNOWN_ROUTE)

    def _refusal(self, path: str, code: int, headers: Mapping[str, str], body: bytes) -> SourceError:
        message = _message(body)
        text = f"GET {_line(path)}: {code} {_line(message if message is not None else body)}"
        if code == 429:
            wait = retry_after(headers)
            return SourceLimited(f"too many requests ({code})", url=self.url, retry_after=wait)
        if code in (401, 403):
            return SourceRefused(text, url=self.url)
        if code in (414, 431):
            return UrlTooLong(text, url=self.url)
        if 300 <= code < 400:
            target = _line(headers.get("location", "nowhere"))
            text = f"GET {_line(path)}: {code}, redirected to {target}; set the source to its final address"
        elif code == 410 and message is not None:
            return RouteGone(text, url=self.url)
        elif code in (404, 410):
            text += " (the routes of API 9.0 or newer are needed)"
            if code == 404 and message is not None and message.startswith(_UNKNOWN_ROUTE):
                return RouteAbsent(text, url=self.url)
        return SourceUnavailable(text, url=self.url, retry_after=retry_after(headers))

    def _unavailable(self, path: str, text: str) -> SourceUnavailable:
        return SourceUnavailable(f"GET {_line(path)}: {text}", url=self.url)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds of a ``Retry-After`` header; a date counts from the answer's own ``Date``."""
    value = headers.get("retry-after", "").strip()
    if (seconds := whole_number(value)) is not None:
        return float(seconds)
    until, now = http_date(value), http_date(headers.get("date", ""))
    return None if until is None or now is None else max(0.0, until - now)


def whole_number(text: str) -> int | None:
    """Parse a header of digits; None for anything else. Never raises."""
    text = text.strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else None


def http_date(text: str) -> float | None:
    """Return the unix time of an HTTP date (``Date``, ``Retry-After``), else None. Never raises."""
    try:
        moment = parsedate_to_datetime(text[:_MAX_DATE_CHARACTERS])
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except Exception:
        # The text is foreign and the parser's errors are undocumented: ValueError, OverflowError for the year
        # 99999999999, in some versions TypeError and IndexError.
        return None


def _fits_a_header(etag: str) -> bool:
    """Whether a server's ETag can be sent back in a header."""
    return (
        0 < len(etag.strip()) <= len(etag) <= _MAX_ETAG_CHARACTERS and etag.isascii() and etag.isprintable()
    )


def _message(body: bytes) -> str | None:
    """Return the ``message`` or ``error`` of the API's error answer; None for any other body."""
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(fields, dict):
        return None
    text = fields.get("message") or fields.get("error")
    return text if isinstance(text, str) else None


def _line(text: str | bytes) -> str:
    """Return a short printable excerpt of foreign text for a message."""
    if isinstance(text, bytes):
        text = text[:400].decode("utf-8", "replace")
    text = " ".join("".join(char if char.isprintable() else " " for char in text[:400]).split())
    return text if len(text) <= 120 else text[:120] + "…"
