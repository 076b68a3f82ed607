"""Clock skew, and the latest possible time: this machine's clock and the dates of servers."""

from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain.api.dates import DATE_VALID_SECONDS, ServerDates

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
    """A server that dates a block in the year 9999 dates its answer so, too."""
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
    clocks.pass_time(DATE_VALID_SECONDS + 1)
    assert dates.latest("b") == clocks.now


@pytest.mark.parametrize("date", ["", "tomorrow", "Wed, 21 Oct 99999999999999999999 07:28:00 GMT"])
def test_a_date_that_makes_no_sense_is_none(dates: ServerDates, date: str) -> None:
    dates.observe("a", {"date": date})
    dates.observe("a", {})
    assert dates.latest("b") == NOW


def test_how_far_this_machine_is_ahead_is_seen_by_what_a_server_says(
    dates: ServerDates, clocks: Clocks
) -> None:
    """Even if the clock was set since, and however much time has passed."""
    assert dates.skew() is None
    say(dates, "a", NOW - 90)
    assert dates.ahead("a") == pytest.approx(90, abs=1)
    clocks.pass_time(600)
    assert dates.skew() == pytest.approx(90, abs=1)
    clocks.now -= HOUR
    assert dates.skew() == pytest.approx(90 - HOUR, abs=1)
    clocks.pass_time(DATE_VALID_SECONDS)
    assert dates.skew() is None


def test_one_server_of_three_cannot_make_a_clock_look_wrong(dates: ServerDates) -> None:
    for url, skew in (("a", 2), ("liar", 50 * HOUR), ("b", -3)):
        say(dates, url, NOW - skew)
    assert dates.skew() == pytest.approx(2, abs=1)


def test_of_two_servers_the_one_counts_that_agrees_more(dates: ServerDates) -> None:
    say(dates, "a", NOW + HOUR)
    say(dates, "b", NOW - 3)
    assert dates.skew() == pytest.approx(3, abs=1)


@pytest.mark.parametrize("year", ["1970", "2024", "2101", "9999"])
def test_an_absurd_date_says_nothing_of_this_machines_clock(dates: ServerDates, year: str) -> None:
    dates.observe("a", {"date": f"Fri, 01 Jan {year} 10:00:00 GMT"})
    assert dates.skew() is None


@pytest.mark.parametrize(
    ("age", "seconds"), [("120", 120), (" 7 ", 7), ("", 0), ("-5", 0), ("٣", 0), ("9" * 15, 7 * 86_400)]
)
def test_an_answer_out_of_a_cache_says_how_old_its_date_is(
    dates: ServerDates, age: str, seconds: int
) -> None:
    dates.observe("a", {"date": formatdate(NOW - seconds, usegmt=True), "age": age})
    assert dates.skew() == pytest.approx(0, abs=1)


@given(st.text(max_size=80), st.text(max_size=40))
def test_whatever_a_server_writes_there_nothing_is_raised(date: str, age: str) -> None:
    dates = ServerDates()
    dates.observe("a", {"date": date, "age": age})
    dates.latest("a")
    dates.skew()
