"""People who look at payment links: counted once a day each, without storing who they were.

Of a visitor there is a HMAC of the link, the address and the browser's name, by a random key of the day that
is deleted afterwards (:mod:`watcher.store.link_views`); the database tells visitors of several processes, and
from before a restart, apart. They are collected in memory, as uses of keys are, and written once a minute.
"""

import hmac
from collections.abc import Awaitable, Callable
from hashlib import sha256
from typing import Any

from notifier.database_errors import reason_of
from watcher.api.errors import Problem
from watcher.api.rate_limit import RateLimit
from watcher.api.uses import Uses
from watcher.domain.day_counts import day_of
from watcher.log import get_logger
from watcher.store import link_views
from watcher.store.database import Connection, DatabaseError

#: Visitors in memory; those beyond are not counted.
MAX_WAITING = 5_000

#: Visitors of one address per hour that are counted: one may say another browser's name each time.
VIEWS_OF_ADDRESS = 100
_HOUR = 3600

#: Seconds for which nobody is counted after the day's key could not be had: pages must not wait for it again
#: and again.
PAUSE_SECONDS = 60

#: Bytes of a visitor's hash.
_HASH_BYTES = 16

log = get_logger(__name__)


class LinkViews:
    """Visitors that are not written yet. ``now``: this machine's clock, unix seconds."""

    def __init__(
        self,
        uses: Uses,
        in_write: Callable[[Callable[[Connection], Any]], Awaitable[Any]],
        now: Callable[[], float],
    ) -> None:
        self._uses = uses
        self._in_write = in_write
        self._now = now
        self._of_address = RateLimit(VIEWS_OF_ADDRESS, window=_HOUR)
        #: The newest day with its key.
        self._key: tuple[int, bytes] = (-1, b"")
        self._paused_until = 0.0

    async def see(self, link: str, visitor: str) -> None:
        """Note that somebody looks at a link now; what cannot be counted is not."""
        _, wait = self._of_address.take(visitor.partition(" ")[0])
        if wait is not None or len(self._uses) >= MAX_WAITING:
            return
        now = self._now()
        day = day_of(now)
        if self._key[0] != day:
            if self._paused_until - PAUSE_SECONDS <= now < self._paused_until:
                return
            try:
                self._key = (day, await self._in_write(lambda connection: link_views.key_of(connection, day)))
            except (DatabaseError, Problem) as error:
                log.warning("link.view_not_counted", reason=reason_of(error))
                self._paused_until = now + PAUSE_SECONDS
                return
        digest = hmac.new(self._key[1], f"{link} {visitor}".encode(), sha256).digest()[:_HASH_BYTES]
        self._uses.add(f"{link} {digest.hex()}")
