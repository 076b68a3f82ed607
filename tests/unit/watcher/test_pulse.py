"""When systemd hears READY, what feeds its watchdog, and what its status line says."""

import asyncio
from pathlib import Path

import pytest

from chain.model import BlockHeader
from watcher.database import Database
from watcher.following import Turn
from watcher.notify import ServiceManager
from watcher.pulse import HEARTBEAT, Pulse, heartbeat


class Manager(ServiceManager):
    """Keeps what would be sent."""

    def __init__(self, *, watchdog: float | None = 600.0) -> None:
        super().__init__(None, watchdog=watchdog)
        self.sent: list[str] = []
        self.told = asyncio.Event()

    def _send(self, message: str) -> None:
        self.sent.append(message)
        if message.startswith("STATUS="):
            self.told.set()


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


@pytest.mark.parametrize("turn", Turn)
def test_ready_comes_after_http_is_bound_and_the_first_look_whatever_it_found(turn: Turn) -> None:
    for bound_first in (True, False):
        manager = Manager()
        pulse = Pulse(manager, rest=5.0)
        steps = [pulse.bound, lambda: pulse.turned(turn, None, None)]  # noqa: B023
        first, second = steps if bound_first else steps[::-1]
        first()
        assert "READY=1" not in manager.sent
        second()
        pulse.turned(turn, None, None)
        assert manager.sent.count("READY=1") == 1


def test_a_committed_step_ends_the_first_look_so_that_a_long_catch_up_is_no_slow_start() -> None:
    manager = Manager()
    pulse = Pulse(manager, rest=5.0)
    pulse.bound()
    pulse.stepped()
    assert manager.sent == ["WATCHDOG=1", "READY=1"]
    assert pulse.reached


def test_every_turn_and_step_feeds_the_watchdog() -> None:
    manager = Manager()
    pulse = Pulse(manager, rest=5.0)
    pulse.stepped()
    for turn in Turn:
        pulse.turned(turn, None, None)
    assert manager.sent.count("WATCHDOG=1") == 1 + len(Turn)


@pytest.mark.parametrize(
    ("turn", "trouble", "line"),
    [
        (Turn.MOVED, None, "following: block 7, Bitcoin 900000"),
        (Turn.IDLE, None, "following: block 7, Bitcoin 900000"),
        (Turn.WAITING, "no source answers", "waiting: no source answers"),
        (Turn.HALTED, "the chain forked below finality", "halted: the chain forked below finality"),
    ],
)
def test_the_status_line_says_what_the_loop_does(turn: Turn, trouble: str | None, line: str) -> None:
    manager = Manager()
    Pulse(manager, rest=5.0).turned(turn, trouble, header(7))
    assert manager.sent[-1] == f"STATUS={line}"


def test_a_look_that_reached_no_source_is_not_a_look_that_succeeded() -> None:
    pulse = Pulse(Manager(), rest=5.0)
    pulse.turned(Turn.WAITING, "no source answers", None)
    assert not pulse.reached
    pulse.turned(Turn.IDLE, None, None)
    assert pulse.reached


def test_a_long_rest_widens_the_watchdog() -> None:
    manager = Manager(watchdog=600.0)
    Pulse(manager, rest=400.0)
    assert manager.sent == ["WATCHDOG_USEC=860000000"]


def test_several_heartbeats_fit_into_the_shortest_watchdog() -> None:
    manager = Manager(watchdog=1.0)
    Pulse(manager, rest=0.0)
    assert manager.watchdog is not None
    assert manager.watchdog > 3 * HEARTBEAT


async def test_a_process_without_a_follower_beats_by_looking_at_its_database(tmp_path: Path) -> None:
    manager = Manager()
    pulse = Pulse(manager, rest=5.0)
    pulse.bound()
    database = Database(f"sqlite:///{tmp_path}/watcher.db")
    stop = asyncio.Event()
    task = asyncio.create_task(heartbeat(pulse, database, stop))
    await asyncio.wait_for(manager.told.wait(), 10)
    stop.set()
    await task
    database.close()
    assert manager.sent[:2] == ["WATCHDOG=1", "READY=1"]
    assert manager.sent[-1] == "STATUS=serving"
    assert pulse.reached


async def test_a_database_that_answers_with_an_error_is_told_but_feeds_the_watchdog(tmp_path: Path) -> None:
    (tmp_path / "watcher.db").write_bytes(b"no database" * 100)
    manager = Manager()
    pulse = Pulse(manager, rest=5.0)
    database = Database(f"sqlite:///{tmp_path}/watcher.db")
    stop = asyncio.Event()
    task = asyncio.create_task(heartbeat(pulse, database, stop))
    await asyncio.wait_for(manager.told.wait(), 10)
    stop.set()
    await task
    database.close()
    assert manager.sent[0] == "WATCHDOG=1"
    assert manager.sent[1].startswith("STATUS=waiting: the database does not answer")
    assert not pulse.reached


async def test_a_follower_that_becomes_a_standby_is_known_by_its_heartbeat_again(tmp_path: Path) -> None:
    pulse = Pulse(Manager(), rest=5.0)
    pulse.turned(Turn.HALTED, "forked", None)
    database = Database(f"sqlite:///{tmp_path}/watcher.db")
    stop = asyncio.Event()
    stop.set()
    await heartbeat(pulse, database, stop)
    database.close()
    assert pulse.turn is None
