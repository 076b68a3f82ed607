"""Bodies that strangers send: limits that hold, texts that could be read in two ways, and one shape for every
refusal.
"""

import asyncio
import json

import httpx
import pytest

from tests.integration.watcher.api.api_fixture import ApiFixture, problem, wrong_fields
from watcher.api import json_body

PATH = "/v1/payment_intents"
JSON = {"content-type": "application/json"}


async def send(api: ApiFixture, content: bytes, **headers: str) -> httpx.Response:
    return await api.client.post(PATH, content=content, headers=JSON | headers)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "is not JSON"),
        (b"{'amount': 1}", "is not JSON"),
        (b'{"amount": 1,}', "is not JSON"),
        (b'{"amount": 1} x', "is not JSON"),
        (b'{"amount": 01}', "is not JSON"),
        (b"\xff\xfe", "is not UTF-8"),
        ('{"amount": "1"}'.encode("utf-16"), "is not UTF-8"),
        (b'{"amount": 1, "amount": 2}', "'amount' twice"),
        (b'{"amount": 1, "metadata": {"a": "x", "a": "y"}}', "'a' twice"),
        (b'{"amount": NaN}', "NaN"),
        (b'{"amount": -Infinity}', "-Infinity"),
        (b'{"amount": ' + b"9" * 101 + b"}", "more than 100 digits"),
        (b'{"amount": ' + b"9" * 60_000 + b"}", "more than 100 digits"),
        (b'{"amount": 1, "reference": "\\ud800"}', "half a character"),
        (b'{"amount": 1, "\\udfff": 1}', "half a character"),
        (b'{"amount": 1, "metadata": {"a": "\\u0000"}}', "U+0000"),
        (b"[" * 65_000, "nested deeper"),
        (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, "nested deeper"),
        (b'{"metadata":' + b"[" * 32 + b"]" * 32 + b"}", "nested deeper"),
    ],
)
async def test_what_is_no_plain_json_is_400(sqlite_api: ApiFixture, content: bytes, message: str) -> None:
    answer = await send(sqlite_api, content)
    assert problem(answer) == (400, "invalid_json")
    assert message in answer.json()["detail"]
    assert (await sqlite_api.client.get(PATH)).json()["data"] == []


async def test_a_number_too_large_for_an_amount_is_a_wrong_field(sqlite_api: ApiFixture) -> None:
    assert wrong_fields(await send(sqlite_api, b'{"amount": ' + b"9" * 100 + b"}")) == ["amount"]
    assert wrong_fields(await send(sqlite_api, b'{"amount": 1e999}')) == ["amount"]


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin-1", ""]
)
async def test_another_content_type_is_415(sqlite_api: ApiFixture, kind: str) -> None:
    answer = await sqlite_api.client.post(PATH, content=b'{"amount": 1}', headers={"content-type": kind})
    assert problem(answer) == (415, "unsupported_media_type")


async def test_a_compressed_body_is_415(sqlite_api: ApiFixture) -> None:
    answer = await send(sqlite_api, b'{"amount": 1}', **{"content-encoding": "gzip"})
    assert problem(answer) == (415, "unsupported_media_type")


@pytest.mark.parametrize(
    "headers",
    [
        [("content-type", "text/plain")],
        [("content-encoding", "identity"), ("content-encoding", "gzip")],
    ],
    ids=["two types", "two encodings"],
)
async def test_a_body_that_says_twice_what_it_is_is_415(
    sqlite_api: ApiFixture, headers: list[tuple[str, str]]
) -> None:
    """What stands between here and the caller may believe the other one."""
    answer = await sqlite_api.client.post(PATH, content=b'{"amount": 1}', headers=[*JSON.items(), *headers])
    assert problem(answer) == (415, "unsupported_media_type")


async def test_the_charset_may_be_named(sqlite_api: ApiFixture) -> None:
    named = {"content-type": 'Application/JSON; charset="UTF-8"'}
    answer = await sqlite_api.client.post(PATH, content=b'{"amount": 1}', headers=named)
    assert answer.status_code == 201


def padded(size: int) -> bytes:
    """Return a good body of exactly so many bytes."""
    content = b'{"amount": 1}'
    return content + b" " * (size - len(content))


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_of_64_kib_is_read_and_one_byte_more_is_413(
    sqlite_api: ApiFixture, chunked: bool
) -> None:
    for size, status in (
        (json_body.MAX_BODY_BYTES, 201),
        (json_body.MAX_BODY_BYTES + 1, 413),
        (1_000_000, 413),
    ):
        content = padded(size)

        async def pieces(content: bytes = content) -> object:
            for start in range(0, len(content), 10_000):
                yield content[start : start + 10_000]

        answer = await sqlite_api.client.post(PATH, content=pieces() if chunked else content, headers=JSON)
        assert answer.status_code == status, size
    assert problem(answer) == (413, "body_too_large")
    assert len((await sqlite_api.client.get(PATH)).json()["data"]) == 1


async def raw(api: ApiFixture, *lines: str, then: bytes = b"") -> bytes:
    """Send a request as text and return what comes until the connection is closed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", api.server.port)
    head = "\r\n".join([*lines, "host: x", f"authorization: Bearer {api.key}", "", ""])
    try:
        writer.write(head.encode() + then)
        async with asyncio.timeout(20):
            return await reader.read()
    finally:
        writer.close()


async def test_a_huge_body_is_refused_before_it_is_sent(sqlite_api: ApiFixture) -> None:
    answer = await raw(
        sqlite_api,
        f"POST {PATH} HTTP/1.1",
        "content-type: application/json",
        "content-length: 99999999999999",
    )
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"connection: close" in answer.lower()


async def test_a_body_that_never_ends_is_cut_off(sqlite_api: ApiFixture) -> None:
    piece = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    try:
        answer = await raw(
            sqlite_api,
            f"POST {PATH} HTTP/1.1",
            "content-type: application/json",
            "transfer-encoding: chunked",
            then=piece * 20,
        )
    except ConnectionResetError:
        return  # it was closed on what was still being sent
    assert answer.startswith(b"HTTP/1.1 413 ")


async def test_a_body_that_does_not_come_is_408(
    sqlite_api: ApiFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_body, "BODY_TIMEOUT_SECONDS", 0.1)
    answer = await raw(
        sqlite_api, f"POST {PATH} HTTP/1.1", "content-type: application/json", "content-length: 5"
    )
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["code"] == "request_timeout"


async def test_a_body_that_ends_early_leaves_nothing_behind(sqlite_api: ApiFixture) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", sqlite_api.server.port)
    lines = f"POST {PATH} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {sqlite_api.key}\r\n"
    writer.write(
        f'{lines}content-type: application/json\r\ncontent-length: 500\r\n\r\n{{"amount": 1}}'.encode()
    )
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    assert (await sqlite_api.client.get(PATH)).json()["data"] == []


@pytest.mark.parametrize("content", [b"", b"null"])
async def test_a_body_that_must_be_there_is_asked_for_in_plain_words(
    sqlite_api: ApiFixture, content: bytes
) -> None:
    """Also where all its fields can be left out."""
    path = "/v1/webhook_endpoints/we_1"
    answer = await sqlite_api.client.patch(path, content=content, headers=JSON)
    assert problem(answer) == (422, "validation")
    assert answer.json()["detail"] == "the body is missing"
