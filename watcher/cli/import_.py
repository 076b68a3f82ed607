"""``intents import``: many intents from a file, in batches that are stored whole or not at all."""

import csv
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

import typer

from watcher.cli import render
from watcher.cli.options import Json
from watcher.cli.session import Session, of
from watcher.errors import Refused, UsageError

if TYPE_CHECKING:
    from rich.progress import Progress

    from watcher.database import Database

#: Intents that are stored together.
BATCH = 500

#: Between two batches, seconds; longer than SQLite's waiters sleep between two tries.
PAUSE = 0.2

#: Longest line that is read, bytes; an intent is a few hundred.
MAX_LINE = 256 * 1024

#: Columns of a CSV file whose names begin so are metadata.
METADATA = "metadata."


class Format(StrEnum):
    """How the file is written."""

    CSV = "csv"
    JSONL = "jsonl"


@dataclass(slots=True)
class Outcome:
    """What an import did."""

    #: The first line that is not known to be stored.
    continue_at: int
    #: The lines that hold the intents stored, with id and reference.
    intents: list[dict[str, Any]] = field(default_factory=list)
    errors: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Row:
    """One intent as asked for: the line that it begins on, and its document or what is wrong with the line."""

    line: int
    document: dict[str, Any] | None
    error: str | None = None


class BadLine(Exception):
    """A line that cannot be read at all; nothing can be said of those after it."""

    def __init__(self, line: int, why: str) -> None:
        super().__init__(why)
        self.row = Row(line, None, why)


def import_(
    context: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE", help="A .csv or .jsonl file; - is standard input.")],
    merchant: Annotated[
        str, typer.Option("--merchant", metavar="ID", help="Whose intents they are (mer_…).")
    ],
    format_: Annotated[
        Format | None,
        typer.Option("--format", metavar="FORMAT", help="csv or jsonl. Default: by the file's name."),
    ] = None,
    from_line: Annotated[
        int, typer.Option("--from-line", metavar="N", help="Continue an import: skip what is before.", min=1)
    ] = 1,
    as_json: Json = False,
) -> None:
    """Create the intents of a file, 500 at a time: of a batch with an error none is stored, and the import ends there.

    The fields are those of `intents create`: amount, asset, reference, expires_in, … A CSV file names them in its first
    line, metadata as metadata.order_id; empty cells are not given. Standard input is CSV unless --format says otherwise.

    Example: sbtc-watcher intents import orders.csv --merchant mer_…
    """
    session = of(context)
    kind = format_ or _format_of(file)
    outcome = Outcome(continue_at=from_line)
    try:
        with session.database() as database, _opened(file) as source, _progress(source) as progress:
            rows = (row for row in _read(kind, source) if row.line >= from_line)
            while not outcome.errors and (batch := list(islice(rows, BATCH))):
                outcome.continue_at = batch[0].line
                _store(session, database, merchant, batch, outcome)
                progress.update(
                    progress.task_ids[0], completed=_position(source), stored=len(outcome.intents)
                )
                if len(batch) == BATCH:
                    # A batch takes seconds, in which nobody else writes to SQLite: let the daemon have its turn.
                    time.sleep(PAUSE)
    except BaseException:
        if outcome.intents:
            stored = render.count(len(outcome.intents), "intent")
            render.note(f"{stored} imported; continue with --from-line {outcome.continue_at}")
        raise
    _tell(outcome, as_json)
    raise typer.Exit(2 if outcome.errors else 0)


def _store(session: Session, database: "Database", merchant: str, batch: list[Row], outcome: Outcome) -> None:
    """Store a batch, or collect everything that is wrong with it."""
    from watcher import intake, records

    lines: dict[str, int] = {}
    errors: list[dict[str, Any]] = []
    try:
        with database.begin() as connection:
            for row in batch:
                try:
                    if row.document is None:
                        raise Refused("validation", row.error or "is no intent")
                    with connection.begin_nested():
                        request = intake.IntentRequest.of(row.document)
                        intent_id = intake.create(
                            connection,
                            request,
                            merchant_id=merchant,
                            settings=session.settings,
                            books=session.books,
                            now=session.now,
                        )
                except Refused as refused:
                    errors += _explain(row.line, refused)
                else:
                    lines[intent_id] = row.line
            if errors:
                raise _Undone
            made = records.load_intents(connection, lines)
    except _Undone:
        outcome.errors += errors
        return
    outcome.intents += [
        {"line": line, "id": intent_id, "reference": made[intent_id].reference}
        for intent_id, line in lines.items()
    ]
    # Where the next batch begins: a file may end here, or a line later.
    outcome.continue_at = batch[-1].line + 1


class _Undone(Exception):
    """Rolls a batch back."""


def _explain(line: int, refused: Refused) -> list[dict[str, Any]]:
    if not refused.errors:
        return [{"line": line, "field": None, "message": str(refused)}]
    return [{"line": line, "field": error["field"], "message": error["message"]} for error in refused.errors]


def _tell(outcome: Outcome, as_json: bool) -> None:
    if as_json:
        render.document(
            {
                "imported": len(outcome.intents),
                "intents": outcome.intents,
                "errors": outcome.errors,
                "continue_at_line": outcome.continue_at if outcome.errors else None,
            }
        )
        return
    render.line(f"{render.count(len(outcome.intents), 'intent')} imported")
    for error in outcome.errors:
        about = f"{error['field']}: " if error["field"] else ""
        render.error(f"line {error['line']}: {about}{error['message']}")
    if outcome.errors:
        render.note(
            f"Nothing from line {outcome.continue_at} on is stored. Mend the file, then continue with"
            f" --from-line {outcome.continue_at}"
        )


def _read(kind: Format, source: BinaryIO) -> Iterator[Row]:
    try:
        yield from _read_csv(source) if kind is Format.CSV else _read_jsonl(source)
    except BadLine as bad:
        yield bad.row


def _read_jsonl(source: BinaryIO) -> Iterator[Row]:
    for number, line in enumerate(_lines(source), start=1):
        if not line.strip():
            continue
        try:
            document = json.loads(line)
        except (ValueError, RecursionError) as error:
            yield Row(number, None, f"is not JSON: {error}")
            continue
        if isinstance(document, dict):
            yield Row(number, document)
        else:
            yield Row(number, None, "is not a JSON object")


def _read_csv(source: BinaryIO) -> Iterator[Row]:
    reader = csv.reader(_lines(source), strict=True)
    names: list[str] | None = None
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise BadLine(line, f"is not CSV: {error}") from None
        if not any(cell.strip() for cell in cells):
            continue
        if names is None:
            names = [cell.strip() for cell in cells]
            if len(set(names)) < len(names) or "" in names:
                raise UsageError(
                    "the first line names a column twice, or not at all", hint="e.g. amount,reference"
                )
        elif len(cells) != len(names):
            yield Row(line, None, f"has {len(cells)} cells, the first line names {len(names)}")
        else:
            yield Row(line, _document(dict(zip(names, cells, strict=True))))


def _document(cells: dict[str, str]) -> dict[str, Any]:
    """Return a CSV row as the document of an intent; what is empty is not given."""
    given = {name: cell.strip() for name, cell in cells.items() if cell.strip()}
    document: dict[str, Any] = {name: cell for name, cell in given.items() if not name.startswith(METADATA)}
    metadata = {
        name.removeprefix(METADATA): cell for name, cell in given.items() if name.startswith(METADATA)
    }
    return document | ({"metadata": metadata} if metadata else {})


def _lines(source: BinaryIO) -> Iterator[str]:
    """Yield the lines of a UTF-8 file. Raises :class:`BadLine`."""
    number = 0
    while line := source.readline(MAX_LINE + 1):
        number += 1
        if len(line) > MAX_LINE:
            raise BadLine(number, f"is longer than {MAX_LINE // 1024} KiB")
        try:
            yield line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError:
            raise BadLine(number, "is not UTF-8; save the file as UTF-8") from None


def _format_of(file: str) -> Format:
    suffix = Path(file).suffix.lower()
    if file == "-" or suffix == ".csv":
        return Format.CSV
    if suffix in (".jsonl", ".ndjson"):
        return Format.JSONL
    raise UsageError(f"FILE: cannot tell how {file} is written", hint="add --format csv or --format jsonl")


@contextmanager
def _opened(file: str) -> Iterator[BinaryIO]:
    if file == "-":
        yield sys.stdin.buffer
        return
    try:
        source = open(file, "rb")  # noqa: SIM115 - closed below; only the opening is this command's to explain
    except OSError as error:
        raise UsageError(f"FILE: cannot read {file}: {(error.strerror or str(error)).lower()}") from None
    with source:
        yield source


@contextmanager
def _progress(source: BinaryIO) -> Iterator["Progress"]:
    """Show on stderr how much of the file is read; nothing where nobody watches."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[stored]:,} intents"),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        progress.add_task("import", total=_size(source), stored=0)
        yield progress


def _size(source: BinaryIO) -> int | None:
    """Return the file's size, None for what has none, such as a pipe."""
    if not source.seekable():
        return None
    position = source.tell()
    size = source.seek(0, os.SEEK_END)
    source.seek(position)
    return size


def _position(source: BinaryIO) -> int:
    return source.tell() if source.seekable() else 0
