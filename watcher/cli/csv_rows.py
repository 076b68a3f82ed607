"""A file of intents as rows: CSV or JSON lines, read as a stream; what is wrong with a line is said of that line."""

import csv
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, BinaryIO

from watcher.errors import UsageError

#: Longest line that is read, bytes; an intent is a few hundred.
MAX_LINE = 256 * 1024

#: Columns of a CSV file whose names begin so are metadata.
METADATA = "metadata."

#: The column that every intent needs: without it the first line is no list of columns.
AMOUNT = "amount"

#: What spreadsheets put between cells where the comma is a decimal point, and how it is called.
SEPARATORS = {";": "semicolons", "\t": "tabs"}

_FIRST_LINE = "the first line names the columns, e.g. amount,reference,metadata.order_id"

#: Digits of a number and depth of a document that a server reads.
MAX_DIGITS = 100
MAX_DEPTH = 16


class Format(StrEnum):
    """How the file is written."""

    CSV = "csv"
    JSONL = "jsonl"


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


def read(kind: Format, source: BinaryIO) -> Iterator[Row]:
    """Yield the intents that a file asks for. Raises :class:`UsageError` when a CSV file's first line makes no sense."""
    try:
        yield from _read_csv(source) if kind is Format.CSV else _read_jsonl(source)
    except BadLine as bad:
        yield bad.row


def _read_jsonl(source: BinaryIO) -> Iterator[Row]:
    for number, line in enumerate(_lines(source), start=1):
        if not line.strip():
            continue
        try:
            document = json.loads(line, parse_int=_whole, parse_constant=_refuse, object_pairs_hook=_object)
        except (ValueError, RecursionError) as error:
            yield Row(number, None, f"is not JSON: {error}")
            continue
        if isinstance(document, dict):
            yield _checked(number, document)
        else:
            yield Row(number, None, "is not a JSON object")


def _whole(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise ValueError(f"a number of more than {MAX_DIGITS} digits")
    return int(digits)


def _refuse(name: str) -> Any:
    raise ValueError(f"it has no {name}")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("an object names a member twice")
    return found


def _checked(line: int, document: dict[str, Any]) -> Row:
    """Return a row; without its document where a server could not even read that, which is no error of one line there."""
    level: list[Any] = [document]
    for _ in range(MAX_DEPTH):
        for text in level:
            if isinstance(text, str) and (why := _unfit(text)):
                return Row(line, None, why)
        level = [part for whole in level for part in _parts(whole)]
        if not level:
            return Row(line, document)
    return Row(line, None, f"is nested deeper than {MAX_DEPTH}")


def _parts(value: object) -> Iterable[Any]:
    if isinstance(value, dict):
        return (*value.keys(), *value.values())
    return value if isinstance(value, list) else ()


def _unfit(text: str) -> str | None:
    if "\0" in text:
        return "holds the character U+0000, which cannot be stored"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "holds half a character (a lone surrogate)"
    return None


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
    if AMOUNT not in names:
        raise UsageError(f"the first line names no column {AMOUNT}", hint=_FIRST_LINE)
    return names


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


def format_of(file: str) -> Format:
    """Return how a file is written, by its name. Raises :class:`UsageError`."""
    suffix = Path(file).suffix.lower()
    if file == "-" or suffix == ".csv":
        return Format.CSV
    if suffix in (".jsonl", ".ndjson"):
        return Format.JSONL
    raise UsageError(f"FILE: cannot tell how {file} is written", hint="add --format csv or --format jsonl")
