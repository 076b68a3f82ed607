"""The status document: counts that agree with the tables, the parts of the lag, and a state."""

import json
from typing import Any

import pytest
from sqlalchemy import insert, update

from chain.testing import txs
from notifier import endpoints
from notifier.clock import server_time
from notifier.schema import delivery, endpoint, event
from notifier.secrets import PLAIN
from notifier.ssrf import CheckedUrl
from tests.integration.watcher.ledger_fixture import PAYER, SHOP, START, LedgerFixture
from watcher import __version__
from watcher.config.settings import Settings
from watcher.indexer.leader import LEASE_SECONDS, Lease
from watcher.services import status as status_service
from watcher.services.status_reasons import no_notifier, not_writable
from watcher.store.chain_state import Halt
from watcher.store.database import Database
from watcher.store.heartbeats import Heartbeat, silence_limit

SOURCE = {"url": "http://a", "state": "ok", "version": "9", "tip_height": 100, "latency_ms": 1, "errors": 0}


def status(fixture: LedgerFixture, **more: Any) -> dict[str, Any]:
    document = status_service.status(fixture.database, fixture.settings, now=fixture.clock(), **more)
    assert json.loads(json.dumps(document)) == document
    return document


def test_routes_that_end_are_a_reason_of_their_own_and_no_trouble(fixture: LedgerFixture) -> None:
    """One reason for all sources; the state stays ok, and a merchant is not told."""
    ending = SOURCE | {"note": None, "deprecated_routes": ["tx/multiple", "v2/blocks"], "gone_routes": []}
    gone = ending | {"url": "http://b", "gone_routes": ["tx/multiple"]}
    fixture.clock.now = START + 3.5
    fixture.ledger.record_poll(tip=None, sources=[ending])
    document = status(fixture)
    assert document["state"] == "ok"
    [reason] = document["reasons"]
    assert reason["code"] == "deprecated_routes"
    assert reason["message"] == "http://a announces the end of tx/multiple, v2/blocks"
    assert "nothing has to be done" in reason["hint"]
    fixture.ledger.record_poll(tip=None, sources=[ending, gone])
    [reason] = status(fixture)["reasons"]
    assert reason["message"] == (
        "http://b has no tx/multiple any more; "
        "http://a announces the end of tx/multiple, v2/blocks; http://b announces the end of v2/blocks"
    )
    assert "dropped" in reason["hint"]
    with fixture.database.read() as connection:
        shown = status_service.document(
            connection, fixture.settings, now=fixture.clock(), merchant=fixture.merchant
        )
    assert shown["reasons"] == []


def test_a_daemon_at_the_tip_is_ok(fixture: LedgerFixture) -> None:
    fixture.clock.now = START + 3.5
    fixture.ledger.record_poll(tip=None, sources=[SOURCE | {"note": None}])
    document = status(fixture)
    assert document == {
        "state": "ok",
        "reasons": [],
        "network": "mainnet",
        "version": __version__,
        "cursor": {
            "height": 100,
            "hash": fixture.tip.hash,
            "time": "2027-01-15T08:00:00.000Z",
            "burn_block_height": 900_000,
        },
        "tip": {"height": 100, "age_seconds": 3.5},
        "lag": {"chain_seconds": 3.5, "api_seconds": 0.5, "our_seconds": 0.0, "blocks": 0},
        "sources": [SOURCE | {"note": None}],
        "reorgs_24h": 0,
        "intents": dict.fromkeys(document["intents"], 0),
        "attention": 0,
        "unmatched": 0,
        "settle_backlog": 0,
        "set_aside": 0,
        "oldest_pending": None,
        "outbox": {
            "pending": 0,
            "oldest_seconds": None,
            "dead": 0,
            "held": 0,
            "failing_endpoints": [],
            "bulk_changes": [],
        },
        "reindex": None,
        "follower": None,
        "database": {
            "url": fixture.database.safe_url,
            "revision": fixture.database.head(),
            "bytes": document["database"]["bytes"],
        },
        "halted": None,
    }
    assert document["database"]["bytes"] > 0
    assert list(document["intents"]) == [
        "pending",
        "processing",
        "succeeded",
        "failed",
        "expired",
        "canceled",
    ]


@pytest.mark.parametrize("backend", ["postgresql"], indirect=True)
def test_who_follows_the_chain_on_a_shared_database_is_shown(fixture: LedgerFixture) -> None:
    lease = Lease(fixture.database)
    assert lease.acquire()
    shown = status(fixture)["follower"]
    assert (shown["holder"], shown["epoch"]) == (lease.holder, 1)
    assert 0 < shown["remaining_seconds"] <= LEASE_SECONDS
    lease.release()
    assert status(fixture)["follower"]["remaining_seconds"] == 0


def test_a_database_without_a_schema_is_starting(tmp_path: Any) -> None:
    settings = Settings(database_url=f"sqlite:///{tmp_path}/watcher.db")
    database = Database(settings.database_url)
    document = status_service.status(database, settings, now=0)
    assert (document["state"], document["database"]["revision"], document["cursor"]) == (
        "starting",
        None,
        None,
    )
    database.close()


def test_a_database_that_has_not_begun_is_starting(before_the_chain: LedgerFixture) -> None:
    before_the_chain.create()
    document = status(before_the_chain)
    assert (document["state"], document["cursor"], document["tip"]) == ("starting", None, None)
    assert document["intents"]["pending"] == 1


def test_the_lag_says_who_is_behind(fixture: LedgerFixture) -> None:
    fixture.chain.mine(n=3, seconds=100)
    fixture.clock.now = START + 310
    fixture.ledger.record_poll(tip=fixture.tip, sources=[])
    fixture.clock.now = START + 320
    document = status(fixture)
    assert document["tip"] == {"height": 103, "age_seconds": 20.0}
    assert document["lag"] == {"chain_seconds": 20.0, "api_seconds": 10.0, "our_seconds": 300.0, "blocks": 3}
    assert document["state"] == "ok"


def test_counts_follow_the_tables(fixture: LedgerFixture) -> None:
    late = fixture.create(expires_in=1)
    pending = fixture.create()
    fixture.pass_time(700)
    fixture.mine(
        txs.sbtc_transfer(PAYER, SHOP, 50_000, fixture.memo(late)), txs.sbtc_transfer(PAYER, SHOP, 1)
    )
    fixture.clock.now = fixture.tip.time
    document = status(fixture)
    assert document["intents"] | {"pending": 1, "expired": 1} == document["intents"]
    assert (document["attention"], document["unmatched"]) == (1, 1)
    assert document["oldest_pending"] == fixture.show(pending)["created_at"]
    assert document["reindex"] is None
    fixture.mark(late, "failed", "gave up")
    assert status(fixture)["attention"] == 1, "a mark sends no money back"
    fixture.dismiss(late)
    assert status(fixture)["attention"] == 0
    fixture.fork(1, [[], []])
    document = status(fixture)
    assert (document["unmatched"], document["reorgs_24h"]) == (0, 1)
    fixture.clock.now += 86_402
    assert status(fixture)["reorgs_24h"] == 0


def test_a_halt_goes_before_everything(fixture: LedgerFixture) -> None:
    halt = Halt(code="reorg_too_deep", message="m", hint="h")
    fixture.ledger.record_poll(tip=None, sources=[{"url": "http://a", "state": "down"}], halt=halt)
    document = status(fixture)
    assert document["state"] == "halted"
    assert document["halted"] == {
        "code": "reorg_too_deep",
        "message": "m",
        "hint": "h",
        "since": "2027-01-15T08:00:00.000Z",
    }


def test_a_source_that_is_not_ok_degrades(fixture: LedgerFixture) -> None:
    fixture.ledger.record_poll(tip=None, sources=[SOURCE, {"url": "http://b", "state": "lagging"}])
    document = status(fixture)
    assert document["state"] == "degraded"
    assert document["reasons"] == [
        {"code": "source_failing", "message": "source http://b is lagging", "hint": ""}
    ]


def test_a_cursor_far_behind_the_tip_degrades(fixture: LedgerFixture) -> None:
    fixture.chain.mine(seconds=601)
    fixture.clock.now = fixture.tip.time
    fixture.ledger.record_poll(tip=fixture.tip, sources=[])
    assert status(fixture)["state"] == "degraded"


def test_a_daemon_that_looks_no_more_degrades(fixture: LedgerFixture) -> None:
    fixture.clock.now += 599
    assert status(fixture)["state"] == "ok"
    fixture.clock.now += 10
    [reason] = status(fixture)["reasons"]
    assert reason["code"] == "lagging"
    assert "is the daemon running?" in reason["message"]


@pytest.mark.parametrize(
    ("endpoint_row", "delivery_status", "reason"),
    [
        ({"failed": 3}, "delivered", ("endpoints_failing", "1 webhook endpoint fails")),
        ({"failed": 0}, "dead", ("deliveries_dead", "1 webhook delivery is dead")),
    ],
)
def test_webhooks_that_do_not_arrive_degrade(
    fixture: LedgerFixture, endpoint_row: dict[str, Any], delivery_status: str, reason: tuple[str, str]
) -> None:
    intent = fixture.create()
    with fixture.database.begin() as connection:
        event_id = connection.execute(event.select().where(event.c.intent == intent)).one().id
        connection.execute(
            insert(endpoint).values(
                id="we_1",
                merchant=fixture.merchant,
                url="https://x",
                events=["*"],
                status="enabled",
                legacy_v0=False,
                secrets=[],
                created_at=0,
                **endpoint_row,
            )
        )
        connection.execute(
            insert(delivery).values(
                id="dlv_1",
                event=event_id,
                endpoint="we_1",
                merchant=fixture.merchant,
                intent=intent,
                type="payment.created",
                sequence=1,
                verdict=False,
                ordered=True,
                status=delivery_status,
                created_at=0,
            )
        )
    document = status(fixture)
    assert document["state"] == "degraded"
    assert [(found["code"], found["message"]) for found in document["reasons"]] == [reason]


def codes(fixture: LedgerFixture) -> list[str]:
    return [reason["code"] for reason in status(fixture)["reasons"]]


def test_a_follower_that_was_killed_is_missed_within_three_polls(fixture: LedgerFixture) -> None:
    """Its last heartbeat is good for three polls, ten seconds at least; a standby's are none."""
    fixture.live("notifier")
    Heartbeat(fixture.database, limit=silence_limit(2.0), now=fixture.clock).write(["follower"])
    assert codes(fixture) == []
    fixture.silent(9.0)
    assert codes(fixture) == []
    fixture.silent(2.0)
    document = status(fixture)
    assert document["state"] == "degraded"
    [reason] = document["reasons"]
    assert reason["code"] == "no_follower"
    assert "sbtc-watcher run" in reason["hint"]


def add_endpoint(fixture: LedgerFixture) -> None:
    with fixture.database.begin() as connection:
        endpoints.create(
            connection,
            merchant=fixture.merchant,
            url=CheckedUrl("https://1.1.1.1/"),
            events=["*"],
            secret_store=PLAIN,
            now=fixture.clock(),
        )


def test_due_webhooks_that_find_no_notifier_are_told(fixture: LedgerFixture) -> None:
    add_endpoint(fixture)
    fixture.live("follower", "api")
    assert codes(fixture) == [], "nothing is due"
    fixture.create()
    [reason] = status(fixture)["reasons"]
    assert (reason["code"], reason["message"]) == (
        "no_notifier",
        "1 webhook is due, and no living process delivers",
    )
    fixture.live("follower", "notifier")
    assert codes(fixture) == []


def test_whether_webhooks_are_due_is_judged_by_the_clock_that_delivers_them(fixture: LedgerFixture) -> None:
    """Not by that of a machine which asks; what was written under a clock that was ahead is due at once."""
    add_endpoint(fixture)
    fixture.create()
    fixture.clock.now -= 7200
    fixture.live("follower", "api")
    assert "no_notifier" in codes(fixture)
    if fixture.database.is_sqlite:
        return
    with fixture.database.begin() as connection:
        due = server_time() + 3600
        connection.execute(update(delivery).values(next_attempt_at=due, stamped_at=server_time()))
    fixture.clock.now += 2 * 7200
    assert "no_notifier" not in codes(fixture)


def test_who_stops_in_order_is_missed_at_once_and_who_runs_once_is_not(fixture: LedgerFixture) -> None:
    fixture.live()
    beat = Heartbeat(fixture.database, limit=silence_limit(5.0), now=fixture.clock)
    beat.write(["follower"])
    beat.write([])
    assert codes(fixture) == ["no_follower"]
    beat.write(["follower"], good_for=600.0)
    fixture.silent(599.0)
    assert codes(fixture) == []
    fixture.silent(2.0)
    assert codes(fixture) == ["no_follower"]


def test_a_heartbeat_from_before_the_clock_was_set_back_is_nobodys(fixture: LedgerFixture) -> None:
    """Only with SQLite: PostgreSQL's own clock judges, and is not ours to set."""
    if not fixture.database.is_sqlite:
        return
    fixture.live()
    Heartbeat(fixture.database, limit=silence_limit(5.0), now=fixture.clock).write(["follower"])
    fixture.clock.now -= 7200.0
    assert codes(fixture) == ["no_follower"]


@pytest.mark.parametrize(("skew", "told"), [(None, False), (60.0, False), (61.0, True), (-7200.0, True)])
def test_a_clock_that_differs_from_the_sources_by_more_than_a_minute_is_told(
    fixture: LedgerFixture, skew: float | None, told: bool
) -> None:
    fixture.ledger.record_poll(tip=None, sources=[SOURCE | {"clock_skew": skew}])
    assert codes(fixture) == (["clock_skew"] if told else [])
    if told:
        [reason] = status(fixture)["reasons"]
        assert ("ahead of" if skew and skew > 0 else "behind") in reason["message"]


def test_a_merchant_does_not_read_what_the_operators_database_said(fixture: LedgerFixture) -> None:
    """Hosts, users and files are the operator's; that nothing can be written is everybody's."""
    known = [not_writable('connection to server at "db.internal", port 5432 failed')]
    with fixture.database.read() as connection:
        told, hidden = (
            status_service.document(
                connection, fixture.settings, now=fixture.clock(), merchant=merchant, known=known
            )
            for merchant in (None, fixture.merchant)
        )
    assert "db.internal" in told["reasons"][0]["message"]
    assert hidden["reasons"][0] == {
        "code": "not_writable",
        "message": "the database takes no writes",
        "hint": "",
    }


def test_a_merchant_does_not_read_how_many_webhooks_of_others_are_due(fixture: LedgerFixture) -> None:
    """That nobody delivers concerns it, how much the other merchants sell does not."""
    known = [no_notifier(20_000)]
    with fixture.database.read() as connection:
        document = status_service.document(
            connection, fixture.settings, now=fixture.clock(), merchant=fixture.merchant, known=known
        )
    assert document["reasons"][0]["message"] == "webhooks are due, and no living process delivers"
