"""Whose things a request is about: a merchant's own, or those of the merchant whom an operator names."""

from collections.abc import Mapping
from typing import Any

from watcher.http import query
from watcher.http.callers import Caller
from watcher.http.query import Parameter


def operators(caller: Caller) -> tuple[Parameter, ...]:
    """Return the query parameters that lists take from an operator only."""
    return () if caller.merchant is not None else (query.MERCHANT,)


def for_whom(caller: Caller, body: Any) -> tuple[str | None, Any]:
    """Return for which merchant an operator creates something, and the rest of the body."""
    if caller.merchant is not None or not isinstance(body, Mapping):
        return None, body
    merchant = body.get("merchant")
    rest = {name: value for name, value in body.items() if name != "merchant"}
    return (merchant if isinstance(merchant, str) else None), rest
