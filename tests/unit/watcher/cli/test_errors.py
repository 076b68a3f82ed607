"""Exit codes by family of errors; only bugs have a traceback."""

import sqlite3
from pathlib import Path

import pytest

from chain.errors import ReorgTooDeep, SourceUnavailable
from notifier.errors import NotFound, NotPossible, RefusedUrl
from tests.unit.watcher.cli.runner import DATABASE_URL, CliRunner
from watcher.cli.app import _explain, _unwrap
from watcher.cli.session import Session, read_moment, read_pairs
from watcher.errors import Halted, LeaseHeld, UsageError


@pytest.mark.parametrize(
    ("error", "message", "hint", "code"),
    [
        (UsageError("no"), "no", "", 2),
        (Halted("stopped", hint="look"), "stopped", "look", 3),
        (LeaseHeld("held"), "held", "", 3),
        (
            NotFound("delivery", "dlv_x"),
            "no delivery 'dlv_x'",
            "`sbtc-watcher deliveries list` shows them",
            1,
        ),
        (RefusedUrl("is private"), "url: is private", "", 2),
        (NotPossible("is disabled"), "is disabled", "", 2),
        (SourceUnavailable("down", url="http://a"), "http://a: down", "", 3),
    ],
)
def test_each_family_is_explained(error: Exception, message: str, hint: str, code: int) -> None:
    assert _explain(error) == (message, hint, code)


def test_a_reorg_that_is_too_deep_keeps_its_hint() -> None:
    explained = _explain(ReorgTooDeep(fork_height=5, burn_depth=9))
    assert explained is not None
    assert "--accept-reorg" in explained[1]


def test_a_bug_is_not_explained_away() -> None:
    assert _explain(KeyError("x")) is None
    assert _explain(_unwrap(ExceptionGroup("two", [Halted("a"), KeyError("b")]))) is None


def test_the_only_error_of_a_task_group_is_explained_itself() -> None:
    group = ExceptionGroup("outer", [ExceptionGroup("inner", [Halted("stopped")])])
    assert _explain(_unwrap(group)) == ("stopped", "", 3)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("bogus",), "No such command 'bogus'"),
        (("intents", "create"), "Missing option '--amount'"),
        (("intents", "create", "--amount", "1"), "Missing option '--merchant'"),
        (("endpoints", "add", "https://192.9.200.1/"), "Missing option '--merchant'"),
        (("intents", "import", "orders.csv"), "Missing option '--merchant'"),
        (("intents", "list", "--limit", "0"), "'--limit': 0 is not from 1 to 100"),
        (("intents", "list", "--status", "paid"), "'--status': 'paid' is not one of 'pending'"),
        (("intents", "list", "--metadata", "x"), "--metadata: 'x' is not key=value"),
        (("intents", "list", "--created-from", "soon"), "--created-from: 'soon' is not a time"),
        (("merchants", "update", "mer_x"), "nothing to change"),
        (("run", "--role", "miner"), "--role: 'miner' is not a role"),
        (("run", "--role", ","), "--role: no role is named"),
        (("status", "--watch", "--json"), "--watch and --json exclude each other"),
        (("endpoints", "rotate-secret", "we_x", "--overlap", "long"), "overlap: 'long' is not a duration"),
        (("--config", "/nowhere/x.toml", "status"), "/nowhere/x.toml: cannot read the settings file"),
    ],
)
def test_a_usage_error_is_one_error_and_exit_2(cli: CliRunner, arguments: tuple[str, ...], says: str) -> None:
    answer = cli(*arguments, code=2)
    first, *hints = answer.err.splitlines()
    assert first.startswith("error: ")
    assert says in first
    assert all(line.startswith("hint: ") for line in hints)
    assert len(hints) <= 1
    assert answer.out == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ("merchants", "show", "mer_x"),
        ("merchants", "update", "mer_x", "--name", "New"),
        ("merchants", "disable", "mer_x"),
        ("merchants", "rotate-key", "mer_x"),
        ("intents", "create", "--merchant", "mer_x", "--amount", "1"),
        ("intents", "show", "pi_x"),
        ("intents", "cancel", "pi_x"),
        ("intents", "mark", "pi_x", "--status", "failed", "--reason", "r"),
        ("transfers", "assign", "tr_x", "pi_x", "--reason", "r"),
        ("endpoints", "add", "https://192.9.200.1/", "--merchant", "mer_x"),
        ("endpoints", "remove", "we_x"),
        ("endpoints", "enable", "we_x"),
        ("endpoints", "disable", "we_x"),
        ("endpoints", "rotate-secret", "we_x"),
        ("endpoints", "test", "we_x"),
        ("events", "show", "evt_x"),
        ("events", "redeliver", "evt_x"),
        ("events", "replay", "--since", "1d", "--endpoint", "we_x"),
        ("deliveries", "show", "dlv_x"),
        ("deliveries", "retry", "dlv_x"),
        ("deliveries", "dismiss", "dlv_x"),
        ("deliveries", "recover", "--endpoint", "we_x"),
    ],
    ids=lambda arguments: " ".join(arguments[:2]),
)
def test_what_does_not_exist_is_named_with_exit_1(cli: CliRunner, arguments: tuple[str, ...]) -> None:
    answer = cli(*arguments, code=1)
    assert "_x" in answer.err.splitlines()[0]
    assert "hint: " in answer.err
    assert answer.out == ""


def test_verbose_adds_the_traceback(cli: CliRunner) -> None:
    assert "Traceback" not in cli("intents", "show", "pi_x", code=1).err
    assert "Traceback" in cli("--verbose", "intents", "show", "pi_x", code=1).err


def test_a_file_that_is_no_database_is_unreachable_and_stays_as_it_is(
    cli: CliRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "this is a letter, not a database " * 100
    (tmp_path / "letter").write_text(text)
    monkeypatch.setenv(DATABASE_URL, f"sqlite:///{tmp_path}/letter")
    assert "file is not a database" in cli("status", code=3).err
    assert (tmp_path / "letter").read_text() == text


def test_a_database_of_a_newer_version_is_refused(cli: CliRunner, tmp_path: Path) -> None:
    cli("db", "upgrade")
    connection = sqlite3.connect(tmp_path / "watcher.db")
    with connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    assert "9999" in cli("intents", "list", code=2).err
    assert cli.doc("db", "current", code=1)["revision"] == "9999"
    shown = cli("db", "current", code=1).err
    assert "install the version that made it" in shown
    assert "db upgrade" not in shown


def test_times_are_read_as_moments_or_as_how_long_ago() -> None:
    assert read_moment("2d", "--since", now=1_000_000.0) == 1_000_000.0 - 172_800
    assert read_moment("1970-01-01T00:01:00Z", "--since", now=0.0) == 60
    assert read_moment("1763670000", "--since", now=0.0) == 1_763_670_000
    assert read_moment(None, "--since", now=0.0) is None


def test_pairs_are_read_once_each() -> None:
    assert read_pairs(["a=1", "b=x=y", "c="], "--metadata") == {"a": "1", "b": "x=y", "c": ""}
    assert read_pairs(None, "--metadata") is None
    with pytest.raises(UsageError, match="given twice"):
        read_pairs(["a=1", "a=2"], "--metadata")
    with pytest.raises(UsageError, match="not key=value"):
        read_pairs(["=1"], "--metadata")


def test_the_actor_is_a_user_of_this_machine() -> None:
    assert Session().actor.removeprefix("cli:") not in ("", "cli:")
