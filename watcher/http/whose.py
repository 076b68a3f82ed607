"""Whose things a request is about: a merchant's own, or those of the merchant whom an operator names."""

from collections.abc import Mapping
from typing import Any

from watcher.errors import Refused
from watcher.http import query
from watcher.http.callers import Caller
from watcher.http.query import Parameter


def operators(caller: Caller) -> tuple[Parameter, ...]:
    """Return the query parameters that lists take from an operator only."""
    return () if caller.merchant is not None else (query.MERCHANT,)


def for_whom(caller: Caller, body: Any) -> tuple[str | None, Any]:
    """Return for which merchant an operator creates something, and the rest of the body. Raises :class:`Refused`."""
    if caller.merchant is not None or not isinstance(body, Mapping):
        return None, body
    merchant = body.get("merchant")
    if merchant is not None and not isinstance(merchant, str):
        raise Refused("validation", errors=[{"field": "merchant", "message": "must be a merchant's id"}])
    rest = {name: value for name, value in body.items() if name != "merchant"}
    return merchant, rest
