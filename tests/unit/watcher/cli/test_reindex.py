"""The ``reindex`` command: invalid options are refused, findings are printed as text and JSON."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from chain.model import Extend
from chain.testing import ScriptedApi, ScriptedChain, block_model, principal, txs
from tests.unit.watcher.cli.runner import SHOP, CliRunner, calling
from watcher.cli.commands.reindex import MAX_ROWS_SHOWN, _show_acceptance, _show_report
from watcher.cli.progress import ProgressDisplay
from watcher.config.load import load_settings
from watcher.daemon import wiring
from watcher.indexer.settle_result import Change, merge_changes
from watcher.reindex.accept_reorg import Acceptance
from watcher.reindex.diff import Difference
from watcher.reindex.report import Progress, Report
from watcher.store import transfers as transfer_store
from watcher.store.database import Database
from watcher.store.reindex_runs import ReindexCounts

PAYER = principal("payer")


@pytest.fixture
def cli(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[CliRunner]:
    with calling(tmp_path, monkeypatch, capsys, poll_interval="50ms", http_bind="") as cli:
        yield cli


class ReindexFixture:
    """A chain behind a scripted API, and a command line that reads it."""

    def __init__(self, cli: CliRunner, chain: ScriptedChain) -> None:
        self.cli = cli
        self.chain = chain

    async def call(self, *arguments: str, code: int = 0) -> Any:
        return await asyncio.to_thread(self.cli, *arguments, code=code)

    async def doc(self, *arguments: str, code: int = 0) -> Any:
        return await asyncio.to_thread(self.cli.doc, *arguments, code=code)

    def follow(self) -> None:
        """Apply the chain as the daemon does, in one step."""
        settings = load_settings(None)
        database = Database(settings.database_url)
        database.upgrade()
        ledger = wiring.make_ledger(settings, database)
        cursor = ledger.cursor()
        if cursor is None:
            ledger.begin([block.header for block in self.chain.blocks], self.chain.tip)
        else:
            above = [block for block in self.chain.blocks if block.header.height > cursor.clock.height]
            models = tuple(block_model(block, wiring.fetch_rules(settings)) for block in above)
            ledger.apply(Extend(blocks=models, tip=self.chain.tip))
        database.close()


@pytest.fixture
async def shore(cli: CliRunner, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ReindexFixture]:
    chain = ScriptedChain(time=int(time.time()) - 100)
    chain.mine(n=3)
    async with ScriptedApi(chain, ping_interval=None) as api:
        monkeypatch.setenv("SBTC_WATCHER_API_URLS", api.url)
        made = ReindexFixture(cli, chain)
        made.follow()
        yield made


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "--from, --since or --intent is needed"),
        (("--from", "0"), "greater than or equal to 1"),
        (("--from", "1", "--since", "2d"), "exclude each other"),
        (("--since", "soon"), "not a time"),
        (("--from", "1", "--reason", "x"), "--reason goes with --accept-reorg"),
        (("--accept-reorg", "--reason", "x"), "needs --from and --reason"),
        (("--from", "1", "--accept-reorg"), "needs --from and --reason"),
        (("--from", "1", "--accept-reorg", "--reason", " "), "needs --from and --reason"),
        (("--from", "1", "--accept-reorg", "--reason", "x", "--to", "7"), "only"),
        (("--from", "1"), "has not begun"),
    ],
)
def test_invalid_options_are_a_usage_error(cli: CliRunner, arguments: tuple[str, ...], said: str) -> None:
    assert said in cli("reindex", *arguments, code=2).err


async def test_what_was_lost_is_printed_as_text_and_json(
    shore: ReindexFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    merchant = await asyncio.to_thread(shore.cli.merchant)
    intent = await asyncio.to_thread(shore.cli.intent, merchant, "--level", "included")
    shore.chain.mine([txs.sbtc_transfer(PAYER, SHOP, 50_000, intent["pay"]["memo"].encode())])
    with monkeypatch.context() as patched:
        patched.setattr(transfer_store, "put_transfers", lambda *_, **__: None)
        shore.follow()
    words = await shore.call("reindex", "--since", "3650d", "--dry-run")
    assert intent["id"] in words.out
    assert "pending → succeeded" in words.out
    assert "0 → 50000" in words.out
    assert "1 of them would be added" in words.err
    assert "5 blocks done" in words.err
    found = await shore.doc("reindex", "--from", "1")
    assert (found["found"], found["events"], found["dry_run"], found["resumed"]) == (1, 1, False, False)
    [change] = found["changes"]["intents"]
    assert change["intent"] == intent["id"]
    assert [event["type"] for event in change["events"]] == ["payment.succeeded"]
    quiet = await shore.call("reindex", "--intent", intent["id"])
    assert quiet.out == ""
    assert "0 changes, 0 events." in quiet.err
    assert "Reindex" not in (await shore.call("status", code=1)).out
    await shore.call("reindex", "--intent", "pi_NOBODY", code=1)
    assert "newest block that was read is 104" in (await shore.call("reindex", "--from", "500", code=2)).err


async def test_a_fork_is_accepted_with_a_reason_only_where_there_is_one(shore: ReindexFixture) -> None:
    reason = ("--accept-reorg", "--reason", "explorers agree")
    assert "Nothing to accept" in (await shore.call("reindex", "--from", "100", *reason)).err
    branch = shore.chain.fork(101)
    branch.mine(n=5, burn=True)
    branch.promote()
    assert "below --from 103" in (await shore.call("reindex", "--from", "103", *reason, code=2)).err
    tried = await shore.call("reindex", "--from", "101", *reason, "--dry-run")
    assert "2 blocks would be undone, 5 blocks would be applied" in tried.err
    accepted = await shore.doc("reindex", "--from", "101", *reason)
    assert (accepted["accepted"], accepted["fork"]["height"], accepted["orphaned_blocks"]) == (True, 101, 2)
    assert accepted["new_tip"]["hash"] == shore.chain.tip.hash


def test_plain_lines_come_now_and_then_with_pace_and_time_left(capsys: pytest.CaptureFixture[str]) -> None:
    now = 0.0

    def step(done: int, note: str = "") -> Progress:
        return Progress(
            total=1000, done=done, counts=ReindexCounts(transfers=done // 10, changes=1), note=note
        )

    with ProgressDisplay(clock=lambda: now, every=5.0) as screen:
        screen.show(step(100))
        for done in (150, 200, 600):
            now += 2.0
            screen.show(step(done))
        now += 5.0
        screen.show(step(600, "no source\x1b[2J serves"))
        now += 5.0
        screen.say("reading")
        screen.done(Report(bottom=1, top=1000, counts=ReindexCounts(), seconds=17.0))
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "100 of 1,000 blocks: 0 blocks/s, 10 transfers, 1 change",
        "600 of 1,000 blocks: 83 blocks/s, 60 transfers, 1 change, 4 s left",
        "600 of 1,000 blocks: no source\\x1b[2J serves",
        "reading",
        "1,000 blocks done in 17 s.",
    ]


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "100")
    with ProgressDisplay() as screen:
        screen.show(Progress(total=10, done=5, counts=ReindexCounts(transfers=3, changes=2)))
        assert screen._bar is not None
        screen._bar.refresh()
        screen.say("the new branch")
        screen.done(Report(bottom=1, top=10, counts=ReindexCounts()))
    shown = capsys.readouterr().err
    assert "50%" in shown
    assert "3 transfers, 2 changes" in shown
    assert "the new branch" in shown


def test_long_lists_are_cut_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    state = {"status": "pending", "amount_received": "0", "flags": []}
    after = state | {"status": "succeeded", "flags": ["late_evidence"]}
    changes = [
        Change(intent=f"pi_{n}", before=state, after=after, events=()) for n in range(MAX_ROWS_SHOWN + 5)
    ]
    odd = [
        Difference(row=f"tr_{n}", kind="transfer", tx_id="0x", height=n, intent=None, amount=1, note="odd")
        for n in range(MAX_ROWS_SHOWN + 3)
    ]
    right = [replace(row, row=f"tr_right_{n}") for n, row in enumerate(odd + odd)]
    counts = ReindexCounts(
        differences=len(odd), corrections=len(right), changes=len(changes), events=2, refunds=2
    )
    report = Report(bottom=1, top=2, counts=counts, changes=changes, differences=odd, corrections=right)
    _show_report(report, notified=False)
    out, err = capsys.readouterr()
    assert "late_evidence" in out
    assert "tr_49" in out
    assert "tr_right_49" in out
    assert "tr_right_50" not in out
    assert "were corrected" in out
    assert "… and 5 more" in err
    assert "… and 3 more" in err
    assert f"… and {MAX_ROWS_SHOWN + 6} more" in err
    assert f"{len(right)} rows corrected" in err
    assert "which are not delivered" in err
    assert "2 refunds added" in err
    _show_acceptance(Acceptance())
    assert "Nothing to accept" in capsys.readouterr().err


def test_changes_of_one_intent_are_printed_as_one() -> None:
    def change(before: str, after: str, event: str) -> Change:
        return Change(
            intent="pi_1", before={"status": before}, after={"status": after}, events=({"id": event},)
        )

    [merged] = merge_changes([change("pending", "processing", "a"), change("processing", "succeeded", "b")])
    assert (merged.before, merged.after) == ({"status": "pending"}, {"status": "succeeded"})
    assert [event["id"] for event in merged.events] == ["a", "b"]
