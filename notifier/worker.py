"""The delivery worker: claim what is due, send it, record the result; repeat.

One loop owns the database side (one short transaction per turn: what was tried is settled, then what is due is
claimed) and starts one task per claimed delivery, never more than ``concurrency``. A slow endpoint holds its own
slots only; see :func:`notifier.queue.claim`.
"""

import asyncio
import math
import os
import random
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

import structlog
from sqlalchemy import Connection

from notifier import clock, queue, signing
from notifier import results as delivery_results
from notifier.bulk_worker import BulkWorker
from notifier.database_errors import is_outage, reason_of
from notifier.errors import NotifierError
from notifier.ids import Entropy, new_id
from notifier.retry import DEFAULT_SCHEDULE
from notifier.secrets import PLAIN, SecretStore
from notifier.sender import Sender, SendResult

log = structlog.get_logger(__name__)

#: A lease outlives the attempt by so much: time to store what came of it, even on a busy database.
LEASE_MARGIN_SECONDS = 15.0

#: Wait after a turn that the database did not allow.
DATABASE_PAUSE_SECONDS = 1.0

#: So many turns in a row that the database did not allow end a drain.
DRAIN_TRIES = 5

#: At the end, so often is storing what was tried attempted.
LAST_TRIES = 3


class Database(Protocol):
    """What the worker needs: short write transactions, e.g. of a :class:`sqlalchemy.Engine`."""

    def begin(self) -> AbstractContextManager[Connection]:
        """Open a write transaction that commits at the end of the block."""
        ...


class OnAttempt(Protocol):
    """Called once per stored attempt."""

    def __call__(self, result: str, seconds: float) -> None:
        """Take the delivery's status after the attempt (``delivered``, ``pending``, ``held``, ``dead``) and its time."""
        ...


def ignore_attempt(result: str, seconds: float) -> None:
    """Count nothing."""


def log_unforeseen(where: str, error: Exception) -> None:
    """Log an exception that nobody foresaw."""
    log.error("unforeseen", where=where, exc_info=error)


class Worker:
    """Delivers what the outbox holds; run one of :meth:`run` and :meth:`drain` at a time.

    It also goes on with changes of many deliveries, see :mod:`notifier.bulk`. ``schedule`` are the waits before the 1st,
    2nd, … attempt and ``timeout`` bounds one attempt; ``grace`` is how long attempts under way may go on after the stop.
    All in seconds. Several workers may share a database.

    No exception ends it: what comes of one delivery stays there, and is told to ``on_unforeseen`` with the place
    (``attempt``, ``settle``, ``queue``).
    """

    def __init__(
        self,
        database: Database,
        *,
        user_agent: str,
        schedule: Sequence[float] = DEFAULT_SCHEDULE,
        timeout: float = 15.0,
        concurrency: int = 256,
        endpoint_concurrency: int = 8,
        endpoint_rate: float | None = None,
        secret_store: SecretStore = PLAIN,
        allow_http: bool = False,
        allow_private: bool = False,
        disable_after: float = 5 * 86400.0,
        breaker_pause: float | None = None,
        poll_interval: float = 1.0,
        grace: float = 5.0,
        on_attempt: OnAttempt = ignore_attempt,
        on_first_attempt: Callable[[float], None] = lambda _: None,
        on_unforeseen: Callable[[str, Exception], None] = log_unforeseen,
        clock: Callable[[], float] | None = None,
        jitter: Callable[[], float] = random.random,
        entropy: Entropy = os.urandom,
    ) -> None:
        self._database = database
        self._user_agent = user_agent
        self._timeout = timeout
        self._concurrency = concurrency
        self._endpoint_concurrency = endpoint_concurrency
        self._endpoint_rate = endpoint_rate
        self._secret_store = secret_store
        self._allow_http = allow_http
        self._allow_private = allow_private
        self._poll_interval = poll_interval
        self._grace = grace
        self._on_attempt = on_attempt
        self._on_first_attempt = on_first_attempt
        self._on_unforeseen = on_unforeseen
        # A clock that is given judges everything: for tests. Else the database's judges what is shared, this machine's
        # dates what is sent, and waits of this process are measured by one that nobody sets.
        self._given_clock = clock
        self._clock = clock or time.time
        self._elapsed = clock or _boot_time
        self._jitter = jitter
        self._entropy = entropy
        if breaker_pause is None:
            # Half a minute, but with a schedule in seconds (tests, demos) no longer than its first wait.
            breaker_pause = min([30.0, *schedule[1:2]])
        self._policy = delivery_results.Policy(
            schedule=schedule,
            breaker_pause=breaker_pause,
            disable_after=disable_after,
            endpoint_cap=endpoint_concurrency,
        )
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wakeup = asyncio.Event()
        self._running: dict[asyncio.Task[None], queue.Claim] = {}
        self._results: list[delivery_results.AttemptResult] = []
        # The earliest retry that this worker knows of, so that short waits are not stretched to the poll interval; by
        # the elapsed time.
        self._soonest = math.inf
        # Why the last turn could not be made, where the database is at fault.
        self._outage: Exception | None = None
        self._bulk = BulkWorker(
            database,
            now=self._now,
            elapsed=self._elapsed,
            poll_interval=poll_interval,
            on_unforeseen=on_unforeseen,
            entropy=entropy,
        )

    def wake(self) -> None:
        """Poll the queue at once, e.g. after a commit that enqueued events. May be called from any thread."""
        loop = self._loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._wakeup.set)

    async def run(self, stop: asyncio.Event) -> None:
        """Deliver until ``stop`` is set; then settle what was tried and hand back the rest, within ``grace``."""
        await self._work(stop, until_idle=False)

    async def drain(self, deadline: float) -> bool:
        """Deliver what is due, then return; True if nothing was left that may be sent now.

        ``deadline`` is a time of the monotonic clock (:func:`time.monotonic`) at which to stop in any case. Raises the
        database's error when it does not serve for some turns in a row.
        """
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        timer = loop.call_later(max(0.0, deadline - time.monotonic()), stop.set)
        try:
            idle = await self._work(stop, until_idle=True)
        finally:
            timer.cancel()
        if self._outage is not None:
            raise self._outage
        return idle

    async def _work(self, stop: asyncio.Event, *, until_idle: bool) -> bool:
        self._loop = asyncio.get_running_loop()
        sender = Sender(
            user_agent=self._user_agent,
            timeout=self._timeout,
            allow_http=self._allow_http,
            allow_private=self._allow_private,
        )
        idle = False
        failed = 0
        try:
            async with sender, asyncio.TaskGroup() as tasks:
                relay = tasks.create_task(self._wake_when_stopped(stop))
                while not (stop.is_set() or idle):
                    self._wakeup.clear()
                    try:
                        went_well = await self._run_once(sender, tasks)
                    except Exception as error:
                        # What was claimed and not started comes back when its lease has run out.
                        self._on_unforeseen("queue", error)
                        went_well = False
                    nothing_left = until_idle and went_well and not (self._running or self._results)
                    bulk_left = await self._bulk.advance(at_once=nothing_left) if went_well else True
                    failed = 0 if went_well else failed + 1
                    if until_idle and failed >= DRAIN_TRIES and self._outage is not None:
                        break
                    if nothing_left and not bulk_left:
                        idle = True
                    else:
                        await self._pause(self._until_next_poll() if went_well else DATABASE_PAUSE_SECONDS)
                relay.cancel()
                await self._shut_down()
        finally:
            self._loop = None
            # A task that was canceled before it began took no leave of its slot.
            self._running.clear()
        return idle

    async def _run_once(self, sender: Sender, tasks: asyncio.TaskGroup) -> bool:
        """Record, claim and start; False if the database did not allow it (everything is kept for the next cycle)."""
        results = list(self._results)
        # What is settled in this turn leaves its slots.
        room = self._concurrency - len(self._running)
        begun = self._elapsed()
        try:
            recorded, taken, now = await asyncio.to_thread(self._transact, results, room)
        except Exception as error:
            self._outage = error if is_outage(error) else None
            await self._failed(error, results)
            return False
        self._outage = None
        self._drop(results, recorded, now)
        if taken.next_at is not None:
            self._soonest = min(self._soonest, self._elapsed() + taken.next_at - now)
        for claimed in taken.claims:
            task = tasks.create_task(self._attempt(sender, claimed, begun))
            self._running[task] = claimed
        return True

    async def _failed(self, error: Exception, results: Sequence[delivery_results.AttemptResult]) -> None:
        """Say why a transaction failed. Unless the database is at fault, settle the results without the others."""
        if is_outage(error):
            log.error("deliveries.database_failed", reason=reason_of(error), unsettled=len(results))
            return
        self._on_unforeseen("queue", error)
        for result in results:
            try:
                recorded, now = await self._record_one(result)
            except Exception as trouble:
                # Not even the least can be written: it and the rest are kept, and nothing is claimed meanwhile.
                log.error(
                    "deliveries.database_failed", reason=reason_of(trouble), unsettled=len(self._results)
                )
                return
            self._drop([result], recorded, now)
        if results:
            # What made the transaction fail is out of the way.
            self._wakeup.set()

    async def _record_one(
        self, result: delivery_results.AttemptResult
    ) -> tuple[list[delivery_results.RecordedAttempt], float]:
        """Settle one result; what cannot be stored as it is, is stored as little more than its status."""
        try:
            return await asyncio.to_thread(self._record_alone, result, delivery_results.record_results)
        except Exception as error:
            if is_outage(error):
                raise
            self._on_unforeseen("settle", error)
            return await asyncio.to_thread(
                self._record_alone, result, delivery_results.record_results_plainly
            )

    def _record_alone(
        self, result: delivery_results.AttemptResult, record: delivery_results.RecordResults
    ) -> tuple[list[delivery_results.RecordedAttempt], float]:
        with self._database.begin() as conn:
            now = self._now(conn)
            return record(conn, [result], policy=self._policy, jitters=[self._jitter()], now=now), now

    def _transact(
        self, results: Sequence[delivery_results.AttemptResult], room: int
    ) -> tuple[list[delivery_results.RecordedAttempt], queue.ClaimResult, float]:
        """Run the transaction of one cycle, and return the time that it went by; runs in a worker thread."""
        with self._database.begin() as conn:
            queue.lock_claims(conn)
            now = self._now(conn)
            recorded = self._record(conn, results, now)
            if room <= 0:
                return recorded, queue.ClaimResult(claims=[], next_at=None), now
            clock.repair(conn, now=now)
            claimed = queue.claim(
                conn,
                lease=new_id("lease_", now, self._entropy),
                now=now,
                leased_until=now + self._timeout + LEASE_MARGIN_SECONDS,
                room=room,
                endpoint_cap=self._endpoint_concurrency,
                endpoint_rate=self._endpoint_rate,
            )
        return recorded, claimed, now

    def _record(
        self, conn: Connection, results: Sequence[delivery_results.AttemptResult], now: float
    ) -> list[delivery_results.RecordedAttempt]:
        if not results:
            return []
        jitters = [self._jitter() for _ in results]
        return delivery_results.record_results(conn, results, policy=self._policy, jitters=jitters, now=now)

    def _now(self, conn: Connection) -> float:
        """Return the time that judges what processes share."""
        machine = self._clock()
        return machine if self._given_clock is not None else clock.database_time(conn, machine=machine)

    def _drop(
        self,
        results: Sequence[delivery_results.AttemptResult],
        recorded: Sequence[delivery_results.RecordedAttempt],
        now: float,
    ) -> None:
        """Drop results that are stored (or whose lease was lost), and count them."""
        # New ones were only added behind them meanwhile.
        del self._results[: len(results)]
        for done in recorded:
            self._on_attempt(done.status.value, done.result.outcome.seconds)
            if done.latency is not None:
                self._on_first_attempt(done.latency)
            if done.next_attempt_at is not None:
                self._soonest = min(self._soonest, self._elapsed() + done.next_attempt_at - now)

    async def _attempt(self, sender: Sender, claimed: queue.Claim, claimed_at: float) -> None:
        task = asyncio.current_task()
        assert task is not None
        started_at = self._clock()
        try:
            if self._elapsed() - claimed_at > LEASE_MARGIN_SECONDS:
                # This process was held up since it claimed. The lease could run out within the attempt, and another
                # worker send beside it; so the row is left to whoever claims it then.
                log.warning("delivery.claimed_too_long_ago", delivery=claimed.delivery)
                return
            outcome = await self._send(sender, claimed, started_at)
            self._results.append(
                delivery_results.AttemptResult(
                    claim=claimed, started_at=started_at, ended_at=self._clock(), outcome=outcome
                )
            )
        finally:
            # The slot is free before the loop looks, not some time after.
            del self._running[task]
            self._wakeup.set()

    async def _send(self, sender: Sender, claimed: queue.Claim, now: float) -> SendResult:
        if claimed.body is None:
            return SendResult(status_code=None, error="the event's body was pruned", seconds=0.0)
        try:
            try:
                # Signed afresh at every attempt: receivers refuse timestamps that are five minutes old.
                headers = signing.signature_headers(
                    id=claimed.event,
                    timestamp=int(now),
                    body=claimed.body,
                    secrets=self._secret_store.valid_secrets(
                        claimed.secrets, owner=claimed.endpoint, now=now
                    ),
                    legacy_v0=claimed.legacy_v0,
                )
            except (NotifierError, ValueError) as error:
                return SendResult(status_code=None, error=f"not signed: {error}", seconds=0.0)
            return await sender.send(claimed.url, body=claimed.body, headers=headers)
        except Exception as error:
            # A bug of ours or of the client's must not take the other endpoints' deliveries down with it.
            log.error("delivery.attempt_crashed", delivery=claimed.delivery, endpoint=claimed.endpoint)
            self._on_unforeseen("attempt", error)
            return SendResult(status_code=None, error=f"internal error: {type(error).__name__}", seconds=0.0)

    async def _wake_when_stopped(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._wakeup.set()

    def _until_next_poll(self) -> float:
        now = self._elapsed()
        wait = min(self._soonest, self._bulk.next_at) - now
        if self._soonest <= now:
            self._soonest = math.inf
        return min(max(wait, 0.0), self._poll_interval)

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._wakeup.wait()
        except TimeoutError:
            pass

    async def _shut_down(self) -> None:
        """Give attempts under way their grace, settle what was tried, hand back the rest."""
        claims = dict(self._running)
        if claims:
            await asyncio.wait(claims, timeout=self._grace)
        for task in claims:
            task.cancel()
        if claims:
            await asyncio.wait(claims)
        results = list(self._results)
        tried = {result.claim.delivery for result in results}
        unsent = [claimed for claimed in claims.values() if claimed.delivery not in tried]
        if not results and not unsent:
            return
        for last in range(LAST_TRIES):
            try:
                recorded, now = await asyncio.to_thread(self._last_transaction, results, unsent)
            except Exception as error:
                await self._failed(error, results)
                results = list(self._results)
                if last + 1 < LAST_TRIES:
                    await asyncio.sleep(DATABASE_PAUSE_SECONDS)
            else:
                self._drop(results, recorded, now)
                return
        # The leases run out by themselves; these events are then sent a second time, under the same ids.
        self._results.clear()

    def _last_transaction(
        self, results: Sequence[delivery_results.AttemptResult], unsent: Sequence[queue.Claim]
    ) -> tuple[list[delivery_results.RecordedAttempt], float]:
        with self._database.begin() as conn:
            now = self._now(conn)
            queue.lock_endpoints(conn, [*(result.claim for result in results), *unsent])
            recorded = self._record(conn, results, now)
            queue.release(conn, unsent)
        return recorded, now


def _boot_time() -> float:
    """Return seconds since the machine started, those in which it slept too."""
    return time.clock_gettime(_BOOT_CLOCK)


_BOOT_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
