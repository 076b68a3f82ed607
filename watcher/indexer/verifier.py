"""Ask the sources whether they agree on payments that need more than one source's word.

An intent above ``verify_amount_over`` whose money is covered and deep waits with the flag ``unverified``. Its
transfers count as verified once at least two sources, of different hosts, show the same transfer in the same
block, as deep as the intent requires: so neither a false payment nor a false depth of one source is believed.
What is verified is stored with the transfer; the intent is settled in the same transaction.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from chain.errors import NotHeld, SourceError
from chain.model import FetchRules
from chain.source import ChainSource
from chain.source_pool import SourcePool
from notifier.database_errors import reason_of
from watcher import unforeseen
from watcher.concurrency import run_in_thread, run_transaction, run_until_stopped
from watcher.config.types import host_of
from watcher.domain.model import ChainClock, Depth
from watcher.errors import WatcherError
from watcher.indexer.block_reading import read_one_block
from watcher.indexer.ledger import Ledger
from watcher.indexer.progress_log import log_settled
from watcher.indexer.settle_result import SettleResult
from watcher.indexer.trouble import TroubleLog
from watcher.log import get_logger
from watcher.store import verification
from watcher.store.transfers import transfer_values

#: Sources of different hosts that must agree.
REQUIRED_SOURCES = 2

#: Transfers that one poll asks about: each costs some requests of every source.
MAX_TRANSFERS_PER_POLL = 20

#: Waiting transfers that one poll loads; of more, the next poll loads the next.
MAX_LOADED_TRANSFERS = 1_000

#: Longest wait between two questions about one transfer, seconds; it doubles from the interval of polls.
MAX_WAIT_SECONDS = 300.0

log = get_logger(__name__)


class Answer(StrEnum):
    """What a source says about a transfer."""

    AGREES = "agrees"
    #: It shows the block, without this transfer as it is stored.
    DENIES = "denies"
    #: It does not show the block, or not as deep as required: it lags, or follows another branch.
    NOT_YET = "not_yet"


@dataclass(slots=True)
class _Wait:
    """When a transfer is asked about again, by the verifier's clock, and how long it waits after that."""

    due: float
    wait: float
    #: Hosts that denied it, each of which is logged once.
    denied: set[str] = field(default_factory=set)


class Verifier:
    """Verifies transfers that wait for a second source. One instance per database at a time.

    ``on_settled`` is called after a transaction that settled intents. ``clock`` and ``sleep`` are for tests.
    """

    def __init__(
        self,
        ledger: Ledger,
        pool: SourcePool,
        fetch_rules: FetchRules,
        *,
        interval: float,
        on_settled: Callable[[SettleResult], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._ledger = ledger
        self._pool = pool
        self._fetch_rules = fetch_rules
        self._interval = interval
        self._on_settled = on_settled
        self._clock = clock
        self._sleep = sleep
        self._waits: dict[str, _Wait] = {}
        #: The last id of the transfers loaded, and all ids since the first; both empty when none are left.
        self._loaded_to = ""
        self._loaded: set[str] = set()
        self._trouble = TroubleLog(log)

    async def run(self, stop: asyncio.Event) -> None:
        """Poll every interval until ``stop`` is set."""
        while not stop.is_set():
            await run_until_stopped(stop, self.poll())
            await run_until_stopped(stop, self._sleep(self._interval))

    async def poll(self) -> None:
        """Ask about the transfers that are due. Failures are logged, never raised: they are asked again."""
        try:
            for row in self._due(await run_in_thread(self._load)):
                agreed = await self._ask(row)
                if len(agreed) >= REQUIRED_SOURCES:
                    settled = await run_transaction(self._ledger.verify, row, agreed)
                    log.info(
                        "transfer.verified", transfer=row["id"], intent=row["intent_id"], by=sorted(agreed)
                    )
                    log_settled(settled)
                    self._on_settled(settled)
        except SQLAlchemyError as error:
            self._trouble.warning("verifier.failed", reason_of(error))
        except WatcherError as error:
            # Such as a lost lease, which ends the indexer and, with it, this task.
            self._trouble.warning("verifier.failed", str(error))
        except Exception as error:
            unforeseen.report("verifier", error)
        else:
            self._trouble.last = None

    def _load(self) -> Sequence[Mapping[str, Any]]:
        with self._ledger.database.read() as connection:
            return verification.unverified(connection, after=self._loaded_to, limit=MAX_LOADED_TRANSFERS)

    def _due(self, waiting: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
        """Return the transfers to ask about now, the longest due first, and set their next time."""
        now = self._clock()
        for row in waiting:
            self._waits.setdefault(row["id"], _Wait(now, self._interval))
        self._loaded.update(row["id"] for row in waiting)
        if len(waiting) == MAX_LOADED_TRANSFERS:
            self._loaded_to = waiting[-1]["id"]
        else:
            self._waits = {key: wait for key, wait in self._waits.items() if key in self._loaded}
            self._loaded_to, self._loaded = "", set()
        due = [(self._waits[row["id"]], row) for row in waiting]
        due = sorted((pair for pair in due if pair[0].due <= now), key=lambda pair: pair[0].due)
        for wait, _ in due[:MAX_TRANSFERS_PER_POLL]:
            wait.due, wait.wait = now + wait.wait, min(2 * wait.wait, MAX_WAIT_SECONDS)
        return [row for _, row in due[:MAX_TRANSFERS_PER_POLL]]

    async def _ask(self, row: Mapping[str, Any]) -> set[str]:
        """Return the hosts that agree on a transfer, none if one denies it; denials are logged."""
        agreed: set[str] = set()
        denied: set[str] = set()
        # The preferred source last: it has the indexer's requests to answer, and what another one does not
        # show yet need not be asked of it.
        sources = [(host_of(source.url), source) for source in reversed(self._pool.others(None))]
        for place, (host, source) in enumerate(sources):
            if len(agreed | denied | {other for other, _ in sources[place:]}) < REQUIRED_SOURCES:
                break
            if host in agreed:
                continue
            try:
                answer = await self._answer(source, row)
            except NotHeld:
                # Nothing is wrong with it: an own node keeps only the newest blocks.
                continue
            except SourceError as error:
                self._pool.failed(source, error)
            except Exception as error:
                # What one source shows must not keep the others from being asked.
                unforeseen.report("verifier", error)
            else:
                self._pool.succeeded(source)
                if answer is not Answer.NOT_YET:
                    (agreed if answer is Answer.AGREES else denied).add(host)
        known = self._waits[row["id"]].denied
        if denied - known:
            known |= denied
            log.error(
                "transfer.denied",
                transfer=row["id"],
                intent=row["intent_id"],
                tx_id=row["tx_id"],
                agree=sorted(agreed),
                deny=sorted(denied),
                hint="the sources differ on this payment: look it up in an explorer, then "
                "`sbtc-watcher reindex` or `sbtc-watcher intents mark`",
            )
        return set() if denied else agreed

    async def _answer(self, source: ChainSource, row: Mapping[str, Any]) -> Answer:
        """Return what a source says about a transfer. Raises ``SourceError``."""
        reading = await read_one_block(
            source, row["block_hash"], self._ledger.rules, self._fetch_rules, only={row["tx_id"]}
        )
        if reading is None:
            return Answer.NOT_YET
        shown = [transfer_values(payment) for payment in reading.payments]
        if all(any(row[name] != value for name, value in values.items()) for values in shown):
            return Answer.DENIES
        newest = await source.headers(limit=1)
        if not newest:
            return Answer.NOT_YET
        tip = newest[0]
        clock = ChainClock(height=tip.height, hash=tip.hash, time=tip.time, burn_height=tip.burn_height)
        required = Depth(stacks=row["required_stacks"], bitcoin=row["required_bitcoin"])
        is_deep = clock.depth(row["height"], row["burn_height"]).reaches(required)
        return Answer.AGREES if is_deep else Answer.NOT_YET
