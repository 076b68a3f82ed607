"""Labels of transfers; no foreign print, memo or token can give one."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
from chain.model import (
    MAX_AMOUNT,
    STX,
    Block,
    ContractCall,
    MintEvent,
    PrintEvent,
    Transaction,
    TransferEvent,
    TxStatus,
)
from contracts.model import Route
from contracts.payments import read_block
from tests.unit.contracts.simnet import (
    ALICE,
    BOB,
    FAKE,
    MERCHANT,
    PAYMENTS,
    REGISTRY,
    RULES,
    SBTC,
    SBTC_ASSET,
    failed,
    ft,
    header,
    payment_fields,
    payment_print,
    read,
    said,
    succeeded,
    token_argument,
)

MEMO = Buffer(b"K7Q2M8ZR4T9C")


def hashes(*events, **rules):
    """Return the terms hashes that a transaction's payments got, None for those without."""
    payments = read(succeeded(*events), rules=replace(RULES, **rules)).payments
    assert all((p.route is Route.CONTRACT) == (p.terms_hash is not None) for p in payments)
    return [p.terms_hash for p in payments]


def memos(*events, call=None):
    return [p.memo for p in read(succeeded(*events, call=call)).payments]


def transfer_call(
    *, contract=SBTC, amount=1000, sender=ALICE, recipient=MERCHANT, memo=None, function="transfer"
):
    values = (
        UInt(amount),
        PrincipalValue.parse(sender),
        PrincipalValue.parse(recipient),
        Some(memo) if memo else NoneValue(),
    )
    return ContractCall(contract_id=contract, function=function, args=tuple(map(encode, values)))


# The payment contract's print.


def test_our_print_labels_the_transfer_it_names():
    assert hashes(payment_print(0), ft(1), said(2, Buffer(b"\x11" * 32))) == [b"\x11" * 32]


def test_our_print_labels_an_stx_transfer_it_names():
    stx = ft(1, asset=STX, memo=b"\x11" * 32)
    [payment] = read(succeeded(payment_print(0, token=token_argument(None)), stx)).payments
    assert (payment.route, payment.asset, payment.terms_hash) == (Route.CONTRACT, STX, b"\x11" * 32)
    assert payment.memo == b"\x11" * 32


def test_a_print_of_another_contract_labels_nothing():
    assert hashes(payment_print(0, contract=FAKE), ft(1)) == [None]


def test_without_a_payment_contract_no_print_labels_anything():
    assert hashes(payment_print(0), ft(1), payment_contract=None) == [None]


@pytest.mark.parametrize(
    "changes",
    [
        {"amount": UInt(999)},
        {"amount": UInt(MAX_AMOUNT)},
        {"payer": PrincipalValue.parse(BOB)},
        {"merchant": PrincipalValue.parse(BOB)},
        {"token": token_argument(FAKE)},
        {"token": token_argument(None)},
    ],
)
def test_a_print_for_a_transfer_that_does_not_happen_labels_nothing(changes):
    assert hashes(payment_print(0, **changes), ft(1)) == [None]


def test_a_transfer_before_the_print_gets_no_label():
    assert hashes(ft(0), payment_print(1)) == [None]
    assert hashes(ft(0), payment_print(1), ft(2)) == [None, b"\x11" * 32]


def test_one_print_labels_one_transfer():
    assert hashes(payment_print(0), ft(1), ft(2)) == [b"\x11" * 32, None]


def test_two_equal_payments_with_two_prints_are_labelled_in_order():
    first, second = (payment_print(rank, intent_id=Buffer(bytes([n]) * 32)) for n, rank in ((1, 0), (2, 1)))
    assert hashes(first, second, ft(2), ft(3)) == [b"\x01" * 32, b"\x02" * 32]
    assert hashes(first, ft(1), replace(second, rank=2), ft(3)) == [b"\x01" * 32, b"\x02" * 32]


def test_a_look_alike_token_cannot_use_up_a_print():
    look_alike = ft(1, asset=f"{FAKE}::sbtc-token")
    assert hashes(payment_print(0), look_alike, ft(2)) == [None, b"\x11" * 32]


@pytest.mark.parametrize("field", sorted(payment_fields()))
def test_a_print_without_one_of_its_fields_labels_nothing(field):
    assert hashes(payment_print(0, **{field: None}), ft(1)) == [None]


@pytest.mark.parametrize("field", sorted(payment_fields()))
@pytest.mark.parametrize(
    "value", [Int(1), Some(UInt(1)), StringUtf8("payment"), Buffer(b"\x11" * 31)], ids=repr
)
def test_a_print_with_a_field_of_another_type_labels_nothing(field, value):
    assert hashes(payment_print(0, **{field: value}), ft(1)) == [None]


@pytest.mark.parametrize(
    "changes",
    [
        {"topic": StringAscii("refund")},
        {"version": UInt(2)},
        {"intent_id": Buffer(b"\x11" * 33)},
        {"more": UInt(1)},
    ],
)
def test_a_print_of_another_shape_labels_nothing(changes):
    assert hashes(payment_print(0, **changes), ft(1)) == [None]


@pytest.mark.parametrize(
    "data", [b"", b"\xff", b"\x0c\xff\xff\xff\xff", encode(UInt(1)), encode(StringAscii("payment"))]
)
def test_a_print_that_is_no_tuple_or_no_value_labels_nothing(data):
    assert hashes(said(0, data, PAYMENTS), ft(1)) == [None]


# Memos.


def test_the_tokens_own_print_directly_after_the_transfer_is_its_memo():
    assert memos(ft(0), said(1, MEMO)) == [MEMO.value]


@pytest.mark.parametrize(
    "events",
    [
        (said(0, MEMO), ft(1)),
        (ft(0), said(2, MEMO)),
        (ft(0), said(1, MEMO, contract=FAKE)),
        (ft(0), said(1, Some(MEMO))),
        (ft(0), said(1, Tuple.of({"memo": MEMO}))),
        (ft(0), said(1, encode(MEMO) + b"\0")),
        (ft(0), said(1, b"\x02\xff\xff\xff\xff")),
        (ft(0), said(1, Buffer(b"x" * 35))),
    ],
    ids=[
        "before",
        "not directly after",
        "stranger",
        "optional",
        "tuple",
        "left over",
        "huge length",
        "too long",
    ],
)
def test_any_other_print_is_no_memo(events):
    assert memos(*events) == [None]


def test_a_print_of_34_bytes_is_a_memo():
    assert memos(ft(0), said(1, Buffer(b"x" * 34))) == [b"x" * 34]


def test_a_look_alikes_memo_labels_its_own_transfer_only():
    """It is returned, so that the merchant can be notified of the wrong asset."""
    look_alike = ft(0, asset=f"{FAKE}::sbtc-token")
    payments = read(succeeded(look_alike, said(1, MEMO, contract=FAKE), ft(2))).payments
    assert [(p.asset, p.memo) for p in payments] == [(f"{FAKE}::sbtc-token", MEMO.value), (SBTC_ASSET, None)]


@pytest.mark.parametrize("memo", [None, b"", b"order-77" + bytes(26)])
def test_an_stx_transfer_carries_its_own_memo(memo):
    assert memos(ft(0, asset=STX, memo=memo), said(1, MEMO, contract=STX)) == [memo]


ROUTER = "SP3FBR2AGK5H9QBDH3EEN6DF8EK8JY7RX8QJ5SVTE.send-many-memo"


def routed(*events):
    """Return the memos of a transaction's payments where the router is known."""
    payments = read(succeeded(*events), rules=replace(RULES, memo_router=ROUTER)).payments
    return [payment.memo for payment in payments]


def test_the_routers_print_directly_after_an_stx_transfer_is_its_memo():
    """Exchanges pay many at once: each print belongs to the transfer just before it, never by counting."""
    events = [ft(0, asset=STX), said(1, MEMO, contract=ROUTER), ft(2, asset=STX), ft(3, asset=STX)]
    assert routed(*events, said(4, Buffer(b"B"), contract=ROUTER)) == [MEMO.value, None, b"B"]


@pytest.mark.parametrize(
    "events",
    [
        (said(0, MEMO, contract=ROUTER), ft(1, asset=STX)),
        (ft(0, asset=STX), said(2, MEMO, contract=ROUTER)),
        (ft(0, asset=STX), said(1, MEMO, contract=ROUTER.replace("SP3FB", "SP1P7"))),
        (ft(0, asset=STX), said(1, MEMO, contract=f"{ROUTER}-v2")),
        (ft(0, asset=STX), said(1, Buffer(b"x" * 35), contract=ROUTER)),
        (ft(0), said(1, MEMO, contract=ROUTER)),
    ],
    ids=["before", "not directly after", "another's", "another name", "too long", "a token's transfer"],
)
def test_no_other_print_is_the_memo_of_an_stx_transfer(events):
    """Only that contract labels STX, and only STX: anyone may deploy one that prints the same."""
    assert routed(*events) == [None]


def test_an_stx_transfers_own_memo_goes_before_the_routers_print():
    """A memo in the transfer itself is never replaced."""
    assert routed(ft(0, asset=STX, memo=b"A"), said(1, MEMO, contract=ROUTER)) == [b"A"]


def test_without_a_known_router_no_print_is_the_memo_of_an_stx_transfer():
    """A network without the router takes memos from transfers alone."""
    assert memos(ft(0, asset=STX), said(1, MEMO, contract=ROUTER)) == [None]


def test_stx_bytes_that_are_too_long_are_no_memo():
    assert memos(ft(0, asset=STX, memo=bytes(35))) == [None]


def test_a_token_that_prints_no_memo_gets_it_from_a_direct_call():
    assert memos(ft(0), call=transfer_call(memo=MEMO)) == [MEMO.value]
    assert memos(ft(0), said(1, Tuple.of({"memo": MEMO})), call=transfer_call(memo=MEMO)) == [MEMO.value]
    assert memos(ft(0), call=transfer_call()) == [None]


def test_a_print_that_is_too_long_for_a_memo_leaves_the_argument_its_place():
    assert memos(ft(0), said(1, Buffer(b"x" * 35)), call=transfer_call(memo=MEMO)) == [MEMO.value]


def test_the_print_goes_before_the_argument():
    assert memos(ft(0), said(1, Buffer(b"printed")), call=transfer_call(memo=MEMO)) == [b"printed"]


@pytest.mark.parametrize(
    "call",
    [
        transfer_call(memo=MEMO, contract=FAKE),
        transfer_call(memo=MEMO, function="transfer-many"),
        transfer_call(memo=MEMO, amount=999),
        transfer_call(memo=MEMO, sender=BOB),
        transfer_call(memo=MEMO, recipient=BOB),
        transfer_call(memo=Buffer(b"x" * 35)),
        replace(transfer_call(memo=MEMO), args=None),
        replace(transfer_call(memo=MEMO), args=()),
        replace(transfer_call(memo=MEMO), args=(b"",) * 4),
    ],
)
def test_the_argument_of_another_call_is_no_memo(call):
    assert memos(ft(0), call=call) == [None]


def test_the_argument_labels_the_one_transfer_that_the_call_makes():
    call = transfer_call(memo=MEMO)
    assert memos(ft(0, amount=1), ft(1), ft(2), call=call) == [None, MEMO.value, None]
    assert memos(ft(0), said(1, Buffer(b"printed")), ft(2), call=call) == [b"printed", None]


# What is money at all.


@pytest.mark.parametrize("status", [status for status in TxStatus if status is not TxStatus.SUCCESS])
def test_only_a_successful_transaction_pays(status):
    tx = replace(succeeded(payment_print(0), ft(1)), status=status)
    assert read(tx).payments == ()


def test_transfers_of_ignored_senders_are_left_out():
    rules = replace(RULES, ignored_senders=frozenset({BOB}))
    payments = read(succeeded(ft(0, sender=BOB), ft(1)), rules=rules).payments
    assert [(p.rank, p.sender) for p in payments] == [(1, ALICE)]


COMPLETED = Tuple.of({"topic": StringAscii("completed-deposit"), "amount": UInt(7)})


def minted(*, asset=SBTC_ASSET, value=COMPLETED, registry=REGISTRY):
    mint = MintEvent(rank=0, asset=asset, recipient=MERCHANT, amount=7)
    return read(succeeded(mint, said(1, value, contract=registry))).payments


def test_a_mint_beside_the_registrys_deposit_print_is_a_peg_in():
    [payment] = minted()
    assert (payment.route, payment.sender, payment.recipient, payment.amount) == (
        Route.PEG_IN,
        None,
        MERCHANT,
        7,
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"asset": f"{SBTC_ASSET}-locked"},
        {"asset": f"{FAKE}::sbtc-token"},
        {"registry": f"{BOB}.sbtc-registry"},
        {"registry": SBTC},
        {"value": Tuple.of({"topic": StringAscii("withdrawal-reject")})},
        {"value": Tuple.of({"topic": StringUtf8("completed-deposit")})},
        {"value": StringAscii("completed-deposit")},
        {"value": b"\xff"},
    ],
)
def test_any_other_mint_is_no_money(changes):
    assert minted(**changes) == ()


def test_payments_and_attempts_of_a_block_come_in_chain_order():
    transactions = [
        replace(succeeded(ft(0), ft(3)), tx_index=index, tx_id=f"0x{index}") for index in range(3)
    ]
    transactions.insert(1, failed(SBTC, "transfer", *transfer_call().args))
    reading = read(*transactions)
    assert [(p.tx_index, p.rank) for p in reading.payments] == [
        (0, 0),
        (0, 3),
        (1, 0),
        (1, 3),
        (2, 0),
        (2, 3),
    ]
    assert len(reading.attempts) == 1


# Hostile data is data.

PRINCIPALS = st.sampled_from([ALICE, BOB, MERCHANT, SBTC, ""]) | st.text(max_size=8)
ASSETS = (
    st.sampled_from([SBTC_ASSET, STX, f"{SBTC_ASSET}-locked", f"{FAKE}::sbtc-token", "", "::", "."])
    | st.text()
)
CONTRACTS = st.sampled_from([SBTC, FAKE, PAYMENTS, REGISTRY]) | st.text(max_size=8)
AMOUNTS = st.sampled_from([0, 7, 1000, MAX_AMOUNT, -1, 2**200]) | st.integers()
DATA = st.binary(max_size=60) | st.sampled_from(
    [
        encode(Tuple.of(payment_fields())),
        encode(COMPLETED),
        encode(MEMO),
        b"\x0a" * 5000,
        b"\x0b\xff\xff\xff\xff",
    ]
)
RANKS = st.integers(0, 8)
EVENTS = st.lists(
    st.builds(
        TransferEvent,
        rank=RANKS,
        asset=ASSETS,
        sender=PRINCIPALS,
        recipient=PRINCIPALS,
        amount=AMOUNTS,
        memo=st.none() | st.binary(max_size=50),
    )
    | st.builds(MintEvent, rank=RANKS, asset=ASSETS, recipient=PRINCIPALS, amount=AMOUNTS)
    | st.builds(PrintEvent, rank=RANKS, contract_id=CONTRACTS, value=DATA),
    max_size=8,
).map(tuple)
ARGUMENTS = DATA | st.sampled_from(transfer_call(memo=MEMO).args)
CALLS = st.none() | st.builds(
    ContractCall,
    contract_id=CONTRACTS,
    function=st.sampled_from(["transfer", "pay-token", "pay-stx", ""]),
    args=st.none() | st.lists(ARGUMENTS, max_size=6).map(tuple),
)
TRANSACTIONS = st.builds(
    Transaction,
    tx_id=st.text(max_size=4),
    tx_index=st.integers(0, 3),
    sender=PRINCIPALS,
    status=st.sampled_from(TxStatus),
    call=CALLS,
    events=EVENTS,
)


@given(st.lists(TRANSACTIONS, max_size=4).map(tuple))
def test_no_block_makes_the_reader_raise_and_prints_add_no_money(transactions):
    reading = read_block(Block(header=header(), transactions=transactions), RULES)
    money = [
        (tx.tx_id, event.rank, event.asset, event.recipient, event.amount)
        for tx in transactions
        if tx.status is TxStatus.SUCCESS
        for event in tx.events
        if isinstance(event, TransferEvent)
    ]
    transferred = [p for p in reading.payments if p.route is not Route.PEG_IN]
    assert [(p.tx_id, p.rank, p.asset, p.recipient, p.amount) for p in transferred] == money
    assert all(p.asset == SBTC_ASSET for p in reading.payments if p.route is Route.PEG_IN)
    assert all(p.memo is None or len(p.memo) <= 34 for p in reading.payments)


def test_what_a_transaction_with_an_unknown_status_moved_is_in_doubt():
    """It is no payment, and it is not dropped either."""
    reading = read(replace(succeeded(ft(0, amount=7)), status=TxStatus.UNKNOWN))
    assert reading.payments == ()
    assert [(fact.recipient, fact.amount) for fact in reading.unknown_status] == [(MERCHANT, 7)]
    assert read(succeeded(ft(0))).unknown_status == ()
