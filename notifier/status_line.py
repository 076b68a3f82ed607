"""Lenient parser of an HTTP response's status line and ``Retry-After`` (pure).

For responses that the HTTP library rejects: once a status line has arrived, the status counts, whatever
follows.
"""

import re
from dataclasses import dataclass

#: A complete line: a status that is still arriving could become another one.
_STATUS_LINE = re.compile(rb"\s*HTTP/\d+(?:\.\d+)?[ \t]+([1-9]\d\d)(?!\d)[^\r\n]*[\r\n]", re.IGNORECASE)
_END_OF_HEAD = re.compile(rb"\n\r?\n")
#: Including continuation lines, since older servers fold long values.
_RETRY_AFTER = re.compile(rb"^retry-after[ \t]*:((?:[^\n]|\n[ \t])*)\n", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """Head of a response, as far as it could be read."""

    status: int
    #: The header's value; None if it is missing or incomplete.
    retry_after: str | None
    #: Raw bytes after the head.
    body: bytes


def read_head(raw: bytes) -> Head | None:
    """Parse the first bytes of a response; None if they contain no complete final status line. Never raises.

    Interim responses (1xx, but not 101, which ends HTTP) are skipped.
    """
    start = 0
    while (line := _STATUS_LINE.match(raw, start)) is not None:
        status = int(line[1])
        end = _END_OF_HEAD.search(raw, line.end() - 1)
        if status >= 200 or status == 101:
            head = raw[line.end() : end.start() + 1 if end else None]
            retry_after = _RETRY_AFTER.search(head)
            return Head(
                status=status,
                retry_after=" ".join(retry_after[1].decode("latin-1").split()) if retry_after else None,
                body=raw[end.end() :] if end else b"",
            )
        if end is None:
            return None
        start = end.end()
    return None
