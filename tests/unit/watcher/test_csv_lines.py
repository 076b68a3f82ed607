"""CSV for spreadsheets: whole texts, and none of them a formula."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watcher.csv_lines import csv_lines

FORMULA = '=HYPERLINK("https://evil.example","x")'


def test_cells_are_quoted_where_they_must_be() -> None:
    """Commas, quotation marks and line breaks stay inside their cell; nothing is an empty one."""
    assert csv_lines([["a", 1, None], ['say "hi", twice', "x\ny", ""]]) == (
        'a,1,\r\n"say ""hi"", twice","x\ny",\r\n'
    )


@pytest.mark.parametrize(
    "text",
    [
        FORMULA,
        "+1",
        "-1",
        "@SUM(A1)",
        " =1",
        "\t=1",
        "\r=1",
        "\n=1",
        "\0=1",
        "\u00a0=1",
        "\ufeff=1",
        "＝1",
        "\tx",
    ],
)
def test_a_formula_is_a_text(text: str) -> None:
    [[cell]] = csv.reader(io.StringIO(csv_lines([[text]]), newline=""))
    assert cell == "'" + text.replace("\0", "")


@given(st.lists(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=2), min_size=1))
def test_a_text_comes_back_with_an_apostrophe_at_most(rows: list[list[str]]) -> None:
    """Whatever the cells hold, no cell moves to another column or row."""
    read = list(csv.reader(io.StringIO(csv_lines(rows), newline="")))
    for row, got in zip(rows, read, strict=True):
        for cell, shown in zip(row, got, strict=True):
            plain = cell.replace("\0", "")
            assert shown in (plain, f"'{plain}")


def test_numbers_stay_numbers() -> None:
    assert csv_lines([[2**128 - 1, "12", "0x1"]]) == f"{2**128 - 1},12,0x1\r\n"
