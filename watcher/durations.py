"""Durations in text (pure): ``500ms``, ``5s``, ``2m``, ``24h``, ``5d``, or a number of seconds."""

import re
from collections.abc import Callable
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer

from watcher.text import quote

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
#: Ten years: far above every sensible wait, far below what date arithmetic holds.
_MAX_SECONDS = 3650 * 86400
_PATTERN = re.compile(r"(\d{1,15}(?:\.\d{1,9})?)\s*(ms|s|m|h|d)?", re.ASCII)

#: What to write instead, for every message about a duration.
EXAMPLES = "500ms, 5s, 2m, 24h, 5d or a number of seconds"


def is_ago(text: str) -> bool:
    """Say whether the text of a moment is a duration before now, like ``2d``; a number or RFC 3339 is not."""
    return text[-1:].isalpha() and text[-1:] not in "Zz"


def parse_duration(value: object) -> float:
    """Return seconds, 0 or more.

    :raises ValueError: with what is wrong and what to write instead.
    """
    seconds: float
    if isinstance(value, int | float) and not isinstance(value, bool):
        seconds = value
    elif isinstance(value, str) and (found := _PATTERN.fullmatch(value.strip())):
        number, unit = found.groups()
        # Division keeps "500ms" exact where a product with 0.001 would not.
        seconds = float(number) / 1000 if unit == "ms" else float(number) * _UNITS[unit or "s"]
    else:
        raise ValueError(f"{quote(value)} is not a duration; write {EXAMPLES}")
    if not 0 <= seconds <= _MAX_SECONDS:  # nor NaN
        raise ValueError(f"{quote(value)} is not between 0 and 3650d; write {EXAMPLES}")
    return float(seconds)


def format_duration(seconds: float) -> str:
    """Return the shortest text in one unit, like ``90s`` or ``2m``, that parses as the same value."""
    for unit in ("d", "h", "m"):
        if seconds and seconds % _UNITS[unit] == 0:
            return f"{seconds / _UNITS[unit]:.0f}{unit}"
    milliseconds = round(seconds * 1000)
    if seconds % 1 and milliseconds / 1000 == seconds:
        return f"{milliseconds}ms"
    return f"{seconds:.9f}".rstrip("0").rstrip(".") + "s"


def _above_zero(seconds: float) -> float:
    if seconds == 0:
        raise ValueError(f"must be longer than 0; write {EXAMPLES}")
    return seconds


def _whole(seconds: float) -> int:
    if seconds != int(seconds):
        raise ValueError(
            f"{format_duration(seconds)} is not a whole number of seconds, which chain time is counted in"
        )
    return int(seconds)


def _then(*steps: Callable[[float], float]) -> Callable[[object], float]:
    def read(value: object) -> float:
        seconds = parse_duration(value)
        for step in steps:
            seconds = step(seconds)
        return seconds

    return read


_AS_TEXT = PlainSerializer(format_duration, return_type=str)

#: A duration in seconds, 0 or more.
Seconds = Annotated[float, BeforeValidator(parse_duration), _AS_TEXT]
#: A duration in seconds, above 0.
PositiveSeconds = Annotated[float, BeforeValidator(_then(_above_zero)), _AS_TEXT]
#: A duration of chain time, whole seconds, 0 or more.
ChainSeconds = Annotated[int, BeforeValidator(_then(_whole)), _AS_TEXT]
#: A duration of chain time, whole seconds, above 0.
PositiveChainSeconds = Annotated[int, BeforeValidator(_then(_above_zero, _whole)), _AS_TEXT]
