"""The status of an answer, read from its first bytes as leniently as can be (pure).

For answers that the HTTP library refuses: once there is a status line, what follows it is the endpoint's own affair.
"""

import re
from dataclasses import dataclass

#: A line, ended: a status that is still being sent could become another one.
_STATUS_LINE = re.compile(rb"\s*HTTP/\d+(?:\.\d+)?[ \t]+([1-9]\d\d)(?!\d)[^\r\n]*[\r\n]", re.IGNORECASE)
_END_OF_HEAD = re.compile(rb"\n\r?\n")
#: With the lines that continue it, as older servers fold long values.
_RETRY_AFTER = re.compile(rb"^retry-after[ \t]*:((?:[^\n]|\n[ \t])*)\n", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """What could be read of an answer's head."""

    status: int
    #: The header's value, None if it is not there or not complete.
    retry_after: str | None
    #: What came after the head, as it came.
    body: bytes


def read_head(raw: bytes) -> Head | None:
    """Return what the first bytes of an answer say; None if no final status line is complete. Never raises.

    Interim answers (1xx, but not 101, which ends HTTP) are passed over.
    """
    start = 0
    while (line := _STATUS_LINE.match(raw, start)) is not None:
        status = int(line[1])
        end = _END_OF_HEAD.search(raw, line.end() - 1)
        if status >= 200 or status == 101:
            head = raw[line.end() : end.start() + 1 if end else None]
            asked = _RETRY_AFTER.search(head)
            return Head(
                status=status,
                retry_after=" ".join(asked[1].decode("latin-1").split()) if asked else None,
                body=raw[end.end() :] if end else b"",
            )
        if end is None:
            return None
        start = end.end()
    return None
