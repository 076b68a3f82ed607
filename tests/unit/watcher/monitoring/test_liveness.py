"""Liveness: READY, the watchdog and the status line of systemd."""

import asyncio
import time
from pathlib import Path

import pytest

from chain.model import BlockHeader
from watcher.indexer.loop import PollResult
from watcher.indexer.trouble import DatabaseTrouble
from watcher.monitoring.liveness import Liveness, run_heartbeat
from watcher.monitoring.systemd import ServiceManager
from watcher.store.database import Database
from watcher.store.heartbeats import MAX_INTERVAL_SECONDS, Heartbeat, live_roles, silence_limit


class Manager(ServiceManager):
    """Records messages instead of sending them."""

    def __init__(self, *, watchdog: float | None = 600.0) -> None:
        super().__init__(None, watchdog=watchdog)
        self.sent: list[str] = []
        self.notified = asyncio.Event()

    def _send(self, message: str) -> None:
        self.sent.append(message)
        if message.startswith("STATUS="):
            self.notified.set()


def header(height: int) -> BlockHeader:
    return BlockHeader(
        height=height,
        hash=f"0x{height:064x}",
        block_hash=f"0x{height:064x}",
        parent_hash=f"0x{height - 1:064x}",
        time=1_800_000_000,
        burn_height=900_000,
        burn_hash="0x" + "0" * 64,
        burn_time=1_800_000_000,
        tx_count=0,
    )


@pytest.mark.parametrize("turn", PollResult)
def test_ready_is_sent_after_http_is_bound_and_the_first_poll_even_if_it_failed(turn: PollResult) -> None:
    for bound_first in (True, False):
        manager = Manager()
        liveness = Liveness(manager, rest=5.0)
        steps = [liveness.on_http_bound, lambda: liveness.on_poll(turn, None, None)]  # noqa: B023
        first, second = steps if bound_first else steps[::-1]
        first()
        assert "READY=1" not in manager.sent
        second()
        liveness.on_poll(turn, None, None)
        assert manager.sent.count("READY=1") == 1


def test_a_committed_step_counts_as_the_first_poll_so_that_a_long_catch_up_is_no_slow_start() -> None:
    manager = Manager()
    liveness = Liveness(manager, rest=5.0)
    liveness.on_http_bound()
    liveness.on_step()
    assert manager.sent == ["WATCHDOG=1", "READY=1"]
    assert liveness.reached


def test_every_turn_and_step_feeds_the_watchdog() -> None:
    manager = Manager()
    liveness = Liveness(manager, rest=5.0)
    liveness.on_step()
    for turn in PollResult:
        liveness.on_poll(turn, None, None)
    assert manager.sent.count("WATCHDOG=1") == 1 + len(PollResult)


@pytest.mark.parametrize(
    ("turn", "trouble", "line"),
    [
        (PollResult.MOVED, None, "following: block 7, Bitcoin 900000"),
        (PollResult.IDLE, None, "following: block 7, Bitcoin 900000"),
        (PollResult.WAITING, "no source answers", "waiting: no source answers"),
        (PollResult.HALTED, "the chain forked below finality", "halted: the chain forked below finality"),
    ],
)
def test_the_status_line_says_what_the_loop_does(turn: PollResult, trouble: str | None, line: str) -> None:
    manager = Manager()
    Liveness(manager, rest=5.0).on_poll(turn, trouble, header(7))
    assert manager.sent[-1] == f"STATUS={line}"


def test_a_poll_that_reached_no_source_is_no_success() -> None:
    liveness = Liveness(Manager(), rest=5.0)
    liveness.on_poll(PollResult.WAITING, "no source answers", None)
    assert not liveness.reached
    liveness.on_poll(PollResult.IDLE, None, None)
    assert liveness.reached


def test_a_long_rest_widens_the_watchdog() -> None:
    manager = Manager(watchdog=600.0)
    Liveness(manager, rest=400.0)
    assert manager.sent == ["WATCHDOG_USEC=860000000"]


def heart_on(folder: Path, **more: float) -> tuple[Database, Heartbeat]:
    database = Database(f"sqlite:///{folder}/watcher.db")
    return database, Heartbeat(database, limit=silence_limit(5.0), **more)


def test_several_heartbeats_fit_into_the_shortest_watchdog(tmp_path: Path) -> None:
    manager = Manager(watchdog=1.0)
    Liveness(manager, rest=0.0)
    assert manager.watchdog is not None
    assert manager.watchdog > 3 * MAX_INTERVAL_SECONDS


def test_a_process_is_taken_for_gone_after_three_polls_and_ten_seconds_at_least() -> None:
    assert [silence_limit(poll) for poll in (0.5, 5.0, 60.0)] == [10.0, 15.0, 180.0]


async def test_a_process_without_a_follower_beats_by_writing_to_its_database(tmp_path: Path) -> None:
    manager = Manager()
    liveness = Liveness(manager, rest=5.0, roles=frozenset({"notifier", "api"}))
    liveness.on_http_bound()
    database, heartbeat = heart_on(tmp_path)
    database.upgrade()
    stop = asyncio.Event()
    task = asyncio.create_task(run_heartbeat(liveness, heartbeat, stop))
    await asyncio.wait_for(manager.notified.wait(), 10)
    with database.read() as connection:
        assert live_roles(connection, now=time.time()) == {"notifier", "api"}
    stop.set()
    await task
    with database.read() as connection:
        assert live_roles(connection, now=time.time()) == set(), "what stops in order says so"
    database.close()
    assert manager.sent[:2] == ["WATCHDOG=1", "READY=1"]
    assert manager.sent[-1] == "STATUS=serving"
    assert liveness.reached


async def test_a_database_that_takes_no_writes_is_reported_but_feeds_the_watchdog(tmp_path: Path) -> None:
    (tmp_path / "watcher.db").write_bytes(b"no database" * 100)
    manager = Manager()
    liveness = Liveness(manager, rest=5.0, roles=frozenset({"api"}))
    database, heartbeat = heart_on(tmp_path)
    stop = asyncio.Event()
    task = asyncio.create_task(run_heartbeat(liveness, heartbeat, stop))
    await asyncio.wait_for(manager.notified.wait(), 10)
    stop.set()
    await task
    database.close()
    assert manager.sent[0] == "WATCHDOG=1"
    assert manager.sent[1].startswith("STATUS=waiting: the database takes no writes: file is not a database")
    assert liveness.unwritable is not None
    assert not liveness.reached


async def test_the_heartbeats_of_a_follower_do_not_feed_its_watchdog(tmp_path: Path) -> None:
    """A stuck loop must be killed, even if the rest of the process works."""
    manager = Manager()
    liveness = Liveness(manager, rest=5.0)
    liveness.on_role_change(True)
    database, heartbeat = heart_on(tmp_path)
    database.upgrade()
    stop = asyncio.Event()
    task = asyncio.create_task(run_heartbeat(liveness, heartbeat, stop))
    for _ in range(1000):
        await asyncio.sleep(0.01)
        with database.read() as connection:
            if live_roles(connection, now=time.time()) == {"follower"}:
                break
    else:
        pytest.fail("no heartbeat was written")
    stop.set()
    await task
    database.close()
    assert manager.sent == []


async def test_a_standby_that_takes_over_says_so_at_once(tmp_path: Path) -> None:
    """Else other processes would believe for up to ten seconds, one heartbeat, that none follows."""
    liveness = Liveness(Manager(), rest=15.0, roles=frozenset({"follower", "api"}))
    database, _ = heart_on(tmp_path)
    heartbeat = Heartbeat(database, limit=45.0)
    assert heartbeat.interval == MAX_INTERVAL_SECONDS
    database.upgrade()
    stop = asyncio.Event()
    task = asyncio.create_task(run_heartbeat(liveness, heartbeat, stop))

    async def becomes(expected: set[str]) -> None:
        async with asyncio.timeout(MAX_INTERVAL_SECONDS / 2):
            found: frozenset[str] = frozenset()
            while found != expected:
                await asyncio.sleep(0.01)
                with database.read() as connection:
                    found = live_roles(connection, now=time.time())

    await becomes({"api"})
    liveness.on_role_change(True)
    await becomes({"api", "follower"})
    liveness.on_role_change(False)
    await becomes({"api"})
    stop.set()
    await task
    database.close()


def test_a_follower_that_becomes_a_standby_is_known_by_its_heartbeat_again() -> None:
    liveness = Liveness(Manager(), rest=5.0)
    liveness.on_role_change(True)
    liveness.on_poll(PollResult.HALTED, "forked", None)
    assert "follower" in liveness.roles
    liveness.on_role_change(False)
    assert liveness.poll_result is None
    assert "follower" not in liveness.roles
    assert not liveness.is_standby, "it may get the lease again at once"


def test_a_transaction_of_the_ledger_that_fails_means_that_nothing_can_be_written() -> None:
    """A small heartbeat may still fit on a disk that is too full for a block."""
    now = [0.0]
    liveness = Liveness(Manager(), rest=5.0, clock=lambda: now[0])
    liveness.on_role_change(True)
    liveness.on_poll(
        PollResult.WAITING, DatabaseTrouble("database or disk is full (INSERT)"), header(7), header(9)
    )
    liveness.on_heartbeat(None)
    assert liveness.unwritable is not None
    assert "disk is full" in liveness.unwritable
    liveness.on_poll(PollResult.IDLE, None, header(9), header(9))
    assert liveness.unwritable is None
    now[0] = 4.0
    assert liveness.last_poll_seconds == 4.0


def test_what_a_source_says_of_its_database_says_nothing_of_ours() -> None:
    liveness = Liveness(Manager(), rest=5.0)
    liveness.on_role_change(True)
    liveness.on_heartbeat(None)
    liveness.on_poll(PollResult.WAITING, "database.failed: so the source says", header(7), header(9))
    assert liveness.unwritable is None
