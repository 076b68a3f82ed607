"""The notify protocol on a real socket, also without a listener."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from watcher.monitoring.systemd import ServiceManager


@pytest.fixture(params=["path", "abstract"])
def manager_socket(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    """A bound datagram socket and its ``$NOTIFY_SOCKET`` name."""
    name = str(tmp_path / "notify") if request.param == "path" else f"@sbtc-watcher-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bound:
        bound.bind(name.replace("@", "\0", 1) if request.param == "abstract" else name)
        bound.settimeout(5)
        yield bound, name


def received(bound: socket.socket) -> list[str]:
    bound.setblocking(False)
    messages = []
    while True:
        try:
            messages.append(bound.recv(4096).decode())
        except BlockingIOError:
            return messages


def test_every_message_arrives_at_a_path_and_at_an_abstract_name(
    manager_socket: tuple[socket.socket, str],
) -> None:
    bound, name = manager_socket
    manager = ServiceManager.of({"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "30000000"})
    manager.status("following: block 1")
    manager.ready()
    manager.alive()
    manager.stopping()
    assert received(bound) == ["STATUS=following: block 1", "READY=1", "WATCHDOG=1", "STOPPING=1"]


def test_a_status_is_one_line_and_sent_when_it_changes(manager_socket: tuple[socket.socket, str]) -> None:
    bound, name = manager_socket
    manager = ServiceManager.of({"NOTIFY_SOCKET": name})
    for text in ("a\nREADY=1", "a READY=1", "b"):
        manager.status(text)
    assert received(bound) == ["STATUS=a READY=1", "STATUS=b"]


def test_the_watchdog_is_only_fed_when_the_manager_watches(manager_socket: tuple[socket.socket, str]) -> None:
    bound, name = manager_socket
    ServiceManager.of({"NOTIFY_SOCKET": name}).alive()
    assert received(bound) == []


def test_a_loop_that_rests_longer_than_the_watchdog_asks_for_more(
    manager_socket: tuple[socket.socket, str],
) -> None:
    bound, name = manager_socket
    manager = ServiceManager.of({"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "60000000"})
    manager.extend_watchdog(60)
    manager.extend_watchdog(61.5)
    manager.extend_watchdog(61.5)
    assert received(bound) == ["WATCHDOG_USEC=61500000"]
    assert manager.watchdog == 61.5


@pytest.mark.parametrize(
    ("environment", "watchdog"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "1500000"}, 1.5),
        ({"WATCHDOG_USEC": "1500000", "WATCHDOG_PID": str(os.getpid())}, 1.5),
        ({"WATCHDOG_USEC": "1500000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_the_watchdogs_time_is_what_the_environment_says_to_this_process(
    environment: dict[str, str], watchdog: float | None
) -> None:
    assert ServiceManager.of(environment).watchdog == watchdog


def test_a_manager_that_went_away_is_no_error(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    manager = ServiceManager(str(tmp_path / "gone"), watchdog=1.0)
    manager.ready()
    manager.alive()
    ServiceManager(None, watchdog=1.0).ready()


def test_a_manager_that_does_not_read_does_not_block_the_daemon(tmp_path: Path) -> None:
    name = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bound:
        bound.bind(name)
        manager = ServiceManager(name, watchdog=1.0)
        for _ in range(5000):
            manager.alive()
        assert received(bound)[0] == "WATCHDOG=1"
