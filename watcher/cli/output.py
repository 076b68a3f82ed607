"""Standard output whose errors are messages: closed or full, it ends the command with one line on stderr.

A reader that went away (``| head``) is no error and stays a :class:`BrokenPipeError`.
"""

import io
import os
import sys
from typing import TYPE_CHECKING, Final

from watcher.errors import WatcherError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

STDOUT: Final = 1


class OutputFailed(WatcherError):
    """Standard output cannot be written; exit code 1, as in other programs."""


class _Output(io.FileIO):
    """File descriptor 1 as a raw stream that raises :class:`OutputFailed`."""

    def __init__(self) -> None:
        try:
            super().__init__(STDOUT, "wb", closefd=False)
            self._why = ""
        except OSError as error:
            # Otherwise the next file to be opened, such as the database, would get descriptor 1.
            os.dup2(os.open(os.devnull, os.O_WRONLY), STDOUT)
            super().__init__(STDOUT, "wb", closefd=False)
            self._why = "it is closed" if sys.stdout is None else (error.strerror or str(error)).lower()

    def write(self, data: "ReadableBuffer", /) -> int:
        """Write bytes and return how many were written."""
        why = self._why
        if not why:
            try:
                return super().write(data)
            except BrokenPipeError:
                raise
            except OSError as error:
                why = (error.strerror or str(error)).lower()
        # Report it once: what Python flushes at exit goes to /dev/null.
        os.dup2(os.open(os.devnull, os.O_WRONLY), STDOUT)
        self._why = ""
        raise OutputFailed(f"standard output: {why}")


def install() -> None:
    """Replace ``sys.stdout``; characters that its encoding lacks are written as escapes."""
    raw = _Output()
    sys.stdout = io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=getattr(sys.stdout, "encoding", None) or "utf-8",
        errors="backslashreplace",
        line_buffering=raw.isatty(),
    )
