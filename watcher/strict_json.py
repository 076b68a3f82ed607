"""Strict reading of JSON that strangers send (pure): bounded in depth, digits and number of values.

Two programs can read one text differently where JSON leaves it open (a name given twice, NaN, half a
character); such texts are refused. The caller bounds the size.
"""

import json
from collections import Counter
from typing import Any

#: Lists and objects within each other.
MAX_DEPTH = 32
#: Names and values at one depth: 500 intents with 50 metadata each have half of that.
MAX_VALUES = 100_000
#: Digits of a number.
_MAX_DIGITS = 100


def parse(data: bytes) -> Any:
    """Return what a JSON text says. Raises ValueError with what is wrong: ``is not UTF-8``."""
    try:
        found = json.loads(
            data.decode(),
            object_pairs_hook=_object,
            parse_constant=_refuse_constant,
            parse_int=_whole,
        )
    except UnicodeDecodeError:
        raise ValueError("is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"is not JSON: {error.msg} at line {error.lineno}, column {error.colno}") from None
    except RecursionError:
        raise ValueError(f"is nested deeper than {MAX_DEPTH}") from None
    check(found)
    return found


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


def check(document: Any, *, max_depth: int = MAX_DEPTH) -> None:
    """Raise ValueError for what is nested too deep, and for texts that no database can store."""
    level = [document]
    for _ in range(max_depth):
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
                raise ValueError(f"holds more than {MAX_VALUES} values")
        level = following
        if not level:
            return
    raise ValueError(f"is nested deeper than {max_depth}")


def _check_text(text: str) -> None:
    if "\0" in text:
        raise ValueError("holds the character U+0000, which cannot be stored")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("holds half a character (a lone surrogate)") from None
