"""The commands db, status and check."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from chain.testing import ScriptedApi, ScriptedChain
from tests.unit.watcher.cli.runner import DATABASE_URL, CliRunner, calling
from watcher.cli import checks, render
from watcher.cli.commands.status import EXIT_CODES, screen
from watcher.config.settings import Settings

SBTC = "SM3VDXK3WZZSA84XXFKAFAF15NNZX32CTSG82JFQ4.sbtc-token"
PAYMENTS = "SP000000000000000000002Q6VF78.sbtc-payments"


@pytest.fixture
def fresh_cli(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[CliRunner]:
    with calling(tmp_path, monkeypatch, capsys, fresh=True) as cli:
        yield cli


def test_the_database_can_be_upgraded_looked_at_and_pruned(fresh_cli: CliRunner) -> None:
    cli = fresh_cli
    fresh = cli.doc("db", "current", code=1)
    assert fresh["revision"] is None
    assert cli.doc("db", "upgrade") == {"before": None, "revision": fresh["head"]}
    assert cli.doc("db", "upgrade")["before"] == fresh["head"]
    assert cli.doc("db", "current")["revision"] == fresh["head"]
    kept = {"bodies": 0, "idempotency": 0, "sign_ins": 0, "visitors": 0, "headers": 0}
    assert cli.doc("db", "prune") == kept
    assert "already" in cli("db", "upgrade").err
    assert fresh["head"] in cli("db", "current").out
    assert "0 headers" in cli("db", "prune").err


def test_a_backup_says_what_it_made_and_overwrites_nothing(cli: CliRunner, tmp_path: Path) -> None:
    """The copy's path, size and revision; a second call with the same name is refused with exit 2."""
    merchant = cli.merchant()
    copy = tmp_path / "copy.db"
    made = cli.doc("db", "backup", str(copy))
    assert made == {
        "file": str(copy),
        "bytes": copy.stat().st_size,
        "revision": cli.doc("db", "current")["revision"],
    }
    refused = cli("db", "backup", str(copy), code=2)
    assert refused.err.startswith(f"error: cannot write {copy}: file exists\nhint: ")
    assert "Copied to" in cli("db", "backup", str(tmp_path / "other.db")).err
    copy.replace(tmp_path / "watcher.db")
    assert [row["id"] for row in cli.doc("merchants", "list")["data"]] == [merchant]


def test_a_backup_of_postgresql_names_the_tool_that_makes_it(
    cli: CliRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hint can be pasted into a shell, and holds no password."""
    monkeypatch.setenv(DATABASE_URL, "postgresql+psycopg://w:hunter2@db.example/watcher?sslmode=verify-full")
    refused = cli("db", "backup", "my copy", code=2)
    assert refused.err.splitlines()[1] == (
        "hint: pg_dump --format=custom '--file=my copy' 'postgresql://w@db.example/watcher?sslmode=verify-full'"
    )


def _status(**changes: Any) -> dict[str, Any]:
    return {
        "state": "ok",
        "reasons": [],
        "network": "mainnet",
        "version": "1",
        "cursor": {"height": 7, "hash": "0x", "time": "2026-01-31T12:00:00.000Z", "burn_block_height": 3},
        "tip": {"height": 8, "age_seconds": 3.2},
        "lag": {"chain_seconds": 3.0, "api_seconds": None, "our_seconds": 0.2, "blocks": 1},
        "sources": [
            {
                "url": "http://a",
                "state": "ok",
                "version": "9.0",
                "tip_height": 8,
                "latency_ms": 80,
                "errors": 0,
            }
        ],
        "reorgs_24h": 0,
        "intents": {"pending": 3, "failed": 0},
        "attention": 2,
        "unmatched": 1,
        "oldest_pending": "2026-01-31T11:00:00.000Z",
        "outbox": {"pending": 1, "oldest_seconds": 9.0, "dead": 1, "held": 1, "failing_endpoints": ["we_1"]},
        "reindex": None,
        "database": {"url": "sqlite:///x", "revision": "0001", "bytes": 5000},
        "halted": None,
    } | changes


def test_status_says_how_to_continue_an_interrupted_reindex_and_what_was_set_aside(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = _status(reindex={"state": "interrupted", "from": 1, "to": 9}, set_aside=2)
    for part in screen(found, now=1_769_860_800.0):
        render.show(part)
    out = " ".join(capsys.readouterr().out.split())
    assert "interrupted (repeat the command to continue), from 1, to 9" in out
    assert "2 intents that could not be settled" in out


def test_status_shows_everything_that_needs_a_person(capsys: pytest.CaptureFixture[str]) -> None:
    halted = {"code": "x", "message": "forked", "hint": "decide", "since": "2026-01-31T12:00:00.000Z"}
    found = _status(
        state="halted",
        halted=halted,
        reasons=[{"code": "source_failing", "message": "source a is failing", "hint": "mend it"}],
        reindex={"from": 1, "to": None},
    )
    for part in screen(found, now=1_769_860_800.0):
        render.show(part)
    out = capsys.readouterr().out
    for text in (
        "halted",
        "forked",
        "decide",
        "source a is failing",
        "1 block",
        "3 pending",
        "http://a",
        "from 1",
    ):
        assert text in out
    for text in ("2 intents", "1 transfer:", "1 queued, oldest 9 s, 1 held, 1 dead, failing: we_1"):
        assert text in out
    assert EXIT_CODES == {"ok": 0, "starting": 1, "degraded": 1, "halted": 3}


def test_status_of_a_fresh_database_is_starting(cli: CliRunner) -> None:
    found = cli.doc("status", code=1)
    assert (found["state"], found["cursor"], found["halted"]) == ("starting", None, None)
    assert "is `sbtc-watcher run` running?" in cli("status", code=1).out


def test_check_show_prints_the_merged_settings_without_secrets(
    cli: CliRunner, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SBTC_WATCHER_ADMIN_TOKEN", "0123456789abcdef0123")
    (tmp_path / "config.toml").write_text("poll_interval = '7s'\n")
    for arguments in (("check", "--show"), ("check", "--show", "--json")):
        shown = cli("--config", str(tmp_path / "config.toml"), *arguments).out
        assert "7s" in shown
        assert "0123456789abcdef" not in shown
    assert json.loads(shown)["poll_interval"] == "7s"


async def test_check_is_content_with_a_source_that_serves(
    cli: CliRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain = ScriptedChain(time=int(time.time()) - 3600)
    chain.mine(n=2, burn=True)
    async with ScriptedApi(chain, network_id=1) as api:
        monkeypatch.setenv("SBTC_WATCHER_API_URLS", api.url)
        found = (await asyncio.to_thread(cli.doc, "check"))["checks"]
        words = await asyncio.to_thread(cli, "check")
    levels = {check["subject"]: check["level"] for check in found}
    assert levels == {
        "settings": "ok",
        "database": "ok",
        "endpoints": "note",
        "source": "ok",
        "contract": "note",
        "clock": "ok",
        "asset": "note",
    }
    assert [check["text"].partition(": ")[2] for check in found if check["subject"] == "asset"] == [
        "symbol sBTC, 8 decimals",
        "the contract does not exist there",
    ]
    assert f"tip {chain.tip.height}" in words.out
    assert len(words.out.splitlines()) == len(found), "one line each"


@pytest.mark.parametrize(
    ("version", "way", "routes"),
    [
        ("9.0", "read in batches", None),
        ("9.7", "read in batches where there are events", "announces the end of tx/multiple, v2/blocks"),
        (
            "sunset",
            "read one transaction at a time, where it pays those that concern us",
            "has no tx/multiple, v2/blocks any more",
        ),
    ],
)
async def test_check_says_how_a_source_is_read_and_which_routes_end(
    cli: CliRunner, monkeypatch: pytest.MonkeyPatch, version: str, way: str, routes: str | None
) -> None:
    """One line says the way; one more names the deprecated routes, once, and is no error."""
    chain = ScriptedChain(time=int(time.time()) - 3600)
    async with ScriptedApi(chain, version=version) as api:
        monkeypatch.setenv("SBTC_WATCHER_API_URLS", api.url)
        lines = (await asyncio.to_thread(cli, "check")).out.splitlines()
    sources = [line for line in lines if " source: " in line]
    assert f", {way}, network not verified" in sources[0]
    assert [line for line in sources[1:] if routes is not None and routes in line] == sources[1:]
    assert len(sources) == 1 + (routes is not None)


async def test_check_says_that_a_proxy_is_not_used_and_sends_each_key_to_its_host_only(
    cli: CliRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain = ScriptedChain(time=int(time.time()) - 3600)
    async with ScriptedApi(chain) as one, ScriptedApi(chain) as two:
        localhost = two.url.replace("127.0.0.1", "localhost")
        monkeypatch.setenv("SBTC_WATCHER_API_URLS", f"{one.url},{localhost}")
        monkeypatch.setenv("SBTC_WATCHER_API_KEY", "key-1")
        monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
        words = (await asyncio.to_thread(cli, "check")).out
        assert "settings: https_proxy is set, but not used: sources and webhook endpoints" in words
        assert {seen.headers.get("x-api-key") for seen in one.requests} == {"key-1"}
        assert {seen.headers.get("x-api-key") for seen in two.requests} == {None}
        monkeypatch.setenv("SBTC_WATCHER_API_KEYS", '{"localhost": "key-2"}')
        await asyncio.to_thread(cli, "check")
        assert {seen.headers.get("x-api-key") for seen in two.requests} == {None, "key-2"}


async def test_check_names_the_source_that_fails_and_goes_on_with_the_other(
    cli: CliRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain = ScriptedChain()
    chain.mine(burn=True)
    async with ScriptedApi(chain) as api:
        monkeypatch.setenv("SBTC_WATCHER_API_URLS", f"http://127.0.0.1:9,{api.url}")
        some = await asyncio.to_thread(cli, "check", code=1)
        assert "✗ source: http://127.0.0.1:9:" in some.out
        monkeypatch.setenv("SBTC_WATCHER_API_URLS", "http://127.0.0.1:9")
        none = await asyncio.to_thread(cli, "check", code=3)
    assert "✗ source" in none.out
    assert "· clock" in none.out


def test_check_goes_on_when_the_database_does_not_answer(
    cli: CliRunner, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "letter").write_text("no database " * 100)
    monkeypatch.setenv("SBTC_WATCHER_DATABASE_URL", f"sqlite:///{tmp_path}/letter")
    monkeypatch.setenv("SBTC_WATCHER_API_URLS", "http://127.0.0.1:9")
    found = cli("check", code=3).out
    assert "✗ database" in found
    assert "✗ source" in found


def test_check_counts_endpoints_and_warns_of_disabled_ones(
    cli: CliRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SBTC_WATCHER_API_URLS", "http://127.0.0.1:9")
    merchant = cli.merchant()
    assert "· endpoints: none yet" in cli("check", code=3).out
    endpoint = cli.doc("endpoints", "add", "https://192.9.200.1/", "--merchant", merchant)["endpoint"]["id"]
    assert "✓ endpoints: 1 enabled, 0 disabled" in cli("check", code=3).out
    cli("endpoints", "disable", endpoint)
    assert "! endpoints: 0 enabled, 1 disabled" in cli("check", code=3).out


def test_settings_for_development_are_pointed_out_on_mainnet() -> None:
    def warned(network: str) -> list[str]:
        given = Settings(network=network, webhook_allow_http=True)  # type: ignore[arg-type]
        return [finding.text for finding in checks.check_settings(given) if finding.level == "warning"]

    assert warned("mainnet") == ["webhook_allow_http is on, which is for development"]
    assert warned("devnet") == []


@pytest.mark.parametrize(
    ("answers", "levels"),
    [
        ({SBTC: {"found": True, "result": {"status": "success"}}}, ["ok", "note"]),
        (
            {SBTC: {"found": False}, PAYMENTS: {"found": True, "result": {"status": "abort_by_response"}}},
            ["error", "error"],
        ),
        ({SBTC: "what", PAYMENTS: {"found": "yes"}}, ["note", "note"]),
        ([], ["note", "note"]),
    ],
)
async def test_contracts_are_looked_up_where_the_source_can(answers: Any, levels: list[str]) -> None:
    async with _serving(answers) as url:
        given = Settings(payment_contract=PAYMENTS)
        found = await checks._check_contracts(url, given)
    assert [finding.level for finding in found] == levels
    assert all(finding.exit_code == (1 if finding.level == "error" else 0) for finding in found)


def test_a_clock_that_is_off_is_a_warning_and_the_best_witness_counts() -> None:
    assert checks._check_clock([]).level == "note"
    assert checks._check_clock([-3.0, 500.0]).level == "ok"
    assert "2 min ahead of" in checks._check_clock([130.0]).text
    assert "2 min behind" in checks._check_clock([-130.0]).text


@asynccontextmanager
async def _serving(answers: Any) -> AsyncIterator[str]:
    """Serve the contract status route on a free port."""

    async def answer(request: web.Request) -> web.Response:
        return web.json_response(answers)

    app = web.Application()
    app.router.add_get("/extended/v2/smart-contracts/status", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
