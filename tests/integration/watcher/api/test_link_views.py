"""Who looks at payment links, while the database cannot be written."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy.exc import OperationalError

from tests import harness
from watcher.api.link_views import PAUSE_SECONDS, LinkViews
from watcher.api.uses import Uses
from watcher.api.worker_threads import WorkerThreads
from watcher.store import link_views
from watcher.store.database import Connection


async def test_a_page_does_not_wait_for_a_locked_database_again_and_again(tmp_path: Path) -> None:
    """One look in a minute finds out whether it is free; until then nobody is counted, and nobody waits. A
    clock that is set back ends the pause.
    """
    clock, asked, locked = harness.Clock(), [], True
    database, writers = harness.open_database(tmp_path), WorkerThreads(1, "test")

    async def in_write(work: Callable[[Connection], Any]) -> Any:
        asked.append(clock())
        if locked:
            raise OperationalError("INSERT", {}, Exception("database is locked"))
        return await writers.run(lambda: database.transact(work))

    uses = Uses(database, writers, link_views.record_uses, clock)
    views = LinkViews(uses, in_write, clock)
    try:
        for number in range(3):
            await views.see("pl_1", f"203.0.113.{number} browser")
        assert (len(asked), len(uses)) == (1, 0)
        clock.now += PAUSE_SECONDS
        await views.see("pl_1", "203.0.113.1 browser")
        assert len(asked) == 2
        clock.now -= 2 * PAUSE_SECONDS
        locked = False
        for number in range(3):
            await views.see("pl_1", f"203.0.113.{number} browser")
        assert (len(asked), len(uses)) == (3, 3)
    finally:
        writers.close()
        database.close()
