"""Commands with ``--server``: the same documents, texts and exit codes as on the daemon's machine."""

import asyncio
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from chain.testing import ScriptedApi, ScriptedChain, principal, txs
from tests import harness
from tests.served import ADMIN, serving
from tests.unit.watcher.cli.runner import DATABASE_URL, Answer, CliRunner, calling
from watcher.cli.commands import import_intents
from watcher.store.database import Database
from watcher.store.heartbeats import Heartbeat

#: A database that does not exist: opening it instead of asking the server fails.
NOWHERE = "postgresql+psycopg://nobody@127.0.0.1:1/nothing"
HOOK = "https://192.9.200.1/hook"
EXPIRY = str(int(time.time()) + 86_400)

#: Who is paid on each side.
SHOPS = ("shop one", "shop two")

#: What differs between two runs of the same, with as many characters.
_VOLATILE = [
    (re.compile(r"\b(pi|pl|mer|we|evt|dlv|tr|key)_[0-9A-Za-z]{26,}"), r"\1_…"),
    (re.compile(r"\b(sk_live|whsec)_[A-Za-z0-9+/=_-]+"), r"\1_…"),
    (re.compile(r"0x[0-9a-f]{32,}"), "0x…"),
    (re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d{3}Z)?"), "TIME"),
    (re.compile(r'"(bytes|\w+_seconds)": [\d.]+'), r'"\1": N'),
    (re.compile(r"\d+(\.\d+)? (KB|MB|s|min|h)\b"), "N"),
    (re.compile(r"\bby (cli:\w+|admin)\b"), "by SOMEBODY"),
    (re.compile(r"/pay/[\w-]{22}"), "/pay/SECRET"),
    (re.compile(r"(http://127.0.0.1:\d+)?/dashboard/sign-in\?link=[\w-]{43}"), "/dashboard/SECRET"),
    (re.compile(r"/l/[0-9A-Z]{12}"), "/l/CODE"),
    (re.compile("|".join(map(principal, SHOPS))), "RECIPIENT"),
]


def same(text: str) -> str:
    """Return an output without what differs between two runs."""
    for pattern, instead in _VOLATILE:
        text = pattern.sub(instead, text)
    return re.sub(" +", " ", re.sub("─+", "─", text))


@dataclass
class Side:
    """A merchant with one of each thing, and how to call commands about them."""

    recipient: str
    merchant: str = ""
    key: str = ""
    key_id: str = ""
    endpoint: str = ""
    event: str = ""
    delivery: str = ""
    transfer: str = ""
    pending: str = ""
    link: str = ""
    marked: str = ""
    paid: str = ""

    def words(self, command: str) -> list[str]:
        """Return a command line about this side's things."""
        return [word.format(**vars(self), expiry=EXPIRY) for word in command.split()]


@dataclass
class Both:
    """The same twice: one side is called on the machine itself, one through the server."""

    cli: CliRunner
    monkeypatch: pytest.MonkeyPatch
    url: str
    here: Side
    there: Side

    def remotely(self, *arguments: str, code: int = 0, key: str = ADMIN) -> Answer:
        """Run a command from a machine without a database."""
        with self.monkeypatch.context() as patch:
            patch.setenv(DATABASE_URL, NOWHERE)
            patch.setenv("SBTC_WATCHER_SERVER", self.url)
            patch.setenv("SBTC_WATCHER_SERVER_KEY", key)
            return self.cli(*arguments, code=code)


@pytest.fixture
def cli(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[CliRunner]:
    with calling(tmp_path, monkeypatch, capsys) as cli:
        yield cli


@pytest.fixture
def both(cli: CliRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Both]:
    here, there = (_populate(cli, Side(principal(name))) for name in SHOPS)
    asyncio.run(_pay(tmp_path, here.recipient, there.recipient))
    for side in (here, there):
        [row] = cli.doc("transfers", "list", "--unmatched", "--merchant", side.merchant)["data"]
        side.transfer = row["id"]
    database = Database(f"sqlite:///{tmp_path}/watcher.db")
    Heartbeat(database, limit=3600.0).write(["follower", "notifier"])
    database.close()
    with serving(f"sqlite:///{tmp_path}/watcher.db") as url:
        yield Both(cli, monkeypatch, url, here, there)


def _populate(cli: CliRunner, side: Side) -> Side:
    added = cli.doc("merchants", "add", "Tea shop", "--recipient", side.recipient)
    side.merchant, side.key = added["merchant"]["id"], added["api_key"]
    side.key_id = cli.doc("merchants", "keys", "list", side.merchant)["data"][0]["id"]
    added = cli.doc("endpoints", "add", HOOK, "--merchant", side.merchant, "--events", "*")
    side.endpoint = added["endpoint"]["id"]
    for reference in ("PENDING", "MARKED", "PAID"):
        made = cli.intent(side.merchant, "--reference", reference, "--expires-at", EXPIRY)
        setattr(side, reference.lower(), made["id"])
    side.link = cli.doc("links", "create", "--merchant", side.merchant, "--amount", "7")["id"]
    side.event = cli.doc("events", "list", "--intent", side.pending)["data"][0]["id"]
    side.delivery = cli.doc("deliveries", "list", "--event", side.event)["data"][0]["id"]
    return side


async def _pay(folder: Path, *recipients: str) -> None:
    """Let money without a label arrive from a scripted chain, through the daemon's own loop."""
    chain = ScriptedChain(time=int(time.time()) - 1000)
    chain.mine(n=3, burn=True)
    database = harness.open_database(folder)
    clock = harness.Clock(time.time())
    async with ScriptedApi(chain) as api:
        following, pool = harness.make_indexer(
            harness.make_ledger(database, clock), [api.url], clock, poll_interval=0.01
        )
        await following.catch_up(asyncio.Event())
        payer = principal("payer")
        chain.mine([txs.sbtc_transfer(payer, to, 50_000, b"typo") for to in recipients], burn=True)
        chain.mine(burn=True)
        await following.catch_up(asyncio.Event())
        await pool.aclose()
    database.close()


#: Read-only commands, compared as text and as JSON; and commands that change something, in this order.
LOOKS = """
    intents show {pending}
    intents list --merchant {merchant}
    intents list --merchant {merchant} --status pending --reference paid --created-from 1d --limit 5
    intents list --merchant {merchant} --flag late --metadata a=b --created-to 1d
    links list --merchant {merchant}
    links show {link}
    links statistics {link} --days 2
    transfers list --merchant {merchant}
    transfers list --merchant {merchant} --unmatched --limit 1
    endpoints list --merchant {merchant}
    events list --merchant {merchant} --intent {paid} --type payment.created
    events list --intent {pending}
    events show {event}
    deliveries list --merchant {merchant} --event {event} --status pending --endpoint {endpoint}
    deliveries list --event {event} --limit 1
    deliveries show {delivery}
    deliveries queue --merchant {merchant}
    merchants show {merchant}
    merchants list --limit 1
    merchants keys list {merchant}
    status
"""
CHANGES = """
    intents create --merchant {merchant} --amount 50000 --reference NEW --expires-at {expiry} \
        --metadata a=b --level settled
    intents cancel {pending} --reason enough
    intents mark {marked} --status succeeded --reason cash
    links create --merchant {merchant} --price sbtc=5 --price stx=7 --metadata a=b \
        --level settled --password x
    links create --merchant {merchant} --min-amount 5 --expires-at {expiry} --recipient {recipient}
    links update {link} --price stx=7 --password none --max-uses 3
    links disable {link}
    transfers assign {transfer} {paid} --reason typo
    endpoints add https://192.9.200.2/ --merchant {merchant} --events payment.created,payment.failed \
        --legacy-v0
    endpoints disable {endpoint}
    endpoints enable {endpoint}
    endpoints rotate-secret {endpoint} --overlap 1h
    endpoints test {endpoint}
    endpoints test {endpoint} --type payment.succeeded
    trigger payment.created --endpoint {endpoint} --intent {paid}
    events redeliver {event}
    events redeliver {event} --endpoint {endpoint}
    events replay --since 1d --endpoint {endpoint}
    deliveries retry {delivery}
    deliveries recover --endpoint {endpoint}
    endpoints remove {endpoint}
    merchants add Shop --recipient {recipient} --level settled --ttl 30m
    merchants update {merchant} --name Other --level settled --ttl default
    merchants rotate-key {merchant} --overlap 1h
    merchants keys add {merchant} --name till --scopes read
    merchants keys revoke {merchant} {key_id}
    login-link --merchant {merchant} --scopes read
    merchants disable {merchant}
"""
REFUSALS = """
    1 intents show pi_x
    1 intents cancel pi_x
    1 links show pl_x
    1 links disable pl_x
    2 links update {link}
    2 links create --merchant {merchant} --amount 5 --min-amount 4
    1 transfers assign tr_x {pending} --reason x
    1 endpoints remove we_x
    1 endpoints add https://192.9.200.3/ --merchant mer_x
    1 events show evt_x
    1 deliveries show dlv_x
    1 deliveries dismiss dlv_x
    2 deliveries dismiss {delivery}
    1 merchants show mer_x
    1 merchants keys list mer_x
    1 merchants keys revoke {merchant} key_x
    2 merchants keys add {merchant} --scopes admin
    2 intents create --merchant {merchant} --amount 0.5 --payer nobody
    2 intents create --merchant {merchant} --amount 5 --reference PENDING
    2 intents mark {pending} --status paid --reason x
    2 intents cancel {marked} --reason {recipient}
    2 endpoints add https://127.0.0.1/ --merchant {merchant}
    2 endpoints add {merchant} --merchant {merchant}
    2 endpoints rotate-secret {endpoint} --overlap long
    2 merchants add X --recipient nobody
    2 merchants update {merchant} --ttl never
    2 merchants update {merchant}
    2 status --watch --json
"""


def _lines(table: str) -> list[str]:
    return [line.strip() for line in table.strip().splitlines()]


def test_every_command_says_remotely_what_it_says_locally(both: Both) -> None:
    for command in _lines(LOOKS):
        for form in ([], ["--json"]):
            here = both.cli(*both.here.words(command), *form)
            there = both.remotely(*both.there.words(command), *form)
            assert same(there.out) == same(here.out), command
            assert same(there.err) == same(here.err), command
    both.cli("intents", "mark", both.here.marked, "--status", "failed", "--reason", "not yet")
    both.remotely("intents", "mark", both.there.marked, "--status", "failed", "--reason", "not yet")
    for line in _lines(REFUSALS):
        code, command = line.split(maxsplit=1)
        here = both.cli(*both.here.words(command), code=int(code))
        there = both.remotely(*both.there.words(command), code=int(code))
        assert there.out == ""
        output, expected = (same(answer.err) for answer, side in ((there, both.there), (here, both.here)))
        output, expected = (text.replace("`", "") for text in (output, expected))
        if code == "2":  # hints do not travel, apart from where to look for what is not there
            output, expected = (text.split("hint:")[0] for text in (output, expected))
        assert output == expected, command
    for command in _lines(CHANGES):
        here = both.cli(*both.here.words(command), "--json")
        there = both.remotely(*both.there.words(command), "--json")
        assert same(there.out) == same(here.out), command
        assert (there.err, here.err) == ("", ""), command


def test_the_status_can_be_watched_from_afar(both: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = iter([None])

    def interrupted(seconds: float) -> None:
        if next(looks, 0) is not None:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("watcher.cli.commands.status.time.sleep", interrupted)
        lines = both.remotely("status", "--watch").out.splitlines()
    assert [" ok height=105 " in line for line in lines] == [True, True]


def test_a_merchants_key_says_whose_it_is_and_opens_nothing_of_others(both: Both) -> None:
    key, other = both.there.key, both.here
    made = both.remotely("intents", "create", "--amount", "5", "--reference", "MINE", "--json", key=key).json
    assert made["merchant"] == both.there.merchant
    listed = both.remotely("intents", "list", "--json", key=key).json["data"]
    assert {row["merchant"] for row in listed} == {both.there.merchant}
    assert "no intent" in both.remotely("intents", "show", other.pending, code=1, key=key).err
    for command in ("intents list", "intents create --amount 5", f"endpoints add {HOOK}"):
        output = both.remotely(*command.split(), "--merchant", both.there.merchant, code=2, key=key).err
        assert "the API key says whose it is" in output
    shown = both.remotely("status", key=key).out
    assert ("Database" in shown, "6 pending" in shown, "4 pending" in shown) == (False, False, True)
    assert "admin" in both.remotely("merchants", "list", code=2, key=key).err


def test_an_import_over_the_server_is_like_one_here_and_never_doubles(
    both: Both, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(import_intents, "MAX_BATCH_INTENTS", 2)
    file = tmp_path / "orders.csv"

    def write(*lines: str) -> None:
        file.write_text("\n".join(("amount,reference", *lines)) + "\n")

    def done(side: Side, *more: str, code: int = 0) -> Any:
        call = both.cli if side is both.here else both.remotely
        answer = call("intents", "import", str(file), "--merchant", side.merchant, *more, "--json", code=code)
        return answer.json, answer.err

    write("1,A", "2,B", "3,C", "none,D", "x", "5,E")
    (here, told_here), (there, told_there) = (done(side, code=2) for side in (both.here, both.there))
    assert same(str(there)) == same(str(here))
    assert [(e["line"], e["field"]) for e in there["errors"]] == [(5, "amount")]
    assert (there["imported"], there["continue_at_line"], told_there) == (2, 4, told_here)
    write("1,A", "2,B", "3,C", "4,D", "x", "5,E")
    again, output = done(both.there, code=2)
    assert [row["id"] for row in again["intents"][:2]] == [row["id"] for row in there["intents"]]
    assert [(e["line"], e["message"]) for e in again["errors"]] == [(6, "has 1 cell, the first line names 2")]
    assert output == "Of these, 1 batch was stored already and not stored again.\n"
    write("1,A", "2,B", "3,C", "4,D", "6,F", "5,E")
    whole, output = done(both.there)
    assert (whole["imported"], output.count("2 batches")) == (6, 1)
    listed = both.cli.doc("intents", "list", "--merchant", both.there.merchant)["data"]
    assert sorted(row["reference"] for row in listed) == [
        "A",
        "B",
        "C",
        "D",
        "E",
        "F",
        "MARKED",
        "PAID",
        "PENDING",
    ]
    refused, _ = done(both.there, "--from-line", "3", code=2)
    assert "is in use" in refused["errors"][0]["message"]


def test_what_a_server_could_not_even_read_is_an_error_of_its_line(both: Both, tmp_path: Path) -> None:
    file = tmp_path / "orders.jsonl"
    odd = (
        '{"amount": NaN}',
        '{"reference": "\\ud800"}',
        '{"a": "\\u0000"}',
        '{"a": 1, "a": 2}',
        "[" * 40 + "]" * 40,
    )
    deep = '{"metadata": ' + '{"a": ' * 40 + "1" + "}" * 41
    file.write_text("\n".join(('{"amount": 1}', *odd, deep, '{"amount": ' + "1" * 101 + "}")))
    found = [
        call("intents", "import", str(file), "--merchant", side.merchant, "--json", code=2).json
        for call, side in ((both.cli, both.here), (both.remotely, both.there))
    ]
    assert found[0] == found[1]
    assert [(error["line"], error["field"]) for error in found[0]["errors"]] == [
        (n, None) for n in range(2, 9)
    ]


@pytest.mark.parametrize(
    "command", ["demo", "run", "reindex --from 1", "check", "listen --secret x", "db current"]
)
def test_what_needs_the_daemons_machine_says_so_in_a_line(cli: CliRunner, command: str) -> None:
    output = cli("--server", "http://127.0.0.1:1", "--api-key", "sk_live_x", *command.split(), code=2)
    assert (output.out, output.err.count("\n")) == ("", 1)
    assert "works on the daemon's own machine only" in output.err


def test_keys_come_from_files_or_the_environment_and_are_never_shown(
    both: Both, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cli, key = both.cli, both.there.key
    file = tmp_path / "key"
    file.write_text(f"{key}\n")
    assert cli("--server", both.url, "--api-key-file", str(file), "intents", "show", both.there.paid).out
    with file.open() as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        assert cli("--server", both.url, "--api-key-file", "-", "intents", "show", both.there.paid).out
    monkeypatch.setenv("SBTC_WATCHER_SERVER_KEY", key)
    assert cli("--server", both.url, "intents", "show", both.there.paid).out
    assert cli("intents", "show", both.there.paid).out, "without a server it is for nothing, and no setting"
    wrong = "sk_live_wrong_and_secret"
    for arguments, code, says in (
        ((both.url, "--api-key", wrong), 2, "the API key is wrong"),
        (("http://127.0.0.1:1", "--api-key", wrong), 3, "cannot be reached"),
        (("http://192.0.2.1", "--api-key", wrong), 2, "would show the key"),
        (("pay.example", "--api-key", wrong), 2, "no URL"),
        ((both.url, "--api-key", f"{wrong}\u00fc"), 2, "characters that no key has"),
        ((both.url, "--api-key-file", f"{tmp_path}/missing"), 2, "cannot read"),
    ):
        output = cli("--verbose", "--server", *arguments, "intents", "list", code=code)
        assert says in output.err
        assert wrong not in output.out + output.err
    monkeypatch.delenv("SBTC_WATCHER_SERVER_KEY")
    assert "needs a key" in cli("--server", both.url, "intents", "list", code=2).err
    file.write_text("\n")
    assert "holds no key" in cli("--server", both.url, "--api-key-file", str(file), "status", code=2).err
    assert "is no id" in both.remotely("intents", "show", "../x", code=1).err
