"""systemd's journal: whether a stream leads to it, and the priority prefix of its lines."""

import logging
import os
from typing import TextIO

#: syslog(3) priorities of Python's log levels.
_PRIORITIES = {logging.CRITICAL: 2, logging.ERROR: 3, logging.WARNING: 4, logging.INFO: 6, logging.DEBUG: 7}


def is_journal(stream: TextIO | None) -> bool:
    """Say whether systemd connected a stream to its journal, according to ``$JOURNAL_STREAM``."""
    wanted = os.environ.get("JOURNAL_STREAM")
    if not wanted or stream is None:
        return False
    try:
        found = os.fstat(stream.fileno())
    except (OSError, ValueError):  # closed, or not a file
        return False
    return wanted == f"{found.st_dev}:{found.st_ino}"


def with_priority(text: str, level: int) -> str:
    """Return a text for the journal: each line with the priority prefix of sd-daemon(3)."""
    return "\n".join(f"<{_PRIORITIES.get(level, 6)}>{line}" for line in text.split("\n"))
