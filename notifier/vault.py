"""An endpoint's secrets as they are stored: a list of ``{"secret", "valid_until"}``, the current one last.

:func:`seal` and :func:`unseal` are the one place where a secret turns into what the database holds and back.
"""

from collections.abc import Sequence
from typing import Any

from notifier.errors import NotPossible

#: What the column ``endpoint.secrets`` holds.
Stored = list[dict[str, Any]]

#: More signatures than this would only make the header long.
MAX_SECRETS = 5


def seal(secret: str) -> str:
    """Return what is stored for a secret."""
    return secret


def unseal(stored: str) -> str:
    """Return the secret behind what is stored."""
    return stored


def first(secret: str) -> Stored:
    """Return the column's value for an endpoint that has just this secret."""
    return [{"secret": seal(secret), "valid_until": None}]


def rotate(stored: Stored, secret: str, *, now: float, overlap: float) -> Stored:
    """Return the column's value with ``secret`` as the current one; the others stay valid for ``overlap`` seconds.

    An overlap of 0 ends all others at once, also those that an earlier rotation left valid.
    """
    until = now + overlap
    kept = [
        {"secret": entry["secret"], "valid_until": min(until, entry["valid_until"] or until)}
        for entry in stored
        if overlap > 0 and (entry["valid_until"] is None or entry["valid_until"] > now)
    ]
    if len(kept) >= MAX_SECRETS:
        raise NotPossible(
            f"{len(kept)} secrets of this endpoint are valid already; wait until one ends, or rotate with overlap 0"
        )
    return [*kept, {"secret": seal(secret), "valid_until": None}]


def valid_secrets(stored: Sequence[dict[str, Any]], *, now: float) -> tuple[str, ...]:
    """Return the secrets to sign with at ``now``, the current one last."""
    return tuple(
        unseal(entry["secret"])
        for entry in stored
        if entry["valid_until"] is None or entry["valid_until"] > now
    )
