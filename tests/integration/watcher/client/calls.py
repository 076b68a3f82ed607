"""Calls both clients in the same words: tests are written once and run with each."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

from watcher.client import AsyncClient, Client

KINDS = (Client, AsyncClient)


class Caller:
    """A client whose methods are awaited, whichever it is; iterators become lists."""

    def __init__(self, client: Client | AsyncClient) -> None:
        self.client = client

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        method = getattr(self.client, name)

        async def call(*args: Any, **named: Any) -> Any:
            if isinstance(self.client, Client):
                return await asyncio.to_thread(lambda: _whole(method(*args, **named)))
            result = method(*args, **named)
            return await result if inspect.isawaitable(result) else [row async for row in result]

        return call


def _whole(result: Any) -> Any:
    return list(result) if isinstance(result, Iterator) else result


@asynccontextmanager
async def calling(kind: type[Client] | type[AsyncClient], *args: Any, **named: Any) -> AsyncIterator[Caller]:
    """Open a client of one kind."""
    if kind is AsyncClient:
        async with AsyncClient(*args, **named) as client:
            yield Caller(client)
    else:
        with Client(*args, **named) as client:
            yield Caller(client)
