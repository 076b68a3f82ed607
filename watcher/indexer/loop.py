"""The indexer's loop: poll, commit each step, record the poll, wait; external errors never end it."""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import asdict
from enum import StrEnum
from typing import Any, TypeVar

from sqlalchemy.exc import DataError, IntegrityError, SQLAlchemyError

from chain.api.websocket import BlockWebSocket
from chain.errors import OperatorNeeded, SourceError
from chain.follower import Follower
from chain.model import BlockHeader, Step
from chain.source_pool import SourcePool
from notifier.database_errors import reason_of
from watcher import unforeseen
from watcher.concurrency import run_in_thread, run_transaction, run_until_stopped
from watcher.errors import WatcherError
from watcher.indexer.ledger import Ledger, OutOfStep, StepResult
from watcher.indexer.matcher import BadStep
from watcher.indexer.progress_log import log_settled, log_step
from watcher.indexer.settle_result import SettleResult
from watcher.indexer.trouble import TroubleLog
from watcher.log import get_logger
from watcher.store.chain_state import Halt

_T = TypeVar("_T")

#: Polls in a row that may fail before ``catch_up`` gives up.
MAX_FAILED_POLLS = 5

#: Shortest time between the starts of two polls that :meth:`IndexerLoop.wake` asked for, seconds.
MIN_POLL_SPACING_SECONDS = 1.0

#: Share of a burst of the request budget that is reserved for regular polls and for catching up.
BUDGET_RESERVE = 0.5

#: Seconds for which due intents are settled between two steps of catching up: neither waits long.
SETTLE_BETWEEN_STEPS_SECONDS = 1.0

log = get_logger(__name__)


class PollResult(StrEnum):
    """The result of one poll."""

    #: At least one step was committed.
    MOVED = "moved"
    #: Nothing new.
    IDLE = "idle"
    #: A source or the database could not serve; the next poll tries again.
    WAITING = "waiting"
    #: The operator, or the sources, must clear up what is true.
    HALTED = "halted"


class IndexerLoop:
    """Moves the ledger along the chain.

    ``on_events`` is called after a commit that wrote events, ``on_step`` after every step with its duration
    in seconds, ``on_settled`` after every further transaction that settled intents, ``on_poll`` after every
    poll with its trouble, if any, the newest applied block, and the newest block that a source reported.

    Set ``websocket`` to a socket that calls :meth:`wake`; it is given the tip of each poll. ``clock`` and
    ``sleep`` are for tests.
    """

    def __init__(
        self,
        ledger: Ledger,
        follower: Follower,
        pool: SourcePool,
        *,
        network: str,
        start_height: int | None,
        window_burn_blocks: int,
        poll_interval: float,
        on_events: Callable[[], None] = lambda: None,
        on_poll: Callable[
            [PollResult, str | None, BlockHeader | None, BlockHeader | None], None
        ] = lambda *_: None,
        on_step: Callable[[Step, StepResult, float], None] = lambda *_: None,
        on_settled: Callable[[SettleResult], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.websocket: BlockWebSocket | None = None
        self._ledger = ledger
        self._follower = follower
        self._pool = pool
        self._network = network
        self._start_height = start_height
        self._window_burn_blocks = window_burn_blocks
        self._poll_interval = poll_interval
        self._on_events = on_events
        self._on_poll = on_poll
        self._on_step = on_step
        self._on_settled = on_settled
        self._clock = clock
        self._sleep = sleep
        self._woken = asyncio.Event()
        self._loaded = False
        #: The stored headers are lost, and no source has returned them: the window is the cursor alone.
        self._window_lost = False
        #: Start of the poll that found the newest step, by the ledger's clock.
        self._seen_at: float | None = None
        self._trouble = TroubleLog(log)

    async def run(self, stop: asyncio.Event) -> None:
        """Follow the chain until ``stop`` is set; the current step is finished first.

        Raises :class:`watcher.errors.LeaseLost` when another process took over; then it may be called again.
        """
        self._loaded = False  # another process may have moved the database meanwhile
        while not stop.is_set():
            began = self._clock()
            # Cleared before the poll: a block announced during it may be too new for it.
            self._woken.clear()
            result = await run_until_stopped(stop, self.poll())
            if result is None:
                return
            window = self._follower.window
            newest = window.tip if len(window) else None
            self._on_poll(result, self._trouble.last, newest, self._follower.tip)
            if result is not PollResult.MOVED or self._is_current():
                await run_until_stopped(stop, self._settle_until_poll(began))

    def wake(self) -> None:
        """Poll at once: there may be a new block. Any number of calls makes one poll."""
        self._woken.set()

    async def _settle_until_poll(self, began: float) -> None:
        """Settle due intents until the next poll."""
        pause = asyncio.ensure_future(self._wait_for_poll(began))
        try:
            while not pause.done() and await self._settle_batch():
                pass
            await pause
        finally:
            pause.cancel()
            await asyncio.wait({pause})

    async def _wait_for_poll(self, began: float) -> None:
        """Wait a poll interval, or until :meth:`wake` is called, but not too soon after ``began``."""
        poll = asyncio.ensure_future(self._sleep(self._poll_interval))
        wake = asyncio.ensure_future(self._wait_for_wake(began))
        try:
            await asyncio.wait({poll, wake}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in (poll, wake):
                wait.cancel()
            await asyncio.wait({poll, wake})

    async def _wait_for_wake(self, began: float) -> None:
        await self._woken.wait()
        await self._sleep(max(0.0, began + MIN_POLL_SPACING_SECONDS - self._clock()))
        if self._pool.idle_source(BUDGET_RESERVE) is None:
            # The budget is low: the regular poll is enough.
            await self._sleep(self._poll_interval)

    def _is_current(self) -> bool:
        """Return whether the newest committed block is the newest that any source is known to have."""
        tip = self._follower.tip
        return tip is not None and self._follower.window.tip.hash == tip.hash

    async def catch_up(self, stop: asyncio.Event) -> PollResult:
        """Poll until two polls, one interval apart, find nothing and no intent is due, or until it is stuck.

        Returns ``IDLE`` when caught up, ``HALTED``, or ``WAITING`` after :data:`MAX_FAILED_POLLS` failed
        polls in a row.
        """
        results = [PollResult.MOVED] * MAX_FAILED_POLLS
        while not stop.is_set():
            result = await run_until_stopped(stop, self.poll())
            while result is not PollResult.MOVED and await run_until_stopped(stop, self._settle_batch()):
                pass
            if result is None or result is PollResult.HALTED:
                return result or PollResult.WAITING
            results = [*results[1:], result]
            if results[-2:] == [PollResult.IDLE, PollResult.IDLE]:
                return PollResult.IDLE
            if set(results) == {PollResult.WAITING}:
                return PollResult.WAITING
            if result is not PollResult.MOVED:
                await run_until_stopped(stop, asyncio.sleep(self._poll_interval))
        return PollResult.WAITING

    async def poll(self) -> PollResult:
        """Poll once and commit what there is. Raises only what the caller must handle, such as a lost lease.

        An unforeseen exception is a failed poll: the next one begins again from the database.
        """
        halt: Halt | None = None
        result = PollResult.IDLE
        unforeseen_error = served = False
        try:
            await self._pool.check(self._network)
            await self._load()
            if await self._advance():
                result = PollResult.MOVED
            served = True
        except SourceError as error:
            result = PollResult.WAITING
            self._trouble.error("source.failed", str(error), retry_after=error.retry_after)
        except OperatorNeeded as error:
            result = PollResult.HALTED
            halt = Halt(code=error.code, message=str(error), hint=error.hint)
            self._trouble.error("follower.halted", str(error), hint=error.hint)
        except OutOfStep as error:
            # Another process moved the database, or the reply to the last commit was lost: begin again from
            # the database.
            result = PollResult.WAITING
            self._loaded = False
            self._trouble.error("follower.out_of_step", str(error))
        except SQLAlchemyError as error:
            result = PollResult.WAITING
            self._loaded = False
            self._trouble.database(error, "follower")
        except WatcherError:
            raise
        except Exception as error:
            result = PollResult.WAITING
            unforeseen_error = True
            self._trouble.last = f"unforeseen {type(error).__name__}: {error}"
            unforeseen.report("follower", error)
        unwritten = await self._record_poll(result, halt)
        if served:
            # One error per poll: a poll that failed has logged its own.
            if unwritten is None:
                if self._trouble.last is not None:
                    log.info("follower.recovered", after=self._trouble.last)
                    self._trouble.last = None
            else:
                self._trouble.database(unwritten, "follower")
        if unforeseen_error:
            self._loaded = False
        if result is PollResult.HALTED or self._window_lost:
            # An operator may accept the branch, which moves the database: the next poll begins from it.
            self._loaded = False
        return result

    async def _load(self) -> None:
        """Load the follower's window from the database; on a fresh database, begin it."""
        if self._loaded:
            return
        self._window_lost = False
        cursor = await run_in_thread(self._ledger.cursor)
        if cursor is None:
            since = await run_in_thread(self._ledger.awaited_since)
            headers = await self._follower.bootstrap(self._start_height, since, now=self._ledger.now())
            tip = self._follower.tip or headers[-1]
            await run_transaction(self._ledger.begin, headers, tip)
            log.info("follower.begun", height=headers[-1].height, burn_height=headers[-1].burn_height)
        else:
            headers = await run_in_thread(self._ledger.window, self._window_burn_blocks)
            if headers:
                self._follower.window.replace(headers)
            elif headers := await self._follower.refill(cursor.header):
                await run_transaction(self._ledger.restore_window, headers)
                log.warning("follower.headers_restored", height=headers[-1].height, count=len(headers))
            else:
                self._window_lost = True
        self._loaded = True

    async def _advance(self) -> bool:
        moved = False
        self._seen_at = seen_at = self._ledger.now()
        async with aclosing(self._follower.poll()) as steps:
            step = await anext(steps, None)
            while step is not None:
                began = time.monotonic()
                try:
                    applied = await run_transaction(self._ledger.apply, step, seen_at)
                except (BadStep, DataError, IntegrityError) as error:
                    # It cannot be stored, or not be understood: the poll goes on with another source.
                    refusal = self._follower.refusal(f"its step cannot be stored: {reason_of(error)}")
                    self._trouble.once("step.refused", str(refusal))
                    step = await _next_after(steps, refusal)
                    continue
                moved = True
                self._on_step(step, applied, time.monotonic() - began)
                log_step(step, applied)
                self._log_unknown_words(step)
                if applied.settled.events:
                    self._on_events()
                until = self._clock() + SETTLE_BETWEEN_STEPS_SECONDS
                more = applied.settled.more
                while more and self._clock() < until:
                    more = await self._settle_batch()
                step = await anext(steps, None)
        return moved

    async def _settle_batch(self) -> bool:
        """Settle some due intents; return whether to go on. A failure is retried after the next poll."""
        try:
            settled = await run_transaction(self._ledger.settle_due, self._seen_at)
        except WatcherError:
            raise
        except SQLAlchemyError as error:
            self._trouble.database(error, "follower")
            return False
        except Exception as error:
            unforeseen.report("settle_due", error)
            return False
        if settled.intents:
            self._on_settled(settled)
            log.info("intents.settled", intents=settled.intents, events=settled.events, more=settled.more)
            log_settled(settled)
        if settled.events:
            self._on_events()
        return settled.more

    async def _record_poll(self, result: PollResult, halt: Halt | None) -> SQLAlchemyError | None:
        """Record a poll for ``status``; return the error when it cannot be written, else None."""
        if not self._loaded:
            return None
        sources: list[dict[str, Any]] = [asdict(health) for health in self._pool.health()]
        tip = self._follower.tip
        if self.websocket is not None:
            if tip is not None:
                self.websocket.note_tip(tip.height)
            for source in sources:
                source["websocket"] = self.websocket.state(source["url"])
        # A halt ends when a source shows our own chain again, not when no source answers.
        over = result is PollResult.MOVED or (result is PollResult.IDLE and self._follower.agrees)
        try:
            await run_in_thread(
                lambda: self._ledger.record_poll(tip=tip, sources=sources, halt=halt, over=over)
            )
        except SQLAlchemyError as error:
            return error
        return None

    def _log_unknown_words(self, step: Step) -> None:
        for block in step.blocks:
            for unknown in sorted(block.unknown):
                self._trouble.once(
                    "block.unknown_word",
                    f"{unknown.kind} {unknown.word!r}: the block was applied without it",
                    height=block.header.height,
                    hint="update sbtc-watcher, then reindex from this height",
                )


async def _next_after(steps: AsyncGenerator[Step, None], refusal: SourceError) -> Step | None:
    """Refuse the current step; return the next one, None if there is none."""
    try:
        return await steps.athrow(refusal)
    except StopAsyncIteration:
        return None
