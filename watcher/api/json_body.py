"""Reading JSON bodies that strangers send: bounded in size and time, and in all that
:mod:`watcher.strict_json` bounds.
"""

import asyncio
from typing import Any

from fastapi import Request
from starlette.requests import ClientDisconnect

from watcher import strict_json
from watcher.api.errors import Problem

#: Bytes of a body, unless a route says otherwise.
MAX_BODY_BYTES = 64 * 1024

#: Bytes that are read beyond that and thrown away, so that the sender gets to read the refusal.
_MAX_DRAINED_BYTES = 1024 * 1024

#: How long a body may take, seconds.
BODY_TIMEOUT_SECONDS = 15.0

_CLOSE = {"connection": "close"}


async def read_body(request: Request, limit: int) -> bytes:
    """Return the bytes of a JSON body, empty for none. Raises :class:`Problem` (400, 408, 413, 415)."""
    data = await read_bytes(request, limit)
    if data:
        _check_type(request)
    return data


def parse(data: bytes) -> Any:
    """Return what a JSON text says. Raises :class:`Problem`."""
    try:
        return strict_json.parse(data)
    except ValueError as error:
        raise Problem(400, "invalid_json", f"the body {error}") from None


async def read_bytes(request: Request, limit: int) -> bytes:
    """Return the bytes of any body, empty for none. Raises :class:`Problem` (400, 408, 413)."""
    declared = request.headers.get("content-length", "")
    too_big = declared.isdigit() and (len(declared) > 12 or int(declared) > limit + _MAX_DRAINED_BYTES)
    data = bytearray()
    drained = 0
    try:
        async with asyncio.timeout(BODY_TIMEOUT_SECONDS):
            if not too_big:
                async for piece in request.stream():
                    if drained or len(data) + len(piece) > limit:
                        drained += len(piece)
                    else:
                        data += piece
                    if drained > _MAX_DRAINED_BYTES:
                        break
    except TimeoutError:
        raise Problem(
            408,
            "request_timeout",
            f"the body did not come within {BODY_TIMEOUT_SECONDS:.0f} s",
            headers=_CLOSE,
        ) from None
    except ClientDisconnect:
        raise Problem(400, "disconnected", "the body ended early") from None
    if too_big or drained:
        raise Problem(
            413,
            "body_too_large",
            f"the body has more than {limit} bytes",
            headers=_CLOSE if too_big or drained > _MAX_DRAINED_BYTES else None,
        )
    return bytes(data)


def _check_type(request: Request) -> None:
    kinds, encodings = request.headers.getlist("content-type"), request.headers.getlist("content-encoding")
    kind, _, parameters = kinds[0].partition(";") if len(kinds) == 1 else ("", "", "")
    charset = parameters.strip().lower().replace('"', "")
    if kind.strip().lower() != "application/json" or charset not in ("", "charset=utf-8"):
        raise Problem(415, "unsupported_media_type", "send JSON: Content-Type: application/json, in UTF-8")
    if any(encoding.strip().lower() not in ("", "identity") for encoding in encodings):
        raise Problem(415, "unsupported_media_type", "send the body as it is, without Content-Encoding")
