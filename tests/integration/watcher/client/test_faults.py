"""Both clients against a server that misbehaves on a real socket."""

import asyncio
import logging
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.watcher.client.calls import calling
from tests.integration.watcher.client.faulty_server import (
    Faulty,
    Way,
    answer,
    garbage,
    hang,
    problem,
    reset,
    trickle,
)
from watcher.cli.backends.remote import HttpBackend
from watcher.client import ApiError, AsyncClient, RateLimited, Unreachable, client, retry
from watcher.errors import Unreachable as Unanswered

KEY = "sk_live_a_secret_of_theirs"
DONE = answer(200, {"id": "we_1", "removed": True})


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses are as short as the machine allows; their length is proved where no clock runs."""
    monkeypatch.setattr(retry, "FIRST_PAUSE_SECONDS", 0.001)


@pytest.fixture(autouse=True)
def silent_about_the_key(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Nothing that is logged on any level holds the key."""
    caplog.set_level(logging.DEBUG)
    yield
    assert KEY not in caplog.text


@pytest.mark.parametrize(
    "fault",
    [
        reset,
        garbage(b"\x00\xff\x00 nonsense\r\n\r\n"),
        garbage(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{"),
        garbage(b""),
        problem(429, "rate_limited", retry_after="0"),
        problem(503, "unavailable", retry_after="0"),
        problem(409, "idempotency_in_progress", retry_after="0"),
        answer(502, b"<html>", kind="text/html"),
    ],
    ids=["reset", "garbage", "cut off", "closed", "429", "503", "in progress", "502"],
)
async def test_a_fault_is_survived_and_what_changes_something_has_one_key(kind: Any, fault: Way) -> None:
    async with Faulty((fault, fault, DONE)) as server, calling(kind, server.url, KEY) as caller:
        assert (await caller.remove_endpoint("we_1")).removed
    assert len(server.asked) == 3
    assert {asked.line for asked in server.asked} == {"DELETE /v1/webhook_endpoints/we_1 HTTP/1.1"}
    [key] = {asked.headers["idempotency-key"] for asked in server.asked}
    assert len(key) == 32
    assert {asked.headers["authorization"] for asked in server.asked} == {f"Bearer {KEY}"}


@pytest.mark.parametrize("silence", [hang, trickle])
async def test_a_server_that_does_not_end_is_left_and_tried_again(kind: Any, silence: Way) -> None:
    async with Faulty((silence, DONE)) as server, calling(kind, server.url, KEY, timeout=0.3) as caller:
        began = time.monotonic()
        assert (await caller.remove_endpoint("we_1")).removed
        assert time.monotonic() - began < 10
    assert len(server.asked) == 2


async def test_the_tries_end(kind: Any) -> None:
    async with Faulty((reset,)) as server, calling(kind, server.url, KEY, retries=2) as caller:
        with pytest.raises(Unreachable, match="cannot be reached") as error:
            await caller.status()
        assert len(server.asked) == 3
        text = f"{error.value!r} {error.value} {vars(error.value)} {caller.client!r} {vars(caller.client)}"
        assert KEY not in text
    async with Faulty((problem(429, "rate_limited"),)) as server, calling(kind, server.url, KEY) as caller:
        with pytest.raises(RateLimited):
            await caller.status()
        assert len(server.asked) == 5


async def test_nobody_there_is_unreachable(kind: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    async with calling(kind, f"http://127.0.0.1:{port}", KEY, retries=1) as caller:
        with pytest.raises(Unreachable, match="cannot be reached"):
            await caller.status()


async def test_a_redirect_is_not_followed_and_the_key_goes_nowhere_else(kind: Any) -> None:
    async with (
        Faulty((DONE,)) as elsewhere,
        Faulty((answer(308, {}, location=elsewhere.url),)) as server,
        calling(kind, server.url, KEY) as caller,
    ):
        with pytest.raises(Unreachable) as error:
            await caller.remove_endpoint("we_1")
    assert (error.value.code, len(server.asked), elsewhere.asked) == ("redirected", 1, [])


async def test_an_answer_without_measure_is_not_taken(kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "MAX_ANSWER_BYTES", 1000)
    huge = answer(200, b"[" + b" " * 2000 + b"]")
    async with Faulty((huge,)) as server, calling(kind, server.url, KEY, retries=0) as caller:
        with pytest.raises(Unreachable, match=r"more than 1,000 bytes"):
            await caller.status()


async def test_a_compressed_answer_is_not_asked_for_and_not_unpacked(kind: Any) -> None:
    packed = answer(200, b"\x1f\x8b", content_encoding="gzip")
    async with Faulty((packed,)) as server, calling(kind, server.url, KEY) as caller:
        with pytest.raises(Unreachable, match="not JSON"):
            await caller.status()
    assert server.asked[0].headers["accept-encoding"] == "identity"


async def test_other_errors_are_told_at_once(kind: Any) -> None:
    broken = problem(500, "internal_error", x_request_id="req_9")
    async with Faulty((broken,)) as server, calling(kind, server.url, KEY) as caller:
        with pytest.raises(ApiError) as error:
            await caller.status()
    assert (type(error.value), error.value.request_id, len(server.asked)) == (ApiError, "req_9", 1)


async def test_a_proxy_of_the_environment_does_not_see_a_key_in_the_clear(
    kind: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Faulty((DONE,)) as proxy, Faulty((DONE,)) as server:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("ALL_PROXY", proxy.url)
        async with calling(kind, server.url, KEY) as caller:
            await caller.remove_endpoint("we_1")
    assert (len(server.asked), proxy.asked) == (1, [])


async def test_a_task_that_is_canceled_stops_asking() -> None:
    async with Faulty((hang,)) as server, calling(AsyncClient, server.url, KEY) as caller:
        task = asyncio.ensure_future(caller.status())
        async with asyncio.timeout(10):
            await server.was_asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    "document", [{}, {"data": [{}], "next_cursor": None}, {"data": None, "next_cursor": None}]
)
async def test_the_command_line_does_not_try_to_show_what_it_does_not_know(document: Any) -> None:
    async with Faulty((answer(200, document),)) as faulty:
        api = HttpBackend(faulty.url, "sk_live_x")
        with api.reading() as services, pytest.raises(Unanswered, match="none that this client knows"):
            await asyncio.to_thread(services.intents)
        api.close()


@pytest.mark.parametrize("host", ["a" * 64 + ".example", "pay..example", "xn--zzzzzz99999.example"])
async def test_a_name_that_cannot_be_one_is_refused_before_anything_is_asked(kind: Any, host: str) -> None:
    with pytest.raises(ValueError, match="no URL"):
        kind(f"https://{host}", KEY)
