"""Retry schedule and ``Retry-After`` (pure).

Times are unix seconds, waits are seconds; jitter and the clock come in as arguments.
"""

from collections.abc import Sequence
from datetime import UTC
from email.utils import parsedate_to_datetime

#: Waits before the 1st, 2nd, … attempt.
DEFAULT_SCHEDULE: tuple[float, ...] = (0, 60, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400)

#: Fraction by which jitter lengthens a wait at most; it never shortens one.
JITTER = 0.1

#: Longest wait that ``Retry-After`` can ask for, seconds.
MAX_RETRY_AFTER_SECONDS = 86400.0

#: Longest text that is parsed as a date, characters.
_MAX_DATE_CHARACTERS = 64


def next_attempt_at(
    schedule: Sequence[float], used: int, *, now: float, jitter: float, retry_after: float | None = None
) -> float | None:
    """Return when to retry after ``used`` failed attempts of this schedule; None if it is used up (dead).

    ``jitter`` is a random number from 0 to 1. The result is never earlier than the schedule's wait, nor than
    ``retry_after`` (seconds, believed up to a day).
    """
    if used >= len(schedule):
        return None
    wait = schedule[used] * (1 + JITTER * jitter)
    if retry_after is not None:
        wait = max(wait, min(retry_after, MAX_RETRY_AFTER_SECONDS))
    return now + wait


def parse_retry_after(value: str, *, now: float) -> float | None:
    """Parse a ``Retry-After`` header (seconds or an HTTP date) to a wait in seconds; None if malformed."""
    text = value.strip()
    if text.isascii() and text.isdigit():
        # A number this long exceeds the cap in any case.
        return float(text) if len(text) < 10 else MAX_RETRY_AFTER_SECONDS
    until = http_date(text)
    return None if until is None else max(0.0, until - now)


def http_date(text: str) -> float | None:
    """Parse an HTTP date to unix time; None if malformed. Never raises."""
    try:
        moment = parsedate_to_datetime(text[:_MAX_DATE_CHARACTERS])
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except Exception:
        # Untrusted input, and the parser does not document what it raises: ValueError, OverflowError for the
        # year 99999999999, in some versions TypeError and IndexError.
        return None
