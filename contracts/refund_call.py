"""What a merchant's wallet needs to give money back: the contract's call, or a plain transfer (pure)."""

from typing import Any

from chain.clarity import Buffer, PrincipalValue, UInt, Value, encode
from chain.model import MEMO_BYTES
from contracts.networks import asset_contract
from contracts.post_conditions import post_conditions
from contracts.transfer_call import transfer_call

#: The payment contract's public functions that refund.
REFUND_TOKEN = "refund-token"  # noqa: S105 - the name of a function
REFUND_STX = "refund-stx"

#: First word of the memo of a plain transfer that gives money back: the reference alone could be taken for
#: a payment.
MEMO_WORD = "REFUND"


def refund_call(*, contract_id: str, terms_hash: bytes, amount: int, asset: str) -> dict[str, Any]:
    """Return the contract call that gives ``amount`` of a payment back to its payer, as JSON.

    The contract takes it from the merchant who was paid only, and never more than is left of the payment.
    """
    token = asset_contract(asset)
    taken: list[tuple[str, str, str, Value]] = [
        ("intent-id", "buffer", f"0x{terms_hash.hex()}", Buffer(terms_hash)),
        ("amount", "uint", str(amount), UInt(amount)),
    ]
    if token is not None:
        taken.insert(0, ("token", "principal", token, PrincipalValue.parse(token)))
    return {
        "contract_id": contract_id,
        "function": REFUND_STX if token is None else REFUND_TOKEN,
        "arguments": [
            {"name": name, "type": kind, "value": text, "hex": f"0x{encode(value).hex()}"}
            for name, kind, text, value in taken
        ],
        "post_condition_mode": "deny",
        "post_conditions": post_conditions(amount=amount, asset=asset, payer=None),
    }


def plain_refund(*, amount: int, to: str, reference: str, asset: str) -> dict[str, Any]:
    """Return the plain transfer of ``amount`` to ``to``, in the form of an intent's ``pay.transfer``.

    Its memo is for people: nothing on the chain proves that such a transfer is a refund.
    """
    memo = f"{MEMO_WORD} {reference}"
    return transfer_call(
        amount=amount,
        recipient=to,
        memo=memo if len(memo.encode()) <= MEMO_BYTES else MEMO_WORD,
        asset=asset,
        payer=None,
    )
