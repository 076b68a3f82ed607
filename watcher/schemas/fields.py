"""Types of request fields: each validates, converts and describes itself (pure).

Validators raise :class:`ValueError` with what is wrong and what to write instead; the caller prefixes the
field's name.
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
from watcher.text import quote
from watcher.urls import MAX_URL_LENGTH, parse_origin, parse_page_url, parse_support_url

#: Longest and shortest lifetime of an intent, seconds.
MAX_TTL_SECONDS = 366 * 86400
MIN_TTL_SECONDS = 1

#: Rows per page: the maximum and the default.
MAX_LIMIT = 100
DEFAULT_LIMIT = 20

MAX_METADATA_KEYS = 50
#: Characters of a key, and of its text.
MAX_METADATA_KEY_LENGTH = 40
MAX_METADATA_VALUE_LENGTH = 500
#: Characters of a merchant's name, or of a reason.
MAX_TEXT_LENGTH = 500

#: Pages that may frame a merchant's checkouts.
MAX_ORIGINS = 20

_TIME = re.compile(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_ID = re.compile(r"[A-Za-z0-9_]{1,64}", re.ASCII)
_FIAT = re.compile(r"(\d{1,15}(?:\.\d{1,8})?) ([A-Z]{3})", re.ASCII)
_COLOR = re.compile(r"#[0-9a-fA-F]{6}", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: The end of year 9999, the last one that ``datetime`` knows.
_MAX_TIME = 253_402_300_799


def read_amount(value: object, *, least: int = 1) -> int:
    """Parse base units: a whole number, or its decimal digits as text; no sign, point or exponent."""
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
    """Parse an amount in base units that may be 0."""
    return read_amount(value, least=0)


def read_reference(value: object) -> str:
    """Parse a merchant's own reference: printable ASCII, 1 to 34 bytes when trimmed, to fit a memo."""
    text = value.strip(" ") if isinstance(value, str) else ""
    if not (text.isascii() and text.isprintable()) or not 0 < len(text) <= MEMO_BYTES:
        raise ValueError(
            f"{quote(value)} does not fit a memo; "
            f"use 1 to {MEMO_BYTES} printable ASCII characters, or leave it out"
        )
    return text


def read_salt(value: object) -> bytes:
    """Parse 16 bytes of hex, with or without ``0x``."""
    digits = value.removeprefix("0x") if isinstance(value, str) else ""
    if not re.fullmatch(r"[0-9a-fA-F]*", digits) or len(digits) != 2 * SALT_BYTES:
        raise ValueError(f"{quote(value)} is not a salt; write {SALT_BYTES} bytes as hex digits")
    return bytes.fromhex(digits)


def read_ttl(value: object) -> int:
    """Parse the lifetime of an intent: whole seconds, from 1 s to 366 days."""
    seconds = parse_duration(value)
    if seconds != int(seconds):
        raise ValueError(f"{quote(value)} is not a whole number of seconds, which the chain counts in")
    if not MIN_TTL_SECONDS <= seconds <= MAX_TTL_SECONDS:
        raise ValueError(f"{quote(value)} is not between 1s and 366d")
    return int(seconds)


def read_time(value: object) -> int:
    """Parse a time as RFC 3339 with its zone, or as unix seconds.

    Fractions of a second are cut off: chain time is counted in whole seconds.
    """
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
    """Parse a merchant's own data: up to 50 short keys with texts."""
    if not isinstance(value, Mapping):
        raise ValueError('must be a table of texts, e.g. {"order_id": "12345"}')
    if len(value) > MAX_METADATA_KEYS:
        raise ValueError(f"has {len(value)} keys; use at most {MAX_METADATA_KEYS}")
    for key, text in value.items():
        if not isinstance(key, str) or not 0 < len(key) <= MAX_METADATA_KEY_LENGTH or not _is_unicode(key):
            raise ValueError(f"key {quote(key)} must have 1 to {MAX_METADATA_KEY_LENGTH} characters")
        if '"' in key or "\\" in key:  # the filter by metadata compares keys as they are in JSON
            raise ValueError(f"key {quote(key)} must hold no quotation mark and no backslash")
        if not isinstance(text, str) or len(text) > MAX_METADATA_VALUE_LENGTH or not _is_unicode(text):
            raise ValueError(f"{key} must be a text of at most {MAX_METADATA_VALUE_LENGTH} characters")
    return dict(value)


def read_fiat(value: object) -> dict[str, str]:
    """Parse a price in money of a state: ``{"amount": "49.90", "currency": "EUR"}``, or ``49.90 EUR``."""
    text = value
    if isinstance(value, Mapping) and value.keys() == {"amount", "currency"}:
        text = f"{value['amount']} {value['currency']}"
    found = _FIAT.fullmatch(text.upper()) if isinstance(text, str) and text.isascii() else None
    if found is None or not found[1].strip("0."):
        raise ValueError(
            f'{quote(value)} is not a price; write {{"amount": "49.90", "currency": "EUR"}} or "49.90 EUR"'
        )
    return {"amount": found[1], "currency": found[2]}


def read_text(value: object) -> str:
    """Parse free text: trimmed, and not empty."""
    text = value.strip() if isinstance(value, str) else ""
    if not text or len(text) > MAX_TEXT_LENGTH or not _is_unicode(text) or "\0" in text:
        raise ValueError(f"must be a text of 1 to {MAX_TEXT_LENGTH} characters")
    return text


def read_color(value: object) -> str:
    """Parse a colour: six hex digits after ``#``."""
    if not isinstance(value, str) or not _COLOR.fullmatch(value):
        raise ValueError(f"{quote(value)} is not a color; write six hex digits: #e0662b")
    return value.lower()


def read_origins(value: object) -> list[str]:
    """Parse a list of origins of web pages."""
    if not isinstance(value, list) or len(value) > MAX_ORIGINS:
        raise ValueError(f'must be a list of at most {MAX_ORIGINS} origins, e.g. ["https://shop.example"]')
    for origin in value:
        if not isinstance(origin, str):
            raise ValueError(f"{quote(origin)} is not an origin; write https://shop.example, without a path")
    return list(dict.fromkeys(parse_origin(origin) for origin in value))


def read_principal(value: object) -> str:
    """Parse an address or contract of any network; the caller checks the network."""
    if not isinstance(value, str):
        raise ValueError(f"{quote(value)} is not a principal; write it as text")
    return str(parse_principal(value))


def read_id(value: object) -> str:
    """Parse the id of an object."""
    if not isinstance(value, str) or not _ID.fullmatch(value):
        raise ValueError(f"{quote(value)} is not an id")
    return value


def read_cursor(value: object) -> str:
    """Parse the cursor of a list."""
    if not isinstance(value, str) or not _ID.fullmatch(value):
        raise ValueError(f"{quote(value)} is no cursor; write the next_cursor of the page before")
    return value


def read_limit(value: object) -> int:
    """Parse the number of rows of a page."""
    number = int(value) if isinstance(value, str) and value.isascii() and value.isdigit() else value
    if not isinstance(number, int) or isinstance(number, bool) or not 1 <= number <= MAX_LIMIT:
        raise ValueError(f"{quote(value)} is no number of rows; write 1 to {MAX_LIMIT}")
    return number


def read_yes_or_no(value: object) -> bool:
    """Parse ``true`` or ``false``."""
    if value not in (True, False, "true", "false") or (
        isinstance(value, int) and not isinstance(value, bool)
    ):
        raise ValueError(f"{quote(value)} is unknown; write true or false")
    return value in (True, "true")


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
    """Say whether a text can be encoded: JSON can carry lone surrogates, databases and bodies cannot."""
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
                # The framework makes a float of it, which holds 2^128 but not 2^128-1.
                {"type": "integer", "minimum": least, "exclusiveMaximum": MAX_AMOUNT + 1},
            ],
            "examples": ["50000"],
        }
    )


def serialize_level(level: Level) -> str | dict[str, int]:
    """Return a level's name, or its depth if it has none."""
    return level.name or {"stacks": level.depth.stacks, "bitcoin": level.depth.bitcoin}


_DURATION_SCHEMA = WithJsonSchema(
    {"anyOf": [{"type": "string"}, {"type": "integer", "minimum": 0}], "examples": ["30m"]}
)

#: Base units, 1 or more: digits as text, or a whole number.
AmountIn = Annotated[
    int, BeforeValidator(read_amount), PlainSerializer(str, return_type=str), _amount_schema(1)
]

#: Base units, 0 or more.
AmountOrZeroIn = Annotated[
    int, BeforeValidator(read_amount_or_zero), PlainSerializer(str, return_type=str), _amount_schema(0)
]

#: A time in unix seconds, written as RFC 3339 with its zone, or as unix seconds.
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

#: Lifetime of an intent: whole seconds, 1 s to 366 days.
LifetimeIn = Annotated[
    int, BeforeValidator(read_ttl), PlainSerializer(format_duration, return_type=str), _DURATION_SCHEMA
]

#: A confirmation level by name, or as a depth.
LevelIn = Annotated[
    Level,
    BeforeValidator(parse_level),
    PlainSerializer(serialize_level),
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
FiatIn = Annotated[
    dict[str, str],
    BeforeValidator(read_fiat),
    WithJsonSchema(
        {
            "anyOf": [
                {
                    "type": "object",
                    "properties": {
                        "amount": {"type": "string", "pattern": r"^[0-9]{1,15}(\.[0-9]{1,8})?$"},
                        "currency": {"type": "string", "pattern": "^[A-Za-z]{3}$"},
                    },
                    "required": ["amount", "currency"],
                    "additionalProperties": False,
                },
                {"type": "string"},
            ],
            "examples": [{"amount": "49.90", "currency": "EUR"}],
        }
    ),
]
TextIn = Annotated[
    str,
    BeforeValidator(read_text),
    WithJsonSchema({"type": "string", "minLength": 1, "maxLength": MAX_TEXT_LENGTH}),
]

_URL_SCHEMA = WithJsonSchema({"type": "string", "format": "uri", "maxLength": MAX_URL_LENGTH})

#: The address of a web page or picture: https, or http on the machine itself.
PageUrlIn = Annotated[str, BeforeValidator(parse_page_url), _URL_SCHEMA]
#: The same, or ``mailto:`` and an address.
SupportUrlIn = Annotated[str, BeforeValidator(parse_support_url), _URL_SCHEMA]
ColorIn = Annotated[
    str, BeforeValidator(read_color), WithJsonSchema({"type": "string", "pattern": "^#[0-9a-fA-F]{6}$"})
]
OriginsIn = Annotated[
    list[str],
    BeforeValidator(read_origins),
    WithJsonSchema({"type": "array", "items": {"type": "string"}, "maxItems": MAX_ORIGINS}),
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
