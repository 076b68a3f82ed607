"""What people and programs see: whole documents, filters that mean what they say, pages that stay whole."""

import json
from typing import Any

import pytest
from sqlalchemy import update

from chain.testing import principal, txs
from tests import harness
from tests.integration.watcher.ledger_fixture import PAYER, SHOP, START, World
from watcher.domain.model import Flag, Status
from watcher.errors import NotFound, Refused
from watcher.schemas import PaymentIntentFilters, TransferFilters
from watcher.services import queries
from watcher.store.schema import intent


def listed(world: World, **filters: Any) -> list[str]:
    """Return the ids of a page of intents."""
    return [intent["id"] for intent in page(world, **filters)["data"]]


def page(world: World, **filters: Any) -> dict[str, Any]:
    with world.database.read() as connection:
        whose = filters.pop("merchant", None)
        asked = PaymentIntentFilters(**filters)
        return queries.intents(connection, asked, payment_contract=None, merchant=whose)


def transfers(world: World, **filters: Any) -> dict[str, Any]:
    with world.database.read() as connection:
        whose = filters.pop("merchant", None)
        return queries.transfers(connection, TransferFilters(**filters), merchant=whose)


def test_one_intent_is_shown_to_its_merchant_only(world: World) -> None:
    intent = world.create()
    with world.database.read() as connection:
        assert (
            queries.intent(connection, intent, payment_contract=None, merchant=world.merchant)["id"] == intent
        )
        for wrong in ({"intent_id": "pi_X"}, {"intent_id": intent, "merchant": "mer_X"}):
            with pytest.raises(NotFound):
                queries.intent(connection, payment_contract=None, **wrong)


def test_a_list_shows_what_a_single_look_shows(world: World) -> None:
    paid = world.create(level="anchored")
    world.create()
    world.mine(txs.sbtc_transfer(PAYER, SHOP, 50_000, world.memo(paid)))
    with world.database.read() as connection:
        data = queries.intents(connection, PaymentIntentFilters(), payment_contract=harness.PAYMENT_CONTRACT)[
            "data"
        ]
    assert data == [world.show(intent["id"]) for intent in data]
    assert json.loads(json.dumps(data)) == data


def test_lists_are_newest_first_and_filtered(world: World) -> None:
    other = world.add_merchant("Other", principal("other shop"))
    pending, canceled, theirs = world.create(), world.create(), world.create(other, reference="inv-1")
    world.cancel(canceled)
    assert listed(world) == [theirs, canceled, pending]
    assert listed(world, merchant=world.merchant) == [canceled, pending]
    assert listed(world, status=Status.PENDING) == [theirs, pending]
    assert listed(world, merchant=world.merchant, status=Status.CANCELED) == [canceled]
    assert listed(world, merchant="mer_X") == []


def test_a_flag_is_found_exactly(world: World) -> None:
    late, evidence = world.create(expires_in=1), world.create()
    world.pass_time(700)
    world.mine(txs.sbtc_transfer(PAYER, SHOP, 50_000, world.memo(late)))
    assert listed(world, flag=Flag.LATE) == [late]
    assert listed(world, flag=Flag.LATE_EVIDENCE) == []
    assert listed(world, flag=Flag.LATE, status=Status.PENDING) == []
    assert evidence


def test_every_flag_is_a_filter_that_finds_it_and_no_other(world: World) -> None:
    """Also where one flag's name begins with another's."""
    carrying = {flag: world.create() for flag in Flag}
    world.create()
    with world.database.begin() as connection:
        for flag, key in carrying.items():
            connection.execute(update(intent).where(intent.c.id == key).values(flags=[flag]))
    for flag, key in carrying.items():
        assert listed(world, flag=flag) == [key]


@pytest.mark.parametrize("typed", ["k7q2-m8zr-4tol", "K7Q2M8ZR4T01", " k7q2m8zr4t0l "])
def test_a_reference_is_found_as_payers_type_it(world: World, typed: str) -> None:
    own = world.create(reference="Inv-1")
    looks_generated = world.create(reference="K7Q2M8ZR4T01")
    assert listed(world, reference="inv-1 ") == [own]
    assert listed(world, reference="inv1") == []
    assert looks_generated in listed(world, reference="k7q2m8zr4t01")
    assert listed(world, reference=typed) == ([] if "l" in typed else [looks_generated])


def test_a_generated_reference_is_found_with_its_look_alikes(world: World) -> None:
    intent = world.create()
    reference = world.show(intent)["reference"]
    typed = reference.replace("0", "o").replace("1", "l").lower()
    assert listed(world, reference=f"{typed[:4]}-{typed[4:]}") == [intent]


def test_the_created_range_begins_inclusive_and_ends_exclusive(world: World) -> None:
    made = []
    for second in range(3):
        world.clock.now = START + second
        made.append(world.create())
    assert listed(world, created_from=START + 1, created_to=START + 2) == [made[1]]
    assert listed(world, created_from=START + 1) == [made[2], made[1]]
    assert listed(world, created_to=START) == []


@pytest.mark.parametrize(
    "metadata",
    [{"order": "1"}, {"a": 'x","order":"1"'}, {"ключ": "é"}, {"order": "1", "more": "2"}, {"%": "_"}],
)
def test_metadata_are_found_exactly(world: World, metadata: dict[str, str]) -> None:
    intent = world.create(metadata=metadata | {"noise": "n"})
    decoys = [{"order": "11"}, {"order": "2"}, {"Order": "1"}, {"x": '"order":"1"'}, {}, {"_": "%"}]
    for decoy in decoys:
        world.create(metadata=decoy)
    assert listed(world, metadata=metadata) == [intent]


def test_pages_stay_whole_while_intents_are_added(world: World) -> None:
    made = [world.create() for _ in range(5)]
    seen, cursor = [], None
    for _ in range(3):
        answer = page(world, limit=2, cursor=cursor)
        seen += [intent["id"] for intent in answer["data"]]
        cursor = answer["next_cursor"]
        world.create()
    assert cursor is None
    assert seen == made[::-1]


def test_a_page_that_is_just_full_is_the_last(world: World) -> None:
    for _ in range(3):
        world.create()
    assert len(page(world, limit=1)["data"]) == 1
    assert page(world, limit=3)["next_cursor"] is None


@pytest.mark.parametrize("limit", [0, -1, 101, 10**9, "0", "1e1", True, 1.5, None])
def test_a_page_has_1_to_100_rows(limit: object) -> None:
    for filters in (PaymentIntentFilters, TransferFilters):
        with pytest.raises(Refused, match=r"^limit: .* write 1 to 100$"):
            filters.of({"limit": limit})


def test_transfers_are_listed_newest_first_with_why_they_are_unmatched(world: World) -> None:
    intent = world.create()
    world.mine(txs.sbtc_transfer(PAYER, SHOP, 50_000, world.memo(intent)))
    world.mine(txs.sbtc_transfer(PAYER, SHOP, 7, b"caf\xe9"))
    unmatched, matched = transfers(world)["data"]
    assert (matched["intent"], matched["unmatched"], matched["amount"]) == (intent, None, "50000")
    assert (unmatched["intent"], unmatched["unmatched"]) == (None, "no_intent")
    assert unmatched["memo"] == {"hex": f"0x{b'caf'.hex()}e9", "text": None}
    assert unmatched["confirmations"] == {"stacks": 1, "bitcoin": 0}
    assert transfers(world, unmatched=True)["data"] == [unmatched]
    assert transfers(world, merchant="mer_X")["data"] == []
    assert transfers(world, limit=1)["next_cursor"] == unmatched["id"]
    assert transfers(world, cursor=unmatched["id"])["data"] == [matched]
    with world.database.read() as connection:
        assert queries.transfer(connection, matched["id"], merchant=world.merchant) == matched
        with pytest.raises(NotFound):
            queries.transfer(connection, matched["id"], merchant="mer_X")
    assert json.loads(json.dumps(matched)) == matched


def test_orphaned_money_is_not_unmatched_money(world: World) -> None:
    world.mine(txs.sbtc_transfer(PAYER, SHOP, 7))
    world.fork(1, [[], []])
    assert transfers(world, unmatched=True)["data"] == []
    assert [(row["status"], row["confirmations"]) for row in transfers(world)["data"]] == [("orphaned", None)]
