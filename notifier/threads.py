"""Blocking look-ups in daemon threads: one that hangs takes no thread of a pool and holds up no end of the process."""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import Any


def in_daemon_thread(
    loop: asyncio.AbstractEventLoop, look_up: Callable[[], Any], *, name: str
) -> asyncio.Future[Any]:
    """Start a look-up in a daemon thread; return the future of its answer, or of the ``OSError`` that it ended in.

    Raises ``OSError`` when there is no thread for it.
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
            # A UnicodeError or a ValueError, of a name that is none; whatever it is, somebody waits for the end.
            error = OSError(f"not a host name: {caught}")
        # The loop may be gone by now; then nobody waits for the answer.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(settle, result, error)

    try:
        threading.Thread(target=work, name=name, daemon=True).start()
    except RuntimeError as error:
        raise OSError(f"no thread for the look-up: {error}") from error
    return answer
