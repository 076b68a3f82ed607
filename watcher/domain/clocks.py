"""The machine clock and the chain clock (pure). Either may be wrong by hours, so neither decides alone."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Clocks:
    """Both clocks at one moment, unix seconds; before the first block only the machine clock."""

    machine: float
    #: Time of the newest applied block; None before the first one.
    chain: int | None = None
    #: Time of the newest block that a source reported; the chain clock lags behind it while catching up.
    tip: int | None = None

    @property
    def later(self) -> int:
        """The later clock, from which lifetimes are counted: no intent expires too early."""
        return int(max(time for time in (self.machine, self.chain) if time is not None))

    @property
    def earlier(self) -> int:
        """The earlier clock, which dates the creation of an intent: no later payment is too old for it.

        A chain clock that lags behind the tip is late, not wrong: the time of the tip replaces it.
        """
        known = [time for time in (self.chain, self.tip) if time is not None]
        return int(min(self.machine, max(known))) if known else int(self.machine)
