"""What a failed statement says, in one line that holds no values; and whether the database, or the statement, is at fault."""

from sqlalchemy.exc import DatabaseError, InterfaceError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout


def is_outage(error: Exception) -> bool:
    """Say whether the database cannot serve at the moment, so that the same may work later."""
    # The plain class is "file is not a database" and its like; the other subclasses are about the statement.
    unable = isinstance(error, OperationalError | InterfaceError | InternalError | PoolTimeout)
    return unable or type(error) is DatabaseError


def reason_of(error: Exception) -> str:
    """Return the driver's message and the kind of statement, e.g. ``database is locked (INSERT)``.

    Neither the statement nor its parameters: they may hold secrets.
    """
    lines = str(getattr(error, "orig", None) or error).strip().splitlines()
    text = lines[0] if lines else type(error).__name__
    words = (getattr(error, "statement", None) or "").split()
    return f"{text} ({words[0].upper()})" if words else text
