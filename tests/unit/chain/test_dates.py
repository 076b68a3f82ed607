"""The latest that it may be: this machine's clock, and the dates of the other servers, or of one that is alone."""

from email.utils import formatdate

import pytest

from chain.dates import HEARD, ServerDates

NOW = 1_800_000_000
HOUR = 3600


class Clocks:
    """This machine's two clocks."""

    def __init__(self) -> None:
        self.now = float(NOW)
        self.monotonic = 50.0

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.monotonic += seconds


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


@pytest.fixture
def dates(clocks: Clocks) -> ServerDates:
    return ServerDates(now=lambda: clocks.now, monotonic=lambda: clocks.monotonic)


def say(dates: ServerDates, url: str, time: float) -> None:
    dates.observe(url, {"date": formatdate(time, usegmt=True)})


def test_without_servers_it_is_what_this_machine_says(dates: ServerDates) -> None:
    assert dates.latest("a") == NOW


def test_a_server_that_is_alone_speaks_for_itself(dates: ServerDates) -> None:
    """This machine's clock may be hours behind."""
    say(dates, "a", NOW + 5 * HOUR)
    assert dates.latest("a") == NOW + 5 * HOUR


def test_another_server_speaks_for_it_once_there_is_one(dates: ServerDates) -> None:
    """Whoever dates a block in the year 9999 dates its answer so, too."""
    say(dates, "liar", 253_402_300_799)
    say(dates, "honest", NOW + 60)
    assert dates.latest("liar") == NOW + 60


def test_this_machines_clock_counts_when_the_servers_are_behind_it(dates: ServerDates) -> None:
    say(dates, "a", NOW - 5 * HOUR)
    assert dates.latest("a") == NOW


def test_a_date_goes_on_with_the_time_that_passes_and_whatever_the_clock_is_set_to(
    dates: ServerDates, clocks: Clocks
) -> None:
    say(dates, "a", NOW + 5 * HOUR)
    clocks.pass_time(100)
    clocks.now -= 3 * HOUR
    assert dates.latest("b") == NOW + 5 * HOUR + 100


def test_a_date_that_was_heard_long_ago_does_not_count(dates: ServerDates, clocks: Clocks) -> None:
    say(dates, "a", NOW + 5 * HOUR)
    clocks.pass_time(HEARD + 1)
    assert dates.latest("b") == clocks.now


@pytest.mark.parametrize("date", ["", "tomorrow", "Wed, 21 Oct 99999999999999999999 07:28:00 GMT"])
def test_a_date_that_makes_no_sense_is_none(dates: ServerDates, date: str) -> None:
    dates.observe("a", {"date": date})
    dates.observe("a", {})
    assert dates.latest("b") == NOW
