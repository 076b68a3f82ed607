"""The lock that threads get in the order in which they ask for it."""

import threading
from collections.abc import Callable

from watcher.store.fair_lock import FairLock

LIMIT = 20.0


def start(work: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait, a bounded number of times, for what another thread is about to do."""
    pause = threading.Event()
    for _ in range(20_000):
        if condition():
            return
        pause.wait(0.001)
    raise AssertionError("it did not happen")


def test_threads_get_the_lock_in_the_order_in_which_they_asked() -> None:
    lock = FairLock()
    order: list[int] = []

    def take(number: int) -> None:
        assert lock.acquire(LIMIT)
        order.append(number)
        lock.release()

    assert lock.acquire(LIMIT)
    threads = []
    for number in range(8):
        threads.append(start(lambda number=number: take(number)))
        wait_until(lambda number=number: lock.waiting == number + 1)
    lock.release()
    for thread in threads:
        thread.join(LIMIT)
    assert order == list(range(8))
    assert lock.waiting == 0


def test_one_who_takes_it_again_and_again_does_not_keep_another_out() -> None:
    lock = FairLock()
    turns: list[str] = []
    assert lock.acquire(LIMIT)

    def take() -> None:
        assert lock.acquire(LIMIT)
        turns.append("other")
        lock.release()

    other = start(take)
    wait_until(lambda: lock.waiting == 1)
    for _ in range(100):
        lock.release()
        assert lock.acquire(LIMIT)
        turns.append("busy")
    lock.release()
    other.join(LIMIT)
    assert turns[0] == "other"


def test_a_wait_ends_and_leaves_the_order_to_those_who_still_wait() -> None:
    lock = FairLock()
    assert lock.acquire(LIMIT)
    assert not lock.acquire(0.0)
    got = threading.Event()

    def take() -> None:
        if lock.acquire(LIMIT):
            got.set()
            lock.release()

    other = start(take)
    wait_until(lambda: lock.waiting == 1)
    assert not lock.acquire(0.0)
    assert lock.waiting == 1
    lock.release()
    assert got.wait(LIMIT)
    other.join(LIMIT)
    assert lock.acquire(0.0)
