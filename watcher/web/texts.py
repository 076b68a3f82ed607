"""The words of the pages for payers: a folder per language, a file per page, the same keys in all."""

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

LANGUAGES = ("en",)


@cache
def words(language: str) -> Mapping[str, str]:
    """Return a language's texts by key."""
    found: dict[str, str] = {}
    for file in files("watcher.web").joinpath("languages", language).iterdir():
        found |= json.loads(file.read_bytes())
    return found


def say(language: str, key: str, **values: object) -> str:
    """Return a text with its values filled in; what it returns is plain text, not HTML."""
    return words(language)[key].format(**values)
