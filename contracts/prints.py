"""Read prints: the payment contract's, a token's memo, the peg registry's (pure).

A contract may print anything, so these readers take bytes and return None for anything but exactly the known
shape. The caller must check *which contract* printed: without that, a print proves nothing.
"""

from dataclasses import dataclass

from chain.clarity import (
    Buffer,
    ClarityError,
    NoneValue,
    PrincipalValue,
    Some,
    StringAscii,
    Tuple,
    UInt,
    Value,
    decode,
)
from chain.model import MAX_VALUE_BYTES, MEMO_BYTES
from contracts.terms import TERMS_HASH_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentPrint:
    """The payment contract's ``{topic: "payment", version: u1, …}``."""

    #: The contract's ``intent-id``: 32 bytes, computed by the contract from the terms.
    terms_hash: bytes
    merchant: str
    payer: str
    #: Contract id of the token, None for STX.
    token: str | None
    amount: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundPrint:
    """The payment contract's ``{topic: "refund", version: u1, …}``."""

    #: Terms hash of the payment that is refunded: 32 bytes.
    terms_hash: bytes
    merchant: str
    #: The payer.
    to: str
    #: Contract id of the token, None for STX.
    token: str | None
    amount: int


def read_payment_print(data: bytes) -> PaymentPrint | None:
    """Read a payment's print. It must have exactly the eleven fields, with their types."""
    match _entries(data):
        case {
            "topic": StringAscii("payment"),
            "version": UInt(1),
            "intent-id": Buffer(terms_hash),
            "merchant": PrincipalValue(merchant),
            "payer": PrincipalValue(payer),
            "token": (NoneValue() | Some(PrincipalValue())) as token,
            "amount": UInt(amount),
            "expires-at": UInt(),
            "stacks-height": UInt(),
            "burn-height": UInt(),
            "stacks-time": UInt(),
            **others,
        } if not others and len(terms_hash) == TERMS_HASH_BYTES:
            return PaymentPrint(
                terms_hash=terms_hash,
                merchant=str(merchant),
                payer=str(payer),
                token=_optional_principal(token),
                amount=amount,
            )
        case _:
            return None


def read_refund_print(data: bytes) -> RefundPrint | None:
    """Read a refund's print. It must have exactly the ten fields, with their types."""
    match _entries(data):
        case {
            "topic": StringAscii("refund"),
            "version": UInt(1),
            "intent-id": Buffer(terms_hash),
            "merchant": PrincipalValue(merchant),
            "to": PrincipalValue(to),
            "token": (NoneValue() | Some(PrincipalValue())) as token,
            "amount": UInt(amount),
            "refunded-total": UInt(),
            "stacks-height": UInt(),
            "burn-height": UInt(),
            **others,
        } if not others and len(terms_hash) == TERMS_HASH_BYTES:
            return RefundPrint(
                terms_hash=terms_hash,
                merchant=str(merchant),
                to=str(to),
                token=_optional_principal(token),
                amount=amount,
            )
        case _:
            return None


def read_memo_print(data: bytes) -> bytes | None:
    """Read the memo that a token prints after a transfer: a bare buffer of at most 34 bytes."""
    match read_value(data):
        case Buffer(memo) if len(memo) <= MEMO_BYTES:
            return memo
        case _:
            return None


def is_completed_deposit(data: bytes) -> bool:
    """Whether the peg registry's print is that of a completed deposit."""
    return _entries(data).get("topic") == StringAscii("completed-deposit")


def read_value(data: bytes) -> Value | None:
    """Decode untrusted bytes; None if they are no value, or longer than ``MAX_VALUE_BYTES``."""
    if len(data) > MAX_VALUE_BYTES:
        return None
    try:
        return decode(data)
    except ClarityError:
        return None


def _optional_principal(value: Value) -> str | None:
    return (
        str(value.value.value)
        if isinstance(value, Some) and isinstance(value.value, PrincipalValue)
        else None
    )


def _entries(data: bytes) -> dict[str, Value]:
    value = read_value(data)
    return value.as_dict() if isinstance(value, Tuple) else {}
