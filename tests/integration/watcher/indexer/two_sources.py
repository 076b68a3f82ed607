"""Two sources of one chain, one of which may lie, and the daemon's loop on a database."""

import copy
from collections.abc import Callable
from typing import Any

from sqlalchemy import select

from chain.testing import ScriptedApi, ScriptedChain
from tests import harness
from watcher.indexer.loop import IndexerLoop, PollResult
from watcher.store.database import Database
from watcher.store.schema import transfer

START = 1_800_000_000

Json = Any


class LyingSourceFixture:
    """One chain, a lying and an honest API of it, and the daemon's loop on a database."""

    def __init__(self, chain: ScriptedChain, apis: list[ScriptedApi], database: Database) -> None:
        self.chain = chain
        self.liar, self.honest = apis
        self.database = database
        self.clock = harness.Clock(START)
        self.ledger = harness.make_ledger(database, self.clock)
        self.following: IndexerLoop
        self.following, self.pool = harness.make_indexer(self.ledger, [api.url for api in apis], self.clock)

    def lie(self, **lies: Callable[[Json], None]) -> None:
        """Let the first API change the answers of these routes."""

        def tamper(route: str, body: Json) -> Json:
            if route in lies:
                body = copy.deepcopy(body)
                lies[route](body)
            return body

        self.liar.faults.tamper = tamper

    async def poll_once(self) -> PollResult:
        self.clock.now += 5
        return await self.following.poll()

    async def catch_up(self) -> None:
        """Poll once and expect the newest block to be applied: the source after a failing one is used."""
        assert await self.poll_once() is PollResult.MOVED
        cursor = self.ledger.cursor()
        assert cursor is not None
        assert cursor.clock.hash == self.chain.tip.hash

    def state_of_the_liar(self) -> dict[str, Any]:
        cursor = self.ledger.cursor()
        assert cursor is not None
        assert cursor.sources is not None
        return next(row for row in cursor.sources if row["url"] == self.liar.url)

    def stored(self) -> list[tuple[int, int]]:
        """Return height and amount of every canonical transfer."""
        with self.database.read() as connection:
            rows = connection.execute(select(transfer).where(transfer.c.canonical))
            return sorted((row.height, row.amount) for row in rows)


def every_row(change: Callable[[Json], None]) -> Callable[[Json], None]:
    """Change each payment of a list of transactions."""

    def changed(page: Json) -> None:
        for row in page["results"]:
            if row["type"] == "token_transfer":
                change(row)

    return changed
