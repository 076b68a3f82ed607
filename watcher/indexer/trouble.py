"""Trouble of a part that polls: logged when it begins or changes and when it is over, not at every poll."""

from typing import Any

from sqlalchemy.exc import SQLAlchemyError
from structlog.stdlib import BoundLogger

from notifier.database_errors import is_outage, reason_of
from watcher import unforeseen

#: Distinct alarms that are logged, each once.
MAX_LOGGED_ONCE = 1000


class DatabaseTrouble(str):
    """The trouble of a poll, in one line: a transaction that failed."""

    __slots__ = ()


class TroubleLog:
    """Log of a part's trouble; ``last`` is the present trouble in one line, None without any."""

    def __init__(self, log: BoundLogger) -> None:
        self._log = log
        self._logged_once: set[tuple[str, str]] = set()
        self.last: str | None = None

    def error(self, name: str, reason: str, *, kind: type[str] = str, **fields: Any) -> None:
        """Log a trouble that keeps the part from its work."""
        if self._is_new(kind(f"{name} {reason}")):
            self._log.error(name, reason=reason, **fields)

    def warning(self, name: str, reason: str) -> None:
        """Log a trouble that costs little."""
        if self._is_new(f"{name} {reason}"):
            self._log.warning(name, reason=reason)

    def database(self, error: SQLAlchemyError, where: str) -> None:
        """Log a failed transaction; one that is no outage is also reported as unforeseen, at ``where``."""
        if not is_outage(error):
            unforeseen.report(where, error)
        self.error("database.failed", reason_of(error), kind=DatabaseTrouble)

    def once(self, name: str, reason: str, **fields: Any) -> None:
        """Log an alarm once per process, however often it occurs."""
        if (name, reason) not in self._logged_once and len(self._logged_once) < MAX_LOGGED_ONCE:
            self._logged_once.add((name, reason))
            self._log.error(name, reason=reason, **fields)

    def _is_new(self, text: str) -> bool:
        if text == self.last:
            return False
        self.last = text
        return True
