"""Output of the commands: data (tables, cards, JSON) to stdout, messages to stderr.

Names, memos and web servers' answers are written by strangers: :func:`plain` keeps them from controlling the
terminal.
"""

import json
import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from watcher.journal import is_journal, with_priority
from watcher.text import count as count
from watcher.text import plain as plain
from watcher.text import plain_json

#: Width of output to a file or pipe, which is not wrapped.
UNBOUNDED_WIDTH = 1000

#: Least width of a row shown as a record: an id and its name fit on one line.
MIN_RECORD_WIDTH = 48

#: Columns of free text, which may wrap, and their largest width.
MAX_PROSE_WIDTHS = {"Answer": 60, "Events": 40, "Name": 40, "Note": 60, "Reason": 60, "URL": 60}

#: The columns of a list: title -> field of the object, or a function of the object.
Columns = Mapping[str, str | Callable[[Mapping[str, Any]], object]]

STATUS_STYLES = {
    "succeeded": "green",
    "failed": "red",
    "expired": "yellow",
    "processing": "cyan",
    "canceled": "dim",
    "delivered": "green",
    "dead": "red",
    "held": "yellow",
    "enabled": "green",
    "disabled": "red",
    "active": "green",
    "orphaned": "red",
    "ok": "green",
    "starting": "cyan",
    "degraded": "yellow",
    "halted": "red bold",
}


class ReaderGone(Exception):
    """The reader of the output went away, as with ``| head``."""


class _Console(Console):
    def on_broken_pipe(self) -> NoReturn:
        raise ReaderGone


def console() -> Console:
    """Return a console on the present ``sys.stdout``."""
    bounded = sys.stdout.isatty() or "COLUMNS" in os.environ
    return _Console(width=None if bounded else UNBOUNDED_WIDTH, highlight=False, markup=False, emoji=False)


def document(value: Any) -> None:
    """Print one JSON document."""
    unicode = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    text = json.dumps(value, indent=2, ensure_ascii=not unicode)
    line(plain_json(text))


def line(text: str) -> None:
    """Print a line of data unchanged."""
    try:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
    except BrokenPipeError as error:
        raise ReaderGone from error


def show(what: RenderableType) -> None:
    """Print on stdout; a table wider than the terminal is printed as records, one line per cell."""
    out = console()
    if isinstance(what, Table) and what.box is not None:
        width = Measurement.get(out, out.options.update(width=UNBOUNDED_WIDTH), what).maximum
        if width > out.width:
            what = _records(what)
            out.width = max(out.width, MIN_RECORD_WIDTH)
    out.print(what, soft_wrap=isinstance(what, Text))


def _records(wide: Table) -> Group:
    """Convert each row of a table to a card, so that no id is broken across lines."""
    names = [str(column.header) for column in wide.columns]
    cards = [
        card(list(zip(names, row, strict=True))) for row in zip(*(c.cells for c in wide.columns), strict=True)
    ]
    return Group(*(part for one in cards for part in (one, Text())))


def note(text: str) -> None:
    """Print a message on stderr."""
    _stderr().print(Text(plain(text)), soft_wrap=True)


def error(message: str, hint: str = "") -> None:
    """Print an error and its hint on stderr."""
    first, *rest = message.splitlines() or [""]
    advice = " ".join(hint.split())
    if is_journal(sys.stderr):
        said = [f"error: {first}", *rest, *([f"hint: {advice}"] if advice else [])]
        sys.stderr.write(with_priority("\n".join(map(plain, said)), logging.ERROR) + "\n")
        return
    out = _stderr()
    out.print(Text.assemble(("error: ", "red bold"), plain(first)), soft_wrap=True)
    for more in rest:
        out.print(Text(f"       {plain(more)}"), soft_wrap=True)
    if advice:
        out.print(Text.assemble(("hint: ", "cyan bold"), plain(advice)), soft_wrap=True)


def status_text(status: str) -> Text:
    """Return a status in its color."""
    return Text(plain(status), style=STATUS_STYLES.get(status, ""))


def cell(value: object) -> Text:
    """Format a value for a table; a dash for None and ''."""
    if isinstance(value, Text):
        return value
    return Text("–", style="dim") if value in (None, "") else Text(plain(value))


def lines(texts: Sequence[str], style: str = "") -> Text:
    """Format several lines for one cell; a dash for none."""
    return Text("\n".join(map(plain, texts)), style=style) if texts else cell(None)


def table(columns: Sequence[str], rows: Sequence[Sequence[object]], *, right: Sequence[str] = ()) -> Table:
    """Return a table; the columns in ``right`` are right-aligned. Ids stay on one line, to be copied."""
    made = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="bold", show_edge=False)
    for column in columns:
        made.add_column(
            column,
            justify="right" if column in right else "left",
            max_width=MAX_PROSE_WIDTHS.get(column),
            overflow="fold",
        )
    for row in rows:
        made.add_row(*(cell(value) for value in row))
    return made


def card(rows: Sequence[tuple[str, object]]) -> Table:
    """Return names and values, one pair per line, without those whose value is None."""
    made = Table.grid(padding=(0, 2))
    made.add_column(style="bold", no_wrap=True)
    made.add_column(overflow="fold")
    for name, value in rows:
        if value is not None:
            made.add_row(name, cell(value))
    return made


def details(
    found: Mapping[str, Any],
    as_json: bool,
    rows: Callable[[Mapping[str, Any]], Sequence[tuple[str, object]]],
    *,
    message: str | None = None,
) -> None:
    """Print one object: as JSON, or as a card of the ``rows`` made of it and a message."""
    if as_json:
        document(found)
        return
    show(card(rows(found)))
    if message is not None:
        note(message)


def background(found: Mapping[str, Any]) -> str:
    """Return a sentence about a bulk change that is still incomplete, else an empty text."""
    if found.get("complete", True):
        return ""
    return (
        " There are more: the daemon continues in the background, `sbtc-watcher status` shows its progress."
    )


def heading(text: str) -> Text:
    """Return the title of a section."""
    return Text(f"\n{text}", style="bold cyan")


def page(found: Mapping[str, Any], what: RenderableType, *, nothing: str) -> None:
    """Print a page of a list and the option for the next one; ``nothing`` is the message if it is empty."""
    if not found["data"]:
        note(nothing)
        return
    show(what)
    if found["next_cursor"]:
        note(f"There is more: --cursor {found['next_cursor']}")


def listing(
    found: Mapping[str, Any],
    as_json: bool,
    columns: Columns,
    *,
    right: Sequence[str] = (),
    nothing: str,
) -> None:
    """Print a page of a list: as JSON, or as a table."""
    if as_json:
        document(found)
        return
    rows = [[row[of] if isinstance(of, str) else of(row) for of in columns.values()] for row in found["data"]]
    page(found, table([*columns], rows, right=right), nothing=nothing)


def _stderr() -> Console:
    return Console(stderr=True, highlight=False, markup=False, emoji=False)
