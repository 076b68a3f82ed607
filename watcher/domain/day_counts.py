"""What intents add to the counters of days, so that statistics read few rows of many intents (pure).

A day is a UTC day, as its number since 1970.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import astuple, dataclass
from operator import attrgetter
from typing import Final, NamedTuple

from watcher.domain.model import Status

DAY_SECONDS: Final = 86_400


class DayKey(NamedTuple):
    """What the intents of a counter have in common."""

    #: The merchant, or the payment link.
    owner: str
    day: int
    asset: str


@dataclass(frozen=True, slots=True)
class DayCount:
    """The counters of one merchant or payment link, day and asset, or what is to be added to them."""

    #: Intents created on the day, and how many of these have each final status now.
    created: int = 0
    succeeded: int = 0
    failed: int = 0
    expired: int = 0
    canceled: int = 0
    #: Of those that expired, those for which nothing ever came.
    abandoned: int = 0
    #: Intents that succeeded on the day and still are so, and what they received.
    paid: int = 0
    received: int = 0

    def __add__(self, other: "DayCount") -> "DayCount":
        return DayCount(*(mine + theirs for mine, theirs in zip(astuple(self), astuple(other), strict=True)))

    def __neg__(self) -> "DayCount":
        return DayCount(*(-number for number in astuple(self)))


@dataclass(frozen=True, slots=True, kw_only=True)
class CountedIntent:
    """The part of an intent that the counters depend on; times are unix seconds."""

    merchant: str
    asset: str
    created_at: int
    status: str
    received: int
    #: Chain time of the newest success; it stays when a reorg takes the success back.
    succeeded_at: int | None
    #: The link that it was started from.
    payment_link: str | None = None


#: Whose counters an intent is counted in; None for none.
Owner = Callable[[CountedIntent], str | None]

MERCHANT: Final[Owner] = attrgetter("merchant")
PAYMENT_LINK: Final[Owner] = attrgetter("payment_link")

_FINAL: Final = {
    Status.SUCCEEDED: DayCount(succeeded=1),
    Status.FAILED: DayCount(failed=1),
    Status.EXPIRED: DayCount(expired=1),
    Status.CANCELED: DayCount(canceled=1),
}


def changes(
    intents: Iterable[tuple[CountedIntent | None, CountedIntent]], owner: Owner = MERCHANT
) -> dict[DayKey, DayCount]:
    """Return what is to be added to the counters for intents before (None: new) and after a change.

    Counters that stay as they are, are left out; the others come in the order of their keys.
    """
    sums: defaultdict[DayKey, DayCount] = defaultdict(DayCount)
    for before, after in intents:
        if before == after:
            continue
        for key, share in _shares(after, owner):
            sums[key] += share
        for key, share in _shares(before, owner) if before is not None else ():
            sums[key] += -share
    return {key: sums[key] for key in sorted(sums) if sums[key] != DayCount()}


def day_of(time: float) -> int:
    """Return the UTC day of a unix time."""
    return int(time // DAY_SECONDS)


def _shares(intent: CountedIntent, owner: Owner) -> list[tuple[DayKey, DayCount]]:
    """Return what an intent adds to which counters."""
    whose = owner(intent)
    if whose is None:
        return []
    created = DayKey(whose, day_of(intent.created_at), intent.asset)
    shares = [(created, DayCount(created=1))]
    status = Status(intent.status)
    if status in _FINAL:
        shares.append((created, _FINAL[status]))
    if status is Status.EXPIRED and not intent.received:
        shares.append((created, DayCount(abandoned=1)))
    if status is Status.SUCCEEDED:
        day = day_of(intent.created_at if intent.succeeded_at is None else intent.succeeded_at)
        shares.append((created._replace(day=day), DayCount(paid=1, received=intent.received)))
    return shares
