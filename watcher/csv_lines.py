"""Lines of CSV files for spreadsheets (pure): a text of a stranger is never taken for a formula."""

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Final

MEDIA_TYPE: Final = "text/csv; charset=utf-8"

#: What a spreadsheet takes for the beginning of a formula, also in the full width of East Asian texts.
_FORMULAS = tuple("=+-@＝＋－＠")
#: What some spreadsheets leave out before it.
_SKIPPED = " \t\r\n\v\f\0\u00a0\u3000\ufeff"


def csv_lines(rows: Iterable[Sequence[object]]) -> str:
    """Return rows as CSV (RFC 4180): a comma between cells, quotation marks where needed, CRLF after each.

    None is an empty cell. A text that looks like a formula gets an apostrophe before it, which spreadsheets
    take for *this is a text*.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\r\n")
    writer.writerows([_cell(cell) for cell in row] for row in rows)
    return buffer.getvalue()


def _cell(cell: object) -> object:
    if not isinstance(cell, str):
        return cell
    text = cell.replace("\0", "")
    looks = text.lstrip(_SKIPPED).startswith(_FORMULAS) or text.startswith(("\t", "\r", "\n"))
    return f"'{text}" if looks else text
