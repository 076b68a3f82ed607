"""What people and programs see: whole documents, filters that mean what they say, pages that stay whole."""

import json
from typing import Any

import pytest
from sqlalchemy import update

from chain.testing import principal, txs
from tests import harness
from tests.integration.watcher.ledger_fixture import PAYER, SHOP, START, LedgerFixture
from watcher.domain.model import Flag, Status
from watcher.domain.server_info import ServerInfo
from watcher.errors import NotFound, Refused
from watcher.schemas import PaymentIntentFilters, TransferFilters
from watcher.services import queries
from watcher.store import shown_facts
from watcher.store.schema import intent

SERVER = ServerInfo(network="mainnet")


def listed(fixture: LedgerFixture, **filters: Any) -> list[str]:
    """Return the ids of a page of intents."""
    return [intent["id"] for intent in page(fixture, **filters)["data"]]


def page(fixture: LedgerFixture, **filters: Any) -> dict[str, Any]:
    with fixture.database.read() as connection:
        whose = filters.pop("merchant", None)
        asked = PaymentIntentFilters(**filters)
        return queries.intents(connection, asked, server_info=SERVER, merchant=whose)


def transfers(fixture: LedgerFixture, **filters: Any) -> dict[str, Any]:
    with fixture.database.read() as connection:
        whose = filters.pop("merchant", None)
        return queries.transfers(connection, TransferFilters(**filters), merchant=whose)


def test_one_intent_is_shown_to_its_merchant_only(fixture: LedgerFixture) -> None:
    intent = fixture.create()
    with fixture.database.read() as connection:
        assert (
            queries.intent(connection, intent, server_info=SERVER, merchant=fixture.merchant)["id"] == intent
        )
        for wrong in ({"intent_id": "pi_X"}, {"intent_id": intent, "merchant": "mer_X"}):
            with pytest.raises(NotFound):
                queries.intent(connection, server_info=SERVER, **wrong)


def test_a_list_shows_what_a_single_look_shows(fixture: LedgerFixture) -> None:
    paid = fixture.create(level="anchored")
    fixture.create()
    fixture.mine(txs.sbtc_transfer(PAYER, SHOP, 50_000, fixture.memo(paid)))
    with fixture.database.read() as connection:
        data = queries.intents(connection, PaymentIntentFilters(), server_info=harness.SETTLER.server_info)[
            "data"
        ]
    assert data == [fixture.show(intent["id"]) for intent in data]
    assert json.loads(json.dumps(data)) == data


def test_lists_are_newest_first_and_filtered(fixture: LedgerFixture) -> None:
    other = fixture.add_merchant("Other", principal("other shop"))
    pending, canceled, theirs = fixture.create(), fixture.create(), fixture.create(other, reference="inv-1")
    fixture.cancel(canceled)
    assert listed(fixture) == [theirs, canceled, pending]
    assert listed(fixture, merchant=fixture.merchant) == [canceled, pending]
    assert listed(fixture, status=Status.PENDING) == [theirs, pending]
    assert listed(fixture, merchant=fixture.merchant, status=Status.CANCELED) == [canceled]
    assert listed(fixture, merchant="mer_X") == []


def test_a_flag_is_found_exactly(fixture: LedgerFixture) -> None:
    late, evidence = fixture.create(expires_in=1), fixture.create()
    fixture.pass_time(700)
    fixture.mine(txs.sbtc_transfer(PAYER, SHOP, 50_000, fixture.memo(late)))
    assert listed(fixture, flag=Flag.LATE) == [late]
    assert listed(fixture, flag=Flag.LATE_EVIDENCE) == []
    assert listed(fixture, flag=Flag.LATE, status=Status.PENDING) == []
    assert evidence


def test_every_flag_is_a_filter_that_finds_it_and_no_other(fixture: LedgerFixture) -> None:
    """Also where one flag's name begins with another's."""
    carrying = {flag: fixture.create() for flag in Flag}
    fixture.create()
    with fixture.database.begin() as connection:
        for flag, key in carrying.items():
            connection.execute(update(intent).where(intent.c.id == key).values(flags=[flag]))
    for flag, key in carrying.items():
        assert listed(fixture, flag=flag) == [key]


@pytest.mark.parametrize("typed", ["k7q2-m8zr-4tol", "K7Q2M8ZR4T01", " k7q2m8zr4t0l "])
def test_a_reference_is_found_as_payers_type_it(fixture: LedgerFixture, typed: str) -> None:
    own = fixture.create(reference="Inv-1")
    looks_generated = fixture.create(reference="K7Q2M8ZR4T01")
    assert listed(fixture, reference="inv-1 ") == [own]
    assert listed(fixture, reference="inv1") == []
    assert looks_generated in listed(fixture, reference="k7q2m8zr4t01")
    assert listed(fixture, reference=typed) == ([] if "l" in typed else [looks_generated])


def test_a_generated_reference_is_found_with_its_look_alikes(fixture: LedgerFixture) -> None:
    intent = fixture.create()
    reference = fixture.show(intent)["reference"]
    typed = reference.replace("0", "o").replace("1", "l").lower()
    assert listed(fixture, reference=f"{typed[:4]}-{typed[4:]}") == [intent]


def test_the_created_range_begins_inclusive_and_ends_exclusive(fixture: LedgerFixture) -> None:
    made = []
    for second in range(3):
        fixture.clock.now = START + second
        made.append(fixture.create())
    assert listed(fixture, created_from=START + 1, created_to=START + 2) == [made[1]]
    assert listed(fixture, created_from=START + 1) == [made[2], made[1]]
    assert listed(fixture, created_to=START) == []


@pytest.mark.parametrize(
    "metadata",
    [{"order": "1"}, {"a": 'x","order":"1"'}, {"ключ": "é"}, {"order": "1", "more": "2"}, {"%": "_"}],
)
def test_metadata_are_found_exactly(fixture: LedgerFixture, metadata: dict[str, str]) -> None:
    intent = fixture.create(metadata=metadata | {"noise": "n"})
    decoys = [{"order": "11"}, {"order": "2"}, {"Order": "1"}, {"x": '"order":"1"'}, {}, {"_": "%"}]
    for decoy in decoys:
        fixture.create(metadata=decoy)
    assert listed(fixture, metadata=metadata) == [intent]


def test_pages_stay_whole_while_intents_are_added(fixture: LedgerFixture) -> None:
    made = [fixture.create() for _ in range(5)]
    seen, cursor = [], None
    for _ in range(3):
        answer = page(fixture, limit=2, cursor=cursor)
        seen += [intent["id"] for intent in answer["data"]]
        cursor = answer["next_cursor"]
        fixture.create()
    assert cursor is None
    assert seen == made[::-1]


def test_a_page_that_is_just_full_is_the_last(fixture: LedgerFixture) -> None:
    for _ in range(3):
        fixture.create()
    assert len(page(fixture, limit=1)["data"]) == 1
    assert page(fixture, limit=3)["next_cursor"] is None


@pytest.mark.parametrize("limit", [0, -1, 101, 10**9, "0", "1e1", True, 1.5, None])
def test_a_page_has_1_to_100_rows(limit: object) -> None:
    for filters in (PaymentIntentFilters, TransferFilters):
        with pytest.raises(Refused, match=r"^limit: .* write 1 to 100$"):
            filters.of({"limit": limit})


def test_transfers_are_listed_newest_first_with_why_they_are_unmatched(fixture: LedgerFixture) -> None:
    intent = fixture.create()
    fixture.mine(txs.sbtc_transfer(PAYER, SHOP, 50_000, fixture.memo(intent)))
    fixture.mine(txs.sbtc_transfer(PAYER, SHOP, 7, b"caf\xe9"))
    unmatched, matched = transfers(fixture)["data"]
    assert (matched["intent"], matched["unmatched"], matched["amount"]) == (intent, None, "50000")
    assert (unmatched["intent"], unmatched["unmatched"]) == (None, "no_intent")
    assert unmatched["memo"] == {"hex": f"0x{b'caf'.hex()}e9", "text": None}
    assert unmatched["confirmations"] == {"stacks": 1, "bitcoin": 0}
    assert transfers(fixture, unmatched=True)["data"] == [unmatched]
    assert transfers(fixture, merchant="mer_X")["data"] == []
    assert transfers(fixture, limit=1)["next_cursor"] == unmatched["id"]
    assert transfers(fixture, cursor=unmatched["id"])["data"] == [matched]
    with fixture.database.read() as connection:
        assert queries.transfer(connection, matched["id"], merchant=fixture.merchant) == matched
        with pytest.raises(NotFound):
            queries.transfer(connection, matched["id"], merchant="mer_X")
    assert json.loads(json.dumps(matched)) == matched


def test_orphaned_money_is_not_unmatched_money(fixture: LedgerFixture) -> None:
    fixture.mine(txs.sbtc_transfer(PAYER, SHOP, 7))
    fixture.fork(1, [[], []])
    assert transfers(fixture, unmatched=True)["data"] == []
    assert [(row["status"], row["confirmations"]) for row in transfers(fixture)["data"]] == [
        ("orphaned", None)
    ]


def test_very_many_transfers_are_counted_and_some_are_read(
    fixture: LedgerFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first, the newest and the largest of them, so that what pays is among them; all are counted."""
    monkeypatch.setattr(shown_facts, "MAX_FACTS", 8)
    monkeypatch.setattr(shown_facts, "SHARE", 2)
    dusted, other = fixture.create(), fixture.create()
    amounts = [1, 2, 3, 4, 50_000, 5, 6, 7, 8, 9]
    for amount in amounts:
        fixture.mine(txs.sbtc_transfer(PAYER, SHOP, amount, fixture.memo(dusted)))
    failed = [txs.sbtc_transfer(PAYER, SHOP, 100 + n, fixture.memo(dusted)).failed() for n in range(9)]
    fixture.mine(*failed, txs.sbtc_transfer(PAYER, SHOP, 10, fixture.memo(other)))
    shown = fixture.show(dusted)
    assert [one["amount"] for one in shown["transfers"]] == ["1", "2", "50000", "8", "9"]
    assert (shown["transfers_total"], shown["attempts_total"]) == (10, 9)
    assert [one["tx_id"] for one in shown["attempts"]] == [tx.tx_id for tx in failed[-2:]]
    assert (shown["status"], shown["amount_received"]) == ("succeeded", str(sum(amounts)))
    assert page(fixture)["data"][1]["transfers_total"] == 10
    assert fixture.show(other)["transfers_total"] == 1
