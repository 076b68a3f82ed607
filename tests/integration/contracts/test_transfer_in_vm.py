"""The plain transfer and the post-conditions, as the wallet library and the real sBTC token take them."""

from typing import Any

import pytest

from chain.clarity import PrincipalValue
from chain.model import STX
from contracts.post_conditions import post_conditions
from contracts.refund_call import plain_refund, refund_call
from contracts.terms import payment_call, terms_hash
from contracts.transfer_call import transfer_call
from contracts.wallet_call import wallet_call
from tests.integration.contracts.vm import DEPLOYER, PAYMENTS, SBTC, Vm, hexed_value, prints

ASSET = f"{SBTC}::sbtc-token"
PAYER = "ST2CY5V39NHDPWSXMW9QDT3HC3GD6Q6XX4CFRK9AG"
MEMO = "K7Q2M8ZR4T9C"


@pytest.mark.parametrize("amount", [1, 50_000, 2**64 - 1, 2**64, 2**128 - 1])
@pytest.mark.parametrize("payer", [None, PAYER, f"{PAYER}.vault"])
@pytest.mark.parametrize("asset", [STX, ASSET])
def test_the_library_reads_the_bytes_as_the_json_says(
    vm: Vm, asset: str, payer: str | None, amount: int
) -> None:
    """``hex`` of a post-condition is the other fields in consensus bytes, for @stacks/transactions."""
    [condition] = post_conditions(amount=amount, asset=asset, payer=payer)
    hexed = condition.pop("hex")
    assert vm.ask("read_condition", hex=hexed.removeprefix("0x")) == condition


def test_the_token_moves_the_money_and_prints_the_memo(vm: Vm) -> None:
    """What a wallet is asked, with its own address as the sender, pays the recipient and shows the memo."""
    vm.ask("mint_sbtc", owner=PAYER, amount="50000")
    call = transfer_call(amount=50_000, recipient=DEPLOYER, memo=MEMO, asset=ASSET, payer=None)
    asked = wallet_call(call, sender=PAYER, network="testnet")["params"]
    arguments = [f"0x{one}" for one in asked["functionArgs"]]
    answer = vm.call(asked["contract"], asked["functionName"], *arguments, sender=PAYER)
    moved = [event["data"] for event in answer.events if event["event"] == "ft_transfer_event"]
    assert [(one["sender"], one["recipient"], one["amount"]) for one in moved] == [(PAYER, DEPLOYER, "50000")]
    assert any(MEMO.encode().hex() in str(event["data"]) for event in answer.events)


@pytest.mark.parametrize("asset", [STX, ASSET])
def test_the_refund_call_gives_the_payment_back(vm: Vm, asset: str) -> None:
    """By the merchant's account, to the payer, and no more than was paid."""
    token = None if asset == STX else SBTC
    vm.mint(token, PAYER, 50_000)
    terms: dict[str, Any] = {
        "amount": 50_000,
        "expires_at": 2**40,
        "merchant": DEPLOYER,
        "salt": b"refund-call-0001",
    }
    paid = payment_call(contract_id=PAYMENTS, asset=asset, payer=PAYER, **terms)
    vm.call(PAYMENTS, paid["function"], *[one["hex"] for one in paid["arguments"]], sender=PAYER)
    before = vm.holdings(PAYER)
    call = refund_call(
        contract_id=PAYMENTS, terms_hash=terms_hash(token=token, **terms), amount=20_000, asset=asset
    )
    arguments = [one["hex"] for one in call["arguments"]]
    answer = vm.call(call["contract_id"], call["function"], *arguments, sender=DEPLOYER)
    assert len(prints(answer, "refund")) == 1
    name = "STX" if asset == STX else "sbtc-token.sbtc-token"
    assert vm.holdings(PAYER)[name] - before.get(name, 0) == 20_000
    assert vm.call(call["contract_id"], call["function"], *arguments, sender=PAYER).events == []


def test_a_plain_refund_is_a_transfer_with_a_memo_of_its_own(vm: Vm) -> None:
    vm.mint(SBTC, DEPLOYER, 7)
    call = plain_refund(amount=7, to=PAYER, reference=MEMO, asset=ASSET)
    sender = hexed_value(PrincipalValue.parse(DEPLOYER))
    arguments = [one["hex"] or sender for one in call["arguments"]]
    answer = vm.call(call["contract_id"], call["function"], *arguments, sender=DEPLOYER)
    [moved] = [event["data"] for event in answer.events if event["event"] == "ft_transfer_event"]
    assert (moved["sender"], moved["recipient"], moved["amount"]) == (DEPLOYER, PAYER, "7")
    assert any(f"REFUND {MEMO}".encode().hex() in str(event["data"]) for event in answer.events)
