"""What every answer has: an id, a line in the log, headers for safety and for the rate; and one shape for
every error.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import structlog

from tests.integration.watcher.api.api_fixture import ApiFixture, problem
from tests.integration.watcher.ledger_fixture import LedgerFixture
from watcher.api import middleware
from watcher.api.rate_limit import RateLimit
from watcher.services import Services

PATH = "/v1/payment_intents"


@pytest.fixture
def fixture(tmp_path: Path) -> Iterator[LedgerFixture]:
    made = LedgerFixture(tmp_path)
    yield made
    made.database.close()


@contextmanager
def logged() -> Iterator[list[dict[str, Any]]]:
    """Collect what is logged."""
    with structlog.testing.capture_logs(processors=[structlog.contextvars.merge_contextvars]) as lines:
        yield lines


async def test_a_request_has_an_id_in_its_answer_and_in_the_log(sqlite_api: ApiFixture) -> None:
    with logged() as lines:
        answer = await sqlite_api.client.get(f"{PATH}?reference=secret-word")
    request_id = answer.headers["x-request-id"]
    assert request_id.startswith("req_")
    [line] = [line for line in lines if line["event"] == "http.request"]
    assert line["request_id"] == request_id
    assert (line["method"], line["path"], line["status"]) == ("GET", PATH, 200)
    assert line["caller"].startswith("key:key_")
    assert line["duration_ms"] >= 0
    assert "secret-word" not in str(lines)
    assert sqlite_api.key not in str(lines)


async def test_a_callers_own_id_is_kept_when_it_is_harmless(sqlite_api: ApiFixture) -> None:
    for given, kept in (
        ("order-1._x", True),
        ("x" * 64, True),
        ("x" * 65, False),
        ("a b", False),
        ("a;rm", False),
        ("", False),
        ("é", False),
    ):
        answer = await sqlite_api.client.get(PATH, headers=[(b"x-request-id", given.encode())])
        assert (answer.headers["x-request-id"] == given) is kept, given
        assert answer.headers["x-request-id"]


async def test_every_answer_has_the_headers_of_safety(sqlite_api: ApiFixture) -> None:
    for path in (PATH, "/nothing", "/healthz", "/openapi.json", "/docs", "/docs/swagger-ui.css"):
        for client in (sqlite_api.client, sqlite_api.stranger):
            headers = (await client.get(path)).headers
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["x-frame-options"] == "DENY"
            assert headers["referrer-policy"] == "no-referrer"
            assert "default-src 'none'" in headers["content-security-policy"]
            assert headers["x-request-id"]
            assert "server" not in headers
            assert ("no-store" in headers["cache-control"]) is (path != "/docs/swagger-ui.css")


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1", 404, "not_found"),
        ("GET", "/v1/payment_intents/", 404, "not_found"),
        ("GET", "/v1/nothing", 404, "not_found"),
        ("GET", "/docs/../assets/LICENSE", 404, "not_found"),
        ("GET", "/docs/LICENSE", 404, "not_found"),
        ("PUT", "/v1/payment_intents", 405, "method_not_allowed"),
        ("OPTIONS", "/v1/payment_intents", 405, "method_not_allowed"),
    ],
)
async def test_the_frameworks_errors_have_the_same_shape(
    sqlite_api: ApiFixture, method: str, path: str, status: int, code: str
) -> None:
    assert problem(await sqlite_api.client.request(method, path)) == (status, code)


async def test_a_bug_is_a_problem_with_an_id_and_a_traceback_in_the_log(
    sqlite_api: ApiFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_desk: Services, **_filters: object) -> None:
        raise RuntimeError("the secret")

    monkeypatch.setattr(Services, "intents", broken)
    with logged() as lines:
        answer = await sqlite_api.client.get(PATH)
    assert problem(answer) == (500, "internal_error")
    assert "secret" not in answer.text
    [failed] = [line for line in lines if line["event"] == "http.failed"]
    assert failed["request_id"] == answer.headers["x-request-id"]
    assert failed["exc_info"]


async def test_a_database_that_is_gone_is_503_and_told_to_come_back(
    sqlite_api: ApiFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = sqlite_api.fixture.database

    def down(*_args: object) -> Any:
        return sqlite3.connect("/nowhere/at/all.db")

    database.engine.dispose()
    with monkeypatch.context() as patched:
        patched.setattr(database.engine.pool, "_creator", down)
        patched.setattr(database.engine.pool, "_invoke_creator", down)
        answers = [
            await sqlite_api.client.get(PATH),
            await sqlite_api.client.post(PATH, json={"amount": 1}),
        ]
    for answer in answers:
        assert problem(answer) == (503, "unavailable")
        assert answer.headers["retry-after"] == "5"
        assert "nowhere" not in answer.text
    assert (await sqlite_api.client.get(PATH)).status_code == 200


async def test_too_many_requests_at_once_are_503_but_health_answers(
    sqlite_api: ApiFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(middleware, "MAX_REQUESTS", 0)
    assert problem(await sqlite_api.client.get(PATH)) == (503, "unavailable")
    assert (await sqlite_api.client.get("/healthz")).status_code == 200


async def test_who_asks_too_often_is_429_and_told_when(fixture: LedgerFixture) -> None:
    async with ApiFixture(fixture, http_rate_limit=3) as api:
        answers = [await api.client.get(PATH) for _ in range(4)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
        assert problem(answers[-1]) == (429, "rate_limited")
        assert 1 <= int(answers[-1].headers["retry-after"]) <= 20
        for left, answer in zip((2, 1, 0, 0), answers, strict=True):
            assert answer.headers["ratelimit-policy"] == '"default";q=3;w=60'
            assert answer.headers["ratelimit"].startswith(f'"default";r={left};t=')
        async with api.as_key(api.other_key) as other:
            assert (await other.get(PATH)).status_code == 200


async def test_without_a_limit_nothing_is_said_of_it(sqlite_api: ApiFixture) -> None:
    answer = await sqlite_api.client.get(PATH)
    assert "ratelimit" not in answer.headers
    assert "ratelimit-policy" not in answer.headers


def test_a_bucket_refills_evenly_and_never_beyond_its_size() -> None:
    now = [0.0]
    limit = RateLimit(60, clock=lambda: now[0])
    for _ in range(60):
        assert limit.take("a")[1] is None
    assert limit.take("a")[1] == 1
    now[0] += 1
    assert [limit.take("a")[1] for _ in range(2)] == [None, 1]
    now[0] += 3600
    headers, wait = limit.take("a")
    assert (wait, headers["ratelimit"]) == (None, '"default";r=59;t=1')


def test_keys_that_were_not_used_for_long_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("watcher.api.rate_limit._MAX_KEYS", 10)
    now = [0.0]
    limit = RateLimit(1, clock=lambda: now[0])
    for n in range(10):
        limit.take(str(n))
    now[0] += 60
    assert limit.take("new")[1] is None
    assert limit.take("new")[1] is not None
    for n in range(100):
        limit.take(f"more {n}")
    assert len(limit._buckets) <= 11


async def test_other_origins_are_allowed_only_where_the_settings_say_so(fixture: LedgerFixture) -> None:
    asked = {"origin": "https://admin.shop.example", "access-control-request-method": "POST"}
    async with ApiFixture(fixture) as api:
        answer = await api.client.get(PATH, headers=asked)
        assert not [name for name in answer.headers if name.startswith("access-control")]
    second = ApiFixture(fixture, http_cors_origins=["https://admin.shop.example"])
    async with second as api:
        preflight = await api.stranger.options(PATH, headers=asked)
        assert preflight.status_code == 200
        assert preflight.headers["access-control-allow-origin"] == "https://admin.shop.example"
        answer = await api.client.get(PATH, headers=asked)
        assert answer.headers["access-control-allow-origin"] == "https://admin.shop.example"
        assert "RateLimit" in answer.headers["access-control-expose-headers"]
        stranger = await api.client.get(PATH, headers={"origin": "https://evil.example"})
        assert "access-control-allow-origin" not in stranger.headers


async def test_what_can_be_got_has_a_head(sqlite_api: ApiFixture) -> None:
    intent = await sqlite_api.create()
    for path in ("/healthz", "/openapi.json", PATH, f"{PATH}/{intent['id']}"):
        whole, head = await sqlite_api.client.get(path), await sqlite_api.client.head(path)
        assert (head.status_code, head.content) == (200, b""), path
        for name in ("content-type", "content-length", "etag"):
            assert head.headers.get(name) == whole.headers.get(name), path
    assert (await sqlite_api.stranger.head(PATH)).status_code == 401


async def test_a_wrong_method_is_told_all_that_are_right(sqlite_api: ApiFixture) -> None:
    endpoint = "/v1/webhook_endpoints"
    for path, right in (
        (PATH, "GET, HEAD, POST"),
        (f"{PATH}/pi_x", "GET, HEAD"),
        (f"{endpoint}/we_x", "DELETE, GET, HEAD, PATCH"),
        (f"{PATH}/bulk", "GET, HEAD, POST"),  # there could be an intent of that name
        ("/healthz", "GET, HEAD"),
    ):
        answer = await sqlite_api.client.put(path)
        assert problem(answer) == (405, "method_not_allowed")
        assert answer.headers["allow"] == right, path


def test_a_limit_has_the_window_that_it_is_given_and_takes_back_what_does_not_count() -> None:
    """Ten an hour, one every six minutes; a request that is given back is not missing."""
    now = [0.0]
    limit = RateLimit(10, window=3600, clock=lambda: now[0])
    for _ in range(10):
        assert limit.take("a")[1] is None
    assert limit.take("a") == (
        {"ratelimit-policy": '"default";q=10;w=3600', "ratelimit": '"default";r=0;t=3600'},
        360,
    )
    limit.give_back("a")
    assert limit.take("a")[1] is None
    assert limit.take("a")[1] == 360
    now[0] = 360.0
    assert limit.take("a")[1] is None
    limit.give_back("nobody")
    for _ in range(12):
        limit.give_back("b") if limit.take("b")[1] is None else None
    assert limit.take("b")[0]["ratelimit"].startswith('"default";r=9;')
