"""Accept a fork deeper than finality, as an operator decided: undo to the fork point, apply the new branch.

One transaction stores the operator action (who, when, why), undoes our branch, applies the new one, and
settles the intents it touches; if there are more than one transaction may settle, the rest is settled in
further ones. A dry run repeats that transaction until every intent was settled, a batch each time, and rolls
each back. The running daemon notices at its next poll and continues on the new branch.
"""

from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from sqlalchemy import Connection, select, union_all
from sqlalchemy.exc import DataError, IntegrityError

from chain.block_fetcher import BlockRange, headers_after
from chain.block_reader import refuse_repeats
from chain.errors import SourceError, SourceInconsistent, SourcesDisagree
from chain.fork_choice import search_fork
from chain.header_window import HeaderWindow
from chain.model import Block, BlockHeader, Reorg
from chain.source import ChainSource
from contracts.model import Reading
from notifier.database_errors import reason_of
from watcher.concurrency import run_in_thread, run_transaction
from watcher.errors import Refused, UsageError
from watcher.indexer.ledger import Ledger, StepResult
from watcher.indexer.matcher import BadStep, read_all
from watcher.indexer.settle_result import Change, SettleResult, merge_changes
from watcher.indexer.settler import Settler
from watcher.reindex.dry_run import BatchSettler, rolled_back
from watcher.reindex.fork_guard import ALL_BURN_BLOCKS
from watcher.reindex.job import BATCH_BLOCKS, BlockJob
from watcher.store import chain_state
from watcher.store import operator_actions as action_store
from watcher.store.chain_state import Cursor
from watcher.store.schema import attempt, refund, transfer
from watcher.text import count


@dataclass(slots=True, kw_only=True)
class Acceptance:
    """Result of accepting a branch. ``fork`` is None when the chain has not forked and nothing was done."""

    fork: BlockHeader | None = None
    old_tip: str = ""
    tip: BlockHeader | None = None
    orphaned: int = 0
    blocks: int = 0
    transfers: int = 0
    dry_run: bool = False
    changes: list[Change] = field(default_factory=list)
    #: In a dry run: intents that are due on the branch and were not tried.
    untried: int = 0

    def document(self) -> dict[str, Any]:
        """Return the document that ``--json`` prints."""
        return {
            "accepted": self.fork is not None and not self.dry_run,
            "dry_run": self.dry_run,
            "fork": None if self.fork is None else {"height": self.fork.height, "hash": self.fork.hash},
            "old_tip": self.old_tip,
            "new_tip": None if self.tip is None else {"height": self.tip.height, "hash": self.tip.hash},
            "orphaned_blocks": self.orphaned,
            "blocks": self.blocks,
            "transfers": self.transfers,
            "untried": self.untried,
            "changes": [change.document() for change in self.changes],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Branch:
    """The source's chain above ``base``; ``is_ours`` says whether we keep the header of ``base``."""

    base: BlockHeader
    is_ours: bool
    blocks: tuple[Block, ...]
    tip: BlockHeader


class Accept(BlockJob[str]):
    """One acceptance of the sources' branch. ``now`` is this machine's clock, ``show`` gets messages."""

    async def run(
        self, *, lowest: int, reason: str, actor: str, dry_run: bool = False, notify: bool = True
    ) -> Acceptance:
        """Undo our chain to the fork point, which must not be below ``lowest``, and apply the sources' chain.

        If the fork is below every header that we keep, our chain is undone to ``lowest``, provided that the
        newest payment or refund that we know at or below that height is in the sources' chain. Raises
        :class:`UsageError`, :class:`Refused` when the fork is lower, ``SourcesDisagree``,
        :class:`Unreachable`.
        """
        cursor, kept = await run_in_thread(self._load)
        branch = await self.sources.use(lambda source: self._find_branch(source, cursor, kept, lowest))
        if branch is None:
            return Acceptance(old_tip=cursor.clock.hash, dry_run=dry_run)
        settler = self.settler.for_repair(notify=notify)
        if dry_run:
            settler = BatchSettler.like(settler)
        apply = partial(
            self._apply, branch, cursor, read_all(branch.blocks, self.rules), settler, reason, actor
        )
        untried = 0
        try:
            if isinstance(settler, BatchSettler):
                applied, settled, untried = await self._simulate(apply, settler)
            else:
                applied = await run_transaction(self.database.transact, apply)
                settled = await self._settle_rest(applied.settled)
        except (BadStep, DataError, IntegrityError) as error:
            raise Refused(
                "source",
                f"what the source says cannot be stored: {reason_of(error)}",
                hint="`sbtc-watcher check` looks at each source; remove the wrong one from api_urls, "
                "or update sbtc-watcher",
            ) from error
        return Acceptance(
            fork=branch.base,
            old_tip=cursor.clock.hash,
            tip=branch.blocks[-1].header,
            orphaned=applied.orphaned_blocks,
            blocks=applied.blocks,
            transfers=applied.transfers,
            dry_run=dry_run,
            changes=merge_changes(change for result in settled for change in result.changes),
            untried=untried,
        )

    async def report_wait(self, reason: str) -> None:
        self.show(reason)

    def _load(self) -> tuple[Cursor, tuple[BlockHeader, ...]]:
        with self.database.read() as connection:
            cursor = chain_state.load_cursor(connection)
            kept = chain_state.window_headers(connection, burn_blocks=ALL_BURN_BLOCKS)
        if cursor is None:
            raise UsageError("the database has not begun to follow the chain: there is nothing to undo")
        return cursor, kept or (cursor.header,)

    # The branch

    async def _find_branch(
        self, source: ChainSource, cursor: Cursor, kept: tuple[BlockHeader, ...], lowest: int
    ) -> _Branch | None:
        """Return the source's branch, or None when the source has our newest block or merely lags."""
        if await source.header(cursor.clock.hash) is not None:
            return None
        newest = await source.headers(limit=1)
        if not newest:
            raise SourceInconsistent("it has no blocks", url=source.url)
        window = HeaderWindow(kept)
        conflict = await self._conflicting_height(source, window, newest[0].height)
        if conflict is None:
            return None
        base, _ = await search_fork(source, window, conflict)
        is_ours = base is not None
        if base is None:
            base = await self._base_below_window(source, window, lowest)
        elif base.height < lowest:
            raise Refused(
                "fork_is_lower",
                f"the chain forked at height {base.height}, below --from {lowest}",
                hint=f"if that is right: --from {base.height}",
            )
        top = newest[0].height
        first = await headers_after(source, base, top)
        if first is None:
            raise SourceInconsistent(f"block {base.height} {base.hash} is gone again", url=source.url)
        await self._corroborate(source, first[0])
        found: list[Block] = []
        enough = min(top, cursor.clock.height + BATCH_BLOCKS)
        run = BlockRange(source=source, base=base, first=first, top=top, tip=newest[0])
        async with aclosing(self.fetcher.batches(run)) as batches:
            async for batch in batches:
                found += batch
                self.sources.progressed()
                self.show(f"reading the new branch: {found[-1].header.height:,} of {enough:,}")
                if found[-1].header.height >= enough:
                    break
        refuse_repeats(source, found)
        return _Branch(base=base, is_ours=is_ours, blocks=tuple(found), tip=newest[0])

    async def _conflicting_height(self, source: ChainSource, window: HeaderWindow, newest: int) -> int | None:
        """Return a height at which the source's block differs from ours; None when it only lags."""
        height = min(newest, window.tip.height)
        ours = window.at(height)
        if ours is None:
            return None
        theirs = await source.header(height)
        return height if theirs is not None and theirs.hash != ours.hash else None

    async def _base_below_window(self, source: ChainSource, window: HeaderWindow, lowest: int) -> BlockHeader:
        """Return the source's block at ``lowest``, below every header that we keep.

        Raises :class:`Refused` when the newest money that we know at or below it is not in the source's
        chain.
        """
        if lowest >= window.oldest.height:
            raise Refused(
                "fork_is_lower",
                f"the chain forked below height {window.oldest.height}, the oldest header that is kept",
                hint="name a height at or below the fork: --from H; what did not fork is found again",
            )
        base = await source.header(lowest)
        if base is None:
            raise SourceInconsistent(f"it has no block {lowest}", url=source.url)
        known = await run_in_thread(self._newest_fact, lowest)
        if known is not None and await source.header(known[1]) is None:
            raise Refused(
                "fork_is_lower",
                f"block {known[1]} at height {known[0]}, which holds money of ours, "
                "is not in the source's chain",
                hint=f"the fork is lower: name a height below {known[0]}",
            )
        return base

    def _newest_fact(self, height: int) -> tuple[int, str] | None:
        """Return height and hash of the newest block up to ``height`` of which we hold canonical facts."""
        each = [
            select(table.c.height, table.c.block_hash).where(table.c.height <= height, table.c.canonical)
            for table in (transfer, attempt, refund)
        ]
        facts = union_all(*each).subquery()
        with self.database.read() as connection:
            row = connection.execute(select(facts).order_by(facts.c.height.desc()).limit(1)).one_or_none()
        return None if row is None else (row.height, row.block_hash)

    async def _corroborate(self, source: ChainSource, first: BlockHeader) -> None:
        """Raise ``SourcesDisagree`` when a healthy source has another block at the branch's first height."""
        for other in self.sources.pool.others(source):
            try:
                theirs = await other.header(first.height)
            except SourceError as error:
                self.sources.pool.failed(other, error)
                continue
            if theirs is not None and theirs.hash != first.hash:
                raise SourcesDisagree(
                    f"at height {first.height} {source.url} has block {first.hash}, "
                    f"{other.url} has {theirs.hash}",
                    hint="remove the wrong source from api_urls, then accept",
                )

    # The transaction

    def _apply(
        self,
        branch: _Branch,
        cursor: Cursor,
        reading: Reading,
        settler: Settler,
        reason: str,
        actor: str,
        connection: Connection,
    ) -> StepResult:
        step = Reorg(ancestor=branch.base, blocks=branch.blocks, tip=branch.tip)
        ledger = Ledger(self.database, self.rules, settler, now=self.now)
        found = chain_state.load_cursor(connection, lock=True)
        if found is None or found.clock.hash != cursor.clock.hash:
            raise Refused(
                "moved",
                "the daemon moved on meanwhile; nothing was done",
                hint="check `sbtc-watcher status` and try again",
            )
        action_store.add_action(
            connection,
            None,
            action_store.ACCEPT_REORG,
            found.clock,
            now=self.now(),
            reason=reason,
            actor=actor,
        )
        if not branch.is_ours:
            _store_base(connection, branch.base)
        return ledger.apply_on(connection, step, reading)

    async def _simulate(
        self, apply: Callable[[Connection], StepResult], settler: BatchSettler
    ) -> tuple[StepResult, list[SettleResult], int]:
        """Apply in rolled-back transactions until every intent was tried.

        Returns the first result, what each transaction settled, and the number of untried intents.
        """

        def apply_once() -> StepResult:
            with rolled_back(self.database) as connection:
                return apply(connection)

        first = await run_transaction(apply_once)
        settled = [first.settled]
        while settled[-1].more:
            self.show(f"trying: {len(settler.tried):,} intents")
            settled.append((await run_transaction(apply_once)).settled)

        def untried() -> int:
            with self.database.read() as connection:
                return settler.count_untried(connection, first.clock)

        return first, settled, await run_in_thread(untried)

    async def _settle_rest(self, first: SettleResult) -> list[SettleResult]:
        """Settle what is still due after ``first``, beside a running daemon; return what was settled."""

        def work(connection: Connection) -> SettleResult:
            found = chain_state.load_cursor(connection, lock=True)
            assert found is not None, "a cursor stays"
            settler = self.settler.for_repair()
            return settler.settle_due(connection, (), found.clock, now=self.now())

        settled = [first]
        while settled[-1].more:
            settled.append(await run_transaction(self.database.transact, work))
            changed = sum(len(result.changes) for result in settled)
            self.show(f"settling: {count(changed, 'intent')} changed")
        return settled


def _store_base(connection: Connection, base: BlockHeader) -> None:
    """Store the header of a block that we once applied and have pruned since."""
    chain_state.orphan_headers(connection, above=base.height - 1)
    chain_state.add_headers(connection, [base])
