"""Audit: a periodic spot check that reads a few final blocks again and compares them with the database.

It finds an API that served a block before its events were complete, or served wrong events; what was missing
or wrong is corrected as by a reindex. After the mempool it is the first thing to be skipped when the request
budget is short. A range that no second reading confirms, or that cannot be read again at once, is retried by
later audits, and finally left to an operator.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import KW_ONLY, dataclass, field

from sqlalchemy.exc import SQLAlchemyError

from chain.errors import OperatorNeeded
from chain.model import FetchRules
from chain.source_pool import SourcePool
from contracts.model import PaymentRules
from notifier.database_errors import reason_of
from watcher import unforeseen
from watcher.concurrency import run_in_thread, run_until_stopped
from watcher.errors import WatcherError
from watcher.indexer.settler import Settler
from watcher.log import get_logger
from watcher.reindex.fork_guard import ALL_BURN_BLOCKS
from watcher.reindex.report import ReindexRequest, Report
from watcher.reindex.retrying_source import Sources
from watcher.reindex.run import Reindex
from watcher.store import chain_state
from watcher.store.database import Database

#: Blocks per audit: few enough for a handful of requests.
AUDIT_BLOCKS = 50

#: Time limit of one audit's first reading, seconds.
AUDIT_TIMEOUT_SECONDS = 600.0

#: Wrong rows that the log event names.
MAX_ROWS_LOGGED = 5

#: Audits to wait before a range that could not be corrected is retried, by the number of tries so far.
AUDITS_UNTIL_RETRY = (1, 2, 4, 8, 16)

#: Ranges that may wait for a retry at the same time.
MAX_OPEN_RANGES = 10

log = get_logger(__name__)


@dataclass(slots=True)
class _Open:
    """A range with errors that could not be corrected yet."""

    tries: int = 0
    #: Audits until the next try.
    wait: int = 0


@dataclass(eq=False)
class Audit:
    """The auditor: one audit after each :meth:`call`. ``draw(n)`` returns a random number below n."""

    database: Database
    pool: SourcePool
    rules: PaymentRules
    settler: Settler
    fetch_rules: FetchRules
    _: KW_ONLY
    network: str
    finality_burn_blocks: int
    now: Callable[[], float] = time.time
    draw: Callable[[int], int] = random.randrange
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    on_audit: Callable[[Report], None] = lambda _: None
    _called: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    #: By first and last height, the oldest finding first.
    _open: dict[tuple[int, int], _Open] = field(default_factory=dict, init=False)

    def call(self) -> None:
        """Request an audit, on the event loop's thread. Calls during an audit request one more in all."""
        self._called.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Audit after each request, until ``stop`` is set."""
        while not stop.is_set():
            await run_until_stopped(stop, self._called.wait())
            self._called.clear()
            await run_until_stopped(stop, self.once())

    async def once(self) -> Report | None:
        """Audit a random range, or one that an earlier audit could not correct.

        Return the report, None when nothing could be read. Failures are logged, never raised: another audit
        follows.
        """
        span: tuple[int, int] | None = None
        report: Report | None = None
        # A range that was open stays open however this audit ends, unless it is found to be correct.
        is_open = False
        reason = ""
        try:
            if self.pool.idle_source() is None:
                return None
            span = self._due_range()
            is_open = span is not None
            span = span or await run_in_thread(self._draw_range)
            if span is None:
                return None
            async with asyncio.timeout(AUDIT_TIMEOUT_SECONDS):
                report = await self._reindex(ReindexRequest(start=span[0], to=span[1], dry_run=True))
            self.on_audit(report)
            is_open = self._report_findings(report, span)
            if is_open:
                report = await self._reindex(ReindexRequest(start=span[0], to=span[1]))
                is_open = bool(report.differences)
                reason = report.differences[0].note if is_open else ""
        except SQLAlchemyError as error:
            report, reason = None, reason_of(error)
            log.warning("audit.failed", reason=reason)
        except (WatcherError, OperatorNeeded, TimeoutError) as error:
            report, reason = None, str(error) or f"it took longer than {AUDIT_TIMEOUT_SECONDS:.0f} s"
            log.warning("audit.failed", reason=reason)
        except Exception as error:
            report, reason = None, f"unforeseen {type(error).__name__}"
            unforeseen.report("audit", error)
        if span is not None:
            self._keep_or_give_up(span, reason, is_open=is_open)
        return report

    def _report_findings(self, report: Report, span: tuple[int, int]) -> bool:
        """Log the findings; say whether there is anything to insert or to correct."""
        counts = report.counts
        fields = {
            "start": span[0],
            "to": span[1],
            "found": counts.found,
            "attempts": counts.attempts,
            "refunds": counts.refunds,
            "corrections": counts.corrections,
            "differences": counts.differences,
        }
        if has_errors(report):
            hint = (
                "the blocks are read again now; `sbtc-watcher reindex --since 2d` looks for more of the kind"
            )
            wrong = [f"{row.row}: {row.note}" for row in (*report.corrections, *report.differences)]
            log.error("audit.gap", **fields, wrong=wrong[:MAX_ROWS_LOGGED], hint=hint)
        elif counts.found or counts.attempts or counts.refunds:
            # Of an address or intent that became ours after the block: inserted without an alarm.
            log.info("audit.older", **fields)
        else:
            log.info("audit.clean", blocks=counts.blocks, start=span[0], to=span[1])
            return False
        return True

    def _due_range(self) -> tuple[int, int] | None:
        """Return the open range that is due for a retry, None to draw a new range."""
        for waiting in self._open.values():
            waiting.wait -= 1
        return next((span for span, waiting in self._open.items() if waiting.wait <= 0), None)

    def _keep_or_give_up(self, span: tuple[int, int], reason: str, *, is_open: bool) -> None:
        """Keep an open range for a later audit; after the last retry give it up, with an alarm."""
        waiting = self._open.pop(span, _Open())
        if not is_open:
            return
        start, to = span
        if waiting.tries < len(AUDITS_UNTIL_RETRY) and len(self._open) < MAX_OPEN_RANGES:
            waiting.wait = AUDITS_UNTIL_RETRY[waiting.tries]
            waiting.tries += 1
            self._open[span] = waiting
            log.warning(
                "audit.unconfirmed", start=start, to=to, reason=reason, next_after_audits=waiting.wait
            )
            return
        log.error(
            "audit.given_up",
            start=start,
            to=to,
            reason=reason,
            hint="the database and the sources differ, and no second reading confirms it: "
            f"see `sbtc-watcher check`, then `sbtc-watcher reindex --from {start} --to {to}`",
        )

    def _draw_range(self) -> tuple[int, int] | None:
        """Draw a range of final blocks whose headers are kept, by height; None when there are none yet."""
        with self.database.read() as connection:
            cursor = chain_state.load_cursor(connection)
            headers = chain_state.window_headers(connection, burn_blocks=ALL_BURN_BLOCKS)
        if cursor is None:
            return None
        final = [
            header.height
            for header in headers
            # Below start_height only headers are kept: those blocks were never read.
            if header.height >= cursor.start_height
            and cursor.clock.burn_height - header.burn_height >= self.finality_burn_blocks
        ]
        if not final:
            return None
        span = final[self.draw(max(1, len(final) - AUDIT_BLOCKS + 1)) :][:AUDIT_BLOCKS]
        return span[0], span[-1]

    async def _reindex(self, request: ReindexRequest) -> Report:
        sources = Sources(self.pool, network=self.network, sleep=self.sleep)
        run = Reindex(self.database, self.rules, self.settler, sources, self.fetch_rules, now=self.now)
        return await run.run(request)


def has_errors(report: Report) -> bool:
    """Say whether the indexer missed a fact, or stored one that the chain contradicts."""
    return bool(report.missed or report.counts.corrections or report.counts.differences)
