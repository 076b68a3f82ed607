"""Validate single fields of the API's JSON: return the expected type or raise ``Malformed`` (pure).

``what`` names the field in the error.
"""

import re
from collections.abc import Mapping

from chain.model import MAX_AMOUNT

#: Format of transaction ids and block hashes.
HASH = re.compile(r"0x[0-9a-f]{64}")

#: Largest height, count or rank accepted: the limit of the databases' integer columns, centuries away.
MAX_COUNT = 2**31 - 1

#: Largest length accepted for a list over the whole chain.
MAX_TOTAL = 2**53

#: Largest time accepted, in unix seconds: the end of the year 9999, where calendar libraries end.
MAX_TIME = 253_402_300_799

_MAX_TEXT_CHARACTERS = 1024
#: Clarity names have up to 128 characters, addresses up to 41.
_MAX_NAME_CHARACTERS = 128
_MAX_PRINCIPAL_CHARACTERS = 41 + len(".") + _MAX_NAME_CHARACTERS
_MAX_ASSET_CHARACTERS = _MAX_PRINCIPAL_CHARACTERS + len("::") + _MAX_NAME_CHARACTERS


class Malformed(ValueError):
    """The JSON violates the API; the text names the field and the value received."""


def as_object(value: object, what: str) -> Mapping[str, object]:
    """Return a JSON object unchanged."""
    if isinstance(value, dict):
        return value
    raise Malformed(f"{what} must be an object, not {shown(value)}")


def as_list(value: object, what: str) -> list[object]:
    """Return a JSON list unchanged."""
    if isinstance(value, list):
        return value
    raise Malformed(f"{what} must be a list, not {shown(value)}")


def as_rows(page: Mapping[str, object], limit: int) -> list[object]:
    """Return the rows of a list's page, at most ``limit``."""
    rows = as_list(page.get("results"), "results")
    if len(rows) > limit:
        raise Malformed(f"results has {len(rows)} rows, more than the {limit} asked for")
    return rows


def as_next_cursor(page: Mapping[str, object], pattern: re.Pattern[str], parts: str) -> str | None:
    """Return the cursor of the page after this one, None on the last page; ``parts`` names its parts."""
    cursor = as_object(page.get("cursor"), "cursor").get("next")
    if cursor is None or (isinstance(cursor, str) and pattern.fullmatch(cursor)):
        return cursor
    raise Malformed(f"cursor.next must be {parts} or null, not {shown(cursor)}")


def as_text(value: object, what: str) -> str:
    """Return a short string unchanged; unprintable characters (controls, lone surrogates) are refused."""
    if isinstance(value, str) and len(value) <= _MAX_TEXT_CHARACTERS and value.isprintable():
        return value
    raise Malformed(
        f"{what} must be a string of at most {_MAX_TEXT_CHARACTERS} printable characters, not {shown(value)}"
    )


def as_principal(value: object, what: str) -> str:
    """Return an address or a contract id unchanged, within the longest possible length."""
    return _as_identifier(value, what, _MAX_PRINCIPAL_CHARACTERS)


def as_asset(value: object, what: str) -> str:
    """Return an asset identifier (``contract::name``) unchanged, within the longest possible length."""
    return _as_identifier(value, what, _MAX_ASSET_CHARACTERS)


def as_name(value: object, what: str) -> str:
    """Return a function's name unchanged, within the longest possible length."""
    return _as_identifier(value, what, _MAX_NAME_CHARACTERS)


def _as_identifier(value: object, what: str, longest: int) -> str:
    if isinstance(value, str) and len(value) <= longest and value.isascii() and value.isprintable():
        return value
    raise Malformed(f"{what} must be a string of at most {longest} printable characters, not {shown(value)}")


def as_count(value: object, what: str) -> int:
    """Return a height, a count or a rank."""
    return _as_whole(value, what, MAX_COUNT, "2^31-1")


def as_total(value: object, what: str) -> int:
    """Return the length of a list over the whole chain."""
    return _as_whole(value, what, MAX_TOTAL, "2^53")


def as_time(value: object, what: str) -> int:
    """Return a time in unix seconds."""
    return _as_whole(value, what, MAX_TIME, "the end of the year 9999")


def _as_whole(value: object, what: str, largest: int, name: str) -> int:
    # bool is an int in Python, but not in JSON.
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= largest:
        return value
    raise Malformed(f"{what} must be a whole number from 0 to {name}, not {shown(value)}")


def as_flag(value: object, what: str) -> bool:
    """Return a boolean unchanged."""
    if isinstance(value, bool):
        return value
    raise Malformed(f"{what} must be true or false, not {shown(value)}")


def as_hash(value: object, what: str) -> str:
    """Return a hash unchanged."""
    if isinstance(value, str) and HASH.fullmatch(value):
        return value
    raise Malformed(f"{what} must be 0x and 64 lower-case hex digits, not {shown(value)}")


def as_amount(value: object, what: str) -> int:
    """Return the amount in a decimal string."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 39:
        amount = int(value)
        if amount <= MAX_AMOUNT:
            return amount
    raise Malformed(f"{what} must be a decimal string from 0 to 2^128-1, not {shown(value)}")


def as_bytes(value: object, what: str) -> bytes:
    """Return the bytes of ``0x`` and hex digits."""
    if isinstance(value, str) and value.startswith("0x"):
        try:
            raw = bytes.fromhex(value[2:])
        except ValueError:
            raw = None
        # bytes.fromhex skips blanks, which the API never sends.
        if raw is not None and len(raw) * 2 == len(value) - 2:
            return raw
    raise Malformed(f"{what} must be 0x and pairs of hex digits, not {shown(value)}")


def shown(value: object) -> str:
    """Return a short quotation of a foreign value for an error message."""
    if isinstance(value, dict | list):
        return f"{'an object' if isinstance(value, dict) else 'a list'} of {len(value)}"
    if isinstance(value, str):
        return repr(value if len(value) <= 80 else value[:80] + "…")
    # Printing a huge integer may raise.
    return repr(value) if not isinstance(value, int) or value.bit_length() < 256 else "a huge number"
