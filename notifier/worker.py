"""Delivery worker: claim due deliveries, send them, record the results.

One loop owns the database side: each cycle is one short transaction that records results, then claims due
deliveries. It starts one task per claimed delivery, at most ``concurrency`` at once. A slow endpoint uses up
its own slots only, see :func:`notifier.queue.claim`.
"""

import asyncio
import math
import os
import random
import time
from collections.abc import Callable, Sequence
from typing import Protocol

import structlog

from notifier import queue, signing
from notifier.bulk_worker import BulkWorker
from notifier.database_errors import is_outage, reason_of
from notifier.delivery_limits import DEFAULT_LIMITS, DeliveryLimits
from notifier.errors import NotifierError
from notifier.ids import Entropy
from notifier.results import AttemptResult, RecordedAttempt
from notifier.secrets import PLAIN, SecretStore
from notifier.sender import Sender, SendResult
from notifier.worker_transactions import Database, WorkerTransactions

log = structlog.get_logger(__name__)

#: Seconds by which a lease outlives the attempt: time to store the result, even on a busy database.
LEASE_MARGIN_SECONDS = 15.0

#: Wait after a cycle that the database failed, seconds.
DATABASE_PAUSE_SECONDS = 1.0

#: Consecutive cycles failed by the database after which a drain gives up.
DRAIN_TRIES = 5

#: Tries of the last transaction at shutdown.
LAST_TRIES = 3


class OnAttempt(Protocol):
    """Callback, called once per recorded attempt."""

    def __call__(self, result: str, seconds: float) -> None:
        """Receive the delivery's new status (a ``DeliveryStatus``) and the attempt's duration in seconds."""
        ...


def ignore_attempt(result: str, seconds: float) -> None:
    """Do nothing."""


def log_unforeseen(where: str, error: Exception) -> None:
    """Log an unforeseen exception."""
    log.error("unforeseen", where=where, exc_info=error)


class Worker:
    """Delivers the outbox; call one of :meth:`run` and :meth:`drain` at a time.

    It also runs bulk changes, see :mod:`notifier.bulk`. Several workers may share a database.

    No exception ends it: an unforeseen one affects one delivery or cycle, and is passed to ``on_unforeseen``
    with the place (``attempt``, ``settle``, ``queue``, ``bulk``).
    """

    def __init__(
        self,
        database: Database,
        *,
        user_agent: str,
        limits: DeliveryLimits = DEFAULT_LIMITS,
        secret_store: SecretStore = PLAIN,
        on_attempt: OnAttempt = ignore_attempt,
        on_first_attempt: Callable[[float], None] = lambda _: None,
        on_unforeseen: Callable[[str, Exception], None] = log_unforeseen,
        clock: Callable[[], float] | None = None,
        jitter: Callable[[], float] = random.random,
        entropy: Entropy = os.urandom,
    ) -> None:
        self._user_agent = user_agent
        self._limits = limits
        self._secret_store = secret_store
        self._on_attempt = on_attempt
        self._on_first_attempt = on_first_attempt
        self._on_unforeseen = on_unforeseen
        # A ``clock`` argument replaces all clocks, for tests. Else the reference clock is used for shared
        # times, this machine's dates signatures, and this process's waits are measured by the boot clock,
        # which cannot be set.
        self._clock = clock or time.time
        self._elapsed = clock or _boot_time
        self._transactions = WorkerTransactions(
            database=database,
            policy=limits.policy,
            lease_seconds=limits.timeout + LEASE_MARGIN_SECONDS,
            endpoint_rate=limits.endpoint_rate,
            machine=self._clock,
            machine_only=clock is not None,
            jitter=jitter,
            entropy=entropy,
        )
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wakeup = asyncio.Event()
        self._running: dict[asyncio.Task[None], queue.Claim] = {}
        self._results: list[AttemptResult] = []
        # The earliest retry that this worker knows of, by ``_elapsed``: a short wait is not stretched.
        self._soonest = math.inf
        # Why the last cycle failed, if the database is at fault.
        self._outage: Exception | None = None
        self._bulk = BulkWorker(
            database,
            now=self._transactions.now,
            elapsed=self._elapsed,
            poll_interval=limits.poll_interval,
            on_unforeseen=on_unforeseen,
            entropy=entropy,
        )

    def wake(self) -> None:
        """Poll the queue at once, e.g. after a commit that enqueued events. Thread-safe."""
        loop = self._loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._wakeup.set)

    async def run(self, stop: asyncio.Event) -> None:
        """Deliver until ``stop`` is set; then record results and release other claims, within ``grace``."""
        await self._work(stop, until_idle=False)

    async def drain(self, deadline: float) -> bool:
        """Deliver what is due, then return; True if nothing due was left.

        ``deadline`` is a time of the monotonic clock (:func:`time.monotonic`) at which to stop in any case.
        Raises the database's error after :data:`DRAIN_TRIES` failed cycles in a row.
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
            timeout=self._limits.timeout,
            allow_http=self._limits.allow_http,
            allow_private=self._limits.allow_private,
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
                        # Claims that were not started come back when their lease expires.
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
            # A task canceled before it started has not freed its slot.
            self._running.clear()
        return idle

    async def _run_once(self, sender: Sender, tasks: asyncio.TaskGroup) -> bool:
        """Run one cycle: record, claim, start tasks; False if the transaction failed (results are kept)."""
        results = list(self._results)
        # Results recorded in this cycle have left their slots.
        room = self._limits.concurrency - len(self._running)
        begun = self._elapsed()
        try:
            recorded, polled, now = await asyncio.to_thread(self._transactions.run_cycle, results, room)
        except Exception as error:
            self._outage = error if is_outage(error) else None
            await self._failed(error, results)
            return False
        self._outage = None
        self._drop(results, recorded, now)
        if polled.next_at is not None:
            self._soonest = min(self._soonest, self._elapsed() + polled.next_at - now)
        for claimed in polled.claims:
            task = tasks.create_task(self._attempt(sender, claimed, begun))
            self._running[task] = claimed
        return True

    async def _failed(self, error: Exception, results: Sequence[AttemptResult]) -> None:
        """Log a failed transaction. Unless the database is at fault, record its results one by one."""
        if is_outage(error):
            log.error("deliveries.database_failed", reason=reason_of(error), unsettled=len(results))
            return
        self._on_unforeseen("queue", error)
        for result in results:
            try:
                recorded, now = await self._record_one(result)
            except Exception as trouble:
                # Not even the plain result can be written: it and the rest are kept for the next cycle.
                log.error(
                    "deliveries.database_failed", reason=reason_of(trouble), unsettled=len(self._results)
                )
                return
            self._drop([result], recorded, now)
        if results:
            # The result that made the transaction fail is out of the way.
            self._wakeup.set()

    async def _record_one(self, result: AttemptResult) -> tuple[list[RecordedAttempt], float]:
        """Record one result; if it cannot be stored in full, little more than its status code."""
        try:
            return await asyncio.to_thread(self._transactions.record_alone, result, plainly=False)
        except Exception as error:
            if is_outage(error):
                raise
            self._on_unforeseen("settle", error)
            return await asyncio.to_thread(self._transactions.record_alone, result, plainly=True)

    def _drop(
        self,
        results: Sequence[AttemptResult],
        recorded: Sequence[RecordedAttempt],
        now: float,
    ) -> None:
        """Drop results that are recorded (or whose lease was lost), and call the callbacks."""
        # New results were only appended meanwhile.
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
                # This process was held up since the claim. The lease could expire during the attempt and
                # another worker send at the same time, so the row is left to be claimed again.
                log.warning("delivery.claimed_too_long_ago", delivery=claimed.delivery)
                return
            outcome = await self._send(sender, claimed, started_at)
            self._results.append(
                AttemptResult(claim=claimed, started_at=started_at, ended_at=self._clock(), outcome=outcome)
            )
        finally:
            # Free the slot before the loop wakes.
            del self._running[task]
            self._wakeup.set()

    async def _send(self, sender: Sender, claimed: queue.Claim, now: float) -> SendResult:
        if claimed.body is None:
            return SendResult(status_code=None, error="the event's body was pruned", seconds=0.0)
        try:
            try:
                # Signed anew at every attempt: receivers reject timestamps that are five minutes old.
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
            # A bug of ours or of the HTTP client must not stop other endpoints' deliveries.
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
        return min(max(wait, 0.0), self._limits.poll_interval)

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._wakeup.wait()
        except TimeoutError:
            pass

    async def _shut_down(self) -> None:
        """Wait for attempts under way, within ``grace``; record results and release the other claims."""
        claims = dict(self._running)
        if claims:
            await asyncio.wait(claims, timeout=self._limits.grace)
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
                recorded, now = await asyncio.to_thread(self._transactions.finish, results, unsent)
            except Exception as error:
                await self._failed(error, results)
                results = list(self._results)
                if last + 1 < LAST_TRIES:
                    await asyncio.sleep(DATABASE_PAUSE_SECONDS)
            else:
                self._drop(results, recorded, now)
                return
        # The leases expire; these events are then sent again, under the same ids.
        self._results.clear()


def _boot_time() -> float:
    """Return seconds since the machine booted, including suspended time."""
    return time.clock_gettime(_BOOT_CLOCK)


_BOOT_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
