"""The commands on a real database."""

import asyncio
import hashlib
import sqlite3
import time
from datetime import datetime
from pathlib import Path

import pytest

from chain.testing import ScriptedApi, ScriptedChain, principal, txs
from tests import harness
from tests.unit.watcher.cli.runner import SHOP, CliRunner
from watcher.domain.model import Flag

URL = "https://192.9.200.1/hook"
#: A day ahead of this machine's clock.
EXPIRY = int(time.time()) + 86_400
OTHER = "SP2J6ZY48GV1EZ5V2V5RB9MP66SW86PYKKNRV9EJ7"


def test_an_api_key_is_shown_once_and_stored_as_a_hash(cli: CliRunner, tmp_path: Path) -> None:
    added = cli.doc("merchants", "add", "Tea shop", "--recipient", SHOP)
    key, merchant = added["api_key"], added["merchant"]
    assert key.startswith("sk_live_")
    assert (merchant["name"], merchant["recipient"], merchant["status"]) == ("Tea shop", SHOP, "active")
    assert key not in cli("merchants", "show", merchant["id"], "--json").out
    connection = sqlite3.connect(tmp_path / "watcher.db")
    [(stored,)] = connection.execute("SELECT hash FROM api_key").fetchall()
    connection.close()
    assert stored == hashlib.sha256(key.encode()).digest()
    rotated = cli.doc("merchants", "rotate-key", merchant["id"])
    assert set(rotated) == {"merchant", "api_key", "previous_keys_expire_at"}
    assert rotated["api_key"] != key


def test_a_merchants_defaults_can_be_set_and_set_back(cli: CliRunner) -> None:
    merchant = cli.merchant()
    changed = cli.doc(
        *(
            "merchants",
            "update",
            merchant,
            "--name",
            "New",
            "--recipient",
            OTHER,
            "--level",
            "stacks=1,bitcoin=3",
        ),
        *("--ttl", "30m", "--tolerance", "5", "--late-policy", "accept"),
    )
    assert (changed["name"], changed["recipient"], changed["ttl"]) == ("New", OTHER, 1800)
    assert (changed["level"], changed["tolerance"]) == ({"stacks": 1, "bitcoin": 3}, "5")
    assert "stacks=1,bitcoin=3" in cli("merchants", "show", merchant).out
    back = cli.doc("merchants", "update", merchant, "--level", "default", "--ttl", "default")
    assert (back["level"], back["ttl"], back["late_policy"]) == (None, None, "accept")


def test_what_payers_see_of_a_merchant_can_be_set_and_set_back(cli: CliRunner) -> None:
    """``merchants update`` sets the brand and shows it; ``default`` takes a part of it away."""
    merchant = cli.merchant()
    brand = (
        "--display-name",
        "Tea & Co.",
        "--logo-url",
        "https://a.example/l.png",
        "--brand-color",
        "#1F6F54",
    )
    more = (
        "--support-url",
        "mailto:help@a.example",
        "--allowed-origins",
        "https://a.example, https://b.example",
    )
    changed = cli.doc("merchants", "update", merchant, *brand, *more)
    assert (changed["display_name"], changed["brand_color"]) == ("Tea & Co.", "#1f6f54")
    assert changed["allowed_origins"] == ["https://a.example", "https://b.example"]
    shown = cli("merchants", "show", merchant).out
    for text in (
        "Tea & Co.",
        "https://a.example/l.png",
        "#1f6f54",
        "mailto:help@a.example",
        "https://b.example",
    ):
        assert text in shown
    back = cli.doc("merchants", "update", merchant, "--logo-url", "default", "--allowed-origins", "default")
    assert (back["logo_url"], back["allowed_origins"]) == (None, [])
    assert back["support_url"] == "mailto:help@a.example"
    wrong = cli("merchants", "update", merchant, "--logo-url", "http://a.example/l.png", code=2).err
    assert "write https" in wrong


def test_a_disabled_merchant_creates_no_intents(cli: CliRunner) -> None:
    merchant = cli.merchant()
    assert cli.doc("merchants", "disable", merchant)["status"] == "disabled"
    assert "disabled" in cli("intents", "create", "--merchant", merchant, "--amount", "1", code=2).err
    assert "disabled" in cli("merchants", "list").out


def test_every_option_of_create_reaches_the_intent(cli: CliRunner) -> None:
    merchant = cli.merchant()
    made = cli.intent(
        merchant,
        *("--asset", "stx", "--recipient", OTHER, "--reference", "Order 7", "--expires-at", str(EXPIRY)),
        *(
            "--level",
            "settled",
            "--payer",
            SHOP,
            "--metadata",
            "a=1",
            "--metadata",
            "b=2",
            "--late-policy",
            "accept",
        ),
        *(
            "--tolerance",
            "7",
            "--match",
            "reference",
            "--not-before",
            "2026-01-01T00:00:00Z",
            "--salt",
            "ab" * 16,
        ),
    )
    assert (made["asset"], made["recipient"], made["reference"]) == ("stx", OTHER, "Order 7")
    assert (made["confirmations"]["level"], made["payer"], made["late_policy"]) == ("settled", SHOP, "accept")
    assert (made["metadata"], made["tolerance"], made["match"]) == ({"a": "1", "b": "2"}, "7", "reference")
    assert (made["status"], made["timeline"][0]["reason"]) == ("pending", "created")
    assert datetime.fromisoformat(made["expires_at"]).timestamp() == EXPIRY


def test_all_wrong_fields_are_named_at_once_and_nothing_is_stored(cli: CliRunner) -> None:
    """First values that are invalid by themselves, then those that the settings do not allow."""
    merchant = cli.merchant()
    testnet = principal("payer", mainnet=False)
    for amount, payer, fields in (
        ("0.5", "SPX", ["amount", "payer"]),
        ("5", testnet, ["asset", "payer"]),
    ):
        options = ("--merchant", merchant, "--amount", amount, "--asset", "doge", "--payer", payer)
        wrong = cli("intents", "create", *options, code=2)
        lines = wrong.err.splitlines()
        assert [line.removeprefix("error:").split(":")[0].strip() for line in lines] == fields
    assert cli.doc("intents", "list")["data"] == []


def test_lists_are_paged_and_filtered(cli: CliRunner) -> None:
    merchant = cli.merchant()
    made = [cli.intent(merchant, "--metadata", f"n={n}", "--reference", f"R{n}")["id"] for n in range(3)]
    first = cli.doc("intents", "list", "--limit", "2")
    second = cli.doc("intents", "list", "--limit", "2", "--cursor", first["next_cursor"])
    assert [row["id"] for row in first["data"] + second["data"]] == made[::-1]
    assert second["next_cursor"] is None
    for filters in (
        ("--metadata", "n=1"),
        ("--reference", "r1"),
        ("--metadata", "n=1", "--created-from", "1h"),
    ):
        assert [row["id"] for row in cli.doc("intents", "list", *filters)["data"]] == [made[1]]
    for filters in (
        ("--status", "failed"),
        ("--flag", "late"),
        ("--created-to", "1h"),
        ("--merchant", "mer_x"),
    ):
        assert cli.doc("intents", "list", *filters)["data"] == []
    for flag in Flag:
        assert cli.doc("intents", "list", "--flag", flag)["data"] == []
    shown = cli("intents", "list", "--limit", "2")
    assert made[2] in shown.out
    assert "50,000 sats" in shown.out
    assert f"--cursor {first['next_cursor']}" in shown.err


def test_intents_that_need_a_person_are_listed_as_the_status_counts_them(
    cli: CliRunner, tmp_path: Path
) -> None:
    merchant = cli.merchant()
    one, _ = cli.intent(merchant)["id"], cli.intent(merchant)
    with sqlite3.connect(tmp_path / "watcher.db") as database:
        database.execute("UPDATE intent SET flags = '[\"refund_due\"]' WHERE id = ?", (one,))
    database.close()
    assert [row["id"] for row in cli.doc("intents", "list", "--attention")["data"]] == [one]
    assert "1 intent: sbtc-watcher intents list --attention" in cli("status", code=1).out


def test_people_can_cancel_and_mark_and_are_kept_as_actors(cli: CliRunner, tmp_path: Path) -> None:
    merchant = cli.merchant()
    one, two = cli.intent(merchant)["id"], cli.intent(merchant)["id"]
    assert cli.doc("intents", "cancel", one, "--reason", "changed their mind")["status"] == "canceled"
    assert "only a pending intent" in cli("intents", "cancel", one, code=2).err
    marked = cli.doc("intents", "mark", two, "--status", "succeeded", "--reason", "cash")
    assert (marked["status"], marked["flags"]) == ("succeeded", ["manual"])
    assert (
        "status: 'paid' is unknown; write succeeded or failed"
        in cli("intents", "mark", two, "--status", "paid", "--reason", "x", code=2).err
    )
    connection = sqlite3.connect(tmp_path / "watcher.db")
    actors = connection.execute("SELECT DISTINCT substr(actor, 1, 4) FROM act").fetchall()
    connection.close()
    assert actors == [("cli:",)]


def test_the_card_of_an_intent_says_how_to_pay_it(cli: CliRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    merchant = cli.merchant()
    intent = cli.intent(merchant, "--metadata", "order=7")
    shown = cli("intents", "show", intent["id"]).out
    for part in (
        intent["id"],
        "50,000 sats (0.0005 sbtc)",
        SHOP,
        "order=7",
        "How to pay",
        f"memo {intent['reference']}",
    ):
        assert part in shown
    assert "Or call" not in shown
    monkeypatch.setenv("SBTC_WATCHER_PAYMENT_CONTRACT", harness.PAYMENT_CONTRACT)
    assert f"{harness.PAYMENT_CONTRACT} pay-token" in cli("intents", "show", intent["id"]).out
    cli("intents", "cancel", intent["id"])
    assert "How to pay" not in cli("intents", "show", intent["id"]).out


def test_an_endpoints_life(cli: CliRunner) -> None:
    merchant = cli.merchant()
    assert cli("endpoints", "list").err.startswith("No endpoints yet")
    added = cli.doc(
        "endpoints", "add", URL, "--merchant", merchant, "--events", "payment.created, payment.failed"
    )
    endpoint, secret = added["endpoint"], added["secret"]
    assert secret.startswith("whsec_")
    assert (endpoint["url"], endpoint["events"]) == (URL, ["payment.created", "payment.failed"])
    rotated = cli.doc("endpoints", "rotate-secret", endpoint["id"], "--overlap", "0")
    assert rotated["secret"] != secret
    assert rotated["endpoint"] == endpoint
    disabled = cli.doc("endpoints", "disable", endpoint["id"])
    assert (disabled["status"], disabled["disabled_reason"]) == ("disabled", "operator")
    assert "disabled (operator)" in cli("endpoints", "list").out
    assert "enable it" in cli("endpoints", "test", endpoint["id"], code=2).err
    assert cli.doc("endpoints", "enable", endpoint["id"])["status"] == "enabled"
    tested = cli.doc("endpoints", "test", endpoint["id"])
    assert cli.doc("deliveries", "show", tested["delivery"])["event"] == tested["event"]
    assert secret not in cli("endpoints", "list", "--json").out
    assert cli.doc("endpoints", "remove", endpoint["id"]) == {"id": endpoint["id"], "removed": True}
    assert cli.doc("endpoints", "list")["data"] == []


@pytest.mark.parametrize("url", ["http://192.9.200.1/", "https://127.0.0.1/", "https://[::1]/", "nonsense"])
def test_a_url_that_may_not_be_called_is_refused(cli: CliRunner, url: str) -> None:
    assert cli("endpoints", "add", url, "--merchant", cli.merchant(), code=2).err.startswith("error: url: ")


def test_events_and_deliveries_can_be_seen_and_sent_again(cli: CliRunner) -> None:
    merchant = cli.merchant()
    endpoint = cli.doc("endpoints", "add", URL, "--merchant", merchant, "--events", "*")["endpoint"]["id"]
    intent = cli.intent(merchant)
    [event] = cli.doc("events", "list", "--type", "payment.created", "--intent", intent["id"])["data"]
    assert cli.doc("events", "show", event["id"]) == event
    [delivery] = cli.doc("deliveries", "list", "--event", event["id"], "--status", "pending")["data"]
    assert cli.doc("deliveries", "show", delivery["id"])["log"] == []
    assert cli.doc("deliveries", "retry", delivery["id"])["status"] == "pending"
    # It waits already, so that nothing is queued beside it.
    assert cli.doc("events", "redeliver", event["id"])["deliveries"] == [delivery["id"]]
    assert cli.doc("events", "redeliver", event["id"], "--endpoint", endpoint)["deliveries"] == [
        delivery["id"]
    ]
    replayed = cli.doc("events", "replay", "--since", "1h", "--endpoint", endpoint)
    assert replayed == {"endpoint": endpoint, "replayed": 0, "complete": True}
    recovered = cli.doc("deliveries", "recover", "--endpoint", endpoint)
    assert recovered == {"endpoint": endpoint, "recovered": 0, "complete": True}
    assert len(cli.doc("deliveries", "list", "--endpoint", endpoint, "--merchant", merchant)["data"]) == 1
    for shown in (
        cli("events", "list"),
        cli("events", "show", event["id"]),
        cli("deliveries", "list"),
        cli("deliveries", "show", delivery["id"]),
        cli("events", "redeliver", event["id"]),
    ):
        assert "evt_" in shown.out or "dlv_" in shown.out


def test_a_sample_of_a_type_is_sent_and_the_queue_shows_it(cli: CliRunner) -> None:
    """``trigger`` and ``endpoints test --type`` do the same."""
    merchant = cli.merchant()
    assert cli("deliveries", "queue").err.startswith("No endpoints yet")
    endpoint = cli.doc("endpoints", "add", URL, "--merchant", merchant)["endpoint"]["id"]
    intent = cli.intent(merchant)["id"]
    for command, kind in (
        (("trigger", "payment.succeeded", "--endpoint", endpoint), "payment.succeeded"),
        (("endpoints", "test", endpoint, "--type", "payment.failed"), "payment.failed"),
        (("trigger", "payment.created", "--endpoint", endpoint, "--intent", intent), "payment.created"),
    ):
        queued = cli.doc(*command)
        event = cli.doc("events", "show", queued["event"])
        assert (event["type"], event["test"]) == (kind, True)
        assert cli.doc("deliveries", "show", queued["delivery"])["endpoint"] == endpoint
    queue = cli.doc("deliveries", "queue", "--merchant", merchant)
    assert (queue["due"], queue["attempts"], queue["endpoints"][0]["due"]) == (3, 0, 3)
    shown = cli("deliveries", "queue").out
    assert endpoint in shown
    wrong = cli("trigger", "payment.done", "--endpoint", endpoint, code=2).err
    assert wrong.startswith("error: type: 'payment.done' is unknown; write payment.created, ")
    unpaid = cli("trigger", "payment.failed", "--endpoint", endpoint, "--intent", intent, code=2).err
    assert f"{intent} is pending and has no payment.failed to show" in unpaid


def test_a_dead_delivery_is_dismissed_and_leaves_the_count(cli: CliRunner, tmp_path: Path) -> None:
    """It cannot be delivered any more; it stays listed."""
    merchant = cli.merchant()
    cli.doc("endpoints", "add", URL, "--merchant", merchant, "--events", "*")
    cli.intent(merchant)
    [delivery] = cli.doc("deliveries", "list")["data"]
    refused = cli("deliveries", "dismiss", delivery["id"], code=2).err
    assert f"delivery {delivery['id']} is pending; only dead ones are dismissed" in refused
    with sqlite3.connect(tmp_path / "watcher.db") as database:
        database.execute("UPDATE delivery SET status = 'dead', next_attempt_at = NULL")
    database.close()
    assert cli.doc("status", code=1)["outbox"]["dead"] == 1
    dismissed = cli.doc("deliveries", "dismiss", delivery["id"])
    assert (dismissed["status"], dismissed["dismissed_at"] is None) == ("dead", False)
    assert cli.doc("status", code=1)["outbox"]["dead"] == 0
    assert "dead (dismissed)" in cli("deliveries", "show", delivery["id"]).out
    assert cli.doc("deliveries", "list", "--status", "dead")["data"][0]["id"] == delivery["id"]


async def test_transfers_are_listed_and_unmatched_ones_can_be_assigned(
    cli: CliRunner, tmp_path: Path
) -> None:
    """The transfer comes from a scripted chain, through the daemon's own loop."""
    merchant = cli.merchant()
    intent = cli.intent(merchant)
    await _receive(tmp_path, intent["recipient"], 50_000, b"typo\x1b[31m")
    [row] = cli.doc("transfers", "list", "--unmatched")["data"]
    assert (row["amount"], row["unmatched"], row["merchant"]) == ("50000", "no_intent", merchant)
    assert "50,000 sats" in cli("transfers", "list").out
    words = cli("transfers", "assign", row["id"], intent["id"], "--reason", "a typo")
    assert (
        words.err
        == f"50,000 sats of transfer {row['id']} belong to intent {intent['id']}, which is succeeded.\n"
    )
    [assigned] = cli.doc("transfers", "list", "--merchant", merchant)["data"]
    assert (assigned["intent"], assigned["assigned"]) == (intent["id"], True)
    again = cli("transfers", "assign", row["id"], intent["id"], "--reason", "x", code=2)
    assert f"belongs to intent {intent['id']}" in again.err
    assert cli("transfers", "list", "--unmatched").err == "No such transfers.\n"
    shown = cli("intents", "show", intent["id"]).out
    assert row["tx_id"] in shown
    assert "How to pay" not in shown


async def _receive(folder: Path, recipient: str, amount: int, memo: bytes) -> None:
    chain = ScriptedChain()
    chain.mine(n=3, burn=True)
    database = harness.open_database(folder)
    clock = harness.Clock()
    async with ScriptedApi(chain) as api:
        following, pool = harness.make_indexer(
            harness.make_ledger(database, clock), [api.url], clock, poll_interval=0.01
        )
        await following.catch_up(asyncio.Event())
        chain.mine([txs.sbtc_transfer(principal("payer"), recipient, amount, memo)], burn=True)
        chain.mine(burn=True)
        await following.catch_up(asyncio.Event())
        await pool.aclose()
    database.close()
