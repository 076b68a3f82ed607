"""Payment links: whether one can be used, what may be paid with it, and how often it was used (pure)."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum

from watcher.domain.day_counts import DayCount

#: The least amount of an open link, base units.
MIN_AMOUNT = 1


class LinkStatus(StrEnum):
    """Whether a link can be used, and why not."""

    ACTIVE = "active"
    DISABLED = "disabled"
    EXPIRED = "expired"
    #: As many of its intents are open or paid as it allows.
    USED_UP = "used_up"


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What may be paid in one asset: exactly ``amount``, or from ``least`` to ``most`` where it is None."""

    asset: str
    amount: int | None = None
    least: int = MIN_AMOUNT
    #: None for no limit.
    most: int | None = None

    def allows(self, amount: int) -> bool:
        """Return whether this amount may be paid."""
        if self.amount is not None:
            return amount == self.amount
        return amount >= self.least and (self.most is None or amount <= self.most)


def link_status(
    *, active: bool, expires_at: int | None, max_uses: int | None, uses: int, time: int
) -> LinkStatus:
    """Return whether a link can be used at this time of the chain."""
    if not active:
        return LinkStatus.DISABLED
    if expires_at is not None and time >= expires_at:
        return LinkStatus.EXPIRED
    if max_uses is not None and uses >= max_uses:
        return LinkStatus.USED_UP
    return LinkStatus.ACTIVE


def uses(count: DayCount) -> int:
    """Return how many uses the intents of a link take: those that are open or paid."""
    return count.created - count.failed - count.expired - count.canceled


def prices_of(
    *,
    amount: int | None,
    asset: str | None,
    least: int | None,
    most: int | None,
    prices: Mapping[str, int] | None,
    known: Collection[str],
) -> tuple[Price, ...]:
    """Return what may be paid with a link, in the merchant's order; assets that are not ``known`` are left
    out.
    """
    if prices:
        return tuple(Price(asset=name, amount=each) for name, each in prices.items() if name in known)
    if asset is None or asset not in known:
        return ()
    return (Price(asset=asset, amount=amount, least=least or MIN_AMOUNT, most=most),)
