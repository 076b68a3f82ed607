"""The later and the earlier of two clocks, either of which may be wrong."""

from hypothesis import given
from hypothesis import strategies as st

from watcher.domain.clocks import Clocks

TIMES = st.integers(0, 4_000_000_000)


def test_without_a_chain_the_machine_clock_is_all_there_is() -> None:
    """Before the first block both are the machine's, cut to whole seconds."""
    clocks = Clocks(machine=1_800_000_000.75)
    assert (clocks.earlier, clocks.later) == (1_800_000_000, 1_800_000_000)


@given(TIMES, TIMES)
def test_neither_clock_decides_alone(machine: int, chain: int) -> None:
    """The later is never behind either clock, the earlier never ahead of either."""
    clocks = Clocks(machine=machine, chain=chain)
    assert clocks.earlier == min(machine, chain)
    assert clocks.later == max(machine, chain)


def test_a_chain_clock_that_only_catches_up_makes_no_creation_earlier() -> None:
    """While a week of blocks is still to be read, a creation is dated by the tip, not by the last block."""
    clocks = Clocks(machine=1_800_000_000, chain=1_799_400_000, tip=1_799_999_990)
    assert (clocks.earlier, clocks.later) == (1_799_999_990, 1_800_000_000)


def test_a_tip_that_is_only_reported_is_no_reason_to_live_longer() -> None:
    """The tip that a source reports moves no lifetime, and no creation beyond the machine clock."""
    clocks = Clocks(machine=1_800_000_000, chain=1_799_999_000, tip=1_800_003_600)
    assert (clocks.earlier, clocks.later) == (1_800_000_000, 1_800_000_000)
