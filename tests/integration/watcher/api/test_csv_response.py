"""A CSV file to a caller that takes it, and to one that does not."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from watcher.api import csv_response
from watcher.api.csv_response import CsvResponse

#: As uvicorn says it; older ones watch for a disconnect beside the answer.
SCOPES = [{"type": "http", "asgi": {"spec_version": version}} for version in ("2.3", "2.4")]


async def parts(number: int) -> AsyncIterator[str]:
    for _ in range(number):
        await asyncio.sleep(0)
        yield "a,b\r\n"


async def never(*_: object) -> Any:
    await asyncio.Event().wait()


@pytest.mark.parametrize("scope", SCOPES)
async def test_a_caller_that_takes_nothing_is_cut_off(
    scope: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A write that never ends ends the answer, before its first part and after it."""
    monkeypatch.setattr(csv_response, "PART_SECONDS", 0.05)
    for taken in (0, 3):
        sent: list[Any] = []

        async def take(message: Any, sent: list[Any] = sent, taken: int = taken) -> None:
            if len(sent) == taken:
                await never()
            sent.append(message)

        async with asyncio.timeout(10):
            await CsvResponse(parts(9))(scope, never, take)
        assert len(sent) == taken


@pytest.mark.parametrize("scope", SCOPES)
async def test_a_long_file_may_take_longer_than_a_part(
    scope: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time is each part's: a caller that goes on reading gets all of it."""
    monkeypatch.setattr(csv_response, "PART_SECONDS", 1.0)
    loop, began, sent = asyncio.get_running_loop(), 1000.0, []
    monkeypatch.setattr(loop, "time", lambda: began + 0.4 * len(sent))

    async def take(message: Any) -> None:
        sent.append(message)

    await CsvResponse(parts(9))(scope, never, take)
    assert b"".join(message.get("body", b"") for message in sent) == b"a,b\r\n" * 9
