"""What this process's loop did last: what readiness and the service manager go by. Used on the event loop only."""

import asyncio

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from chain.model import BlockHeader
from watcher import unforeseen
from watcher.database import Database
from watcher.following import Turn
from watcher.notify import ServiceManager
from watcher.waiting import unless

#: A loop that rests between two turns may be silent for so many times its rest, and this many seconds of work.
RESTS, WORK = 2.0, 60.0

#: Seconds between two heartbeats; several fit into the shortest silence that the watchdog is asked for.
HEARTBEAT = 10.0

_WORDS = {
    Turn.MOVED: "following",
    Turn.IDLE: "following",
    Turn.WAITING: "waiting",
    Turn.HALTED: "halted",
}


class Pulse:
    """Takes what the follower's loop (or, in a process that does not follow, the heartbeat) tells, and passes it on.

    systemd's READY is sent when HTTP is bound and the first look has ended, whatever it found; the watchdog is fed by
    every finished turn, every committed step and every heartbeat. ``rest`` is how long the loop rests, seconds.
    """

    def __init__(self, manager: ServiceManager, *, rest: float) -> None:
        self._manager = manager
        manager.watch_within(RESTS * rest + WORK)
        self._bound = False
        self._beaten = False
        self._ready = False
        #: Whether a look at the chain (without a follower: at the database) has succeeded in this process.
        self.reached = False
        #: How the last turn ended; None before the first one, and while the heartbeat speaks for this process.
        self.turn: Turn | None = None
        #: What is wrong at the moment, one line.
        self.trouble: str | None = None

    def bound(self) -> None:
        """The HTTP server's socket listens, or there is to be none."""
        self._bound = True
        self._start()

    def stepped(self) -> None:
        """A step was committed."""
        self._beat(reached=True)

    def turned(self, turn: Turn, trouble: str | None, newest: BlockHeader | None) -> None:
        """A turn of the follower's loop ended; ``trouble`` is what it ran into, ``newest`` the newest applied block."""
        self.turn, self.trouble = turn, trouble
        place = f"block {newest.height}, Bitcoin {newest.burn_height}" if newest is not None else None
        self._beat(reached=turn in (Turn.MOVED, Turn.IDLE))
        self._manager.status(": ".join(filter(None, (_WORDS[turn], trouble or place))))

    def beat(self, trouble: str | None) -> None:
        """A look at the database ended; ``trouble`` says what came of it when it failed."""
        self.trouble = trouble
        self._beat(reached=trouble is None)
        self._manager.status(f"waiting: {trouble}" if trouble else "serving")

    def stopping(self) -> None:
        """The daemon was told to stop."""
        self._manager.stopping()

    def _beat(self, *, reached: bool) -> None:
        self._beaten = True
        self.reached = self.reached or reached
        self._manager.alive()
        self._start()

    def _start(self) -> None:
        if self._bound and self._beaten and not self._ready:
            self._ready = True
            self._manager.ready()


async def heartbeat(pulse: Pulse, database: Database, stop: asyncio.Event) -> None:
    """Beat until ``stop`` is set, for a process that does not follow the chain: its event loop and database answer.

    A look that ends in an error counts, as a failed look at the chain does: starting again would not mend it. One that
    does not end does not.
    """
    pulse.turn = None
    while not stop.is_set():
        try:
            await asyncio.to_thread(_look, database)
        except SQLAlchemyError as error:
            pulse.beat(f"the database does not answer: {type(error).__name__}")
        except Exception as error:
            unforeseen.note("heartbeat", error)
            pulse.beat(f"unforeseen {type(error).__name__}")
        else:
            pulse.beat(None)
        await unless(stop, asyncio.sleep(HEARTBEAT))


def _look(database: Database) -> None:
    with database.read() as connection:
        connection.execute(select(1))
