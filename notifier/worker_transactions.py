"""The transactions of a delivery worker; each is short, and runs in a thread of the caller's.

All return the reference time that they used (:mod:`notifier.clock`), from which waits are counted.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from sqlalchemy import Connection

from notifier import clock, queue
from notifier import results as delivery_results
from notifier.ids import Entropy, new_id
from notifier.queue import Claim, ClaimResult
from notifier.results import AttemptResult, Policy, RecordedAttempt


class Database(Protocol):
    """Short write transactions, e.g. of a :class:`sqlalchemy.Engine`."""

    def begin(self) -> AbstractContextManager[Connection]:
        """Open a write transaction that commits at the end of the block."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerTransactions:
    """Claims deliveries and records results."""

    database: Database
    policy: Policy
    lease_seconds: float
    endpoint_rate: float | None
    #: This machine's clock.
    machine: Callable[[], float]
    #: The machine's clock is also the reference clock, for tests.
    machine_only: bool
    jitter: Callable[[], float]
    entropy: Entropy

    def now(self, conn: Connection) -> float:
        """Return the reference clock's time."""
        machine = self.machine()
        return machine if self.machine_only else clock.database_time(conn, machine=machine)

    def run_cycle(
        self, results: Sequence[AttemptResult], room: int
    ) -> tuple[list[RecordedAttempt], ClaimResult, float]:
        """Record results, then claim up to ``room`` due deliveries."""
        with self.database.begin() as conn:
            queue.lock_claims(conn)
            now = self.now(conn)
            recorded = self._record(conn, results, now)
            if room <= 0:
                return recorded, ClaimResult(claims=[], next_at=None), now
            clock.repair(conn, now=now)
            claimed = queue.claim(
                conn,
                lease=new_id("lease_", now, self.entropy),
                now=now,
                leased_until=now + self.lease_seconds,
                room=room,
                endpoint_cap=self.policy.endpoint_cap,
                endpoint_rate=self.endpoint_rate,
            )
        return recorded, claimed, now

    def record_alone(self, result: AttemptResult, *, plainly: bool) -> tuple[list[RecordedAttempt], float]:
        """Record one result, in full or ``plainly``."""
        record = delivery_results.record_results_plainly if plainly else delivery_results.record_results
        with self.database.begin() as conn:
            now = self.now(conn)
            return record(conn, [result], policy=self.policy, jitters=[self.jitter()], now=now), now

    def finish(
        self, results: Sequence[AttemptResult], unsent: Sequence[Claim]
    ) -> tuple[list[RecordedAttempt], float]:
        """Record results and release the claims that were not sent."""
        with self.database.begin() as conn:
            now = self.now(conn)
            queue.lock_endpoints(conn, [*(result.claim for result in results), *unsent])
            recorded = self._record(conn, results, now)
            queue.release(conn, unsent)
        return recorded, now

    def _record(
        self, conn: Connection, results: Sequence[AttemptResult], now: float
    ) -> list[RecordedAttempt]:
        if not results:
            return []
        jitters = [self.jitter() for _ in results]
        return delivery_results.record_results(conn, results, policy=self.policy, jitters=jitters, now=now)
