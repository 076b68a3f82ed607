"""Keep the display flag ``in_flight`` of intents with a payment in the mempool.

It decides nothing and sends nothing. The mempool is read while an intent is pending and the request budget
has room to spare; it is the first thing that is left out when it has not.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field

from sqlalchemy import Connection, exists, select, union, update
from sqlalchemy.exc import SQLAlchemyError

from chain.errors import SourceError
from chain.mempool import MempoolReader
from chain.source import ChainSource
from chain.source_pool import SourcePool
from contracts.mempool import PendingPayment, read_pending
from contracts.model import PaymentRules
from notifier.database_errors import reason_of
from notifier.statements import chunks
from watcher import unforeseen
from watcher.concurrency import run_in_thread, run_until_stopped
from watcher.domain.matching import Claim
from watcher.domain.model import Status
from watcher.indexer.candidates import Candidates
from watcher.indexer.trouble import TroubleLog
from watcher.log import get_logger
from watcher.store import chain_state
from watcher.store.database import Database
from watcher.store.schema import attempt, intent, transfer

#: Intervals without a complete reading after which no intent is shown as in flight.
STALE_AFTER_INTERVALS = 8

log = get_logger(__name__)


@dataclass(eq=False)
class MempoolFlags:
    """Keeps the flags; without a ``reader`` none is set. One instance per database at a time."""

    database: Database
    pool: SourcePool
    rules: PaymentRules
    reader: MempoolReader | None
    _: KW_ONLY
    interval: float
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    #: The intents that the database shows as in flight; None before they were loaded.
    _shown: set[str] | None = field(default=None, init=False)
    _trouble: TroubleLog = field(default_factory=lambda: TroubleLog(log), init=False)

    def __post_init__(self) -> None:
        self._read_at = self.clock()

    async def run(self, stop: asyncio.Event) -> None:
        """Poll every interval until ``stop`` is set."""
        self._shown = None  # another process may have kept the flags meanwhile
        while not stop.is_set():
            await run_until_stopped(stop, self.poll())
            await run_until_stopped(stop, self.sleep(self.interval))

    async def poll(self) -> None:
        """Update the flags if an intent is pending and the budget allows. Never raises external errors."""
        try:
            if self.reader is None or not await run_in_thread(self._any_pending):
                await run_in_thread(self._show, ())
                return
            payments = await self._read(self.reader)
            if payments is not None:
                self._read_at, self._trouble.last = self.clock(), None
            elif self.clock() - self._read_at >= STALE_AFTER_INTERVALS * self.interval:
                payments = ()
            if payments is not None:
                await run_in_thread(self._show, payments)
        except SQLAlchemyError as error:
            self._trouble.warning("mempool.failed", reason_of(error))
        except Exception as error:
            unforeseen.report("mempool", error)

    async def _read(self, reader: MempoolReader) -> Sequence[PendingPayment] | None:
        """Return the pending payments; None when the budget or the source does not allow to read them."""
        source = self.pool.idle_source()
        if source is None:
            return None

        def has_budget() -> bool:
            spare: ChainSource | None = self.pool.idle_source()
            return spare is source

        try:
            pending = await reader.read(source, has_budget)
        except SourceError as error:
            # No reason to leave the source: nothing depends on the mempool.
            self._trouble.warning("mempool.failed", str(error))
            return None
        except Exception as error:
            unforeseen.report("mempool", error)
            return None
        if pending is None:
            return None
        found = (read_pending(tx, self.rules) for tx in pending)
        return [payment for payment in found if payment is not None]

    def _any_pending(self) -> bool:
        with self.database.read() as connection:
            return bool(
                connection.execute(select(exists().where(intent.c.status == Status.PENDING))).scalar_one()
            )

    def _show(self, payments: Sequence[PendingPayment]) -> None:
        with self.database.read() as connection:
            if self._shown is None:
                waiting = select(intent.c.id).where(intent.c.status == Status.PENDING, intent.c.in_flight)
                self._shown = set(connection.execute(waiting).scalars())
            paid = paid_intents(connection, payments)
        if paid == self._shown:
            return
        shown = self._shown

        def write(connection: Connection) -> None:
            chain_state.load_cursor(
                connection, lock=True
            )  # first, like every writer of intents: the lock order
            _set(connection, paid - shown, in_flight=True)
            _set(connection, shown - paid, in_flight=False)

        self.database.transact(write)
        log.info("mempool.matched", intents=len(paid), before=len(self._shown))
        self._shown = paid


def paid_intents(connection: Connection, payments: Sequence[PendingPayment]) -> set[str]:
    """Return the pending intents that these payments would belong to if they were mined in the next block."""
    cursor = chain_state.load_cursor(connection)
    if cursor is None or not payments:
        return set()
    claims = {
        payment.tx_id: Claim(
            asset=payment.asset,
            sender=payment.sender,
            recipient=payment.recipient,
            time=cursor.clock.time,
            route=payment.route,
            memo=payment.memo,
            terms_hash=payment.terms_hash,
        )
        for payment in payments
    }
    candidates = Candidates.load(
        connection,
        {claim.label for claim in claims.values()},
        {claim.recipient for claim in claims.values()},
    )
    found: dict[str, str] = {}
    for tx_id, claim in claims.items():
        matched = candidates.match(claim).intent
        if matched is not None and matched.status is Status.PENDING:
            found[tx_id] = matched.id
    mined = _mined(connection, found)
    return {intent_id for tx_id, intent_id in found.items() if tx_id not in mined}


def _mined(connection: Connection, found: Mapping[str, str]) -> set[str]:
    """Return those of the transactions that are mined: an API may list them as pending for hours."""
    mined: set[str] = set()
    for batch in chunks(sorted(found)):
        paid = select(transfer.c.tx_id).where(transfer.c.tx_id.in_(batch), transfer.c.canonical)
        intents = {found[tx_id] for tx_id in batch}
        failed = select(attempt.c.tx_id).where(
            attempt.c.intent_id.in_(intents), attempt.c.tx_id.in_(batch), attempt.c.canonical
        )
        mined |= set(connection.execute(union(paid, failed)).scalars())
    return mined


def _set(connection: Connection, ids: Collection[str], *, in_flight: bool) -> None:
    for batch in chunks(sorted(ids)):
        connection.execute(update(intent).where(intent.c.id.in_(batch)).values(in_flight=in_flight))
