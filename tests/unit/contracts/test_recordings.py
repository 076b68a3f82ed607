"""Events that a real Clarity VM made, read as payments and attempts."""

from dataclasses import replace

import pytest

from chain.clarity import Buffer, StringAscii, Tuple, decode, encode
from chain.model import STX, PrintEvent, TxStatus
from contracts.model import Route
from contracts.payments import read_block
from tests.unit.contracts.simnet import (
    ALICE,
    BOB,
    MERCHANT,
    PAYMENTS,
    RULES,
    SBTC_ASSET,
    TOY,
    node_block,
    payment_fields,
    read,
    recorded,
)


@pytest.mark.parametrize(
    ("label", "amount", "memo"),
    [
        ("sbtc transfer, memo order:2026-0001", 150000, b"order:2026-0001"),
        ("sbtc transfer, 34 byte memo", 150001, b"pi_0123456789abcdef0123456789abcde"),
        ("sbtc transfer, memo padded with zero bytes", 150002, b"order-7\0\0\0\0"),
        ("sbtc transfer, memo none", 1000, None),
        ("sbtc transfer, empty memo buffer", 1001, b""),
        ("sbtc transfer, utf-8 memo", 1002, "café ⚡".encode()),
    ],
)
@pytest.mark.parametrize("with_call", [True, False])
def test_a_transfer_is_a_payment_with_the_memo_as_the_chain_has_it(label, amount, memo, with_call):
    tx = recorded(label)
    reading = read(tx if with_call else replace(tx, call=None))
    [payment] = reading.payments
    assert reading.attempts == ()
    assert (payment.tx_id, payment.rank, payment.asset) == (tx.tx_id, 0, SBTC_ASSET)
    assert (payment.sender, payment.recipient, payment.amount) == (ALICE, MERCHANT, amount)
    assert (payment.route, payment.memo, payment.terms_hash) == (Route.TRANSFER, memo, None)


def test_in_a_transfer_many_each_print_belongs_to_the_transfer_just_before_it():
    reading = read(recorded("sbtc transfer-many, three entries"))
    assert [(p.rank, p.amount, p.recipient, p.memo) for p in reading.payments] == [
        (0, 111, MERCHANT, b"m-1"),
        (2, 222, BOB, None),
        (3, 333, MERCHANT, b"m-3"),
    ]


def test_a_completed_deposit_is_a_peg_in_without_sender_and_memo():
    [payment] = read(recorded("sbtc deposit completed")).payments
    assert (payment.route, payment.sender, payment.memo) == (Route.PEG_IN, None, None)
    assert (payment.asset, payment.recipient, payment.amount) == (SBTC_ASSET, ALICE, 5000000)


def test_a_withdrawal_request_is_no_payment():
    tx = recorded("sbtc withdrawal request")
    assert tx.events
    assert read(tx).payments == ()


@pytest.mark.parametrize(
    ("label", "amount", "memo"),
    [
        ("native STX transfer", 1000000, b"order-77" + bytes(26)),
        ("one block, three txs (3/3)", 500, bytes(34)),
    ],
)
def test_a_native_transfer_carries_its_own_padded_memo(label, amount, memo):
    [payment] = read(recorded(label)).payments
    assert (payment.asset, payment.amount, payment.memo) == (STX, amount, memo)


def test_the_toy_contracts_print_labels_nothing_and_its_memos_are_memos():
    """Its print has other fields than ours, although it describes the same transfer."""
    rules = replace(RULES, payment_contract=TOY)
    by_token = read(recorded("toy pay-token"), rules=rules)
    by_stx = read(recorded("toy pay-stx"), rules=rules)
    refund = read(recorded("toy refund-token"), rules=rules)
    assert [(p.route, p.amount, p.memo.hex()) for p in by_token.payments + by_stx.payments] == [
        (Route.TRANSFER, 200000, "325142be9eee013b0b55da92ccbc48a3"),
        (Route.TRANSFER, 2500000, "041272be51027f141ef11787ae951af4"),
    ]
    assert [(p.route, p.recipient, p.amount) for p in refund.payments] == [(Route.TRANSFER, BOB, 50000)]


@pytest.mark.parametrize(("label", "asset"), [("toy pay-token", SBTC_ASSET), ("toy pay-stx", STX)])
def test_the_same_events_with_our_print_are_a_contract_payment(label, asset):
    tx = recorded(label)
    toy = next(e for e in tx.events if isinstance(e, PrintEvent) and e.contract_id == TOY)
    theirs = decode(toy.value).as_dict()
    known = {name: theirs[name] for name in theirs.keys() & payment_fields().keys()}
    fields = payment_fields() | known | {"intent-id": Buffer(b"\x22" * 32)}
    ours = replace(toy, contract_id=PAYMENTS, value=encode(Tuple.of(fields)))
    [payment] = read(replace(tx, events=tuple(ours if e is toy else e for e in tx.events))).payments
    assert (payment.route, payment.asset, payment.terms_hash) == (Route.CONTRACT, asset, b"\x22" * 32)
    assert payment.memo is not None


@pytest.mark.parametrize(
    ("label", "amount", "memo"),
    [
        ("sbtc transfer, not the owner", 1000, None),
        ("sbtc transfer, balance too small", 999999999, b"too-much"),
        ("sbtc transfer of zero", 0, None),
    ],
)
def test_a_transfer_that_aborts_is_an_attempt(label, amount, memo):
    tx = recorded(label)
    reading = read(tx)
    assert reading.payments == ()
    [attempt] = reading.attempts
    assert (attempt.tx_id, attempt.sender, attempt.reason) == (tx.tx_id, ALICE, "abort_by_response")
    assert (attempt.asset, attempt.recipient, attempt.amount) == (SBTC_ASSET, MERCHANT, amount)
    assert (attempt.memo, attempt.terms_hash) == (memo, None)


def test_a_failed_transfer_many_is_no_attempt_and_no_payment():
    reading = read(recorded("sbtc transfer-many, second entry"))
    assert (reading.payments, reading.attempts) == ((), ())


def test_the_toy_contracts_other_argument_order_is_no_attempt():
    reading = read(recorded("toy pay-token, expired"), rules=replace(RULES, payment_contract=TOY))
    assert (reading.payments, reading.attempts) == ((), ())


@pytest.mark.parametrize("height", range(13, 34))
def test_a_nodes_block_reads_like_its_transactions(height):
    block = node_block(f"new_block/{height:06}.json")
    reading = read_block(block, RULES)
    each = [read_block(replace(block, transactions=(tx,)), RULES) for tx in block.transactions]
    assert reading.payments == tuple(p for one in each for p in one.payments)
    assert reading.attempts == tuple(a for one in each for a in one.attempts)
    assert all(p.block == block.header for p in reading.payments)


def test_a_block_of_three_transactions_gives_payments_in_chain_order():
    reading = read_block(node_block("new_block/000033.json"), RULES)
    assert [(p.tx_index, p.rank, p.amount, p.memo) for p in reading.payments] == [
        (0, 0, 1, b"in-block-1"),
        (1, 0, 2, b"in-block-2"),
        (2, 0, 500, bytes(34)),
    ]


def test_a_payment_is_the_same_on_both_branches_but_for_its_block():
    there = read_block(node_block("reorg/01-a-plus1.json"), RULES).payments
    back = read_block(node_block("reorg/05-b-plus3.json"), RULES).payments
    moved = {p.tx_id for p in there} & {p.tx_id for p in back}
    assert len(moved) == 1
    [one] = [p for p in there if p.tx_id in moved]
    [other] = [p for p in back if p.tx_id in moved]
    assert one.block.hash != other.block.hash
    assert replace(one, block=other.block, tx_index=other.tx_index) == other


def test_the_status_decides_not_the_result():
    """The recorded abort still has (ok true) as its result."""
    reading = read_block(node_block("reorg/06-abort-by-post-condition.json"), RULES)
    assert reading.payments == ()
    [attempt] = reading.attempts
    assert (attempt.reason, attempt.memo) == (
        "abort_by_post_condition",
        b"pi_0123456789abcdef0123456789abcde",
    )


def test_a_skipped_transaction_is_an_attempt():
    block = node_block("reorg/07-problematic-skipped.json")
    reading = read_block(block, RULES)
    assert block.transactions[0].status is TxStatus.PROBLEMATIC_SKIPPED
    assert reading.payments == ()
    assert [a.reason for a in reading.attempts] == ["problematic_skipped"]


def test_the_registrys_recorded_prints_are_told_apart():
    """A deposit's print makes a mint a peg-in, a withdrawal's does not."""
    deposit, withdrawal = recorded("sbtc deposit completed"), recorded("sbtc withdrawal request")
    mint, withdrawn = deposit.events[0], withdrawal.events[-1]
    assert isinstance(withdrawn, PrintEvent)
    assert read(replace(deposit, events=(mint, withdrawn))).payments == ()
    assert decode(withdrawn.value).as_dict()["topic"] == StringAscii("withdrawal-create")
