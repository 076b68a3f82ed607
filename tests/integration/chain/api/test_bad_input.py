"""StacksApi against slow, oversized, broken or missing answers: always a prompt SourceError."""

import asyncio
import gzip
import json
import zlib
from pathlib import Path

import pytest
from aiohttp import web

from chain.api.client import StacksApi, Timeouts
from chain.api.transport import TooLarge
from chain.errors import (
    SourceError,
    SourceInconsistent,
    SourceLimited,
    SourceMalformed,
    SourceRefused,
    SourceUnavailable,
)
from chain.model import PrintEvent

DATA = Path(__file__).parents[3] / "data" / "stacks-api"
HASH = "0x" + "11" * 32
OTHER = "0x" + "22" * 32


def body_of(name):
    return json.loads((DATA / f"{name}.json").read_text())["body"]


def always(body, *, status=200, headers=None):
    async def answer(request):
        return web.Response(body=body, status=status, headers=headers)

    return answer


async def error_of(serve, handler, **options) -> SourceError:
    async with serve(handler, **options) as api:
        with pytest.raises(SourceError) as caught:
            await api.transactions()
    assert caught.value.url == api.url
    return caught.value


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"results": [',
        b"[]",
        b"null",
        b"7",
        b'"text"',
        b"{}",
        b'{"total": 1, "limit": 50, "cursor": {"next": null}, "results": {}}',
        b'{"total": 1, "limit": 50, "cursor": {"next": null}, "results": [null]}',
        b'{"total": 1, "limit": 50, "cursor": {"next": "../x"}, "results": []}',
        b'{"total": -1, "limit": 50, "cursor": {"next": null}, "results": []}',
        b'{"total": NaN, "limit": 50, "cursor": {"next": null}, "results": []}',
        b'{"total": ' + b"9" * 5000 + b', "cursor": {"next": null}, "results": []}',
        b"[" * 200_000,
        b"\xff\xfe\x00",
        b"\x00" * 100,
    ],
    ids=range(17),
)
async def test_what_is_not_the_promised_json_is_malformed(serve, body):
    assert isinstance(await error_of(serve, always(body)), SourceMalformed)


async def test_a_list_longer_than_asked_for_is_malformed(serve):
    page = body_of("v3-transactions-limit-50")
    page["results"] = page["results"] * 2
    error = await error_of(serve, always(json.dumps(page).encode()))
    assert "54 rows" in str(error)


async def test_a_web_page_is_an_unavailable_source(serve):
    page = b"\n<!DOCTYPE html><html><title>Just a moment...</title></html>"
    error = await error_of(serve, always(page, headers={"Content-Type": "text/html"}))
    assert isinstance(error, SourceUnavailable)
    assert "web page" in str(error)


async def test_a_proxys_404_page_is_not_a_missing_block(serve):
    async with serve(always(b"<html>404</html>", status=404)) as api:
        with pytest.raises(SourceUnavailable):
            await api.header(5)


async def test_ten_megabytes_are_too_large(serve):
    error = await error_of(serve, always(b"[" + b"1," * 5_000_000 + b"1]"))
    assert isinstance(error, SourceMalformed)
    assert "larger than 8388608 bytes" in str(error)


async def test_a_gzip_bomb_is_cut_off_at_the_cap(serve):
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb = b"".join(packer.compress(bytes(2**20)) for _ in range(64)) + packer.flush()
    assert len(bomb) < 2**20
    error = await error_of(serve, always(bomb, headers={"Content-Encoding": "gzip"}))
    assert isinstance(error, TooLarge)


async def test_honest_gzip_is_read(serve):
    packed = gzip.compress(json.dumps(body_of("v3-transactions")).encode())
    async with serve(always(packed, headers={"Content-Encoding": "gzip"})) as api:
        assert (await api.transactions(limit=5)).total == 13


@pytest.mark.parametrize(
    ("body", "encoding", "text"),
    [
        (gzip.compress(b"{}" * 1000, mtime=0)[:-12], "gzip", "truncated gzip"),
        (b"not gzip at all", "gzip", "broken gzip"),
        (b"{}", "br", "not asked for"),
    ],
)
async def test_broken_or_unknown_compression_is_malformed(serve, body, encoding, text):
    error = await error_of(serve, always(body, headers={"Content-Encoding": encoding}))
    assert isinstance(error, SourceMalformed)
    assert text in str(error)


async def test_an_answer_cut_off_in_the_middle_is_unavailable(serve):
    async def cut(request):
        response = web.StreamResponse(headers={"Content-Length": "1000"})
        await response.prepare(request)
        await response.write(b'{"total":')
        request.transport.close()
        return response

    assert isinstance(await error_of(serve, cut), SourceUnavailable)


async def test_a_trickle_cannot_stretch_the_deadline(serve):
    """Each byte comes well within the read timeout, the whole answer never does."""

    async def trickle(request):
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b" ")
            await asyncio.sleep(0.01)

    loop = asyncio.get_running_loop()
    started = loop.time()
    error = await error_of(serve, trickle, timeouts=Timeouts(connect=5, read=5, total=0.2))
    assert isinstance(error, SourceUnavailable)
    assert "no complete answer within 0.2 s" in str(error)
    assert loop.time() - started < 3


async def test_silence_is_a_timeout(serve):
    released = asyncio.Event()

    async def silent(request):
        await released.wait()
        return web.Response()

    error = await error_of(serve, silent, timeouts=Timeouts(connect=5, read=0.1, total=5))
    released.set()
    assert isinstance(error, SourceUnavailable)
    assert "timed out" in str(error)


async def test_nobody_listening_is_unavailable(unused_tcp_port):
    api = StacksApi(f"http://127.0.0.1:{unused_tcp_port}")
    with pytest.raises(SourceUnavailable, match="ConnectError"):
        await api.status()
    await api.aclose()


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, SourceUnavailable),
        (410, SourceUnavailable),
        (431, SourceUnavailable),
        (500, SourceUnavailable),
        (502, SourceUnavailable),
        (401, SourceRefused),
        (403, SourceRefused),
        (429, SourceLimited),
        (204, SourceUnavailable),
        (304, SourceUnavailable),
    ],
)
async def test_each_status_has_its_error(serve, status, kind):
    body = b"" if status in (204, 304) else b'{"error":"x","message":"said so"}'
    assert type(await error_of(serve, always(body, status=status))) in (kind, *kind.__subclasses__())


async def test_a_refused_key_tells_what_to_check_and_not_the_key(serve):
    error = await error_of(serve, always(b'{"message":"Invalid API key"}', status=401), api_key="s3cret")
    assert isinstance(error, SourceRefused)
    assert not error.retryable
    assert "api_key" in error.hint
    assert "Invalid API key" in str(error)
    assert "s3cret" not in str(error) + error.hint


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "17"}, 17.0),
        ({"Retry-After": "Fri, 20 Nov 2026 10:01:30 GMT", "Date": "Fri, 20 Nov 2026 10:00:00 GMT"}, 90.0),
        ({"Retry-After": "Fri, 20 Nov 2026 09:00:00 GMT", "Date": "Fri, 20 Nov 2026 10:00:00 GMT"}, 0.0),
        ({"Retry-After": "soon"}, None),
        ({}, None),
    ],
)
async def test_too_many_requests_tell_when_to_come_back(serve, headers, seconds):
    error = await error_of(serve, always(b"{}", status=429, headers=headers))
    assert isinstance(error, SourceLimited)
    assert error.retry_after == seconds


async def test_redirects_are_not_followed(serve):
    asked = []

    async def redirect(request):
        asked.append(request.path)
        return web.Response(status=301, headers={"Location": "/elsewhere"})

    error = await error_of(serve, redirect, api_key="s3cret")
    assert asked == ["/extended/v3/transactions"]
    assert "/elsewhere" in str(error)


async def test_requests_carry_key_and_user_agent(serve):
    seen = {}

    async def answer(request):
        seen.update(request.headers)
        return web.json_response(body_of("status-v9"))

    async with serve(answer, api_key="s3cret", user_agent="sbtc-watcher/1.2.3") as api:
        await api.status()
        assert "s3cret" not in repr(api)
    assert (seen["x-api-key"], seen["User-Agent"]) == ("s3cret", "sbtc-watcher/1.2.3")
    assert seen["Accept-Encoding"] == "gzip"


async def test_control_characters_of_a_server_do_not_reach_messages(serve):
    error = await error_of(serve, always(b'{"message":"a\\u001b[31m\\nb"}', status=500))
    assert "\x1b" not in str(error)
    assert "\n" not in str(error)


@pytest.mark.parametrize(
    "url", ["ftp://host", "host:3999", "http://", "http://host/?key=1", "http://host/#x"]
)
def test_a_base_url_must_be_plain_http(url):
    with pytest.raises(ValueError, match="must be http"):
        StacksApi(url)


async def test_credentials_in_the_url_are_not_shown():
    api = StacksApi("https://user:pass@host.test/prefix/")
    assert api.url == "https://host.test/prefix"
    assert "pass" not in repr(api)
    await api.aclose()


async def test_another_block_than_asked_for_is_inconsistent(serve):
    async def answer(request):
        if "transactions" in request.path:
            return web.json_response(body_of("v3-block-transactions"))
        return web.json_response(body_of("v2-block-by-height"))

    async with serve(answer) as api:
        assert (await api.header(4)).height == 4
        for wrong in (5, HASH):
            with pytest.raises(SourceInconsistent):
                await api.header(wrong)
        with pytest.raises(SourceInconsistent):
            await api.block_transactions(HASH)


async def test_a_block_that_is_not_canonical_is_none_alone_and_an_error_in_a_list(serve):
    block = body_of("v2-block-by-height") | {"canonical": False}

    async def answer(request):
        return web.json_response(block if request.path.endswith("4") else {"results": [block]})

    async with serve(answer) as api:
        assert await api.header(4) is None
        with pytest.raises(SourceMalformed, match="not canonical"):
            await api.headers()


class Printer:
    """Serves ``tx/multiple`` for transactions made of prints of a given size, with all the API's limits."""

    def __init__(self, prints, *, size=10, longest_url=16_000):
        self.prints = prints
        self.value = "0x02" + (size).to_bytes(4, "big").hex() + "ab" * size
        self.longest_url = longest_url
        self.requests = []
        self.change = None

    async def __call__(self, request):
        if len(request.path_qs) > self.longest_url:
            return web.json_response({"message": "Request Header Fields Too Large"}, status=431)
        ids = request.query["tx_id"].split(",")
        offset, limit = int(request.query.get("event_offset", 0)), int(request.query["event_limit"])
        self.requests.append((len(ids), offset, limit, request.query.get("exclude_function_args")))
        return web.json_response({tx_id: self.entry(tx_id, offset, limit) for tx_id in ids})

    def entry(self, tx_id, offset, limit):
        count = self.prints.get(tx_id)
        if count is None:
            return {"found": False, "result": {"tx_id": tx_id}}
        events = [
            {
                "event_index": rank,
                "event_type": "smart_contract_log",
                "contract_log": {
                    "contract_id": "SP.c",
                    "topic": "print",
                    "value": {"hex": self.value, "repr": "\udc80"},
                },
            }
            for rank in range(offset, min(count, offset + limit))
        ]
        result = {
            "tx_id": tx_id,
            "tx_status": "success",
            "tx_type": "contract_call",
            "contract_call": {"contract_id": "SP.c", "function_name": "f"},
            "canonical": True,
            "block_hash": HASH,
            "block_height": 4,
            "event_count": count,
            "events": events,
        }
        if offset and self.change:
            result |= self.change
        return {"found": True, "result": result}


def ids(count):
    return [f"0x{number:064x}" for number in range(count)]


async def test_more_than_100_ids_take_one_request_for_each_100(serve):
    server = Printer(dict.fromkeys(ids(250), 1))
    async with serve(server) as api:
        details = await api.details(ids(250))
    assert list(details) == ids(250)
    assert all(len(detail.events) == 1 for detail in details.values())
    assert server.requests == [(100, 0, 100, "true"), (100, 0, 100, "true"), (50, 0, 100, "true")]


async def test_no_ids_take_no_request(serve):
    server = Printer({})
    async with serve(server) as api:
        assert await api.details([]) == {}
    assert server.requests == []


async def test_later_windows_ask_only_for_the_transactions_that_have_them(serve):
    one, two, three = ids(3)
    server = Printer({one: 100, two: 101, three: 250})
    async with serve(server) as api:
        details = await api.details([one, two, three])
    assert [len(detail.events) for detail in details.values()] == [100, 101, 250]
    assert [request[:2] for request in server.requests] == [(3, 0), (2, 100), (1, 200)]


async def test_prints_too_large_for_one_answer_are_read_in_pieces(serve):
    """A contract may print megabytes: the block stays readable."""
    one, two = ids(2)
    server = Printer({one: 30, two: 3}, size=1000)
    async with serve(server, max_body=20_000) as api:
        details = await api.details([one, two])
    assert [len(detail.events) for detail in details.values()] == [30, 3]
    assert [event.rank for event in details[one].events] == list(range(30))
    assert isinstance(details[two].events[0], PrintEvent)
    assert len(details[two].events[0].value) == 1005


async def test_a_single_huge_print_is_read_though_it_is_over_the_cap(serve):
    server = Printer({HASH: 2}, size=150_000)
    async with serve(server, max_body=200_000) as api:
        details = await api.details([HASH])
    assert (details[HASH].event_count, details[HASH].events) == (2, ())


async def test_a_server_with_short_urls_is_asked_for_fewer_ids_from_then_on(serve):
    server = Printer(dict.fromkeys(ids(100), 1), longest_url=4000)
    async with serve(server) as api:
        assert len(await api.details(ids(100))) == 100
        server.requests.clear()
        await api.details(ids(100))
    assert [request[0] for request in server.requests] == [50, 50]


@pytest.mark.parametrize(
    "change",
    [{"block_hash": OTHER}, {"canonical": False}, {"tx_status": "abort_by_response"}, {"block_height": 5}],
)
async def test_a_transaction_that_changes_between_two_windows_is_inconsistent(serve, change):
    server = Printer({HASH: 130})
    server.change = change
    async with serve(server) as api:
        with pytest.raises(SourceInconsistent, match="changed while"):
            await api.details([HASH])


async def test_a_window_with_fewer_events_than_promised_is_inconsistent(serve):
    server = Printer({HASH: 130})
    server.change = {"event_count": 130, "events": []}
    async with serve(server) as api:
        with pytest.raises(SourceInconsistent, match="0 came from 100"):
            await api.details([HASH])


async def test_answers_about_other_transactions_are_malformed(serve):
    async def answer(request):
        return web.json_response({OTHER: {"found": False, "result": {"tx_id": OTHER}}})

    async with serve(answer) as api:
        with pytest.raises(SourceMalformed):
            await api.details([HASH])


async def test_a_server_that_takes_not_even_one_id_is_unavailable(serve):
    async with serve(Printer({HASH: 1}, longest_url=10)) as api:
        with pytest.raises(SourceUnavailable, match="431"):
            await api.details(ids(5))


async def test_an_error_body_that_is_no_object_is_quoted(serve):
    assert '500 ["boom"]' in str(await error_of(serve, always(b'["boom"]', status=500)))
