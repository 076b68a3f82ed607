"""How routes are described beyond what FastAPI sees in them: every error, and the headers of answers."""

from collections.abc import Collection, Iterable, Mapping
from http import HTTPStatus
from typing import Any

_PROBLEM = {"$ref": "#/components/schemas/Problem"}

#: What each error means, where the phrase of HTTP does not say it.
_ERRORS = {
    400: "The body is not JSON, or is JSON that could be read in two ways (`invalid_json`).",
    401: "No API key, or one that is wrong or not valid any more (`unauthorized`).",
    403: "The API key lacks the scope (`missing_scope`).",
    404: "There is no such thing, or it is another merchant's (`not_found`).",
    408: "The body did not come in time (`request_timeout`).",
    409: "It cannot be done as things stand, or the Idempotency-Key was used for another request "
    "(`idempotency_mismatch`) or for one that is being done (`idempotency_in_progress`, with `Retry-After`).",
    413: "The body is too large (`body_too_large`).",
    415: "The body is not `application/json` in UTF-8 (`unsupported_media_type`).",
    422: "Fields or parameters are wrong (`validation`); `errors` names the first 50.",
    429: "The API key or the address asks too often (`rate_limited`), or waits too often at once "
    "(`too_many_waits`).",
    500: "The server made a mistake (`internal_error`).",
    503: "The database does not answer, too many ask at once (`unavailable`), or wait (`too_many_waits`).",
}

#: What every route with a key can answer; what a body adds.
_ALWAYS = (401, 403, 422, 429, 500, 503)
#: What every route without a key can answer.
_OPENLY = (422, 429, 500, 503)
_WITH_BODY = (400, 408, 409, 413, 415)

_REQUEST_ID = {"X-Request-Id": "The request's id, as in the server's log; the caller's own if it sent one."}
_LIMITS = {
    "RateLimit-Policy": 'Requests per minute of a key: `"default";q=600;w=60`.',
    "RateLimit": 'How many are left, and seconds until all are: `"default";r=599;t=1`.',
}
_RETRY = {"Retry-After": "Seconds to wait."}
_CHALLENGE = {"WWW-Authenticate": "How to authenticate."}
_REPLAYED = {"Idempotent-Replayed": "`true` when this is the stored answer to an earlier request."}
_TAG = {"ETag": "Names this version: send it back as `If-None-Match`."}


def reads(*errors: int) -> dict[int | str, dict[str, Any]]:
    """Return the ``responses`` of a route that reads, with these errors beside those of all."""
    return _reads({*_ALWAYS, *errors})


def reads_openly(*errors: int) -> dict[int | str, dict[str, Any]]:
    """Return the ``responses`` of a route that reads and asks for no key."""
    return _reads({*_OPENLY, *errors})


def streams_openly(*errors: int) -> dict[int | str, dict[str, Any]]:
    """Return the ``responses`` of a route that sends events and asks for no key."""
    return {
        200: {
            "description": "Events, until the caller leaves.",
            "headers": _headers({**_REQUEST_ID, **_LIMITS}),
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
        },
        **{code: _problem(code) for code in sorted({*_OPENLY, *errors})},
    }


def writes(*errors: int, status: int = 200) -> dict[int | str, dict[str, Any]]:
    """Return the ``responses`` of a route that writes, with these errors beside those of all."""
    return {
        status: {"headers": _headers({**_REQUEST_ID, **_LIMITS, **_REPLAYED})},
        **{code: _problem(code) for code in sorted({*_ALWAYS, *_WITH_BODY, *errors})},
    }


def _reads(errors: Collection[int]) -> dict[int | str, dict[str, Any]]:
    headers = _headers({**_REQUEST_ID, **_LIMITS, **_TAG})
    return {
        200: {"headers": headers},
        304: {"description": "As you have it already.", "headers": headers},
        **{code: _problem(code) for code in sorted(errors)},
    }


def files(*errors: int, kinds: Iterable[str]) -> dict[int | str, dict[str, Any]]:
    """Return the ``responses`` of a route that answers with a file of one of these media types."""
    whole = reads(*errors)
    content = {kind: {"schema": {"type": "string", "format": "binary"}} for kind in kinds}
    return whole | {200: whole[200] | {"content": content}}


def _problem(status: int) -> dict[str, Any]:
    more = {401: _CHALLENGE, 403: _CHALLENGE, 409: _RETRY, 429: {**_RETRY, **_LIMITS}, 503: _RETRY}
    return {
        "description": _ERRORS.get(status, HTTPStatus(status).phrase),
        "headers": _headers({**_REQUEST_ID, **more.get(status, {})}),
        "content": {"application/problem+json": {"schema": _PROBLEM}},
    }


def _headers(described: Mapping[str, str]) -> dict[str, Any]:
    return {name: {"description": text, "schema": {"type": "string"}} for name, text in described.items()}
