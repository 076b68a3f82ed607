"""Refunds: our contract's print and the transfer back that it names, in one successful transaction."""

from dataclasses import replace

import pytest

from chain.clarity import (
    Buffer,
    Int,
    NoneValue,
    PrincipalValue,
    Some,
    StringAscii,
    StringUtf8,
    Tuple,
    UInt,
    encode,
)
from chain.model import MAX_AMOUNT, STX, TxStatus
from contracts.model import Refund, Route
from contracts.prints import read_payment_print, read_refund_print
from tests.unit.contracts.simnet import (
    ALICE,
    BOB,
    FAKE,
    MERCHANT,
    PAYMENTS,
    RULES,
    SBTC_ASSET,
    back,
    ft,
    header,
    payment_fields,
    payment_print,
    read,
    refund_fields,
    refund_print,
    said,
    succeeded,
    token_argument,
)

HASH = b"\x11" * 32


def refunds(*events, **rules):
    """Return terms hash and rank of a transaction's refunds."""
    reading = read(succeeded(*events), rules=replace(RULES, **rules))
    routes = [payment.rank for payment in reading.payments if payment.route is Route.REFUND]
    assert routes == [refund.rank for refund in reading.refunds]
    return [(refund.terms_hash, refund.rank) for refund in reading.refunds]


def test_a_refund_is_read_whole():
    [refund] = read(
        succeeded(refund_print(0), back(1), said(2, Buffer(HASH)), tx_index=4, sender=MERCHANT)
    ).refunds
    assert refund == Refund(
        block=header(),
        tx_id="0x" + "ab" * 32,
        tx_index=4,
        rank=1,
        asset=SBTC_ASSET,
        sender=MERCHANT,
        recipient=ALICE,
        amount=1000,
        terms_hash=HASH,
    )


def test_a_refund_in_stx_is_read():
    transfer = back(1, asset=STX, memo=HASH)
    [refund] = read(succeeded(refund_print(0, token=token_argument(None)), transfer)).refunds
    assert (refund.asset, refund.amount, refund.terms_hash) == (STX, 1000, HASH)


def test_the_transfer_of_a_refund_carries_no_label_of_a_payment():
    [payment] = read(succeeded(refund_print(0), back(1), said(2, Buffer(HASH)))).payments
    assert (payment.route, payment.terms_hash, payment.memo) == (Route.REFUND, None, None)


def test_a_print_without_the_transfer_is_no_refund():
    reading = read(succeeded(refund_print(0)))
    assert (reading.refunds, reading.payments) == ((), ())


def test_a_transfer_back_without_a_print_is_no_refund():
    reading = read(succeeded(back(0), said(1, Buffer(HASH))))
    assert reading.refunds == ()
    assert [(payment.route, payment.memo) for payment in reading.payments] == [(Route.TRANSFER, HASH)]


def test_a_refund_that_fails_is_nothing():
    done = succeeded(refund_print(0), back(1))
    for status in (TxStatus.ABORT_BY_RESPONSE, TxStatus.ABORT_BY_POST_CONDITION, TxStatus.UNKNOWN):
        assert read(replace(done, status=status)).refunds == ()


def test_another_contracts_print_is_no_refund():
    assert refunds(refund_print(0, contract=FAKE), back(1)) == []


def test_without_a_payment_contract_there_are_no_refunds():
    assert refunds(refund_print(0), back(1), payment_contract=None) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"amount": UInt(999)},
        {"amount": UInt(MAX_AMOUNT)},
        {"to": PrincipalValue.parse(BOB)},
        {"merchant": PrincipalValue.parse(BOB)},
        {"token": token_argument(FAKE)},
        {"token": token_argument(None)},
    ],
)
def test_a_print_of_other_money_is_no_refund(changes):
    assert refunds(refund_print(0, **changes), back(1)) == []


def test_a_transfer_of_a_look_alike_token_is_no_refund():
    look_alike = back(1, asset=f"{FAKE}::sbtc-token")
    assert refunds(refund_print(0), look_alike, back(2)) == [(HASH, 2)]


def test_a_transfer_before_the_print_is_no_refund():
    assert refunds(back(0), refund_print(1)) == []
    assert refunds(back(0), refund_print(1), back(2)) == [(HASH, 2)]


def test_two_refunds_in_one_transaction_have_their_own_labels():
    one = refund_print(0, intent_id=Buffer(b"\x01" * 32))
    other = refund_print(2, intent_id=Buffer(b"\x02" * 32))
    assert refunds(one, back(1), other, back(3)) == [(b"\x01" * 32, 1), (b"\x02" * 32, 3)]
    assert refunds(one, replace(other, rank=1), back(2), back(3)) == [(b"\x01" * 32, 2), (b"\x02" * 32, 3)]


def test_a_payment_and_a_refund_of_the_same_money_are_told_apart_by_their_order():
    """Two shops that pay each other: the one's refund and its payment go the same way."""
    paid = payment_print(0, payer=PrincipalValue.parse(MERCHANT), merchant=PrincipalValue.parse(ALICE))
    reading = read(succeeded(paid, back(1), refund_print(2, intent_id=Buffer(b"\x02" * 32)), back(3)))
    assert [(p.route, p.terms_hash) for p in reading.payments] == [
        (Route.CONTRACT, HASH),
        (Route.REFUND, None),
    ]
    assert [(r.rank, r.terms_hash) for r in reading.refunds] == [(3, b"\x02" * 32)]


def test_a_payment_beside_a_refund_keeps_its_label():
    reading = read(succeeded(refund_print(0), payment_print(1), ft(2), back(3)))
    assert [(p.route, p.rank) for p in reading.payments] == [(Route.CONTRACT, 2), (Route.REFUND, 3)]


def test_refunds_of_ignored_senders_are_no_payments_but_refunds_still():
    reading = read(
        succeeded(refund_print(0), back(1)), rules=replace(RULES, ignored_senders=frozenset({MERCHANT}))
    )
    assert (reading.payments, len(reading.refunds)) == ((), 1)


def test_refunds_come_in_chain_order():
    first = succeeded(refund_print(0), back(1), tx_id="0x01", tx_index=1)
    second = succeeded(refund_print(0), back(1), refund_print(2), back(3), tx_id="0x02", tx_index=2)
    order = [(refund.tx_index, refund.rank) for refund in read(first, second).refunds]
    assert order == [(1, 1), (2, 1), (2, 3)]


# The print.


@pytest.mark.parametrize("field", sorted(refund_fields()))
def test_a_print_without_one_of_its_fields_is_no_refund(field):
    assert refunds(refund_print(0, **{field: None}), back(1)) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"topic": StringAscii("payment")},
        {"topic": StringUtf8("refund")},
        {"version": UInt(2)},
        {"version": Int(1)},
        {"intent_id": Buffer(b"\x11" * 31)},
        {"intent_id": Buffer(b"\x11" * 33)},
        {"merchant": StringAscii(MERCHANT)},
        {"to": Some(PrincipalValue.parse(ALICE))},
        {"token": PrincipalValue.parse(PAYMENTS)},
        {"token": Some(NoneValue())},
        {"amount": Int(1000)},
        {"refunded_total": Int(1000)},
        {"stacks_height": Int(1)},
        {"burn_height": NoneValue()},
        {"more": UInt(1)},
    ],
)
def test_a_print_of_another_shape_is_no_refund(changes):
    assert refunds(refund_print(0, **changes), back(1)) == []


def test_the_two_prints_are_never_taken_for_each_other():
    assert read_payment_print(encode(Tuple.of(refund_fields()))) is None
    assert read_refund_print(encode(Tuple.of(payment_fields()))) is None
    assert read_refund_print(b"\xff") is None
