"""Our terms hash, our call and our reading of its events, against the contract in the real VM."""

import hashlib
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chain.address import Principal
from chain.clarity import Buffer, Err, NoneValue, Ok, PrincipalValue, Some, UInt, Value
from chain.model import MAX_AMOUNT, STX, Block, BlockHeader, ContractCall, Transaction, TxStatus
from chain.testing import principal
from contracts.model import Payment, PaymentRules, Route
from contracts.networks import sbtc_asset
from contracts.payments import read_block
from contracts.prints import RefundPrint, read_payment_print, read_refund_print
from contracts.terms import payment_call, terms_hash
from tests.integration.contracts.vm import PAYMENTS, SBTC, SMART_WALLET, TOY, Answer, Vm, prints
from tests.unit.contracts.simnet import event_of, header

LATER = 4_102_444_800
MERCHANT, PAYER = principal("merchant"), principal("payer")
TOY_ASSET = f"{TOY}::toy"
ASSETS = {STX: None, sbtc_asset(SBTC): SBTC, TOY_ASSET: TOY}
RULES = PaymentRules(assets=frozenset(ASSETS), sbtc_contract=SBTC, payment_contract=PAYMENTS)
DENY = 2

salts: Iterator[bytes] = (hashlib.sha256(f"salt {number}".encode()).digest()[:16] for number in count())

addresses = st.builds(
    Principal,
    version=st.sampled_from([20, 21, 22, 26]),
    hash160=st.binary(min_size=20, max_size=20),
    name=st.none() | st.from_regex(r"[a-z][a-z0-9-]{0,39}", fullmatch=True),
).map(str)
contracts = st.sampled_from([SBTC, TOY, f"{principal('x')}.a", f"{principal('y')}.{'n' * 40}"])
amounts = st.integers(0, MAX_AMOUNT) | st.sampled_from([0, 1, 2**64 - 1, 2**64, MAX_AMOUNT])


def called(
    asset: str, *, amount: int = 1000, payer: str | None = None, expires_at: int = LATER
) -> dict[str, Any]:
    """Return an intent's ``pay.contract``."""
    return payment_call(
        contract_id=PAYMENTS,
        amount=amount,
        expires_at=expires_at,
        merchant=MERCHANT,
        salt=next(salts),
        asset=asset,
        payer=payer,
    )


def hash_of(call: dict[str, Any], asset: str) -> bytes:
    value = {argument["name"]: argument["value"] for argument in call["arguments"]}
    return terms_hash(
        amount=int(value["amount"]),
        expires_at=int(value["expires-at"]),
        merchant=value["merchant"],
        salt=bytes.fromhex(value["salt"].removeprefix("0x")),
        token=ASSETS[asset],
    )


def execute(vm: Vm, call: dict[str, Any], sender: str = PAYER) -> Answer:
    """Execute the call as a wallet gets it: the contract, the function, and each argument's hex."""
    return vm.call(
        call["contract_id"], call["function"], *(a["hex"] for a in call["arguments"]), sender=sender
    )


def transaction(answer: Answer, call: dict[str, Any], sender: str) -> Transaction:
    events = [event_of(rank, event["event"], event["data"]) for rank, event in enumerate(answer.events)]
    raw = tuple(bytes.fromhex(argument["hex"].removeprefix("0x")) for argument in call["arguments"])
    return Transaction(
        tx_id="0x" + "ab" * 32,
        tx_index=0,
        sender=sender,
        status=TxStatus.SUCCESS if isinstance(answer.result, Ok) else TxStatus.ABORT_BY_RESPONSE,
        call=ContractCall(contract_id=call["contract_id"], function=call["function"], args=raw),
        events=tuple(event for event in events if event is not None),
    )


def mined(answer: Answer) -> BlockHeader:
    return header(answer.height, time=answer.time, burn_height=answer.burn_height)


def sent(answer: Answer, owner: str) -> dict[str, int]:
    """Return a principal's outgoing transfers by asset, which post-conditions limit."""
    moved: dict[str, int] = {}
    for event in answer.events:
        if event["event"].endswith("_transfer_event") and event["data"]["sender"] == owner:
            asset = event["data"].get("asset_identifier", STX)
            moved[asset] = moved.get(asset, 0) + int(event["data"]["amount"])
    return moved


@pytest.fixture
def rich(vm: Vm) -> Vm:
    """The VM, with a payer who has some of everything."""
    for token in ASSETS.values():
        vm.mint(token, PAYER, 10_000)
    return vm


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    merchant=addresses,
    token=st.none() | contracts,
    amount=amounts,
    expires_at=amounts,
    salt=st.binary(min_size=16, max_size=16),
)
def test_our_hash_of_any_terms_is_the_contracts(
    vm: Vm, merchant: str, token: str | None, amount: int, expires_at: int, salt: bytes
) -> None:
    named: Value = NoneValue() if token is None else Some(PrincipalValue.parse(token))
    theirs = vm.read(
        "get-intent-id", PrincipalValue.parse(merchant), named, UInt(amount), UInt(expires_at), Buffer(salt)
    )
    ours = terms_hash(amount=amount, expires_at=expires_at, merchant=merchant, salt=salt, token=token)
    assert theirs == Buffer(ours)


@pytest.mark.parametrize("asset", ASSETS)
def test_the_call_that_an_intent_shows_pays_it(rich: Vm, asset: str) -> None:
    call = called(asset)
    answer = execute(rich, call)
    assert answer.result == Ok(Buffer(hash_of(call, asset)))
    assert sent(answer, PAYER) == {asset: 1000}


@pytest.mark.parametrize("asset", ASSETS)
def test_the_events_of_the_call_are_read_as_the_payment(rich: Vm, asset: str) -> None:
    call = called(asset)
    answer = execute(rich, call)
    block = Block(header=mined(answer), transactions=(transaction(answer, call, PAYER),))
    reading = read_block(block, RULES)
    digest = hash_of(call, asset)
    assert reading.attempts == ()
    assert reading.payments == (
        Payment(
            block=block.header,
            tx_id="0x" + "ab" * 32,
            tx_index=0,
            rank=1,
            asset=asset,
            sender=PAYER,
            recipient=MERCHANT,
            amount=1000,
            route=Route.CONTRACT,
            # The toy token prints no memo, and its transfer is not the transaction's own call.
            memo=None if asset == TOY_ASSET else digest,
            terms_hash=digest,
        ),
    )


def test_two_payments_in_one_transaction_have_their_own_labels(rich: Vm) -> None:
    asset = sbtc_asset(SBTC)
    one, other = called(asset), called(asset)
    both = {
        "contract_id": SMART_WALLET,
        "function": "pay-both",
        "arguments": [*one["arguments"], other["arguments"][-1]],
    }
    answer = execute(rich, both)
    block = Block(header=mined(answer), transactions=(transaction(answer, both, PAYER),))
    hashes = [payment.terms_hash for payment in read_block(block, RULES).payments]
    assert hashes == [hash_of(one, asset), hash_of(other, asset)]


def test_the_print_is_read_whole(rich: Vm) -> None:
    call = called(sbtc_asset(SBTC))
    answer = execute(rich, call)
    raw = bytes.fromhex(answer.events[0]["data"]["raw_value"].removeprefix("0x"))
    read = read_payment_print(raw)
    assert read is not None
    assert (read.payer, read.merchant, read.token, read.amount) == (PAYER, MERCHANT, SBTC, 1000)
    (printed,) = prints(answer, "payment")
    assert printed["stacks-time"] == UInt(answer.time)
    assert (printed["stacks-height"], printed["burn-height"]) == (
        UInt(answer.height),
        UInt(answer.burn_height),
    )


@pytest.mark.parametrize("asset", ASSETS)
def test_a_refused_call_is_read_as_an_attempt(rich: Vm, asset: str) -> None:
    call = called(asset, expires_at=1)
    answer = execute(rich, call)
    assert answer.result == Err(UInt(1410))
    block = Block(header=mined(answer), transactions=(transaction(answer, call, PAYER),))
    (attempt,) = read_block(block, RULES).attempts
    assert (attempt.asset, attempt.amount, attempt.terms_hash) == (asset, 1000, hash_of(call, asset))


@pytest.mark.parametrize("payer", [None, PAYER])
@pytest.mark.parametrize("asset", ASSETS)
def test_a_wallet_takes_the_call_as_the_readme_shows(rich: Vm, asset: str, payer: str | None) -> None:
    """The README's own example runs; the wallet's library builds the transaction from the very JSON."""
    call = called(asset, payer=payer)
    done = rich.ask("checkout", intent={"pay": {"contract": call}}, payer=PAYER)
    answer = Answer.read(done["answer"])
    assert len(done["txid"]) == 64
    assert answer.result == Ok(Buffer(hash_of(call, asset)))
    # In Deny mode every asset that leaves needs a condition: these, and no other, are what left.
    assert done["mode"] == DENY
    assert done["conditions"] == [
        {name: value for name, value in condition.items() if name != "hex"}
        for condition in call["post_conditions"]
    ]
    conditions = {c.get("asset", STX): c for c in done["conditions"]}
    assert {key: (c["condition"], int(c["amount"])) for key, c in conditions.items()} == {asset: ("eq", 1000)}
    assert sent(answer, PAYER) == {asset: 1000}


@pytest.mark.parametrize("asset", ASSETS)
def test_a_wallet_gives_money_back_as_the_readme_shows(rich: Vm, asset: str) -> None:
    """The events of the README's own refund are read as refunds, the part as well as the rest."""
    call = called(asset)
    digest = hash_of(call, asset)
    intent = {"pay": {"contract": call}, "terms_hash": f"0x{digest.hex()}"}
    assert execute(rich, call).result == Ok(Buffer(digest))
    for amount, total in ((400, 400), (600, 1000)):
        done = rich.ask("give_back", intent=intent, amount=amount, merchant=MERCHANT)
        answer = Answer.read(done["answer"])
        assert answer.result == Ok(UInt(total))
        assert (done["mode"], sent(answer, MERCHANT)) == (DENY, {asset: amount})
        [condition] = done["conditions"]
        assert (condition["address"], condition["condition"]) == ("origin", "eq")
        assert (condition.get("asset", STX), condition["amount"]) == (asset, str(amount))
        block = Block(header=mined(answer), transactions=(transaction(answer, call, MERCHANT),))
        [refund] = read_block(block, RULES).refunds
        assert (refund.terms_hash, refund.asset, refund.amount) == (digest, asset, amount)
        assert (refund.sender, refund.recipient, refund.rank) == (MERCHANT, PAYER, 1)
    over = Answer.read(rich.ask("give_back", intent=intent, amount=1, merchant=MERCHANT)["answer"])
    assert (over.result, over.events) == (Err(UInt(1413)), [])


def test_the_refund_print_is_read_whole(rich: Vm) -> None:
    call = called(sbtc_asset(SBTC))
    digest = hash_of(call, sbtc_asset(SBTC))
    execute(rich, call)
    args = [PrincipalValue.parse(SBTC), Buffer(digest), UInt(7)]
    answer = rich.call(PAYMENTS, "refund-token", *args, sender=MERCHANT)
    read = read_refund_print(bytes.fromhex(answer.events[0]["data"]["raw_value"].removeprefix("0x")))
    assert read == RefundPrint(terms_hash=digest, merchant=MERCHANT, to=PAYER, token=SBTC, amount=7)


def test_an_amount_beyond_any_condition_still_makes_a_transaction(rich: Vm) -> None:
    rich.mint(TOY, PAYER, 2**64)
    call = called(TOY_ASSET, amount=2**64)
    done = rich.ask("checkout", intent={"pay": {"contract": call}}, payer=PAYER)
    assert [(c["condition"], c["amount"]) for c in done["conditions"]] == [("gte", str(2**64 - 1))]
    assert sent(Answer.read(done["answer"]), PAYER) == {TOY_ASSET: 2**64}
