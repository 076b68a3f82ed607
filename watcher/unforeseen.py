"""Exceptions that nobody foresaw: every piece of work that goes on after one tells it here.

They are logged with their cause and counted, so that a person hears of them; what they hit was set aside by the caller.
"""

import time

from prometheus_client import Counter

from watcher.log import get_logger

#: Of this process; whatever serves metrics shows it.
COUNTER = Counter(
    "sbtc_watcher_unforeseen",
    "Exceptions that nobody foresaw, by the piece of work that was set aside",
    ["where"],
    registry=None,
)

#: Seconds after which the same one of the same place is logged again: some work is tried again every second.
LOG_AGAIN_AFTER_SECONDS = 300.0

_logged: dict[str, tuple[str, float]] = {}

log = get_logger(__name__)


def report(where: str, error: BaseException) -> None:
    """Count an exception, and log it with its traceback. May be called from any thread."""
    COUNTER.labels(where).inc()
    text, now = f"{type(error).__name__}: {error}", time.monotonic()
    known, at = _logged.get(where, ("", 0.0))
    if text == known and now - at < LOG_AGAIN_AFTER_SECONDS:
        return
    _logged[where] = text, now
    log.error(
        "unforeseen",
        where=where,
        error=type(error).__name__,
        exc_info=error,
        hint="a mistake in this program; it goes on without this piece of work. Please report it with these lines",
    )
