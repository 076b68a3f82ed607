"""Plots: everything is inside the drawing, the axes are readable, the table has the exact numbers."""

import re
from itertools import pairwise
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watcher.web import plots
from watcher.web.plots import Kind, Plot, Series

VALUES = st.none() | st.integers(0, 10) | st.integers(0, 2**136)


def plot(*series: list[int | None], kind: Kind = Kind.BARS, decimals: int = 0, unit: str = "") -> Plot:
    number = len(series[0]) if series else 0
    return Plot(
        title="Paid",
        unit=unit,
        decimals=decimals,
        kind=kind,
        places="Day",
        names=[f"2026-11-{n + 1:02d}" for n in range(number)],
        labels=[str(n + 1) for n in range(number)],
        series=[Series(f"series {n}", values) for n, values in enumerate(series, start=1)],
    )


@st.composite
def some_plot(draw: st.DrawFn) -> Plot:
    number = draw(st.integers(0, 40))
    values = st.lists(VALUES, min_size=number, max_size=number)
    series = draw(st.lists(values, min_size=1, max_size=3))
    return plot(*series, kind=draw(st.sampled_from(Kind)), decimals=draw(st.integers(0, 18)))


@given(some_plot())
def test_nothing_is_outside_the_drawing(drawn: Plot) -> None:
    """Whatever the values, also beyond 128 bits, and however many places."""
    found = plots.draw(drawn)
    slack = 0.02
    for bar in found.bars:
        assert plots.LEFT - slack <= bar.x
        assert bar.x + bar.width <= plots.RIGHT + slack
        assert plots.TOP - slack <= bar.y
        assert bar.y + bar.height <= plots.BOTTOM + slack
        assert bar.height >= 0
    corners = [corner for _, line in found.lines for corner in line.split()]
    dots = [(x, y) for _, x, y in found.dots] + [
        (float(x), float(y)) for x, y in (corner.split(",") for corner in corners)
    ]
    for x, y in dots:
        assert plots.LEFT <= x <= plots.RIGHT
        assert plots.TOP <= y <= plots.BOTTOM
    assert len(found.places) == len(drawn.names)
    assert 2 <= len(found.steps) <= plots.MAX_STEPS + 1
    assert len(found.labels) <= plots.MAX_LABELS


@given(some_plot())
def test_what_is_more_is_drawn_no_lower(drawn: Plot) -> None:
    """And something is always seen, where nothing is not."""
    found = plots.draw(drawn)
    known = [value for series in drawn.series for value in series.values if value]
    assert len(found.bars) == (len(known) if drawn.kind is Kind.BARS else 0)
    if drawn.kind is Kind.LINE and len(drawn.series) == 1:
        values = [value for value in drawn.series[0].values if value is not None]
        places = sorted(zip(values, found.dots, strict=True), key=lambda pair: pair[0])
        heights = [-dot[2] for _, dot in places]
        assert heights == sorted(heights)


@given(st.integers(0, 2**140))
def test_the_axis_has_few_round_steps_that_reach_the_highest_value(highest: int) -> None:
    """From zero, sorted, at even distances of one, two or five times a power of ten."""
    steps = plots.axis(highest)
    assert steps == sorted(set(steps))
    assert steps[0] == 0
    assert highest <= steps[-1]
    assert len(steps) <= plots.MAX_STEPS + 1
    assert {after - before for before, after in pairwise(steps)} == {steps[1]}
    assert re.fullmatch("[125]0*", str(steps[1]))


@given(st.integers(0, 500))
def test_the_last_place_has_a_label(number: int) -> None:
    """Today is what is looked for first."""
    found = plots.labelled(number)
    assert len(found) <= plots.MAX_LABELS
    assert (found[-1] if found else number - 1) == number - 1
    assert found == sorted(found)


@pytest.mark.parametrize(
    ("value", "decimals", "text"),
    [
        (0, 8, "0"),
        (12, 0, "12"),
        (5000, 0, "5000"),
        (50_000, 8, "0.0005"),
        (20_000, 0, "20k"),
        (2_500_000, 0, "2.5M"),
        (150_000_000_000, 6, "150k"),
        (2 * 10**12, 0, "2T"),
        (2 * 10**38, 0, "2e38"),
        (15 * 10**37, 0, "1.5e38"),
    ],
)
def test_steps_are_written_in_few_characters(value: int, decimals: int, text: str) -> None:
    """The axis has no room for forty digits."""
    assert plots.compact(value, decimals) == text


def test_a_figure_is_well_formed_and_needs_no_style() -> None:
    """Classes only: the policy of the pages forbids style attributes and scripts."""
    html = str(plots.figure(plot([0, 1, 2**130], [None, 5, 7], unit='<b>"sats"</b>')))
    ElementTree.fromstring(html)
    assert "style" not in html
    assert "script" not in html
    assert "<b>" not in html
    assert html.count("<title>") == 3
    assert 'class="legend"' in html


def test_the_table_has_the_exact_numbers() -> None:
    """Grouped, with all their digits."""
    tree = ElementTree.fromstring(str(plots.figure(plot([2**128, None, 7], decimals=2, unit="sBTC"))))
    cells = ["".join(cell.itertext()) for cell in tree.iter("td")]
    assert cells == ["3,402,823,669,209,384,634,633,746,074,317,682,114.56", "–", "0.07"]
    titles = [title.text for title in tree.iter("title")]
    assert titles[1:] == ["2026-11-02: –", "2026-11-03: 0.07 sBTC"]


def test_a_line_has_a_gap_where_there_is_no_value() -> None:
    """An hour without attempts is neither good nor bad."""
    found = plots.draw(plot([1, 2, None, 3, None, 4, 5], kind=Kind.LINE))
    assert [len(points.split()) for _, points in found.lines] == [2, 2]
    assert len(found.dots) == 5


def test_a_given_end_of_the_axis_is_kept() -> None:
    """Parts of a whole are drawn against the whole."""
    drawn = Plot(
        title="Rate",
        unit="%",
        decimals=1,
        kind=Kind.LINE,
        places="Hour",
        names=["1", "2"],
        labels=["1", "2"],
        series=[Series("rate", [500, 1000])],
        highest=1000,
    )
    found = plots.draw(drawn)
    assert found.steps[-1].text == "100"
    assert [dot[2] for dot in found.dots] == [(plots.TOP + plots.BOTTOM) / 2, plots.TOP]
