"""The plain transfer with a memo that a wallet is given."""

from chain.clarity import decode
from chain.clarity_repr import to_repr
from chain.model import STX
from contracts.post_conditions import post_conditions
from contracts.transfer_call import transfer_call

SBTC = "SM3VDXK3WZZSA84XXFKAFAF15NNZX32CTSG82JFQ4.sbtc-token"
ASSET = f"{SBTC}::sbtc-token"
MERCHANT = "ST1PQHQKV0RJXZFY1DGX8MNSNYVE3VGZJSRTPGZGM"
PAYER = "STFKSP9P3EV5GPQNVNGXPS8F732CYH63ZBNTS8NK"


def test_a_token_is_sent_by_its_own_function_in_deny_mode() -> None:
    """The arguments are those of SIP-010 in its order; the sender is left to the wallet."""
    call = transfer_call(amount=5, recipient=MERCHANT, memo="K7", asset=ASSET, payer=None)
    assert (call["contract_id"], call["function"], call["post_condition_mode"]) == (SBTC, "transfer", "deny")
    assert call["post_conditions"] == post_conditions(amount=5, asset=ASSET, payer=None)
    assert [(one["name"], one["type"], one["value"]) for one in call["arguments"]] == [
        ("amount", "uint", "5"),
        ("sender", "principal", None),
        ("recipient", "principal", MERCHANT),
        ("memo", "(optional (buff 34))", "K7"),
    ]
    assert [one["hex"] and to_repr(decode(bytes.fromhex(one["hex"][2:]))) for one in call["arguments"]] == [
        "u5",
        None,
        f"'{MERCHANT}",
        "(some 0x4b37)",
    ]


def test_a_known_payer_is_the_sender() -> None:
    """An intent for one payer names it as the sender, and in the condition."""
    call = transfer_call(amount=5, recipient=MERCHANT, memo=None, asset=ASSET, payer=PAYER)
    values = [to_repr(decode(bytes.fromhex(one["hex"][2:]))) for one in call["arguments"]]
    assert values == ["u5", f"'{PAYER}", f"'{MERCHANT}", "none"]
    assert call["post_conditions"][0]["address"] == PAYER


def test_stx_has_the_parameters_of_a_wallet() -> None:
    """STX needs no contract: recipient, amount and memo are what a wallet asks for."""
    assert transfer_call(amount=5, recipient=MERCHANT, memo="K7", asset=STX, payer=None) == {
        "recipient": MERCHANT,
        "amount": "5",
        "memo": "K7",
    }
