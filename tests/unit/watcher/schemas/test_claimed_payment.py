"""The body of an event as anyone may have written it: read, or refused in plain words."""

import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.events import API_VERSION, MAX_BODY_BYTES
from watcher.schemas.base import EXAMPLE_ADDRESS
from watcher.schemas.claimed_payment import MAX_TRANSFERS, read_event
from watcher.schemas.payment_intents import PaymentIntent

Json = Any


def event(**changes: Any) -> Json:
    """Return an event about the intent of the description's example."""
    intent = json.loads(json.dumps(PaymentIntent.model_config["json_schema_extra"]["examples"][0]))  # type: ignore[index, call-overload]
    return {
        "id": "evt_01JD4P2Z4C5RK6W1V3S7X8Y9ZM",
        "type": "payment.succeeded",
        "timestamp": "2026-11-20T12:02:00.000Z",
        "api_version": API_VERSION,
        "sequence": 2,
        "data": {
            "payment_intent": intent,
            "previous_status": "processing",
            "reason": None,
            "supersedes": None,
            "chain": {"network": "mainnet", "tip_height": 5012346, "tip_hash": "0x", "burn_block_height": 1},
        },
    } | changes


def read(document: Json) -> Any:
    return read_event(json.dumps(document).encode())


def test_an_event_is_read_as_what_it_claims() -> None:
    """The transfers that count, and what the intent requires of them."""
    claimed = read(event())
    assert (claimed.event_type, claimed.network.name, claimed.is_success, claimed.is_manual) == (
        "payment.succeeded",
        "mainnet",
        True,
        False,
    )
    assert (claimed.intent.amount, claimed.intent.required.stacks, claimed.intent.reference_generated) == (
        50_000,
        1,
        True,
    )
    [transfer] = claimed.transfers
    assert (transfer.height, transfer.burn_height, transfer.amount) == (5012344, 925001, 50_000)
    assert (claimed.unlisted, claimed.payment_contract, claimed.tip_height) == (0, None, 5012346)


def test_events_of_earlier_versions_are_read() -> None:
    """Fields that came later may be missing, and fields of later versions are ignored."""
    document = event(livemode=True)
    for name in ("assigned", "verified_by"):
        del document["data"]["payment_intent"]["transfers"][0][name]
    document["data"]["payment_intent"]["news"] = {"a": [1]}
    assert read(document).transfers[0].assigned is False


def test_orphaned_transfers_are_told_from_canonical_ones() -> None:
    """The same transfer may be orphaned in one block, or several, and canonical in another."""
    document = event()
    orphaned = {**transfer_of(document), "status": "orphaned", "confirmations": None}
    document["data"]["payment_intent"]["transfers"] += [orphaned, orphaned | {"block_hash": "0x" + "ee" * 32}]
    assert [transfer.is_orphaned for transfer in read(document).transfers] == [False, True, True]


def test_what_it_had_no_room_to_list_is_counted() -> None:
    """The totals count all transfers."""
    document = event()
    document["data"]["payment_intent"]["transfers_total"] = 7
    assert read(document).unlisted == 6
    document["data"]["payment_intent"]["transfers_total"] = -7
    assert read(document).unlisted == 0


@pytest.mark.parametrize(
    ("kind", "status", "is_success"),
    [
        ("payment.succeeded", "processing", True),
        ("payment.attention", "succeeded", True),
        ("payment.attention", "processing", False),
        ("payment.failed", "failed", False),
    ],
)
def test_a_success_is_claimed_by_type_or_status(kind: str, status: str, is_success: bool) -> None:
    """An event that says so in either way has to have the money."""
    document = event(type=kind)
    document["data"]["payment_intent"]["status"] = status
    assert read(document).is_success is is_success


def refunded() -> Json:
    """Return an event about a refund."""
    document = event(type="payment.refunded")
    back = {**transfer_of(document), "tx_id": "0x" + "cc" * 32, "amount": "500", "recipient": EXAMPLE_ADDRESS}
    document["data"]["payment_intent"].update(refunds=[back], refunds_total=1)
    document["data"]["refund"] = {"amount": "500", "tx_id": back["tx_id"]}
    return document


def test_a_refund_is_read_with_its_recipient() -> None:
    """It is among the refunds that count; an event of an earlier version lists none."""
    claimed = read(refunded())
    [refund] = claimed.refunds
    assert claimed.is_success
    assert (refund.amount, refund.recipient) == (500, EXAMPLE_ADDRESS)
    document = refunded()
    document["data"]["payment_intent"]["refunds"][0]["status"] = "orphaned"
    assert read(document).refunds[0].is_orphaned


@pytest.mark.parametrize("named", [None, [], {}, {"amount": 500}, {"amount": "5", "tx_id": "0x" + "cc" * 32}])
def test_an_event_lists_the_refund_that_it_is_about(named: Json) -> None:
    """Unless it had no room to list all."""
    document = refunded()
    document["data"]["refund"] = named
    with pytest.raises(ValueError, match="about a refund that it does not list"):
        read(document)
    document["data"]["payment_intent"]["refunds_total"] = 60
    assert len(read(document).refunds) == 1


def transfer_of(document: Json) -> Json:
    return document["data"]["payment_intent"]["transfers"][0]


def intent_of(document: Json) -> Json:
    return document["data"]["payment_intent"]


@pytest.mark.parametrize(
    ("alter", "told"),
    [
        (lambda e: e["data"]["chain"].update(network="\x1b[2J"), r"the network '\x1b[2J' is unknown"),
        (lambda e: e["data"]["chain"].update(tip_height=-1), "-1 is no height"),
        (lambda e: e.update(id="evt_\x1b"), r"'evt_\x1b' is not an id"),
        (lambda e: e.update(id=None), "None is not an id"),
        (lambda e: e.update(data=[]), "data: Input should be an object"),
        (lambda e: intent_of(e).update(amount=True), "data.payment_intent.amount: "),
        (lambda e: intent_of(e).update(amount="-5"), "data.payment_intent.amount: "),
        (lambda e: intent_of(e).update(amount=str(2**128)), "the amount is too large"),
        (lambda e: intent_of(e).update(tolerance="50000"), "the tolerance is not below the amount"),
        (lambda e: intent_of(e).update(recipient="SP\u202e"), "recipient: "),
        (lambda e: intent_of(e).update(payer="x" * 5000), "payer: "),
        (lambda e: intent_of(e).update(reference="\x1b]0;"), "does not fit a memo"),
        (lambda e: intent_of(e).update(terms_hash="0x00"), "the terms hash has not 32 bytes"),
        (lambda e: intent_of(e).update(asset_identifier="x"), "asset_identifier: "),
        (lambda e: intent_of(e).update(match="any"), "data.payment_intent.match: "),
        (lambda e: intent_of(e).update(created_at="0001-01-01T00:00:00+14:00"), "years 1 to 9999"),
        (lambda e: intent_of(e).update(created_at=5), "data.payment_intent.created_at: "),
        (
            lambda e: intent_of(e)["confirmations"].update(required={"stacks": 0, "bitcoin": 0}),
            "the required confirmations are negative",
        ),
        (
            lambda e: intent_of(e)["confirmations"].update(required={"stacks": 1, "bitcoin": -1}),
            "the required confirmations are negative",
        ),
        (lambda e: transfer_of(e).update(tx_id="0xAB"), "data.payment_intent.transfers.0.tx_id: "),
        (lambda e: transfer_of(e).update(tx_id="0xab"), "the tx_id of a transfer has not 32 bytes"),
        (lambda e: transfer_of(e).update(block_hash="0x"), "the block_hash of a transfer has not 32 bytes"),
        (lambda e: transfer_of(e).update(block_height=10**90), "is no height"),
        (lambda e: transfer_of(e).update(event_index=-1), "-1 is no height or index"),
        (lambda e: transfer_of(e).update(event_index="0"), "transfers.0.event_index: "),
        (lambda e: transfer_of(e).update(event_index=True), "transfers.0.event_index: "),
        (lambda e: transfer_of(e).update(burn_block_height=1.5), "transfers.0.burn_block_height: "),
        (lambda e: transfer_of(e).update(sender="nobody"), "sender: "),
        (lambda e: intent_of(e).update(transfers={}), "data.payment_intent.transfers: "),
        (lambda e: intent_of(e)["transfers"].append(transfer_of(e)), "it lists a transfer twice"),
        (
            lambda e: intent_of(e).update(transfers=[transfer_of(e)] * (MAX_TRANSFERS + 1)),
            "it lists 101 transfers",
        ),
    ],
)
def test_what_is_wrong_with_an_event_is_said(alter: Callable[[Json], None], told: str) -> None:
    """In one bounded line that names the place."""
    document = event()
    alter(document)
    with pytest.raises(ValueError, match=r"^is no event: ") as caught:
        read(document)
    assert told in str(caught.value)
    assert len(str(caught.value)) < 600


def places(node: Json, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the paths of all values in a document."""
    below = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [path, *(place for key, value in below for place in places(value, (*path, key)))]


PLACES = [place for place in places(event()) if place]
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**99), 10**99),
    st.floats(allow_nan=False),
    st.text(max_size=40),
    st.just([[]]),
    st.just({"": {}}),
    st.sampled_from(["0x", "9" * 99, "SP" + "0" * 39, "2026-02-30T00:00:00Z", "9999-12-31T23:59:59-01:00"]),
)


@given(st.sampled_from(PLACES), VALUES)
def test_any_value_at_any_place_is_read_or_refused(place: tuple[Any, ...], value: Any) -> None:
    """No body makes the reader raise anything but ValueError."""
    document = event()
    node = document
    for key in place[:-1]:
        node = node[key]
    node[place[-1]] = value
    with suppress(ValueError):
        read(document)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b" " * (MAX_BODY_BYTES + 1), "has more than 262,144 bytes"),
        (b'{"type": "webhook.test"}', "is about no payment"),
        (b'{"type": "payment.succeeded", "test": true, "data": {}}', "is a test event"),
        (b'{"type": "payment.succeeded"}', "holds no data any more"),
    ],
)
def test_other_bodies_are_told_from_events(body: bytes, told: str) -> None:
    """What it is instead is said."""
    with pytest.raises(ValueError, match=told):
        read_event(body)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    """They are no event."""
    with pytest.raises(ValueError):
        read_event(body)
