"""Retries of one request, as a generator: what to send, when to wait, what an answer means; without I/O.

:func:`send_with_retries` is a generator: it yields what to do (:class:`SendRequest`, :class:`Sleep`) and gets
back what came of it. So the sync and the async client have one set of rules, and differ only in who waits.
"""

import json
import math
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from watcher.client.errors import ApiError, NotFound, RateLimited, Refused, Unauthorized, Unreachable
from watcher.client.request import A, Request
from watcher.schemas import Problem

#: Bytes of an answer, at most: a thousand intents have a few MB.
MAX_ANSWER_BYTES = 64 * 1024 * 1024

#: Characters of an idempotency key, at most.
MAX_KEY = 255

#: The waits between tries double from here to there, seconds, and are cut by up to a half at random.
FIRST_PAUSE_SECONDS = 0.5
MAX_PAUSE_SECONDS = 8.0

#: A server that asks for a longer pause is not waited for, seconds.
MAX_RETRY_AFTER_SECONDS = 60.0

_PROBLEM = "application/problem+json"

_KINDS: Mapping[int, type[ApiError]] = {
    400: Refused,
    401: Unauthorized,
    403: Unauthorized,
    404: NotFound,
    409: Refused,
    413: Refused,
    415: Refused,
    422: Refused,
    429: RateLimited,
    502: Unreachable,
    503: Unreachable,
    504: Unreachable,
}

#: Of these nothing was done, and the same may work later.
_LATER = frozenset({429, 502, 503, 504})
_IN_PROGRESS = "idempotency_in_progress"


@dataclass(frozen=True, slots=True, kw_only=True)
class SendRequest:
    """Send this, and give back a :class:`Reply`, or the :class:`NetworkError` that it ended in."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    content: bytes | None
    #: Seconds for all of it.
    timeout: float


@dataclass(frozen=True, slots=True)
class Sleep:
    """Wait so long, seconds."""

    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What the server answered. ``headers`` have lower-case names."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class NetworkError:
    """Why there is no answer."""

    why: str


Exchange = Generator[SendRequest | Sleep, Reply | NetworkError | None, tuple[dict[str, Any], Reply]]


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryRules:
    """``timeout``: of one try, seconds. ``retries``: tries after the first. ``random`` returns 0 to 1 at
    random.
    """

    timeout: float
    retries: int
    random: Callable[[], float]
    fresh_key: Callable[[], str]


def send_with_retries(request: Request[Any], rules: RetryRules) -> Exchange:
    """Return the JSON document that the server answers with, and the reply it came in.

    A request that changes something carries an idempotency key, the same at every try, so that it is done
    once. Raises :class:`ApiError`.
    """
    attempt = _first_attempt(request, rules)
    for number in range(rules.retries + 1):
        reply = yield attempt
        assert reply is not None, "a try has an outcome"
        error = (
            Unreachable(reply.why, code="no_answer") if isinstance(reply, NetworkError) else _error_of(reply)
        )
        if error is None:
            assert isinstance(reply, Reply)
            return _document(reply), reply
        wait = _pause(error, number, rules)
        if wait is None or number == rules.retries:
            raise error
        yield Sleep(wait)
    raise AssertionError("the last try returns or raises")


def read(request: Request[A], document: dict[str, Any], reply: Reply) -> A:
    """Return an answer as its model. Raises :class:`Unreachable` when it is something else."""
    try:
        return request.answer.of(document)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, problem["loc"]))
        raise _unknown(reply, f"{request.answer.__name__}.{where}: {problem['msg']}") from None


def _first_attempt(request: Request[Any], rules: RetryRules) -> SendRequest:
    headers = {"accept": "application/json"}
    content = None
    if request.method != "GET":
        key = rules.fresh_key() if request.idempotency_key is None else request.idempotency_key
        if not 0 < len(key) <= MAX_KEY or not key.isascii() or not key.isprintable():
            raise Refused(
                f"an idempotency key has 1 to {MAX_KEY} printable ASCII characters", code="validation"
            )
        headers["idempotency-key"] = key
    try:
        for text in request.query.values():
            text.encode()
        if request.body is not None:
            headers["content-type"] = "application/json"
            content = json.dumps(
                request.body, ensure_ascii=False, allow_nan=False, separators=(",", ":")
            ).encode()
    except (TypeError, ValueError) as error:
        raise Refused(f"the request is not JSON or not Unicode: {error}", code="invalid_json") from None
    return SendRequest(
        method=request.method,
        path=request.path,
        query=request.query,
        headers=headers,
        content=content,
        timeout=rules.timeout + request.extra_timeout,
    )


def _pause(error: ApiError, number: int, rules: RetryRules) -> float | None:
    """Return how long to wait before the next try, None when there is no point in one."""
    again = (
        error.status in _LATER or error.code == _IN_PROGRESS or (error.status is None and bool(error.code))
    )
    if not again:
        return None
    # Capped before it is raised to a power: the number of tries is the caller's to choose.
    usual = min(MAX_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2 ** min(number, 16)) * (1 - rules.random() / 2)
    asked = error.retry_after or 0.0
    return None if asked > MAX_RETRY_AFTER_SECONDS else max(usual, asked)


def _error_of(reply: Reply) -> ApiError | None:
    """Return what is wrong with an answer, None if it is one."""
    if 200 <= reply.status < 300:
        return None
    request_id = reply.headers.get("x-request-id")
    retry_after = _seconds(reply.headers.get("retry-after"))
    if 300 <= reply.status < 400:
        return Unreachable(
            f"the server redirects ({reply.status}), which is not followed: give its own address",
            status=reply.status,
            code="redirected",
            request_id=request_id,
        )
    problem = _problem(reply)
    if problem is None:
        # An error of a proxy, or of another server altogether: its 404 says nothing of our resources.
        kind = RateLimited if reply.status == 429 else Unreachable
        return kind(
            f"the answer is HTTP {reply.status}, not from this API; check the address",
            status=reply.status,
            code=f"http_{reply.status}",
            request_id=request_id,
            retry_after=retry_after,
        )
    return _KINDS.get(reply.status, ApiError)(
        problem.detail,
        status=reply.status,
        code=problem.code,
        errors=problem.errors or (),
        request_id=request_id,
        retry_after=retry_after,
    )


def _problem(reply: Reply) -> Problem | None:
    if reply.headers.get("content-type", "").partition(";")[0].strip().lower() != _PROBLEM:
        return None
    try:
        return Problem.model_validate_json(reply.body)
    except ValidationError:
        return None


def _document(reply: Reply) -> dict[str, Any]:
    try:
        document = json.loads(reply.body)
    except (ValueError, RecursionError):
        raise _unknown(reply, "not JSON") from None
    if not isinstance(document, dict):
        raise _unknown(reply, "not a JSON object")
    return document


def _unknown(reply: Reply, what: str) -> Unreachable:
    return Unreachable(
        f"the answer is none that this client knows ({what}); check the address, and update the client",
        status=reply.status,
        code="unknown_answer",
        request_id=reply.headers.get("x-request-id"),
    )


def _seconds(text: str | None) -> float | None:
    """Read ``Retry-After`` in seconds; a date is not what this API sends."""
    if text is None:
        return None
    try:
        seconds = float(text)
    except ValueError:
        return None
    return max(0.0, seconds) if math.isfinite(seconds) else None
