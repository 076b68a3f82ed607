"""The client's rules without a network: what is tried again, after which pause, and what answers become."""

import json
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from watcher.client import (
    ApiError,
    Client,
    NotFound,
    RateLimited,
    Refused,
    Unauthorized,
    Unreachable,
)
from watcher.client.request import Request, encode_query
from watcher.client.retry import (
    MAX_RETRY_AFTER_SECONDS,
    NetworkError,
    Reply,
    RetryRules,
    SendRequest,
    Sleep,
    read,
    send_with_retries,
)
from watcher.domain.model import Status
from watcher.schemas import NewPaymentIntent

RULES = RetryRules(timeout=30, retries=3, random=lambda: 0.0, fresh_key=lambda: "fresh")
READ = Client.status.build()
CHANGE = Client.cancel_intent.build("pi_1", reason="x")


def reply(status: int, body: Any = None, **headers: str) -> Reply:
    """Return an answer; problems are a code."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    if status >= 400 and isinstance(body, str):
        body = {"title": "t", "status": status, "code": body, "detail": f"about {body}"}
        named = {"content-type": "application/problem+json; charset=utf-8"} | named
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Reply(status=status, headers=named, body=content)


def run(
    request: Request[Any], *outcomes: Reply | NetworkError, rules: RetryRules = RULES
) -> tuple[Any, list[Any]]:
    """Return the document or error that a request ends in, and the tries and pauses on the way."""
    steps: list[Any] = []
    left = list(outcomes)
    talk = send_with_retries(request, rules)
    given: Reply | NetworkError | None = None
    try:
        while True:
            step = talk.send(given)
            steps.append(step)
            given = left.pop(0) if isinstance(step, SendRequest) else None
    except StopIteration as done:
        document, _ = done.value
        ended: Any = document
    except ApiError as error:
        ended = error
    assert not left, "every outcome was asked for"
    return ended, steps


def pauses(steps: list[Any]) -> list[float]:
    return [step.seconds for step in steps if isinstance(step, Sleep)]


def test_a_lost_connection_is_tried_again_under_the_same_key() -> None:
    found, steps = run(CHANGE, NetworkError("reset"), NetworkError("reset"), reply(200, {"id": "pi_1"}))
    tries = [step for step in steps if isinstance(step, SendRequest)]
    assert found == {"id": "pi_1"}
    assert [attempt.headers["idempotency-key"] for attempt in tries] == ["fresh"] * 3
    assert pauses(steps) == [0.5, 1.0]


def test_pauses_double_up_to_a_limit_and_are_cut_at_random() -> None:
    lost = [NetworkError("reset")] * 8
    longer = RetryRules(timeout=30, retries=7, random=lambda: 0.0, fresh_key=lambda: "k")
    shorter = RetryRules(timeout=30, retries=7, random=lambda: 1.0, fresh_key=lambda: "k")
    assert pauses(run(READ, *lost, rules=longer)[1]) == [0.5, 1, 2, 4, 8, 8, 8]
    assert pauses(run(READ, *lost, rules=shorter)[1]) == [0.25, 0.5, 1, 2, 4, 4, 4]


@pytest.mark.parametrize(
    ("status", "code"),
    [(429, "rate_limited"), (503, "unavailable"), (502, b""), (504, b""), (409, "idempotency_in_progress")],
)
def test_what_may_work_later_is_tried_again_as_late_as_the_server_says(status: int, code: Any) -> None:
    found, steps = run(READ, reply(status, code, retry_after="7"), reply(200, {"a": 1}))
    assert (found, pauses(steps)) == ({"a": 1}, [7.0])
    assert pauses(run(READ, reply(status, code), reply(200, {}))[1]) == [0.5]


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "invalid_json", Refused),
        (401, "unauthorized", Unauthorized),
        (403, "missing_scope", Unauthorized),
        (404, "not_found", NotFound),
        (409, "reference_taken", Refused),
        (413, "body_too_large", Refused),
        (415, "unsupported_media_type", Refused),
        (422, "validation", Refused),
        (500, "internal_error", ApiError),
        (408, "request_timeout", ApiError),
    ],
)
def test_what_would_be_refused_again_is_not_tried_again(status: int, code: str, kind: type[ApiError]) -> None:
    error, steps = run(CHANGE, reply(status, code, x_request_id="req_1"))
    assert type(error) is kind
    assert (error.status, error.code, str(error), error.request_id) == (
        status,
        code,
        f"about {code}",
        "req_1",
    )
    assert pauses(steps) == []


def test_an_error_names_its_fields() -> None:
    body = {"title": "t", "status": 422, "code": "validation", "detail": "d"}
    body |= {"errors": [{"field": "amount", "message": "is missing"}]}
    answer = reply(422, body, content_type="application/problem+json")
    error, _ = run(CHANGE, answer)
    assert [(wrong.field, wrong.message) for wrong in error.errors] == [("amount", "is missing")]


def test_the_last_error_is_raised_when_the_tries_are_used_up() -> None:
    error, steps = run(READ, *[reply(429, "rate_limited", retry_after="3")] * 4)
    assert (type(error), error.retry_after, len(steps)) == (RateLimited, 3.0, 7)
    error, _ = run(READ, *[NetworkError("nobody there")] * 4)
    assert (type(error), str(error), error.status) == (Unreachable, "nobody there", None)


def test_a_server_that_wants_a_long_pause_is_not_waited_for() -> None:
    error, steps = run(READ, reply(429, "rate_limited", retry_after=str(MAX_RETRY_AFTER_SECONDS + 1)))
    assert (type(error), pauses(steps)) == (RateLimited, [])


@pytest.mark.parametrize("text", ["soon", "nan", "inf", "-5", "Wed, 21 Oct 2026 07:28:00 GMT"])
def test_a_pause_that_makes_no_sense_is_not_obeyed(text: str) -> None:
    assert pauses(run(READ, reply(503, "unavailable", retry_after=text), reply(200, {}))[1]) == [0.5]


@pytest.mark.parametrize("body", [b"<html>", b"[1]", b"", b"[" * 100_000, b"\xff"])
def test_an_answer_that_is_not_this_apis_is_unreachable(body: bytes) -> None:
    error, _ = run(READ, reply(200, body))
    assert (type(error), error.code) == (Unreachable, "unknown_answer")


def test_a_redirect_and_another_servers_errors_are_unreachable() -> None:
    error, _ = run(READ, reply(307, b"", location="https://evil.example/"))
    assert (type(error), error.code) == (Unreachable, "redirected")
    for body, kind in ((b"<html>", "text/html"), (b"{}", "application/problem+json")):
        error, _ = run(READ, reply(404, body, content_type=kind))
        assert (type(error), error.code) == (Unreachable, "http_404")
    error, _ = run(READ, *[reply(429, b"slow down")] * 4)
    assert type(error) is RateLimited


def test_a_document_of_another_shape_is_unreachable_and_says_where() -> None:
    with pytest.raises(Unreachable, match=r"Transfer\.object: Field required"):
        read(Client.transfer.build("tr_1"), {"id": "tr_1"}, reply(200, {}))


def test_a_callers_own_key_is_used_and_looking_needs_none() -> None:
    first = next(send_with_retries(Client.create_intent.build(5, idempotency_key="mine"), RULES))
    assert isinstance(first, SendRequest)
    assert first.headers["idempotency-key"] == "mine"
    read = next(send_with_retries(READ, RULES))
    assert isinstance(read, SendRequest)
    assert "idempotency-key" not in read.headers
    assert read.content is None


def test_what_json_cannot_carry_is_refused_before_it_is_sent() -> None:
    for value in (float("nan"), object(), {1, 2}):
        with pytest.raises(Refused, match="not JSON"):
            next(send_with_retries(Client.create_intent.build(value), RULES))


@pytest.mark.parametrize("key", ["", "a\nb", "schlüssel", "x" * 256])
def test_an_idempotency_key_that_is_none_is_refused_before_it_is_sent(key: str) -> None:
    with pytest.raises(Refused, match="printable ASCII"):
        next(send_with_retries(Client.create_intent.build(5, idempotency_key=key), RULES))


def test_half_a_character_is_refused_before_it_is_sent() -> None:
    for request in (
        Client.intents.build(reference="\ud800"),
        Client.create_intent.build(5, reference="\ud800"),
    ):
        with pytest.raises(Refused, match="not Unicode"):
            next(send_with_retries(request, RULES))


@pytest.mark.parametrize("odd", ["", "../admin", "a/b", "a?b", "..", "x" * 65, "é"])
def test_an_id_that_would_lead_elsewhere_does_not_exist(odd: str) -> None:
    with pytest.raises(NotFound):
        Client.intent.build(odd)


def test_times_and_lists_are_written_as_the_api_reads_them() -> None:
    when = datetime(2026, 1, 31, 13, 0, 0, 999, tzinfo=timezone(timedelta(hours=1)))
    assert encode_query({"a": None, "b": True, "c": False, "d": when, "e": Status.PENDING, "f": 7}) == {
        "b": "true",
        "c": "false",
        "d": "2026-01-31T12:00:00.000Z",
        "e": "pending",
        "f": "7",
    }
    assert encode_query({"metadata": {"a": "1", "b": "2"}}) == {"metadata[a]": "1", "metadata[b]": "2"}
    body = Client.create_intent.build(5, expires_at=when.replace(microsecond=0), metadata={"a": "b"}).body
    assert body == {"amount": 5, "expires_at": "2026-01-31T12:00:00.000Z", "metadata": {"a": "b"}}
    many = Client.create_intents.build([NewPaymentIntent(amount=5, level=None), {"amount": 6, "payer": None}])
    assert many.body == {"intents": [{"amount": "5", "level": None}, {"amount": 6}]}


def test_what_is_none_is_not_sent_except_to_set_a_merchant_back() -> None:
    assert Client.change_endpoint.build("we_1", status="enabled").body == {"status": "enabled"}
    assert Client.change_merchant.build("mer_1", {"ttl": None}).body == {"ttl": None}
    assert Client.pull.build().query == {"after": ""}
    assert Client.pull.build("evt_1", limit=5).query == {"after": "evt_1", "limit": "5"}


@pytest.mark.parametrize(
    "url",
    [
        "ftp://a",
        "pay.example",
        "",
        "http://pay.example",
        "http://10.0.0.1",
        "http://localhost.evil.example",
        "https://user:pw@a",
        "https://a?x=1",
        "https://a#x",
        "https://[::1",
    ],
)
def test_an_address_that_is_none_or_would_show_the_key_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"address|would show the key"):
        Client(url, "sk_live_x")


@pytest.mark.parametrize("url", ["https://a/", "http://127.0.0.1:1", "http://[::1]:1/x/", "http://localhost"])
def test_https_and_this_machine_are_taken(url: str) -> None:
    with Client(url, "sk_live_x") as client:
        assert repr(client) == f"Client({url.rstrip('/')!r})"
    Client("http://pay.example", "sk_live_x", allow_http=True).close()


@pytest.mark.parametrize("key", ["", "a b", "a\nb", "schlüssel"])
def test_a_key_that_is_none_is_refused_and_not_quoted(key: str) -> None:
    with pytest.raises(ValueError, match="API key") as error:
        Client("https://a", key)
    assert not key or key not in str(error.value)


def test_a_wait_ends_with_its_time_and_never_hurries() -> None:
    """The clock moves as the server takes its time."""

    class Found:
        status = "pending"

    now = [0.0]
    talk = Client.wait_for.build("pi_1", 65, clock=lambda: now[0])
    asked = [next(talk)]
    for seconds in (0.0, 30.0, 30.0, 0.5, 0.0):
        now[0] += seconds
        asked.append(talk.send(Found()))
    assert [step.query.get("wait") if isinstance(step, Request) else step for step in asked] == [
        None,
        "30s",
        "30s",
        "5s",
        Sleep(1.0),
        "4s",
    ]
    now[0] += 4
    with pytest.raises(StopIteration):
        talk.send(Found())
