"""Output that cannot be written: a change is committed only if its result could be printed."""

import errno
import io
import os
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.watcher.cli.runner import SHOP, CliRunner
from tests.unit.watcher.cli.test_tree import COMMANDS
from watcher.cli.output import OutputFailed

URL = "https://1.1.1.1/hooks"

#: Commands that only read, run until stopped, or commit in several transactions.
OTHERS = {
    *("demo", "run", "status", "check", "verify", "listen", "reindex", "intents import"),
    *("db upgrade", "db current", "db prune", "db backup"),
    *("merchants list", "merchants show", "merchants keys list", "intents list", "intents show"),
    *("links list", "links show", "links statistics", "links qr"),
    *("transfers list", "endpoints list", "events list", "events show", "deliveries list", "deliveries show"),
    "deliveries queue",
}


class Full(io.TextIOBase):
    """A ``sys.stdout`` on a full disk."""

    encoding = "utf-8"

    def write(self, text: str, /) -> int:
        raise OutputFailed(f"standard output: {os.strerror(errno.ENOSPC).lower()}")


class Shop:
    """A merchant with one row of each kind that can be changed, by the placeholders of :data:`CHANGES`."""

    def __init__(self, cli: CliRunner, path: Path) -> None:
        self.path = path
        merchant = cli.merchant()
        endpoint = cli.doc("endpoints", "add", URL, "--merchant", merchant, "--events", "*")["endpoint"]["id"]
        intent, ended = cli.intent(merchant), cli.intent(merchant)
        cli("intents", "cancel", ended["id"])
        found = cli.doc("deliveries", "list")["data"]
        dead, waiting = found[0]["id"], found[-1]["id"]
        self.names = {
            "merchant": merchant,
            "key": cli.doc("merchants", "keys", "list", merchant)["data"][0]["id"],
            "endpoint": endpoint,
            "disabled": cli.doc("endpoints", "add", URL, "--merchant", merchant)["endpoint"]["id"],
            "intent": intent["id"],
            "link": cli.doc("links", "create", "--merchant", merchant, "--amount", "5")["id"],
            "ended": ended["id"],
            "event": found[-1]["event"],
            "dead": dead,
            "waiting": waiting,
            "transfer": "tr_STRAY",
        }
        cli("endpoints", "disable", self.names["disabled"])
        money = {"height": 0, "time": 0, "burn_height": 0, "tx_index": 0, "recipient": SHOP, "canonical": 1}
        money |= {"asset": intent["asset_identifier"], "route": "transfer", "seen_at": 0, "rank": 0}
        money |= {"block_hash": "0x00", "merchant_id": merchant, "assigned": 0}
        with sqlite3.connect(path) as database:
            database.execute(
                "UPDATE delivery SET status = 'dead', next_attempt_at = NULL WHERE id = ?", (dead,)
            )
            for row in (
                {"id": "tr_STRAY", "tx_id": "0x01", "amount": "7".zfill(48), "reason": "no_intent"},
                {"id": "tr_PART", "tx_id": "0x02", "amount": "9".zfill(48), "intent_id": ended["id"]},
            ):
                values = money | row
                database.execute(
                    f"INSERT INTO transfer ({', '.join(values)}) VALUES ({', '.join('?' * len(values))})",
                    [*values.values()],
                )
        database.close()

    def rows(self) -> list[str]:
        """Return everything that is stored."""
        with sqlite3.connect(self.path) as database:
            found = [*database.iterdump()]
        database.close()
        return found


CHANGES = [
    "merchants add Another --recipient " + SHOP,
    "merchants update {merchant} --level settled",
    "merchants disable {merchant}",
    "merchants rotate-key {merchant}",
    "merchants keys add {merchant}",
    "merchants keys revoke {merchant} {key}",
    "login-link --merchant {merchant}",
    "intents create --merchant {merchant} --amount 1",
    "intents cancel {intent}",
    "intents mark {intent} --status succeeded --reason cash",
    "intents dismiss {ended} --reason cash",
    "links create --merchant {merchant} --amount 1",
    "links update {link} --max-uses 5",
    "links disable {link}",
    "transfers assign {transfer} {intent} --reason typo",
    f"endpoints add {URL} --merchant {{merchant}}",
    "endpoints remove {endpoint}",
    "endpoints enable {disabled}",
    "endpoints disable {endpoint}",
    "endpoints rotate-secret {endpoint}",
    "endpoints test {endpoint}",
    "trigger payment.failed --endpoint {endpoint}",
    "events redeliver {event}",
    "events replay --since 1h --endpoint {endpoint}",
    "deliveries retry {dead}",
    "deliveries dismiss {dead}",
    "deliveries recover --endpoint {endpoint}",
]


@pytest.fixture
def full(cli: CliRunner, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Run a command whose standard output takes nothing; return what it says on stderr."""

    def run(command: str) -> str:
        with monkeypatch.context() as patched:
            patched.setattr(sys, "stdout", Full())
            return cli(*command.split(), code=1).err

    return run


def test_every_command_that_changes_something_is_tried_here() -> None:
    """A new command must be added here too."""
    commands = {" ".join(path) for path in COMMANDS}
    tried = {name for name in commands if any(change.startswith(f"{name} ") for change in CHANGES)}
    assert (tried | OTHERS, tried & OTHERS) == (commands, set())


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: " ".join(change.split()[:2]))
def test_a_change_whose_output_fails_is_rolled_back(
    cli: CliRunner, full: Callable[[str], str], tmp_path: Path, change: str
) -> None:
    """The error says so, and no row has changed; with a working output the change is made."""
    shop = Shop(cli, tmp_path / "watcher.db")
    command = change.format(**shop.names)
    before = shop.rows()
    assert full(f"{command} --json").splitlines() == [
        "error: standard output: no space left on device",
        "hint: nothing was changed",
    ]
    assert shop.rows() == before
    cli(*command.split(), "--json")
    assert shop.rows() != before


@pytest.mark.parametrize(
    "change",
    [
        change
        for change in CHANGES
        if change.split()[1] in {"add", "keys", "rotate-key", "rotate-secret", "dismiss"}
    ],
    ids=lambda change: " ".join(change.split()[:3]),
)
def test_text_output_too_is_printed_before_the_commit(
    cli: CliRunner, full: Callable[[str], str], tmp_path: Path, change: str
) -> None:
    """Keys and secrets above all, which are shown only once."""
    shop = Shop(cli, tmp_path / "watcher.db")
    before = shop.rows()
    assert "hint: nothing was changed" in full(change.format(**shop.names))
    assert shop.rows() == before
