"""The log of the demo's daemon, which is kept from the terminal."""

import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager

from watcher import log


@contextmanager
def collect_log() -> Iterator[io.StringIO]:
    """Collect the daemon's log instead of printing it; its end is shown if the demo fails."""
    journal = io.StringIO()
    log.configure("console", "warning", journal)
    try:
        yield journal
    finally:
        root = logging.getLogger()
        for handler in root.handlers[:]:
            if isinstance(handler, logging.StreamHandler) and handler.stream is journal:
                root.removeHandler(handler)
