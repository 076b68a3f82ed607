"""Periodic jobs: thin out headers, prune the outbox and what is over of sessions and visitors, audit."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial

from apscheduler.schedulers.background import BackgroundScheduler

from chain.follower import MARGIN_BURN_BLOCKS
from notifier import retention
from notifier.database_errors import is_outage, reason_of
from watcher import unforeseen
from watcher.api import idempotency
from watcher.config.settings import Settings
from watcher.domain.clocks import Clocks
from watcher.domain.day_counts import day_of
from watcher.log import get_logger
from watcher.services import dashboard_sessions
from watcher.store import chain_state, link_views, payment_links
from watcher.store.database import Connection, Database, DatabaseError

DAY_SECONDS = 86_400

#: Days after which a form or a checkout does not lead any more to the payment that it has led to.
LEAD_DAYS = 30

#: Default interval of the jobs, seconds.
JOB_INTERVAL_SECONDS = 3600.0

log = get_logger(__name__)


@asynccontextmanager
async def running(
    settings: Settings,
    database: Database,
    call_audit: Callable[[], None],
    *,
    every: float = JOB_INTERVAL_SECONDS,
) -> AsyncIterator[None]:
    """Run the periodic jobs in threads while the block runs; ``call_audit`` runs on the event loop.

    The first run is a quarter of ``every`` (seconds) after the start, so that a daemon that restarts often
    runs them too.
    """
    loop = asyncio.get_running_loop()
    scheduler = BackgroundScheduler(
        timezone="UTC", job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None}
    )

    stop = threading.Event()
    jobs: dict[str, Callable[[], object]] = {
        "thin_headers": lambda: thin_headers(settings, database),
        "prune_outbox": lambda: prune_outbox(settings, database, stop.is_set),
        "prune_idempotency": lambda: prune_idempotency(database, stop.is_set),
        "prune_sign_ins": lambda: prune_sign_ins(settings, database, stop.is_set),
        "prune_visitors": lambda: prune_visitors(database, stop.is_set),
        "audit": lambda: loop.call_soon_threadsafe(call_audit),
    }
    first = datetime.now(UTC) + timedelta(seconds=every / 4)
    for name, job in jobs.items():
        scheduler.add_job(
            guarded(name, job), "interval", seconds=every, jitter=every / 60, id=name, next_run_time=first
        )
    scheduler.start()
    try:
        yield
    finally:
        stop.set()
        # In a thread, because a job may be waiting for the database while the event loop stops other parts.
        await asyncio.to_thread(scheduler.shutdown)


def guarded(name: str, job: Callable[[], object]) -> Callable[[], None]:
    """Wrap a job so that it never raises: errors are logged and counted, and the next run is the retry."""

    def run() -> None:
        try:
            job()
        except DatabaseError as error:
            log.warning("job.failed", job=name, reason=reason_of(error))
            if not is_outage(error):
                unforeseen.report(f"job {name}", error)
        except Exception as error:
            unforeseen.report(f"job {name}", error)

    return run


def thin_headers(settings: Settings, database: Database) -> int:
    """Delete headers below the reach of a reorg; return how many."""
    keep = settings.finality_burn_blocks + 2 * MARGIN_BURN_BLOCKS
    count = database.transact(lambda connection: chain_state.thin_headers(connection, keep_burn_blocks=keep))
    log.info("headers.thinned", count=count)
    return count


def prune_outbox(settings: Settings, database: Database, stopping: Callable[[], bool] = lambda: False) -> int:
    """Prune bodies and answers and dismiss dead deliveries older than the retention; return how many.

    Stops between two batches when the daemon is stopping; the next run continues.
    """
    with database.read() as connection:
        cursor = chain_state.load_cursor(connection)
    # The earlier of both clocks: a machine clock set years ahead must not prune what is a day old.
    chain = cursor.clock.time if cursor is not None else None
    now = Clocks(machine=time.time(), chain=chain).earlier
    before = now - settings.retention_days * DAY_SECONDS
    total, after, more = 0, retention.START, True
    while more and not stopping():
        batch = partial(retention.prune, before=before, now=now, after=after)
        pruned = database.transact(batch)
        total, after, more = total + pruned.count, pruned.after, pruned.more
    log.info("outbox.pruned", count=total)
    return total


def prune_idempotency(database: Database, stopping: Callable[[], bool] = lambda: False) -> int:
    """Delete stored answers of idempotent requests that have expired; return how many."""
    total = _repeat(database, lambda connection: idempotency.prune(connection, now=time.time()), stopping)
    log.info("idempotency.pruned", count=total)
    return total


def prune_sign_ins(
    settings: Settings, database: Database, stopping: Callable[[], bool] = lambda: False
) -> int:
    """Delete sessions, login links and the log of sign-ins older than the retention; return how many rows."""

    def prune(connection: Connection) -> int:
        return dashboard_sessions.prune(connection, now=time.time(), keep_days=settings.retention_days)

    total = _repeat(database, prune, stopping)
    log.info("sign_ins.pruned", count=total)
    return total


def prune_visitors(database: Database, stopping: Callable[[], bool] = lambda: False) -> int:
    """Forget who looked at payment links before today, and which forms led to which payment long ago; return
    how many.
    """
    now = time.time()

    def prune(connection: Connection) -> int:
        starts = payment_links.forget_starts(connection, before=now - LEAD_DAYS * DAY_SECONDS)
        return starts + link_views.forget(connection, before=day_of(now))

    total = _repeat(database, prune, stopping)
    log.info("visitors.pruned", count=total)
    return total


def _repeat(database: Database, work: Callable[[Connection], int], stopping: Callable[[], bool]) -> int:
    """Run transactions until there is nothing left to do, or the daemon is stopping; return how much was
    done.
    """
    total = 0
    while not stopping():
        count = database.transact(work)
        total += count
        if count == 0:
            break
    return total
