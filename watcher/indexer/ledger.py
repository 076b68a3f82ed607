"""The ledger: one step of the chain is one database transaction.

Headers, transfers, attempts, refunds, decisions, the merchants' events and the cursor are committed together
or not at all; a process that dies in between leaves the step undone, and the next one applies it again. Of
very many due intents the step settles the first; :meth:`Ledger.settle_due` settles the rest in further
transactions.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from sqlalchemy import Connection

from chain.model import Block, BlockHeader, Reorg, Step
from contracts.model import PaymentRules, Reading
from notifier import outbox
from watcher.domain.model import CLOCK_SLACK_SECONDS, ChainClock
from watcher.errors import ConfigError
from watcher.indexer.leader import Lease
from watcher.indexer.matcher import BadStep, match_blocks, read_all
from watcher.indexer.settle_result import SettleResult
from watcher.indexer.settler import Settler
from watcher.log import get_logger
from watcher.store import chain_state, due_intents, unknown_words, verification
from watcher.store import intents as intent_store
from watcher.store import transfers as transfer_store
from watcher.store.chain_state import Halt, clock_at
from watcher.store.database import Database

_T = TypeVar("_T")


#: Seconds by which the newest time seen may be ahead of the newest block's: the most that a reorg can turn
#: the clock back.
MAX_TIME_AHEAD_SECONDS = 86_400

log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepResult:
    """The result of one step."""

    clock: ChainClock
    blocks: int
    #: Transfers stored; those of others are only counted in ``seen``.
    transfers: int
    seen: int
    #: Reasons of the stored transfers that belong to no intent.
    unmatched: tuple[str, ...] = ()
    orphaned_blocks: int
    settled: SettleResult


class OutOfStep(Exception):
    """A step does not start at the cursor: another process moved it, or the step is from an old window."""


class Ledger:
    """Applies steps of the chain to the database.

    ``now`` is this machine's clock in unix seconds; payments are never judged by it. With a ``lease``, every
    write raises :class:`watcher.errors.LeaseLost`, and changes nothing, unless the lease is ours.
    """

    def __init__(
        self,
        database: Database,
        rules: PaymentRules,
        settler: Settler,
        *,
        now: Callable[[], float],
        lease: Lease | None = None,
    ) -> None:
        self.database = database
        self.rules = rules
        self.settler = settler
        self.now = now
        self.lease = lease

    def _transact(self, work: Callable[[Connection], _T]) -> _T:
        def leading(connection: Connection) -> _T:
            if self.lease is not None:
                self.lease.check(connection)
            return work(connection)

        return self.database.transact(leading)

    def cursor(self) -> chain_state.Cursor | None:
        """Return the cursor, None on a database that has not begun.

        Raises :class:`ConfigError` when the database belongs to another network.
        """
        with self.database.read() as connection:
            cursor = chain_state.load_cursor(connection)
        if cursor is not None and cursor.network != self.settler.network:
            raise ConfigError(
                f"network: the database follows {cursor.network}, the settings say {self.settler.network}",
                hint="choose another database_url for another network",
            )
        return cursor

    def window(self, burn_blocks: int) -> tuple[BlockHeader, ...]:
        """Return our newest canonical headers, ``burn_blocks`` Bitcoin blocks deep, oldest first."""
        with self.database.read() as connection:
            return chain_state.window_headers(connection, burn_blocks=burn_blocks)

    def restore_window(self, headers: Sequence[BlockHeader]) -> None:
        """Store lost headers up to the cursor, oldest first.

        Raises :class:`OutOfStep` when the cursor has moved.
        """

        def work(connection: Connection) -> None:
            cursor = chain_state.load_cursor(connection, lock=True)
            if cursor is None or cursor.clock.hash != headers[-1].hash:
                raise OutOfStep("another process moved the cursor while its headers were read again")
            chain_state.restore_headers(connection, headers)

        self._transact(work)

    def awaited_since(self) -> int | None:
        """Return since when the chain may hold money for open intents, by this machine's clock.

        None without open intents.
        """
        with self.database.read() as connection:
            created_at = intent_store.oldest_open(connection)
        return None if created_at is None else created_at - CLOCK_SLACK_SECONDS

    def begin(self, headers: Sequence[BlockHeader], tip: BlockHeader) -> None:
        """Store the header window of a fresh database; the cursor is its last header.

        Intents that were created before it, by this machine's clock alone, are aligned with the chain's
        clock: more grace as far as the tip is ahead, an earlier start as far as it is behind.
        """
        now = self.now()

        def work(connection: Connection) -> None:
            if chain_state.load_cursor(connection, lock=True) is not None:
                raise OutOfStep("another process has begun to follow the chain on this database")
            chain_state.add_headers(connection, headers)
            chain_state.begin_cursor(connection, self.settler.network, headers[-1], tip=tip, now=int(now))
            intent_store.align_with_chain(connection, ahead=tip.time - int(now))
            clock = clock_at(headers[-1])
            self.settler.settle_due(connection, (), clock, now=now)

        self._transact(work)

    def apply(self, step: Step, seen_at: float | None = None) -> StepResult:
        """Apply one step.

        Raises :class:`OutOfStep` when it does not start at the cursor, :class:`BadStep` when it contradicts
        what is stored; then nothing is changed. ``seen_at``: start of the poll that found the step, by this
        machine's clock, for metrics.
        """
        reading = read_all(step.blocks, self.rules)
        return self._transact(lambda connection: self.apply_on(connection, step, reading, seen_at))

    def apply_on(
        self, connection: Connection, step: Step, reading: Reading, seen_at: float | None = None
    ) -> StepResult:
        """Apply one step with its ``reading`` on an open transaction; see :meth:`apply`."""
        now = self.now()
        cursor = chain_state.load_cursor(connection, lock=True)
        if cursor is None:
            raise OutOfStep("the database has not begun to follow the chain")
        touched: set[str] = set()
        orphaned = 0
        last = step.blocks[-1].header if step.blocks else _ancestor(step)
        # Facts are orphaned as of the newest time seen: on a shorter branch the tip's own time goes back, and
        # an orphaning must never look older than a success that was sent before it.
        newest = max([cursor.newest_time, last.time, *(block.header.time for block in step.blocks)])
        if isinstance(step, Reorg):
            _check_ancestor(connection, step.ancestor)
            touched |= transfer_store.orphan_facts(connection, above=step.ancestor.height, at=newest)
            orphaned = chain_state.orphan_headers(connection, above=step.ancestor.height)
            chain_state.record_reorg(
                connection,
                ancestor=step.ancestor,
                old=cursor.clock,
                new=last,
                orphaned=orphaned,
                now=int(now),
            )
        if newest > last.time + MAX_TIME_AHEAD_SECONDS:
            # No reorg turns the clock back so far: some block had a false time. What was stored by that time
            # would hold intents back until it comes.
            log.warning("chain.false_time_forgotten", false_time=newest, time=last.time, height=last.height)
            newest = last.time
            touched |= transfer_store.forget_times_after(connection, newest)
            outbox.forget_times_after(connection, newest)
        _check_links(step.blocks, step.ancestor.hash if isinstance(step, Reorg) else cursor.clock.hash)
        repeated = chain_state.canonical_among(connection, [block.header.hash for block in step.blocks])
        if repeated is not None:
            raise BadStep(f"block {repeated.hash} is in our chain at height {repeated.height} already")
        chain_state.add_headers(connection, (block.header for block in step.blocks))
        matches = match_blocks(connection, self.rules, reading)
        unknown_words.record(connection, step.blocks, now=int(now))
        transfer_store.put_transfers(connection, matches.transfers, now=now)
        transfer_store.put_attempts(connection, matches.attempts, now=now)
        transfer_store.put_refunds(connection, matches.refunds, now=now)
        touched |= matches.intents
        clock = clock_at(last)
        settler = replace(self.settler, seen_at=seen_at)
        settled = settler.settle_due(connection, touched, clock, now=now)
        chain_state.move_cursor(connection, last, newest_time=newest, tip=step.tip, now=int(now))
        return StepResult(
            clock=clock,
            blocks=len(step.blocks),
            transfers=len(matches.transfers),
            seen=len(reading.payments),
            unmatched=tuple(p.matched.reason for p in matches.transfers if p.matched.reason is not None),
            orphaned_blocks=orphaned,
            settled=settled,
        )

    def settle_due(self, seen_at: float | None = None) -> SettleResult:
        """Settle some of the intents that are due at the cursor, in a transaction of its own.

        ``more`` says whether any are left. A step settles the first itself. ``seen_at``: start of the poll
        that found the newest step.
        """
        with self.database.read() as connection:
            cursor = chain_state.load_cursor(connection)
            if cursor is None or not due_intents.find_due(connection, cursor.clock, limit=1):
                return SettleResult()

        def work(connection: Connection) -> SettleResult:
            cursor = chain_state.load_cursor(connection, lock=True)
            assert cursor is not None, "a cursor is never deleted"
            settler = replace(self.settler, seen_at=seen_at)
            return settler.settle_due(connection, (), cursor.clock, now=self.now())

        return self._transact(work)

    def verify(self, row: Mapping[str, Any], hosts: Collection[str]) -> SettleResult:
        """Store that the sources of these hosts agree on a transfer, and settle its intent.

        ``row``: the transfer as they were asked about it; one that has changed since is left as it is.
        """

        def work(connection: Connection) -> SettleResult:
            cursor = chain_state.load_cursor(connection, lock=True)
            assert cursor is not None, "a transfer is stored by a step"
            intent_id = verification.mark_verified(connection, row, hosts)
            if intent_id is None:
                return SettleResult()
            # This is news, although what a silent reindex found of the intent may still wait.
            due_intents.notify(connection, [intent_id])
            return self.settler.settle_apart(connection, [intent_id], cursor.clock, now=self.now())

        return self._transact(work)

    def record_poll(
        self,
        *,
        tip: BlockHeader | None,
        sources: list[dict[str, Any]],
        halt: Halt | None = None,
        over: bool = True,
    ) -> None:
        """Record for ``status`` a poll that moved nothing: sources, the tip, and the halt, if any.

        Without a ``halt``, ``over`` says whether an earlier one has ended.
        """
        now = int(self.now())
        self._transact(
            lambda connection: chain_state.record_poll(
                connection, tip=tip, sources=sources, halt=halt, over=over, now=now
            )
        )


def _ancestor(step: Step) -> BlockHeader:
    if not isinstance(step, Reorg):
        raise OutOfStep("a step that extends the chain has no blocks")
    return step.ancestor


def _check_ancestor(connection: Connection, ancestor: BlockHeader) -> None:
    ours = chain_state.canonical_header(connection, ancestor.height)
    if ours is None or ours.hash != ancestor.hash:
        raise OutOfStep(f"the fork point {ancestor.hash} at {ancestor.height} is not in our chain")


def _check_links(chain: Sequence[Block], parent: str) -> None:
    for block in chain:
        if block.header.parent_hash != parent:
            raise OutOfStep(f"block {block.header.hash} at {block.header.height} does not follow {parent}")
        parent = block.header.hash
