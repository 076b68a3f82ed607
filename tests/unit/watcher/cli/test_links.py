"""Payment links on the command line."""

import io
from pathlib import Path

import pytest

from tests.unit.watcher.cli.runner import CliRunner, calling


def test_a_link_is_made_shown_changed_and_disabled(cli: CliRunner) -> None:
    """Prices and notes are repeatable; ``none`` takes a value away."""
    merchant = cli.merchant()
    more = ("--price", "sbtc=50000", "--price", "stx=25000000", "--metadata", "sku=c1", "--max-uses", "3")
    made = cli.doc("links", "create", "--merchant", merchant, *more, "--description", "Tea")
    assert made["prices"] == {"sbtc": "50000", "stx": "25000000"}
    shown = cli("links", "show", made["id"]).out
    for text in ("50,000 sats (0.0005 sbtc)", "25 stx", "0 of 3", "sku=c1", "Tea", "By day (UTC)"):
        assert text in shown
    listed = cli("links", "list").out
    assert "50,000 sats or 25 stx" in listed
    changed = cli.doc("links", "update", made["id"], "--amount", "7", "--max-uses", "none")
    assert (changed["amount"], changed["prices"], changed["max_uses"]) == ("7", None, None)
    opened = cli.doc("links", "update", made["id"], "--amount", "none", "--metadata", "none")
    assert (opened["amount"], opened["asset"], opened["metadata"]) == (None, "sbtc", {})
    assert "any, sbtc" in cli("links", "list").out
    assert "disabled" in cli("links", "disable", made["id"]).out
    assert cli.doc("links", "update", made["id"], "--enable")["status"] == "active"
    assert "nothing to change" in cli("links", "update", made["id"], code=2).err


def test_a_password_is_read_from_standard_input(cli: CliRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that it is in no list of processes."""
    merchant = cli.merchant()
    monkeypatch.setattr("sys.stdin", io.StringIO("open sesame\n"))
    made = cli.doc("links", "create", "--merchant", merchant, "--amount", "5", "--password", "-")
    assert made["has_password"] is True
    assert "sesame" not in str(made)
    assert cli.doc("links", "update", made["id"], "--password", "none")["has_password"] is False


def test_what_is_wrong_is_said_in_a_line(cli: CliRunner) -> None:
    """With what to write instead."""
    create = ("links", "create", "--merchant", cli.merchant())
    assert "hint: --price sbtc=50000" in cli(*create, "--price", "sbtc", code=2).err
    assert "prices: 'sbtc': 'x' is not a number" in cli(*create, "--price", "sbtc=x", code=2).err
    assert "leave it or amount out" in cli(*create, "--amount", "5", "--min-amount", "4", code=2).err
    assert "1 to 366" in cli("links", "statistics", "pl_X", "--days", "0", code=2).err
    assert "no link pl_X" in cli("links", "show", "pl_X", code=1).err


def test_a_code_is_written_to_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the format that the name ends in; a link that is only a path has none."""
    with calling(tmp_path, monkeypatch, capsys) as bare:
        link = bare.doc("links", "create", "--merchant", bare.merchant(), "--amount", "5")["id"]
        assert "set public_url" in bare("links", "qr", link, "-o", f"{tmp_path}/a.svg", code=2).err
    with calling(tmp_path, monkeypatch, capsys, public_url="https://pay.example") as cli:
        assert "leads to https://pay.example/l/" in cli("links", "qr", link, "-o", f"{tmp_path}/a.svg").err
        assert b"<svg" in (tmp_path / "a.svg").read_bytes()
        document = cli.doc("links", "qr", link, "-o", f"{tmp_path}/a.png")
        assert document["payment_link"] == link
        assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
        for wrong in (("-o", f"{tmp_path}/a.gif"), ("-o", "-", "--json"), ("-o", f"{tmp_path}/no/a.svg")):
            assert cli("links", "qr", link, *wrong, code=2).out == ""


def test_the_statistics_are_a_table(cli: CliRunner) -> None:
    """The newest day first."""
    link = cli.doc("links", "create", "--merchant", cli.merchant(), "--amount", "5")["id"]
    shown = cli("links", "statistics", link, "--days", "2").out
    assert "Abandoned" in shown
    days = [line for line in shown.splitlines() if line.startswith("20")]
    assert len(days) == 2
    assert days == sorted(days, reverse=True)
