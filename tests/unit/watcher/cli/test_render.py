"""Output cannot control the terminal, and ids can be copied."""

import io
import json
import os
import sys

import pytest
from rich.text import Text

from watcher.cli import render

HOSTILE = "\x1b]0;owned\x07 \x9b31m \u202etxt.exe\x7f"


def test_control_characters_are_escaped() -> None:
    assert render.plain(HOSTILE) == "\\x1b]0;owned\\x07 \\x9b31m \\u202etxt.exe\\x7f"
    assert render.plain("Teehaus „Zur Linde“ ☕") == "Teehaus „Zur Linde“ ☕"


def test_json_holds_every_character_and_shows_dangerous_ones_escaped(
    capsys: pytest.CaptureFixture[str],
) -> None:
    document = {"name": HOSTILE, "place": "Köln"}
    render.document(document)
    out = capsys.readouterr().out
    assert json.loads(out) == document
    assert "Köln" in out
    assert not set(out) & set("\x1b\x07\x7f\x9b\u202e")


def test_json_is_ascii_where_the_output_cannot_take_more(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    render.document({"place": "Köln"})
    assert json.loads(raw.getvalue()) == {"place": "Köln"}


def test_ids_stay_on_one_line_however_narrow_the_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    ids = [f"pi_{number:026}" for number in range(3)]
    render.show(render.table(("ID", "Intent", "Reason"), [(*ids[:2], "word " * 40)]))
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines[:2]] == [["ID", ids[0]], ["Intent", ids[1]]]
    assert len(lines) > 4, "free text takes several lines"


def test_markup_in_data_is_data(capsys: pytest.CaptureFixture[str]) -> None:
    render.show(render.card([("Name", "[bold]x[/bold] :smile:"), ("Nothing", ""), ("Left out", None)]))
    out = capsys.readouterr().out
    assert "[bold]x[/bold] :smile:" in out
    assert "–" in out
    assert "Left out" not in out


def test_errors_are_words_and_a_hint_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    render.error("one\ntwo\x1b", "do\n  this")
    out, err = capsys.readouterr()
    assert (out, err) == ("", "error: one\n       two\\x1b\nhint: do this\n")


def test_a_page_says_how_to_get_the_next_one(capsys: pytest.CaptureFixture[str]) -> None:
    render.page({"data": [1], "next_cursor": "c"}, Text("row"), nothing="none")
    assert capsys.readouterr() == ("row\n", "There is more: --cursor c\n")
    render.page({"data": [], "next_cursor": None}, Text("row"), nothing="none")
    assert capsys.readouterr() == ("", "none\n")


def test_counts_have_a_singular() -> None:
    assert [render.count(n, "block") for n in (0, 1, 2000)] == ["0 blocks", "1 block", "2,000 blocks"]
    assert render.count(2, "delivery") == "2 deliveries"


@pytest.mark.parametrize(
    "show", [lambda: render.line("x" * 100_000), lambda: render.show(Text("x" * 100_000))]
)
def test_a_reader_that_went_away_is_told_from_a_failure(
    show: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    # Rich and this program both write to the present sys.stdout.
    with open(writing, "w", encoding="utf-8") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        with pytest.raises(render.ReaderGone):
            show()  # type: ignore[operator]
        os.dup2(os.open(os.devnull, os.O_WRONLY), writing)


def test_a_table_wider_than_the_terminal_is_shown_as_records(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """At 80 columns the terminal wraps nothing within a word."""
    monkeypatch.setenv("COLUMNS", "80")
    rows = [(f"pi_{number:026}", "SP" + "X" * 39, "2026-01-31 12:00:00") for number in range(2)]
    render.show(render.table(("ID", "Recipient", "Created (UTC)"), rows))
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert [line.split(maxsplit=1)[1].strip() for line in lines if line.startswith("ID")] == [
        row[0] for row in rows
    ]
    monkeypatch.setenv("COLUMNS", "120")
    render.show(render.table(("ID", "Recipient", "Created (UTC)"), rows))
    assert len(capsys.readouterr().out.splitlines()) == 4
