"""The machine clock and the chain clock together (pure): either may be wrong by hours, so neither decides alone."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Clocks:
    """Both clocks at one moment, unix seconds. Without a chain clock the machine clock is all there is."""

    machine: float
    #: Time of the newest applied block; None before the first one.
    chain: int | None = None
    #: Time of the newest block that a source reported: while blocks are still to be applied, the chain clock lags.
    tip: int | None = None

    @property
    def later(self) -> int:
        """The later clock, which lifetimes count from: nothing is over before it began."""
        return int(max(time for time in (self.machine, self.chain) if time is not None))

    @property
    def earlier(self) -> int:
        """The earlier clock, which says when something was created: no money that came since is too early.

        A chain clock that lags behind the tip is not wrong, only late; the tip stands in for it.
        """
        known = [time for time in (self.chain, self.tip) if time is not None]
        return int(min(self.machine, max(known))) if known else int(self.machine)
