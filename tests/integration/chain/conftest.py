"""Cassettes made from recordings of a real API 9.0.2, and local servers that a test scripts."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import vcr
from aiohttp import web

from chain.api.client import StacksApi, Timeouts

DATA = Path(__file__).parents[2] / "data"
BASE = "http://stacks-api.test"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def _same_condition(one: Any, two: Any) -> None:
    assert one.headers.get("if-none-match") == two.headers.get("if-none-match")


@pytest.fixture
def cassette() -> Callable[[str], AbstractContextManager[Any]]:
    """Play a cassette: requests that are not in it fail, and each answer is given once."""
    player = vcr.VCR(cassette_library_dir=str(DATA / "cassettes"), record_mode="none")
    player.register_matcher("if-none-match", _same_condition)

    def play(story: str) -> AbstractContextManager[Any]:
        return player.use_cassette(f"{story}.yaml", match_on=["method", "path", "query", "if-none-match"])

    return play


@pytest.fixture
async def recorded() -> AsyncIterator[StacksApi]:
    """A client of the server that the cassettes were recorded from."""
    api = StacksApi(BASE)
    yield api
    await api.aclose()


@asynccontextmanager
async def served(handler: Handler, **options: Any) -> AsyncIterator[StacksApi]:
    """A client of a local server that hands every request to ``handler``."""

    async def route(request: web.Request) -> web.StreamResponse:
        return await handler(request)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", route)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    options.setdefault("timeouts", Timeouts(connect=5, read=5, total=10))
    api = StacksApi(f"http://{host}:{port}/", **options)
    try:
        yield api
    finally:
        await api.aclose()
        await runner.cleanup()


@pytest.fixture
def serve() -> Callable[..., Any]:
    """``async with serve(handler, **StacksApi's options) as api``."""
    return served
