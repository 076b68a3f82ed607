"""Hostile response headers: they cause nothing worse than a ``SourceError``."""

from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web

from chain.errors import SourceError, SourceLimited

DATE = "Wed, 21 Oct 2015 07:28:00 GMT"


@pytest.mark.parametrize(
    "value",
    [
        "Wed, 21 Oct 99999999999999999999 07:28:00 GMT",
        "Wed, 21 Oct 2015 07:28:99999999999999999999 GMT",
        "Wed, 21 Oct 2015 07:28:00 +99999999999999999999",
        "Wed, 99999999999999999999 Oct 2015 07:28:00 GMT",
        "Fri, 31 Dec 9999 23:59:59 -2359",
        "1e999",
        "-1",
        "٣",
        "Wed",
        "",
    ],
)
async def test_a_time_that_makes_no_sense_is_no_time(serve: Callable[..., Any], value: str) -> None:
    async def server(_: web.Request) -> web.Response:
        return web.Response(status=429, headers={"Retry-After": value, "Date": DATE})

    async with serve(server) as api:
        with pytest.raises(SourceLimited) as caught:
            await api.status()
    assert caught.value.retry_after is None or caught.value.retry_after > 0


async def test_a_date_of_the_server_that_makes_no_sense_is_no_time(serve: Callable[..., Any]) -> None:
    async def server(_: web.Request) -> web.Response:
        huge = "Wed, 21 Oct 99999999999999999999 07:28:00 GMT"
        return web.Response(status=429, headers={"Retry-After": DATE, "Date": huge})

    async with serve(server) as api:
        with pytest.raises(SourceLimited) as caught:
            await api.status()
    assert caught.value.retry_after is None


async def test_cookies_are_neither_kept_nor_sent(serve: Callable[..., Any]) -> None:
    sent = []

    async def server(request: web.Request) -> web.Response:
        sent.append(request.headers.get("Cookie"))
        answer = web.json_response({"server_version": "v9.0.2", "status": "ready"})
        answer.set_cookie(f"c{len(sent)}", "x" * 100)
        return answer

    async with serve(server) as api:
        for _ in range(5):
            await api.status()
    assert sent == [None] * 5


@pytest.mark.parametrize("etag", ['"é"', '"\x7f"', "", " "])
async def test_a_validator_that_no_header_can_hold_is_not_sent_back(
    serve: Callable[..., Any], etag: str
) -> None:
    conditions = []

    async def server(request: web.Request) -> web.Response:
        conditions.append(request.headers.get("If-None-Match"))
        return web.json_response({"results": [], "total": 0, "limit": 50, "cursor": {"next": None}})

    async with serve(server) as api:
        try:
            page = await api.transactions(etag=etag)
        except SourceError:
            return
    assert page is not None
    assert conditions == [None]
