"""Reading JSON bodies that strangers send: bounded in size, time, depth, digits and number of values, and
never read in two ways.

Two programs can read one text differently where JSON leaves it open (a name given twice, NaN, half a
character); such texts are refused.
"""

import asyncio
import json
from collections import Counter
from typing import Any

from fastapi import Request
from starlette.requests import ClientDisconnect

from watcher.api.errors import Problem

#: Bytes of a body, unless a route says otherwise.
MAX_BODY_BYTES = 64 * 1024

#: Bytes that are read beyond that and thrown away, so that the sender gets to read the refusal.
_MAX_DRAINED_BYTES = 1024 * 1024

#: How long a body may take, seconds.
BODY_TIMEOUT_SECONDS = 15.0

#: Lists and objects within each other.
MAX_DEPTH = 32
#: Names and values at one depth: 500 intents with 50 metadata each have half of that.
MAX_VALUES = 100_000
#: Digits of a number.
_MAX_DIGITS = 100

_CLOSE = {"connection": "close"}


async def read_body(request: Request, limit: int) -> bytes:
    """Return the bytes of a JSON body, empty for none. Raises :class:`Problem` (400, 408, 413, 415)."""
    data = await _read(request, limit)
    if data:
        _check_type(request)
    return data


def parse(data: bytes) -> Any:
    """Return what a JSON text says. Raises :class:`Problem`."""
    try:
        found = json.loads(
            data.decode(),
            object_pairs_hook=_object,
            parse_constant=_refuse_constant,
            parse_int=_whole,
        )
    except UnicodeDecodeError:
        raise _malformed("is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise _malformed(f"is not JSON: {error.msg} at line {error.lineno}, column {error.colno}") from None
    except RecursionError:
        raise _malformed(f"is nested deeper than {MAX_DEPTH}") from None
    except ValueError as error:
        raise _malformed(str(error)) from None
    _check(found)
    return found


async def _read(request: Request, limit: int) -> bytes:
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


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = Counter(name for name, _ in pairs)
        twice = next(name for name, count in names.items() if count > 1)
        raise ValueError(f"names {twice[:80]!r} twice in one object")
    return found


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"holds {name}, which is not JSON")


def _whole(digits: str) -> int:
    if len(digits) > _MAX_DIGITS:
        raise ValueError(f"holds a number of more than {_MAX_DIGITS} digits")
    return int(digits)


def _check(document: Any) -> None:
    """Refuse what is nested too deep, and texts that no database can store."""
    level = [document]
    for _ in range(MAX_DEPTH):
        following: list[Any] = []
        for value in level:
            if isinstance(value, str):
                _check_text(value)
            elif isinstance(value, list):
                following += value
            elif isinstance(value, dict):
                following += value.keys()
                following += value.values()
            if len(following) > MAX_VALUES:
                raise _malformed(f"holds more than {MAX_VALUES} values")
        level = following
        if not level:
            return
    raise _malformed(f"is nested deeper than {MAX_DEPTH}")


def _check_text(text: str) -> None:
    if "\0" in text:
        raise _malformed("holds the character U+0000, which cannot be stored")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise _malformed("holds half a character (a lone surrogate)") from None


def _malformed(what: str) -> Problem:
    return Problem(400, "invalid_json", f"the body {what}")
