"""PostgreSQL serves the daemon's queries from indexes, with thousands of rows and their statistics."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, event, insert, select, text

from chain.testing import principal, txs
from notifier import (
    attempt_hours,
    bulk,
    clock,
    deliveries,
    event_log,
    outbox,
    performance,
    queue,
    queue_state,
    retention,
)
from notifier.events import EventType
from notifier.schema import DeliveryStatus, endpoint
from tests import harness
from tests.integration.watcher.ledger_fixture import PAYER, SHOP, START, LedgerFixture
from tests.integration.watcher.link_fixture import Links
from tests.integration.watcher.store.test_query_plans import use_links, work
from tests.postgresql import Server
from watcher.domain.model import ChainClock, Flag, Status
from watcher.domain.server_info import ServerInfo
from watcher.schemas import PaymentIntentFilters, TransferFilters
from watcher.services import queries
from watcher.services import status as status_service
from watcher.store import chain_state, due_intents, link_views
from watcher.store.schema import intent as intent_table
from watcher.store.schema import transfer

SERVER = ServerInfo(network="mainnet")

#: Tables that grow with the chain or with trade.
BIG = {
    *(
        "act",
        "attempt",
        "attempt_hour",
        "block",
        "day_count",
        "delivery",
        "delivery_attempt",
        "event",
        "intent",
        "label",
        "payment_link",
        "payment_link_day",
        "payment_link_start",
        "payment_link_view",
        "refund",
        "reorg",
        "stray",
    ),
    *("transfer", "transition", "visitor"),
}

#: Fifty addresses, as SQL; they are shown, so they must be right.
FILLERS = "ARRAY[" + ", ".join(f"'{principal(f'filler {n}')}'" for n in range(50)) + "]"

#: How a row of each table is made many: what of its columns is different in the ``k``-th one.
MANY: dict[str, tuple[int, dict[str, str]]] = {
    "merchant": (50, {"id": "'mer_F' || k", "recipient": f"({FILLERS})[k]"}),
    "recipient": (50, {"principal": f"({FILLERS})[k]"}),
    "intent": (
        4001,
        {
            "id": "'pi_0' || lpad(k::text, 10, '0')",
            "merchant_id": "'mer_F' || (k % 50 + 1)",
            "flags": "CASE WHEN k % 200 = 0 THEN '[\"late\"]' ELSE '[]' END",
            "status": "CASE WHEN k % 20 = 0 THEN 'pending' ELSE 'succeeded' END",
            "reference_key": "'REF' || k",
            "terms_hash": "sha256(k::text::bytea)",
            "checkout_hash": "sha256((k + 1000000)::text::bytea)",
            "recipient": f"({FILLERS})[k % 50 + 1]",
            "wake_time": "CASE WHEN k % 20 = 0 THEN 2000000000 + k END",
            "wake_height": "NULL",
            "wake_burn_height": "NULL",
        },
    ),
    "label": (
        8000,
        {"key": "'r:' || md5(k::text)", "intent_id": "'pi_0' || lpad((k / 2 + 1)::text, 10, '0')"},
    ),
    "block": (
        3000,
        {
            "hash": "'0x' || md5(k::text)",
            "height": "-k",
            "burn_height": "899000 - k / 10",
            "canonical": "true",
        },
    ),
    "transfer": (
        4000,
        {
            "id": "'tr_0' || lpad(k::text, 10, '0')",
            "tx_id": "'0x' || md5(k::text)",
            "intent_id": "CASE WHEN k % 10 > 0 THEN 'pi_0' || lpad(k::text, 10, '0') END",
            "merchant_id": "'mer_F' || (k % 50 + 1)",
            "recipient": f"({FILLERS})[k % 50 + 1]",
            "height": "k % 50",
            "canonical": "true",
            "orphaned_at": "NULL",
        },
    ),
    "stray": (400, {"key": "'r:' || md5(k::text)", "transfer_id": "'tr_0' || lpad((k * 10)::text, 10, '0')"}),
    "attempt": (
        2000,
        {
            "id": "'at_0' || k",
            "tx_id": "'0x' || md5(k::text)",
            "height": "k % 50",
            "canonical": "true",
            "orphaned_at": "NULL",
            "intent_id": "'pi_0' || lpad(k::text, 10, '0')",
        },
    ),
    "refund": (
        2000,
        {
            "id": "'rf_0' || k",
            "tx_id": "'0x' || md5(k::text)",
            "height": "k % 50",
            "canonical": "true",
            "orphaned_at": "NULL",
            "intent_id": "'pi_0' || lpad(k::text, 10, '0')",
        },
    ),
    "act": (
        2000,
        {
            "id": "'act_0' || k",
            "intent_id": "'pi_0' || lpad(k::text, 10, '0')",
            "height": "k % 50",
            "tx_id": "CASE WHEN k % 2 = 0 THEN '0x' || md5(k::text) END",
        },
    ),
    "transition": (8000, {"intent_id": "'pi_0' || lpad((k / 2 + 1)::text, 10, '0')", "n": "k % 2"}),
    "day_count": (
        10000,
        {"merchant_id": "'mer_F' || (k % 50 + 1)", "day": "20833 - k / 50", "asset": "'sbtc'"},
    ),
    "payment_link": (
        4000,
        {"id": "'pl_0' || k", "code": "'CODE' || k", "merchant_id": "'mer_F' || (k % 50 + 1)"},
    ),
    "payment_link_day": (8000, {"link_id": "'pl_0' || (k / 20)", "day": "20000 + k % 20"}),
    "payment_link_start": (
        4000,
        {
            "token_hash": "sha256(k::text::bytea)",
            "intent_id": "'pi_0' || lpad(k::text, 10, '0')",
            "created_at": "1800000000 + k",
        },
    ),
    "payment_link_view": (4000, {"link_id": "'pl_0' || (k / 2 + 1)", "day": "20000 + k % 2"}),
    "visitor": (8000, {"hash": "substr(sha256(k::text::bytea), 1, 16)", "day": "30000"}),
    "reorg": (2000, {"id": "1000 + k", "at": "k"}),
    "event": (
        8000,
        {
            "id": "'evt_0' || k",
            "intent": "'pi_0' || lpad((k / 2 + 1)::text, 10, '0')",
            "n": "k % 2",
            "sequence": "k % 2 + 1",
            "merchant": "'mer_F' || (k % 50 + 1)",
            "position": "k + 10",
            "created_at": "1700000000 + k",
        },
    ),
    "endpoint": (50, {"id": "'we_0' || k", "merchant": "'mer_F' || k"}),
    "delivery": (
        8000,
        {
            "id": "'dlv_0' || lpad(k::text, 10, '0')",
            "event": "'evt_0' || k",
            "endpoint": "'we_0' || (k % 50 + 1)",
            "merchant": "'mer_F' || (k % 50 + 1)",
            "intent": "'pi_0' || lpad((k / 2 + 1)::text, 10, '0')",
            "status": "CASE WHEN k % 97 = 0 THEN 'pending' WHEN k % 97 = 1 THEN 'dead' ELSE 'delivered' END",
            "next_attempt_at": "CASE WHEN k % 97 = 0 THEN 1700000000 + k END",
            "lease": "NULL",
            "leased_until": "NULL",
        },
    ),
    "delivery_attempt": (
        8000,
        {"delivery": "'dlv_0' || lpad(k::text, 10, '0')", "number": "1", "at": "1700000000 + k"},
    ),
    "attempt_hour": (20000, {"endpoint": "'we_0' || (k % 50 + 1)", "hour": "490500 + k / 50"}),
}


def multiply(connection: Connection, table: str, count: int, changes: dict[str, str]) -> None:
    """Copy one row of a table many times; the columns in ``changes`` are SQL of ``k``."""
    pairs = ", ".join(f"'{name}', {value}" for name, value in changes.items())
    connection.execute(
        text(
            f"INSERT INTO {table} SELECT (jsonb_populate_record(one, jsonb_build_object({pairs}))).*"
            f" FROM {table} AS one, generate_series(1, {count}) AS k"
            f" WHERE one.ctid = (SELECT min(ctid) FROM {table})"
        )
    )


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory, postgresql_server: Server) -> Iterator[LedgerFixture]:
    """A world after years of trade."""
    folder: Path = tmp_path_factory.mktemp("busy")
    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setattr(harness, "database_url", postgresql_server.database_url)
        stack.enter_context(postgresql_server.cleaning())
        fixture = LedgerFixture(folder)
        stack.callback(fixture.database.close)
        with fixture.database.begin() as connection:
            values = {
                "id": "we_1",
                "merchant": fixture.merchant,
                "url": "https://shop.example",
                "events": ["*"],
            }
            connection.execute(
                insert(endpoint).values(**values, status="enabled", legacy_v0=False, secrets=[], created_at=0)
            )
        paid, failed = fixture.create(), fixture.create()
        fixture.mine(
            txs.sbtc_transfer(PAYER, SHOP, 50_000, fixture.memo(paid)),
            txs.sbtc_transfer(PAYER, SHOP, 7, b"stray"),
            txs.sbtc_transfer(PAYER, SHOP, 50_000, fixture.memo(failed)).failed(),
            txs.contract_refund(harness.PAYMENT_CONTRACT, SHOP, PAYER, 9, intent_id=fixture.terms_hash(paid)),
        )
        fixture.mark(failed, "failed")
        fixture.fork(1, [[], []])
        fixture.mine(txs.sbtc_transfer(PAYER, SHOP, 50_000, fixture.memo(paid)))
        link = Links(fixture, amount="7000")
        link.start()
        with fixture.database.begin() as connection:
            link_views.record(connection, 30_000, {(link.id, b"a" * 16)})
            lease(connection, now=fixture.clock())
            connection.execute(text("INSERT INTO delivery_attempt SELECT id, 0, 0, 1 FROM delivery LIMIT 1"))
            connection.execute(text("INSERT INTO attempt_hour VALUES ('we_1', 490500, 1, 1, 1, 1)"))
            for table, (count, changes) in MANY.items():
                multiply(connection, table, count, changes)
        with fixture.database.engine.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT").execute(text("VACUUM ANALYZE"))
        yield fixture


def lease(connection: Connection, *, now: float) -> list[queue.Claim]:
    return queue.claim(
        connection, lease="lease_1", now=now, leased_until=now + 30, room=50, endpoint_cap=8
    ).claims


@contextmanager
def plans(fixture: LedgerFixture) -> Iterator[list[tuple[str, list[dict[str, Any]]]]]:
    """Collect each statement that is run, with the nodes of PostgreSQL's plan for it."""
    found: list[tuple[str, list[dict[str, Any]]]] = []

    def explain(_: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool) -> None:
        if statement.startswith(("SELECT", "UPDATE", "DELETE", "WITH")):
            cursor.execute(f"EXPLAIN (FORMAT JSON) {statement}", parameters[0] if many else parameters)
            [[(answer,)]] = [cursor.fetchall()]
            document = json.loads(answer) if isinstance(answer, str) else answer
            found.append((statement, list(nodes(document[0]["Plan"]))))

    event.listen(fixture.database.engine, "before_cursor_execute", explain)
    try:
        yield found
    finally:
        event.remove(fixture.database.engine, "before_cursor_execute", explain)


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for part in plan.get("Plans", ()):
        yield from nodes(part)


def scans(found: list[tuple[str, list[dict[str, Any]]]]) -> list[tuple[str, str]]:
    """Return what reads a big table from end to end."""
    return [
        (node["Relation Name"], statement)
        for statement, steps in found
        for node in steps
        if node["Node Type"] == "Seq Scan" and node["Relation Name"] in BIG
    ]


def test_a_missing_index_would_be_noticed(busy: LedgerFixture) -> None:
    with plans(busy) as found, busy.database.begin() as connection:
        connection.execute(select(intent_table).where(intent_table.c.amount == 1))
    assert [table for table, _ in scans(found)] == ["intent"]


def test_steps_reorgs_intents_and_operator_actions_scan_no_big_table(busy: LedgerFixture) -> None:
    def unmatched() -> str:
        with busy.database.read() as connection:
            mine = (transfer.c.merchant_id == busy.merchant, transfer.c.intent_id.is_(None))
            return str(connection.execute(select(transfer.c.id).where(*mine).limit(1)).scalar_one())

    with plans(busy) as found:
        work(busy, b"another", unmatched)
    assert scans(found) == []
    assert len(found) > 50


def test_payment_links_are_served_from_indexes(busy: LedgerFixture) -> None:
    """However many payments were started from how many links."""
    with plans(busy) as found:
        use_links(busy)
    assert scans(found) == []
    assert len(found) > 50


def test_what_is_due_is_found_by_its_index(busy: LedgerFixture) -> None:
    clock = ChainClock(height=1, hash="", time=START, burn_height=1)
    with plans(busy) as found, busy.database.read() as connection:
        due_intents.find_due(connection, clock, limit=100)
        due_intents.count_due(connection, clock)
        due_intents.count_set_aside(connection)
    names = {node.get("Index Name") for _, steps in found for node in steps}
    assert scans(found) == []
    assert {"ix_intent_wake_time", "ix_intent_wake_height", "ix_intent_wake_burn_height"} <= names


def test_the_outbox_is_claimed_listed_and_pruned_by_indexes(busy: LedgerFixture) -> None:
    now = busy.clock()
    with plans(busy) as found, busy.database.begin() as connection:
        claims = lease(connection, now=now)
        queue.release(connection, claims)
        outbox.stats(connection, now=now)
        outbox.previous_events(connection, ["pi_00000000007"])
        retention.prune(connection, before=1_700_000_100, now=now)
        clock.repair(connection, now=now)
        deliveries.replay(connection, "we_08", since=0, now=now)
        bulk.step(connection, now=now)
        event_log.list_events(connection, merchant="mer_F7")
        event_log.list_events(connection, intent="pi_00000000007")
        deliveries.list_deliveries(connection, merchant="mer_F7")
        deliveries.list_deliveries(connection, endpoint="we_07", status=DeliveryStatus.DEAD)
        deliveries.list_deliveries(connection, event="evt_07")
        deliveries.list_deliveries(connection, merchant="mer_F7", type=EventType.FAILED, created_from=now)
        deliveries.recover(connection, "we_07", now=now)
        event_log.newest_event(connection, "pi_00000000007", EventType.SUCCEEDED)
        attempt_hours.record(
            connection, [attempt_hours.Attempt(endpoint="we_07", at=now, ok=True, duration_ms=5)]
        )
        performance.measure(connection, ["we_07", "we_08"], now=now)
        for merchant in (None, "mer_F7"):
            queue_state.open_counts(connection, merchant=merchant, now=now)
            queue_state.count_dead(connection, merchant=merchant, now=now)
            queue_state.oldest_seconds(connection, merchant=merchant, now=now)
            queue_state.listed_endpoints(connection, merchant=merchant, limit=50)
    assert len(claims) == 50
    assert scans(found) == []


LISTS: list[Callable[[Connection, LedgerFixture], Any]] = [
    lambda c, w: queries.intents(c, PaymentIntentFilters(), server_info=SERVER),
    lambda c, w: queries.intents(c, PaymentIntentFilters(cursor="pi_Z"), server_info=SERVER),
    lambda c, w: queries.intents(c, PaymentIntentFilters(), server_info=SERVER, merchant="mer_F7"),
    lambda c, w: queries.intents(
        c, PaymentIntentFilters(cursor="pi_Z"), server_info=SERVER, merchant="mer_F7"
    ),
    lambda c, w: queries.intents(
        c, PaymentIntentFilters(status=Status.PENDING, cursor="pi_Z"), server_info=SERVER
    ),
    lambda c, w: queries.intents(
        c, PaymentIntentFilters(status=Status.PENDING), server_info=SERVER, merchant="mer_F7"
    ),
    lambda c, w: queries.intents(c, PaymentIntentFilters(flag=Flag.LATE), server_info=SERVER),
    lambda c, w: queries.intents(
        c, PaymentIntentFilters(flag=Flag.LATE), server_info=SERVER, merchant="mer_F7"
    ),
    lambda c, w: queries.intents(c, PaymentIntentFilters(created_from=1, created_to=2), server_info=SERVER),
    lambda c, w: queries.intents(
        c, PaymentIntentFilters(reference="inv-1"), server_info=SERVER, merchant="mer_F7"
    ),
    lambda c, w: queries.intents(c, PaymentIntentFilters(reference="inv-1"), server_info=SERVER),
    lambda c, w: queries.intents(
        c, PaymentIntentFilters(asset="stx", cursor="pi_Z"), server_info=SERVER, merchant="mer_F7"
    ),
    lambda c, w: queries.transfers(c, TransferFilters(cursor="tr_Z")),
    lambda c, w: queries.transfers(c, TransferFilters(), merchant="mer_F7"),
    lambda c, w: queries.transfers(c, TransferFilters(unmatched=True, cursor="tr_Z")),
    lambda c, w: queries.transfers(c, TransferFilters(unmatched=True), merchant="mer_F7"),
]


#: Each way to find an intent, with the index that serves it.
SEARCHES = {
    "pi_1": "intent",
    "inv-1": "reference_key",
    "an order": "intent_text",
    f"0x{'ab' * 32}": "ix_transfer_tx",
    PAYER: "ix_transfer_sender",
}


def test_a_search_reads_indexes_only(busy: LedgerFixture) -> None:
    """For a merchant each look ends with its limit: nothing is sorted, whatever there is to be found."""
    for searched in SEARCHES:
        for cursor in ({}, {"cursor": "pi_Z"}):
            with plans(busy) as found, busy.database.read() as connection:
                filters = PaymentIntentFilters(search=searched, **cursor)
                queries.intents(connection, filters, server_info=SERVER, merchant="mer_F7")
            assert scans(found) == [], searched
        assert any(SEARCHES[searched] in str(steps) for _, steps in found), (searched, found)


def test_the_few_unmatched_transfers_are_not_searched_for_among_all(busy: LedgerFixture) -> None:
    with plans(busy) as found, busy.database.read() as connection:
        queries.transfers(connection, TransferFilters(unmatched=True))
    assert {node.get("Index Name") for node in found[0][1]} & {"ix_transfer_unmatched_id"}


@pytest.mark.parametrize("ask", LISTS)
def test_pages_come_from_an_index(
    busy: LedgerFixture, ask: Callable[[Connection, LedgerFixture], Any]
) -> None:
    with plans(busy) as found, busy.database.read() as connection:
        ask(connection, busy)
    assert "LIMIT" in found[0][0]
    assert scans(found) == []


@pytest.mark.parametrize("whose", ["merchant", "everyone"])
def test_statistics_scan_no_big_table(busy: LedgerFixture, whose: str) -> None:
    with plans(busy) as found, busy.services(busy.merchant if whose == "merchant" else None) as services:
        services.statistics()
    assert scans(found) == []
    assert "ix_intent_attention" in {node.get("Index Name") for _, steps in found for node in steps}
    assert len(found) > 5


def test_status_scans_no_big_table(busy: LedgerFixture) -> None:
    with plans(busy) as found:
        status_service.status(busy.database, busy.settings, now=busy.clock())
    assert scans(found) == []
    assert len(found) > 5


def test_the_window_and_its_thinning_read_their_part_only(busy: LedgerFixture) -> None:
    with plans(busy) as found, busy.database.begin() as connection:
        chain_state.window_headers(connection, burn_blocks=8)
        chain_state.thin_headers(connection, keep_burn_blocks=1290)
        chain_state.count_reorgs(connection, since=1_900)
    assert scans(found) == []
