"""Query validation as in the real server, with its validator's messages."""

import re
from collections.abc import Mapping
from typing import Any


class ValidationFailed(Exception):
    """The request violates the route's schema; the message is Fastify's."""

    @property
    def body(self) -> Any:
        """The answer's body, with status 400."""
        return {"statusCode": 400, "code": "FST_ERR_VALIDATION", "error": "Bad Request", "message": str(self)}


def integer(query: Mapping[str, str], name: str, *, default: int, low: int, high: int | None) -> int:
    """Return an integer of the query, within its bounds."""
    found = query.get(name)
    if found is None:
        return default
    if not re.fullmatch(r"[+-]?[0-9]{1,15}", found):
        raise ValidationFailed(f"querystring/{name} must be integer")
    value = int(found)
    if value < low:
        raise ValidationFailed(f"querystring/{name} must be >= {low}")
    if high is not None and value > high:
        raise ValidationFailed(f"querystring/{name} must be <= {high}")
    return value


def text(query: Mapping[str, str], name: str, pattern: str) -> str | None:
    """Return a text of the query that matches ``pattern``."""
    found = query.get(name)
    if found is not None and not re.fullmatch(pattern, found):
        raise ValidationFailed(f'querystring/{name} must match pattern "{pattern}"')
    return found
