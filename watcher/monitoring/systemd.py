"""Client of systemd's notify protocol: datagrams of ``NAME=value`` lines.

Protocol: sd_notify(3) and sd_watchdog_enabled(3). Without ``$NOTIFY_SOCKET`` everything here does nothing.
"""

import os
import socket
from collections.abc import Mapping

from watcher.log import get_logger

log = get_logger(__name__)


class ServiceManager:
    """Client of ``$NOTIFY_SOCKET``. Sending never blocks and never raises."""

    def __init__(self, address: str | None = None, *, watchdog: float | None = None) -> None:
        #: Seconds without :meth:`alive` after which systemd kills the process; None without a watchdog.
        self.watchdog = watchdog
        # A leading @ means the zero byte of Linux's abstract socket names.
        self._address = f"\0{address[1:]}" if address and address.startswith("@") else address
        self._status = ""

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> "ServiceManager":
        """Return the client for this process's environment."""
        microseconds = environment.get("WATCHDOG_USEC", "")
        for_us = environment.get("WATCHDOG_PID") in (None, "", str(os.getpid()))
        watched = for_us and microseconds.isascii() and microseconds.isdigit() and int(microseconds) > 0
        return cls(
            environment.get("NOTIFY_SOCKET") or None,
            watchdog=int(microseconds) / 1_000_000 if watched else None,
        )

    def ready(self) -> None:
        """Report that the start is complete, so that dependent units start."""
        self._send("READY=1")

    def stopping(self) -> None:
        """Report that the stop has begun."""
        self._send("STOPPING=1")

    def alive(self) -> None:
        """Feed the watchdog."""
        if self.watchdog is not None:
            self._send("WATCHDOG=1")

    def extend_watchdog(self, seconds: float) -> None:
        """Raise the watchdog's timeout to at least ``seconds``, which a live loop may be silent."""
        if self.watchdog is not None and self.watchdog < seconds:
            self.watchdog = seconds
            self._send(f"WATCHDOG_USEC={round(seconds * 1_000_000)}")

    def status(self, text: str) -> None:
        """Set the status line of ``systemctl status``; sent only when it changes."""
        line = " ".join(text.split())
        if line != self._status:
            self._status = line
            self._send(f"STATUS={line}")

    def _send(self, message: str) -> None:
        if self._address is None:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out:
                out.setblocking(False)
                out.sendto(message.encode(), self._address)
        except OSError as error:
            log.warning("systemd.notify_failed", message=message, reason=str(error))
