"""Audit: now and then read a few final blocks again, and compare them with what is stored.

An API that showed a block before its events were complete, or showed others, is found out this way, and what it hid or
made up is put right as a reindex does. It is a spot check: after the mempool the first thing that is left out when the
request budget is short.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable

from sqlalchemy.exc import SQLAlchemyError

from chain.errors import OperatorNeeded
from chain.model import ReadRules
from chain.pool import SourcePool
from contracts.model import MoneyRules
from notifier.database_errors import reason_of
from watcher import blocks, unforeseen
from watcher.books import Books
from watcher.database import Database
from watcher.errors import WatcherError
from watcher.log import get_logger
from watcher.reindex import ALL, Ask, Reindex, Report
from watcher.sources import Sources
from watcher.waiting import in_thread, unless

#: Blocks of one audit: read with a handful of requests.
SPAN = 50

#: How long a look at them may take, seconds: what cannot be read soon is left to the next audit.
PATIENCE = 600.0

#: Wrong rows that the alarm names.
NAMED = 5

log = get_logger(__name__)


class Audit:
    """Reads blocks again whenever :meth:`call` was called. ``draw(n)`` gives a random number below n."""

    def __init__(
        self,
        database: Database,
        pool: SourcePool,
        rules: MoneyRules,
        books: Books,
        read: ReadRules,
        *,
        network: str,
        finality_burn_blocks: int,
        now: Callable[[], float] = time.time,
        draw: Callable[[int], int] = random.randrange,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        on_audit: Callable[[Report], None] = lambda _: None,
    ) -> None:
        self._database = database
        self._pool = pool
        self._rules = rules
        self._books = books
        self._read = read
        self._network = network
        self._finality = finality_burn_blocks
        self._now = now
        self._draw = draw
        self._sleep = sleep
        self._on_audit = on_audit
        self._called = asyncio.Event()
        #: What an audit found lacking and could not put right: the next one begins there.
        self._unmended: tuple[int, int] | None = None

    def call(self) -> None:
        """Ask for an audit; on the event loop's thread. Calls during one make one more."""
        self._called.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Audit whenever it is called for, until ``stop`` is set."""
        while not stop.is_set():
            await unless(stop, self._called.wait())
            self._called.clear()
            await unless(stop, self.once())

    async def once(self) -> Report | None:
        """Audit blocks drawn by lot; return what was found, None when nothing could be read.

        Never raises for the outside world: the next audit comes.
        """
        try:
            span = self._unmended or await in_thread(self._span)
            if span is None or self._pool.spare() is None:
                return None
            async with asyncio.timeout(PATIENCE):
                report = await self._reindex(Ask(start=span[0], to=span[1], dry_run=True))
            self._on_audit(report)
            tally = report.tally
            counts = {
                "start": span[0],
                "to": span[1],
                "found": tally.found,
                "attempts": tally.attempts,
                "refunds": tally.refunds,
                "corrections": tally.corrections,
                "differences": tally.differences,
            }
            if lacking(report):
                hint = "the blocks are read again now; `sbtc-watcher reindex --since 2d` looks for more of the kind"
                wrong = [f"{row.row}: {row.note}" for row in (*report.corrections, *report.differences)]
                log.error("audit.gap", **counts, wrong=wrong[:NAMED], hint=hint)
            elif tally.found or tally.attempts or tally.refunds:
                # Of an address or an order that became ours after the block: no alarm, but put in.
                log.info("audit.older", **counts)
            else:
                log.info("audit.clean", blocks=tally.blocks, start=span[0], to=span[1])
                self._unmended = None
                return report
            self._unmended = span
            report = await self._reindex(Ask(start=span[0], to=span[1]))
            self._unmended = None
            return report
        except SQLAlchemyError as error:
            log.warning("audit.failed", reason=reason_of(error))
            return None
        except (WatcherError, OperatorNeeded, TimeoutError) as error:
            log.warning("audit.failed", reason=str(error) or f"it took longer than {PATIENCE:.0f} s")
            return None
        except Exception as error:
            unforeseen.note("audit", error)
            return None

    def _span(self) -> tuple[int, int] | None:
        """Draw the heights of some final blocks whose headers are kept; None when there are none yet."""
        with self._database.read() as connection:
            cursor = blocks.load_cursor(connection)
            headers = blocks.window_headers(connection, burn_blocks=ALL)
        if cursor is None:
            return None
        final = [
            header.height
            for header in headers
            if header.height
            >= cursor.start_height  # those below were never read: only their headers are kept
            and cursor.clock.burn_height - header.burn_height >= self._finality
        ]
        if not final:
            return None
        span = final[self._draw(max(1, len(final) - SPAN + 1)) :][:SPAN]
        return span[0], span[-1]

    async def _reindex(self, ask: Ask) -> Report:
        sources = Sources(self._pool, network=self._network, sleep=self._sleep)
        run = Reindex(self._database, self._rules, self._books, sources, self._read, now=self._now)
        return await run.run(ask)


def lacking(report: Report) -> bool:
    """Say whether something is missing that a step should have stored, or stored that the chain does not bear out."""
    return bool(report.overlooked or report.tally.corrections or report.tally.differences)
