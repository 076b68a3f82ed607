"""The fields of the API's JSON, each checked: a value comes out as the type it must be, or ``Malformed`` is raised; pure.

``what`` names the field in the error.
"""

import re
from collections.abc import Mapping

from chain.model import MAX_AMOUNT

#: Shape of transaction ids and block hashes.
HASH = re.compile(r"0x[0-9a-f]{64}")

#: Largest height, count or rank that is believed: what the databases' integer columns hold, and centuries away.
MAX_COUNT = 2**31 - 1

#: Largest length of a list over the whole chain that is believed.
MAX_TOTAL = 2**53

#: Largest time that is believed: the end of the year 9999 in Unix seconds, which is as far as calendars go.
MAX_TIME = 253_402_300_799

_MAX_TEXT = 1024
#: Clarity names have up to 128 characters, addresses up to 41.
_MAX_NAME = 128
_MAX_PRINCIPAL = 41 + len(".") + _MAX_NAME
_MAX_ASSET = _MAX_PRINCIPAL + len("::") + _MAX_NAME


class Malformed(ValueError):
    """The JSON is not what the API promises; the text names the field and what came instead."""


def as_object(value: object, what: str) -> Mapping[str, object]:
    """Return a JSON object as it is."""
    if isinstance(value, dict):
        return value
    raise Malformed(f"{what} must be an object, not {shown(value)}")


def as_list(value: object, what: str) -> list[object]:
    """Return a JSON list as it is."""
    if isinstance(value, list):
        return value
    raise Malformed(f"{what} must be a list, not {shown(value)}")


def as_text(value: object, what: str) -> str:
    """Return a short string as it is; what cannot be printed (control characters, lone surrogates) is refused."""
    if isinstance(value, str) and len(value) <= _MAX_TEXT and value.isprintable():
        return value
    raise Malformed(
        f"{what} must be a string of at most {_MAX_TEXT} printable characters, not {shown(value)}"
    )


def as_principal(value: object, what: str) -> str:
    """Return an address or a contract id as it is, not longer than one can be."""
    return _as_identifier(value, what, _MAX_PRINCIPAL)


def as_asset(value: object, what: str) -> str:
    """Return an asset identifier (``contract::name``) as it is, not longer than one can be."""
    return _as_identifier(value, what, _MAX_ASSET)


def as_name(value: object, what: str) -> str:
    """Return a function's name as it is, not longer than one can be."""
    return _as_identifier(value, what, _MAX_NAME)


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
    """Return a time in Unix seconds."""
    return _as_whole(value, what, MAX_TIME, "the end of the year 9999")


def _as_whole(value: object, what: str, largest: int, name: str) -> int:
    # bool is an int to Python, but not to JSON.
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= largest:
        return value
    raise Malformed(f"{what} must be a whole number from 0 to {name}, not {shown(value)}")


def as_flag(value: object, what: str) -> bool:
    """Return a truth value as it is."""
    if isinstance(value, bool):
        return value
    raise Malformed(f"{what} must be true or false, not {shown(value)}")


def as_hash(value: object, what: str) -> str:
    """Return a hash as it is."""
    if isinstance(value, str) and HASH.fullmatch(value):
        return value
    raise Malformed(f"{what} must be 0x and 64 lower-case hex digits, not {shown(value)}")


def as_amount(value: object, what: str) -> int:
    """Return the amount that a decimal string holds."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 39:
        amount = int(value)
        if amount <= MAX_AMOUNT:
            return amount
    raise Malformed(f"{what} must be a decimal string from 0 to 2^128-1, not {shown(value)}")


def as_bytes(value: object, what: str) -> bytes:
    """Return the bytes that ``0x`` and hex digits hold."""
    if isinstance(value, str) and value.startswith("0x"):
        try:
            raw = bytes.fromhex(value[2:])
        except ValueError:
            raw = None
        # bytes.fromhex skips blanks; the wire has none.
        if raw is not None and len(raw) * 2 == len(value) - 2:
            return raw
    raise Malformed(f"{what} must be 0x and pairs of hex digits, not {shown(value)}")


def shown(value: object) -> str:
    """Return a foreign value as an error may quote it: short, whatever it is."""
    if isinstance(value, dict | list):
        return f"{'an object' if isinstance(value, dict) else 'a list'} of {len(value)}"
    if isinstance(value, str):
        return repr(value if len(value) <= 80 else value[:80] + "…")
    # An integer may be too long to print.
    return repr(value) if not isinstance(value, int) or value.bit_length() < 256 else "a huge number"
