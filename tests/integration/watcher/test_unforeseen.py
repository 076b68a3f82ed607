"""An unforeseen exception sets aside the piece of work that raised it; the component continues."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import IntegrityError
from structlog.testing import capture_logs

from chain.api import parse as parser
from chain.mempool import MempoolReader
from chain.source_health import SourceState
from chain.testing import ScriptedApi, ScriptedChain, txs
from tests import harness
from tests.integration.chain.api.websocket_fixture import waking
from tests.integration.watcher.ledger_fixture import PAYER, SHOP, LedgerFixture
from watcher import unforeseen
from watcher.api import long_poll
from watcher.api.long_poll import LongPoll
from watcher.daemon import periodic
from watcher.errors import LeaseLost
from watcher.indexer import leader
from watcher.indexer.leader import Lease
from watcher.indexer.loop import PollResult
from watcher.indexer.mempool import MempoolFlags
from watcher.monitoring import liveness
from watcher.monitoring.metrics import Metrics
from watcher.monitoring.systemd import ServiceManager
from watcher.reindex.audit import Audit
from watcher.store import transfers as transfer_store
from watcher.store.heartbeats import Heartbeat

Counted = Callable[[str], float]


def boom(*_: object, **__: object) -> Any:
    raise RuntimeError("a bug")


def failing_first(work: Callable[..., Any]) -> Callable[..., Any]:
    """Return work that fails at the first call and works from then on."""
    calls = 0

    def run(*arguments: Any, **more: Any) -> Any:
        nonlocal calls
        calls += 1
        return boom() if calls == 1 else work(*arguments, **more)

    return run


@pytest.fixture
def counted() -> Counted:
    """Return a function that says how often a place was counted within this test."""

    def count(where: str) -> float:
        return unforeseen.COUNTER.labels(where)._value.get()

    before = {labels: metric._value.get() for labels, metric in unforeseen.COUNTER._metrics.items()}
    return lambda where: count(where) - before.get((where,), 0.0)


@pytest.fixture(autouse=True)
def _nothing_logged_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unforeseen, "_logged", {})


@contextmanager
def logged() -> Iterator[list[Any]]:
    """Collect what is logged as unforeseen."""
    with capture_logs() as lines:
        found: list[Any] = []
        yield found
        found += [line for line in lines if line["event"] == "unforeseen"]


class LoopFixture:
    """The loop over some sources, one of which may be followed."""

    def __init__(self, fixture: LedgerFixture, urls: list[str]) -> None:
        self.ledger = harness.make_ledger(fixture.database, fixture.clock)
        self.clock = fixture.clock
        self.following, self.pool = harness.make_indexer(self.ledger, urls, fixture.clock)
        self.troubles: list[str | None] = []

    async def poll_once(self) -> PollResult:
        self.clock.now += 61
        result = await self.following.poll()
        self.troubles.append(self.following._trouble.last)
        return result


@pytest.fixture
async def rig(fixture: LedgerFixture) -> AsyncIterator[LoopFixture]:
    async with ScriptedApi(fixture.chain, ping_interval=None) as api:
        rig = LoopFixture(fixture, [api.url])
        await rig.poll_once()
        yield rig
        await rig.pool.aclose()


async def test_a_poll_that_fails_unforeseen_is_a_failed_poll_and_nothing_is_lost(
    rig: LoopFixture, fixture: LedgerFixture, counted: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loop logs the traceback, restarts from the database, and matches payments that came meanwhile."""
    intent = fixture.create()
    fixture.chain.mine([txs.sbtc_transfer(PAYER, SHOP, 50_000, fixture.memo(intent))])
    monkeypatch.setattr(transfer_store, "put_transfers", failing_first(transfer_store.put_transfers))
    with logged() as lines:
        assert await rig.poll_once() is PollResult.WAITING
        assert rig.troubles[-1] == "unforeseen RuntimeError: a bug"
        assert fixture.status(intent) == "pending"
        assert await rig.poll_once() is PollResult.MOVED
    assert rig.troubles[-1] is None
    assert fixture.status(intent) in ("processing", "succeeded")
    assert counted("follower") == 1
    [line] = lines
    assert (line["where"], line["error"]) == ("follower", "RuntimeError")
    assert line["exc_info"].__traceback__ is not None


async def test_a_block_that_never_can_be_applied_stops_the_cursor_and_fills_no_log(
    rig: LoopFixture, fixture: LedgerFixture, counted: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is never skipped; each poll is counted, one of them is logged."""
    fixture.chain.mine(n=2)
    before = rig.ledger.cursor()
    monkeypatch.setattr(transfer_store, "put_transfers", boom)
    with logged() as lines:
        for _ in range(4):
            assert await rig.poll_once() is PollResult.WAITING
    assert rig.ledger.cursor() == before or rig.ledger.cursor().clock == before.clock  # type: ignore[union-attr]
    assert counted("follower") == 4
    assert len(lines) == 1


async def test_a_lost_lease_still_ends_the_loop(rig: LoopFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """Errors meant for the caller of the loop are not swallowed."""

    def lost(*_: object) -> Any:
        raise LeaseLost("another process took over")

    rig.following._loaded = False
    monkeypatch.setattr(rig.ledger, "cursor", lost)
    with pytest.raises(LeaseLost):
        await rig.poll_once()


async def test_a_cancelled_poll_is_cancelled(rig: LoopFixture, counted: Counted) -> None:
    """A stop is not an unforeseen exception."""
    task = asyncio.create_task(rig.poll_once())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert counted("follower") == 0


async def test_an_answer_that_cannot_be_read_is_its_sources_failure_and_the_next_one_is_asked(
    fixture: LedgerFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever a parser raises about one source, a correct second source is followed."""
    page = parser.tx_page

    def confused(body: Any, **more: Any) -> Any:
        if body.get("liar"):
            raise KeyError("results")
        return page(body, **more)

    monkeypatch.setattr(parser, "tx_page", confused)
    seen: list[Exception] = []
    async with (
        ScriptedApi(fixture.chain, ping_interval=None) as liar,
        ScriptedApi(fixture.chain, ping_interval=None) as honest,
    ):
        rig = LoopFixture(fixture, [liar.url, honest.url])
        rig.pool._sources[0].api._requests._on_unforeseen = seen.append
        await rig.poll_once()
        fetch = rig.pool._sources[0].api._fetcher.json
        rig.pool._sources[0].api._fetcher.json = lambda answer: fetch(answer) | {"liar": True}  # type: ignore[method-assign, operator]
        fixture.chain.mine(n=2)
        # Before the back-off of the first one has ended.
        turns = [await rig.following.poll() for _ in range(2)]
        assert PollResult.MOVED in turns
        assert rig.pool.health()[0].state is SourceState.FAILING
        await rig.pool.aclose()
    assert [type(error) for error in seen[:1]] == [KeyError]


async def test_a_reading_of_the_mempool_that_fails_unforeseen_is_left_out(
    fixture: LedgerFixture, counted: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The flags are for display only; a failure ends nothing."""
    fixture.create()
    async with ScriptedApi(fixture.chain, ping_interval=None) as api:
        rig = LoopFixture(fixture, [api.url])
        await rig.poll_once()
        part = MempoolFlags(
            fixture.database,
            rig.pool,
            harness.RULES,
            MempoolReader(harness.WATCHED.watched_contracts),
            interval=15.0,
            clock=fixture.clock,
            sleep=fixture.clock.sleep,
        )
        with monkeypatch.context() as patch:
            patch.setattr(MempoolReader, "read", boom)
            await part.poll()
        assert counted("mempool") == 1
        with monkeypatch.context() as patch:
            patch.setattr(MempoolFlags, "_show", boom)
            await part.poll()
        assert counted("mempool") == 2
        await part.poll()
        assert counted("mempool") == 2
        await rig.pool.aclose()


async def test_an_audit_that_fails_unforeseen_leaves_the_next_one(
    rig: LoopFixture, fixture: LedgerFixture, counted: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An audit is a spot check: one that fails is counted and dropped."""
    audit = Audit(
        fixture.database,
        rig.pool,
        harness.RULES,
        fixture.settler,
        harness.WATCHED,
        network="mainnet",
        finality_burn_blocks=6,
        now=fixture.clock,
    )
    monkeypatch.setattr(audit, "_draw_range", boom)
    assert await audit.once() is None
    assert counted("audit") == 1


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
async def test_a_job_that_fails_runs_again_and_the_others_run(
    fixture: LedgerFixture, counted: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each job catches its own exceptions."""
    monkeypatch.setattr(periodic, "thin_headers", boom)
    called: asyncio.Queue[str] = asyncio.Queue()
    async with periodic.running(
        fixture.settings, fixture.database, lambda: called.put_nowait("audit"), every=0.05
    ):
        async with asyncio.timeout(20):
            while counted("job thin_headers") < 2:
                assert await called.get() == "audit"


def test_a_job_that_the_database_refuses_is_told_without_its_values(counted: Counted) -> None:
    """A wrong SQL statement is a bug, and counted as unforeseen."""

    def refused() -> None:
        raise IntegrityError(
            "INSERT INTO x VALUES (?)", ("secret",), Exception("UNIQUE constraint failed: x.id")
        )

    with capture_logs() as lines:
        periodic.guarded("prune", refused)()
    assert counted("job prune") == 1
    assert [line["reason"] for line in lines if line["event"] == "job.failed"] == [
        "UNIQUE constraint failed: x.id (INSERT)"
    ]


async def test_a_heartbeat_goes_on(tmp_path: Path, counted: Counted, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process without a follower logs the problem and keeps running."""
    made = liveness.Liveness(ServiceManager(None, watchdog=None), rest=5.0, roles=frozenset({"api"}))
    troubles: list[str | None] = []
    stop = asyncio.Event()

    def wrote(trouble: str | None) -> None:
        troubles.append(trouble)
        if trouble is None:
            stop.set()

    monkeypatch.setattr(made, "on_heartbeat", wrote)
    database = harness.open_database(tmp_path)
    heartbeat = Heartbeat(database, limit=0.04)
    monkeypatch.setattr(heartbeat, "write", failing_first(heartbeat.write))
    async with asyncio.timeout(10):
        await liveness.run_heartbeat(made, heartbeat, stop)
    database.close()
    assert troubles[:2] == ["RuntimeError", None]
    assert counted("heartbeat") == 1


async def test_those_who_wait_are_served_by_the_next_read(
    counted: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loop behind long polls survives a failed poll."""
    monkeypatch.setattr(long_poll, "POLL_SECONDS", 0.01)

    async def read(ids: Collection[str]) -> Mapping[str, str]:
        answer: Mapping[str, str] = found(ids)
        return answer

    found = failing_first(lambda ids: dict.fromkeys(ids, "succeeded"))
    waiting, stop = LongPoll(read), asyncio.Event()
    running = asyncio.create_task(waiting.run(stop))
    async with asyncio.timeout(10):
        await waiting.wait_for_change("x", "a", "pending", 60)
        stop.set()
        await running
    assert counted("long_poll") == 1


async def test_a_lease_that_fails_unforeseen_is_asked_for_again(
    fixture: LedgerFixture, counted: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither waiting for the lease nor renewing it ends; a lost lease does end the renewal."""
    monkeypatch.setattr(leader, "LEASE_SECONDS", 0.05)
    lease, renewed = Lease(fixture.database), asyncio.Event()
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(lease, "acquire", failing_first(lambda: True))
    monkeypatch.setattr(lease, "_holder", lambda: None)
    monkeypatch.setattr(lease, "release", boom)
    monkeypatch.setattr(lease, "renew", failing_first(lambda: loop.call_soon_threadsafe(renewed.set)))
    async with asyncio.timeout(10):
        assert await lease.wait_for(asyncio.Event())
        assert counted("lease") == 1
        async with lease.keep_renewed():
            await renewed.wait()
    assert counted("lease") == 3

    def lost() -> None:
        raise LeaseLost("another process took over")

    monkeypatch.setattr(lease, "renew", lost)
    with pytest.raises(LeaseLost):
        async with asyncio.timeout(10), lease.keep_renewed():
            await asyncio.Event().wait()


async def test_a_socket_that_fails_unforeseen_is_a_lost_socket() -> None:
    """The WebSocket is opened again after a pause, and the exception is reported."""
    seen: list[Exception] = []
    async with (
        ScriptedApi(ScriptedChain(), ping_interval=None) as api,
        waking(api.url, on_unforeseen=seen.append) as alarm,
    ):
        await alarm.open()
        real = alarm.websocket._handle
        alarm.websocket._handle = boom  # type: ignore[method-assign]
        api.chain.mine()
        await alarm.lost("a bug")
        alarm.websocket._handle = real  # type: ignore[method-assign]
        await alarm.time.advance(2.0)
        await alarm.open()
    assert [type(error) for error in seen] == [RuntimeError]


def test_the_count_is_among_the_metrics(counted: Counted) -> None:
    """By place, so that an alert can name it."""
    unforeseen.report("attempt", ValueError("odd"))
    text = Metrics().exposition()[0].decode()
    assert 'sbtc_watcher_unforeseen_total{where="attempt"}' in text
    assert counted("attempt") == 1


def test_the_same_exception_is_logged_again_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    """Work retried every second does not fill the log; another exception or place is logged at once."""
    now = [1000.0]
    monkeypatch.setattr(unforeseen.time, "monotonic", lambda: now[0])
    with logged() as lines:
        for error in (ValueError("a"), ValueError("a"), ValueError("b")):
            unforeseen.report("one", error)
        unforeseen.report("two", ValueError("b"))
        now[0] += unforeseen.LOG_AGAIN_AFTER_SECONDS
        unforeseen.report("one", ValueError("b"))
    assert [line["where"] for line in lines] == ["one", "one", "two", "one"]
