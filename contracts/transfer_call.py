"""A plain transfer with a memo, ready for a wallet (pure)."""

from typing import Any

from chain.clarity import Buffer, NoneValue, PrincipalValue, Some, UInt, Value, encode
from contracts.networks import asset_contract
from contracts.post_conditions import post_conditions

#: The function of SIP-010 that transfers.
TRANSFER = "transfer"


def transfer_call(
    *, amount: int, recipient: str, memo: str | None, asset: str, payer: str | None
) -> dict[str, Any]:
    """Return what a wallet needs to send ``amount`` base units with a memo, as JSON: ``pay.transfer``.

    For STX the parameters of a wallet's STX transfer, else the call of the token's own function. The sender
    that the function takes is the payer; where that is not known, ``value`` and ``hex`` are null, and the
    wallet's address goes there.
    """
    token = asset_contract(asset)
    if token is None:
        return {"recipient": recipient, "amount": str(amount), "memo": memo}
    sender = None if payer is None else PrincipalValue.parse(payer)
    label = NoneValue() if memo is None else Some(Buffer(memo.encode("ascii")))
    return {
        "contract_id": token,
        "function": TRANSFER,
        "arguments": [
            _argument("amount", "uint", str(amount), UInt(amount)),
            _argument("sender", "principal", payer, sender),
            _argument("recipient", "principal", recipient, PrincipalValue.parse(recipient)),
            _argument("memo", "(optional (buff 34))", memo, label),
        ],
        "post_condition_mode": "deny",
        "post_conditions": post_conditions(amount=amount, asset=asset, payer=payer),
    }


def _argument(name: str, kind: str, text: str | None, value: Value | None) -> dict[str, Any]:
    return {
        "name": name,
        "type": kind,
        "value": text,
        "hex": None if value is None else f"0x{encode(value).hex()}",
    }
