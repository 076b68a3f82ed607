"""What a wallet is asked to do."""

import pytest

from chain.address import AddressError
from chain.model import STX
from chain.testing import principal
from contracts.terms import payment_call
from contracts.transfer_call import transfer_call
from contracts.wallet_call import MAX_STX_AMOUNT, wallet_call

PAYER, MERCHANT = principal("payer"), principal("shop")
TOKEN = "SM3VDXK3WZZSA84XXFKAFAF15NNZX32CTSG82JFQ4.sbtc-token"
ASSET = f"{TOKEN}::sbtc-token"


def stx(amount: int, memo: str | None = "K7") -> dict[str, object]:
    return transfer_call(amount=amount, recipient=MERCHANT, memo=memo, asset=STX, payer=None)


def test_stx_goes_by_the_wallets_own_transfer_with_its_memo() -> None:
    """The only transfer of SIP-030 that has a memo; the amount is text."""
    assert wallet_call(stx(5), sender=PAYER, network="mainnet") == {
        "method": "stx_transferStx",
        "params": {
            "recipient": MERCHANT,
            "amount": "5",
            "memo": "K7",
            "address": PAYER,
            "network": "mainnet",
        },
    }


def test_without_a_memo_none_is_named() -> None:
    """A field that is null is refused by some wallets."""
    assert "memo" not in wallet_call(stx(5, None), sender=PAYER, network="mainnet")["params"]


def test_an_amount_that_wallets_round_is_not_asked_for() -> None:
    """Above 2^53 − 1 a number in a wallet loses digits."""
    assert wallet_call(stx(MAX_STX_AMOUNT), sender=PAYER, network="mainnet")["params"]["amount"] == str(
        2**53 - 1
    )
    with pytest.raises(ValueError, match="round"):
        wallet_call(stx(MAX_STX_AMOUNT + 1), sender=PAYER, network="mainnet")


def test_a_token_goes_by_its_own_transfer_from_the_wallets_address() -> None:
    """The second argument is the sender, the last the memo; deny mode, one condition on the origin."""
    call = transfer_call(amount=10**20, recipient=MERCHANT, memo="K7", asset=ASSET, payer=None)
    asked = wallet_call(call, sender=PAYER, network="testnet")
    bound = transfer_call(amount=10**20, recipient=MERCHANT, memo="K7", asset=ASSET, payer=PAYER)
    assert asked["method"] == "stx_callContract"
    params = asked["params"]
    assert (params["contract"], params["functionName"]) == (TOKEN, "transfer")
    assert params["functionArgs"] == [one["hex"][2:] for one in bound["arguments"]]
    assert params["postConditions"] == [one["hex"][2:] for one in call["post_conditions"]]
    assert params["postConditions"][0].startswith("0101")
    assert (params["postConditionMode"], params["network"], params["address"]) == ("deny", "testnet", PAYER)


def test_the_payment_contract_is_called_as_the_intent_says() -> None:
    """Its arguments name no sender: they are passed on as they are."""
    call = payment_call(
        contract_id=f"{MERCHANT}.sbtc-payments",
        amount=7,
        expires_at=9,
        merchant=MERCHANT,
        salt=bytes(16),
        asset=ASSET,
        payer=None,
    )
    params = wallet_call(call, sender=PAYER, network="mainnet")["params"]
    assert params["functionArgs"] == [one["hex"][2:] for one in call["arguments"]]
    assert params["functionName"] == "pay-token"


def test_a_sender_that_is_no_address_is_refused() -> None:
    """Nothing is made of it, for STX neither."""
    for text in ("", "bc1q", "SP123", PAYER.lower()):
        with pytest.raises(AddressError):
            wallet_call(stx(5), sender=text, network="mainnet")
