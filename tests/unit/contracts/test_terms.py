"""The terms hash against the contract's own, and the call for the wallet."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain.clarity import decode
from chain.clarity_repr import to_repr
from chain.model import MAX_AMOUNT, STX
from contracts.calls import read_payment_call
from contracts.post_conditions import post_conditions
from contracts.terms import arguments, payment_call, terms_hash

SBTC = "SM3VDXK3WZZSA84XXFKAFAF15NNZX32CTSG82JFQ4.sbtc-token"
MERCHANT = "ST1PQHQKV0RJXZFY1DGX8MNSNYVE3VGZJSRTPGZGM"
PAYER = "STFKSP9P3EV5GPQNVNGXPS8F732CYH63ZBNTS8NK"
PAYMENTS = f"{MERCHANT}.sbtc-payments"
SALT = bytes.fromhex("00112233445566778899aabbccddeeff")
TERMS = {"amount": 150000, "expires_at": 4102444800, "merchant": MERCHANT, "salt": SALT, "token": SBTC}


def test_the_hash_is_the_one_that_the_contract_computed_in_a_simnet():
    assert terms_hash(**TERMS).hex() == "0ce0dc3334ab025f576dd0622408ed93c2f53be78a5767a0946e721b21978ad8"


@pytest.mark.parametrize(
    "change",
    [
        {"amount": 150001},
        {"expires_at": 4102444801},
        {"merchant": PAYER},
        {"salt": SALT[::-1]},
        {"token": None},
        {"token": f"{MERCHANT}.sbtc-token"},
    ],
)
def test_every_term_changes_the_hash(change):
    assert terms_hash(**TERMS | change) != terms_hash(**TERMS)


@pytest.mark.parametrize(
    "change",
    [
        {"amount": -1},
        {"amount": MAX_AMOUNT + 1},
        {"merchant": "nobody"},
        {"token": MERCHANT[:-1]},
        {"salt": b""},
        {"salt": bytes(17)},
    ],
)
def test_impossible_terms_have_no_hash(change):
    with pytest.raises(ValueError):
        terms_hash(**TERMS | change)


def test_pay_token_takes_its_arguments_in_this_order():
    assert [(a.name, a.type, a.value) for a in arguments(**TERMS)] == [
        ("token", "principal", SBTC),
        ("merchant", "principal", MERCHANT),
        ("amount", "uint", "150000"),
        ("expires-at", "uint", "4102444800"),
        ("salt", "buffer", "0x00112233445566778899aabbccddeeff"),
    ]


def test_pay_stx_takes_no_token():
    assert arguments(**TERMS | {"token": None}) == arguments(**TERMS)[1:]


def test_the_hex_of_an_argument_is_its_value_in_consensus_bytes():
    shown = [to_repr(decode(bytes.fromhex(a.hex.removeprefix("0x")))) for a in arguments(**TERMS)]
    assert shown == [f"'{SBTC}", f"'{MERCHANT}", "u150000", "u4102444800", f"0x{SALT.hex()}"]


@given(
    amount=st.integers(0, MAX_AMOUNT),
    expires_at=st.integers(0, MAX_AMOUNT),
    salt=st.binary(min_size=16, max_size=16),
    token=st.sampled_from([SBTC, None]),
)
def test_the_arguments_we_hand_out_are_read_back_as_the_same_terms(amount, expires_at, salt, token):
    terms = {"amount": amount, "expires_at": expires_at, "merchant": MERCHANT, "salt": salt, "token": token}
    raw = [bytes.fromhex(a.hex.removeprefix("0x")) for a in arguments(**terms)]
    call = read_payment_call("pay-stx" if token is None else "pay-token", raw)
    assert call is not None
    assert (call.token, call.merchant, call.amount) == (token, MERCHANT, amount)
    assert call.terms_hash == terms_hash(**terms)


@pytest.mark.parametrize(
    ("asset", "function", "count"), [(f"{SBTC}::sbtc-token", "pay-token", 5), (STX, "pay-stx", 4)]
)
def test_the_call_of_an_intent_is_plain_json(asset, function, count):
    call = payment_call(
        contract_id=PAYMENTS,
        amount=150000,
        expires_at=4102444800,
        merchant=MERCHANT,
        salt=SALT,
        asset=asset,
        payer=None,
    )
    assert list(call) == ["contract_id", "function", "arguments", "post_condition_mode", "post_conditions"]
    assert (call["contract_id"], call["function"]) == (PAYMENTS, function)
    assert len(call["arguments"]) == count
    assert all(list(argument) == ["name", "type", "value", "hex"] for argument in call["arguments"])
    assert call["post_condition_mode"] == "deny"
    assert call["post_conditions"] == post_conditions(amount=150000, asset=asset, payer=None)
