"""What a wallet is asked to do, as a request of SIP-030 (pure)."""

from collections.abc import Mapping
from typing import Any

from chain.clarity import PrincipalValue, encode

TRANSFER_STX, CALL_CONTRACT = "stx_transferStx", "stx_callContract"

#: Largest amount of a plain STX transfer, micro-STX: wallets read it as a number, which is exact up to here.
MAX_STX_AMOUNT = 2**53 - 1


def wallet_call(call: Mapping[str, Any], *, sender: str, network: str) -> dict[str, Any]:
    """Return ``method`` and ``params`` for a wallet whose address is ``sender``.

    ``call``: a plain transfer of STX (``recipient``, ``amount``, ``memo``), or a contract call, as ``pay`` of
    an intent has them. An argument without ``hex`` is the sender. Hex is written without 0x, as wallets'
    libraries write it. Raises ValueError for an amount that wallets would round, AddressError for a bad
    ``sender``.
    """
    principal = encode(PrincipalValue.parse(sender)).hex()
    signer = {"address": sender, "network": network}
    if "contract_id" not in call:
        if int(call["amount"]) > MAX_STX_AMOUNT:
            raise ValueError(f"wallets round an amount above {MAX_STX_AMOUNT} micro-STX")
        memo = {} if call["memo"] is None else {"memo": call["memo"]}
        paid = {"recipient": call["recipient"], "amount": call["amount"]}
        return {"method": TRANSFER_STX, "params": paid | memo | signer}
    return {
        "method": CALL_CONTRACT,
        "params": {
            "contract": call["contract_id"],
            "functionName": call["function"],
            "functionArgs": [_bare(one["hex"] or principal) for one in call["arguments"]],
            "postConditions": [_bare(one["hex"]) for one in call["post_conditions"]],
            "postConditionMode": call["post_condition_mode"],
            **signer,
        },
    }


def _bare(text: str) -> str:
    return text.removeprefix("0x")
