"""Structured logging: an event name and fields, readable on a terminal, JSON everywhere else.

``get_logger(__name__).info("block.applied", height=5)``. Event names are stable; what varies goes into
fields. Secrets are :class:`pydantic.SecretStr`, whose representation is masked.
"""

import logging
import sys
from typing import Any, Literal, TextIO

import structlog
from structlog.typing import EventDict, Processor

from watcher.journal import is_journal, with_priority
from watcher.text import plain, plain_json

#: Loggers that follow ``log_level``; other libraries log from ``warning`` up.
OUR_PACKAGES = ("watcher", "chain", "contracts", "notifier")


def configure(
    format: Literal["auto", "console", "json"] = "auto",  # noqa: A002 - the setting's own word
    level: str = "info",
    stream: TextIO | None = None,
) -> None:
    """Send all logging of this process to ``stream`` (default: stderr), replacing an earlier configuration.

    ``format`` ``auto`` is ``console`` when the stream is a terminal, else ``json``: one object per line. When
    the stream is systemd's journal, each line begins with its priority, which the journal strips and
    ``journalctl -p`` filters by.
    """
    stream = sys.stderr if stream is None else stream
    console = format == "console" or (format == "auto" and stream.isatty())
    threshold = logging.getLevelNamesMapping()[level.upper()]
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.processors.StackInfoRenderer(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream)
    form = _JournalFormatter if is_journal(stream) else structlog.stdlib.ProcessorFormatter
    handler.setFormatter(
        form(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *(_console(colors=stream.isatty()) if console else _json()),
            ],
        )
    )
    root = logging.getLogger()
    for old in root.handlers[:]:
        if isinstance(old.formatter, structlog.stdlib.ProcessorFormatter):
            root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(max(threshold, logging.WARNING))
    for package in OUR_PACKAGES:
        logging.getLogger(package).setLevel(threshold)


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """Return the logger of a module; ``name`` is the module's ``__name__``."""
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return logger


class _JournalFormatter(structlog.stdlib.ProcessorFormatter):
    def format(self, record: logging.LogRecord) -> str:
        return with_priority(super().format(record), record.levelno)


def _console(*, colors: bool) -> list[Processor]:
    # The plain traceback formatter: the pretty ones print local variables, secrets included.
    return [
        _plain_fields,
        structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=structlog.dev.plain_traceback),
    ]


def _json() -> list[Processor]:
    return [
        structlog.processors.format_exc_info,
        structlog.processors.JSONRenderer(ensure_ascii=False, default=repr),
        lambda _logger, _method, line: plain_json(str(line)),
    ]


def _plain_fields(_logger: Any, _method: str, fields: EventDict) -> EventDict:
    """Escape control characters of untrusted text (request paths, API answers) for the terminal."""
    return {name: plain(value) if isinstance(value, str) else value for name, value in fields.items()}
