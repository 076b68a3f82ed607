"""Failed calls: the payments they intended; malformed ones intend none."""

from dataclasses import replace

import pytest

from chain.address import Principal
from chain.clarity import Buffer, Int, NoneValue, PrincipalValue, Some, StringAscii, UInt
from chain.model import MAX_AMOUNT, STX, TxStatus
from contracts.terms import terms_hash
from tests.unit.contracts.simnet import (
    ALICE,
    BOB,
    FAKE,
    MERCHANT,
    PAYMENTS,
    RULES,
    SBTC,
    SBTC_ASSET,
    failed,
    read,
)

SALT = bytes(range(16))
TO_MERCHANT = PrincipalValue.parse(MERCHANT)
FROM_ALICE = PrincipalValue.parse(ALICE)
TOKEN = PrincipalValue.parse(SBTC)
TERMS = (TO_MERCHANT, UInt(1000), UInt(4102444800), Buffer(SALT))
MEMO = Some(Buffer(b"K7Q2M8ZR4T9C"))
TRANSFER = (UInt(1000), FROM_ALICE, TO_MERCHANT, MEMO)
UNUSED_VERSION = PrincipalValue(Principal(31, bytes(20)))


def attempts(*args, contract=PAYMENTS, function="pay-token", rules=RULES, **changes):
    reading = read(replace(failed(contract, function, *args), **changes), rules=rules)
    assert reading.payments == ()
    return reading.attempts


@pytest.mark.parametrize(
    ("function", "args", "asset", "token"),
    [("pay-token", (TOKEN, *TERMS), SBTC_ASSET, SBTC), ("pay-stx", TERMS, STX, None)],
)
def test_a_failed_contract_payment_names_its_terms(function, args, asset, token):
    [attempt] = attempts(*args, function=function)
    assert (attempt.asset, attempt.recipient, attempt.amount) == (asset, MERCHANT, 1000)
    assert (attempt.sender, attempt.reason, attempt.memo) == (ALICE, "abort_by_response", None)
    assert attempt.terms_hash == terms_hash(
        amount=1000, expires_at=4102444800, merchant=MERCHANT, salt=SALT, token=token
    )


@pytest.mark.parametrize(
    ("function", "args"),
    [
        ("pay-token", ()),
        ("pay-token", TERMS),
        ("pay-token", (TOKEN, *TERMS, UInt(1))),
        ("pay-token", (Buffer(b""), *TERMS)),
        ("pay-token", (PrincipalValue.parse(FAKE), *TERMS)),
        ("pay-token", (FROM_ALICE, *TERMS)),
        ("pay-token", (UNUSED_VERSION, *TERMS)),
        ("pay-token", (b"", *TERMS)),
        ("pay-stx", ()),
        ("pay-stx", (TOKEN, *TERMS)),
        ("pay-stx", (UNUSED_VERSION, *TERMS[1:])),
        ("pay-stx", (TO_MERCHANT, Int(1000), *TERMS[2:])),
        ("pay-stx", (*TERMS[:3], Buffer(b"short"))),
        ("pay-stx", (*TERMS[:3], StringAscii("0123456789abcdef"))),
        ("pay-stx", (*TERMS[:3], b"\x02\xff\xff\xff\xff")),
        ("refund-token", (TOKEN, *TERMS)),
        ("refund-stx", TERMS),
        ("transfer", TRANSFER),
    ],
)
def test_a_call_that_names_no_terms_is_no_attempt(function, args):
    assert attempts(*args, function=function) == ()


def test_the_same_call_of_another_contract_is_no_attempt():
    assert attempts(TOKEN, *TERMS, contract=FAKE) == ()
    assert attempts(TOKEN, *TERMS, rules=replace(RULES, payment_contract=None)) == ()


@pytest.mark.parametrize("memo", [None, b"", b"K7Q2M8ZR4T9C", b"x" * 34])
def test_a_failed_transfer_of_a_configured_token_keeps_its_memo(memo):
    optional = NoneValue() if memo is None else Some(Buffer(memo))
    [attempt] = attempts(*TRANSFER[:3], optional, contract=SBTC, function="transfer")
    assert (attempt.asset, attempt.recipient, attempt.amount) == (SBTC_ASSET, MERCHANT, 1000)
    assert (attempt.memo, attempt.terms_hash) == (memo, None)


def test_an_attempt_is_the_transactions_senders_whomever_the_argument_names():
    """The argument may hold any address; only the transaction's sender has signed."""
    [attempt] = attempts(*TRANSFER, contract=SBTC, function="transfer", sender=BOB)
    assert attempt.sender == BOB


def test_an_absurd_amount_is_kept():
    [attempt] = attempts(UInt(MAX_AMOUNT), *TRANSFER[1:], contract=SBTC, function="transfer")
    assert attempt.amount == MAX_AMOUNT


@pytest.mark.parametrize(
    "args",
    [
        (),
        TRANSFER[:3],
        (*TRANSFER, UInt(1)),
        (Int(1000), *TRANSFER[1:]),
        (UInt(1000), Buffer(b""), TO_MERCHANT, MEMO),
        (UInt(1000), FROM_ALICE, StringAscii(MERCHANT), MEMO),
        (*TRANSFER[:3], MEMO.value),
        (*TRANSFER[:3], Some(StringAscii("memo"))),
        (*TRANSFER[:3], Some(Buffer(b"x" * 35))),
        (*TRANSFER[:3], b"\xff"),
    ],
)
def test_a_transfer_with_odd_arguments_is_no_attempt(args):
    assert attempts(*args, contract=SBTC, function="transfer") == ()


def test_other_functions_and_tokens_are_no_attempt():
    assert attempts(*TRANSFER, contract=SBTC, function="transfer-many") == ()
    assert attempts(*TRANSFER, contract=FAKE, function="transfer") == ()


@pytest.mark.parametrize(
    ("status", "reasons"),
    [
        (TxStatus.SUCCESS, []),
        (TxStatus.UNKNOWN, []),
        (TxStatus.ABORT_BY_RESPONSE, ["abort_by_response"]),
        (TxStatus.ABORT_BY_POST_CONDITION, ["abort_by_post_condition"]),
        (TxStatus.PROBLEMATIC_SKIPPED, ["problematic_skipped"]),
    ],
)
def test_only_a_known_failure_is_an_attempt(status, reasons):
    assert [a.reason for a in attempts(TOKEN, *TERMS, status=status)] == reasons


def test_without_a_call_or_its_arguments_there_is_no_attempt():
    unread = replace(failed(SBTC, "transfer").call, args=None)
    assert attempts(call=None) == ()
    assert attempts(call=unread) == ()


def test_an_asset_is_chosen_by_contract_and_the_same_one_each_time():
    rules = replace(RULES, assets=frozenset({f"{SBTC}::b", f"{SBTC}::a"}))
    [attempt] = attempts(*TRANSFER, contract=SBTC, function="transfer", rules=rules)
    assert attempt.asset == f"{SBTC}::a"


def test_stx_calls_are_attempts_only_while_stx_is_in_use():
    rules = replace(RULES, assets=frozenset({SBTC_ASSET}))
    assert attempts(*TERMS, function="pay-stx", rules=rules) == ()


def test_a_call_whose_status_is_unknown_is_in_doubt():
    """Whether it paid or failed is unknown: it counts as neither."""
    reading = read(replace(failed(SBTC, "transfer", *TRANSFER), status=TxStatus.UNKNOWN))
    assert (reading.payments, reading.attempts) == ((), ())
    assert [(fact.recipient, fact.amount, fact.memo) for fact in reading.unknown_status] == [
        (MERCHANT, 1000, b"K7Q2M8ZR4T9C")
    ]
