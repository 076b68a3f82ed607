"""SQLite serves every query that the daemon runs from an index: a million rows cost it no more than ten."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import event

from chain.testing import principal, txs
from notifier import event_log
from notifier.events import EventType
from tests import harness
from tests.integration.watcher.ledger_fixture import PAYER, SHOP, LedgerFixture
from tests.integration.watcher.link_fixture import Links
from watcher.domain.model import BEFORE_THE_CHAIN, Flag, Status
from watcher.domain.server_info import ServerInfo
from watcher.schemas import LinkDays, OwnedPage, PaymentIntentFilters, TransferFilters
from watcher.services import queries
from watcher.services import status as status_service
from watcher.store import due_intents, link_views, verification
from watcher.store import payment_links as link_store

SERVER = ServerInfo(network="mainnet")

pytestmark = pytest.mark.parametrize("backend", ["sqlite"], indirect=True)

#: Tables that grow with the chain or with trade.
BIG = (
    "act|attempt|attempt_hour|block|day_count|delivery|delivery_attempt|event|intent|label|payment_link|"
    "payment_link_day|payment_link_start|payment_link_view|refund|reorg|stray|transfer|transition|visitor"
)
#: Indexes of the few rows that need somebody or something.
FEW = "ix_(intent_attention|intent_flagged|delivery_dead|delivery_open)"
SCAN = re.compile(rf"^SCAN ({BIG})\b(?! USING (COVERING )?INDEX {FEW})")
OWN = principal("own address")


@contextmanager
def plans(fixture: LedgerFixture) -> Iterator[list[tuple[str, list[str]]]]:
    """Collect each statement that is run, with the steps of SQLite's plan for it."""
    found: list[tuple[str, list[str]]] = []

    def explain(_: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool) -> None:
        if statement.startswith(("SELECT", "UPDATE", "DELETE")):
            values = parameters[0] if many else parameters
            rows = cursor.execute(f"EXPLAIN QUERY PLAN {statement}", values).fetchall()
            found.append((statement, [row[3] for row in rows]))

    event.listen(fixture.database.engine, "before_cursor_execute", explain)
    try:
        yield found
    finally:
        event.remove(fixture.database.engine, "before_cursor_execute", explain)


def scans(found: list[tuple[str, list[str]]]) -> list[tuple[str, str]]:
    return [(step, statement) for statement, steps in found for step in steps if SCAN.match(step)]


def test_a_missing_index_would_be_noticed(fixture: LedgerFixture) -> None:
    with plans(fixture) as found, fixture.database.begin() as connection:
        connection.exec_driver_sql("SELECT * FROM intent WHERE amount = 1")
    assert len(scans(found)) == 1


def work(fixture: LedgerFixture, memo: bytes, unmatched: Callable[[], str]) -> None:
    """Apply steps and a reorg, and let an operator act; ``unmatched`` finds a transfer with this memo."""
    intent = fixture.create()
    own = fixture.create(match="recipient", recipient=OWN)
    payment = txs.sbtc_transfer(PAYER, SHOP, 50_000, fixture.memo(intent))
    failed = txs.sbtc_transfer(PAYER, OWN, 50_000, fixture.memo(own)).failed()
    stray = txs.sbtc_transfer(PAYER, SHOP, 7, memo)
    back = txs.contract_refund(harness.PAYMENT_CONTRACT, SHOP, PAYER, 7, intent_id=fixture.terms_hash(intent))
    fixture.mine(payment, stray, failed, back)
    fixture.mine(n=3, burn=True)
    fixture.fork(4, [[], [payment, back], [], [], []])
    transfer = unmatched()
    fixture.cancel(own)
    fixture.mark(intent, "succeeded")
    fixture.assign(transfer, intent)
    fixture.ledger.window(6)


def test_what_waits_for_a_second_source_is_found_by_its_own_index(fixture: LedgerFixture) -> None:
    """It is looked for at every poll, while many more intents are processing."""
    with plans(fixture) as found, fixture.database.read() as connection:
        assert verification.unverified(connection, limit=9) == []
    [(_, steps)] = found
    assert "USING INDEX ix_transfer_unverified" in steps[0]


def test_steps_reorgs_intents_and_operator_actions_scan_no_big_table(fixture: LedgerFixture) -> None:
    with plans(fixture) as found:
        work(fixture, b"stray", lambda: next(r["id"] for r in fixture.transfers() if r["intent_id"] is None))
    queries_of_test = [pair for pair in scans(found) if "ORDER BY transfer.id" not in pair[1]]
    assert queries_of_test == []
    assert len(found) > 50


LISTS: list[Callable[[Any, LedgerFixture], Any]] = [
    lambda c, w: queries.intents(c, PaymentIntentFilters(), server_info=SERVER),
    lambda c, w: queries.intents(c, PaymentIntentFilters(cursor="pi_Z"), server_info=SERVER),
    lambda c, w: queries.intents(c, PaymentIntentFilters(), server_info=SERVER, merchant=w.merchant),
    lambda c, w: queries.intents(
        c, PaymentIntentFilters(cursor="pi_Z"), server_info=SERVER, merchant=w.merchant
    ),
    lambda c, w: queries.intents(
        c, PaymentIntentFilters(status=Status.PENDING, cursor="pi_Z"), server_info=SERVER
    ),
    lambda c, w: queries.intents(
        c, PaymentIntentFilters(status=Status.PENDING), server_info=SERVER, merchant=w.merchant
    ),
    lambda c, w: queries.intents(c, PaymentIntentFilters(flag=Flag.LATE), server_info=SERVER),
    lambda c, w: queries.intents(
        c, PaymentIntentFilters(flag=Flag.LATE), server_info=SERVER, merchant=w.merchant
    ),
    lambda c, w: queries.intents(c, PaymentIntentFilters(created_from=1, created_to=2), server_info=SERVER),
    lambda c, w: queries.intents(
        c, PaymentIntentFilters(reference="inv-1"), server_info=SERVER, merchant=w.merchant
    ),
    lambda c, w: queries.intents(
        c, PaymentIntentFilters(asset="stx", cursor="pi_Z"), server_info=SERVER, merchant=w.merchant
    ),
    lambda c, w: queries.transfers(c, TransferFilters(cursor="tr_Z")),
    lambda c, w: queries.transfers(c, TransferFilters(), merchant=w.merchant),
    lambda c, w: queries.transfers(c, TransferFilters(unmatched=True, cursor="tr_Z")),
    lambda c, w: queries.transfers(c, TransferFilters(unmatched=True), merchant=w.merchant),
]


#: Each way to find an intent, with the index that serves it.
SEARCHES = {
    "pi_1": "intent",
    "inv-1": "reference_key",
    "an order": "intent_text",
    f"0x{'ab' * 32}": "ix_transfer_tx",
    str(OWN): "ix_transfer_sender",
}


def test_a_search_reads_indexes_only(fixture: LedgerFixture) -> None:
    """For a merchant each look ends with its limit: nothing is sorted but a transaction's few payments."""
    fixture.create(reference="inv-1", metadata={"order_id": "an order"}, payer=OWN)
    for text in SEARCHES:
        for cursor in ({}, {"cursor": "pi_Z"}):
            with plans(fixture) as found, fixture.database.read() as connection:
                filters = PaymentIntentFilters(search=text, status=Status.PENDING, **cursor)
                queries.intents(connection, filters, server_info=SERVER, merchant=fixture.merchant)
            assert scans(found) == [], text
            looks = [pair for pair in found if "GROUP BY intent_id" in pair[0] or " IN (" not in pair[0]]
            sorts = [pair for pair in looks if "B-TREE" in str(pair[1]) and "tx_id = ?" not in pair[0]]
            assert sorts == [], text
            assert not any(" ix_intent_merchant" in str(steps) for _, steps in found), (text, found)
        assert any(SEARCHES[text] in str(steps) for _, steps in found), (text, found)


def test_the_payments_of_a_link_are_read_from_its_index(fixture: LedgerFixture) -> None:
    """Not from among all of the merchant's."""
    with plans(fixture) as found, fixture.database.read() as connection:
        filters = PaymentIntentFilters(payment_link="pl_1", cursor="pi_Z")
        queries.intents(connection, filters, server_info=SERVER, merchant=fixture.merchant)
    [step] = found[0][1]
    assert "ix_intent_payment_link" in step


def use_links(fixture: LedgerFixture) -> str:
    """Let payers look, start, choose and start anew, and their merchant see what became of it; return the
    link's id.
    """
    links = Links(fixture, prices={"sbtc": "50000", "stx": "25000000"}, max_uses=50)
    first = links.start(asset="sbtc")
    second = links.switch(first, "stx")
    links.pay(second)
    third = links.start("w" * 22, asset="sbtc")
    links.expire()
    links.restart(third)
    with links.payer() as payer:
        payer.link_page(links.code)
    for token in (first, second, third):
        links.checkout(token)
    links.document()
    with fixture.services(fixture.merchant) as services:
        services.links(OwnedPage())
        services.link_statistics(links.id, LinkDays(days=30))
    with fixture.database.begin() as connection:
        link_views.key_of(connection, 20_833)
        link_views.record(connection, 20_833, {(links.id, b"a" * 16)})
        link_views.forget(connection, before=20_834)
        link_store.forget_starts(connection, before=fixture.clock() - 86_400)
    return links.id


def test_payment_links_are_served_from_indexes(fixture: LedgerFixture) -> None:
    """However many payments were started from how many links."""
    with plans(fixture) as found:
        use_links(fixture)
    assert scans(found) == []
    assert len(found) > 50


@pytest.mark.parametrize("ask", LISTS)
def test_pages_come_in_order_from_an_index(
    fixture: LedgerFixture, ask: Callable[[Any, LedgerFixture], Any]
) -> None:
    with plans(fixture) as found, fixture.database.read() as connection:
        ask(connection, fixture)
    page, steps = found[0]
    assert "LIMIT" in page
    assert steps, page
    assert not any("B-TREE" in step for step in steps), steps
    # The newest rows of a table in order of its key are a scan that ends with the page.
    assert all(step.startswith("SEARCH") or " USING " in step for step in steps), steps
    assert scans(found[1:]) == []


def list_events(connection: Any, **filters: Any) -> None:
    event_log.list_events(connection, **filters)


#: Lists of what few rows of many are, each with the index that has these, and no other row.
FEW_OF_MANY: list[tuple[str, Callable[[Any, str], Any]]] = [
    ("intent=?", lambda c, shop: list_events(c, merchant=shop, intent="pi_1")),
    ("ix_event_typed", lambda c, shop: list_events(c, merchant=shop, type=EventType.REFUNDED)),
    ("ix_event_listed", lambda c, shop: list_events(c, merchant=shop)),
    ("ix_event_created", lambda c, _: list_events(c)),
    (
        "ix_intent_flagged",
        lambda c, shop: queries.intents(
            c, PaymentIntentFilters(flag=Flag.LATE), server_info=SERVER, merchant=shop
        ),
    ),
    (
        "ix_intent_attention",
        lambda c, shop: queries.intents(
            c, PaymentIntentFilters(attention=True), server_info=SERVER, merchant=shop
        ),
    ),
    (
        "ix_intent_flagged",
        lambda c, _: queries.intents(c, PaymentIntentFilters(attention=True), server_info=SERVER),
    ),
    ("ix_intent_wake_burn_height", lambda c, shop: due_intents.count_set_aside(c, merchant=shop)),
    ("ix_intent_wake_height", lambda c, shop: due_intents.count_due(c, BEFORE_THE_CHAIN, merchant=shop)),
]


@pytest.mark.parametrize(("index", "ask"), FEW_OF_MANY)
def test_few_rows_of_many_are_found_by_what_makes_them_few(
    fixture: LedgerFixture, index: str, ask: Callable[[Any, str], Any]
) -> None:
    """Not among all that the merchant has: pages look for these every few seconds."""
    with plans(fixture) as found, fixture.database.read() as connection:
        ask(connection, fixture.merchant)
    assert index in " ".join(found[0][1]), found[0]
    assert "ix_intent_merchant" not in " ".join(found[0][1])


def test_a_reference_is_looked_up_over_all_merchants(fixture: LedgerFixture) -> None:
    with plans(fixture) as found, fixture.database.read() as connection:
        queries.intents(connection, PaymentIntentFilters(reference="inv-1"), server_info=SERVER)
    assert "ix_intent_reference" in found[0][1][0]


@pytest.mark.parametrize("whose", ["merchant", "everyone"])
def test_statistics_scan_no_big_table(fixture: LedgerFixture, whose: str) -> None:
    with plans(fixture) as found, fixture.services(fixture.merchant if whose == "merchant" else None) as all_:
        all_.statistics()
    assert scans(found) == []
    used = " ".join(step for _, steps in found for step in steps)
    if whose == "merchant":
        assert "ix_intent_attention" in used
    assert len(found) > 5


def test_status_scans_no_big_table(fixture: LedgerFixture) -> None:
    with plans(fixture) as found:
        status_service.status(fixture.database, fixture.settings, now=fixture.clock())
    assert scans(found) == []
    assert len(found) > 5
