"""Types of the fields that callers send: each validates, converts and describes (pure).

Validators raise :class:`ValueError` with what is wrong and what would be right; the field's name stands before it.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

from chain.address import parse_principal
from chain.model import MAX_AMOUNT, MEMO_BYTES
from contracts.terms import SALT_BYTES
from notifier.events import rfc3339
from watcher.domain.levels import Level, parse_level
from watcher.durations import format_duration, parse_duration

#: Longest and shortest life of an intent, seconds.
MAX_TTL = 366 * 86400
MIN_TTL = 1

#: Rows of a page, at most and when nothing else is asked for.
MAX_LIMIT = 100
DEFAULT_LIMIT = 20

MAX_METADATA_KEYS = 50
MAX_METADATA_KEY = 40
MAX_METADATA_VALUE = 500
#: Longest name of a merchant and longest reason, characters.
MAX_TEXT = 500

_TIME = re.compile(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_ID = re.compile(r"[A-Za-z0-9_]{1,64}", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: The end of year 9999, where calendars end.
_MAX_TIME = 253_402_300_799


def read_amount(value: object, *, least: int = 1) -> int:
    """Read a number of base units: a whole number, or its decimal digits as text; no sign, point or exponent."""
    number: int | None = None
    if isinstance(value, int) and not isinstance(value, bool):
        number = value
    elif isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 39:
        number = int(value)
    if number is None or not least <= number <= MAX_AMOUNT:
        raise ValueError(
            f"{quote(value)} is not a number of base units; write {least} to 2^128-1 in decimal digits"
        )
    return number


def read_amount_or_zero(value: object) -> int:
    """Read a number of base units that may be 0."""
    return read_amount(value, least=0)


def read_reference(value: object) -> str:
    """Read a merchant's own reference: printable ASCII, 1 to 34 bytes once trimmed, so that it fits a memo."""
    text = value.strip(" ") if isinstance(value, str) else ""
    if not (text.isascii() and text.isprintable()) or not 0 < len(text) <= MEMO_BYTES:
        raise ValueError(
            f"{quote(value)} does not fit a memo; use 1 to {MEMO_BYTES} printable ASCII characters, or leave it out"
        )
    return text


def read_salt(value: object) -> bytes:
    """Read 16 bytes written as hex, with or without ``0x``."""
    digits = value.removeprefix("0x") if isinstance(value, str) else ""
    if not re.fullmatch(r"[0-9a-fA-F]*", digits) or len(digits) != 2 * SALT_BYTES:
        raise ValueError(f"{quote(value)} is not a salt; write {SALT_BYTES} bytes as hex digits")
    return bytes.fromhex(digits)


def read_ttl(value: object) -> int:
    """Read how long an intent lives: whole seconds from 1 to 366 days."""
    seconds = parse_duration(value)
    if seconds != int(seconds):
        raise ValueError(f"{value!r} is not a whole number of seconds, which the chain counts in")
    if not MIN_TTL <= seconds <= MAX_TTL:
        raise ValueError(f"{value!r} is not between 1s and 366d")
    return int(seconds)


def read_time(value: object) -> int:
    """Read a moment as RFC 3339 with its zone, or as unix seconds. Fractions are cut: the chain counts in whole seconds."""
    if isinstance(value, int) and not isinstance(value, bool):
        seconds = value
    elif isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 12:
        seconds = int(value)
    else:
        seconds = _read_rfc3339(value)
    if not 0 <= seconds <= _MAX_TIME:
        raise ValueError(f"{quote(value)} is not a time between 1970 and 9999")
    return seconds


def read_metadata(value: object) -> dict[str, str]:
    """Read a merchant's own notes: up to 50 short keys with texts."""
    if not isinstance(value, Mapping):
        raise ValueError('must be a table of texts, e.g. {"order_id": "12345"}')
    if len(value) > MAX_METADATA_KEYS:
        raise ValueError(f"has {len(value)} keys; use at most {MAX_METADATA_KEYS}")
    for key, text in value.items():
        if not isinstance(key, str) or not 0 < len(key) <= MAX_METADATA_KEY or not _is_unicode(key):
            raise ValueError(f"key {quote(key)} must have 1 to {MAX_METADATA_KEY} characters")
        if '"' in key or "\\" in key:  # the filter by metadata looks for keys as they stand in JSON
            raise ValueError(f"key {quote(key)} must hold no quotation mark and no backslash")
        if not isinstance(text, str) or len(text) > MAX_METADATA_VALUE or not _is_unicode(text):
            raise ValueError(f"{key} must be a text of at most {MAX_METADATA_VALUE} characters")
    return dict(value)


def read_text(value: object) -> str:
    """Read a line that people wrote for people, trimmed; not empty."""
    text = value.strip() if isinstance(value, str) else ""
    if not text or len(text) > MAX_TEXT or not _is_unicode(text) or "\0" in text:
        raise ValueError(f"must be a text of 1 to {MAX_TEXT} characters")
    return text


def read_principal(value: object) -> str:
    """Read an address or contract of any network; the settings say which one it must be of."""
    if not isinstance(value, str):
        raise ValueError(f"{quote(value)} is not a principal; write it as text")
    return str(parse_principal(value))


def read_id(value: object) -> str:
    """Read the id of a thing."""
    if not isinstance(value, str) or not _ID.fullmatch(value):
        raise ValueError(f"{quote(value)} is not an id")
    return value


def read_cursor(value: object) -> str:
    """Read what continues a list."""
    if not isinstance(value, str) or not _ID.fullmatch(value):
        raise ValueError(f"{quote(value)} is no cursor; write the next_cursor of the page before")
    return value


def read_limit(value: object) -> int:
    """Read the number of rows of a page."""
    number = int(value) if isinstance(value, str) and value.isascii() and value.isdigit() else value
    if not isinstance(number, int) or isinstance(number, bool) or not 1 <= number <= MAX_LIMIT:
        raise ValueError(f"{quote(value)} is no number of rows; write 1 to {MAX_LIMIT}")
    return number


def read_yes_or_no(value: object) -> bool:
    """Read ``true`` or ``false``."""
    if value not in (True, False, "true", "false") or (
        isinstance(value, int) and not isinstance(value, bool)
    ):
        raise ValueError(f"{quote(value)} is unknown; write true or false")
    return value in (True, "true")


def quote(value: object) -> str:
    """Return a value as people typed it, cut when it is long."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…"


def _read_rfc3339(value: object) -> int:
    wrong = f"{quote(value)} is not a time; write 2026-01-31T12:00:00Z or unix seconds"
    found = _TIME.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError(wrong)
    date, clock, zone = found.groups()
    try:
        moment = datetime.fromisoformat(f"{date}T{clock}{'+00:00' if zone in 'Zz' else zone}")
    except ValueError:
        raise ValueError(wrong) from None
    return (moment - _EPOCH) // timedelta(seconds=1)


def _is_unicode(text: str) -> bool:
    """Say whether a text can be stored: JSON can carry halves of characters, databases and bodies cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _amount_schema(least: int) -> WithJsonSchema:
    return WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": "^[0-9]{1,39}$"},
                {"type": "integer", "minimum": least, "maximum": MAX_AMOUNT},
            ],
            "examples": ["50000"],
        }
    )


def as_written(level: Level) -> str | dict[str, int]:
    """Return a level's name, or the depth that was written out."""
    return level.name or {"stacks": level.depth.stacks, "bitcoin": level.depth.bitcoin}


_DURATION_SCHEMA = WithJsonSchema(
    {"anyOf": [{"type": "string"}, {"type": "integer", "minimum": 0}], "examples": ["30m"]}
)

#: Base units, 1 or more: digits as text, or a whole number that JSON can carry.
AmountIn = Annotated[
    int, BeforeValidator(read_amount), PlainSerializer(str, return_type=str), _amount_schema(1)
]

#: Base units, 0 or more.
AmountOrZeroIn = Annotated[
    int, BeforeValidator(read_amount_or_zero), PlainSerializer(str, return_type=str), _amount_schema(0)
]

#: A moment in unix seconds, written as RFC 3339 with its zone, or as unix seconds.
TimeIn = Annotated[
    int,
    BeforeValidator(read_time),
    PlainSerializer(rfc3339, return_type=str),
    WithJsonSchema(
        {
            "anyOf": [{"type": "string", "format": "date-time"}, {"type": "integer", "minimum": 0}],
            "examples": ["2026-11-20T12:00:00Z"],
        }
    ),
]

#: Seconds, 0 or more, written as ``30m``, ``24h``, ``5d`` or a number.
DurationIn = Annotated[
    float,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str),
    _DURATION_SCHEMA,
]

#: How long an intent lives: whole seconds, 1 s to 366 days.
LifetimeIn = Annotated[
    int, BeforeValidator(read_ttl), PlainSerializer(format_duration, return_type=str), _DURATION_SCHEMA
]

#: A confirmation level by name, or the depth written out.
LevelIn = Annotated[
    Level,
    BeforeValidator(parse_level),
    PlainSerializer(as_written),
    WithJsonSchema(
        {"anyOf": [{"type": "string"}, {"type": "object", "additionalProperties": {"type": "integer"}}]}
    ),
]

ReferenceIn = Annotated[
    str, BeforeValidator(read_reference), WithJsonSchema({"type": "string", "minLength": 1, "maxLength": 40})
]
SaltIn = Annotated[
    bytes,
    BeforeValidator(read_salt),
    PlainSerializer(lambda salt: f"0x{salt.hex()}", return_type=str),
    WithJsonSchema({"type": "string", "pattern": "^(0x)?[0-9a-fA-F]{32}$"}),
]
MetadataIn = Annotated[
    dict[str, str],
    BeforeValidator(read_metadata),
    WithJsonSchema(
        {"type": "object", "additionalProperties": {"type": "string"}, "maxProperties": MAX_METADATA_KEYS}
    ),
]
TextIn = Annotated[
    str,
    BeforeValidator(read_text),
    WithJsonSchema({"type": "string", "minLength": 1, "maxLength": MAX_TEXT}),
]

PrincipalIn = Annotated[str, BeforeValidator(read_principal), WithJsonSchema({"type": "string"})]
IdIn = Annotated[str, BeforeValidator(read_id), WithJsonSchema({"type": "string"})]
CursorIn = Annotated[str, BeforeValidator(read_cursor), WithJsonSchema({"type": "string"})]
LimitIn = Annotated[
    int,
    BeforeValidator(read_limit),
    WithJsonSchema({"type": "integer", "minimum": 1, "maximum": MAX_LIMIT}),
]
YesOrNoIn = Annotated[bool, BeforeValidator(read_yes_or_no), WithJsonSchema({"type": "boolean"})]

__all__ = [
    "MAX_TTL",
    "AmountIn",
    "AmountOrZeroIn",
    "CursorIn",
    "DurationIn",
    "IdIn",
    "LevelIn",
    "LifetimeIn",
    "LimitIn",
    "MetadataIn",
    "PrincipalIn",
    "ReferenceIn",
    "SaltIn",
    "TextIn",
    "TimeIn",
    "YesOrNoIn",
]
