"""Unforeseen exceptions: log and count them, in every piece of work that continues after one.

The caller sets aside what failed; the log and the metric let an operator know.
"""

import time

from prometheus_client import Counter

from watcher.log import get_logger

#: Counter of this process, exported with the other metrics.
COUNTER = Counter(
    "sbtc_watcher_unforeseen",
    "Unforeseen exceptions, by the piece of work that was set aside",
    ["where"],
    registry=None,
)

#: Seconds before the same exception of the same place is logged again: some work is retried every second.
LOG_AGAIN_AFTER_SECONDS = 300.0

_logged: dict[str, tuple[str, float]] = {}

log = get_logger(__name__)


def report(where: str, error: BaseException) -> None:
    """Count an exception and log it with its traceback, from any thread."""
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
        hint="a bug in sbtc-watcher, which continues without this piece of work. "
        "Please report it with these lines",
    )
