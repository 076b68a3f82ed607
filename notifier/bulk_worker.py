"""Background worker of bulk changes: one batch per transaction."""

import asyncio
import math
from collections.abc import Callable

import structlog
from sqlalchemy import Connection

from notifier import bulk
from notifier.database_errors import is_outage, reason_of
from notifier.ids import Entropy
from notifier.worker_transactions import Database

log = structlog.get_logger(__name__)


class BulkWorker:
    """Runs batches while there are bulk changes, else polls for them every ``poll_interval`` seconds.

    ``now`` reads the reference clock in a transaction; ``elapsed`` measures this process's waits.
    """

    def __init__(
        self,
        database: Database,
        *,
        now: Callable[[Connection], float],
        elapsed: Callable[[], float],
        poll_interval: float,
        on_unforeseen: Callable[[str, Exception], None],
        entropy: Entropy,
    ) -> None:
        #: When the next batch is due, by ``elapsed``.
        self.next_at = -math.inf
        self._more = True
        self._database = database
        self._now = now
        self._elapsed = elapsed
        self._poll_interval = poll_interval
        self._on_unforeseen = on_unforeseen
        self._entropy = entropy

    async def advance(self, *, at_once: bool = False) -> bool:
        """Run a batch if it is due, or in any case with ``at_once``; return whether there may be more."""
        begun = self._elapsed()
        if begun < self.next_at and not at_once:
            return self._more
        try:
            self._more = await asyncio.to_thread(self._transact)
        except Exception as error:
            # The change keeps its progress and continues after the pause.
            self._more = False
            if is_outage(error):
                log.error("deliveries.database_failed", reason=reason_of(error))
            else:
                self._on_unforeseen("bulk", error)
        ended = self._elapsed()
        # Pause as long as the batch took, so that others get the database.
        self.next_at = ended + (ended - begun if self._more else self._poll_interval)
        return self._more

    def _transact(self) -> bool:
        with self._database.begin() as conn:
            return bulk.step(conn, now=self._now(conn), entropy=self._entropy)
