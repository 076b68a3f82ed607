"""What has to be done now and then: thin out headers, empty old bodies. Never part of the hot path."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from apscheduler.schedulers.background import BackgroundScheduler

from chain.follower import MARGIN_BURN_BLOCKS
from notifier import outbox
from watcher import blocks
from watcher.database import Database
from watcher.log import get_logger
from watcher.settings import Settings

DAY = 86_400

log = get_logger(__name__)


@contextmanager
def running(settings: Settings, database: Database) -> Iterator[None]:
    """Run the periodic jobs in a thread of their own while the block runs."""
    scheduler = BackgroundScheduler(timezone="UTC", job_defaults={"coalesce": True, "max_instances": 1})
    scheduler.add_job(thin_headers, "interval", (settings, database), hours=1, id="thin_headers")
    scheduler.add_job(prune_outbox, "interval", (settings, database), hours=1, id="prune_outbox")
    scheduler.start()
    try:
        yield
    finally:
        scheduler.shutdown(wait=True)


def thin_headers(settings: Settings, database: Database) -> int:
    """Delete headers below what a reorg can reach; return how many."""
    with database.begin() as connection:
        count = blocks.thin_headers(
            connection, keep_burn_blocks=settings.finality_burn_blocks + 2 * MARGIN_BURN_BLOCKS
        )
    log.info("headers.thinned", count=count)
    return count


def prune_outbox(settings: Settings, database: Database) -> int:
    """Empty the bodies and logged answers that are older than the retention; return how many."""
    before = time.time() - settings.retention_days * DAY
    total = 0
    while True:
        with database.begin() as connection:
            count = outbox.prune(connection, before=before)
        total += count
        if count == 0:
            break
    log.info("outbox.pruned", count=total)
    return total
