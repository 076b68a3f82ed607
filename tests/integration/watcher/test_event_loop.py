"""Slow DNS look-ups take no thread from the database work, nor from each other."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from chain.api.client import StacksApi
from chain.api.transport import Timeouts
from chain.api.websocket import BlockWebSocket
from chain.errors import SourceUnavailable
from chain.source_pool import SourcePool
from chain.testing import ScriptedApi, ScriptedChain
from watcher import event_loop
from watcher.concurrency import run_in_thread

HANGING = 40
SOON = Timeouts(connect=0.5, read=5, total=5)


class Names:
    """A resolver whose servers do not answer for ``*.hangs.test`` until ``end`` is set."""

    def __init__(self, ask: Any) -> None:
        self.end = threading.Event()
        self.asked: list[str] = []
        self._ask = ask

    def getaddrinfo(self, host: Any, *rest: Any, **more: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else str(host)
        if name.endswith(".hangs.test"):
            self.asked.append(name)
            self.end.wait()
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return self._ask(host, *rest, **more)


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[Names]:
    names = Names(socket.getaddrinfo)
    monkeypatch.setattr(socket, "getaddrinfo", names.getaddrinfo)
    yield names
    names.end.set()
    for thread in threading.enumerate():
        if thread.name in ("name-lookup", "webhook-dns"):
            thread.join(10)


def test_database_work_goes_on_while_look_ups_of_sources_hang_and_so_does_a_stop(names: Names) -> None:
    async def main() -> str:
        sources = [StacksApi(f"http://n{n}.hangs.test", timeouts=SOON) for n in range(HANGING)]
        websocket = BlockWebSocket(lambda: ["http://socket.hangs.test"], lambda: None)
        stop = asyncio.Event()
        socket_task = asyncio.create_task(websocket.run(stop))
        pool = SourcePool(sources)
        with pytest.raises(SourceUnavailable):
            await pool.check("mainnet")
        assert len(set(names.asked)) == HANGING + 1
        async with asyncio.timeout(20):
            done = await run_in_thread(lambda: "stored")
        stop.set()
        await socket_task
        await pool.aclose()
        return done

    # It returns although no look-up has ended.
    assert event_loop.run(main()) == "stored"
    assert not names.end.is_set()


def test_a_source_is_reached_by_name_while_others_hang(names: Names) -> None:
    async def main() -> None:
        chain = ScriptedChain()
        async with ScriptedApi(chain, ping_interval=None) as api:
            pool = SourcePool(
                [
                    *(StacksApi(f"http://n{n}.hangs.test", timeouts=SOON) for n in range(HANGING)),
                    StacksApi(api.url.replace("127.0.0.1", "localhost")),
                ]
            )
            await pool.check("mainnet")
            assert pool.pick().url.startswith("http://localhost:")
            await pool.aclose()

    event_loop.run(main())


def test_look_ups_of_one_name_are_one_and_more_than_can_be_waited_for_are_refused(names: Names) -> None:
    async def main() -> None:
        running = asyncio.get_running_loop()
        asked = [running.create_task(running.getaddrinfo("a.hangs.test", 80)) for _ in range(200)]
        await asyncio.sleep(0)
        asked[0].cancel()
        others = [
            running.create_task(running.getaddrinfo(f"n{n}.hangs.test", 80))
            for n in range(event_loop.MAX_LOOKUPS - 1)
        ]
        await asyncio.sleep(0)
        with pytest.raises(socket.gaierror, match="too many"):
            await running.getaddrinfo("one-more.hangs.test", 80)
        names.end.set()
        ends = await asyncio.gather(*asked, *others, return_exceptions=True)
        assert isinstance(ends[0], asyncio.CancelledError)
        assert {type(end) for end in ends[1:]} == {socket.gaierror}
        assert names.asked.count("a.hangs.test") == 1
        assert await running.getaddrinfo("localhost", 80, type=socket.SOCK_STREAM)

    event_loop.run(main())


def test_a_name_that_is_none_is_an_error_of_the_look_up(names: Names) -> None:
    async def main() -> None:
        with pytest.raises(OSError, match="not a host name"):
            await asyncio.get_running_loop().getaddrinfo("x" * 300 + ".test", 80)

    event_loop.run(main())
