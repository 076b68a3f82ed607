"""systemd's journal as a stream: whether stderr is one, and the priority that each line of it begins with."""

import logging
import os
from typing import TextIO

#: syslog(3)'s priorities of Python's levels.
_PRIORITIES = {logging.CRITICAL: 2, logging.ERROR: 3, logging.WARNING: 4, logging.INFO: 6, logging.DEBUG: 7}


def is_journal(stream: TextIO | None) -> bool:
    """Say whether a stream is the one that systemd connected with its journal, as ``$JOURNAL_STREAM`` says."""
    wanted = os.environ.get("JOURNAL_STREAM")
    if not wanted or stream is None:
        return False
    try:
        found = os.fstat(stream.fileno())
    except (OSError, ValueError):  # closed, or not a file
        return False
    return wanted == f"{found.st_dev}:{found.st_ino}"


def with_priority(text: str, level: int) -> str:
    """Return a text for the journal: each line with its priority, as sd-daemon(3) has it."""
    return "\n".join(f"<{_PRIORITIES.get(level, 6)}>{line}" for line in text.split("\n"))
