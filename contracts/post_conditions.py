"""Post-conditions of a payment: what its transaction may move, as JSON and in consensus bytes (pure)."""

from typing import Any

from chain.address import parse_principal
from chain.model import STX

#: Address in a post-condition that stands for the signer of the transaction.
ORIGIN = "origin"
#: Largest amount of a post-condition, base units: unsigned 64-bit, while a payment has 128 bits.
MAX_CONDITION_AMOUNT = 2**64 - 1

#: Bytes of the wire format (SIP-005).
_STX, _FUNGIBLE = b"\x00", b"\x01"
_ORIGIN, _ADDRESS, _CONTRACT = b"\x01", b"\x02", b"\x03"
_CODES = {"eq": b"\x01", "gte": b"\x03"}


def post_conditions(*, amount: int, asset: str, payer: str | None) -> list[dict[str, Any]]:
    """Return the condition *the payer sends exactly this amount*, for a transaction in Deny mode.

    The format is that of @stacks/transactions 7: ``type``, ``address`` (``origin``, the signer, without a
    known payer), ``condition``, ``amount`` as decimal text, and for tokens ``asset`` (the whole identifier);
    ``hex`` is the same in consensus bytes, as wallets take it. An amount that no post-condition can hold
    becomes *at least the largest one*; the payment contract then limits the amount.
    """
    code = "eq" if amount <= MAX_CONDITION_AMOUNT else "gte"
    held = min(amount, MAX_CONDITION_AMOUNT)
    condition = {
        "type": "stx-postcondition" if asset == STX else "ft-postcondition",
        "address": payer or ORIGIN,
        "condition": code,
        "amount": str(held),
    }
    if asset != STX:
        condition["asset"] = asset
    token = b"" if asset == STX else _asset(asset)
    kind = _STX if asset == STX else _FUNGIBLE
    wire = kind + _principal(payer) + token + _CODES[code] + held.to_bytes(8, "big")
    condition["hex"] = f"0x{wire.hex()}"
    return [condition]


def _principal(payer: str | None) -> bytes:
    if payer is None:
        return _ORIGIN
    return (_CONTRACT if "." in payer else _ADDRESS) + _named(payer)


def _asset(identifier: str) -> bytes:
    contract, _, name = identifier.partition("::")
    return _named(contract) + _text(name)


def _named(text: str) -> bytes:
    principal = parse_principal(text)
    name = b"" if principal.name is None else _text(principal.name)
    return bytes([principal.version]) + principal.hash160 + name


def _text(text: str) -> bytes:
    return bytes([len(text)]) + text.encode("ascii")
