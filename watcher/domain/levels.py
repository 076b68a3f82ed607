"""Confirmation levels as users write them (pure): a name, or a depth in Stacks and Bitcoin blocks."""

from collections.abc import Mapping
from typing import NamedTuple

from watcher.domain.model import LEVELS, Depth
from watcher.text import quote

#: The accepted forms, for every message about a level.
LEVEL_FORMS = "write included, anchored, settled or stacks=1,bitcoin=3"

_MAX_DEPTH = 1_000_000


class Level(NamedTuple):
    """A confirmation level; ``name`` is None for an explicit depth."""

    name: str | None
    depth: Depth

    def __str__(self) -> str:
        return self.name or f"stacks={self.depth.stacks},bitcoin={self.depth.bitcoin}"


def parse_level(value: object) -> Level:
    """Parse ``anchored``, ``stacks=1,bitcoin=3`` or ``{"stacks": 1, "bitcoin": 3}``.

    Stacks depths start at 1, Bitcoin depths at 0. Raises :class:`ValueError` with the accepted forms.
    """
    parts: Mapping[object, object]
    if isinstance(value, Level):
        return value
    if isinstance(value, str) and value.strip() in LEVELS:
        return Level(value.strip(), LEVELS[value.strip()])
    if isinstance(value, str):
        pairs = [part.partition("=") for part in value.split(",")]
        parts = {key.strip(): number.strip() for key, _, number in pairs}
        if len(parts) != len(pairs):
            raise ValueError(f"{quote(value)} is not a level; {LEVEL_FORMS}")
    elif isinstance(value, Mapping):
        parts = value
    else:
        parts = {}
    if set(parts) != {"stacks", "bitcoin"}:
        raise ValueError(f"{quote(value)} is not a level; {LEVEL_FORMS}")
    return Level(
        None,
        Depth(
            stacks=read_whole("stacks", parts["stacks"], 1, _MAX_DEPTH),
            bitcoin=read_whole("bitcoin", parts["bitcoin"], 0, _MAX_DEPTH),
        ),
    )


def read_whole(name: str, value: object, least: int, most: int) -> int:
    """Parse a whole number, or its decimal digits as text. Raises :class:`ValueError`."""
    number: int | None = None
    if isinstance(value, int) and not isinstance(value, bool):
        number = value
    elif isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= len(str(most)):
        number = int(value)
    if number is None or not least <= number <= most:
        raise ValueError(f"{name} must be a whole number from {least} to {most}, not {quote(value)}")
    return number
