"""Payments intended by pending transactions, read like mined ones."""

from dataclasses import replace

import pytest

from chain.api.parse_mempool import PendingTx
from chain.clarity import Buffer, NoneValue, PrincipalValue, Some, UInt, encode
from chain.model import STX, ContractCall, TransferEvent
from contracts.mempool import PendingPayment, read_pending
from contracts.model import Route
from contracts.terms import terms_hash
from tests.unit.contracts.simnet import ALICE, BOB, FAKE, MERCHANT, PAYMENTS, RULES, SBTC, SBTC_ASSET

TX = "0x" + "ab" * 32
SALT = bytes(range(16))
MEMO = b"K7Q2M8ZR4T9C"
TERMS = (PrincipalValue.parse(MERCHANT), UInt(1000), UInt(4102444800), Buffer(SALT))
TRANSFER = (UInt(1000), PrincipalValue.parse(ALICE), PrincipalValue.parse(MERCHANT), Some(Buffer(MEMO)))


def call(contract, function, *args):
    return PendingTx(
        tx_id=TX,
        sender=ALICE,
        call=ContractCall(contract_id=contract, function=function, args=tuple(map(encode, args))),
    )


def transfer(**changes):
    event = TransferEvent(rank=0, asset=STX, sender=ALICE, recipient=MERCHANT, amount=1000, memo=MEMO)
    return PendingTx(tx_id=TX, sender=ALICE, transfer=replace(event, **changes))


PAID = PendingPayment(
    tx_id=TX,
    asset=SBTC_ASSET,
    sender=ALICE,
    recipient=MERCHANT,
    amount=1000,
    route=Route.TRANSFER,
    memo=MEMO,
)


def test_a_tokens_transfer_means_to_pay_under_its_memo():
    assert read_pending(call(SBTC, "transfer", *TRANSFER), RULES) == PAID


def test_a_tokens_transfer_is_the_arguments_sender_as_its_event_will_say():
    args = (TRANSFER[0], PrincipalValue.parse(BOB), *TRANSFER[2:])
    assert read_pending(call(SBTC, "transfer", *args), RULES) == replace(PAID, sender=BOB)


def test_a_transfer_without_a_memo_means_to_pay_too():
    args = (*TRANSFER[:3], NoneValue())
    assert read_pending(call(SBTC, "transfer", *args), RULES) == replace(PAID, memo=None)


def test_a_transfer_of_stx_means_to_pay_under_its_memo():
    assert read_pending(transfer(), RULES) == replace(PAID, asset=STX)


@pytest.mark.parametrize(
    ("function", "args", "asset", "token"),
    [("pay-token", (PrincipalValue.parse(SBTC), *TERMS), SBTC_ASSET, SBTC), ("pay-stx", TERMS, STX, None)],
)
def test_the_payment_contract_means_to_pay_under_the_terms(function, args, asset, token):
    digest = terms_hash(amount=1000, expires_at=4102444800, merchant=MERCHANT, salt=SALT, token=token)
    assert read_pending(call(PAYMENTS, function, *args), RULES) == replace(
        PAID, asset=asset, route=Route.CONTRACT, memo=None, terms_hash=digest
    )


@pytest.mark.parametrize(
    "tx",
    [
        call(FAKE, "transfer", *TRANSFER),
        call(SBTC, "mint", *TRANSFER),
        call(SBTC, "transfer", *TRANSFER[:3]),
        call(PAYMENTS, "refund-token", PrincipalValue.parse(SBTC), *TERMS),
        call(PAYMENTS, "pay-token", PrincipalValue.parse(FAKE), *TERMS),
        call(PAYMENTS, "pay-token", *TERMS),
        PendingTx(tx_id=TX, sender=ALICE, call=ContractCall(contract_id=SBTC, function="transfer")),
        PendingTx(tx_id=TX, sender=ALICE),
    ],
)
def test_everything_else_means_nothing(tx):
    assert read_pending(tx, RULES) is None


def test_an_asset_that_is_not_in_use_is_not_money():
    rules = replace(RULES, assets=frozenset({SBTC_ASSET}))
    assert read_pending(transfer(), rules) is None
    assert read_pending(call(PAYMENTS, "pay-stx", *TERMS), rules) is None


def test_ignored_senders_never_mean_to_pay():
    rules = replace(RULES, ignored_senders=frozenset({ALICE}))
    assert read_pending(transfer(), rules) is None
    assert read_pending(call(SBTC, "transfer", *TRANSFER), rules) is None
    args = (TRANSFER[0], PrincipalValue.parse(BOB), *TRANSFER[2:])
    assert read_pending(call(SBTC, "transfer", *args), rules) is not None
