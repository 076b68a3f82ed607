"""Liveness of this process, for /readyz and the systemd watchdog. Used on the event loop only."""

import asyncio
import time
from collections.abc import Callable
from functools import partial

from chain.model import BlockHeader
from notifier.database_errors import reason_of
from watcher import unforeseen
from watcher.concurrency import run_in_thread, run_until_stopped
from watcher.indexer.loop import PollResult
from watcher.indexer.trouble import DatabaseTrouble
from watcher.log import get_logger
from watcher.monitoring.systemd import ServiceManager
from watcher.store.database import DatabaseError
from watcher.store.heartbeats import FOLLOWER, Heartbeat

#: The loop may be silent for this multiple of its rest between two polls, plus this many seconds of work.
MAX_SILENT_RESTS, MAX_WORK_SECONDS = 2.0, 60.0

log = get_logger(__name__)

_WORDS = {
    PollResult.MOVED: "following",
    PollResult.IDLE: "following",
    PollResult.WAITING: "waiting",
    PollResult.HALTED: "halted",
}


class Liveness:
    """Tracks progress of the indexer loop, or of the heartbeat in a process that does not follow.

    Sends systemd's READY when HTTP is bound and the first poll has ended, even if it failed; feeds the
    watchdog after every poll and every committed step, or in a process that does not follow after every
    heartbeat. ``rest`` is the loop's pause between two polls, seconds; ``roles`` are the parts that this
    process runs.
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
        #: Longest silence of a live loop, seconds.
        self.max_silence = MAX_SILENT_RESTS * rest + MAX_WORK_SECONDS
        manager.extend_watchdog(self.max_silence)
        self._bound = False
        self._progressed = False
        self._ready = False
        #: Whether a poll of the chain (without a follower: a heartbeat) has succeeded in this process.
        self.reached = False
        #: Result of the last poll; None before the first, and while heartbeats take its place.
        self.poll_result: PollResult | None = None
        #: Current trouble, one line.
        self.trouble: str | None = None
        #: Whether this process follows the chain now; a standby on a shared database does not.
        self.is_following = False
        #: Whether heartbeats show this process's progress, because it neither follows nor is about to.
        self.is_standby = FOLLOWER not in roles
        #: The newest applied block, and the newest that a source reported to this process's follower.
        self.newest: BlockHeader | None = None
        self.tip: BlockHeader | None = None
        self._polled_at: float | None = None
        self._progress_at = clock()
        self._unwritten: str | None = None
        self._roles_changed = asyncio.Event()

    def on_http_bound(self) -> None:
        """Record that the HTTP server listens, or that there will be none."""
        self._bound = True
        self._notify_ready()

    def on_step(self) -> None:
        """Record a committed step."""
        self._record_progress(reached=True)

    def on_poll(
        self,
        result: PollResult,
        trouble: str | None,
        newest: BlockHeader | None,
        tip: BlockHeader | None = None,
    ) -> None:
        """Record the end of a poll.

        ``trouble`` is why it failed, ``newest`` the newest applied block, ``tip`` the newest that a source
        reported.
        """
        self.poll_result, self.trouble, self.newest, self.tip = result, trouble, newest, tip
        self._polled_at = self._clock()
        place = f"block {newest.height}, Bitcoin {newest.burn_height}" if newest is not None else None
        self._record_progress(reached=result in (PollResult.MOVED, PollResult.IDLE))
        self._manager.status(": ".join(filter(None, (_WORDS[result], trouble or place))))

    def on_heartbeat(self, trouble: str | None) -> None:
        """Record a heartbeat; ``trouble`` is why it could not be written, None if it was."""
        self._unwritten = trouble
        if not self.is_standby:
            return
        self.trouble = None if trouble is None else f"the database takes no writes: {trouble}"
        self._record_progress(reached=trouble is None)
        self._manager.status(f"waiting: {self.trouble}" if self.trouble else "serving")

    def on_role_change(self, is_following: bool) -> None:
        """Record that the loop starts, or has ended because another process follows the chain now."""
        self.is_following, self.is_standby = is_following, False
        self._progress_at = self._clock()
        self.poll_result = None
        # A standby's heartbeats say nothing about the chain.
        self.reached = False
        self._roles_changed.set()

    @property
    def roles(self) -> frozenset[str]:
        """The parts that run now."""
        return self._roles if self.is_following else self._roles - {FOLLOWER}

    async def until_roles_change(self, limit: float) -> None:
        """Wait until :attr:`roles` have changed since the last call, ``limit`` seconds at most."""
        try:
            async with asyncio.timeout(limit):
                await self._roles_changed.wait()
        except TimeoutError:
            pass
        self._roles_changed.clear()

    @property
    def unwritable(self) -> str | None:
        """Why this process's last write to the database failed; None if it succeeded."""
        return self._unwritten or (self.trouble if isinstance(self.trouble, DatabaseTrouble) else None)

    @property
    def last_poll_seconds(self) -> float | None:
        """Age of this process's last finished poll of the chain; None before the first."""
        return None if self._polled_at is None else max(0.0, self._clock() - self._polled_at)

    @property
    def silent_seconds(self) -> float:
        """Seconds since this process's follower last finished a poll or a step; 0 if it does not follow."""
        return max(0.0, self._clock() - self._progress_at) if self.is_following else 0.0

    def stopping(self) -> None:
        """Record that the daemon is stopping."""
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
    """Write this process's heartbeats until ``stop`` is set, and withdraw them at the end.

    With ``grace_seconds`` the last one stays valid for that time instead: another such process is expected.

    Heartbeats also show the process whether the database accepts writes. One that fails feeds the watchdog
    all the same, as a failed poll of the chain does, because a restart would not help. One that hangs does
    not.
    """
    while not stop.is_set():
        try:
            await run_in_thread(heartbeat.write, liveness.roles)
        except DatabaseError as error:
            liveness.on_heartbeat(reason_of(error))
        except Exception as error:  # the process continues without this heartbeat
            unforeseen.report("heartbeat", error)
            liveness.on_heartbeat(type(error).__name__)
        else:
            liveness.on_heartbeat(None)
        # Write at once after a change of roles: until then other processes believe that no process follows.
        await run_until_stopped(stop, liveness.until_roles_change(heartbeat.interval))
    try:
        await run_in_thread(
            partial(heartbeat.write, liveness.roles if grace_seconds else (), good_for=grace_seconds)
        )
    except DatabaseError as error:
        log.warning("heartbeat.withdraw_failed", reason=reason_of(error))
    except Exception as error:
        # A failed last heartbeat must not fail an orderly stop.
        unforeseen.report("heartbeat", error)
