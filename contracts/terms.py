"""The terms of a payment: their hash, and the contract call that pays them (pure).

The payment contract computes the same hash from its call arguments, so that a payment of other terms cannot
carry an intent's label.
"""

import hashlib
from dataclasses import dataclass
from typing import Any

from chain.clarity import Buffer, NoneValue, PrincipalValue, Some, Tuple, UInt, Value, encode
from contracts.networks import asset_contract
from contracts.post_conditions import post_conditions

SALT_BYTES = 16
TERMS_HASH_BYTES = 32

#: The payment contract's public functions that pay.
PAY_TOKEN = "pay-token"  # noqa: S105 - the name of a function
PAY_STX = "pay-stx"


@dataclass(frozen=True, slots=True, kw_only=True)
class Argument:
    """One argument of a contract call, as a wallet needs it."""

    name: str
    #: Clarity's name of the type: ``principal``, ``uint`` or ``buffer``.
    type: str
    #: Principal text, decimal digits, or 0x hex.
    value: str
    #: Consensus bytes as 0x hex.
    hex: str


def terms_hash(*, amount: int, expires_at: int, merchant: str, salt: bytes, token: str | None) -> bytes:
    """Return the terms hash, 32 bytes: sha256 of the consensus bytes of the tuple of all five terms.

    ``amount`` in base units, ``expires_at`` in unix seconds, ``salt`` 16 bytes, ``token`` a contract id or
    None for STX. Raises ValueError (AddressError, ClarityError) for a bad principal or a number out of range.
    """
    if len(salt) != SALT_BYTES:
        raise ValueError(f"the salt has {len(salt)} bytes: expected {SALT_BYTES}")
    terms = Tuple.of(
        {
            "amount": UInt(amount),
            "expires-at": UInt(expires_at),
            "merchant": PrincipalValue.parse(merchant),
            "salt": Buffer(salt),
            "token": NoneValue() if token is None else Some(PrincipalValue.parse(token)),
        }
    )
    return hashlib.sha256(encode(terms)).digest()


def arguments(
    *, amount: int, expires_at: int, merchant: str, salt: bytes, token: str | None
) -> tuple[Argument, ...]:
    """Return the arguments of ``pay-token``, or of ``pay-stx`` without a token, in the function's order."""
    paid = (
        _argument("merchant", "principal", merchant, PrincipalValue.parse(merchant)),
        _argument("amount", "uint", str(amount), UInt(amount)),
        _argument("expires-at", "uint", str(expires_at), UInt(expires_at)),
        _argument("salt", "buffer", f"0x{salt.hex()}", Buffer(salt)),
    )
    if token is None:
        return paid
    return (_argument("token", "principal", token, PrincipalValue.parse(token)), *paid)


def payment_call(
    *,
    contract_id: str,
    amount: int,
    expires_at: int,
    merchant: str,
    salt: bytes,
    asset: str,
    payer: str | None,
) -> dict[str, Any]:
    """Return the contract call with which a wallet pays, as JSON: an intent's ``pay.contract``."""
    token = asset_contract(asset)
    call = arguments(amount=amount, expires_at=expires_at, merchant=merchant, salt=salt, token=token)
    return {
        "contract_id": contract_id,
        "function": PAY_STX if token is None else PAY_TOKEN,
        "arguments": [{"name": a.name, "type": a.type, "value": a.value, "hex": a.hex} for a in call],
        "post_condition_mode": "deny",
        "post_conditions": post_conditions(amount=amount, asset=asset, payer=payer),
    }


def _argument(name: str, kind: str, text: str, value: Value) -> Argument:
    return Argument(name=name, type=kind, value=text, hex=f"0x{encode(value).hex()}")
