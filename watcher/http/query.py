"""Query parameters: each is declared once, and read and described from that. What is not declared is refused."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from fastapi import Request

from watcher import fields
from watcher.assets import suggest
from watcher.fields import Problems

_CURSOR = re.compile(r"[A-Za-z0-9_]{1,64}", re.ASCII)
_MAX_TEXT = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A query parameter. ``read`` raises :class:`ValueError` with what is wrong and what would be right."""

    name: str
    read: Callable[[str], Any]
    description: str
    schema: dict[str, Any] = field(default_factory=lambda: {"type": "string"})
    #: Given as ``name[key]=value``, any number of times.
    deep: bool = False

    def described(self) -> dict[str, Any]:
        """Return it as OpenAPI has it."""
        found = {"name": self.name, "in": "query", "required": False, "description": self.description}
        more = {"style": "deepObject", "explode": True} if self.deep else {}
        return found | more | {"schema": self.schema}


def read_query(request: Request, *known: Parameter) -> dict[str, Any]:
    """Return what the query holds, by name; raises :class:`watcher.errors.Refused` with everything that is wrong."""
    problems = Problems()
    by_name = {parameter.name: parameter for parameter in known}
    found: dict[str, Any] = {}
    for given, text in request.query_params.multi_items():
        name, bracket, rest = given.partition("[")
        parameter = by_name.get(name)
        if parameter is not None and parameter.deep and not bracket:
            problems.add(name, f"is written {name}[key]=value")
        elif parameter is None or parameter.deep != (bool(bracket) and rest.endswith("]")):
            hint = suggest(name, by_name)
            problems.add(given[:_MAX_TEXT], f"unknown parameter{hint}")
        elif "\0" in text or "\0" in given:
            problems.add(name, "must not hold the character U+0000")
        elif parameter.deep:
            key = rest[:-1]
            values = found.setdefault(name, {})
            if key in values:
                problems.add(given[:_MAX_TEXT], "is given twice")
            values[key] = text
        elif name in found:
            problems.add(name, "is given twice")
        else:
            found[name] = problems.read(name, parameter.read, text, None)
    for parameter in known:
        if parameter.deep and parameter.name in found:
            found[parameter.name] = problems.read(parameter.name, parameter.read, found[parameter.name], None)
    problems.check()
    return found


def choice(name: str, kind: type[StrEnum], description: str) -> Parameter:
    """Return a parameter that takes one of an enumeration's values."""
    values = [member.value for member in kind]
    return Parameter(
        name=name,
        read=fields.read_choice(kind),
        description=description,
        schema={"type": "string", "enum": values},
    )


def words(name: str, values: Sequence[str], description: str) -> Parameter:
    """Return a parameter that takes one of some words."""

    def read(text: str) -> str:
        if text not in values:
            raise ValueError(f"{fields.quote(text)} is unknown; write {' or '.join(values)}")
        return text

    schema = {"type": "string", "enum": list(values)}
    return Parameter(name=name, read=read, description=description, schema=schema)


def yes_or_no(name: str, description: str) -> Parameter:
    """Return a parameter that takes ``true`` or ``false``."""

    def read(text: str) -> bool:
        if text not in ("true", "false"):
            raise ValueError(f"{fields.quote(text)} is unknown; write true or false")
        return text == "true"

    return Parameter(name=name, read=read, description=description, schema={"type": "boolean"})


def an_id(name: str, description: str) -> Parameter:
    """Return a parameter that takes an id."""

    def read(text: str) -> str:
        if not _CURSOR.fullmatch(text):
            raise ValueError(f"{fields.quote(text)} is not an id")
        return text

    return Parameter(name=name, read=read, description=description)


def moment(name: str, description: str) -> Parameter:
    """Return a parameter that takes a time: RFC 3339 or unix seconds."""
    return Parameter(name=name, read=fields.read_time, description=description)


def _read_limit(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 3 and 1 <= int(text) <= 100):
        raise ValueError(f"{fields.quote(text)} is no number of rows; write 1 to 100")
    return int(text)


def _read_cursor(text: str) -> str:
    if not _CURSOR.fullmatch(text):
        raise ValueError(f"{fields.quote(text)} is no cursor; write the next_cursor of the page before")
    return text


LIMIT = Parameter(
    name="limit",
    read=_read_limit,
    description="Rows of the page.",
    schema={"type": "integer", "minimum": 1, "maximum": 100, "default": 20},
)
CURSOR = Parameter(
    name="cursor", read=_read_cursor, description="`next_cursor` of the page before; none for the first page."
)
MERCHANT = an_id("merchant", "Whose, for an operator; a merchant sees only his own.")
#: What every list takes.
PAGE = (LIMIT, CURSOR)
