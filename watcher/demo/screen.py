"""Output of the demo: three lanes side by side on a terminal, else plain lines."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from rich import box
from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from watcher.demo.outcome import Outcome
from watcher.text import count

#: Terminal widths, columns: below the first the three lanes do not fit, above the second they do not grow.
MIN_WIDTH = 78
MAX_WIDTH = 110

#: Replacements for terminals without a Unicode encoding.
_ASCII = str.maketrans(
    {
        "₿": "btc ",
        "→": "->",
        "·": "-",
        "…": "..",
        "✔": "+",
        "✘": "x",
        "↶": "<-",
        "—": "-",
        "│": "|",
        "─": "-",
        "┼": "+",
        "“": '"',
        "”": '"',
    }
)

_ABOUT = (
    "Follows the Stacks chain, matches sBTC and STX payments to payment intents,",
    "and notifies merchants by signed webhooks, which it retries until they arrive.",
)

_LANES = (("CHAIN", "cyan"), ("WATCHER", "yellow"), ("MERCHANT", "green"))


@dataclass(slots=True, kw_only=True)
class Row:
    """One step: lines for the lanes chain, watcher and merchant."""

    chain: list[Text] = field(default_factory=list)
    watcher: list[Text] = field(default_factory=list)
    merchant: list[Text] = field(default_factory=list)
    #: Whether the merchant started this step; plain lines then begin with the merchant.
    from_merchant: bool = False

    @property
    def empty(self) -> bool:
        """Whether no lane has a line."""
        return not (self.chain or self.watcher or self.merchant)


class Screen:
    """The printer of the demo: colored lanes on a terminal that takes colors, else plain lines."""

    def __init__(self, console: Console) -> None:
        self._console = console
        fits = console.width >= MIN_WIDTH and not console.is_dumb_terminal
        self._fancy = console.is_terminal and not console.no_color and fits
        self._ascii = not console.encoding.lower().startswith("utf")
        self._width = min(console.width, MAX_WIDTH)
        # A margin of one column, and two borders of three.
        third, rest = divmod(self._width - 1 - 6, 3)
        self._widths = (third - 1, third - 2, third + rest + 3)

    def intro(self, api: str, shop: str) -> None:
        """Show what the demo is, and what in it is real."""
        self._blank()
        self._say(Text("sbtc-watcher", "bold cyan").append(" · demo", "dim"))
        self._blank()
        for line in _ABOUT:
            self._say(Text(line, "bold"))
        self._blank()
        for name, text in (
            ("Chain", f"a scripted Stacks API at {api}: hours pass in seconds"),
            ("Watcher", "the daemon itself, on a database of its own"),
            ("Merchant", f"a shop's server at {shop}: verifies every webhook"),
            ("", "with the public standardwebhooks library"),
        ):
            self._say(Text.assemble((f"{name:<10}", "bold"), text))
        self._blank()
        legend = (("#1002", "bold cyan"), " Stacks block   ", ("₿900,001", "cyan"), " Bitcoin block   ")
        self._say(Text.assemble(*legend, ("+10m00s", "dim"), " chain time so far"))

    def scene(self, number: int, title: str, about: str) -> None:
        """Show a scene's title."""
        self._blank()
        self._say(Text.assemble((f" {number} ", "bold black on cyan"), (f" {title}", "bold")))
        self._say(Text(f"    {about}", "italic dim"))
        if self._fancy:
            self._blank()
            self._lanes([[Text(name, f"bold {color}")] for name, color in _LANES])

    def row(self, row: Row) -> None:
        """Show one step."""
        lanes = (row.chain, row.watcher, row.merchant)
        if self._fancy:
            self._line()
            self._lanes(lanes)
            return
        named = [(name, lines) for (name, _), lines in zip(_LANES, lanes, strict=True) if lines]
        for name, lines in reversed(named) if row.from_merchant else named:
            self._say(Text(f"    {name.lower():<8}  ").append(" · ".join(line.plain for line in lines)))

    def summary(self, outcomes: Sequence[Outcome], seconds: float) -> None:
        """Show what was expected and what arrived, scene by scene."""
        self._blank()
        if self._fancy:
            self._console.print(Padding(self._table(outcomes), (0, 0, 0, 1)))
        else:
            self._say(Text("summary: scene | expected webhooks | arrived | attempts | time"))
            for number, outcome in enumerate(outcomes, start=1):
                self._say(Text("    " + " | ".join(text.plain for text in _cells(number, outcome))))
        self._blank()
        expected = sum(len(outcome.expected) for outcome in outcomes)
        if all(outcome.good for outcome in outcomes):
            text = f"✔ {expected} of {expected} expected webhooks arrived, verified, once each; no others"
            self._say(Text(f"{text} · {seconds:.1f} s", "bold green"))
        for outcome in outcomes:
            for name in outcome.missing:
                self._say(Text(f"✘ missing: {name} of scene “{outcome.title}”", "bold red"))
            for name in outcome.unexpected:
                self._say(Text(f"✘ not expected: {name} in scene “{outcome.title}”", "bold red"))
            if outcome.refused:
                refused = count(outcome.refused, "signature")
                self._say(Text(f"✘ {refused} refused in scene “{outcome.title}”", "bold red"))

    def next_steps(self) -> None:
        """Show the next commands to try."""
        self._blank()
        for what, command in (
            ("A merchant: ", 'sbtc-watcher merchants add "My shop" --recipient SP…'),
            ("Mainnet:    ", "sbtc-watcher check && sbtc-watcher run"),
        ):
            self._say(Text.assemble(what, (command, "bold")))
        self._blank()

    def trouble(self, message: str, journal: str) -> None:
        """Show why the demo stopped, with the end of the daemon's log."""
        self._blank()
        self._say(Text(f"✘ {message}", "bold red"))
        for line in journal.splitlines()[-10:]:
            self._say(Text(f"    {line}", "dim"))

    # Printing

    def _table(self, outcomes: Sequence[Outcome]) -> Table:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, width=self._width - 2, header_style="bold")
        table.add_column("", justify="right")
        table.add_column("Scene", no_wrap=True)
        table.add_column("Webhooks", ratio=1)
        table.add_column("Arrived")
        table.add_column("Tries", justify="right")
        table.add_column("Time", justify="right")
        for number, outcome in enumerate(outcomes, start=1):
            table.add_row(*(self._fit(text) for text in _cells(number, outcome)))
        return table

    def _lanes(self, lanes: Sequence[Sequence[Text]]) -> None:
        table = Table(box=box.MINIMAL, show_header=False, show_edge=False, pad_edge=False)
        table.border_style = "bright_black"
        for width in self._widths:
            table.add_column(width=width)
        table.add_row(*(self._fit(Text("\n").join(lines)) for lines in lanes))
        self._console.print(Padding(table, (0, 0, 0, 1)))

    def _line(self) -> None:
        first, second, third = self._widths
        line = "─" * (first + 1) + "┼" + "─" * (second + 2) + "┼" + "─" * (third + 1)
        self._say(Text(line, "bright_black"))

    def _say(self, text: Text) -> None:
        fitted = self._fit(text)
        line: RenderableType = Padding(fitted, (0, 0, 0, 1)) if self._fancy else Text(fitted.plain)
        self._console.print(line, soft_wrap=not self._fancy, highlight=False)

    def _blank(self) -> None:
        self._console.print()

    def _fit(self, text: Text) -> Text:
        if not self._ascii:
            return text
        # Styles are lost here, which is acceptable: such terminals are rare.
        plain = text.plain.translate(_ASCII)
        return Text(plain.encode("ascii", "replace").decode())


def _cells(number: int, outcome: Outcome) -> tuple[Text, ...]:
    expected = ", ".join(name.partition(" (")[0] for name in outcome.expected)
    arrived = f"{len(outcome.arrived)} of {len(outcome.expected)}"
    mark, color = ("✔", "green") if outcome.good else ("✘", "bold red")
    return (
        Text(str(number), "cyan"),
        Text(outcome.title),
        Text(expected or "none", "" if expected else "dim"),
        Text(f"{mark} {arrived}", color),
        Text(str(outcome.attempts)),
        Text(f"{outcome.seconds:.1f} s"),
    )
