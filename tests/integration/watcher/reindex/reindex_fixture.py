"""A fixture whose chain is served by an API, with helpers that lose rows and read blocks again."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from sqlalchemy import delete, select

from chain.api.client import StacksApi
from chain.source_pool import SourcePool
from chain.testing import ScriptedApi
from notifier import schema as notifier_schema
from tests import harness
from tests.integration.watcher.ledger_fixture import LedgerFixture
from watcher.reindex.accept_reorg import Accept, Acceptance
from watcher.reindex.report import Progress, ReindexRequest, Report
from watcher.reindex.retrying_source import Sources
from watcher.reindex.run import Reindex
from watcher.store import chain_state, schema
from watcher.store import transfers as transfer_store

Job = TypeVar("Job", Reindex, Accept)

#: Every table that a reindex may write to, except its own log.
WRITTEN = (
    schema.transfer,
    schema.attempt,
    schema.refund,
    schema.stray,
    schema.intent,
    schema.transition,
    schema.status_count,
    schema.cursor,
    schema.block,
    schema.act,
    notifier_schema.event,
    notifier_schema.delivery,
)


class Reading:
    """Reads the fixture's blocks again over real HTTP; waits only move the test's clock."""

    def __init__(self, fixture: LedgerFixture, apis: Sequence[ScriptedApi]) -> None:
        self.fixture = fixture
        self.apis = list(apis)
        self.api = self.apis[0]

    async def reindex(self, *, show: Callable[[Progress], None] = lambda _: None, **request: Any) -> Report:
        """Reindex, by default from the first block."""
        if not {"start", "since", "intent"} & set(request):
            request["start"] = 1
        async with self._job(Reindex) as run:
            run.show = show
            return await run.run(ReindexRequest(**request))

    async def accept(self, lowest: int, *, reason: str = "checked", **more: Any) -> Acceptance:
        """Accept the branch that the sources show."""
        async with self._job(Accept) as accept:
            return await accept.run(lowest=lowest, reason=reason, actor="test", **more)

    @asynccontextmanager
    async def _job(self, kind: type[Job]) -> AsyncIterator[Job]:
        fixture = self.fixture
        async with self.sources() as sources:
            yield kind(
                fixture.database, harness.RULES, fixture.settler, sources, harness.WATCHED, now=fixture.clock
            )

    @asynccontextmanager
    async def sources(self) -> AsyncIterator[Sources]:
        clock = self.fixture.clock
        pool = SourcePool(
            [StacksApi(api.url, user_agent="test") for api in self.apis],
            clock=clock,
            sleep=clock.sleep,
            rng=lambda: 0.5,
        )
        try:
            yield Sources(pool, network="mainnet", sleep=clock.sleep)
        finally:
            await pool.aclose()

    # Losses

    def lose(self, *, transfers: bool = True, attempts: bool = True, refunds: bool = True) -> None:
        """Empty the tables of facts from the chain."""
        with self.fixture.database.begin() as connection:
            if transfers:
                connection.execute(delete(schema.stray))
                connection.execute(delete(schema.transfer))
            if attempts:
                connection.execute(delete(schema.attempt))
            if refunds:
                connection.execute(delete(schema.refund))

    def forget_headers(self, keep_burn_blocks: int) -> None:
        """Prune headers as the daily job does, but sooner."""
        with self.fixture.database.begin() as connection:
            chain_state.thin_headers(connection, keep_burn_blocks=keep_burn_blocks)

    def miss(self, mine: Callable[[], Any]) -> None:
        """Let the daemon apply blocks without storing the facts in them."""
        kept = transfer_store.put_transfers, transfer_store.put_attempts, transfer_store.put_refunds
        transfer_store.put_transfers = lambda *_, **__: None  # type: ignore[assignment]
        transfer_store.put_attempts = lambda *_, **__: None  # type: ignore[assignment]
        transfer_store.put_refunds = lambda *_, **__: None  # type: ignore[assignment]
        try:
            mine()
        finally:
            transfer_store.put_transfers, transfer_store.put_attempts, transfer_store.put_refunds = kept

    # Results

    def snapshot(self) -> dict[str, list[str]]:
        """Return every row of every such table, comparable."""
        with self.fixture.database.read() as connection:
            return {
                table.name: sorted(map(repr, connection.execute(select(table)).all())) for table in WRITTEN
            }

    def rows(self, table: Any) -> list[Any]:
        with self.fixture.database.read() as connection:
            return list(connection.execute(select(table)).all())
