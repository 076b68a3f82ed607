"""Errors of this package, each with its exit code.

::

    WatcherError
    ├── UsageError        2   invalid arguments
    ├── Refused           2   a request that cannot be granted, with its fields
    ├── ConfigError       2   invalid settings
    ├── NotFound          1   no object of that id or name
    ├── Unreachable       3   a source, the database or the daemon does not answer
    ├── Halted            3   the daemon stopped on purpose; an operator decides
    ├── LeaseHeld         3   another follower works on this database
    └── LeaseLost         3   another follower took this database over

The command line prints the message and the hint, never a traceback, and exits with ``exit_code``.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, TypeVar

_T = TypeVar("_T")


class WatcherError(Exception):
    """Base of the errors meant for users: the message says what is wrong, ``hint`` what to do."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        #: What to do about it; empty when the message says so already.
        self.hint = hint


class UsageError(WatcherError):
    """Invalid arguments of a command or call."""

    exit_code = 2


class Refused(WatcherError):
    """A request that cannot be granted; nothing is stored.

    ``code`` is short and stable (``validation``, ``reference_taken``, …); ``errors`` holds a field and
    message each.
    """

    exit_code = 2

    def __init__(
        self, code: str, message: str = "", *, errors: Sequence[Mapping[str, str]] = (), hint: str = ""
    ) -> None:
        lines = [f"{error['field']}: {error['message']}" for error in errors]
        super().__init__(message or "\n".join(lines), hint)
        self.code = code
        self.errors = [dict(error) for error in errors]


class ConfigError(WatcherError):
    """Invalid settings. One line per problem: the setting, what is wrong, what to write instead."""

    exit_code = 2


class NotFound(WatcherError):
    """No object of that id or name."""


class Unreachable(WatcherError):
    """A source, the database or the daemon does not answer."""

    exit_code = 3


class Halted(WatcherError):
    """The daemon stopped applying blocks; an operator has to decide how it continues."""

    exit_code = 3


class LeaseHeld(WatcherError):
    """Another process follows the chain on this database."""

    exit_code = 3


class LeaseLost(WatcherError):
    """Another process took over following the chain; this one commits nothing more."""

    exit_code = 3


class Problems:
    """Collector of a request's field errors."""

    def __init__(self) -> None:
        self.errors: list[dict[str, str]] = []

    def add(self, field: str, message: str) -> None:
        """Add an error of a field."""
        self.errors.append({"field": field, "message": message})

    def read(self, field: str, reader: Callable[[Any], _T], value: object, stand_in: _T) -> _T:
        """Return ``reader(value)``; when it raises ValueError, add the error and return ``stand_in``."""
        try:
            return reader(value)
        except ValueError as error:
            self.add(field, str(error))
            return stand_in

    def about(self, *fields: str) -> bool:
        """Say whether one of these fields has an error."""
        return any(error["field"] in fields for error in self.errors)

    def check(self) -> None:
        """Raise :class:`Refused` when there is any error."""
        if self.errors:
            raise Refused("validation", errors=self.errors)
