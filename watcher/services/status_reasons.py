"""Why the daemon is not as it should be, as ``status`` and ``/readyz`` say it (pure); docs/runbook.md has a
part on each.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

#: So many seconds of difference between this machine's clock and the sources' are no matter.
MAX_SKEW_SECONDS = 60.0


class Code(StrEnum):
    """A short stable name for what is wrong."""

    #: The first poll of the chain is not done.
    STARTING = "starting"
    #: It cannot know what is true; a person decides.
    HALTED = "halted"
    #: The newest applied block is far behind the known tip, or the sources were not polled for long.
    LAGGING = "lagging"
    #: No living process follows the chain.
    NO_FOLLOWER = "no_follower"
    #: Webhooks are due, and no living process delivers them.
    NO_NOTIFIER = "no_notifier"
    #: The database does not answer.
    DATABASE = "database"
    #: The database answers, but takes nothing: full, locked, read-only.
    NOT_WRITABLE = "not_writable"
    #: This machine's clock and the sources' differ.
    CLOCK_SKEW = "clock_skew"
    #: A source does not serve as it should.
    SOURCE_FAILING = "source_failing"
    #: A source said what this version does not understand, and blocks were applied without it.
    UNKNOWN_WORDS = "unknown_words"
    #: A source announces the end of routes that are in use, or has switched them off.
    DEPRECATED_ROUTES = "deprecated_routes"
    #: Some merchants' endpoints fail.
    ENDPOINTS_FAILING = "endpoints_failing"
    #: An endpoint that only failed was disabled.
    ENDPOINT_DISABLED = "endpoint_disabled"
    #: Deliveries whose schedule is used up.
    DELIVERIES_DEAD = "deliveries_dead"


@dataclass(frozen=True, slots=True)
class Reason:
    """One thing that is wrong, for people, and what to do about it."""

    code: Code
    message: str
    hint: str = ""

    def document(self) -> dict[str, str]:
        """Return it as JSON has it."""
        return {**asdict(self), "code": self.code.value}


def no_follower() -> Reason:
    """Return the reason for a database without a follower."""
    return Reason(
        Code.NO_FOLLOWER,
        "no living process follows the chain: payments are not seen",
        "start `sbtc-watcher run`; if it runs, its log says why it cannot work or write",
    )


def no_notifier(due: int) -> Reason:
    """Return the reason for webhooks without a notifier."""
    webhooks = "1 webhook is due" if due == 1 else f"{due:,} webhooks are due"
    return Reason(
        Code.NO_NOTIFIER,
        f"{webhooks}, and no living process delivers",
        "start `sbtc-watcher run`, or one with --role notifier",
    )


def clock_skew(seconds: float) -> Reason | None:
    """Return the reason for a machine's clock that is ``seconds`` ahead of the sources'; None when it is near
    enough.
    """
    if abs(seconds) <= MAX_SKEW_SECONDS:
        return None
    return Reason(
        Code.CLOCK_SKEW,
        f"the follower's clock is {abs(seconds):,.0f} s {'ahead of' if seconds > 0 else 'behind'} "
        "the sources' clocks",
        "set the machine's clock, e.g. by NTP; webhooks are signed with its time",
    )


def deprecated_routes(sources: Sequence[Mapping[str, Any]]) -> Reason | None:
    """Return the reason for sources whose routes end or have ended, None without one.

    Nothing is wrong yet: the state stays what it is.
    """
    ending = [
        f"{source.get('url')} announces the end of {', '.join(routes)}"
        for source in sources
        if (routes := _without(source.get("deprecated_routes"), source.get("gone_routes")))
    ]
    ended = [
        f"{source.get('url')} has no {', '.join(gone)} any more"
        for source in sources
        if (gone := source.get("gone_routes"))
    ]
    if not ending and not ended:
        return None
    hint = (
        "nothing has to be done: events are then read one transaction at a time, which takes more requests"
        if not ended
        else "events are read one transaction at a time, where it takes fewer requests of those that concern "
        "us (read_mode): labels of transfers to addresses that nobody watches are not seen then, nor why a "
        "transaction was dropped from the mempool"
    )
    return Reason(Code.DEPRECATED_ROUTES, "; ".join([*ended, *ending]), hint)


def _without(routes: Sequence[str] | None, gone: Sequence[str] | None) -> list[str]:
    return [route for route in routes or () if route not in (gone or ())]


def not_writable(why: str) -> Reason:
    """Return the reason for a database that takes nothing."""
    return Reason(
        Code.NOT_WRITABLE,
        f"the database takes no writes: {why}",
        "make room on its disk, end what locks it, make it writable; the daemon goes on by itself",
    )
