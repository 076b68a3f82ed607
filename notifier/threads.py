"""Blocking look-ups in daemon threads: a hanging one blocks neither a thread pool nor the process's exit."""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import Any


def in_daemon_thread(
    loop: asyncio.AbstractEventLoop, look_up: Callable[[], Any], *, name: str
) -> asyncio.Future[Any]:
    """Start a look-up in a daemon thread; return a future of its answer or of its ``OSError``.

    Raises ``OSError`` if no thread can be started.
    """
    answer: asyncio.Future[Any] = loop.create_future()

    def settle(result: Any, error: OSError | None) -> None:
        if answer.done():
            return
        if error is None:
            answer.set_result(result)
        else:
            answer.set_exception(error)

    def work() -> None:
        result, error = None, None
        try:
            result = look_up()
        except OSError as caught:
            error = caught
        except Exception as caught:
            # UnicodeError or ValueError for a malformed name; any error must reach the waiting caller.
            error = OSError(f"not a host name: {caught}")
        # A closed loop raises RuntimeError; then no caller is waiting for the answer.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(settle, result, error)

    try:
        threading.Thread(target=work, name=name, daemon=True).start()
    except RuntimeError as error:
        raise OSError(f"no thread for the look-up: {error}") from error
    return answer
