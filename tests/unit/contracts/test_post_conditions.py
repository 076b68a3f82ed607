"""Post-conditions as JSON and in consensus bytes; integration tests let the real library read the bytes."""

import pytest

from chain.model import STX
from contracts.post_conditions import post_conditions

SBTC = "SM3VDXK3WZZSA84XXFKAFAF15NNZX32CTSG82JFQ4.sbtc-token"
PAYER = "STFKSP9P3EV5GPQNVNGXPS8F732CYH63ZBNTS8NK"

#: Made by ``postConditionToHex`` of @stacks/transactions 7, see ``tests/integration/contracts``.
FT = "14f6decc7cfff2a413bd7cd4f53c25ad7fd1899acc" + "0a736274632d746f6b656e" * 2


def shown(**given: object) -> dict[str, object]:
    """Return the only condition."""
    [condition] = post_conditions(**{"amount": 5, "asset": f"{SBTC}::sbtc-token", "payer": None} | given)
    return condition


def test_the_payer_sends_exactly_the_amount() -> None:
    """The condition names the token, the amount, and the payer or else the signer."""
    assert shown(payer=PAYER) == {
        "type": "ft-postcondition",
        "address": PAYER,
        "condition": "eq",
        "amount": "5",
        "asset": f"{SBTC}::sbtc-token",
        "hex": f"0x01021a1f3cd9361bb6585af5dd61db650f38c4cf44c3fa{FT}010000000000000005",
    }
    assert shown(asset=STX) == {
        "type": "stx-postcondition",
        "address": "origin",
        "condition": "eq",
        "amount": "5",
        "hex": "0x0001010000000000000005",
    }


def test_an_amount_that_no_condition_can_hold_is_at_least_the_largest_one() -> None:
    """Post-conditions count in 64 bits: up to there exactly, beyond it at least that."""
    largest = 2**64 - 1
    exact = shown(amount=largest, asset=STX)
    assert (exact["condition"], exact["amount"], exact["hex"]) == ("eq", str(largest), "0x000101" + "ff" * 8)
    beyond = shown(amount=largest + 1, asset=STX)
    assert (beyond["condition"], beyond["amount"], beyond["hex"]) == (
        "gte",
        str(largest),
        "0x000103" + "ff" * 8,
    )


@pytest.mark.parametrize(
    ("payer", "principal"),
    [
        (None, "01"),
        (PAYER, "021a1f3cd9361bb6585af5dd61db650f38c4cf44c3fa"),
        (f"{PAYER}.vault", "031a1f3cd9361bb6585af5dd61db650f38c4cf44c3fa057661756c74"),
    ],
)
def test_the_bytes_name_the_payer(payer: str | None, principal: str) -> None:
    """The signer, an address and a contract each have their own form."""
    assert shown(payer=payer)["hex"] == f"0x01{principal}{FT}010000000000000005"
