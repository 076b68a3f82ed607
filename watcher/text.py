"""Texts for terminals and logs (pure): what strangers wrote is made harmless, so that it steers nothing there."""

import difflib
import re
from collections.abc import Iterable

#: What JSON lets pass but a terminal acts upon: DEL, C1 controls, line separators, overrides of the writing direction.
_UNPRINTABLE = re.compile("[\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


def plain(text: object) -> str:
    """Return a text without anything that a terminal would act upon; such characters are shown escaped."""
    shown = str(text)
    if shown.isprintable():
        return shown
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in shown
    )


def plain_json(text: str) -> str:
    """Return a JSON text that says the same, without anything that a terminal would act upon."""
    return _UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def count(number: int, thing: str) -> str:
    """Return ``1 block``, ``2,000 blocks``."""
    if number == 1:
        return f"1 {thing}"
    return f"{number:,} {thing.removesuffix('y')}ies" if thing.endswith("y") else f"{number:,} {thing}s"


def suggest(word: str, known: Iterable[str]) -> str:
    """Return ``; did you mean …?``, or nothing when no known word is close."""
    close = difflib.get_close_matches(word, sorted(known), n=1)
    return f"; did you mean {close[0]}?" if close else ""
