"""Text for terminals and logs (pure): untrusted text is escaped so that it cannot control the terminal."""

import difflib
import re
from collections.abc import Iterable

#: Characters that JSON leaves as they are but a terminal interprets: DEL, C1 controls, line separators, bidi
#: overrides.
_UNPRINTABLE = re.compile("[\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


def plain(text: object) -> str:
    """Return a text in which every character that a terminal would interpret is escaped."""
    shown = str(text)
    if shown.isprintable():
        return shown
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in shown
    )


def plain_json(text: str) -> str:
    """Return an equivalent JSON text in which every character that a terminal would interpret is escaped."""
    return _UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def quote(value: object) -> str:
    """Return a value for an error message, cut off when it is long."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…"


def count(number: int, thing: str) -> str:
    """Return ``1 block``, ``2,000 blocks``."""
    if number == 1:
        return f"1 {thing}"
    return f"{number:,} {thing.removesuffix('y')}ies" if thing.endswith("y") else f"{number:,} {thing}s"


def suggest(word: str, known: Iterable[str]) -> str:
    """Return ``; did you mean …?``, or nothing when no known word is close."""
    close = difflib.get_close_matches(word, sorted(known), n=1)
    return f"; did you mean {close[0]}?" if close else ""
