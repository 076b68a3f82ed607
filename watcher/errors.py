"""What ends a command, and with which exit code.

::

    WatcherError
    ├── UsageError        2   what was asked for makes no sense
    ├── Refused           2   a request that cannot be granted, with its fields
    ├── ConfigError       2   the settings make no sense
    ├── NotFound          1   the thing that was named does not exist
    ├── Unreachable       3   a source, the database or the daemon does not answer
    ├── Halted            3   the daemon stopped on purpose, and a person decides
    ├── LeaseHeld         3   another follower works on this database
    └── LeaseLost         3   another follower took this database over

The command line prints the message and the hint, never a traceback, and exits with ``exit_code``.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, TypeVar

_T = TypeVar("_T")


class WatcherError(Exception):
    """Base of everything this package raises for a person to read: what is wrong, and ``hint``, what to do."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        #: What to do about it; empty when the message says it already.
        self.hint = hint


class UsageError(WatcherError):
    """The arguments of a command or call make no sense."""

    exit_code = 2


class Refused(WatcherError):
    """A request that cannot be granted: nothing is stored.

    ``code`` is short and stable: ``validation``, ``reference_taken``, …; ``errors`` name the fields, each with a message.
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
    """The settings make no sense. One line per problem: the setting, what is wrong, what would be right."""

    exit_code = 2


class NotFound(WatcherError):
    """The thing that was named does not exist."""


class Unreachable(WatcherError):
    """A source, the database or the daemon does not answer."""

    exit_code = 3


class Halted(WatcherError):
    """The daemon does not move on, because it cannot know what is true; a person decides."""

    exit_code = 3


class LeaseHeld(WatcherError):
    """Another process follows the chain on this database."""

    exit_code = 3


class LeaseLost(WatcherError):
    """Another process took over following the chain; nothing more is committed by this one."""

    exit_code = 3


class Problems:
    """What is wrong with a request so far."""

    def __init__(self) -> None:
        self.errors: list[dict[str, str]] = []

    def add(self, field: str, message: str) -> None:
        """Note that a field is wrong."""
        self.errors.append({"field": field, "message": message})

    def read(self, field: str, reader: Callable[[Any], _T], value: object, stand_in: _T) -> _T:
        """Return what ``reader`` makes of a value; note what is wrong and go on with ``stand_in``."""
        try:
            return reader(value)
        except ValueError as error:
            self.add(field, str(error))
            return stand_in

    def about(self, *fields: str) -> bool:
        """Say whether one of these fields is known to be wrong."""
        return any(error["field"] in fields for error in self.errors)

    def check(self) -> None:
        """Raise :class:`Refused` when anything is wrong."""
        if self.errors:
            raise Refused("validation", errors=self.errors)
