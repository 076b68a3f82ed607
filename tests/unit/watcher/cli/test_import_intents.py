"""``intents import``: atomic batches, errors by line, continuing an import."""

import io
import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit.watcher.cli.runner import CliRunner
from watcher.cli import csv_rows
from watcher.cli.commands import import_intents


def write(folder: Path, name: str, *lines: str) -> str:
    path = folder / name
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def count(cli: CliRunner) -> int:
    return int(cli.doc("status", code=1)["intents"]["pending"])


def test_a_csv_file_makes_an_intent_of_every_line(cli: CliRunner, tmp_path: Path) -> None:
    merchant = cli.merchant()
    file = write(
        tmp_path,
        "orders.csv",
        "amount,reference,expires_in,metadata.order_id,metadata.note",
        '50000,INV-1,2h,1,"a, b"',
        "60000,,,2,",
    )
    done = cli.doc("intents", "import", file, "--merchant", merchant)
    assert (done["imported"], done["errors"], done["continue_at_line"]) == (2, [], None)
    assert [row["line"] for row in done["intents"]] == [2, 3]
    first, second = (cli.doc("intents", "show", row["id"]) for row in done["intents"])
    assert (first["amount"], first["reference"], first["metadata"]) == (
        "50000",
        "INV-1",
        {"order_id": "1", "note": "a, b"},
    )
    assert (second["amount"], second["metadata"]) == ("60000", {"order_id": "2"})
    assert second["reference"] == done["intents"][1]["reference"]
    assert len(second["reference"]) == 12


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("1000,INV-1\n2000,INV-2\n", "the first line names no column amount"),
        ("Amount,reference\n1000,INV-1\n", "the first line names no column amount"),
        ("amount;reference\n1000;INV-1\n", "the cells are separated by semicolons"),
        ("amount\treference\n1000\tINV-1\n", "the cells are separated by tabs"),
        ("amount,amount\n1000,1000\n", "the first line names a column twice"),
        ("", "the file is empty"),
        ("\n\n", "the file is empty"),
    ],
)
def test_a_csv_file_whose_first_line_names_no_columns_is_refused(
    cli: CliRunner, tmp_path: Path, content: str, message: str
) -> None:
    """Otherwise the first intent would be taken for a header and silently skipped."""
    merchant = cli.merchant()
    path = tmp_path / "orders.csv"
    path.write_text(content)
    refused = cli("intents", "import", str(path), "--merchant", merchant, code=2)
    assert message in refused.err
    assert (refused.out, count(cli)) == ("", 0)


def test_a_jsonl_file_has_the_fields_of_the_api(cli: CliRunner, tmp_path: Path) -> None:
    merchant = cli.merchant()
    lines = [{"amount": 1000, "reference": "A"}, {"amount": "2000", "metadata": {"k": "v"}}]
    file = write(tmp_path, "orders.jsonl", json.dumps(lines[0]), "", json.dumps(lines[1]))
    done = cli.doc("intents", "import", file, "--merchant", merchant)
    assert [row["line"] for row in done["intents"]] == [1, 3]
    assert cli.doc("intents", "show", done["intents"][1]["id"])["metadata"] == {"k": "v"}


def test_errors_are_listed_by_line_and_their_batch_is_not_stored(cli: CliRunner, tmp_path: Path) -> None:
    merchant = cli.merchant()
    file = write(
        tmp_path, "orders.csv", "amount,reference,colour", "50000,A,", "0,B,", "50000,a,", "1,C,red", "1"
    )
    done = cli.doc("intents", "import", file, "--merchant", merchant, code=2)
    assert done["imported"] == 0
    assert done["continue_at_line"] == 2
    listed = [(error["line"], error["field"]) for error in done["errors"]]
    assert listed == [(3, "amount"), (5, "colour"), (6, None)]
    assert done["errors"][2]["message"] == "has 1 cell, the first line names 3"
    assert count(cli) == 0


def test_errors_that_need_the_database_are_listed_by_line_too(cli: CliRunner, tmp_path: Path) -> None:
    """Once all lines are valid by themselves."""
    merchant = cli.merchant()
    lines = ["amount,reference,asset", "50000,A,", "1,B,doge", "50000,a,"]
    file = write(tmp_path, "orders.csv", *lines)
    done = cli.doc("intents", "import", file, "--merchant", merchant, code=2)
    assert [(error["line"], error["field"]) for error in done["errors"]] == [(3, "asset"), (4, "reference")]
    assert "is in use" in done["errors"][1]["message"]
    assert (done["imported"], count(cli)) == (0, 0)


def test_batches_before_the_error_stay_and_the_import_can_be_continued(
    cli: CliRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(import_intents, "MAX_BATCH_INTENTS", 3)
    merchant = cli.merchant()
    lines = ["amount,reference", *(f"{1000 + n},R{n}" for n in range(8))]
    lines[5] = "none,R4"
    file = write(tmp_path, "orders.csv", *lines)
    failed = cli("intents", "import", file, "--merchant", merchant, code=2)
    assert failed.out == "3 intents imported\n"
    assert "line 6: amount: 'none' is not a number of base units" in failed.err
    assert "--from-line 5" in failed.err
    assert count(cli) == 3
    lines[5] = "1004,R4"
    write(tmp_path, "orders.csv", *lines)
    done = cli.doc("intents", "import", file, "--merchant", merchant, "--from-line", "5")
    assert (done["imported"], [row["line"] for row in done["intents"]]) == (5, [5, 6, 7, 8, 9])
    assert count(cli) == 8


def test_the_database_is_held_for_two_hundred_intents_at_a_time(cli: CliRunner, tmp_path: Path) -> None:
    """An error in line 202 leaves the first two hundred stored: they had their own transaction."""
    merchant = cli.merchant()
    file = write(tmp_path, "orders.csv", "amount", *["1000"] * 200, "none")
    failed = cli("intents", "import", file, "--merchant", merchant, code=2)
    assert failed.out == "200 intents imported\n"
    assert "line 202: amount: 'none'" in failed.err


def test_standard_input_is_read_and_its_format_can_be_told(
    cli: CliRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    merchant = cli.merchant()
    for text, more in (("amount\n1000\n", ()), ('{"amount": 2000}', ("--format", "jsonl"))):
        stdin = io.TextIOWrapper(io.BytesIO(text.encode()))
        monkeypatch.setattr("sys.stdin", stdin)
        assert cli.doc("intents", "import", "-", "--merchant", merchant, *more)["imported"] == 1
    assert count(cli) == 2


@pytest.mark.parametrize(
    ("name", "content", "line", "message"),
    [
        ("a.jsonl", b'{"amount": 1}\nno json\n', 2, "is not JSON"),
        ("a.jsonl", b"[1]\n", 1, "is not a JSON object"),
        ("a.jsonl", b'{"amount": ' + b"9" * 5000 + b"}\n", 1, "is not JSON"),
        ("a.jsonl", b"[" * 100_000 + b"\n", 1, "is not JSON"),
        ("a.jsonl", b'{"amount": 1}\n{"reference": "\xff"}\n', 2, "is not UTF-8"),
        ("a.csv", b"amount\n" + b"1" * (csv_rows.MAX_LINE_BYTES + 1) + b"\n", 2, "is longer than 256 KiB"),
        ("a.csv", b'amount,reference\n1,A\n1,"B" C\n', 3, "is not CSV"),
        ("a.csv", b'amount\n"1\n2', 2, "is not CSV"),
    ],
)
def test_what_cannot_be_read_is_an_error_of_its_line(
    cli: CliRunner, tmp_path: Path, name: str, content: bytes, line: int, message: str
) -> None:
    merchant = cli.merchant()
    path = tmp_path / name
    path.write_bytes(content)
    done = cli.doc("intents", "import", str(path), "--merchant", merchant, code=2)
    [error] = done["errors"]
    assert (done["imported"], error["line"]) == (0, line)
    assert message in error["message"]
    assert count(cli) == 0


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(cli: CliRunner, tmp_path: Path) -> None:
    merchant = cli.merchant()
    path = tmp_path / "orders.csv"
    path.write_bytes(b"\xef\xbb\xbfamount,reference\r\n1000,A\r\n\r\n2000,B\r\n")
    done = cli.doc("intents", "import", str(path), "--merchant", merchant)
    assert [row["line"] for row in done["intents"]] == [2, 4]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("orders.txt",), "cannot tell the format of orders.txt"),
        (("missing.csv",), "cannot read missing.csv: no such file or directory"),
        (("twice.csv",), "names a column twice"),
    ],
)
def test_an_unusable_file_is_one_line(
    cli: CliRunner,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, "twice.csv", "amount,amount", "1,2")
    merchant = cli.merchant()
    found = cli("intents", "import", *arguments, "--merchant", merchant, code=2)
    assert message in found.err
    assert found.out == ""


def test_an_unknown_merchant_is_reported_once(cli: CliRunner, tmp_path: Path) -> None:
    file = write(tmp_path, "orders.csv", "amount", "1", "2")
    found = cli("intents", "import", file, "--merchant", "mer_NONE", code=1)
    assert found.err.count("mer_NONE") == 1


def test_an_interruption_says_where_to_continue(
    cli: CliRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(import_intents, "MAX_BATCH_INTENTS", 2)
    merchant = cli.merchant()
    store = import_intents._store

    def interrupted(*arguments: Any) -> None:
        if arguments[-1].intents:
            raise KeyboardInterrupt
        store(*arguments)

    monkeypatch.setattr(import_intents, "_store", interrupted)
    file = write(tmp_path, "orders.csv", "amount", *(str(n + 1) for n in range(5)))
    found = cli("intents", "import", file, "--merchant", merchant, code=130)
    assert "2 intents imported; continue with --from-line 4" in found.err
    assert count(cli) == 2
