"""Lenient parsing of responses that are not valid HTTP."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from notifier.status_line import read_head


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"HTTP/1.1 200 OK\r\n", 200),
        (b"HTTP/1.1 204\r\n", 204),
        (b"HTTP/1.0 201 \n", 201),
        (b"HTTP/2 202\r\n", 202),
        (b"http/1.1  200\tfine\r\n", 200),
        (b"\r\n\nHTTP/1.1 200 OK\r\n", 200),
        (b"HTTP/1.1 200 OK\rServer: x\r", 200),
        (b"HTTP/1.1 500 \x00\xff\r\n", 500),
        (b"HTTP/1.1 999 No\r\n", 999),
        (b"HTTP/1.1 101 Switching\r\n\r\n", 101),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n", 200),
        (b"HTTP/1.1 103 Early\nLink: x\n\nHTTP/1.1 102\r\n\r\nHTTP/1.1 410 Gone\r\n", 410),
    ],
)
def test_a_complete_status_line_is_read(raw, status):
    """Any version, reason phrase, line ends and interim responses are accepted."""
    head = read_head(raw)
    assert head is not None
    assert head.status == status


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"HTTP/1.1 200 OK",
        b"HTTP/1.1 2",
        b"HTTP/1.1 2000 OK\r\n",
        b"HTTP/1.1 000 No\r\n",
        b"HTTP/1.1 2\x0000 OK\r\n",
        b"HTTP/1.1 abc\r\n",
        b"HTTP 200 OK\r\n",
        b"SSH-2.0-OpenSSH_9\r\n",
        b"x HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 103 Early\r\n",
        b"HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 200 OK",
        b"HTTP/1.1 100 Continue\r\n\r\nrubbish 200\r\n",
    ],
)
def test_what_is_no_complete_status_line_is_none(raw):
    """An incomplete line could become another status, and an interim response is not final."""
    assert read_head(raw) is None


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"Server : x\r\nRetry-After: 120\r\n\r\n", "120"),
        (b"RETRY-AFTER :120\n\n", "120"),
        (b"retry-after:\r\n 120\r\n\r\n", "120"),
        (b"Retry-After: Thu, 01 Jan 1970\r\n\t00:00:00 GMT\r\n\r\n", "Thu, 01 Jan 1970 00:00:00 GMT"),
        (b"Retry-After: 120\r\nX: cut off", "120"),
        (b"Retry-After: 12", None),
        (b"X-Retry-After: 12\r\n\r\n", None),
        (b"X: y\r\n\r\nRetry-After: 12\r\n", None),
        (b"\r\n", None),
        (b"Retry-After: \xff\x00\r\n\r\n", "\xff\x00"),
    ],
)
def test_retry_after_is_read_where_it_is_complete_and_in_the_head(head, expected):
    """Space before the colon, folded lines and other malformed lines do not hide it."""
    found = read_head(b"HTTP/1.1 503 No\r\n" + head)
    assert found is not None
    assert found.retry_after == expected


def test_the_body_is_what_follows_the_head():
    """Unchanged; empty while the head is incomplete."""
    assert read_head(b"HTTP/1.1 204 No\r\nServer : x\r\n\r\nok\n\nok").body == b"ok\n\nok"
    assert read_head(b"HTTP/1.1 200 OK\n\nok").body == b"ok"
    assert read_head(b"HTTP/1.1 200 OK\r\nServer : x\r\n").body == b""


@given(st.binary(max_size=300), st.binary(max_size=300))
@example(b"", b"HTTP/1.1 200 OK\r\n")
def test_nothing_that_comes_raises_and_nothing_after_the_status_changes_it(before, after):
    """Never raises, and more bytes never change a status."""
    read_head(before + after)
    head = read_head(b"HTTP/1.1 200 OK\r\n" + after)
    assert head is not None
    assert head.status == 200
    early = read_head(before)
    assert early is None or read_head(before + after).status == early.status
