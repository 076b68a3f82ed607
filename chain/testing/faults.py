"""Faults that a scripted API produces on request."""

import gzip
import html
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

#: Changes a JSON body before it is sent, for a server that lies: ``(route, body) -> body``.
Tamper = Callable[[str, Any], Any]


@dataclass(slots=True, kw_only=True)
class Fault:
    """A fault of the next ``times`` requests (None: until cleared) of a route (None: of any)."""

    #: Status of the answer; None: no error status.
    status: int | None = None
    #: Bytes to send instead of JSON.
    body: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)
    #: Seconds to wait first.
    delay: float = 0.0
    #: Send half of the answer: ``body`` with a matching length, or ``connection`` broken in the middle.
    cut: str | None = None
    #: Close the connection without an answer.
    disconnect: bool = False
    route: str | None = None
    times: int | None = 1


class Faults:
    """The queued faults, first in first out for each request. Every method adds one and returns it."""

    def __init__(self) -> None:
        self._waiting: list[Fault] = []
        #: See :data:`Tamper`; None: no tampering.
        self.tamper: Tamper | None = None

    def add(self, fault: Fault) -> Fault:
        """Queue any fault."""
        self._waiting.append(fault)
        return fault

    def clear(self) -> None:
        """Forget all faults and the tampering."""
        self._waiting.clear()
        self.tamper = None

    def take(self, route: str) -> Fault | None:
        """Take the fault of the next request of ``route``, and count it down."""
        for fault in self._waiting:
            if fault.route in (None, route):
                if fault.times is not None:
                    fault.times -= 1
                    if fault.times <= 0:
                        self._waiting.remove(fault)
                return fault
        return None

    def fail(self, status: int = 500, *, times: int | None = 1, route: str | None = None) -> Fault:
        """Answer with a status and the API's error JSON."""
        return self.add(Fault(status=status, times=times, route=route))

    def html(self, status: int = 502, *, times: int | None = 1, route: str | None = None) -> Fault:
        """Answer as a CDN does, in HTML; with status 200 too."""
        body = f"<html><body><h1>{status} {html.escape('Bad Gateway')}</h1></body></html>".encode()
        return self.malformed(body, status=status, content_type="text/html", times=times, route=route)

    def malformed(
        self,
        body: bytes,
        *,
        status: int = 200,
        content_type: str = "application/json",
        times: int | None = 1,
        route: str | None = None,
    ) -> Fault:
        """Answer with exactly these bytes."""
        headers = {"content-type": content_type}
        return self.add(Fault(status=status, body=body, headers=headers, times=times, route=route))

    def truncate(self, *, times: int | None = 1, route: str | None = None) -> Fault:
        """Send the first half of the JSON as if it were all."""
        return self.add(Fault(cut="body", times=times, route=route))

    def cut(self, *, times: int | None = 1, route: str | None = None) -> Fault:
        """Break the connection in the middle of the body."""
        return self.add(Fault(cut="connection", times=times, route=route))

    def disconnect(self, *, times: int | None = 1, route: str | None = None) -> Fault:
        """Close the connection without an answer."""
        return self.add(Fault(disconnect=True, times=times, route=route))

    def slow(self, seconds: float, *, times: int | None = 1, route: str | None = None) -> Fault:
        """Answer correctly, but late. Other faults do not apply to the same request."""
        return self.add(Fault(delay=seconds, times=times, route=route))

    def rate_limit(
        self, retry_after: float | None = 1, *, times: int | None = 1, route: str | None = None
    ) -> Fault:
        """Answer 429, with ``retry-after`` unless that is None."""
        headers = {} if retry_after is None else {"retry-after": f"{retry_after:g}"}
        return self.add(Fault(status=429, headers=headers, times=times, route=route))

    def refuse(self, status: int = 401, *, times: int | None = 1, route: str | None = None) -> Fault:
        """Answer that the key is wrong (401) or not allowed (403)."""
        return self.add(Fault(status=status, times=times, route=route))

    def gzip_bomb(self, megabytes: int = 64, *, times: int | None = 1, route: str | None = None) -> Fault:
        """Answer with a few kilobytes of gzip that unpack to ``megabytes`` of JSON."""
        headers = {"content-type": "application/json", "content-encoding": "gzip"}
        return self.add(Fault(status=200, body=_bomb(megabytes), headers=headers, times=times, route=route))


@lru_cache(maxsize=2)
def _bomb(megabytes: int) -> bytes:
    return gzip.compress(b'{"results":"' + b"0" * (megabytes << 20) + b'"}', compresslevel=6)
