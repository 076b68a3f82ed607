"""The words of the pages for payers: a folder per language, a file per page, the same keys in all.

A text whose words follow a number is a table of its plural forms, of which ``n`` chooses.
"""

import json
import re
from collections.abc import Callable, Mapping
from functools import cache
from importlib.resources import files

from markupsafe import Markup, escape

#: Languages by their tag, each under its own name; the first is for those who ask for none of them.
LANGUAGES = {
    "en": "English",
    "de": "Deutsch",
    "fr": "Français",
    "es": "Español",
    "pt": "Português",
    "ja": "日本語",
}
DEFAULT = next(iter(LANGUAGES))

#: Which form a whole number from 0 takes; other languages have one form for all.
_PLURALS: Mapping[str, Callable[[int], str]] = {
    **dict.fromkeys(("en", "de", "es"), lambda n: "one" if n == 1 else "other"),
    **dict.fromkeys(("fr", "pt"), lambda n: "one" if n < 2 else "other"),
}

#: Parts of an Accept-Language that are read.
_MOST_RANGES = 30
_RANGE = re.compile(
    r"\s*([A-Za-z]{1,8}|\*)(?:-[A-Za-z0-9-]*)?\s*(?:;\s*q\s*=\s*([01](?:\.\d{0,3})?)\s*)?", re.ASCII
)


@cache
def words(language: str) -> Mapping[str, str | Mapping[str, str]]:
    """Return a language's texts by key."""
    found: dict[str, str | Mapping[str, str]] = {}
    for file in files("watcher.web").joinpath("languages", language).iterdir():
        found |= json.loads(file.read_bytes())
    return found


def say(language: str, key: str, **values: object) -> str:
    """Return a text with its values filled in; what it returns is plain text, not HTML."""
    return _form(language, key, values).format(**values)


def markup(language: str, key: str, **values: object) -> Markup:
    """Return a text as HTML. Values are escaped, but for those that are markup already."""
    return Markup(escape(_form(language, key, values))).format(**values)  # noqa: S704


def choose_language(asked: str | None, accepted: str) -> str:
    """Return the language to speak: the one that is asked for, else the one that is liked best.

    ``accepted`` is an ``Accept-Language``. A language that is not spoken here is passed over.
    """
    if asked in LANGUAGES:
        return str(asked)
    liked = []
    for part in accepted.split(",", _MOST_RANGES)[:_MOST_RANGES]:
        found = _RANGE.fullmatch(part)
        if found is not None:
            liked.append((float(found[2] or 1), found[1].lower()))
    for weight, name in sorted(liked, key=lambda one: -one[0]):
        if weight > 0 and (name in LANGUAGES or name == "*"):
            return DEFAULT if name == "*" else name
    return DEFAULT


def _form(language: str, key: str, values: Mapping[str, object]) -> str:
    text = words(language)[key]
    if isinstance(text, str):
        return text
    number = values["n"]
    assert isinstance(number, int)
    return text[_PLURALS[language](number) if language in _PLURALS else "other"]
