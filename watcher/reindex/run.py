"""Reindex: read blocks again, correct the tables, and settle the affected intents, beside the running daemon.

Only blocks of our own chain count: those whose hashes we keep, and below them those that link to ours.
Correct rows stay untouched. A row that its block contradicts is refuted once a second reading confirms it
(see :mod:`watcher.reindex.confirm`): it is kept as orphaned, and the correct row is inserted. An intent whose
stored state is what ``decide()`` returns is not touched. Events have stable ids, so nothing is sent twice.
Each transaction locks the cursor, so no step of the indexer comes in between.
"""

from collections.abc import Collection, Sequence
from contextlib import aclosing
from dataclasses import replace

from sqlalchemy import Connection
from sqlalchemy.exc import DataError, IntegrityError

from chain.ancestry import HeaderAncestry, height_at
from chain.block_fetcher import BlockRange
from chain.errors import SourceError, SourceInconsistent
from chain.model import Block, BlockHeader
from chain.source import ChainSource
from contracts.model import Reading
from notifier.database_errors import reason_of
from notifier.statements import chunks
from watcher.concurrency import run_in_thread, run_transaction
from watcher.domain.model import ChainClock
from watcher.errors import Halted, LeaseHeld, NotFound, Unreachable, UsageError
from watcher.indexer.matcher import BadStep, UnknownStatus, read_all
from watcher.indexer.settle_result import Change, merge_changes
from watcher.indexer.settler import MAX_INTENTS_PER_TRANSACTION
from watcher.reindex.compare import diff_blocks
from watcher.reindex.confirm import SecondReadings, confirm, is_status_known
from watcher.reindex.diff import BlockDiff, Difference, count_missed
from watcher.reindex.dry_run import simulate_corrections
from watcher.reindex.fork_guard import ChainMoved, ForkGuard
from watcher.reindex.job import BlockJob
from watcher.reindex.repair import apply_corrections
from watcher.reindex.report import MAX_ROWS_LISTED, Progress, ReindexRequest, Report, report_reversals
from watcher.reindex.trace import HashRecorder
from watcher.store import chain_state, due_intents, reindex_runs
from watcher.store import intents as intent_store
from watcher.store.reindex_runs import ReindexCounts, ReindexRun
from watcher.text import count

#: Reorgs during one run after which it gives up.
MAX_REORGS = 100


class Reindex(BlockJob[Progress]):
    """One reindex; use each object once. ``show`` gets the progress, ``now`` is this machine's clock."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._ancestry: HeaderAncestry | None = None
        self._guard = ForkGuard(self.database)
        self._corrections: list[Difference] = []
        self._differences: list[Difference] = []
        self._changes: list[Change] = []
        #: Everything that a dry run found.
        self._diff = BlockDiff()
        self._run: ReindexRun | None = None
        self._reported_at = float("-inf")

    async def run(self, request: ReindexRequest) -> Report:
        """Read the range again and correct the tables, as the module describes.

        Raises :class:`UsageError`, :class:`NotFound`, :class:`Halted`, :class:`Unreachable`, and
        :class:`LeaseHeld` when another process works on the same run.
        """
        began = self.now()
        clock = await run_in_thread(self._check, request)
        run = None if request.dry_run else await run_in_thread(self._resume, request)
        resumed = run is not None
        if run is None:
            run = await self._begin(request, clock)
        self._run = run
        self._report_progress(run)
        reorgs = 0
        while True:
            try:
                await self.sources.use(lambda source: self._read(source, request, run))
                break
            except ChainMoved:
                reorgs += 1
                if reorgs > MAX_REORGS:
                    text = f"the chain forked more than {MAX_REORGS} times during this run"
                    raise Unreachable(text, hint="try again later") from None
                self._ancestry = None
        if request.dry_run:
            self._changes += await run_in_thread(
                simulate_corrections, self.database, self.settler, self._diff, self.now()
            )
            run.counts.changes = len(self._changes)
            run.counts.events = sum(len(change.events) for change in self._changes)
        else:
            await run_transaction(self._finish, request, run)
        return Report(
            bottom=run.bottom,
            top=run.top,
            counts=run.counts,
            resumed=resumed,
            dry_run=request.dry_run,
            changes=merge_changes(self._changes),
            corrections=self._corrections,
            differences=self._differences,
            missed=await run_in_thread(self._count_missed),
            seconds=self.now() - began,
        )

    # Before

    def _check(self, request: ReindexRequest) -> ChainClock:
        with self.database.read() as connection:
            cursor = chain_state.load_cursor(connection)
            if cursor is None:
                raise UsageError(
                    "the database has not begun to follow the chain: there is nothing to read again",
                    hint="start `sbtc-watcher run`; start_height says from where",
                )
            if cursor.halted is not None:
                raise Halted(f"the daemon is halted: {cursor.halted['message']}", hint=cursor.halted["hint"])
            if request.intent is not None and not intent_store.load_intents(connection, [request.intent]):
                raise NotFound(f"no intent {request.intent}", hint="sbtc-watcher intents list shows them")
        return cursor.clock

    def _resume(self, request: ReindexRequest) -> ReindexRun | None:
        def work(connection: Connection) -> ReindexRun | None:
            run = reindex_runs.resume(connection, request.key())
            if run is not None:
                reindex_runs.touch(connection, run, now=self.now())
            return run

        return self.database.transact(work)

    async def _begin(self, request: ReindexRequest, clock: ChainClock) -> ReindexRun:
        bottom = await self._bottom(request, clock)
        top = clock.height if request.to is None else min(request.to, clock.height)
        if bottom > clock.height:
            raise UsageError(
                f"--from {bottom}: the newest block that was read is {clock.height}",
                hint="blocks above it are read by `sbtc-watcher run`",
            )
        if bottom > top:
            raise UsageError(f"--to {top} is below the first block, {bottom}")
        if request.dry_run:
            return ReindexRun(id="", bottom=bottom, top=top, position=bottom - 1, counts=ReindexCounts())

        def store(connection: Connection) -> ReindexRun:
            return reindex_runs.start(connection, request.key(), bottom=bottom, top=top, now=self.now())

        return await run_in_thread(self.database.transact, store)

    async def _bottom(self, request: ReindexRequest, clock: ChainClock) -> int:
        if request.start is not None:
            return max(1, request.start)
        since = request.since
        if since is None:
            assert request.intent is not None, "the command names a height, a time or an intent"
            since = await run_in_thread(self._not_before, request.intent)
        elif request.is_ago:  # counted back from this machine's clock, which may be ahead of the chain's
            since -= max(0.0, self.now() - clock.time)
        moment = int(since)
        return await self.sources.use(lambda source: height_at(source, moment, low=1, high=clock.height))

    def _not_before(self, intent: str) -> int:
        with self.database.read() as connection:
            return intent_store.load_intents(connection, [intent])[intent].not_before

    # Reading

    async def _read(self, source: ChainSource, request: ReindexRequest, run: ReindexRun) -> None:
        """Read with one source from the run's position to its top."""
        if self._ancestry is None or await run_in_thread(self._guard.has_forked, self._ancestry.top.height):
            self._ancestry = await self._guard.ancestry(source, run)
        ancestry = self._ancestry
        top = min(run.top, ancestry.top.height)
        if run.position >= top:
            return
        below = run.position

        trace = HashRecorder(self.database, run)

        async def walked(headers: Sequence[BlockHeader]) -> None:
            self.sources.progressed()
            await trace.add(headers)
            await self.report_wait(f"following the chain down: {headers[-1].height:,}, to {below:,}")

        try:
            await ancestry.trace(source, below, on_walk=walked)
        finally:
            await trace.store()
        base = await ancestry.header(source, max(below, ancestry.oldest.height))
        reading = BlockRange(source=source, base=base, first=(), top=top, tip=ancestry.top)
        try:
            async with aclosing(self.fetcher.batches(reading)) as batches:
                async for batch in batches:
                    headers = [block.header for block in batch]
                    if any(ancestry.hash_at(header.height) != header.hash for header in headers):
                        raise SourceInconsistent("it shows blocks of another chain", url=source.url)
                    try:
                        await self._compare(source, request, run, batch)
                    except (BadStep, DataError, IntegrityError) as error:
                        text = f"what it says cannot be stored: {reason_of(error)}"
                        raise SourceInconsistent(text, url=source.url) from error
                    self.sources.progressed()
                    self._report_progress(run)
        except SourceError:
            self.fetcher.slow_down()
            raise

    async def _compare(
        self, source: ChainSource, request: ReindexRequest, run: ReindexRun, batch: Sequence[Block]
    ) -> None:
        """Compare blocks with the tables and, unless in a dry run, correct these. Raises ``ChainMoved``."""
        blocks_by_hash = {block.header.hash: block for block in batch}
        reading = read_all(batch, self.rules)
        confirmed = SecondReadings()
        while True:
            try:
                doubtful = await run_transaction(
                    self._compare_and_correct, request, run, batch, reading, confirmed
                )
            except UnknownStatus as error:
                if await is_status_known(self.sources, source, error.fact, self.rules, self.fetch_rules):
                    raise SourceInconsistent(str(error), url=source.url) from error
                confirmed.unknowable.add(error.fact.block.hash)
            else:
                if not doubtful:
                    return
                self._report_progress(
                    run, f"reading {count(len(doubtful), 'block')} once more: what is stored differs"
                )
                confirmed.add(
                    await confirm(
                        self.sources, source, doubtful, blocks_by_hash, self.rules, self.fetch_rules
                    )
                )

    def _compare_and_correct(
        self,
        request: ReindexRequest,
        run: ReindexRun,
        batch: Sequence[Block],
        reading: Reading,
        confirmed: SecondReadings,
    ) -> set[str]:
        """Compare blocks with the tables and, unless it is a dry run, correct these, in one transaction.

        Where a block contradicts a row and was read only once, nothing is changed: the hashes of such blocks
        are returned. Raises :class:`ChainMoved`.
        """
        headers = [block.header for block in batch]

        def work(connection: Connection) -> tuple[ReindexCounts, BlockDiff, Sequence[Change]] | set[str]:
            now = self.now()
            counts = replace(run.counts, blocks=run.counts.blocks + len(batch), later=[*run.counts.later])
            cursor = chain_state.load_cursor(connection, lock=not request.dry_run)
            assert cursor is not None, "a cursor stays"
            self._guard.check(connection, headers, cursor.clock.height)
            elsewhere = confirmed.elsewhere.values()
            diff = diff_blocks(
                connection,
                self.rules,
                batch,
                reading,
                only=request.intent,
                elsewhere=elsewhere,
                unknowable=confirmed.unknowable,
            )
            if doubtful := diff.evidence - confirmed.read_again:
                return doubtful
            diff.exclude(confirmed.doubts)
            counts.transfers += diff.ours
            corrected = {row.tx_id for row in diff.wrong}
            counts.found += sum(p.payment.tx_id not in corrected for p in diff.transfers)
            counts.attempts += sum(made.tx_id not in corrected for made, _ in diff.attempts)
            counts.refunds += sum(made.tx_id not in corrected for made, _ in diff.refunds)
            counts.corrections += len(diff.wrong)
            counts.differences += len(diff.differences)
            # Intents with wrong rows come first: events already sent about them may be false.
            wrong = {row.intent for row in diff.wrong}
            paid = sorted(diff.paid, key=lambda intent: (intent not in wrong, intent))
            counts.later = sorted(
                {*counts.later, *(diff.attempted - diff.paid), *paid[MAX_INTENTS_PER_TRANSACTION:]}
            )
            changes: Sequence[Change] = ()
            if not request.dry_run:
                apply_corrections(connection, diff, at=cursor.newest, now=now)
                # Settled in further transactions; by the daemon if this run ends before them.
                more = [key for key in paid[MAX_INTENTS_PER_TRANSACTION:] if key in diff.changed]
                if request.notify:
                    due_intents.mark_due(connection, more)
                else:
                    due_intents.mark_unnotified(connection, more, height=cursor.clock.height)
                settled = self.settler.for_repair(notify=request.notify).settle_apart(
                    connection, paid[:MAX_INTENTS_PER_TRANSACTION], cursor.clock, now=now
                )
                changes = settled.changes
                counts.changes += len(changes)
                counts.events += settled.events
                self._advance(connection, run, headers[-1].height, counts)
            return counts, diff, changes

        if request.dry_run:
            with self.database.read() as connection:
                done = work(connection)
        else:
            done = self.database.transact(work)
        if isinstance(done, set):
            return done
        counts, diff, changes = done
        run.position, run.counts = headers[-1].height, counts
        self._changes += changes
        self._corrections += diff.wrong[: MAX_ROWS_LISTED - len(self._corrections)]
        self._differences += diff.differences[: MAX_ROWS_LISTED - len(self._differences)]
        if request.dry_run:
            self._diff.add(diff)
        else:
            report_reversals(changes)
            self._settle_later(request, run, diff.paid & {*counts.later})
        return set()

    def _settle_later(self, request: ReindexRequest, run: ReindexRun, ids: Collection[str]) -> None:
        """Settle deferred intents in bounded transactions; an interrupted run resumes with the rest."""
        for batch in chunks(sorted(ids), MAX_INTENTS_PER_TRANSACTION):

            def work(
                connection: Connection, batch: Sequence[str] = batch
            ) -> tuple[ReindexCounts, Sequence[Change]]:
                counts = replace(run.counts, later=sorted({*run.counts.later} - {*batch}))
                settler = self.settler.for_repair(notify=request.notify)
                cursor = chain_state.load_cursor(connection, lock=True)
                assert cursor is not None, "a cursor stays"
                settled = settler.settle_apart(connection, batch, cursor.clock, now=self.now())
                counts.changes += len(settled.changes)
                counts.events += settled.events
                self._advance(connection, run, run.position, counts)
                return counts, settled.changes

            run.counts, changes = self.database.transact(work)
            report_reversals(changes)
            self._changes += changes

    def _advance(
        self,
        connection: Connection,
        run: ReindexRun,
        position: int,
        counts: ReindexCounts,
        *,
        finished: bool = False,
    ) -> None:
        if not reindex_runs.advance(connection, run, position, counts, now=self.now(), finished=finished):
            raise LeaseHeld(
                "another process works on the same reindex", hint="`sbtc-watcher status` shows how far it is"
            )

    def _finish(self, request: ReindexRequest, run: ReindexRun) -> None:
        """Settle the intents that only failed attempts touched, and close the run."""
        self._settle_later(request, run, run.counts.later)
        self.database.transact(
            lambda connection: self._advance(connection, run, run.position, run.counts, finished=True)
        )

    def _count_missed(self) -> int:
        with self.database.read() as connection:
            return count_missed(connection, self._diff)

    def _report_progress(self, run: ReindexRun, note: str = "") -> None:
        done = max(0, run.position - run.bottom + 1)
        self.show(Progress(total=run.top - run.bottom + 1, done=done, counts=run.counts, note=note))

    async def report_wait(self, note: str) -> None:
        """Report a run that waits: always to ``show``, and at intervals to the database, for ``status``."""
        run = self._run
        if run is None:
            return
        self._report_progress(run, note)
        if not run.id or self.now() - self._reported_at < reindex_runs.STALE_AFTER_SECONDS / 4:
            return
        self._reported_at = self.now()

        def touch(connection: Connection) -> None:
            reindex_runs.touch(connection, run, now=self.now())

        await run_in_thread(self.database.transact, touch)
