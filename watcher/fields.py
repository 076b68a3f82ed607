"""Reading what people ask for, field by field (pure). All that is wrong is told at once.

Readers raise :class:`ValueError` with what is wrong and what would be right; :class:`Problems` puts the field's name
before it.
"""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, TypeVar

from chain.model import MAX_AMOUNT
from contracts.terms import SALT_BYTES
from watcher.durations import parse_duration
from watcher.errors import Refused
from watcher.matching import MEMO_BYTES

#: Longest and shortest life of an intent, seconds.
MAX_TTL = 366 * 86400
MIN_TTL = 1

MAX_METADATA_KEYS = 50
MAX_METADATA_KEY = 40
MAX_METADATA_VALUE = 500
#: Longest name of a merchant and longest reason of an act, characters.
MAX_TEXT = 500

_TIME = re.compile(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: The end of year 9999, where calendars end.
_MAX_TIME = 253_402_300_799

_T = TypeVar("_T")
_E = TypeVar("_E", bound=StrEnum)


class Problems:
    """What is wrong with a request so far."""

    def __init__(self) -> None:
        self.errors: list[dict[str, str]] = []

    def add(self, field: str, message: str) -> None:
        """Note that a field is wrong."""
        self.errors.append({"field": field, "message": message})

    def read(self, field: str, reader: Callable[[Any], _T], value: object, stand_in: _T) -> _T:
        """Return what ``reader`` makes of a value; note what is wrong and go on with ``stand_in``."""
        try:
            return reader(value)
        except ValueError as error:
            self.add(field, str(error))
            return stand_in

    def about(self, *fields: str) -> bool:
        """Say whether one of these fields is known to be wrong."""
        return any(error["field"] in fields for error in self.errors)

    def check(self) -> None:
        """Raise :class:`Refused` when anything is wrong."""
        if self.errors:
            raise Refused("validation", errors=self.errors)


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


def read_choice(kind: type[_E]) -> Callable[[object], _E]:
    """Return a reader of an enumeration's values."""
    values = [member.value for member in kind]

    def read(value: object) -> _E:
        if not isinstance(value, str) or value not in values:
            raise ValueError(f"{quote(value)} is unknown; write {' or '.join(values)}")
        return kind(value)

    return read


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


def quote(value: object) -> str:
    """Return a value as people typed it, cut when it is long."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…"
