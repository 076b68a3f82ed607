"""Streaming reader of a file of intents, CSV or JSON lines; an invalid line is reported, not raised."""

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, BinaryIO

from watcher import strict_json
from watcher.errors import UsageError

#: Longest line that is read, bytes; an intent is a few hundred.
MAX_LINE_BYTES = 256 * 1024

#: Prefix of the CSV columns that hold metadata.
METADATA_PREFIX = "metadata."

#: The required column: without it the first line is taken for data, not for a header.
AMOUNT_COLUMN = "amount"

#: Separators that spreadsheets write where the comma is a decimal point, with their names for the error.
SEPARATORS = {";": "semicolons", "\t": "tabs"}

_FIRST_LINE = "the first line names the columns, e.g. amount,reference,metadata.order_id"

#: Most digits of a number and deepest nesting of a document, as a server accepts them.
MAX_DIGITS = 100
MAX_DEPTH = 16


class Format(StrEnum):
    """Formats of the file."""

    CSV = "csv"
    JSONL = "jsonl"


@dataclass(frozen=True, slots=True)
class Row:
    """One requested intent: its first line, and its document or the line's error."""

    line: int
    document: dict[str, Any] | None
    error: str | None = None


class BadLine(Exception):
    """A line that cannot be parsed, so that the lines after it cannot be separated. Ends the reading."""

    def __init__(self, line: int, why: str) -> None:
        super().__init__(why)
        self.row = Row(line, None, why)


def read(kind: Format, source: BinaryIO) -> Iterator[Row]:
    """Yield the rows of a file. Raises :class:`UsageError` if a CSV file's first line is no header."""
    try:
        yield from _read_csv(source) if kind is Format.CSV else _read_jsonl(source)
    except BadLine as bad:
        yield bad.row


def _read_jsonl(source: BinaryIO) -> Iterator[Row]:
    for number, line in enumerate(_lines(source), start=1):
        if not line.strip():
            continue
        try:
            document = json.loads(
                line,
                parse_int=_read_integer,
                parse_constant=_refuse_constant,
                object_pairs_hook=_unique_members,
            )
        except (ValueError, RecursionError) as error:
            yield Row(number, None, f"is not JSON: {error}")
            continue
        if isinstance(document, dict):
            yield _checked(number, document)
        else:
            yield Row(number, None, "is not a JSON object")


def _read_integer(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise ValueError(f"a number of more than {MAX_DIGITS} digits")
    return int(digits)


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"it has no {name}")


def _unique_members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("an object names a member twice")
    return found


def _checked(line: int, document: dict[str, Any]) -> Row:
    """Return the row, with an error if a server could not read the document.

    The server would refuse the whole batch without naming the line.
    """
    try:
        strict_json.check(document, max_depth=MAX_DEPTH)
    except ValueError as error:
        return Row(line, None, str(error))
    return Row(line, document)


def _read_csv(source: BinaryIO) -> Iterator[Row]:
    reader = csv.reader(_lines(source), strict=True)
    names: list[str] | None = None
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            if names is None:
                raise UsageError("the file is empty", hint=_FIRST_LINE) from None
            return
        except csv.Error as error:
            raise BadLine(line, f"is not CSV: {error}") from None
        if not any(cell.strip() for cell in cells):
            continue
        if names is None:
            names = _column_names(cells)
        elif len(cells) != len(names):
            has = "1 cell" if len(cells) == 1 else f"{len(cells)} cells"
            yield Row(line, None, f"has {has}, the first line names {len(names)}")
        else:
            yield _checked(line, _document(dict(zip(names, cells, strict=True))))


def _column_names(cells: list[str]) -> list[str]:
    names = [cell.strip() for cell in cells]
    for separator, called in SEPARATORS.items():
        if len(names) == 1 and separator in names[0]:
            raise UsageError(
                f"the cells are separated by {called}", hint="save the file with commas between them"
            )
    if len(set(names)) < len(names) or "" in names:
        raise UsageError("the first line names a column twice, or not at all", hint=_FIRST_LINE)
    if AMOUNT_COLUMN not in names:
        raise UsageError(f"the first line names no column {AMOUNT_COLUMN}", hint=_FIRST_LINE)
    return names


def _document(cells: dict[str, str]) -> dict[str, Any]:
    """Convert a CSV row to an intent document; empty cells are left out."""
    given = {name: cell.strip() for name, cell in cells.items() if cell.strip()}
    document: dict[str, Any] = {
        name: cell for name, cell in given.items() if not name.startswith(METADATA_PREFIX)
    }
    metadata = {
        name.removeprefix(METADATA_PREFIX): cell
        for name, cell in given.items()
        if name.startswith(METADATA_PREFIX)
    }
    return document | ({"metadata": metadata} if metadata else {})


def _lines(source: BinaryIO) -> Iterator[str]:
    """Yield the lines of a UTF-8 file. Raises :class:`BadLine`."""
    number = 0
    while line := source.readline(MAX_LINE_BYTES + 1):
        number += 1
        if len(line) > MAX_LINE_BYTES:
            raise BadLine(number, f"is longer than {MAX_LINE_BYTES // 1024} KiB")
        try:
            yield line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError:
            raise BadLine(number, "is not UTF-8; save the file as UTF-8") from None


def format_of(file: str) -> Format:
    """Return the format by the file's name. Raises :class:`UsageError`."""
    suffix = Path(file).suffix.lower()
    if file == "-" or suffix == ".csv":
        return Format.CSV
    if suffix in (".jsonl", ".ndjson"):
        return Format.JSONL
    raise UsageError(f"FILE: cannot tell the format of {file}", hint="add --format csv or --format jsonl")
