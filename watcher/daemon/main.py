"""The daemon's life cycle: one asyncio process that owns every task, from start to graceful shutdown.

Start: settings, schema, lock, tasks. Stop (SIGTERM, SIGINT, SIGHUP): the current step is finished, leases are
released, connections are closed; within ten seconds.
"""

import asyncio
import gc
import os
import signal
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from notifier.worker import Worker
from watcher import event_loop
from watcher.api.server import HttpServer
from watcher.concurrency import run_until_stopped
from watcher.config.proxies import ignored
from watcher.config.settings import Settings
from watcher.daemon import periodic, wiring
from watcher.daemon.file_lock import hold
from watcher.daemon.node_observer import NodePosts
from watcher.indexer.leader import Lease, lead
from watcher.indexer.loop import IndexerLoop, PollResult
from watcher.indexer.verifier import Verifier
from watcher.log import get_logger
from watcher.monitoring.liveness import Liveness, run_heartbeat
from watcher.monitoring.metrics import Metrics
from watcher.monitoring.systemd import ServiceManager
from watcher.services.asset_checks import log_asset_checks
from watcher.services.webhook_secrets import check_secrets, open_secret_store
from watcher.store.database import Database
from watcher.store.heartbeats import Heartbeat, silence_limit

#: Values of ``--role``.
ROLES = frozenset({"follower", "notifier", "api"})

#: Longest wait of a stopping daemon for its parts, seconds.
STOP_TIMEOUT_SECONDS = 10.0

#: Longest delivery phase of ``run --once``, seconds; the next run continues.
DRAIN_TIMEOUT_SECONDS = 120.0

#: Coroutine function that runs until the event is set.
Part = Callable[[asyncio.Event], Coroutine[Any, Any, None]]

log = get_logger(__name__)


def run(settings: Settings, roles: frozenset[str], once: bool) -> int:
    """Run the daemon; with ``once``, catch up with the chain, deliver what is due, and return.

    Returns the exit code: 0, or 3 when ``once`` could not catch up (halted, or no source answered). Raises
    the errors of :mod:`watcher.errors` when it cannot start.
    """
    with ExitStack() as stack:
        database = Database(settings.database_url)
        stack.callback(database.close)
        with database.answering():
            database.upgrade()
            # First of all, refuse a database of another network, and secrets that cannot be decrypted.
            wiring.make_ledger(settings, database).cursor()
            if roles & {"notifier", "api"}:
                check_secrets(database, open_secret_store(settings))
        if "follower" in roles:
            stack.enter_context(_following_alone(database))
        tune_garbage_collector()
        # Parts of the daemon retry database errors themselves; only ``once`` lets them out.
        stack.enter_context(database.answering())
        return event_loop.run(serve(settings, database, roles, once=once))


def tune_garbage_collector() -> None:
    """Exclude objects loaded so far from garbage collection, and collect less often.

    Every delivery creates reference cycles; with the default thresholds, collecting them costs a sixth of the
    throughput.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


async def serve(
    settings: Settings,
    database: Database,
    roles: frozenset[str],
    *,
    once: bool = False,
    stop: asyncio.Event | None = None,
) -> int:
    """Run the parts named by ``roles`` until ``stop`` is set or a signal arrives; see :func:`run`."""
    stop = stop or asyncio.Event()
    async with AsyncExitStack() as stack:
        stack.enter_context(_signals(stop, database))
        metrics = Metrics()
        liveness = Liveness(ServiceManager.of(os.environ), rest=settings.poll_interval, roles=roles)
        heartbeat = Heartbeat(database, limit=silence_limit(settings.poll_interval))
        worker = wiring.make_worker(settings, database, metrics)
        pool = wiring.make_pool(settings, database, metrics)
        stack.push_async_callback(pool.aclose)
        lease = Lease(database) if "follower" in roles and not database.is_sqlite else None
        indexer = wiring.make_indexer(settings, database, pool, worker, metrics, liveness, lease)
        verifier = wiring.make_verifier(settings, database, pool, worker, metrics, lease)
        if (proxies := ignored(os.environ)) is not None:
            log.warning("service.proxy_ignored", reason=proxies)
        log.info("service.started", network=settings.network, roles=sorted(roles), database=database.safe_url)
        if once:
            ended = asyncio.Event()
            async with asyncio.TaskGroup() as tasks:
                # The next run is expected within the time that ``status`` tolerates as lag.
                tasks.create_task(
                    run_heartbeat(liveness, heartbeat, ended, grace_seconds=settings.ready_max_lag)
                )
                try:
                    code = await _once(indexer, verifier, lease, worker, liveness, roles, stop)
                finally:
                    ended.set()
        else:
            metrics.watch(database, liveness, pool if "follower" in roles else None)
            server = stack.enter_context(
                HttpServer(settings, database, liveness, metrics, api="api" in roles, wake=worker.wake)
            )
            websocket = indexer.websocket = wiring.make_websocket(settings, pool, indexer)
            audit = wiring.make_audit(settings, database, pool, metrics)
            in_flight = wiring.make_in_flight(settings, database, pool)
            parts: list[Part] = [
                in_flight.run,
                verifier.run,
                audit.run,
                partial(log_asset_checks, settings),
            ]
            if websocket is not None:
                parts.append(websocket.run)
            upkeep = partial(periodic.running, settings, database, audit.call)
            follow = partial(_follow, indexer, parts, upkeep, lease, liveness)
            if "follower" in roles and settings.node_observer_address is not None:
                posts = stack.enter_context(NodePosts(settings, database, indexer.wake))
                follow = partial(posts.beside, follow)
            code = await _until_stopped(follow, worker, server, liveness, heartbeat, roles, stop)
        log.info("service.stopped")
        return code


async def _once(
    indexer: IndexerLoop,
    verifier: Verifier,
    lease: Lease | None,
    worker: Worker,
    liveness: Liveness,
    roles: frozenset[str],
    stop: asyncio.Event,
) -> int:
    result = PollResult.IDLE
    if "follower" in roles:
        async with AsyncExitStack() as stack:
            if lease is not None:
                await lease.acquire_or_fail(stop)
                await stack.enter_async_context(lease.keep_renewed())
            liveness.on_role_change(True)
            result = await indexer.catch_up(stop)
            await run_until_stopped(stop, verifier.poll())
    if "notifier" in roles:
        await run_until_stopped(stop, worker.drain(time.monotonic() + DRAIN_TIMEOUT_SECONDS))
    return 0 if result is PollResult.IDLE else 3


async def _follow(
    indexer: IndexerLoop,
    parts: Sequence[Part],
    upkeep: Callable[[], AbstractAsyncContextManager[None]],
    lease: Lease | None,
    liveness: Liveness,
    stop: asyncio.Event,
) -> None:
    """Run the indexer and the periodic jobs; on a shared database only while we hold the leader lease."""

    async def work(stop: asyncio.Event) -> None:
        liveness.on_role_change(True)
        try:
            async with upkeep(), asyncio.TaskGroup() as tasks:
                for part in parts:
                    tasks.create_task(part(stop))
                await indexer.run(stop)
        finally:
            liveness.on_role_change(False)

    async def stand_by(stop: asyncio.Event) -> None:
        # A process that gets the lease at once is no standby: it is ready after its first poll of the chain.
        await run_until_stopped(stop, asyncio.sleep(1.0))
        liveness.is_standby = True
        await stop.wait()

    await (work(stop) if lease is None else lead(lease, work, stand_by, stop))


async def _until_stopped(
    follow: Callable[[asyncio.Event], Coroutine[Any, Any, None]],
    worker: Worker,
    server: HttpServer,
    liveness: Liveness,
    heartbeat: Heartbeat,
    roles: frozenset[str],
    stop: asyncio.Event,
) -> int:
    late = False
    try:
        async with asyncio.TaskGroup() as tasks:
            if "follower" in roles:
                tasks.create_task(_run_part(follow(stop), stop), name="follower")
            tasks.create_task(_run_part(run_heartbeat(liveness, heartbeat, stop), stop), name="heartbeat")
            if "notifier" in roles:
                tasks.create_task(_run_part(worker.run(stop), stop), name="notifier")
            tasks.create_task(_run_part(server.serve(stop), stop), name="http")
            tasks.create_task(_stopped(stop, liveness), name="stop")
    except* TimeoutError:
        late = True
        log.error("service.stopped_late", limit_seconds=STOP_TIMEOUT_SECONDS)
    return 1 if late else 0


async def _stopped(stop: asyncio.Event, liveness: Liveness) -> None:
    """Keep the process alive until ``stop`` is set, whichever parts it runs."""
    await stop.wait()
    liveness.stopping()


async def _run_part(work: Coroutine[Any, Any, None], stop: asyncio.Event) -> None:
    """Run one part; after ``stop`` it has :data:`STOP_TIMEOUT_SECONDS` to end.

    A part that raises stops the whole daemon.
    """
    async with asyncio.timeout(None) as limit, asyncio.TaskGroup() as tasks:

        async def start_timeout() -> None:
            await stop.wait()
            limit.reschedule(asyncio.get_running_loop().time() + STOP_TIMEOUT_SECONDS)

        timer = tasks.create_task(start_timeout())
        await work
        timer.cancel()


@contextmanager
def _signals(stop: asyncio.Event, database: Database) -> Iterator[None]:
    """Set ``stop`` on SIGTERM, SIGINT and, unless nohup(1) ignores it, SIGHUP (terminal closed).

    From then on, waits for other processes' database locks are short.
    """

    def end() -> None:
        database.shorten_waits()
        stop.set()

    loop = asyncio.get_running_loop()
    numbers = [signal.SIGTERM, signal.SIGINT]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    for number in numbers:
        loop.add_signal_handler(number, end)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


@contextmanager
def _following_alone(database: Database) -> Iterator[None]:
    """Exclude other followers on this SQLite file; on a shared database the leader lease does."""
    if not database.is_sqlite:
        yield
        return
    assert database.url.database is not None, "the settings give SQLite a file"
    file = Path(database.url.database).resolve()  # a file with two names is one database
    with hold(file.with_name(f"{file.name}.lock")):
        yield
