"""Construct the daemon's parts from the settings."""

import time
from functools import partial

from chain.api.client import StacksApi
from chain.api.websocket import BlockWebSocket
from chain.follower import MARGIN_BURN_BLOCKS, Follower
from chain.header_window import HeaderWindow
from chain.mempool import MempoolReader
from chain.model import FetchRules, Step
from chain.node.rpc import NodeRpc
from chain.node.source import NodeSource
from chain.source import ChainSource
from chain.source_health import SourceState
from chain.source_pool import BackoffPolicy, SourcePool
from contracts.model import PaymentRules
from notifier.delivery_limits import DeliveryLimits
from notifier.worker import Worker
from watcher import USER_AGENT, unforeseen
from watcher.config.settings import Settings
from watcher.indexer.interests import StoredInterests
from watcher.indexer.leader import Lease
from watcher.indexer.ledger import Ledger, StepResult
from watcher.indexer.loop import IndexerLoop
from watcher.indexer.mempool import MempoolFlags
from watcher.indexer.node_inbox import NodeInbox
from watcher.indexer.settle_result import SettleResult
from watcher.indexer.settler import Settler
from watcher.indexer.verifier import Verifier
from watcher.monitoring.liveness import Liveness
from watcher.monitoring.metrics import Metrics
from watcher.reindex.audit import Audit
from watcher.services.webhook_secrets import open_secret_store
from watcher.store.database import Database


def make_pool(settings: Settings, database: Database, metrics: Metrics | None = None) -> SourcePool:
    """Return the source pool: the own node first, if there is one, then the APIs."""
    sources: list[ChainSource] = [
        StacksApi(
            url,
            api_key=settings.key_for(url),
            user_agent=USER_AGENT,
            on_unforeseen=partial(unforeseen.report, "source"),
        )
        for url in settings.api_urls
    ]
    if settings.node_url is not None:
        token = settings.node_auth_token
        rpc = NodeRpc(
            settings.node_url,
            token=None if token is None else token.get_secret_value(),
            user_agent=USER_AGENT,
            on_unforeseen=partial(unforeseen.report, "source"),
        )
        sources.insert(0, NodeSource(rpc, NodeInbox(database), holds_past=not settings.api_urls))
    return SourcePool(
        sources,
        requests_per_minute=settings.api_requests_per_minute,
        requests_per_month=settings.api_requests_per_month,
        backoff=BackoffPolicy.for_polls(settings.poll_interval),
        on_request=metrics.on_request if metrics is not None else None,
    )


def make_indexer(
    settings: Settings,
    database: Database,
    pool: SourcePool,
    worker: Worker,
    metrics: Metrics,
    liveness: Liveness,
    lease: Lease | None,
) -> IndexerLoop:
    """Return the indexer loop; it wakes the worker when it has enqueued events."""

    def stepped(step: Step, applied: StepResult, seconds: float) -> None:
        metrics.on_step(step, applied, seconds)
        liveness.on_step()

    directed = settings.read_mode == "auto"
    follower = Follower(
        pool,
        HeaderWindow(),
        fetch_rules(settings),
        poll_interval=settings.poll_interval,
        finality_burn_blocks=settings.finality_burn_blocks,
        interests=StoredInterests(database, payment_rules(settings)) if directed else None,
        on_unforeseen=partial(unforeseen.report, "source"),
    )
    return IndexerLoop(
        make_ledger(settings, database, lease),
        follower,
        pool,
        network=settings.network,
        start_height=None if settings.start_height == "tip" else settings.start_height,
        window_burn_blocks=settings.finality_burn_blocks + MARGIN_BURN_BLOCKS,
        poll_interval=settings.poll_interval,
        on_events=worker.wake,
        on_step=stepped,
        on_settled=metrics.on_settled,
        on_poll=liveness.on_poll,
    )


def make_verifier(
    settings: Settings,
    database: Database,
    pool: SourcePool,
    worker: Worker,
    metrics: Metrics,
    lease: Lease | None,
) -> Verifier:
    """Return the verifier; it wakes the worker when it has enqueued events."""

    def settled(result: SettleResult) -> None:
        metrics.on_settled(result)
        if result.events:
            worker.wake()

    return Verifier(
        make_ledger(settings, database, lease),
        pool,
        fetch_rules(settings),
        interval=settings.poll_interval,
        on_settled=settled,
    )


def make_websocket(settings: Settings, pool: SourcePool, indexer: IndexerLoop) -> BlockWebSocket | None:
    """Return the websocket that wakes the indexer loop on new blocks; None if the settings disable it."""
    if not settings.websocket or not settings.api_urls:
        return None

    def sources() -> list[str]:
        rows = [row for row in pool.health() if row.url != settings.node_url]
        bad = (SourceState.FAILING, SourceState.REFUSED)
        return [row.url for row in rows if row.state not in bad] or [row.url for row in rows]

    return BlockWebSocket(
        sources,
        indexer.wake,
        api_key=settings.key_for,
        user_agent=USER_AGENT,
        on_unforeseen=partial(unforeseen.report, "websocket"),
    )


def make_in_flight(settings: Settings, database: Database, pool: SourcePool) -> MempoolFlags:
    """Return the job that flags pending payments; if disabled by the settings, it clears the flags."""
    reader = MempoolReader(fetch_rules(settings).watched_contracts) if settings.mempool else None
    return MempoolFlags(database, pool, payment_rules(settings), reader, interval=settings.mempool_interval)


def make_audit(settings: Settings, database: Database, pool: SourcePool, metrics: Metrics) -> Audit:
    """Return the audit, which reads final blocks again when it is called."""
    return Audit(
        database,
        pool,
        payment_rules(settings),
        Settler.of(settings),
        fetch_rules(settings),
        network=settings.network,
        finality_burn_blocks=settings.finality_burn_blocks,
        on_audit=metrics.on_audit,
    )


def make_ledger(settings: Settings, database: Database, lease: Lease | None = None) -> Ledger:
    """Return the ledger; with a lease, it writes only while the lease is held."""
    return Ledger(database, payment_rules(settings), Settler.of(settings), now=time.time, lease=lease)


def fetch_rules(settings: Settings) -> FetchRules:
    """Return which contracts' transactions must be fetched whole, not just their events."""
    tokens = {spec.contract for spec in settings.assets.values() if spec.contract is not None}
    return FetchRules(
        watched_contracts=frozenset(
            tokens | ({settings.payment_contract} if settings.payment_contract else set())
        )
    )


def payment_rules(settings: Settings) -> PaymentRules:
    """Return which transfers count as payments."""
    return PaymentRules(
        assets=frozenset(spec.identifier for spec in settings.assets.values()),
        sbtc_contract=settings.sbtc_contract,
        payment_contract=settings.payment_contract,
        memo_router=settings.network_facts.memo_router,
        ignored_senders=settings.ignored_senders,
    )


def make_worker(settings: Settings, database: Database, metrics: Metrics) -> Worker:
    """Return the delivery worker."""
    return Worker(
        database,
        limits=DeliveryLimits(
            schedule=settings.webhook_retry_schedule,
            timeout=settings.webhook_timeout,
            concurrency=settings.webhook_concurrency,
            endpoint_concurrency=settings.webhook_endpoint_concurrency,
            endpoint_rate=settings.webhook_endpoint_rate,
            allow_http=settings.webhook_allow_http,
            allow_private=settings.webhook_allow_private,
            disable_after=settings.webhook_disable_after,
        ),
        secret_store=open_secret_store(settings),
        user_agent=USER_AGENT,
        on_attempt=metrics.on_attempt,
        on_first_attempt=metrics.on_first_attempt,
        on_unforeseen=unforeseen.report,
    )
