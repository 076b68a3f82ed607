"""The calls by which a merchant's wallet gives money back."""

import pytest

from chain.clarity import decode
from chain.clarity_repr import to_repr
from chain.model import STX
from contracts.post_conditions import post_conditions
from contracts.refund_call import plain_refund, refund_call
from contracts.transfer_call import transfer_call

SBTC = "SM3VDXK3WZZSA84XXFKAFAF15NNZX32CTSG82JFQ4.sbtc-token"
ASSET = f"{SBTC}::sbtc-token"
MERCHANT = "ST1PQHQKV0RJXZFY1DGX8MNSNYVE3VGZJSRTPGZGM"
CONTRACT = f"{MERCHANT}.sbtc-payments"


@pytest.mark.parametrize(
    ("asset", "function", "token"), [(ASSET, "refund-token", SBTC), (STX, "refund-stx", None)]
)
def test_the_contract_gives_back_in_deny_mode(asset: str, function: str, token: str | None) -> None:
    """The arguments are the function's own, in its order; the signer sends exactly the amount."""
    call = refund_call(contract_id=CONTRACT, terms_hash=b"\1" * 32, amount=5, asset=asset)
    assert (call["contract_id"], call["function"], call["post_condition_mode"]) == (
        CONTRACT,
        function,
        "deny",
    )
    assert call["post_conditions"] == post_conditions(amount=5, asset=asset, payer=None)
    values = [(one["name"], to_repr(decode(bytes.fromhex(one["hex"][2:])))) for one in call["arguments"]]
    first = [] if token is None else [("token", f"'{token}")]
    assert values == [*first, ("intent-id", "0x" + "01" * 32), ("amount", "u5")]
    assert [one["value"] for one in call["arguments"]][-2:] == ["0x" + "01" * 32, "5"]


@pytest.mark.parametrize(
    ("reference", "memo"), [("K7", "REFUND K7"), ("R" * 27, "REFUND " + "R" * 27), ("R" * 28, "REFUND")]
)
def test_a_plain_transfer_says_what_it_is(reference: str, memo: str) -> None:
    """Its memo is never a reference alone, and fits the chain's 34 bytes."""
    call = plain_refund(amount=5, to=MERCHANT, reference=reference, asset=ASSET)
    assert call == transfer_call(amount=5, recipient=MERCHANT, memo=memo, asset=ASSET, payer=None)
    assert plain_refund(amount=5, to=MERCHANT, reference=reference, asset=STX)["memo"] == memo
