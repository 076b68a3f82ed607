"""The metrics, all names in one place. Counters and histograms are of this process; gauges are read when asked for.

``payment_latency_seconds`` runs from the beginning of the look that found the block which caused an event, by the
follower's clock, to the beginning of the event's first attempt at an endpoint, by the notifier's clock: reading the
block, committing the step and the queue are in it, the receiver's answer is not. Resends, and events that no block
caused (a person's act, a reindex), are not in it.
"""

import math
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, cast

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy.exc import SQLAlchemyError

from chain.api.parse import KNOWN_WORDS
from chain.model import Reorg, Step
from chain.source_pool import SourcePool
from notifier import outbox
from notifier.database_errors import reason_of
from watcher import unforeseen
from watcher.domain.model import Status
from watcher.indexer.ledger import StepResult
from watcher.indexer.loop import PollResult
from watcher.indexer.settler import SettleResult
from watcher.log import get_logger
from watcher.monitoring.liveness import Liveness
from watcher.reindex.audit import has_errors
from watcher.reindex.run import Report
from watcher.services import status as status_service
from watcher.store import chain_state, reindex_runs
from watcher.store import intents as intent_store
from watcher.store.chain_state import Cursor
from watcher.store.database import Database

PREFIX = "sbtc_watcher_"

# Without it every counter and histogram comes with a gauge of when it was made.
cast("Callable[[], None]", disable_created_metrics)()

#: States of a source that answers.
_UP = frozenset({"ok", "lagging", "limited"})

_LATENCIES = (0.05, 0.1, 0.25, 0.5, 1, 2, 3, 5, 10, 15, 30, 60, 300, 1800)
_DEPTHS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)

log = get_logger(__name__)


class Metrics:
    """Counts what happens in this process; each method is a hook of the part that it is named after."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._reorgs = self._counter("reorgs", "Reorgs applied")
        self._depth = self._histogram("reorg_depth_blocks", "Stacks blocks that a reorg orphaned", _DEPTHS)
        self._requests = self._counter(
            "source_requests", "Answers of a source; code 0 is none", "source", "code"
        )
        self._request = self._histogram("source_request_seconds", "Until a source's answer was read")
        self._transitions = self._counter("intent_transitions", "Intents moved by the chain", "from", "to")
        self._unmatched = self._counter(
            "unmatched", "Stored transfers that belonged to no intent when they came", "reason"
        )
        self._deliveries = self._counter(
            "deliveries", "Delivery attempts by what became of the delivery", "result"
        )
        self._delivery = self._histogram("delivery_seconds", "Length of a delivery attempt", _LATENCIES)
        self._latency = self._histogram(
            "payment_latency_seconds", "From a block seen to the first attempt to tell of it", _LATENCIES
        )
        self._audited = self._counter("audited_blocks", "Final blocks that were read again and compared")
        self._gaps = self._counter("audit_gaps", "Audits that found our tables and the chain to differ")
        self._unknown = self._counter(
            "unknown_words", "Words of the API in applied blocks that this version does not know", "kind"
        )
        for kind in KNOWN_WORDS:
            self._unknown.labels(kind)
        self._step = self._histogram("step_seconds", "Length of the transaction that applies a step")
        self.registry.register(unforeseen.COUNTER)

    def watch(self, database: Database, liveness: Liveness, pool: SourcePool | None) -> None:
        """Show how things stand, too. ``pool``: the sources of a process that follows the chain, None elsewhere."""
        self.registry.register(Gauges(database, liveness, pool))

    def on_request(self, url: str, code: int, seconds: float) -> None:
        """A source answered, or failed to."""
        self._requests.labels(url, str(code)).inc()
        self._request.observe(seconds)

    def on_step(self, step: Step, applied: StepResult, seconds: float) -> None:
        """A step was committed."""
        self._step.observe(seconds)
        if isinstance(step, Reorg):
            self._reorgs.inc()
            self._depth.observe(applied.orphaned_blocks)
        self.on_settled(applied.settled)
        for block in step.blocks:
            for said in block.unknown:
                self._unknown.labels(said.kind).inc()
        for reason in applied.unmatched:
            self._unmatched.labels(reason).inc()

    def on_settled(self, settled: SettleResult) -> None:
        """Intents were settled, by a step or after it."""
        for _, before, after in settled.transitions:
            self._transitions.labels(before.value, after.value).inc()

    def on_attempt(self, result: str, seconds: float) -> None:
        """An attempt to deliver was stored."""
        self._deliveries.labels(result).inc()
        self._delivery.observe(seconds)

    def on_first_attempt(self, seconds: float) -> None:
        """An event was tried at an endpoint for the first time, so long after its cause was seen."""
        self._latency.observe(max(0.0, seconds))

    def on_audit(self, report: Report) -> None:
        """Blocks were read again."""
        self._audited.inc(report.counts.blocks)
        if has_errors(report):
            self._gaps.inc()

    def exposition(self, accept: str = "") -> tuple[bytes, str]:
        """Return everything in the form that ``accept`` asks for, and its content type; reads the database."""
        encoder, content_type = choose_encoder(accept)
        return encoder(self.registry), content_type

    def _counter(self, name: str, about: str, *labels: str) -> Counter:
        return Counter(PREFIX + name, about, labels, registry=self.registry)

    def _histogram(
        self, name: str, about: str, buckets: Sequence[float] = Histogram.DEFAULT_BUCKETS
    ) -> Histogram:
        return Histogram(PREFIX + name, about, buckets=buckets, registry=self.registry)


class Gauges(Collector):
    """How things stand at the moment of the scrape, from the database and from this process.

    Without a pool, the sources are shown as the follower last wrote them down. Where the database does not answer, what
    it knows is left out.
    """

    def __init__(
        self,
        database: Database,
        liveness: Liveness,
        pool: SourcePool | None,
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._liveness = liveness
        self._pool = pool
        self._now = now

    def collect(self) -> Iterable[Metric]:
        """Read and return the gauges."""
        cursor = None
        found: dict[str, Any] = {}
        try:
            with self._database.read() as connection:
                cursor = chain_state.load_cursor(connection)
                found["statuses"] = status_service.count_intents(connection)
                found["attention"] = status_service.count_attention(connection)
                found["due"] = 0 if cursor is None else intent_store.count_due(connection, cursor.clock)
                found["outbox"] = outbox.stats(connection, now=self._now())
                found["reindex"] = reindex_runs.latest(connection, now=self._now())
        except SQLAlchemyError as error:
            log.warning("metrics.database_failed", reason=reason_of(error))
        except Exception as error:
            # What this process knows is still shown, this count among it.
            unforeseen.report("metrics", error)
        yield from self._chain(cursor)
        if found:
            yield from _counts(found)

    def _chain(self, cursor: Cursor | None) -> Iterable[Metric]:
        tip = _gauge("tip_height", "Newest block: that a source told of, and applied", "kind")
        age = _gauge("tip_age_seconds", "Age of the newest block that a source told of")
        lag = _gauge(
            "lag_blocks",
            "Blocks between the newest that a source told of and the newest applied; NaN when no source answers",
        )
        up = _gauge("source_up", "1 while a source answers", "source")
        polled = _gauge("last_poll_seconds", "Age of the last finished look at the chain")
        skew = _gauge("clock_skew_seconds", "Seconds by which the follower's clock is ahead of the sources'")
        writable = _gauge("writable", "1 while the database takes this process's writes, 0 while it does not")
        writable.add_metric([], self._liveness.unwritable is None)
        halted = _gauge("halted", "1 while the daemon stands still until a person decides")
        last_poll = self._liveness.last_poll_seconds
        if cursor is not None:
            height, time_ = cursor.tip_height, cursor.tip_time
            if self._liveness.is_following and self._liveness.tip is not None:
                # What this process saw, also when it could not write it down.
                height, time_ = max(height, self._liveness.tip.height), max(time_, self._liveness.tip.time)
            elif cursor.looked_at is not None:
                last_poll = max(0.0, self._now() - cursor.looked_at)
            tip.add_metric(["chain"], height)
            tip.add_metric(["indexed"], cursor.clock.height)
            age.add_metric([], max(0.0, self._now() - time_))
            behind = max(0, height - cursor.clock.height)
            lag.add_metric([], math.nan if behind == 0 and cursor.lag_blocks is None else behind)
            if cursor.clock_skew is not None:
                skew.add_metric([], cursor.clock_skew)
        if last_poll is not None:
            polled.add_metric([], last_poll)
        if self._pool is not None:
            sources = [(health.url, str(health.state)) for health in self._pool.health()]
        else:
            rows = (cursor.sources or []) if cursor is not None else []
            sources = [(row["url"], row["state"]) for row in rows]
        for url, state in sources:
            up.add_metric([url], state in _UP)
        # A halt before the database has begun is known to the process alone.
        stands = self._liveness.poll_result is PollResult.HALTED or (
            cursor is not None and cursor.halted is not None
        )
        halted.add_metric([], stands)
        yield from (tip, age, lag, up, polled, skew, writable, halted)


def _counts(found: dict[str, Any]) -> Iterable[Metric]:
    intents = _gauge("intents", "Intents by status", "status")
    for status in Status:
        intents.add_metric([status.value], found["statuses"].get(status.value, 0))
    attention = _gauge("attention", "Intents that call for a person")
    attention.add_metric([], found["attention"])
    due = _gauge("settle_backlog", "Intents that are due and not settled yet")
    due.add_metric([], found["due"])
    box = found["outbox"]
    pending = _gauge("outbox_pending", "Deliveries that wait for an attempt")
    pending.add_metric([], box.pending)
    oldest = _gauge("outbox_oldest_seconds", "Age of the oldest delivery that waits; 0 when none does")
    oldest.add_metric([], box.oldest_seconds or 0.0)
    reindex = _gauge(
        "reindex_progress", "Done part of the newest reindex that has not ended; 1 when all have"
    )
    reindex.add_metric([], found["reindex"]["progress"] if found["reindex"] is not None else 1.0)
    yield from (intents, attention, due, pending, oldest, reindex)


def _gauge(name: str, about: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(PREFIX + name, about, labels=labels)
