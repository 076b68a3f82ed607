"""Durations: parsing and formatting."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watcher.durations import format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("500ms", 0.5),
        ("5s", 5),
        ("2m", 120),
        ("24h", 86400),
        ("5d", 432000),
        ("0s", 0),
        ("1.5h", 5400),
        (" 10 m ", 600),
        ("90", 90),
        ("0.25", 0.25),
        (15, 15),
        (0.5, 0.5),
        ("3650d", 315360000),
    ],
)
def test_a_duration_is_read_as_seconds(text: object, seconds: float) -> None:
    assert seconds == parse_duration(text)
    assert isinstance(parse_duration(text), float)


@pytest.mark.parametrize(
    "value",
    ["", "5x", "s", "-5s", "1e3", "5 5s", "٥s", "1h30m", "5S", "0x10", None, True, [5], "9" * 16, b"5s"],
)
def test_what_is_no_duration_is_refused_with_what_would_be_right(value: object) -> None:
    with pytest.raises(
        ValueError, match=r"is not a duration; write 500ms, 5s, 2m, 24h, 5d or a number of seconds"
    ):
        parse_duration(value)


@pytest.mark.parametrize("value", [-1, -0.001, math.nan, math.inf, 10**400, "3651d", "999999999999999d"])
def test_a_duration_outside_of_its_range_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="is not between 0 and 3650d"):
        parse_duration(value)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (0.5, "500ms"),
        (5, "5s"),
        (90, "90s"),
        (120, "2m"),
        (5400, "90m"),
        (7200, "2h"),
        (86400, "1d"),
        (1.5, "1500ms"),
        (0.000001, "0.000001s"),
    ],
)
def test_a_duration_prints_in_the_largest_unit_that_fits(seconds: float, text: str) -> None:
    assert text == format_duration(seconds)


@given(st.integers(0, 3650 * 86400) | st.integers(0, 10**9).map(lambda milliseconds: milliseconds / 1000))
def test_a_printed_duration_reads_back_as_the_same(seconds: float) -> None:
    assert seconds == parse_duration(format_duration(seconds))
