"""How a route is described in OpenAPI: what it takes, every answer and error, and their headers.

``@router.post("", **describe(answer=documents.PaymentIntent, status=201, body=documents.NewPaymentIntent))``
"""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel

from watcher.http.query import Parameter

#: The security schemes, see :mod:`watcher.http.openapi`.
KEY, ADMIN = "api_key", "admin_token"

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
    422: "Fields or parameters are wrong (`validation`); `errors` names each.",
    429: "The API key asks too often (`rate_limited`).",
    500: "The server made a mistake (`internal_error`).",
    503: "The database does not answer, or too many ask at once (`unavailable`).",
}

#: What every route with a key can answer; what a body adds.
_ALWAYS = (401, 403, 422, 429, 500, 503)
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

_IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "The same key and body give the first answer again, for 24 hours. For example a UUID.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[\\x20-\\x7e]+$"},
}
_IF_NONE_MATCH = {
    "name": "If-None-Match",
    "in": "header",
    "required": False,
    "description": "The `ETag` that you have: answered 304 if it is still the same.",
    "schema": {"type": "string"},
}


def describe(
    *,
    answer: type[BaseModel],
    status: int = 200,
    body: type[BaseModel] | None = None,
    body_needed: bool = True,
    changes: bool | None = None,
    parameters: Sequence[Parameter] = (),
    errors: Sequence[int] = (),
    admin: bool = False,
) -> dict[str, Any]:
    """Return what a route's decorator takes. ``changes``: it writes (by default if it has a body); ``errors``: more of them."""
    writes = (body is not None) if changes is None else changes
    told = {**_REQUEST_ID, **_LIMITS, **(_REPLAYED if writes else _TAG)}
    responses: dict[int | str, dict[str, Any]] = {status: _answer(status, answer, told)}
    if not writes:
        responses[304] = {"description": "As you have it already.", "headers": _headers(told)}
    for code in sorted({*_ALWAYS, *(_WITH_BODY if writes else ()), *errors}):
        responses[code] = _problem(code)
    extra: dict[str, Any] = {
        "security": [{ADMIN: []}] if admin else [{KEY: []}],
        "parameters": [
            *(parameter.described() for parameter in parameters),
            _IDEMPOTENCY_KEY if writes else _IF_NONE_MATCH,
        ],
    }
    if body is not None:
        extra["requestBody"] = {
            "required": body_needed,
            "content": {"application/json": {"schema": reference(body)}},
        }
    return {
        "status_code": status,
        "response_model": None,
        "responses": responses,
        "openapi_extra": extra,
    }


def reference(model: type[BaseModel]) -> dict[str, str]:
    """Return the schema of a model, by its name."""
    return {"$ref": f"#/components/schemas/{model.__name__}"}


def _answer(status: int, model: type[BaseModel], headers: Mapping[str, str]) -> dict[str, Any]:
    return {
        "description": HTTPStatus(status).phrase,
        "headers": _headers(headers),
        "content": {"application/json": {"schema": reference(model)}},
    }


def _problem(status: int) -> dict[str, Any]:
    more = {401: _CHALLENGE, 403: _CHALLENGE, 409: _RETRY, 429: {**_RETRY, **_LIMITS}, 503: _RETRY}
    return {
        "description": _ERRORS.get(status, HTTPStatus(status).phrase),
        "headers": _headers({**_REQUEST_ID, **more.get(status, {})}),
        "content": {"application/problem+json": {"schema": _PROBLEM}},
    }


def _headers(described: Mapping[str, str]) -> dict[str, Any]:
    return {name: {"description": text, "schema": {"type": "string"}} for name, text in described.items()}
