"""Liveness of this process, for /readyz and the systemd watchdog. Used on the event loop only."""

import asyncio
import time
from collections.abc import Callable
from functools import partial

from sqlalchemy.exc import SQLAlchemyError

from chain.model import BlockHeader
from notifier.database_errors import reason_of
from watcher import unforeseen
from watcher.concurrency import run_in_thread, run_until_stopped
from watcher.indexer.loop import DatabaseTrouble, PollResult
from watcher.log import get_logger
from watcher.monitoring.systemd import ServiceManager
from watcher.store.heartbeats import FOLLOWER, Heartbeat

#: A loop may be silent for so many times its rest between two polls, and this many seconds of work.
MAX_SILENT_RESTS, MAX_WORK_SECONDS = 2.0, 60.0

log = get_logger(__name__)

_WORDS = {
    PollResult.MOVED: "following",
    PollResult.IDLE: "following",
    PollResult.WAITING: "waiting",
    PollResult.HALTED: "halted",
}


class Liveness:
    """Takes what the follower's loop (or, in a process that does not follow, the heartbeat) tells, and passes it on.

    systemd's READY is sent when HTTP is bound and the first poll has ended, whatever it found; the watchdog is fed by
    every finished poll and every committed step, or where nobody follows by every heartbeat. ``rest`` is how long the loop
    rests, seconds; ``roles`` are the parts that this process is to run.
    """

    def __init__(
        self,
        manager: ServiceManager,
        *,
        rest: float,
        roles: frozenset[str] = frozenset({FOLLOWER}),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._manager = manager
        self._roles = roles
        self._clock = clock
        #: How long the loop may be silent at work, seconds.
        self.max_silence = MAX_SILENT_RESTS * rest + MAX_WORK_SECONDS
        manager.extend_watchdog(self.max_silence)
        self._bound = False
        self._progressed = False
        self._ready = False
        #: Whether a poll of the chain (without a follower: at the database) has succeeded in this process.
        self.reached = False
        #: The result of the last poll; None before the first one, and while heartbeats stand in for it.
        self.poll_result: PollResult | None = None
        #: What is wrong at the moment, one line.
        self.trouble: str | None = None
        #: Whether this process follows the chain at the moment; a standby on a shared database does not.
        self.is_following = False
        #: Whether heartbeats speak for this process, because it neither follows nor is about to.
        self.is_standby = FOLLOWER not in roles
        #: The newest applied block and the newest that a source reported, as this process's follower knows them.
        self.newest: BlockHeader | None = None
        self.tip: BlockHeader | None = None
        self._polled_at: float | None = None
        self._progress_at = clock()
        self._unwritten: str | None = None
        self._roles_changed = asyncio.Event()

    def on_http_bound(self) -> None:
        """The HTTP server's socket listens, or there is to be none."""
        self._bound = True
        self._notify_ready()

    def on_step(self) -> None:
        """A step was committed."""
        self._record_progress(reached=True)

    def on_poll(
        self,
        result: PollResult,
        trouble: str | None,
        newest: BlockHeader | None,
        tip: BlockHeader | None = None,
    ) -> None:
        """A poll ended.

        ``trouble`` is what it ran into, ``newest`` the newest applied block, ``tip`` the newest that a source reported.
        """
        self.poll_result, self.trouble, self.newest, self.tip = result, trouble, newest, tip
        self._polled_at = self._clock()
        place = f"block {newest.height}, Bitcoin {newest.burn_height}" if newest is not None else None
        self._record_progress(reached=result in (PollResult.MOVED, PollResult.IDLE))
        self._manager.status(": ".join(filter(None, (_WORDS[result], trouble or place))))

    def on_heartbeat(self, trouble: str | None) -> None:
        """A heartbeat was written; ``trouble`` says why not when it failed."""
        self._unwritten = trouble
        if not self.is_standby:
            return
        self.trouble = None if trouble is None else f"the database takes no writes: {trouble}"
        self._record_progress(reached=trouble is None)
        self._manager.status(f"waiting: {self.trouble}" if self.trouble else "serving")

    def on_role_change(self, is_following: bool) -> None:
        """The loop begins, or has ended because another process follows the chain now."""
        self.is_following, self.is_standby = is_following, False
        self._progress_at = self._clock()
        self.poll_result = None
        # A standby's looks at the database say nothing of the chain.
        self.reached = False
        self._roles_changed.set()

    @property
    def roles(self) -> frozenset[str]:
        """The parts that run at the moment."""
        return self._roles if self.is_following else self._roles - {FOLLOWER}

    async def until_roles_change(self, limit: float) -> None:
        """Wait until :attr:`roles` are others than when this ended last, ``limit`` seconds at most."""
        try:
            async with asyncio.timeout(limit):
                await self._roles_changed.wait()
        except TimeoutError:
            pass
        self._roles_changed.clear()

    @property
    def unwritable(self) -> str | None:
        """Why this process could not write to the database when it last tried; None when it could."""
        return self._unwritten or (self.trouble if isinstance(self.trouble, DatabaseTrouble) else None)

    @property
    def last_poll_seconds(self) -> float | None:
        """The age of this process's last finished poll of the chain; None before the first."""
        return None if self._polled_at is None else max(0.0, self._clock() - self._polled_at)

    @property
    def silent_seconds(self) -> float:
        """For how long this process's follower has finished no poll and no step; 0 where it does not follow."""
        return max(0.0, self._clock() - self._progress_at) if self.is_following else 0.0

    def stopping(self) -> None:
        """The daemon was told to stop."""
        self._manager.stopping()

    def _record_progress(self, *, reached: bool) -> None:
        self._progressed = True
        self._progress_at = self._clock()
        self.reached = self.reached or reached
        self._manager.alive()
        self._notify_ready()

    def _notify_ready(self) -> None:
        if self._bound and self._progressed and not self._ready:
            self._ready = True
            self._manager.ready()


async def run_heartbeat(
    liveness: Liveness, heartbeat: Heartbeat, stop: asyncio.Event, *, grace_seconds: float = 0.0
) -> None:
    """Write this process's heartbeats until ``stop`` is set, and take them back at the end.

    With ``grace_seconds`` the last one is good for so many seconds instead: another process of the kind is to come.

    That is how a process knows whether the database takes writes, too. A heartbeat that ends in an error counts for the
    watchdog as a failed poll of the chain does: starting again would not mend it. One that does not end does not.
    """
    while not stop.is_set():
        try:
            await run_in_thread(heartbeat.write, liveness.roles)
        except SQLAlchemyError as error:
            liveness.on_heartbeat(reason_of(error))
        except Exception as error:  # whatever it is, the process goes on without this heartbeat
            unforeseen.report("heartbeat", error)
            liveness.on_heartbeat(type(error).__name__)
        else:
            liveness.on_heartbeat(None)
        # Who has begun to follow says so at once: until then the others believe that nobody does.
        await run_until_stopped(stop, liveness.until_roles_change(heartbeat.interval))
    try:
        await run_in_thread(
            partial(heartbeat.write, liveness.roles if grace_seconds else (), good_for=grace_seconds)
        )
    except SQLAlchemyError as error:
        log.warning("heartbeat.not_taken_back", reason=reason_of(error))
    except Exception as error:
        # A stop in order does not fail over a last word.
        unforeseen.report("heartbeat", error)
