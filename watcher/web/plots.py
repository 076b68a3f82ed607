"""Plots of numbers by day or hour as SVG, with the same numbers as a table (pure).

Values are whole numbers of base units, of any size: nothing is rounded but places on the screen. A plot has
no styles of its own: classes say what a part is, and the page's style sheet colors it for light and dark.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Final

from markupsafe import Markup

from watcher.web import amounts
from watcher.web.page import environment

#: The drawing's size, and the part of it that the values use.
WIDTH: Final = 420
HEIGHT: Final = 200
LEFT: Final = 58
RIGHT: Final = 400
TOP: Final = 12
BOTTOM: Final = 172

#: Steps of the vertical axis, and labels of the horizontal one, at most.
MAX_STEPS: Final = 4
MAX_LABELS: Final = 5

#: Part of its place that a bar fills.
_FILLED: Final = 0.75

#: What is shorter than this is drawn so long: something is not nothing.
_LEAST: Final = 1.5

_SUFFIXES: Final = ("", "k", "M", "G", "T")


class Kind(StrEnum):
    """How values are drawn."""

    BARS = "bars"
    LINE = "line"


@dataclass(frozen=True, slots=True)
class Series:
    """Values that belong together, one per place of the plot; None where there is none."""

    name: str
    values: Sequence[int | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """What is drawn. Bars of several series stand on each other."""

    title: str
    #: Of the values, such as ``sBTC``; empty for plain counts.
    unit: str
    #: Digits of the values behind the point.
    decimals: int = 0
    kind: Kind = Kind.BARS
    #: What the places are, as the head of the table: "Day".
    places: str
    #: For each place its name, and how the axis calls it.
    names: Sequence[str]
    labels: Sequence[str]
    series: Sequence[Series]
    #: What is told beside the drawn values, as plain counts: in the table, and where one points.
    beside: Sequence[Series] = ()
    #: The end of the vertical axis, where it is given: 1000 for parts in a thousand.
    highest: int | None = None

    def number(self, value: int | None) -> str:
        """Return a value as people read it."""
        if value is None:
            return "–"
        whole, point, rest = amounts.decimal(value, self.decimals).partition(".")
        return f"{int(whole):,}{point}{rest}"

    def amount(self, value: int | None) -> str:
        """Return a value with its unit."""
        return self.number(value) if value is None or not self.unit else f"{self.number(value)} {self.unit}"


def day_label(day: str) -> str:
    """Return how an axis calls a day that is given as ``2026-11-28``."""
    return f"{date.fromisoformat(day):%b %-d}"


@dataclass(frozen=True, slots=True)
class Tick:
    """A step of an axis: where it is, and what is written there."""

    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar; ``series`` is the number of its series, from 1."""

    series: int
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Place:
    """A place that can be pointed at, and what it says then."""

    x: float
    width: float
    text: str


@dataclass(frozen=True, slots=True)
class Drawing:
    """What a plot looks like."""

    steps: Sequence[Tick]
    labels: Sequence[Tick]
    bars: Sequence[Bar]
    #: Of each series its number and its connected parts, as points of a polyline.
    lines: Sequence[tuple[int, str]]
    dots: Sequence[tuple[int, float, float]]
    places: Sequence[Place]


def figure(plot: Plot) -> Markup:
    """Return a plot as an HTML figure: the drawing, a legend if there are several series, and the table."""
    box = {"width": WIDTH, "height": HEIGHT, "left": LEFT, "right": RIGHT, "top": TOP, "bottom": BOTTOM}
    template = environment().get_template("plot.html")
    return Markup(template.render(plot=plot, drawing=draw(plot), box=box))  # noqa: S704


def draw(plot: Plot) -> Drawing:
    """Return where everything is."""
    number = len(plot.names)
    wide = (RIGHT - LEFT) / max(1, number)
    sums = [_total(values) for values in _columns(plot)] if plot.kind is Kind.BARS else _known(plot)
    steps = axis(max(sums, default=0) if plot.highest is None else plot.highest, 10**plot.decimals)
    top = steps[-1]
    return Drawing(
        steps=[Tick(_y(value, top), compact(value, plot.decimals)) for value in steps],
        labels=[Tick(_round(LEFT + (n + 0.5) * wide), plot.labels[n]) for n in labelled(number)],
        bars=list(_bars(plot, wide, top)) if plot.kind is Kind.BARS else [],
        lines=list(_lines(plot, wide, top)) if plot.kind is Kind.LINE else [],
        dots=list(_dots(plot, wide, top)) if plot.kind is Kind.LINE else [],
        places=[
            Place(_round(LEFT + n * wide), _round(wide), _say(plot, n, values))
            for n, values in enumerate(_columns(plot))
        ],
    )


def axis(highest: int, one: int = 1) -> list[int]:
    """Return the values of the vertical axis for values up to ``highest``, from 0.

    They are one, two or five times a power of ten apart. ``one``: the end of an axis without values.
    """
    if highest <= 0:
        return [0, one]
    least = -(-highest // MAX_STEPS)
    power = 10 ** (len(str(least)) - 1)
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= least)
    return [step * n for n in range(-(-highest // step) + 1)]


def labelled(number: int) -> list[int]:
    """Return which of so many places have a label: the last one, and some before it at even distances."""
    every = max(1, -(-number // MAX_LABELS))
    return sorted(range(number - 1, -1, -every))


def compact(value: int, decimals: int) -> str:
    """Return a step of an axis in few characters: 12, 0.005, 2.5M, 3.4e38."""
    text = amounts.decimal(value, decimals)
    whole = text.partition(".")[0]
    if len(whole) <= 4:
        return text
    exponent = len(whole) - 1
    if exponent // 3 < len(_SUFFIXES):
        split = exponent % 3 + 1
        return _short(whole[:split], whole[split : split + 3]) + _SUFFIXES[exponent // 3]
    return f"{_short(whole[0], whole[1:3])}e{exponent}"


def _short(whole: str, rest: str) -> str:
    rest = rest.rstrip("0")
    return f"{whole}.{rest}" if rest else whole


def _columns(plot: Plot) -> Iterator[list[int | None]]:
    """Yield the values of each place, one of each series."""
    for n in range(len(plot.names)):
        yield [series.values[n] for series in plot.series]


def _known(plot: Plot) -> list[int]:
    return [value for series in plot.series for value in series.values if value is not None]


def _total(values: Sequence[int | None]) -> int:
    return sum(value or 0 for value in values)


def _round(place: float) -> float:
    return round(place, 2)


def _y(value: int, top: int) -> float:
    # Whole numbers are divided: a value may be longer than what a float holds exactly.
    return _round(BOTTOM - (BOTTOM - TOP) * (min(value, top) * 10_000 // top) / 10_000)


def _bars(plot: Plot, wide: float, top: int) -> Iterator[Bar]:
    for n, values in enumerate(_columns(plot)):
        below = 0
        for number, value in enumerate(values, start=1):
            if value:
                foot, head = _y(below, top), _y(below + value, top)
                head = max(min(head, foot - _LEAST), float(TOP))
                x, width = LEFT + (n + (1 - _FILLED) / 2) * wide, wide * _FILLED
                yield Bar(number, _round(x), _round(head), _round(width), _round(foot - head))
                below += value


def _dots(plot: Plot, wide: float, top: int) -> Iterator[tuple[int, float, float]]:
    for number, series in enumerate(plot.series, start=1):
        for n, value in enumerate(series.values):
            if value is not None:
                yield number, _round(LEFT + (n + 0.5) * wide), _y(value, top)


def _lines(plot: Plot, wide: float, top: int) -> Iterator[tuple[int, str]]:
    """Yield the connected parts of each series: a line does not cross a place without a value."""
    for number, series in enumerate(plot.series, start=1):
        part: list[str] = []
        for n, value in enumerate([*series.values, None]):
            if value is not None:
                part.append(f"{_round(LEFT + (n + 0.5) * wide)},{_y(value, top)}")
                continue
            if len(part) > 1:
                yield number, " ".join(part)
            part = []


def _say(plot: Plot, n: int, values: Sequence[int | None]) -> str:
    if len(values) == 1:
        told = [plot.amount(values[0])]
    else:
        told = [
            f"{series.name} {plot.amount(value)}" for series, value in zip(plot.series, values, strict=True)
        ]
    told += [f"{series.name} {value:,}" for series in plot.beside if (value := series.values[n]) is not None]
    return f"{plot.names[n]}: {', '.join(told)}"
