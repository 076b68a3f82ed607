"""The daemon: one asyncio process that owns every task, from the first migration to the last hand-back.

Order of a start: settings, schema, lock, tasks. Order of a stop (SIGTERM, SIGINT): the step in hand is finished, leases
are given back, connections are closed; ten seconds at most.
"""

import asyncio
import signal
import time
from collections.abc import Coroutine, Iterator
from contextlib import AsyncExitStack, ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from chain.api import StacksApi
from chain.follower import MARGIN_BURN_BLOCKS, Follower
from chain.model import ReadRules
from chain.pool import SourcePool
from chain.window import HeaderWindow
from contracts.model import MoneyRules
from notifier.worker import Worker
from watcher import __version__, jobs
from watcher.books import Books
from watcher.database import Database
from watcher.following import Following, Turn, unless
from watcher.ledger import Ledger
from watcher.lock import hold
from watcher.log import get_logger
from watcher.settings import Settings

USER_AGENT = f"sbtc-watcher/{__version__}"

#: The parts that ``--role`` can name; ``api`` has no part of its own yet beyond what ``all`` starts.
ROLES = frozenset({"follower", "notifier", "api"})

#: How long a stopping daemon waits for its parts, seconds.
STOP_WITHIN = 10.0

#: How long ``run --once`` delivers before it leaves the rest to the next run, seconds.
DRAIN_WITHIN = 120.0

log = get_logger(__name__)


def run(settings: Settings, roles: frozenset[str], once: bool) -> int:
    """Run the daemon, or with ``once`` catch up, deliver what is due, and leave.

    Returns the exit code: 0, or 3 when ``once`` could not catch up (halted, or no source answered). Raises the
    errors of :mod:`watcher.errors` when it cannot start.
    """
    with ExitStack() as stack:
        database = Database(settings.database_url)
        stack.callback(database.close)
        database.upgrade()
        make_ledger(
            settings, database
        ).cursor()  # another network's database is refused before anything starts
        if "follower" in roles:
            stack.enter_context(_following_alone(database))
        return asyncio.run(serve(settings, database, roles, once=once))


async def serve(
    settings: Settings,
    database: Database,
    roles: frozenset[str],
    *,
    once: bool = False,
    stop: asyncio.Event | None = None,
) -> int:
    """Run the parts named by ``roles`` until ``stop`` is set or a signal comes; see :func:`run`."""
    stop = stop or asyncio.Event()
    async with AsyncExitStack() as stack:
        stack.enter_context(_signals(stop))
        worker = make_worker(settings, database)
        pool = make_pool(settings)
        stack.push_async_callback(pool.aclose)
        following = make_following(settings, database, pool, worker)
        log.info("service.started", network=settings.network, roles=sorted(roles), database=database.safe_url)
        if once:
            code = await _once(following, worker, roles, stop)
        else:
            code = await _until_stopped(settings, database, following, worker, roles, stop)
        log.info("service.stopped")
        return code


async def _once(following: Following, worker: Worker, roles: frozenset[str], stop: asyncio.Event) -> int:
    turn = await following.catch_up(stop) if "follower" in roles else Turn.IDLE
    if "notifier" in roles:
        await unless(stop, worker.drain(time.monotonic() + DRAIN_WITHIN))
    return 0 if turn is Turn.IDLE else 3


async def _until_stopped(
    settings: Settings,
    database: Database,
    following: Following,
    worker: Worker,
    roles: frozenset[str],
    stop: asyncio.Event,
) -> int:
    late = False
    with jobs.running(settings, database) if "follower" in roles else nullcontext():
        try:
            async with asyncio.TaskGroup() as tasks:
                if "follower" in roles:
                    tasks.create_task(_within(following.run(stop), stop), name="follower")
                if "notifier" in roles:
                    tasks.create_task(_within(worker.run(stop), stop), name="notifier")
                tasks.create_task(_stopped(stop), name="stop")
        except* TimeoutError:
            late = True
            log.error("service.stopped_late", limit_seconds=STOP_WITHIN)
    return 1 if late else 0


async def _stopped(stop: asyncio.Event) -> None:
    """Keep the process alive until it is told to stop, whatever parts it runs."""
    await stop.wait()


async def _within(work: Coroutine[Any, Any, None], stop: asyncio.Event) -> None:
    """Run one part; after ``stop`` it may take :data:`STOP_WITHIN` seconds. A part that dies stops the whole daemon."""
    async with asyncio.timeout(None) as limit, asyncio.TaskGroup() as tasks:

        async def call_time() -> None:
            await stop.wait()
            limit.reschedule(asyncio.get_running_loop().time() + STOP_WITHIN)

        timekeeper = tasks.create_task(call_time())
        await work
        timekeeper.cancel()


def make_pool(settings: Settings) -> SourcePool:
    """Make the pool of the settings' sources."""
    key = settings.api_key.get_secret_value() if settings.api_key else None
    return SourcePool(
        [StacksApi(url, api_key=key, user_agent=USER_AGENT) for url in settings.api_urls],
        requests_per_minute=settings.api_requests_per_minute,
        requests_per_month=settings.api_requests_per_month,
    )


def make_following(settings: Settings, database: Database, pool: SourcePool, worker: Worker) -> Following:
    """Make the follower's loop on a database; the worker is woken when there is something to tell."""
    tokens = {spec.contract for spec in settings.assets.values() if spec.contract is not None}
    watched = frozenset(tokens | ({settings.payment_contract} if settings.payment_contract else set()))
    follower = Follower(
        pool,
        HeaderWindow(),
        ReadRules(watched_contracts=watched),
        poll_interval=settings.poll_interval,
        finality_burn_blocks=settings.finality_burn_blocks,
    )
    return Following(
        make_ledger(settings, database),
        follower,
        pool,
        network=settings.network,
        start_height=None if settings.start_height == "tip" else settings.start_height,
        window_burn_blocks=settings.finality_burn_blocks + MARGIN_BURN_BLOCKS,
        poll_interval=settings.poll_interval,
        on_events=worker.wake,
    )


def make_ledger(settings: Settings, database: Database) -> Ledger:
    """Make the ledger of a database under these settings."""
    return Ledger(database, money_rules(settings), Books.of(settings), now=time.time)


def money_rules(settings: Settings) -> MoneyRules:
    """Return what counts as money under these settings."""
    return MoneyRules(
        assets=frozenset(spec.identifier for spec in settings.assets.values()),
        sbtc_contract=settings.sbtc_contract,
        payment_contract=settings.payment_contract,
        ignored_senders=settings.ignored_senders,
    )


def make_worker(settings: Settings, database: Database) -> Worker:
    """Make the delivery worker on a database."""
    return Worker(
        database,
        schedule=settings.webhook_retry_schedule,
        timeout=settings.webhook_timeout,
        concurrency=settings.webhook_concurrency,
        endpoint_concurrency=settings.webhook_endpoint_concurrency,
        allow_http=settings.webhook_allow_http,
        allow_private=settings.webhook_allow_private,
        disable_after=settings.webhook_disable_after,
        user_agent=USER_AGENT,
    )


@contextmanager
def _signals(stop: asyncio.Event) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


@contextmanager
def _following_alone(database: Database) -> Iterator[None]:
    """Make sure that no other process follows the chain on this database."""
    if not database.is_sqlite:
        yield
        return
    assert database.url.database is not None, "the settings give SQLite a file"
    file = Path(database.url.database).resolve()  # two names of one file are one database
    with hold(file.with_name(f"{file.name}.lock")):
        yield
