"""Logging: events with fields, JSON off a terminal, other libraries from warning up, no secrets."""

import io
import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from pydantic import SecretStr

from watcher import log
from watcher.journal import is_journal


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _restored_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    levels = {name: logging.getLogger(name).level for name in log.OUR_PACKAGES}
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, old in levels.items():
        logging.getLogger(name).setLevel(old)
    structlog.reset_defaults()


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_off_a_terminal_each_event_is_one_json_object_with_its_fields() -> None:
    stream = io.StringIO()
    log.configure("auto", "info", stream)
    log.get_logger("watcher.indexer.ledger").info("block.applied", height=5, hash="0xab")
    (line,) = lines(stream)
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "block.applied",
        "height": 5,
        "hash": "0xab",
        "level": "info",
        "logger": "watcher.indexer.ledger",
    }


def test_on_a_terminal_auto_is_readable_text() -> None:
    stream = Terminal()
    log.configure("auto", "info", stream)
    log.get_logger("watcher.indexer.ledger").info("block.applied", height=5)
    text = stream.getvalue()
    assert "block.applied" in text
    assert not text.startswith("{")


def test_the_format_can_be_chosen_whatever_the_stream_is() -> None:
    json_stream, console_stream = Terminal(), io.StringIO()
    log.configure("json", "info", json_stream)
    log.get_logger("watcher").info("one")
    log.configure("console", "info", console_stream)
    log.get_logger("watcher").info("two", height=7)
    assert [line["event"] for line in lines(json_stream)] == ["one"]
    assert "two" in console_stream.getvalue()
    assert "height=7" in console_stream.getvalue()
    assert "\x1b" not in console_stream.getvalue()


@pytest.mark.parametrize("form", ["console", "json"])
def test_what_strangers_wrote_does_not_steer_the_terminal(form: Any) -> None:
    """A request's path is untrusted; the console format does not quote text without blanks."""
    stream = io.StringIO()
    log.configure(form, stream=stream)
    log.get_logger("watcher.x").info("http.request", path="/\x1b]0;title\x07\x1b[31m\x9b1m\u202e\u2028\r")
    assert stream.getvalue().rstrip("\n").isprintable()
    assert "title" in stream.getvalue()


def test_the_level_hides_what_is_below_it() -> None:
    stream = io.StringIO()
    log.configure("json", "warning", stream)
    logger = log.get_logger("chain.source_pool")
    logger.info("hidden")
    logger.warning("shown")
    assert [line["event"] for line in lines(stream)] == ["shown"]


@pytest.mark.parametrize("name", ["aiohttp.access", "sqlalchemy.engine", "apscheduler.scheduler", "alembic"])
def test_other_libraries_speak_from_warning_on_and_in_the_same_form(name: str) -> None:
    stream = io.StringIO()
    log.configure("json", "debug", stream)
    logging.getLogger(name).info("chatter")
    logging.getLogger(name).warning("pool %s is full", "a", extra={"size": 3})
    (line,) = lines(stream)
    assert (line["event"], line["level"], line["logger"], line["size"]) == (
        "pool a is full",
        "warning",
        name,
        3,
    )


def test_plain_loggers_of_our_packages_follow_the_level() -> None:
    stream = io.StringIO()
    log.configure("json", "debug", stream)
    logging.getLogger("chain.block_reader").debug("read")
    assert [line["event"] for line in lines(stream)] == ["read"]


@pytest.mark.parametrize("form", ["json", "console"])
def test_secrets_are_masked(form: Any) -> None:
    stream = io.StringIO()
    log.configure(form, "info", stream)
    log.get_logger("watcher").info("api.called", key=SecretStr("hunter2hunter2"))
    assert "api.called" in stream.getvalue()
    assert "hunter2" not in stream.getvalue()


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_traceback_is_logged_without_local_variables(form: Any) -> None:
    stream = io.StringIO()
    log.configure(form, "info", stream)
    password = "hunter2"
    try:
        raise RuntimeError("boom" + password[:0])
    except RuntimeError:
        log.get_logger("watcher").exception("step.failed")
    assert "RuntimeError: boom" in stream.getvalue()
    assert "Traceback" in stream.getvalue()
    assert "hunter2" not in stream.getvalue()


def test_configuring_again_replaces_the_stream() -> None:
    first, second = io.StringIO(), io.StringIO()
    logger = log.get_logger("watcher")
    log.configure("json", "info", first)
    logger.info("one")
    log.configure("json", "info", second)
    logger.info("two")
    assert [line["event"] for line in lines(first)] == ["one"]
    assert [line["event"] for line in lines(second)] == ["two"]


def test_without_a_stream_events_go_to_stderr_and_stdout_stays_clean(
    capsys: pytest.CaptureFixture[str],
) -> None:
    log.configure("json", "info")
    log.get_logger("watcher").info("hello")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert json.loads(captured.err)["event"] == "hello"


@pytest.mark.parametrize("form", ["json", "console"])
def test_the_journal_is_given_the_priority_of_every_line(
    form: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In systemd's journal each line, tracebacks included, begins with the prefix of sd-daemon(3)."""
    with (tmp_path / "journal").open("w+") as stream:
        found = os.fstat(stream.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{found.st_ino}")
        log.configure(form, "debug", stream)
        logger = log.get_logger("watcher.indexer.ledger")
        logger.debug("d")
        logger.info("i")
        logger.warning("w")
        logger.error("e")
        logger.critical("c")
        try:
            raise RuntimeError("boom")
        except RuntimeError:
            logger.exception("x")
        stream.seek(0)
        written = stream.read().splitlines()
    assert [line[:3] for line in written[:5]] == ["<7>", "<6>", "<4>", "<3>", "<2>"]
    assert len(written) >= 6
    assert {line[:3] for line in written[5:]} == {"<3>"}
    if form == "json":
        assert json.loads(written[0][3:])["event"] == "d"


@pytest.mark.parametrize("said", ["", "1", "1:2", "x:y"])
def test_what_is_not_the_journal_gets_no_priorities(
    said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A redirected stream, or one that is no file, gets no prefix, whatever ``$JOURNAL_STREAM`` says."""
    monkeypatch.setenv("JOURNAL_STREAM", said)
    memory = io.StringIO()
    with (tmp_path / "file").open("w+") as stream:
        for place in (stream, memory):
            log.configure("json", "info", place)
            log.get_logger("watcher").info("one")
        stream.seek(0)
        assert stream.read().startswith("{")
    assert memory.getvalue().startswith("{")
    assert not is_journal(stream), "closed"
