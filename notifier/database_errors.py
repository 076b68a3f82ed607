"""Classify database errors as outage or fault of the statement, and describe them without values."""

from sqlalchemy.exc import DatabaseError, InterfaceError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout


def is_outage(error: Exception) -> bool:
    """Return whether the database is unavailable, so that the same statement may work later."""
    # The base class itself is raised for "file is not a database"; the other subclasses blame the statement.
    unable = isinstance(error, OperationalError | InterfaceError | InternalError | PoolTimeout)
    return unable or type(error) is DatabaseError


def reason_of(error: Exception) -> str:
    """Return the driver's message and the kind of statement, e.g. ``database is locked (INSERT)``.

    Leaves out the statement and its parameters, which may contain secrets.
    """
    lines = str(getattr(error, "orig", None) or error).strip().splitlines()
    text = lines[0] if lines else type(error).__name__
    words = (getattr(error, "statement", None) or "").split()
    return f"{text} ({words[0].upper()})" if words else text
