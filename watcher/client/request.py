"""Requests as data: what is asked of which route, and what the answer is (pure). Both clients send the same
ones.
"""

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from typing import Any, Generic, TypeVar

from notifier.events import rfc3339
from watcher.client.errors import NotFound
from watcher.schemas import Document

A = TypeVar("A", bound=Document)
T = TypeVar("T")

_ID = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request(Generic[A]):
    """One request. ``answer`` is the model of what comes back."""

    method: str
    path: str
    answer: type[A]
    query: Mapping[str, str] = field(default_factory=dict)
    #: What is sent as JSON, None for nothing.
    body: Any = None
    #: By default one is made for everything that changes something.
    idempotency_key: str | None = None
    #: How much longer than others the answer may take, seconds.
    extra_timeout: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PageRequest(Request[A], Generic[A, T]):
    """A request for the first page of a list of ``T``."""

    #: The parameter that continues a list, and whether an empty page is the only end.
    continued_by: str = "cursor"

    def following(self, page: Any) -> "PageRequest[A, T] | None":
        """Return the request for the page after ``page``, None when that was the last."""
        if page.next_cursor is None or not page.data:
            return None
        return dataclasses.replace(self, query={**self.query, self.continued_by: page.next_cursor})


@dataclass(frozen=True, slots=True)
class Route(Generic[A]):
    """A method and a path, ``{}`` standing for ids."""

    method: str
    path: str
    answer: type[A]

    def to(
        self,
        *ids: str,
        body: Any = None,
        query: Mapping[str, object] | None = None,
        idempotency_key: str | None = None,
        extra_timeout: float = 0.0,
    ) -> Request[A]:
        """Return a request to this route; what is None in the query is left out.

        Raises :class:`NotFound` for an id that cannot be one: in a path it could lead elsewhere.
        """
        for given in ids:
            if not _ID.fullmatch(given):
                raise NotFound(f"{given!r} is no id", status=404, code="not_found")
        return Request(
            method=self.method,
            path=self.path.format(*ids),
            answer=self.answer,
            query=encode_query(query),
            body=body,
            idempotency_key=idempotency_key,
            extra_timeout=extra_timeout,
        )


@dataclass(frozen=True, slots=True)
class Listing(Generic[A, T]):
    """A path that lists ``T``, page by page."""

    path: str
    answer: type[A]
    item: type[T]

    def to(self, *, continued_by: str = "cursor", **query: object) -> PageRequest[A, T]:
        """Return the request for a page."""
        encoded = encode_query(query)
        return PageRequest(
            method="GET", path=self.path, answer=self.answer, query=encoded, continued_by=continued_by
        )


def encode_query(query: Mapping[str, object] | None) -> dict[str, str]:
    """Return parameters as they stand in a URL: ``{"metadata": {"a": "1"}}`` is ``metadata[a]=1``."""
    found: dict[str, str] = {}
    for name, value in (query or {}).items():
        if isinstance(value, Mapping):
            found |= {f"{name}[{key}]": str(text) for key, text in value.items()}
        elif isinstance(value, bool):
            found[name] = "true" if value else "false"
        elif isinstance(value, datetime):
            # The server counts in whole seconds.
            found[name] = rfc3339(value.astimezone(UTC).replace(microsecond=0).timestamp())
        elif isinstance(value, Enum):
            found[name] = str(value.value)
        elif value is not None:
            found[name] = str(value)
    return found


def drop_none(**fields: Any) -> dict[str, Any]:
    """Return what is not None, as JSON has it: amounts as text, times as RFC 3339."""
    return {name: _plain(value) for name, value in fields.items() if value is not None}


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return rfc3339(value.astimezone(UTC).timestamp())
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return value
