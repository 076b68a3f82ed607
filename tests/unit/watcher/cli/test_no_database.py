"""Commands without a database: they create none, not even its folder, and say so."""

import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.watcher.cli.runner import DATABASE_URL, SHOP, CliRunner, calling
from tests.unit.watcher.cli.test_tree import COMMANDS

READS = [
    "status",
    "status --watch",
    "merchants list",
    "merchants show mer_X",
    "merchants keys list mer_X",
    "intents list",
    "intents show pi_X",
    "links list",
    "links show pl_X",
    "links statistics pl_X",
    "links qr pl_X -o /dev/null --format svg",
    "transfers list",
    "endpoints list",
    "events list",
    "events show evt_X",
    "deliveries list",
    "deliveries show dlv_X",
    "deliveries queue",
]
#: Commands that change stored rows.
CHANGES = [
    "merchants update mer_X --level included",
    "merchants disable mer_X",
    "merchants rotate-key mer_X",
    "merchants keys add mer_X",
    "merchants keys revoke mer_X key_X",
    "login-link --merchant mer_X",
    "intents create --merchant mer_X --amount 1",
    "intents cancel pi_X",
    "intents mark pi_X --status failed --reason x",
    "intents dismiss pi_X --reason x",
    "intents import /dev/null --format csv --merchant mer_X",
    "links create --merchant mer_X --amount 1",
    "links update pl_X --amount 1",
    "links disable pl_X",
    "transfers assign tr_X pi_X --reason x",
    "endpoints add https://shop.example/ --merchant mer_X",
    "endpoints remove we_X",
    "endpoints enable we_X",
    "endpoints disable we_X",
    "endpoints rotate-secret we_X",
    "endpoints test we_X",
    "trigger payment.failed --endpoint we_X",
    "events redeliver evt_X",
    "events replay --since 1d --endpoint we_X",
    "deliveries retry dlv_X",
    "deliveries dismiss dlv_X",
    "deliveries recover --endpoint we_X",
    "reindex --from 1",
    "db prune",
    "db backup copy.db",
]
#: Commands that create a database, need none, or have their own test here.
OTHERS = {"run", "demo", "listen", "check", "verify", "merchants add", "db upgrade", "db current"}


@pytest.fixture
def cli(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[CliRunner]:
    with calling(tmp_path, monkeypatch, capsys, fresh=True) as cli:
        monkeypatch.setenv(DATABASE_URL, f"sqlite:///{tmp_path}/state/watcher.db")
        yield cli


def test_every_command_is_tried_without_a_database() -> None:
    """A new command must be added here too."""
    commands = {" ".join(path) for path in COMMANDS}
    tried = {name for name in commands if any(f"{one} ".startswith(f"{name} ") for one in (*READS, *CHANGES))}
    assert (tried | OTHERS, tried & OTHERS) == (commands, set())


@pytest.mark.parametrize("command", [*READS, *CHANGES])
def test_no_database_is_one_line_and_exit_1(cli: CliRunner, tmp_path: Path, command: str) -> None:
    """Only commands that are meant to create a database touch the disk."""
    found = cli(*command.split(), code=1)
    assert found.err.startswith(f"error: no database at {tmp_path}/state/watcher.db\nhint: ")
    assert found.out == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", [read for read in READS if "--watch" not in read])
def test_with_json_standard_output_stays_empty(cli: CliRunner, tmp_path: Path, command: str) -> None:
    """A reader of the JSON gets none, and the exit code; the message is on stderr."""
    found = cli(*command.split(), "--json", code=1)
    assert (found.out, found.err.startswith("error: no database at ")) == ("", True)
    assert list(tmp_path.iterdir()) == []


def test_the_current_revision_of_no_database_is_none(cli: CliRunner, tmp_path: Path) -> None:
    """`db current` shows the revision needed, and none."""
    found = cli.doc("db", "current", code=1)
    assert found["revision"] is None
    assert found["head"]
    words = cli("db", "current", code=1)
    assert "none" in words.out
    assert f"no database at {tmp_path}/state/watcher.db" in words.err
    assert list(tmp_path.iterdir()) == []


def test_check_says_that_there_is_no_database(
    cli: CliRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`check` warns of the database, creates none, and goes on to the sources."""
    monkeypatch.setenv("SBTC_WATCHER_API_URLS", "http://127.0.0.1:9")
    found = cli.doc("check", code=3)["checks"]
    [database] = [check for check in found if check["subject"] == "database"]
    assert database["level"] == "warning"
    assert database["text"].startswith(
        f"no database at {tmp_path}/state/watcher.db. `sbtc-watcher run` makes it"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_file_without_tables_is_no_database_either(cli: CliRunner, tmp_path: Path) -> None:
    """A read-only command does not fill the empty file of a start that was killed."""
    (tmp_path / "state").mkdir()
    file = tmp_path / "state" / "watcher.db"
    file.touch(mode=0o600)
    found = cli("status", code=1)
    assert found.err.startswith("error: no database at sqlite:///")
    assert "no tables" in found.err
    assert cli.doc("db", "current", code=1)["revision"] is None


@pytest.mark.parametrize("command", [("db", "upgrade"), ("merchants", "add", "Shop", "--recipient", SHOP)])
def test_a_new_database_is_readable_by_its_owner_only(
    cli: CliRunner, tmp_path: Path, command: tuple[str, ...]
) -> None:
    """Also when `db upgrade` or the first merchant creates it, before the daemon."""
    cli(*command)
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "state" / "watcher.db").stat().st_mode) == 0o600
    assert cli.doc("db", "current")["revision"]
