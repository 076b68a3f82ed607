"""Prometheus metrics. Counters and histograms are per process; gauges are read at the scrape.

``payment_latency_seconds`` runs from the start of the poll that found the block which caused an event, by the
follower's clock, to the start of the event's first attempt at an endpoint, by the notifier's clock. It
includes reading the block, committing the step and the queue, but not the receiver's answer. Resends, and
events that no block caused (an operator action, a reindex), are not counted.
"""

import math
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, cast

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from chain.api.parse import KNOWN_WORDS
from chain.model import Reorg, Step
from chain.source_pool import SourcePool
from notifier import outbox
from notifier.database_errors import reason_of
from watcher import unforeseen
from watcher.domain.model import Status
from watcher.indexer.ledger import StepResult
from watcher.indexer.loop import PollResult
from watcher.indexer.settle_result import SettleResult
from watcher.log import get_logger
from watcher.monitoring.liveness import Liveness
from watcher.reindex.audit import has_errors
from watcher.reindex.report import Report
from watcher.services import status as status_service
from watcher.store import chain_state, due_intents, reindex_runs
from watcher.store.chain_state import Cursor
from watcher.store.database import Database, DatabaseError

PREFIX = "sbtc_watcher_"

# Else every counter and histogram gets an additional gauge of its creation time.
cast("Callable[[], None]", disable_created_metrics)()

#: States of a source that answers.
_UP = frozenset({"ok", "lagging", "limited"})

_LATENCIES = (0.05, 0.1, 0.25, 0.5, 1, 2, 3, 5, 10, 15, 30, 60, 300, 1800)
_DEPTHS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)

log = get_logger(__name__)


class Metrics:
    """Counters of this process; each ``on_…`` method is a hook of the part that it is named after."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._reorgs = self._counter("reorgs", "Reorgs applied")
        self._depth = self._histogram("reorg_depth_blocks", "Stacks blocks that a reorg orphaned", _DEPTHS)
        self._requests = self._counter(
            "source_requests", "Answers of a source; code 0 is none", "source", "code"
        )
        self._request = self._histogram("source_request_seconds", "Until a source's answer was read")
        self._transitions = self._counter(
            "intent_transitions", "Intents that changed their status", "from", "to"
        )
        self._unmatched = self._counter(
            "unmatched", "Transfers that matched no intent when they were stored", "reason"
        )
        self._deliveries = self._counter(
            "deliveries", "Delivery attempts by the delivery's status afterwards", "result"
        )
        self._delivery = self._histogram("delivery_seconds", "Length of a delivery attempt", _LATENCIES)
        self._latency = self._histogram(
            "payment_latency_seconds", "From a block seen to the first attempt to send its event", _LATENCIES
        )
        self._audited = self._counter("audited_blocks", "Final blocks that were read again and compared")
        self._gaps = self._counter(
            "audit_gaps", "Audits that found differences between the database and the chain"
        )
        self._unknown = self._counter(
            "unknown_words", "Words of the API in applied blocks that this version does not know", "kind"
        )
        for kind in KNOWN_WORDS:
            self._unknown.labels(kind)
        self._step = self._histogram("step_seconds", "Length of the transaction that applies a step")
        self.registry.register(unforeseen.COUNTER)

    def watch(self, database: Database, liveness: Liveness, pool: SourcePool | None) -> None:
        """Add the gauges. ``pool``: the sources of a process that follows the chain, None elsewhere."""
        self.registry.register(Gauges(database, liveness, pool))

    def on_request(self, url: str, code: int, seconds: float) -> None:
        """Count a request to a source; ``code`` 0: no answer."""
        self._requests.labels(url, str(code)).inc()
        self._request.observe(seconds)

    def on_step(self, step: Step, applied: StepResult, seconds: float) -> None:
        """Count a committed step."""
        self._step.observe(seconds)
        if isinstance(step, Reorg):
            self._reorgs.inc()
            self._depth.observe(applied.orphaned_blocks)
        self.on_settled(applied.settled)
        for block in step.blocks:
            for word in block.unknown:
                self._unknown.labels(word.kind).inc()
        for reason in applied.unmatched:
            self._unmatched.labels(reason).inc()

    def on_settled(self, settled: SettleResult) -> None:
        """Count status transitions of settled intents."""
        for _, before, after in settled.transitions:
            self._transitions.labels(before.value, after.value).inc()

    def on_attempt(self, result: str, seconds: float) -> None:
        """Count a recorded delivery attempt."""
        self._deliveries.labels(result).inc()
        self._delivery.observe(seconds)

    def on_first_attempt(self, seconds: float) -> None:
        """Observe the seconds from first sight of an event's cause to its first attempt at an endpoint."""
        self._latency.observe(max(0.0, seconds))

    def on_audit(self, report: Report) -> None:
        """Count the blocks that an audit read."""
        self._audited.inc(report.counts.blocks)
        if has_errors(report):
            self._gaps.inc()

    def exposition(self, accept: str = "") -> tuple[bytes, str]:
        """Return all metrics in the format ``accept`` asks for, and its content type; reads the database."""
        encoder, content_type = choose_encoder(accept)
        return encoder(self.registry), content_type

    def _counter(self, name: str, about: str, *labels: str) -> Counter:
        return Counter(PREFIX + name, about, labels, registry=self.registry)

    def _histogram(
        self, name: str, about: str, buckets: Sequence[float] = Histogram.DEFAULT_BUCKETS
    ) -> Histogram:
        return Histogram(PREFIX + name, about, buckets=buckets, registry=self.registry)


class Gauges(Collector):
    """Gauges from the database and from this process, read at the scrape.

    Without a pool, the sources are shown as the follower last stored them. If the database is down, its
    gauges are left out.
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
                found["due"] = 0 if cursor is None else due_intents.count_due(connection, cursor.clock)
                found["outbox"] = outbox.stats(connection, now=self._now())
                found["reindex"] = reindex_runs.latest(connection, now=self._now())
        except DatabaseError as error:
            log.warning("metrics.database_failed", reason=reason_of(error))
        except Exception as error:
            # The process's own gauges are still shown, and the error is counted.
            unforeseen.report("metrics", error)
        yield from self._chain(cursor)
        if found:
            yield from _counts(found)

    def _chain(self, cursor: Cursor | None) -> Iterable[Metric]:
        tip = _gauge("tip_height", "Newest block: reported by a source, and applied", "kind")
        age = _gauge("tip_age_seconds", "Age of the newest block that a source reported")
        lag = _gauge(
            "lag_blocks",
            "Blocks between the newest reported and the newest applied; NaN when no source answers",
        )
        up = _gauge("source_up", "1 while a source answers", "source")
        polled = _gauge("last_poll_seconds", "Age of the last finished poll of the chain")
        skew = _gauge("clock_skew_seconds", "Seconds by which the follower's clock is ahead of the sources'")
        writable = _gauge("writable", "1 while the database accepts this process's writes, else 0")
        writable.add_metric([], self._liveness.unwritable is None)
        halted = _gauge("halted", "1 while the daemon is halted until an operator decides")
        last_poll = self._liveness.last_poll_seconds
        if cursor is not None:
            height, time_ = cursor.tip_height, cursor.tip_time
            if self._liveness.is_following and self._liveness.tip is not None:
                # What this process saw, even if it could not store it.
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
        # Before the database has a cursor, only the process knows of a halt.
        is_halted = self._liveness.poll_result is PollResult.HALTED or (
            cursor is not None and cursor.halted is not None
        )
        halted.add_metric([], is_halted)
        yield from (tip, age, lag, up, polled, skew, writable, halted)


def _counts(found: dict[str, Any]) -> Iterable[Metric]:
    intents = _gauge("intents", "Intents by status", "status")
    for status in Status:
        intents.add_metric([status.value], found["statuses"].get(status.value, 0))
    attention = _gauge("attention", "Intents that need an operator's attention")
    attention.add_metric([], found["attention"])
    due = _gauge("settle_backlog", "Intents that are due and not settled yet")
    due.add_metric([], found["due"])
    box = found["outbox"]
    pending = _gauge("outbox_pending", "Deliveries that wait for an attempt")
    pending.add_metric([], box.pending)
    oldest = _gauge("outbox_oldest_seconds", "Age of the oldest delivery that waits; 0 when none does")
    oldest.add_metric([], box.oldest_seconds or 0.0)
    reindex = _gauge(
        "reindex_progress", "Completed fraction of the newest unfinished reindex; 1 if there is none"
    )
    reindex.add_metric([], found["reindex"]["progress"] if found["reindex"] is not None else 1.0)
    yield from (intents, attention, due, pending, oldest, reindex)


def _gauge(name: str, about: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(PREFIX + name, about, labels=labels)
