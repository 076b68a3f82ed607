"""JSON answers: encoding, entity tags, and answers that are replayed."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from fastapi import Request, Response

from watcher.api.idempotency import Answer

MEDIA_TYPE = "application/json"


def encode(document: Any) -> bytes:
    """Return a document as compact UTF-8."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def from_answer(answer: Answer, *, replayed: bool) -> Response:
    """Return the response of a write. ``replayed``: it is the stored answer to an earlier request."""
    return Response(
        answer.body,
        status_code=answer.status,
        headers={"idempotent-replayed": "true"} if replayed else {},
        media_type=MEDIA_TYPE if answer.body else None,
    )


def with_etag(
    request: Request, body: bytes, *, media_type: str = MEDIA_TYPE, headers: Mapping[str, str] | None = None
) -> Response:
    """Return the response of a read: 304 when the request names the body's entity tag."""
    tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    wanted = {
        word.strip().removeprefix("W/")
        for line in request.headers.getlist("if-none-match")
        for word in line.split(",")
    }
    if tag in wanted or "*" in wanted:
        return Response(status_code=304, headers={**(headers or {}), "etag": tag})
    return Response(body, headers={**(headers or {}), "etag": tag}, media_type=media_type)
